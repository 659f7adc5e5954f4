"""How the cost of a convolutional step grows with the batch, with the pixels and with the cores; draws scaling.png.

    python benchmarks/scaling.py                         # about four minutes; writes benchmarks/scaling.png

The network is dcgan with 32 channels in its largest images. Every point is one process: the median time of a step, and
the memory that the process holds at its peak beyond what it held after its imports. Both should be straight lines in
the number of pixels seen: nothing is made for a whole batch at once but what backward needs. With OMP_NUM_THREADS=1 one
core is busy, without it all of them: the table shows seconds of processor time for each second on the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tinygan.parallel.console import forgiving_streams

BATCHES, SIZE = (16, 32, 64, 128, 256, 512), 32
SIZES, BATCH = (16, 32, 48, 64, 96, 128), 32
WIDTH = 32


def held_mb(which: str) -> float:
    """Memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def measure(batch: int, size: int, steps: int) -> dict[str, float]:
    import numpy as np

    from tinygan import GAN, models

    before = held_mb("VmRSS")
    gan = GAN(*models.dcgan((size, size, 3), width=WIDTH), noise_dim=100)
    real = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)
    gan.step(real)
    times, used = [], time.process_time()
    for _ in range(steps):
        start = time.perf_counter()
        gan.step(real)
        times.append(time.perf_counter() - start)
    busy = (time.process_time() - used) / sum(times)
    return {"ms": 1e3 * statistics.median(times), "MB": held_mb("VmHWM") - before, "busy": busy}


def point(batch: int, size: int, *, steps: int, **environment: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--point", str(batch), str(size), str(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
    return json.loads(done.stdout)


def draw(by_batch: list[dict[str, float]], by_size: list[dict[str, float]], path: Path) -> None:
    from tinygan import plotting

    xs = (list(BATCHES), f"images in a batch, {SIZE}x{SIZE}"), ([s * s for s in SIZES], f"pixels, batch {BATCH}")
    with plotting.figure(path, size=(9, 6), dpi=80) as figure:
        axes = figure.subplots(2, 2, sharex="col")
        for column, ((x, label), points) in enumerate(zip(xs, (by_batch, by_size), strict=True)):
            for row, (key, what) in enumerate((("ms", "milliseconds a step"), ("MB", "peak memory, MB"))):
                y = [p[key] for p in points]
                axes[row, column].plot(x, y, "o-", color="tab:blue")
                axes[row, column].set(xlim=(0, None), ylim=(0, None), ylabel=what)
                axes[row, column].grid(alpha=0.3)
                axes[row, column].locator_params("x", nbins=5)  # more labels of five digits would touch
            axes[1, column].set_xlabel(label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7, help="timed steps a point (default: 7)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "scaling.png", help="where to draw")
    parser.add_argument("--point", nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure(*args.point)))
        return

    print("| batch | size | ms | microseconds a 32x32 image | peak MB |\n|---|---|---|---|---|")
    lines = []
    for cases in ([(b, SIZE) for b in BATCHES], [(BATCH, s) for s in SIZES]):
        lines.append([point(*case, steps=args.steps) for case in cases])
        for (batch, size), p in zip(cases, lines[-1], strict=True):
            each = 1e3 * p["ms"] / (batch * size * size / SIZE**2)
            print(f"| {batch} | {size}x{size} | {p['ms']:.0f} | {each:.0f} | {p['MB']:.0f} |", flush=True)
    from tinygan import plotting

    plotting.attempt(args.out, lambda: draw(*lines, args.out))

    print("\n| OMP_NUM_THREADS | ms | cores busy |\n|---|---|---|")
    for threads in ("1", ""):
        p = point(128, SIZE, steps=args.steps, OMP_NUM_THREADS=threads)
        print(f"| {threads or 'not set'} | {p['ms']:.0f} | {p['busy']:.2f} |", flush=True)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
