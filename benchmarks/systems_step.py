"""One full training step of each of five systems, tinygan beside PyTorch on the CPU.

    pip install -e '.[bench]'
    python benchmarks/systems_step.py                    # about ten minutes; prints the table that RESULTS.md keeps
    python benchmarks/systems_step.py --threads 1        # on one core
    python benchmarks/systems_step.py --compiled         # beside torch.compile as well, which takes minutes to compile
    python benchmarks/systems_step.py --only dcgan64

A step is: D on real and generated images, Adam; then G through the updated D from fresh noise, Adam. PyTorch runs the
same layers (translated one by one from tinygan's), eagerly, with its fused Adam and as many threads, in both of its
memory layouts, and in two loops: *as usual*, in the way that DCGAN tutorials are written (fakes detached, D's parameter
gradients computed in G's step although nobody reads them), and *tuned*, without that work. The faster layout counts.
The libraries run in turn, each in a process of its own, so that a drift of the machine's speed meets both; ratios are
medians over the rounds. Above 1, tinygan is faster. *Compiled* is the tuned loop with forward passes, losses and Adams
compiled. *Busy* is seconds of processor time for each second on the clock, tinygan's and PyTorch's: where it is far
below the number of cores, somebody else was using them.

The floor is the time that the operations of those matrix products whose results somebody reads would take at the rate
of one large product (2048 x 2048 x 2048, NumPy's, measured in the same rounds), each counted as the plain sum of
products that defines it; tinygan does some with fewer. Memory is what a process holds at its peak beyond what it held
after its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from math import prod

from peer import ADAM, Peer, System, build, compile_loop

from tinygan.parallel.console import forgiving_streams

SYSTEMS = {
    "mlp_conv": System("mlp_conv", (28, 28, 1), 128),
    "lsgan": System("lsgan", (28, 28, 1), 64, "least squares"),
    "mlp": System("mlp", (28, 28, 1), 128),
    "dcgan64": System("dcgan64", (64, 64, 3), 64),
    "dcgan": System("dcgan", (32, 32, 3), 32),
    "dcgan28": System("dcgan", (28, 28, 1), 64),
}


def timed(step, *, seconds: float) -> tuple[float, float]:
    """Median time of ``step`` in milliseconds after a warm-up, and how many cores were busy meanwhile."""
    for _ in range(2):
        step()
    times, used, began = [], time.process_time(), time.perf_counter()
    while len(times) < 3 or time.perf_counter() < began + seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times), (time.process_time() - used) / (time.perf_counter() - began)


def median_ms(step, *, seconds: float) -> float:
    return timed(step, seconds=seconds)[0]


def held_mb(which: str) -> float:
    """Memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def operations(system: System) -> float:
    """Floating-point operations of the products in one step, counting only what is read."""
    from tinygan.layers import ConvTranspose2D

    def forward(network, shape, *, data_gradient=False):
        """Of one sample; or of the gradient of its data, which only layers above the first pass on."""
        total, first = 0, True
        for layer in network.layers:
            after = layer.output_shape(shape)
            if "W" in layer.params:
                W = layer.params["W"]
                places = prod((shape if isinstance(layer, ConvTranspose2D) else after)[:-1])
                total += 0 if data_gradient and first else 2 * W.size * places
                first = False
            shape = after
        return total

    G, D = build(system)
    g, d = forward(G, (100,)), forward(D, system.image_shape)
    g_dx, d_dx = forward(G, (100,), data_gradient=True), forward(D, system.image_shape, data_gradient=True)
    d_step = g + 2 * (d + d + d_dx)
    g_step = g + d + d + g + g_dx
    return float(system.batch * (d_step + g_step))


def run_tinygan(system: System, seconds: float) -> dict[str, float]:
    import numpy as np

    from tinygan import GAN, losses, optim

    before = held_mb("VmRSS")
    loss = losses.LeastSquares() if system.loss == "least squares" else losses.NonSaturating()
    G, D = build(system)
    adams = [optim.Adam(network, ADAM["lr"], *ADAM["betas"]) for network in (G, D)]
    gan = GAN(G, D, noise_dim=100, loss=loss, g_optimizer=adams[0], d_optimizer=adams[1])
    real = np.random.default_rng(0).uniform(-1, 1, (system.batch, *system.image_shape)).astype(np.float32)
    ms, busy = timed(lambda: gan.step(real), seconds=seconds)
    measured = {"tinygan": ms, "busy": busy, "memory": held_mb("VmHWM") - before}
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    out = np.empty_like(a)
    product = median_ms(lambda: np.matmul(a, a, out=out), seconds=1.0)
    return {**measured, "peak": 2 * 2048**3 / product / 1e6, "operations": operations(system)}


