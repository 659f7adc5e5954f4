"""What the measures say where the answer is known, by three kinds of features, and how it depends on how many samples.

    python benchmarks/known_answers.py --data FOLDER_WITH_MNIST     # about two minutes; draws known_answers.png

Each row of the table is 2,000 training digits, changed as it says, judged beside 5,000 of those for tests; the best
answer there is, is that of the digits as they are. The picture has the distances of N training digits from all 10,000.
Fréchet's grows where N is small, with 1/N, which is its bias: two numbers of different N do not compare. The kernel
distance does not depend on N, within its standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from tinygan import data, metrics, plotting
from tinygan.parallel.console import forgiving_streams

SAMPLES = 2000
COUNTS = [100, 200, 500, 1000, 2000, 5000, 10_000]
FEATURES: dict[str, Callable[[], object]] = {
    "digits": metrics.digits,
    "random": lambda: metrics.RandomConvolutions(1),
    "pixels": lambda: metrics.pixels,
}
CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "as they are": lambda x, labels: x[:SAMPLES],
    "blurred by a pixel": lambda x, labels: gaussian_filter(x[:SAMPLES], (0, 1, 1, 0)),
    "moved by two pixels": lambda x, labels: np.roll(x[:SAMPLES], 2, axis=2),
    "noise of 0.2 added": lambda x, labels: np.clip(x[:SAMPLES] + _noise(x[:SAMPLES].shape), -1.0, 1.0),
    "0 to 4 alone": lambda x, labels: x[labels < 5][:SAMPLES],
    "100 of them, 20 times each": lambda x, labels: np.tile(x[:100], (SAMPLES // 100, 1, 1, 1)),
}


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 0.2, shape).astype(np.float32)


def bias(features: Callable, train: data.ImageData, test: data.ImageData) -> list[tuple[float, metrics.Estimate]]:
    """Both distances of the first N training digits from the test digits, for each N."""
    real, others = (features(images.batch(np.arange(min(len(images), COUNTS[-1])))) for images in (test, train))
    moments = metrics.Moments(real)
    return [(metrics.frechet_distance(others[:n], moments), metrics.kernel_distance(others[:n], real)) for n in COUNTS]


def draw(found: dict[str, list[tuple[float, metrics.Estimate]]], path: Path) -> None:
    with plotting.figure(path, size=(9, 3.6), dpi=100) as figure:
        left, right = figure.subplots(1, 2)
        for name, rows in found.items():
            frechet, kernel = zip(*rows, strict=True)
            left.plot(COUNTS, frechet, "o-", ms=3, label=name)
            scale = max(abs(k.value) + k.error for k in kernel)  # each in its own unit
            values, errors = ([getattr(k, key) / scale for k in kernel] for key in ("value", "error"))
            right.errorbar(COUNTS, values, yerr=errors, fmt="o-", ms=3, label=name)
        left.set(title="Fréchet distance of N digits from 10,000 others", xscale="log", yscale="log", xlabel="N")
        right.set(title="kernel distance, over its largest", xscale="log", xlabel="N")
        right.axhline(0.0, color="0.5", lw=0.8)
        for axes in (left, right):
            axes.grid(alpha=0.25)
            axes.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"), help="where to draw")
    args = parser.parse_args()
    train, test = (data.load(args.data, split=split) for split in ("train", "test"))
    x, labels = train.batch(np.arange(6 * SAMPLES)), train.labels[: 6 * SAMPLES]
    print("| samples | features | Fréchet | kernel | precision | recall | density | coverage |\n" + "|---" * 8 + "|")
    found = {}
    for name, make in FEATURES.items():
        features = make()
        judge = metrics.Judge(test, features, n=5000)
        for change, changed in tqdm(CHANGES.items(), desc=name, leave=False):
            scores = judge(changed(x, labels))
            parts = " | ".join(f"{part.value:.2f}" for part in scores[2:6])
            tqdm.write(f"| {change} | {name} | {scores.frechet:.3g} | {scores.kernel} | {parts} |")
        found[name] = bias(features, train, test)
    plotting.attempt(args.out, lambda: draw(found, args.out))


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
