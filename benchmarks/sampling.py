"""What comes after training: 10,000 samples of each system, and reading digits, beside PyTorch on the CPU.

    pip install -e '.[bench]'
    python benchmarks/sampling.py                        # about two minutes; prints the table that RESULTS.md keeps

A generator makes its samples 500 at a time from noise drawn before, with running statistics and no gradients. *Reading*
is the classifier of examples/mnist_classifier.py on 10,000 digits, 500 at a time, as for a score; *learning* is one of
its steps, 128 digits, Adam. PyTorch runs the same layers in the faster of its two memory layouts. Both take turns, each
in a process of its own; ratios are medians over the rounds. Above 1, tinygan is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
from peer import build, in_torch
from systems_step import SYSTEMS, median_ms, turn

from tinygan import losses, optim
from tinygan.metrics import digit_network as classifier
from tinygan.parallel.console import forgiving_streams

N, PIECE, BATCH = 10_000, 500, 128
ROWS = [*SYSTEMS, "reading", "learning"]


def _shape(name: str) -> tuple[int, ...]:
    """Of one input."""
    return (100,) if name in SYSTEMS else (28, 28, 1)


def seconds_of_tinygan(name: str) -> float:
    rng = np.random.default_rng(0)
    if name == "learning":
        return _learn(rng)
    network = classifier(rng) if name == "reading" else build(SYSTEMS[name])[0]
    inputs = rng.standard_normal((N, *_shape(name)), dtype=np.float32)
    network(inputs[:PIECE])
    start = time.perf_counter()
    np.concatenate([network(inputs[i : i + PIECE]) for i in range(0, N, PIECE)])
    return time.perf_counter() - start


def _learn(rng: np.random.Generator) -> float:
    network, cross_entropy = classifier(rng), losses.SoftmaxCrossEntropy()
    adam = optim.Adam(network, 1e-3)
    x, labels = rng.standard_normal((BATCH, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, BATCH)

    def step() -> None:
        logits, taken = network.apply(x, True)
        network.store_gradients(taken, cross_entropy(logits, labels)[1], add=False)
        adam.step()

    return median_ms(step, seconds=2.0) / 1e3


def seconds_of_torch(name: str, layout: str) -> float:
    import torch
    from torch.nn.functional import cross_entropy

    rng = np.random.default_rng(0)
    ours = build(SYSTEMS[name])[0] if name in SYSTEMS else classifier(rng)
    (network,), (adam,), memory_format = in_torch([ours], layout)
    shape, n = _shape(name), BATCH if name == "learning" else N
    inputs = torch.randn(n, *((shape[2], *shape[:2]) if len(shape) == 3 else shape))
    if len(shape) == 3:
        inputs = inputs.contiguous(memory_format=memory_format)
    if name == "learning":
        labels = torch.from_numpy(rng.integers(0, 10, BATCH))

        def step() -> None:
            adam.zero_grad()
            cross_entropy(network(inputs), labels).backward()
            adam.step()

        return median_ms(step, seconds=2.0) / 1e3
    network.eval()
    with torch.inference_mode():
        network(inputs[:PIECE])
        start = time.perf_counter()
        torch.cat([network(inputs[i : i + PIECE]) for i in range(0, N, PIECE)])
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--only", choices=ROWS, help="only this one")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--turn", choices=["tinygan", "first", "last"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        name = args.only
        print(json.dumps(seconds_of_tinygan(name) if args.turn == "tinygan" else seconds_of_torch(name, args.turn)))
        return
    print("| what | tinygan s | PyTorch s | ratio |\n|---|---|---|---|", flush=True)
    for name in [args.only] if args.only else ROWS:
        ours, theirs = [], []
        for _ in range(args.rounds):
            a, *layouts = (turn(__file__, which, name, 0.0) for which in ("tinygan", "first", "last"))
            ours.append(a)
            theirs.append(min(layouts))
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"| {name} | {statistics.median(ours):.3g} | {statistics.median(theirs):.3g} | "
            f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} - {max(ratios):.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
