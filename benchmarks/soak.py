"""A long run, or many in one process: does memory grow, does a file or a thread stay behind?

    python benchmarks/soak.py --steps 1000000        a toy in the plane with BatchNorm, R1 and an average: half an hour
    python benchmarks/soak.py --runs 50              so many short runs, with pictures, curves, films and checkpoints

What the process holds (memory, open files, threads) is looked at a hundred times, after a warm-up of a tenth. Memory
is fitted by a straight line: its slope is told in MB an hour, and what it makes over the whole. The exit code is 1 if
the slope is above 1 MB an hour and the line rises by more than 1 MB, or if a file or a thread more is there at the end.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinygan import GAN, Sequential, models, train
from tinygan.data import ImageData
from tinygan.layers import BatchNorm, Dense, LeakyReLU
from tinygan.parallel.console import forgiving_streams
from tinygan.penalties import R1

LOOKS = 100
MEGABYTE = 1 << 20


def toy() -> GAN:
    rng = np.random.default_rng(0)
    G = Sequential(Dense(2, 32, rng=rng), BatchNorm(32), LeakyReLU(), Dense(32, 2, rng=rng))
    D = Sequential(Dense(2, 32, rng=rng), LeakyReLU(), Dense(32, 1, rng=rng))
    return GAN(G, D, noise_dim=2, penalties=R1(0.1), average=0.999)


def steps(n: int) -> Iterator[None]:
    """Train the toy on eight points of a circle, n steps in all; yield after each hundredth part of them."""
    gan, rng = toy(), np.random.default_rng(1)
    angles = 2.0 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for t in range(1, n + 1):
        real = centres[rng.integers(8, size=64)] + 0.02 * rng.standard_normal((64, 2))
        gan.step(real.astype(np.float32))
        if t % max(1, n // LOOKS) == 0:
            gan.sample(64)
            yield
    if not np.isfinite(gan.sample(64)).all():
        sys.exit("the toy is not finite any more")


def runs(n: int) -> Iterator[None]:
    """Make n runs, each of a GAN of its own, and yield after each."""
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    options = {"steps": 20, "batch_size": 16, "sample_every": 5, "checkpoint_every": 5, "progress": False}
    for seed in range(n):
        networks = models.mlp((8, 8, 1), noise_dim=8, g_hidden=(32,), d_hidden=(32,), rng=seed)
        gan = GAN(*networks, noise_dim=8, penalties=R1(1.0), average=0.9, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            train(gan, ImageData(images, name="noise"), out=Path(folder, "run"), **options)
        yield


def held() -> tuple[float, int, int]:
    """(MB of memory, open files, threads) of this process."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files, workers = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE, files, workers
    except OSError:  # no Linux
        import resource

        per_kb = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * per_kb / MEGABYTE, 0, threading.active_count()


def watch(parts: Iterator[None], what: str, total: int) -> bool:
    """Go through all parts and tell what the process holds on the way; return whether it held what it had."""
    seconds: list[float] = []
    seen: list[tuple[float, int, int]] = []
    began = time.monotonic()
    for _ in tqdm(parts, what, total, leave=False, disable=None):
        seconds.append(time.monotonic() - began)
        seen.append(held())
    warm = len(seen) // 10
    hours, memory = np.array(seconds[warm:]) / 3600.0, np.array([megabytes for megabytes, *_ in seen[warm:]])
    slope = float(np.polyfit(hours - hours[0], memory, 1)[0]) if len(hours) > 1 else 0.0
    growth = slope * float(hours[-1] - hours[0])
    first, last = seen[warm], seen[-1]
    print(f"{what} in {seconds[-1]:,.0f} s, after the warm-up and at the end:")
    print(f"  {first[0]:.1f} and {last[0]:.1f} MB, at most {memory.max():.1f}")
    print(f"  {slope:+.2f} MB an hour, {growth:+.2f} MB in all")
    print(f"  {first[1]} and {last[1]} open files, {first[2]} and {last[2]} threads")
    return (slope <= 1.0 or growth <= 1.0) and last[1] <= first[1] and last[2] <= first[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=0, metavar="N", help="steps of the toy")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="runs in one process")
    args = parser.parse_args()
    if not args.steps and not args.runs:
        parser.error("give --steps N or --runs N, or both")
    fine = [watch(steps(args.steps), f"{args.steps:,} steps", LOOKS)] if args.steps else []
    fine += [watch(runs(args.runs), f"{args.runs:,} runs", args.runs)] if args.runs else []
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
