"""One full training step of each of the five systems, tinygan beside PyTorch on the CPU.

    pip install -e '.[bench]'
    python benchmarks/systems_step.py                    # about eight minutes; prints the table that RESULTS.md keeps
    python benchmarks/systems_step.py --only dcgan64

A step is: D on real and generated images, Adam; then G through the updated D from fresh noise, Adam. PyTorch runs the
same layers (translated one by one from tinygan's), eagerly, with its fused Adam and as many threads, in both of its
memory layouts, and in two loops: *as usual*, in the way that DCGAN tutorials are written (fakes detached, D's parameter
gradients computed in G's step although nobody reads them), and *tuned*, without that work. The faster layout counts.
The libraries run in turn, each in a process of its own, so that a drift of the machine's speed meets both; ratios are
medians over the rounds. Above 1, tinygan is faster.

The floor is the time that the operations of those matrix products whose results somebody reads would take at the rate
of one large product (2048 x 2048 x 2048, NumPy's, measured in the same rounds), each counted as the plain sum of
products that defines it; tinygan does some with fewer. Memory is what a process holds at its peak beyond what it held
after its imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from math import prod

from peer import ADAM, Peer, System, build

from tinygan.parallel.console import forgiving_streams

SYSTEMS = {
    "mlp_conv": System("mlp_conv", (28, 28, 1), 128),
    "lsgan": System("lsgan", (28, 28, 1), 64, "least squares"),
    "mlp": System("mlp", (28, 28, 1), 128),
    "dcgan64": System("dcgan64", (64, 64, 3), 64),
    "dcgan": System("dcgan", (32, 32, 3), 32),
}


def median_ms(step, *, seconds: float) -> float:
    """Median time of ``step`` in milliseconds, after a warm-up."""
    for _ in range(2):
        step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


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
    measured = {"tinygan": median_ms(lambda: gan.step(real), seconds=seconds), "memory": held_mb("VmHWM") - before}
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    out = np.empty_like(a)
    product = median_ms(lambda: np.matmul(a, a, out=out), seconds=1.0)
    return {**measured, "peak": 2 * 2048**3 / product / 1e6, "operations": operations(system)}


def run_torch(system: System, seconds: float, layout: str) -> dict[str, float]:
    import torch  # noqa: F401  (before its memory is counted)

    before = held_mb("VmRSS")
    peer = Peer(system, layout)
    measured = {"usual": median_ms(peer.usual, seconds=seconds / 2), "memory": held_mb("VmHWM") - before}
    return {**measured, "tuned": median_ms(peer.tuned, seconds=seconds / 2)}


def turn(script: str, which: str, name: str, seconds: float) -> dict[str, float]:
    """What ``script`` measures of tinygan, or of PyTorch in one of its layouts, in a process of its own."""
    command = [sys.executable, script, "--turn", which, "--only", name, "--seconds", str(seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each measurement (default: 6)")
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--turn", choices=["tinygan", "first", "last"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        system = SYSTEMS[args.only]
        ours = args.turn == "tinygan"
        print(json.dumps(run_tinygan(system, args.seconds) if ours else run_torch(system, args.seconds, args.turn)))
        return

    heads = "system, batch|tinygan ms|PyTorch as usual|ratio|tuned|ratio|floor ms|reached|memory MB|PyTorch's"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 10}|", flush=True)
    means: list[tuple[float, float]] = []
    for name in [args.only] if args.only else SYSTEMS:
        system = SYSTEMS[name]
        rounds = []
        for _ in range(args.rounds):
            measured, *layouts = (turn(__file__, which, name, args.seconds) for which in ("tinygan", "first", "last"))
            rounds.append((measured, min(layouts, key=lambda measured: measured["usual"])))
        ours = [measured["tinygan"] for measured, _ in rounds]
        floors = [measured["operations"] / measured["peak"] / 1e6 for measured, _ in rounds]
        cells, ratios = [], []
        for loop in ("usual", "tuned"):
            theirs = [other[loop] for _, other in rounds]
            each = [b / a for a, b in zip(ours, theirs, strict=True)]
            ratios.append(statistics.median(each))
            cells.append(f"{statistics.median(theirs):.0f} | **{ratios[-1]:.2f}** ({min(each):.2f} - {max(each):.2f})")
        means.append((ratios[0], ratios[1]))
        reached = statistics.median(floor / ms for floor, ms in zip(floors, ours, strict=True))
        memory = [statistics.median(m["memory"] for m in side) for side in zip(*rounds, strict=True)]
        print(
            f"| {name} {'x'.join(map(str, system.image_shape))}, {system.batch} | {statistics.median(ours):.0f} | "
            f"{' | '.join(cells)} | {statistics.median(floors):.0f} | {reached:.0%} | "
            f"{memory[0]:.0f} | {memory[1]:.0f} |",
            flush=True,
        )
    usual, tuned = (statistics.geometric_mean(column) for column in zip(*means, strict=True))
    print(f"\nGeometric mean: {usual:.2f} as usual, {tuned:.2f} tuned.")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
