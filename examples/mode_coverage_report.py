"""The records, the table and the pictures of mode_coverage.py."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygan import plotting
from tinygan.checkpoints import replace_file

PUBLISHED = {  # the rows that papers print: modes, high quality, KL
    "ring": [
        ("GAN, in PacGAN's paper", "6.3 ± 0.5", "98.2", ""),
        ("ALI, in PacGAN's paper", "6.6 ± 0.3", "97.6", ""),
        ("PacGAN4", "7.8 ± 0.1", "95.9", ""),
    ],
    "grid": [
        ("GAN, in PacGAN's paper", "17.3 ± 0.8", "94.8", ""),
        ("ALI, in PacGAN's paper", "24.1 ± 0.4", "95.7", ""),
        ("PacGAN4", "24.8 ± 0.2", "93.6", ""),
    ],
    "stacked": [
        ("DCGAN", "99", "", "3.40"),
        ("Unrolled GAN", "48.7", "", "4.32"),
        ("VEEGAN", "150", "", "2.95"),
        ("WGAN-GP", "959", "", "0.73"),
        ("StyleGAN2", "940", "", "0.42"),
        ("PacDCGAN2", "1000", "", "0.06"),
        ("R3GAN", "1000", "", "0.029"),
    ],
}
COLUMNS = {"modes": 1, "quality": 1, "spread": 2, "kl": 4}  # and how many digits of each are shown
SIDES = {"points": 1.9, "images": 4.9}  # inches of a panel: 64 images need more to be read


def keep(samples: np.ndarray, record: dict, npy: Path, json_file: Path) -> None:
    """Write both files of a run, each whole or not at all; the record last, since it says that the run has ended."""
    buffer = BytesIO()
    np.save(buffer, samples)
    replace_file(npy, buffer.getvalue())
    replace_file(json_file, json.dumps(record, indent=1).encode())


def mean_and_error(values: list[float], digits: int) -> str:
    """mean ± standard error of the mean; one run has no error."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"


def table(records: list[dict]) -> str:
    """One row for each loss and penalty; then real samples, as many as were judged; then the published rows."""
    data, steps, k = (records[0][key] for key in ("data", "steps", "of"))
    row = "{:37} {:>12} {:>14} {:>12} {:>16} {:>10} {:>10}".format

    def cells(measured: list[dict]) -> list[str]:
        return [mean_and_error([m[c] for m in measured], n) if c in measured[0] else "" for c, n in COLUMNS.items()]

    lines = [row(f"{data}: {k} modes", "modes", "high quality %", "spread", "KL", "all modes", "collapsed")]
    for loss, penalty in dict.fromkeys((r["loss"], r["penalty"]) for r in records):
        runs = [r for r in records if (r["loss"], r["penalty"]) == (loss, penalty)]
        counts = (sum(r["modes"] == k for r in runs), sum(r["collapsed"] for r in runs))
        lines.append(row(f"{loss}, {penalty}, {steps:,}", *cells(runs), *(f"{n} of {len(runs)}" for n in counts)))
    lines.append(row("real samples", *cells([r["real"] for r in records]), "", ""))
    lines += [row(name, modes, quality, "", kl, "", "") for name, modes, quality, kl in PUBLISHED[data]]
    return "\n".join(line.rstrip() for line in lines)


class Panel(NamedTuple):
    """What one panel of a picture shows."""

    samples: np.ndarray  #: points (N, 2), or images (N, H, W, 3)
    centres: np.ndarray | None  #: of points: where the modes are (K, 2)
    text: str


def panel(samples: np.ndarray, points: Any, record: dict, title: str) -> Panel:
    """The samples of a run and what there is to say of them; ``points`` is the data set, None for images."""
    if points is None:
        return Panel(samples, None, f"{title}\n{record['modes']} modes, KL {record['kl']:.3f}")
    return Panel(samples * points.scale, points.centres, f"{title}\n{record['modes']} modes, {record['quality']:.1f} %")


def draw(rows: list[list[Panel]], path: Path) -> None:
    """Rows of panels, each with its text below."""
    height, width = len(rows), max(map(len, rows))
    side = SIDES["images" if any(p.centres is None for panels in rows for p in panels) else "points"]
    with plotting.figure(path, size=(side * width + 0.3, (side + 0.3) * height + 0.2)) as figure:
        axes = figure.subplots(height, width, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for row, panels in zip(axes, rows, strict=True):
            for ax, (samples, centres, text) in zip(row, panels, strict=False):
                ax.set_axis_on()
                if centres is None:
                    ax.imshow(plotting.grid(samples[:64]))
                else:
                    edge = 1.3 * abs(centres).max()
                    ax.scatter(*centres.T, s=40, color="tab:blue", alpha=0.25, linewidths=0)
                    ax.scatter(*samples.T, s=1, color="tab:orange", linewidths=0)
                    ax.set(xlim=(-edge, edge), ylim=(-edge, edge))
                ax.set_xlabel(text, fontsize=8)
                ax.set(xticks=[], yticks=[], aspect="equal")
                ax.spines[:].set_color("0.8")
