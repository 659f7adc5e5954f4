"""How a step scales over processes: measured on one machine's cores, reckoned beyond; draws scaling_processes.png.

    pip install -e '.[mpi]' mpich
    python benchmarks/scaling_processes.py               # about three minutes; prints the tables that RESULTS.md keeps

Each process has one core. *Strong*: the batch stays, so that two processes have half of it each. *Weak*: it grows with
the processes, each has the same as one had alone. *Threads* is one process with two cores and the first batch. All is
measured in turn, round by round, so that a drift of the machine's speed meets all alike; ratios are medians over the
rounds. *Waiting* is the part of a step in which a process adds up and waits for the others.

Beyond, a step of P processes on P machines is reckoned as

    t(P) = work / P  +  same  +  n λ log2 P  +  2 (P − 1)/P · bytes / bandwidth

with the batch fixed: passes through the networks, of which each process has its part; the optimisers' steps and the
noise, which are the same in all of them, however many; n sums, each with some latency λ; and both networks' gradients,
of which an all-reduce sends every byte twice, all but a P-th. Only the first term shrinks. Where the last is as large,
a process sends for as long as it computes: there more of them hardly pay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tinygan.parallel.console import forgiving_streams

SYSTEMS = {"mlp": ((28, 28, 1), 128), "dcgan": ((28, 28, 1), 128), "dcgan64": ((64, 64, 3), 64)}
NETWORKS = {"1 Gb/s": 0.125e9, "10 Gb/s": 1.25e9, "100 Gb/s": 12.5e9}  # bytes a second
LATENCY = 20e-6  # seconds of a small message and its answer between two machines
COUNTS = [1, 2, 4, 8, 16, 32, 64, 128]


def measure(name: str, batch: int, seconds: float) -> None:
    """Print, in the first process, the median time of a step, its waiting, and what is added up."""
    import numpy as np

    from tinygan import GAN, models
    from tinygan.parallel import joined
    from tinygan.parallel.mpi import world

    group, shape = world(), SYSTEMS[name][0]
    spent, calls = {"waiting": 0.0, "same": 0.0}, {"waiting": 0, "same": 0}

    def timed(owner, method, what):
        original = getattr(owner, method)

        def call(*args, **options):
            start = time.perf_counter()
            results = original(*args, **options)
            spent[what] += time.perf_counter() - start
            calls[what] += 1
            return results

        setattr(owner, method, call)

    gan = GAN(*getattr(models, name)(shape), noise_dim=100)
    for owner, method in ((gan.g_optimizer, "step"), (gan.d_optimizer, "step"), (gan, "draw")):
        timed(owner, method, "same")
    if group.size > 1:
        timed(group, "sum", "waiting")
        timed(group, "gather", "waiting")
    real = np.random.default_rng(0).uniform(-1, 1, (batch, *shape)).astype(np.float32)[group.rows(batch)]
    times = []
    with joined(gan, group) as players:
        players.step(real)
        players.step(real)
        began = time.perf_counter()
        spent.update(waiting=0.0, same=0.0)
        calls["waiting"] = 0
        # as many in all processes; the first one knows when
        while not group.any(time.perf_counter() - began > seconds and len(times) >= 3):
            start = time.perf_counter()
            players.step(real)
            times.append(time.perf_counter() - start)
    if group.rank == 0:
        n = len(times)
        shares = {what: seconds / sum(times) for what, seconds in spent.items()}
        size = gan.generator.theta.nbytes + gan.discriminator.theta.nbytes
        print(json.dumps({"ms": 1e3 * statistics.median(times), **shares, "sums": calls["waiting"] / n, "bytes": size}))


def point(name: str, batch: int, processes: int, threads: int, seconds: float) -> dict[str, float]:
    """The same in processes of their own."""
    command = [sys.executable, __file__, "--point", name, str(batch), str(seconds)]
    if processes > 1:
        beside = Path(sys.executable).with_name("mpiexec")
        command = [str(beside) if beside.exists() else shutil.which("mpiexec"), "-n", str(processes), *command]
    env = {**os.environ, **{f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS")}}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return json.loads(done.stdout)


def reckoned(p: int, f: dict[str, float], bandwidth: float) -> float:
    """Seconds of a step of p processes on p machines."""
    same = f["alone"] * f["same"]
    return (
        (f["alone"] - same) / p + same + f["sums"] * LATENCY * math.log2(p) + 2 * (p - 1) / p * f["bytes"] / bandwidth
    )


def _counts(name: str) -> list[int]:
    """Each process needs a sample."""
    return [p for p in COUNTS if p <= SYSTEMS[name][1]]


def where_it_stops(name: str, f: dict[str, float], bandwidth: float) -> str:
    """The number of processes of which each sends for as long as it computes, and the best there is to be had."""
    most = f["alone"] * (1.0 - f["same"]) / (2 * f["bytes"] / bandwidth)
    best = max(f["alone"] / reckoned(p, f, bandwidth) for p in _counts(name))
    return f"{most:.1f} ({best:.1f})"


def draw(results: dict[str, dict[str, float]], path: Path) -> None:
    from tinygan import plotting

    with plotting.figure(path, size=(4 * len(results), 3.6), dpi=80) as figure:
        axes = figure.subplots(1, len(results), sharey=True)
        for axis, (name, f) in zip(axes, results.items(), strict=True):
            counts = _counts(name)
            axis.plot(counts, counts, color="0.7", linestyle=":", label="as many times as fast")
            for label, bandwidth in NETWORKS.items():
                times = [reckoned(p, f, bandwidth) for p in counts]
                axis.plot(counts, [f["alone"] / t for t in times], label=f"reckoned, {label}")
            axis.plot([1, 2], [1, f["strong"]], "ko", label="measured, two cores")
            axis.set(title=f"{name}, batch {SYSTEMS[name][1]}", xlabel="processes", xscale="log", yscale="log")
            axis.set(ylim=(0.2, COUNTS[-1]), xticks=COUNTS, xticklabels=COUNTS, yticks=COUNTS, yticklabels=COUNTS)
            axis.minorticks_off()
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("times as fast as one process")
        axes[0].legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements (default: 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--only", choices=SYSTEMS, action="append", help="leave the other systems out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"), help="where to draw")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        measure(args.point[0], int(args.point[1]), float(args.point[2]))
        return

    results = {}
    print(
        "| system, batch | 1 process, ms | 2, ms | strong | weak | threads | waiting | same | sums a step | MB a step |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in args.only or SYSTEMS:
        batch, rounds = SYSTEMS[name][1], []
        for _ in range(args.rounds):
            cases = [(batch, 1, 1), (batch, 2, 1), (2 * batch, 2, 1), (batch, 1, 2)]
            rounds.append([point(name, *case, args.seconds) for case in cases])
        one, two = (statistics.median(r[k]["ms"] for r in rounds) for k in (0, 1))
        strong = statistics.median(r[0]["ms"] / r[1]["ms"] for r in rounds)
        weak = statistics.median(2 * r[0]["ms"] / r[2]["ms"] for r in rounds)
        threads = statistics.median(r[0]["ms"] / r[3]["ms"] for r in rounds)
        waiting = statistics.median(r[1]["waiting"] for r in rounds)
        same = statistics.median(r[0]["same"] for r in rounds)
        results[name] = f = {**rounds[0][1], "alone": one / 1e3, "same": same, "strong": strong}
        print(
            f"| {name}, {batch} | {one:.0f} | {two:.0f} | {strong:.2f} | {weak:.2f} | {threads:.2f} | {waiting:.0%} | "
            f"{same:.0%} | {f['sums']:.0f} | {f['bytes'] / 1e6:.1f} |",
            flush=True,
        )

    print("\nProcesses of which each sends for as long as it computes, and (the most times as fast as one):\n")
    print(f"| system, batch | {' | '.join(NETWORKS)} |\n|---|{'---|' * len(NETWORKS)}")
    for name, f in results.items():
        print(f"| {name}, {SYSTEMS[name][1]} | {' | '.join(where_it_stops(name, f, b) for b in NETWORKS.values())} |")
    if len(results) > 1:
        from tinygan import plotting

        plotting.attempt(args.out, lambda: draw(results, args.out))


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
