"""How good a run is, judged on the way: scores at intervals, their curves, and the best weights so far.

    metrics.csv         a line for each time that samples were judged
    metrics.png         the distances with their errors, what the nearest neighbours say, and how far D can tell
    best.safetensors    G's weights with the least Fréchet distance, of its average if the run keeps one

All three are made from the checkpoint, which holds the scores and the best weights, and from the end of the run, which
is judged too: only in the files, since a run that goes on has not ended there. The samples are made from the same noise
each time, which is the run's own; training is not affected. A run that goes on is judged as before.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import replace_file
from ..errors import ArgumentError, CheckpointError, NonFiniteError, ShapeError, positive_int
from ..gan import GAN
from ..layers import Pack, set_labels
from ..layers.stored import require_same
from ..metrics import LEAST, Estimate, Judge, told_apart
from ..models import ConditionalGAN
from ..network import Sequential
from ..ops import Array, ops_of
from . import plotting
from .feeding import labels_for
from .place import Place
from .stopping import Equilibrium

PARTS = ("precision", "recall", "density", "coverage", "told_apart")
COLUMNS = ("step", "frechet", "kernel", "kernel_error", *(f"{part}{x}" for part in PARTS for x in ("", "_error")))
COLOURS = ("#1f77b4", "#d95f02", "#59a14f", "#8c6bb1", "#555555")  # told apart by most colour-blind people
SAMPLES = 2000  # that are judged on the way: half of a second to two
ASKED = 500  # of the real images and of the samples, that D is asked to tell apart
BEST = "best."  # before the names of the best weights in a checkpoint


class Judging:
    """What a judge has said of a run, and when it is asked.

    Parameters
    ----------
    judge : None for a run that is not judged.
    every : steps from one time to the next.
    samples : how many each time; None: 2,000.
    until : the rule by which the run is done before its steps are (:mod:`tinygan.runs.stopping`).
    range_ : black and white in the images of the run.
    """

    def __init__(
        self,
        judge: Judge | None,
        gan: GAN,
        *,
        every: int = 500,
        samples: int | None = None,
        until: Equilibrium | None = None,
        seed: int = 0,
        range_: Sequence[float] = (-1.0, 1.0),
    ) -> None:
        self.judge, self.gan = judge, gan
        self.began, self.seconds = time.perf_counter(), 0.0  # of this start of the run, and of them for looking
        self.every = positive_int(every, "train: judge_every")
        self.samples = SAMPLES if samples is None else positive_int(samples, "Judging: samples", least=LEAST)
        self.scores = np.empty((0, len(COLUMNS)))
        self.best: dict[str, np.ndarray] = {}
        self.end: list[float] = []  # the row of the end, if no other has it
        self.until = until
        if not (until is None or isinstance(until, Equilibrium)):
            raise ArgumentError(f"train: until must be a tinygan.runs.Equilibrium, got {until!r:.200}.")
        if until and judge is None:
            raise ArgumentError("train: until an equilibrium samples must be judged; give a judge (--judge).")
        if judge is None:
            return
        if not isinstance(judge, Judge):
            raise ArgumentError(f"train: judge must be a tinygan.metrics.Judge, got {judge!r:.200}.")
        if (judge.low, judge.high) != tuple(range_):
            mend = "give Judge the low and high of train"
            raise ArgumentError(f"train: the judge has black and white at {judge.low:g} and {judge.high:g}; {mend}.")
        if judge.shape != gan.sample_shape:
            raise ShapeError(f"train: the judge knows images of {judge.shape}, but G makes {gan.sample_shape}.")
        n, packs = min(ASKED, judge.n, self.samples), _packs(gan.discriminator)
        self._asked = n - n % packs
        if not self._asked:
            raise ArgumentError(f"train: D packs {packs} images, and only {n} are there to ask it about.")
        # A key that nobody else uses, see tinygan.data.epoch_order
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3, 1)))
        self.noise = gan.noise(self.samples, rng=rng)
        if isinstance(gan, ConditionalGAN):
            labels_for(gan, judge.data)  # of which D is asked

    @property
    def names(self) -> dict[str, Any]:
        """What must be the same when the run goes on."""
        if self.judge is None:
            return {}
        images = self.judge.data.batch(self.judge.rows)
        by = {"features": self.judge.name, "samples": self.samples, "images": self.judge.n}
        return {"judge": {**by, "checksum": zlib.crc32(images.data)}}

    def due(self, t: int) -> bool:
        return self.judge is not None and t % self.every == 0

    @property
    def reached(self) -> bool:
        """Whether the run is done by its rule."""
        of = dict(zip(COLUMNS, self.scores.T, strict=True))
        return self.until is not None and self.until.reached(of["kernel"], of["kernel_error"], of["told_apart"])

    def too_rare(self, last: int) -> str | None:
        """What to tell of a run of ``last`` steps that is not judged so often that its rule could end it."""
        t = self.gan.t
        times = len(self.scores) + (last - 1) // self.every - t // self.every
        if self.until is None or t >= last or times > self.until.patience:
            return None
        needed = self.until.patience + 1
        why = f"judged each {self.every} steps (judge_every), it is judged {times} times before, and needs {needed}"
        return f"{self.until} cannot end this run before its {last} steps: {why}."

    def look(self) -> None:
        """Judge the samples of this step, and keep what is said."""
        row = self._row()
        if not len(self.scores) or row[1] < self.scores[:, 1].min():
            self.best = self._network().state_arrays()
        self.scores = np.concatenate([self.scores, [row]])

    def finish(self) -> None:
        """Judge the end."""
        if self.judge is not None and not (len(self.scores) and self.scores[-1, 0] == self.gan.t):
            self.end = self._row()

    def _row(self) -> list[float]:
        assert self.judge is not None
        began = time.perf_counter()
        samples = self.gan.sample(z=self.noise)
        scores = self.judge(samples)
        parts = *scores[2:6], self._told_apart(samples)
        row = [self.gan.t, scores.frechet, *scores.kernel, *(x for part in parts for x in part)]
        if not np.isfinite(row).all():
            raise NonFiniteError(f"train: the scores of step {self.gan.t} are not finite: {scores}.")
        self.seconds += time.perf_counter() - began
        return row

    def _told_apart(self, samples: Array) -> Estimate:
        """How far D can tell the judge's real images from samples."""
        assert self.judge is not None
        D, judge = self.gan.discriminator, self.judge
        n = self._asked
        real = judge.data.batch(judge.rows[:n], low=judge.low, high=judge.high, dtype=samples.dtype)
        gan, logits = self.gan, []
        for x, rows in ((ops_of(samples).from_host(real), judge.rows[:n]), (samples[:n], None)):
            if isinstance(gan, ConditionalGAN):
                set_labels(D, gan.labels(len(samples))[:n] if rows is None else labels_for(gan, judge.data)[rows])
            logits.append(D(x))
        set_labels(D, None)
        return told_apart(*logits)

    def catch_up(self, t: int) -> None:
        """Judge a step that was due when an error ended the run."""
        if t and self.due(t) and not (len(self.scores) and self.scores[-1, 0] >= t):
            self.look()

    @property
    def rows(self) -> np.ndarray:
        """All scores, that of the end too."""
        return np.concatenate([self.scores, [self.end]]) if self.end else self.scores

    def summary(self) -> str:
        """The last scores beside those of real images, and where the best weights are from."""
        assert self.judge is not None
        (t, frechet, kernel, error, *parts), real = self.rows[-1], self.judge.floor(self.samples)
        of_real = "real images" if real.samples == self.samples else f"{real.samples} real images"
        said = f"Fréchet {frechet:.3g} ({of_real}: {real.frechet:.3g}), "
        said += f"kernel {Estimate(kernel, error)} ({real.kernel.value:.2g}), "
        of_parts = zip(PARTS, parts[::2], [*(x.value for x in real[2:6]), 0.5], strict=True)
        said += ", ".join(f"{name} {part:.2f} ({of_real:.2f})" for name, part, of_real in of_parts).replace("_", " ")
        best = self.rows[self.rows[:, 1].argmin()]
        where = "" if best[0] == t else f"; best at step {best[0]:.0f}: Fréchet {best[1]:.3g}, in best.safetensors"
        cost = f"{self.seconds:.0f} s for it, {self.seconds / (time.perf_counter() - self.began):.0%} of the time"
        return f"judged by {self.judge.name}, {self.samples:,} samples ({cost}): {said}{where}"

    def _network(self) -> Any:
        return self.gan.average.network if self.gan.average else self.gan.generator

    # ---- in the checkpoint -------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        best = {BEST + key: array for key, array in self.best.items()}
        return {"scores": self.scores, **best} if self.judge is not None else {}

    def of_arrays(
        self, arrays: dict[str, np.ndarray], source: str, last: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take the scores and the best weights out of the arrays of step ``last``; CheckpointError if they are none."""
        best = {key.removeprefix(BEST): arrays.pop(key) for key in list(arrays) if key.startswith(BEST)}
        scores = arrays.pop("scores", np.empty((0, len(COLUMNS))))
        fits = scores.dtype == np.float64 and scores.ndim == 2 and scores.shape[1] == len(COLUMNS)
        steps, distances = scores.T[:2] if fits else np.empty((2, 0))
        if not (
            fits
            and np.isfinite(scores).all()
            and np.all(np.diff(steps, prepend=0.0) >= 1.0)
            and np.all((steps == np.floor(steps)) & (steps <= last) & (distances >= 0.0))
            and bool(best) == bool(len(scores))
        ):
            raise CheckpointError(f"{source}: does not hold the scores of a run.")
        if best:
            network = self._network()
            require_same(network.state_arrays(), best, source, never_zero=network.never_zero)
        return scores, best

    # ---- in files ----------------------------------------------------------------------------------------------------

    def write(self, place: Place, attempt: Callable[..., bool], *, best: bool = False) -> None:
        """Make metrics.csv, and with ``best`` best.safetensors, which must be no younger than the checkpoint."""
        if self.judge is None:
            return
        if not len(rows := self.rows):
            for path in (place.scores, place.best, place.score_curves):
                attempt(path, partial(path.unlink, missing_ok=True))  # of an end that was none
            return
        lines = [",".join(COLUMNS), *(f"{int(t)},{','.join(f'{x:.6g}' for x in row)}" for t, *row in rows)]
        attempt(place.scores, lambda: replace_file(place.scores, ("\n".join(lines) + "\n").encode()))
        if best:
            attempt(place.best, lambda: self._save_best(place.best))

    def _save_best(self, path: Path) -> None:
        """As :meth:`tinygan.Sequential.save`, which ``load`` of a network of the same layers reads."""
        network = self._network().copy()
        if not self.end or (len(self.scores) and self.scores[:, 1].min() <= self.end[1]):
            network.load_state_arrays(self.best)
        network.save(path)

    def draw(self, place: Place, attempt: Callable[..., bool]) -> None:
        if len(self.rows):
            attempt(place.score_curves, lambda: self._draw(place.score_curves))

    def _draw(self, path: Path) -> None:
        """Above distances, with what real images score as a dashed line; below what the neighbours say."""
        assert self.judge is not None
        (steps, frechet, kernel, error, *parts), floor = self.rows.T, self.judge.floor(self.samples)
        with plotting.figure(path, size=(8, 7), dpi=120) as drawing:
            above, below = drawing.subplots(2, 1, sharex=True)
            above.plot(steps, frechet, "o-", ms=3, color=COLOURS[0], label="Fréchet distance")
            above.axhline(
                floor.frechet, color=COLOURS[0], ls="--", lw=1.0, label=f"of real images, {floor.frechet:.3g}"
            )
            above.set(ylabel="Fréchet distance", yscale="log", title=f"{self.samples:,} samples, by {self.judge.name}")
            beside = above.twinx()
            beside.errorbar(steps, kernel, yerr=error, fmt="o-", ms=3, color=COLOURS[1], label="kernel distance")
            beside.set(ylabel="kernel distance, and its standard error")
            levels = *(x.value for x in floor[2:6]), 0.5
            for i, (name, colour, level) in enumerate(zip(PARTS, COLOURS, levels, strict=True)):
                label = "told apart by D" if name == "told_apart" else name
                below.errorbar(steps, parts[2 * i], yerr=parts[2 * i + 1], fmt="o-", ms=3, color=colour, label=label)
                below.axhline(level, color=colour, ls="--", lw=0.8)
            below.set(xlabel="step", ylabel="part", ylim=(0, None))
            for axes in (above, below):
                axes.grid(alpha=0.25)
            drawing.legend(loc="outside lower center", frameon=False, ncols=4)


def _packs(network: Sequential) -> int:
    """How many images a logit of D is about."""
    inner = (_packs(x) if isinstance(x, Sequential) else x.m if isinstance(x, Pack) else 1 for x in network.layers)
    return prod(inner)
