"""Several runs in one table, judged by one judge, with as many samples each.

    from tinygan import data, metrics
    from tinygan.runs import compare

    judge = metrics.Judge(data.load("mnist", split="test"), metrics.digits())
    print(compare(["runs/mnist_mlp_gan", "runs/dcgan"], judge))

The scores that runs wrote on their way, each in its metrics.csv, are of the judge of that run: they compare only where
that was the same. Here all are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checkpoints import as_path, exists
from ..errors import ArgumentError, ShapeError, positive_int
from ..layers import Layer
from ..metrics import LEAST, Judge, Scores
from .record import BEST
from .trained import Trained, load_trained

SAMPLES = 5_000
HEADS = "run", "weights", "step", "Fréchet", "kernel", "precision", "recall", "density", "coverage"


class Row(NamedTuple):
    """One line of a :class:`Comparison`."""

    run: str
    weights: str  #: "last", "best" on the way, or "" of real images
    step: int | None  #: of the last weights; which step the best ones are of is in metrics.csv
    scores: Scores


class Comparison(NamedTuple):
    """What :func:`compare` finds; ``str`` of it is a table in Markdown."""

    rows: list[Row]

    def __str__(self) -> str:
        lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
        for run, weights, step, scores in self.rows:
            parts = (f"{part.value:.2f}" for part in scores[2:6])
            shown = (
                run,
                weights,
                "" if step is None else f"{step:,}",
                f"{scores.frechet:.3g}",
                str(scores.kernel),
                *parts,
            )
            lines.append(f"| {' | '.join(shown)} |")
        scores = self.rows[-1].scores
        return "\n".join([*lines, "", f"By {scores.features}, {self.rows[0].scores.samples:,} samples of each run."])


def compare(
    folders: str | Path | Iterable[str | Path],
    judge: Judge,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    classes: Iterable[type[Layer]] | Mapping[str, type[Layer]] = (),
) -> Comparison:
    """Judge the last weights of each run, and the best ones if it kept some; at the end real images.

    Parameters
    ----------
    folders : of runs, as :func:`tinygan.train` leaves them.
    judge : what all are judged by.
    samples, seed : how many of each, all from the noise of this seed. Of real images as many, or half of those that the
        judge knows if that is less: the table says how many.
    classes : as for :func:`tinygan.load_trained`.

    Raises
    ------
    CheckpointError
        As :func:`tinygan.load_trained`.
    ShapeError
        A run makes images that the judge does not know.
    ArgumentError
        There is no run, or no judge.
    """
    if not isinstance(judge, Judge):
        raise ArgumentError(f"compare: judge must be a tinygan.metrics.Judge, got {judge!r:.200}.")
    given = [folders] if isinstance(folders, str | Path) else folders
    if not isinstance(given, Iterable):
        raise ArgumentError(f"compare: folders must be those of runs, got {folders!r:.200}.")
    paths = [as_path(folder, "compare: folder") for folder in given]
    if not paths:
        raise ArgumentError("compare: there is no run; give the folders of some.")
    samples = positive_int(samples, "compare: samples", least=LEAST)
    found: list[tuple[str, str, int | None, Trained]] = []
    names = [path.absolute().name for path in paths]
    for path, name in zip(paths, names, strict=True):  # all are found good before the first is judged
        shown = name if names.count(name) == 1 else str(path)
        last = load_trained(path, classes=classes)
        if last.image_shape != judge.shape:
            raise ShapeError(f"compare: {path} makes images of {last.image_shape}, the judge knows {judge.shape}.")
        found.append((shown, "last", last.step, last))
        if exists(path / BEST):
            found.append((shown, "best", None, load_trained(path, best=True, classes=classes)))
    rows = [
        Row(run, weights, step, judge(_drawn(trained, judge, samples, seed))) for run, weights, step, trained in found
    ]
    real = judge.floor(samples)
    return Comparison([*rows, Row(f"real images ({real.samples:,})", "", None, real)])


def _drawn(trained: Trained, judge: Judge, n: int, seed: int) -> np.ndarray:
    """Samples in the range of the judge's images."""
    x = trained.sample(n, seed=seed)
    scale = (judge.high - judge.low) / (trained.high - trained.low)
    return x if scale == 1.0 and trained.low == judge.low else (x - trained.low) * x.dtype.type(scale) + judge.low
