"""A GAN small enough to watch whole: it learns eight Gaussians on a circle, in seconds.

    python examples/ring_of_gaussians.py

Prints the losses and how many of the eight modes the samples reach, and draws ``runs/ring_of_gaussians/ring.png``: real
points, samples as training goes on, and what D believes of every place in the plane. About half a minute on two cores.

The objective, with logits s = D(x):

    D descends  mean softplus(−D(x)) + mean softplus(D(G(z)))
    G descends  mean softplus(−D(G(z)))                            the non-saturating loss
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import trange

from tinygan import GAN, Sequential, optim, plotting, to_backend, to_numpy
from tinygan.backends import get_ops, ops_of
from tinygan.backends.cuda import stepper
from tinygan.layers import Dense, LeakyReLU
from tinygan.runs.commandline import output_folder, run_program
from tinygan.runs.flags import count, seed

STEPS, BATCH, WIDTH = 10_000, 256, 96
RADIUS, SIGMA = 1.0, 0.05
ANGLES = 2 * np.pi * np.arange(8) / 8
CENTERS = RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def ring(n: int, rng: np.random.Generator) -> np.ndarray:
    """n points (n, 2) of the mixture: a mode is chosen, then a normal step away from its centre."""
    points = CENTERS[rng.integers(0, 8, n)] + SIGMA * rng.standard_normal((n, 2))
    return points.astype(np.float32)


def modes_reached(samples: np.ndarray) -> tuple[int, float]:
    """How many modes have a sample within 3 sigma of their centre, and the part of all samples that lie so near."""
    distance = np.linalg.norm(samples[:, None] - CENTERS[None], axis=2)  # (n, 8)
    near = distance < 3 * SIGMA
    return int(near.any(axis=0).sum()), float(near.any(axis=1).mean())


def draw(snapshots: list[tuple[int, np.ndarray]], gan: GAN, real: np.ndarray, path: Path) -> None:
    side = np.linspace(-1.6, 1.6, 100, dtype=np.float32)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)  # (10000, 2)
    logits = to_numpy(gan.discriminator(to_backend(plane, ops_of(gan.discriminator.theta))))
    belief = 1 / (1 + np.exp(-logits.reshape(100, 100)))
    across = len(snapshots) + 2
    output_folder(path.parent)
    with plotting.figure(path, size=(3 * across, 3.3)) as figure:
        axes = figure.subplots(1, across)
        axes[0].scatter(*real.T, s=2, color="tab:blue")
        axes[0].set_title("real")
        for ax, (step, samples) in zip(axes[1:], snapshots, strict=False):
            ax.scatter(*samples.T, s=2, color="tab:orange")
            ax.set_title(f"G after {step} steps")
        axes[-1].imshow(belief, extent=(-1.6, 1.6, -1.6, 1.6), origin="lower", cmap="RdBu", vmin=0, vmax=1)
        axes[-1].set_title("σ(D): blue is real")
        for ax in axes:
            ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xticks=[], yticks=[], aspect="equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=count, metavar="N", help=f"adversarial steps (default: {STEPS})")
    parser.add_argument("--seed", type=seed, metavar="N", default=0, help="fixes weights, noise and data (default: 0)")
    parser.add_argument("--backend", default="numpy", help="numpy, cupy (a GPU), or auto (default: numpy)")
    parser.add_argument("--quick", action="store_true", help="200 steps, unless --steps says how many")
    args = parser.parse_args()
    steps = args.steps or (200 if args.quick else STEPS)

    rng = np.random.default_rng(args.seed)
    generator = Sequential(
        Dense(16, WIDTH, rng=rng), LeakyReLU(), Dense(WIDTH, WIDTH, rng=rng), LeakyReLU(), Dense(WIDTH, 2, rng=rng)
    )
    discriminator = Sequential(
        Dense(2, WIDTH, rng=rng), LeakyReLU(), Dense(WIDTH, WIDTH, rng=rng), LeakyReLU(), Dense(WIDTH, 1, rng=rng)
    )
    gan = GAN(
        generator,
        discriminator,
        noise_dim=16,
        g_optimizer=optim.Adam(generator, 1e-3),
        d_optimizer=optim.Adam(discriminator, 1e-3),
        average=0.995,
        seed=args.seed,
    ).to(backend := get_ops(args.backend))
    take = stepper(gan)
    looks = {steps // 20, steps // 4, steps}
    z, snapshots = gan.noise(2000, rng=rng), []
    for step in (bar := trange(1, steps + 1, unit="step")):
        losses = take(to_backend(ring(BATCH, rng), backend))
        if step % 50 == 0:
            bar.set_postfix(d_loss=f"{float(losses.d):.3f}", g_loss=f"{float(losses.g):.3f}")
        if step in looks:
            snapshots.append((step, to_numpy(gan.sample(z=z))))
    reached, near = modes_reached(snapshots[-1][1])
    print(f"{reached} of 8 modes reached; {near:.0%} of the samples lie within 3 sigma of one.")
    path = Path("runs/ring_of_gaussians/ring.png")
    if plotting.attempt(path, lambda: draw(snapshots, gan, ring(2000, rng), path)):
        print(f"The picture is in {path}")


if __name__ == "__main__":
    run_program(main)
