"""How the cost of a convolutional step grows with batch, pixels and cores, beside PyTorch; draws scaling.png.

    pip install -e '.[bench]'
    python benchmarks/scaling.py                         # about a quarter of an hour; writes benchmarks/scaling.png
    python benchmarks/scaling.py --alone                 # without PyTorch

The network is dcgan with 32 channels in its largest images. Every point is a process of its own: the median time of a
step, and the memory that the process holds at its peak beyond what it held after its imports. PyTorch takes the loop
that tutorials print, in the faster of its two memory layouts. Both should be straight lines in the number of pixels
seen: nothing is made for a whole batch at once but what backward needs. One core is OMP_NUM_THREADS=1. "Exponent" is
the slope of log time against log size from a batch of 16, or 32x32 pixels, on: 1 is a straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from peer import Peer, System, build
from systems_step import held_mb, timed

from tinygan.parallel.console import forgiving_streams

BATCHES, SIZE = (1, 4, 16, 32, 64, 128, 256, 512, 1024), 32
SIZES, BATCH = (16, 32, 48, 64, 96, 128), 32
WIDTH = 32


def measure(library: str, batch: int, size: int, seconds: float) -> dict[str, float]:
    """Of tinygan, or of PyTorch in the layout "first" or "last"."""
    system = System("dcgan", (size, size, 3), batch, options={"width": WIDTH})
    if library == "tinygan":
        import numpy as np

        from tinygan import GAN

        before = held_mb("VmRSS")
        gan = GAN(*build(system), noise_dim=100)
        real = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)
        ms, busy = timed(lambda: gan.step(real), seconds=seconds)
    else:
        import torch  # noqa: F401  (before its memory is counted)

        before = held_mb("VmRSS")
        ms, busy = timed(Peer(system, library).usual, seconds=seconds)
    return {"ms": ms, "MB": held_mb("VmHWM") - before, "busy": busy}


def point(library: str, cores: int, batch: int, size: int, seconds: float) -> dict[str, float]:
    """The same in a process of its own, of PyTorch in its faster layout."""
    answers = []
    for which in ["tinygan"] if library == "tinygan" else ["first", "last"]:
        command = [sys.executable, __file__, "--seconds", str(seconds), "--point", which, str(batch), str(size)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        answers.append(json.loads(done.stdout))
    return min(answers, key=lambda answer: answer["ms"])


def draw(lines: dict[tuple[str, int], list[list[dict[str, float]]]], path: Path) -> None:
    from tinygan import plotting

    xs = (list(BATCHES), f"images in a batch, {SIZE}x{SIZE}"), ([s * s for s in SIZES], f"pixels, batch {BATCH}")
    with plotting.figure(path, size=(9, 6), dpi=80) as figure:
        axes = figure.subplots(2, 2, sharex="col")
        for (library, cores), columns in lines.items():
            style = {"color": "tab:blue" if library == "tinygan" else "tab:orange", "ls": "-" if cores > 1 else "--"}
            label = f"{library}, {cores} core{'s' if cores > 1 else ''}"
            for column, points in enumerate(columns):
                for row, key in enumerate(("ms", "MB")):
                    axes[row, column].plot(xs[column][0], [p[key] for p in points], "o", ms=3, label=label, **style)
        for column, (_, label) in enumerate(xs):
            for row, what in enumerate(("milliseconds a step", "peak memory, MB")):
                axes[row, column].set(xlim=(0, None), ylim=(0, None), ylabel=what)
                axes[row, column].grid(alpha=0.3)
                axes[row, column].locator_params("x", nbins=5)  # more labels of five digits would touch
            axes[1, column].set_xlabel(label)
        axes[0, 0].legend(fontsize="small")


def exponent(xs: list[int], points: list[dict[str, float]], start: int) -> float:
    """Of x in the time, by least squares of logarithms, from x = ``start`` on."""
    import numpy as np

    logs = np.log([(x, p["ms"]) for x, p in zip(xs, points, strict=True) if x >= start])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each point, and three steps (default: 1.5)")
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "scaling.png", help="where to draw")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        library, batch, size = args.point
        print(json.dumps(measure(library, int(batch), int(size), args.seconds)))
        return

    series = [(library, cores) for library in ("tinygan", "PyTorch")[: 1 if args.alone else 2] for cores in (1, 2)]
    heads = " | ".join(f"{library}, {cores}: ms | MB" for library, cores in series)
    print(f"| batch | size | {heads} |\n|---|---|{'---|---|' * len(series)}")
    lines: dict[tuple[str, int], list[list[dict[str, float]]]] = {one: [[], []] for one in series}
    for column, cases in enumerate(([(b, SIZE) for b in BATCHES], [(BATCH, s) for s in SIZES])):
        for batch, size in cases:
            cells = []
            for one in series:
                lines[one][column].append(p := point(*one, batch, size, args.seconds))
                cells.append(f"{p['ms']:.0f} | {p['MB']:.0f}")
            print(f"| {batch} | {size}x{size} | {' | '.join(cells)} |", flush=True)
    from tinygan import plotting

    plotting.attempt(args.out, lambda: draw(lines, args.out))

    print("\n| | exponent of the batch | of the pixels | busy, batch 128 |\n|---|---|---|---|")
    for (library, cores), (by_batch, by_size) in lines.items():
        slopes = exponent(list(BATCHES), by_batch, 16), exponent([s * s for s in SIZES], by_size, 32 * 32)
        busy = by_batch[BATCHES.index(128)]["busy"]
        print(f"| {library}, {cores} | {slopes[0]:.2f} | {slopes[1]:.2f} | {busy:.2f} |", flush=True)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
