"""Several runs in one table, judged by one judge, with as many samples each.

    from tinygan import data, metrics
    from tinygan.runs import compare

    judge = metrics.Judge(data.load("mnist", split="test"), metrics.digits())
    print(compare(["runs/mnist_mlp_gan", "runs/dcgan"], judge))

The scores that runs wrote on their way, each in its metrics.csv, are of the judge of that run: they compare only where
that was the same. Here all are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checkpoints import exists
from ..errors import ArgumentError, ShapeError, positive_int
from ..metrics import LEAST, Judge, Scores
from .record import BEST
from .trained import Trained, load_trained

SAMPLES = 5_000
TOGETHER = 500  # samples that are made at a time
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


def compare(folders: Iterable[str | Path], judge: Judge, *, samples: int = SAMPLES, seed: int = 0) -> Comparison:
    """Judge the last weights of each run, and the best ones if it kept some; then as many real images.

    Parameters
    ----------
    folders : of runs, as :func:`tinygan.train` leaves them.
    judge : what all are judged by. Fewer real images than samples stand beside themselves at the end.
    samples, seed : how many of each, all from the noise of this seed.

    Raises
    ------
    CheckpointError
        As :func:`tinygan.load_trained`.
    ShapeError
        A run makes images that the judge does not know.
    ArgumentError
        There is no run, or no judge.
    """
    if isinstance(folders, str | Path):
        folders = [folders]
    if not isinstance(judge, Judge):
        raise ArgumentError(f"compare: judge must be a tinygan.metrics.Judge, got {judge!r:.200}.")
    samples, rows = positive_int(samples, "compare: samples", least=LEAST), []
    for folder in folders:
        name = Path(folder).name
        trained = load_trained(folder)
        if trained.image_shape != judge.shape:
            raise ShapeError(f"compare: {folder} makes images of {trained.image_shape}, the judge knows {judge.shape}.")
        rows.append(Row(name, "last", trained.step, judge(_drawn(trained, judge, samples, seed))))
        if exists(Path(folder) / BEST):
            best = load_trained(folder, best=True)
            rows.append(Row(name, "best", None, judge(_drawn(best, judge, samples, seed))))
    if not rows:
        raise ArgumentError("compare: there is no run; give the folders of some.")
    rows.append(Row("real images", "", None, judge.floor(samples)))
    return Comparison(rows)


def _drawn(trained: Trained, judge: Judge, n: int, seed: int) -> np.ndarray:
    """Samples in the range of the judge's images."""
    z = trained.noise(n, seed=seed)
    x = np.concatenate([trained.generator(z[i : i + TOGETHER]) for i in range(0, n, TOGETHER)])
    scale = (judge.high - judge.low) / (trained.high - trained.low)
    return x if scale == 1.0 and trained.low == judge.low else (x - trained.low) * x.dtype.type(scale) + judge.low
