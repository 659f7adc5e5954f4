"""Speed that costs no quality: the losses of the first steps with the CPU's fast operations, beside the plain ones.

    python benchmarks/same_losses.py                     # about ten minutes; prints the table that RESULTS.md keeps
    python benchmarks/same_losses.py --only mlp --steps 20

A system starts twice from the same seed, on the digits that come with the package. Once it takes its steps as always,
once with each operation as :class:`tinygan.ops.Ops` defines it: columns, one product, layers one after the other. In
exact arithmetic both are the same. In float32 they round differently, and a game makes small differences grow, with
any rounding: the last column is the same comparison of two runs with plain operations, of which one starts with
weights that differ in their last digit.
"""

from __future__ import annotations

import argparse

import numpy as np
from peer import build
from systems_step import SYSTEMS
from tqdm import tqdm

from tinygan import GAN, data, losses
from tinygan.backends.cpu import CpuOps
from tinygan.ops import Ops, register
from tinygan.parallel.console import forgiving_streams

PLAIN, FAST = Ops(), CpuOps()


def losses_of(name: str, ops: Ops, steps: int, *, nudge: bool = False) -> np.ndarray:
    """(steps, 2): the losses of D and G, from the same weights, images and noise every time."""
    register(ops)
    system = SYSTEMS[name]
    loss = losses.LeastSquares() if system.loss == "least squares" else losses.NonSaturating()
    gan = GAN(*build(system), noise_dim=100, loss=loss, seed=0)
    if nudge:
        gan.generator.theta *= np.float32(1 + 2e-7)
    (h, w, c), images = system.image_shape, data.load("digits")
    images = data.refit(images, size=(h, w), channels=c)
    order, seen = data.batches(len(images), system.batch, seed=0), []
    for _ in tqdm(range(steps), desc=f"{name}, {type(ops).__name__}", unit=" steps", leave=False):
        d_loss, g_loss, _ = gan.step(images.batch(next(order)))
        seen.append((float(d_loss), float(g_loss)))
    return np.array(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of each system (default: 100)")
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    args = parser.parse_args()
    print(
        "| system | largest difference of a loss | after 10 steps | of two plain runs |\n|---|---|---|---|", flush=True
    )
    for name in [args.only] if args.only else SYSTEMS:
        plain = losses_of(name, PLAIN, args.steps)
        fast, nudged = losses_of(name, FAST, args.steps), losses_of(name, PLAIN, args.steps, nudge=True)
        apart, chance = abs(fast - plain) / (1 + abs(plain)), abs(nudged - plain) / (1 + abs(plain))
        print(f"| {name} | {apart.max():.1e} | {apart[:10].max():.1e} | {chance.max():.1e} |", flush=True)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
