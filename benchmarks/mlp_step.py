"""One full step of the MLP GAN, tinygan beside PyTorch on the CPU: same networks, batch, optimiser, dtype and threads.

    pip install -e '.[bench]'
    python benchmarks/mlp_step.py                 # about two minutes; prints the table that RESULTS.md keeps

Two rows: the plain networks with DCGAN's Adam, and those of the default run (BatchNorm in G, beta1 = 0). A step is: D
on real and fake samples, Adam; then G through the updated D from fresh noise, Adam. PyTorch runs eagerly with its
fused Adam, and is measured twice: *as usual*, in the way that DCGAN tutorials are written (D on two batches, fakes
detached, D's parameter gradients computed in G's step although nobody reads them), and *tuned by hand* until it does no
more work than tinygan (fakes without a graph, D frozen in G's step, and one stacked batch for D or two, whichever is
faster). The libraries run in turn, each in a process of its own, so that a drift of the machine's speed meets both;
ratios are medians over the rounds.

Beside the times stands the floor: the operations of the matrix products whose results somebody reads, at the rate that
this machine reaches on one large product (the best of NumPy's, measured in the same rounds).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from itertools import pairwise

from tinygan.parallel.console import forgiving_streams

BETAS = {False: (0.5, 0.999), True: (0.0, 0.99)}  # DCGAN's; those of the default run's recipe, which has BatchNorm
SIZES_G, SIZES_D, BATCH = (100, 256, 512, 1024, 784), (784, 512, 256, 1), 128


def operations() -> float:
    """Floating-point operations of the products in one step, counting only what is read."""

    def forward(sizes, n):
        return sum(2 * n * a * b for a, b in pairwise(sizes))

    def data_gradient(sizes, n):  # the first layer's is read only when D passes the gradient on to G
        return forward(sizes[1:], n)

    n, g, d = BATCH, SIZES_G, SIZES_D
    d_step = forward(g, n) + 2 * forward(d, n) + 2 * forward(d, n) + 2 * data_gradient(d, n)
    g_step = forward(g, n) + forward(d, n) + forward(d, n) + forward(g, n) + data_gradient(g, n)
    return d_step + g_step


def median_ms(step, *, seconds: float) -> float:
    """Median time of ``step`` in milliseconds, after a warm-up."""
    for _ in range(5):
        step()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def run_tinygan(batch_norm: bool, seconds: float) -> dict[str, float]:
    import numpy as np

    from tinygan import GAN, models, optim

    rng = np.random.default_rng(0)
    networks = models.mlp(batch_norm=batch_norm, rng=rng)
    beta1, beta2 = BETAS[batch_norm]
    g_adam, d_adam = (optim.Adam(network, 2e-4, beta1, beta2) for network in networks)
    gan = GAN(*networks, noise_dim=100, g_optimizer=g_adam, d_optimizer=d_adam)
    real = rng.uniform(-1, 1, (BATCH, 28, 28, 1)).astype(np.float32)
    a = rng.standard_normal((2048, 2048), dtype=np.float32)
    out = np.empty_like(a)
    product = median_ms(lambda: np.matmul(a, a, out=out), seconds=seconds / 4)
    return {"tinygan": median_ms(lambda: gan.step(real), seconds=seconds), "peak": 2 * 2048**3 / product / 1e6}


def run_torch(batch_norm: bool, seconds: float) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    torch.manual_seed(0)

    def dense_stack(sizes, *, normalise):
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes[:-1]):
            layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if normalise else []), nn.LeakyReLU(0.2, inplace=True)]
        return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))

    generator = nn.Sequential(dense_stack(SIZES_G, normalise=batch_norm), nn.Tanh())
    discriminator = dense_stack(SIZES_D, normalise=False)
    adam = {"lr": 2e-4, "betas": BETAS[batch_norm], "fused": True}
    g_adam = torch.optim.Adam(generator.parameters(), **adam)
    d_adam = torch.optim.Adam(discriminator.parameters(), **adam)
    real = torch.rand(BATCH, 784) * 2 - 1
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def usual():
        fake = generator(torch.randn(BATCH, 100))
        d_adam.zero_grad()
        cross_entropy(discriminator(real), ones).backward()
        cross_entropy(discriminator(fake.detach()), zeros).backward()
        d_adam.step()
        g_adam.zero_grad()
        cross_entropy(discriminator(generator(torch.randn(BATCH, 100))), ones).backward()
        g_adam.step()

    def tuned(stacked: bool):
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, 100))
        d_adam.zero_grad(set_to_none=True)
        if stacked:
            s = discriminator(torch.cat([real, fake]))
            r, f = s[:BATCH], s[BATCH:]
        else:
            r, f = discriminator(real), discriminator(fake)
        (cross_entropy(r, ones) + cross_entropy(f, zeros)).backward()
        d_adam.step()
        g_adam.zero_grad(set_to_none=True)
        discriminator.requires_grad_(False)
        cross_entropy(discriminator(generator(torch.randn(BATCH, 100))), ones).backward()
        discriminator.requires_grad_(True)
        g_adam.step()

    best = min(median_ms(lambda s=s: tuned(s), seconds=seconds / 2) for s in (True, False))
    return {"usual": median_ms(usual, seconds=seconds), "tuned": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often the two take turns (default: 7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each turn (default: 3)")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        library, batch_norm = args.worker
        run = {"tinygan": run_tinygan, "torch": run_torch}[library]
        print(json.dumps(run(batch_norm == "1", args.seconds)))
        return

    giga = operations() / 1e9
    print(
        f"{platform.machine()}, {platform.python_version()}: MLP GAN step, batch {BATCH}, {giga:.2f} GF of products\n"
    )
    print("| G | tinygan ms | PyTorch as usual | ratio | PyTorch tuned | ratio | floor ms | floor reached |")
    print("|---|---|---|---|---|---|---|---|")
    for batch_norm in (False, True):
        rounds: list[dict[str, float]] = []
        for _ in range(args.rounds):
            turn: dict[str, float] = {}
            for library in ("tinygan", "torch"):
                command = [sys.executable, __file__, "--seconds", str(args.seconds), "--worker", library]
                turn |= json.loads(subprocess.check_output([*command, str(int(batch_norm))], text=True))
            rounds.append(turn)
        ours = statistics.median(r["tinygan"] for r in rounds)
        floor = 1e3 * giga / max(r["peak"] for r in rounds)
        cells = [f"{'with' if batch_norm else 'no'} BatchNorm, betas {BETAS[batch_norm]}", f"{ours:.1f}"]
        for key in ("usual", "tuned"):
            ratios = [r[key] / r["tinygan"] for r in rounds]
            cells.append(f"{statistics.median(r[key] for r in rounds):.1f}")
            cells.append(f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} - {max(ratios):.2f})")
        print("|", " | ".join([*cells, f"{floor:.1f}", f"{floor / ours:.0%}"]), "|")
    print(f"\nMatrix-multiply peak in these rounds: {max(r['peak'] for r in rounds):.0f} GF/s (2048 x 2048, float32).")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
