"""One full training step with R1 and R2, tinygan beside PyTorch on the CPU: what an exact gradient penalty costs.

    pip install -e '.[bench]'
    python benchmarks/penalty_step.py                    # about three minutes; prints the table that RESULTS.md keeps
    python benchmarks/penalty_step.py --only toy

A step is: D on real and generated samples, with gamma/2 ‖∂D/∂x‖² at both (R1 and R2), Adam; then G through the updated
D from fresh noise, Adam; all with the non-saturating loss. PyTorch runs the same layers, translated one by one, with
its fused Adam and as many threads; its penalties come from ``autograd.grad(..., create_graph=True)`` and one backward
through everything, with the fakes made without a graph and D frozen in G's step. For images the faster of its two
memory layouts counts. The libraries run in turn, each in a process of its own, so that a drift of the machine's speed
meets both; ratios are medians over the rounds. Above 1, tinygan is faster.

- toy: samples in the plane, three hidden layers of 128 in both networks, batch 256
- mlp: the MLP GAN on 28x28 images, batch 128
- critic: the generator of dcgan against its discriminator without BatchNorm, on 28x28 images, batch 64
- dcgan: the same with BatchNorm in D, which bends, so that all passes are needed
"""

from __future__ import annotations

import argparse
import json
import statistics

from peer import ADAM, in_torch
from systems_step import median_ms, turn

from tinygan.parallel.console import forgiving_streams

GAMMA = 1.0
BATCH = {"toy": 256, "mlp": 128, "critic": 64, "dcgan": 64}


def build(name: str):
    from tinygan import Sequential, models
    from tinygan.layers import BatchNorm, Dense, LeakyReLU

    if name == "toy":
        G, D = (
            Sequential(
                *(part for k in range(3) for part in (Dense(128 if k else 2, 128, rng=k), LeakyReLU(0.2))),
                Dense(128, out, rng=3),
            )
            for out in (2, 1)
        )
        return G, D
    if name == "mlp":
        return models.mlp(batch_norm=False)
    G, D = models.dcgan((28, 28, 1))
    if name == "critic":
        D = Sequential(*(layer.copy() for layer in D.layers if not isinstance(layer, BatchNorm)))
    return G, D


def run_tinygan(name: str, seconds: float) -> dict[str, float]:
    import numpy as np

    from tinygan import GAN, optim
    from tinygan.penalties import R1, R2

    measured = {}
    for what, penalties in (("plain", []), ("penalised", [R1(GAMMA), R2(GAMMA)])):
        G, D = build(name)
        noise_dim = G.layers[0].n_in
        adams = [optim.Adam(network, ADAM["lr"], *ADAM["betas"]) for network in (G, D)]
        gan = GAN(G, D, noise_dim=noise_dim, g_optimizer=adams[0], d_optimizer=adams[1], penalties=penalties)
        real = np.random.default_rng(0).uniform(-1, 1, (BATCH[name], *gan.sample_shape)).astype(np.float32)
        measured[what] = median_ms(lambda gan=gan, real=real: gan.step(real), seconds=seconds / 2)
    return measured


def run_torch(name: str, seconds: float, layout: str) -> dict[str, float]:
    import torch
    from torch.nn.functional import softplus

    torch.manual_seed(0)
    networks = build(name)
    noise_dim, n = networks[0].layers[0].n_in, BATCH[name]
    shape = networks[0].output_shape((noise_dim,))
    (G, D), (g_adam, d_adam), memory_format = in_torch(networks, layout, inplace=False)
    real = torch.rand(n, *([shape[2], *shape[:2]] if len(shape) == 3 else shape)) * 2 - 1
    real = real.contiguous(memory_format=memory_format) if len(shape) == 3 else real

    def square_norms(logits, x):
        (g,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return g.square().flatten(1).sum(1).mean()

    def step(gamma):
        with torch.no_grad():
            fake = G(torch.randn(n, noise_dim))
        d_adam.zero_grad()
        x, y = real.detach().requires_grad_(gamma > 0), fake.detach().requires_grad_(gamma > 0)
        r, f = D(x), D(y)
        loss = softplus(-r).mean() + softplus(f).mean()
        if gamma > 0:
            loss = loss + 0.5 * gamma * (square_norms(r, x) + square_norms(f, y))
        loss.backward()
        d_adam.step()
        g_adam.zero_grad()
        D.requires_grad_(False)
        softplus(-D(G(torch.randn(n, noise_dim)))).mean().backward()
        D.requires_grad_(True)
        g_adam.step()

    return {
        "plain": median_ms(lambda: step(0.0), seconds=seconds / 2),
        "penalised": median_ms(lambda: step(GAMMA), seconds=seconds / 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each measurement (default: 6)")
    parser.add_argument("--only", choices=list(BATCH), help="only this one")
    parser.add_argument("--turn", choices=["tinygan", "first", "last"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        ours = args.turn == "tinygan"
        measured = run_tinygan(args.only, args.seconds) if ours else run_torch(args.only, args.seconds, args.turn)
        print(json.dumps(measured))
        return

    heads = "networks, batch|tinygan ms|PyTorch ms|ratio|without penalties: tinygan|PyTorch|ratio"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 7}|", flush=True)
    for name in [args.only] if args.only else BATCH:
        layouts = ["first"] if name in ("toy", "mlp") else ["first", "last"]
        rounds = []
        for _ in range(args.rounds):
            measured, *others = (turn(__file__, which, name, args.seconds) for which in ("tinygan", *layouts))
            rounds.append((measured, min(others, key=lambda measured: measured["penalised"])))
        cells = []
        for what in ("penalised", "plain"):
            ours, theirs = ([side[what] for side in column] for column in zip(*rounds, strict=True))
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            spread = f"({min(ratios):.2f} - {max(ratios):.2f})"
            cells.append(
                f"{statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | "
                f"**{statistics.median(ratios):.2f}** {spread}"
            )
        print(f"| {name}, {BATCH[name]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
