"""Where the time of a GAN step goes, how much of it the cores share, and what more cores would make of it.

    python benchmarks/where.py                           # about a minute; prints the tables that RESULTS.md keeps
    python benchmarks/where.py --only dcgan

Each function of the CPU's fast operations notes when it was called and for how long, in the fastest of some steps; the
rest is what no such function did: tanh, the losses, Python itself. *Shared* is the time within which the cores had a
part each, *waiting* what passed there beyond the mean of the cores' own times: waking a thread, and the longer part.
For P cores a step is reckoned as

    t(P) = alone  +  shared · cores / P  +  calls · w log2(P) / log2(cores)

with *alone* the time outside of what is shared, and w the waiting of one call, as measured here. BLAS shares the
products of dense layers by itself: they count as shared, without waiting. Memory that all cores wait for is not in it,
so this is the best case.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from peer import build
from systems_step import SYSTEMS

from tinygan import GAN
from tinygan.backends.cpu import CpuOps, blocks, convolution, layers, threads, winograd
from tinygan.parallel.console import forgiving_streams

SHARE_OUT = threads.share_out
KINDS: dict[str, list[tuple[Any, str]]] = {
    "convolutions": [(convolution, name) for name in ("convolve", "convolve_adjoint", "convolve_weights")],
    "dense": [(layers.FastDense, name) for name in ("apply", "input_gradient", "store_gradients")],
    "normalisation": [(layers.FastBatchNorm, name) for name in ("apply", "input_gradient", "backprop")],
    "activations": [(layers.FastLeakyReLU, name) for name in ("apply", "input_gradient")],
    "gradients' sums": [(layers, name) for name in ("sum_rows", "accumulate")],
    "optimisers": [(CpuOps, "update")],
    "noise": [(GAN, "_draw_noise")],
}
CORES = (4, 8, 16)


class Notes:
    """Seconds of each kind without what it calls of another one; of what is shared; and of the waiting there."""

    def __init__(self) -> None:
        self.of_kind: dict[str, float] = defaultdict(float)
        self._within: list[float] = []  # seconds of kinds within each one that is at work
        self.shared = self.waiting = 0.0
        self.calls = 0

    def note(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*args: Any, **options: Any) -> Any:
            self._within.append(0.0)
            began = time.perf_counter()
            result = function(*args, **options)
            spent = time.perf_counter() - began
            self.of_kind[kind] += spent - self._within.pop()
            if self._within:
                self._within[-1] += spent
            return result

        return noted

    def share_out(self, work: Callable[[int, int], None], size: int, *, least: int) -> None:
        times: list[float] = []

        def timed(start: int, stop: int) -> None:
            began = time.perf_counter()
            work(start, stop)
            times.append(time.perf_counter() - began)

        began = time.perf_counter()
        SHARE_OUT(timed, size, least=least)
        if len(times) > 1:
            self.shared += (mean := sum(times) / len(times))
            self.waiting += time.perf_counter() - began - mean
            self.calls += 1


@contextmanager
def noting(notes: Notes) -> Iterator[None]:
    """With the functions of all kinds, and what shares work out, replaced by ones that take notes."""
    new = [(o, name, notes.note(kind, getattr(o, name))) for kind, places in KINDS.items() for o, name in places]
    new += [(module, "share_out", notes.share_out) for module in (blocks, threads, winograd)]
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in new]
    try:
        for owner, name, noted in new:
            setattr(owner, name, noted)
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def fastest(name: str, seconds: float) -> tuple[float, Notes]:
    """The fastest step of those that fit into ``seconds``, and its notes."""
    system = SYSTEMS[name]
    gan = GAN(*build(system), noise_dim=100)
    images = np.random.default_rng(0).uniform(-1, 1, (system.batch, *system.image_shape)).astype(np.float32)
    gan.step(images)
    steps, end = [], time.perf_counter() + seconds
    while len(steps) < 3 or time.perf_counter() < end:
        with noting(notes := Notes()):
            began = time.perf_counter()
            gan.step(images)
            steps.append((time.perf_counter() - began, notes))
    return min(steps, key=lambda step: step[0])


def reckon(spent: float, notes: Notes, cores: int) -> list[float]:
    """t(P) of :data:`CORES`."""
    shared = notes.shared + (notes.of_kind["dense"] if cores > 1 else 0.0)
    alone = spent - shared - notes.waiting
    return [alone + shared * cores / P + notes.waiting * math.log(P, max(2, cores)) for P in CORES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each system (default: 8)")
    args = parser.parse_args()
    cores, lines = threads.workers(), []
    heads = " | ".join([*KINDS, "rest"])
    print(f"| system | ms | {heads} |\n|---|---|{'---|' * (len(KINDS) + 1)}", flush=True)
    for name in [args.only] if args.only else SYSTEMS:
        spent, notes = fastest(name, args.seconds)
        shares = [notes.of_kind[kind] / spent for kind in KINDS]
        cells = " | ".join(f"{share:.0%}" for share in [*shares, 1.0 - sum(shares)])
        print(f"| {name} | {1e3 * spent:.0f} | {cells} |", flush=True)
        times = " | ".join(f"{spent / t:.1f}" for t in reckon(spent, notes, cores))
        lines.append(f"| {name} | {notes.calls} | {notes.shared / spent:.0%} | {notes.waiting / spent:.0%} | {times} |")
    print(f"\n| system | shared calls | shared | waiting | {' | '.join(f'{P} cores' for P in CORES)} |")
    print(f"|---|---|---|---|{'---|' * len(CORES)}", *lines, sep="\n")
    print(f"\nThe last columns: how many times as fast as on the {cores} of this machine, as reckoned.")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
