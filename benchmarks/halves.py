"""What a step could gain if each core took its share of the batch through the whole of it: an upper bound.

    python benchmarks/halves.py                          # about three minutes; prints the table that RESULTS.md keeps

*Together* is a step as it is: one process, whose layers share their work among all cores. *Apart* are as many processes
as cores, started at once, each on one core with its share of the batch, which never speak: no sum of gradients, no
statistics of the whole batch, no waiting. No program that shares out a whole step can be faster than that, since it has
to do all of it and speak besides. Median of the rounds, which alternate; above 1, something could be gained.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy as np
from peer import build
from systems_step import SYSTEMS, timed

from tinygan import GAN, losses
from tinygan.backends.cpu.threads import workers
from tinygan.parallel.console import forgiving_streams


def measure(name: str, batch: int, seconds: float) -> float:
    """Milliseconds of a step in this process."""
    system = SYSTEMS[name]
    loss = losses.LeastSquares() if system.loss == "least squares" else losses.NonSaturating()
    gan = GAN(*build(system), noise_dim=100, loss=loss)
    real = np.random.default_rng(0).uniform(-1, 1, (batch, *system.image_shape)).astype(np.float32)
    return timed(lambda: gan.step(real), seconds=seconds)[0]


def at_once(name: str, batch: int, processes: int, seconds: float) -> float:
    """The mean over so many processes that run at the same time, with a core each, or all cores for one alone."""
    command = [sys.executable, __file__, "--point", name, str(batch), str(seconds)]
    env = {**os.environ, **({"OMP_NUM_THREADS": "1"} if processes > 1 else {})}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for _ in range(processes)]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"error: a process that measures {name} has failed")
    return statistics.mean(map(json.loads, said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement (default: 3)")
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure(args.point[0], int(args.point[1]), float(args.point[2]))))
        return
    cores = workers()
    print(f"| system, batch | together, ms | apart, {cores} processes, ms | together over apart |\n|---|---|---|---|")
    for name in [args.only] if args.only else SYSTEMS:
        batch, rounds = SYSTEMS[name].batch, []
        for _ in range(args.rounds):
            shares = at_once(name, batch // cores, cores, args.seconds) if cores > 1 else float("nan")
            rounds.append((at_once(name, batch, 1, args.seconds), shares))
        together, apart = (statistics.median(side) for side in zip(*rounds, strict=True))
        ratios = [a / b for a, b in rounds]
        ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} - {max(ratios):.2f})"
        print(f"| {name}, {batch} | {together:.0f} | {apart:.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
