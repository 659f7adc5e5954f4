"""What each part of the CPU's fast operations is worth: a step of a system with it left out, over one with all of it.

    python benchmarks/parts.py --only dcgan --seconds 50

All ways take turns in one process, a step of each at a time after one to warm up; the fastest of each counts. "As it
is" comes twice, so that the two show how far a figure can be trusted. Above 1, the part pays.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from peer import build
from systems_step import SYSTEMS

from tinygan import GAN
from tinygan.backends.cpu import batchnorm, blocks, convolution, winograd
from tinygan.parallel.console import forgiving_streams

#: What is put in the place of which name of which module, to leave a part out
LEFT_OUT: dict[str, list[tuple[object, str, object]]] = {
    "as it is": [],
    "tiles (Winograd)": [(winograd, "saves", lambda *_: False)],
    "cells for few channels": [(convolution, "FEW", 0)],
    "short rows side by side": [(module, "side_by_side", lambda rows: rows) for module in (blocks, batchnorm)],
    "blocks": [(blocks, "BLOCK", 1 << 60)],
    "blocks on all cores": [(blocks, "share_out", lambda work, size, *, least: work(0, size))],
    "as it is, again": [],
}


def seconds_without(changes: list[tuple[object, str, object]], step: Callable[[], object]) -> float:
    """The time of a step with these changes, after one to warm up; all is put back."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        step()
        began = time.perf_counter()
        step()
        return time.perf_counter() - began
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each system (default: 60)")
    args = parser.parse_args()
    for name in [args.only] if args.only else SYSTEMS:
        system = SYSTEMS[name]
        gan = GAN(*build(system), noise_dim=100)
        images = np.random.default_rng(0).uniform(-1, 1, (system.batch, *system.image_shape)).astype(np.float32)
        fastest, end = dict.fromkeys(LEFT_OUT, np.inf), time.monotonic() + args.seconds
        while time.monotonic() < end:
            for part, changes in LEFT_OUT.items():
                fastest[part] = min(fastest[part], seconds_without(changes, partial(gan.step, images)))
        print(f"\n{name}: {1e3 * fastest['as it is']:.0f} ms")
        for part, seconds in list(fastest.items())[1:]:
            print(f"  {seconds / fastest['as it is']:.2f}  {part}")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