def run_torch(system: System, seconds: float, layout: str, compiled: bool) -> dict[str, float]:
    import torch  # noqa: F401  (before its memory is counted)

    before = held_mb("VmRSS")
    peer = Peer(system, layout)
    ms, busy = timed(peer.usual, seconds=seconds / 2)
    measured = {"usual": ms, "busy": busy, "memory": held_mb("VmHWM") - before}
    measured["tuned"] = median_ms(peer.tuned, seconds=seconds / 2)
    if compiled:
        measured["compiled"] = median_ms(compile_loop(peer), seconds=seconds / 2)
    return measured


def turn(script: str, which: str, name: str, seconds: float, *more: str) -> dict[str, float]:
    """What ``script`` measures of tinygan, or of PyTorch in one of its layouts, in a process of its own."""
    command = [sys.executable, script, "--turn", which, "--only", name, "--seconds", str(seconds), *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def row(
    name: str, rounds: list[tuple[dict[str, float], dict[str, float]]], loops: list[str]
) -> tuple[str, list[float]]:
    """A line of the table from (tinygan's, PyTorch's) figures of each round, and the ratio of each loop."""
    system, (ours, theirs) = SYSTEMS[name], zip(*rounds, strict=True)
    cells, ratios = [], []
    for loop in loops:
        each = [b[loop] / a["tinygan"] for a, b in rounds]
        ratios.append(statistics.median(each))
        median = statistics.median(b[loop] for b in theirs)
        cells.append(f"{median:.0f} | **{ratios[-1]:.2f}** ({min(each):.2f} - {max(each):.2f})")
    floors = [a["operations"] / a["peak"] / 1e6 for a in ours]
    reached = statistics.median(floor / a["tinygan"] for floor, a in zip(floors, ours, strict=True))
    busy, memory = ([statistics.median(m[key] for m in side) for side in (ours, theirs)] for key in ("busy", "memory"))
    line = (
        f"| {name} {'x'.join(map(str, system.image_shape))}, {system.batch} | "
        f"{statistics.median(a['tinygan'] for a in ours):.0f} | {' | '.join(cells)} | {busy[0]:.2f}, {busy[1]:.2f} | "
        f"{statistics.median(floors):.0f} | {reached:.0%} | {memory[0]:.0f} | {memory[1]:.0f} |"
    )
    return line, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each measurement (default: 6)")
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--threads", type=int, help="cores for each library (default: all)")
    parser.add_argument("--compiled", action="store_true", help="beside torch.compile as well")
    parser.add_argument("--turn", choices=["tinygan", "first", "last"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        system, seconds = SYSTEMS[args.only], args.seconds
        ours = args.turn == "tinygan"
        print(
            json.dumps(run_tinygan(system, seconds) if ours else run_torch(system, seconds, args.turn, args.compiled))
        )
        return
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)

    loops = ["usual", "tuned", *(["compiled"] if args.compiled else [])]
    of_loops = "|".join(f"PyTorch {'as ' if loop == 'usual' else ''}{loop}|ratio" for loop in loops)
    heads = f"system, batch|tinygan ms|{of_loops}|busy|floor ms|reached|memory MB|PyTorch's"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * (heads.count('|') + 1)}|", flush=True)
    means = []
    for name in [args.only] if args.only else SYSTEMS:
        rounds = []
        for _ in range(args.rounds):
            more = ["--compiled"] if args.compiled else []
            ours, *layouts = (
                turn(__file__, which, name, args.seconds, *more) for which in ("tinygan", "first", "last")
            )
            fastest = min(layouts, key=lambda measured: measured["usual"])
            rounds.append((ours, {**fastest, **{loop: min(m[loop] for m in layouts) for loop in loops}}))
        line, ratios = row(name, rounds, loops)
        means.append(ratios)
        print(line, flush=True)
    columns = (statistics.geometric_mean(column) for column in zip(*means, strict=True))
    print(f"\nGeometric mean: {', '.join(f'{mean:.2f} {loop}' for mean, loop in zip(columns, loops, strict=True))}.")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
