"""The folder that a training run leaves behind, and how a run comes back to life from it.

    checkpoint.safetensors    all that the next step depends on, and the losses so far; resuming needs only this file
    config.json               settings, networks, versions
    losses.csv                both losses of every step, and the penalty if D pays one
    losses.png                the loss curves
    samples.png               what G makes of fixed noise now
    samples/step_000500.png   what it made of the same noise at intervals
    real.png                  as many real images, in the same places (of each class its own), as D is shown them
    film.gif                  these pictures in a row
    metrics.csv, metrics.png, best.safetensors    of a run that is judged, see :mod:`tinygan.runs.judging`

Every file is put in place whole, except losses.csv, which grows; on resuming it is made anew from the checkpoint, and
pictures younger than the checkpoint go. So a run may be killed at any moment: resumed, it ends with the same bytes in
every file as one that was never interrupted. Nothing that is written holds a time, or knows of interruptions.

A file that cannot be made (a full disk, something in its place, a program that holds it) ends no run: that is said
once, training goes on, and the file is made the next time that it can be. Only a run whose first or last checkpoint
cannot be written ends in an error.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints
from ..data import ImageData
from ..data.dataset import check_range
from ..errors import ArgumentError, CheckpointError, positive_int
from ..errors import seed as check_seed
from ..gan import GAN, Losses
from ..parallel.console import say
from . import plotting, state
from .identity import as_json, configuration, identity, require_same_run
from .judging import Judging
from .outputs import LossTable, attempt, on_host
from .place import Place, step_in
from .record import read_checkpoint, step_of
from .showing import Shown
from .writer import Writer


class Run(Place):
    """One training run: a GAN, what it learns from, and its folder.

    Parameters
    ----------
    folder : made by :meth:`start` if it is not there. From the beginning of a run to the end of a ``with`` block it
        belongs to this run alone.
    gan, data, batch_size, seed : what is trained on what; recorded, and compared when a run is resumed.
    low, high : the values of black and white in images.
    settings : JSON-like values to record besides, such as command-line flags.
    judging : of a run whose samples are judged.

    Attributes
    ----------
    saved : the step of the checkpoint in the folder.

    Raises
    ------
    ArgumentError
        The folder is no path, the seed no whole number of at least 0, or a setting no JSON.
    """

    def __init__(
        self,
        folder: str | Path,
        gan: GAN,
        data: ImageData,
        *,
        batch_size: int,
        seed: int,
        low: float = -1.0,
        high: float = 1.0,
        settings: Mapping[str, Any] | None = None,
        judging: Judging | None = None,
    ) -> None:
        if not isinstance(gan, GAN) or not isinstance(data, ImageData):
            made = f"got {type(gan).__name__} and {type(data).__name__}"
            raise ArgumentError(f"Run: expected a tinygan.GAN and tinygan.data.ImageData, {made}.")
        if not (settings is None or isinstance(settings, Mapping)):
            raise ArgumentError(f"Run: settings must be a dict of what to record, got {settings!r:.200}.")
        if not (judging is None or isinstance(judging, Judging)):
            raise ArgumentError(f"Run: judging must be a Judging of tinygan.runs, got {judging!r:.200}.")
        batch_size = positive_int(batch_size, "Run: batch_size")
        super().__init__(checkpoints.as_path(folder, "Run: folder"))
        self.gan, (self.low, self.high) = gan, check_range(low, high)
        self.steps_per_epoch = len(data) // (batch_size * gan.d_steps)
        self.settings = {key: as_json(key, value) for key, value in (settings or {}).items()}
        seed = check_seed(seed, "train")
        self.judging = judging or Judging(None, gan)
        self.identity = json.loads(json.dumps(identity(gan, data, batch_size, seed, low, high) | self.judging.names))
        self.shown = Shown(gan, data, seed)
        self.columns = ["d_loss", "g_loss", "penalty"] if gan.penalties else ["d_loss", "g_loss"]
        self.losses = np.empty((0, len(self.columns)), dtype=np.float32)
        self.saved = 0
        self.latest = b""  # what samples.png holds, or should
        self._attempt = partial(attempt, failing=set())  # makes what the run can do without
        self.table, self.writer = LossTable(self.columns, self.steps_per_epoch), Writer(self.folder)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.leave()

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.gan!r}, {self.identity['data']['name']!r})"

    # ---- beginning -------------------------------------------------------------------------------------------------

    def start(self, *, overwrite: bool = False) -> None:
        """Begin in an empty folder, or one without a run; ``overwrite`` removes the files of an earlier run first."""
        if self.gan.t:
            raise ArgumentError(
                f"the GAN has taken {self.gan.t} steps already; a run starts with a new one. Make the networks and the "
                f"GAN anew (run their cell again), or go on with the run in {self.folder}: resume=True."
            )
        self._picture()  # refuses whatever cannot be drawn, before anything is written
        self._take_folder()
        existing = [file for file in self.files() if checkpoints.exists(file)]
        if existing and not overwrite:
            begun = f"a run of {step_of(self.checkpoint)} steps" if self.checkpoint in existing else ""
            raise ArgumentError(
                f"{self.folder} holds {begun or f'a {existing[0].name}'} already. Go on with it (--resume, "
                "resume=True), replace it (--overwrite, overwrite=True), or choose another folder (--out, out=...)."
            )
        self.save()  # in place of an earlier one, which is lost only when this one is written
        for file in (file for file in existing if file != self.checkpoint):
            kind = self.frames if file.parent == self.frames else file
            self._attempt(kind, partial(checkpoints.patiently, file.unlink))
        self._begin()

    def resume(self, last: int) -> None:
        """Continue the run in the folder, which shall reach step ``last``.

        Raises
        ------
        CheckpointError
            There is nothing to resume, it is damaged, it was made with other settings, or it is beyond ``last``.
            Nothing has changed then.
        """
        if os.path.exists(self.checkpoint):
            self._take_folder()
        arrays, about = read_checkpoint(self.checkpoint)
        require_same_run(about["identity"], self.identity, str(self.checkpoint))
        losses = arrays.pop("losses")
        if about["step"] > last:
            raise CheckpointError(
                f"{self.checkpoint}: the run is at step {about['step']:,} already, beyond the {last:,} asked for; "
                "ask for more steps or epochs."
            )
        if losses.shape[1] != len(self.columns) or losses.dtype != self.losses.dtype:
            raise CheckpointError(f"{self.checkpoint}: does not hold the losses of its {about['step']:,} steps.")
        scores, best = self.judging.of_arrays(arrays, str(self.checkpoint), about["step"])
        optimizers = self.gan.g_optimizer, self.gan.d_optimizer
        rates = [optimizer.lr for optimizer in optimizers]
        state.load_state(self.gan, arrays, about, source=str(self.checkpoint))
        for optimizer, lr in zip(optimizers, rates, strict=True):
            optimizer.lr = lr  # a lower one may be what a run needs to get further
        self.losses, self.saved = losses, self.gan.t
        self.judging.scores, self.judging.best = scores, best
        self.judging.catch_up(self.saved)
        for frame in self.pictures():
            if step_in(frame) > self.saved:
                self._attempt(self.frames, partial(checkpoints.patiently, frame.unlink))
        self._begin()

    def _begin(self) -> None:
        """Write what follows from the checkpoint."""
        self._attempt(self.csv, lambda: self.table.write(self.csv, self.losses))
        self._attempt(self.config, self._write_configuration)
        if self.saved == 0 or not self.real.is_file():
            self._attempt(self.real, self._write_real)
        self.judging.write(self, self._attempt, best=True)
        if self.saved == 0:
            self.sample(keep=True)

    def _write_configuration(self) -> None:
        text = json.dumps(configuration(self.gan, self.identity, self.settings), indent=2)
        checkpoints.replace_file(self.config, (text + "\n").encode())

    def _write_real(self) -> None:
        checkpoints.replace_file(self.real, plotting.png(self.shown.real()))

    def _take_folder(self) -> None:
        """Keep others from writing in it, and find out now whether it can be written, not after an hour of training."""
        probe = self.folder / f"{self.checkpoint.name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.writer.hold()
            checkpoints.clear(probe)
            checkpoints.patiently(lambda: probe.write_bytes(b""))
            checkpoints.patiently(probe.unlink)
        except OSError as error:
            which = Path(error.filename or self.folder)
            what = "" if which.parent != self.folder else f"{which.name}: "
            raise ArgumentError(
                f"{self.folder}: the output folder cannot be written ({what}{error.strerror or error}). "
                "Choose another (--out, out=...), or make this one writable."
            ) from error

    # ---- as training goes on ---------------------------------------------------------------------------------------

    def record(self, losses: Iterable[Losses]) -> None:
        """Add the losses of the latest steps to those of the run. Reading them waits for the device."""
        n = len(self.columns)
        rows = np.array(on_host([x for step in losses for x in step[:n]]), dtype=np.float32).reshape(-1, n)
        self.losses = np.concatenate([self.losses, rows])
        self._attempt(self.csv, lambda: self.table.write(self.csv, self.losses))

    def judge(self) -> bool:
        """Ask the judge of this step's samples, and write what it says; return whether the run is done by its rule."""
        self.judging.look()
        self.judging.write(self, self._attempt)
        return self.judging.reached

    def sample(self, *, keep: bool = False) -> None:
        """Draw samples.png; with ``keep`` also a picture of this step, for the film."""
        self._attempt(self.picture, self._write_samples)
        if keep and self.latest:
            self._attempt(self.frames, self._keep_samples)

    def _write_samples(self) -> None:
        self.latest = b""
        self.latest = plotting.png(self._picture())
        checkpoints.replace_file(self.picture, self.latest)

    def _keep_samples(self) -> None:
        self.frames.mkdir(parents=True, exist_ok=True)
        checkpoints.replace_file(self.frames / f"step_{self.gan.t:06d}.png", self.latest)

    def _picture(self) -> np.ndarray:
        return self.shown.picture(low=self.low, high=self.high)

    def save(self) -> None:
        """Write the checkpoint, or raise CheckpointError. All losses must have been recorded."""
        arrays, about = state.state(self.gan)
        about |= {"kind": "run", "identity": self.identity, "settings": self.settings}
        with suppress(OSError):  # somebody may have moved it away
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            checkpoints.write(self.checkpoint, {**arrays, "losses": self.losses, **self.judging.arrays()}, about)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{self.way_back() if self.gan.t else ''}") from error
        self.saved = self.gan.t

    def rescue(self, losses: Iterable[Losses]) -> None:
        """Keep a run that an error ends between two steps, whose ``losses`` since the last look are not recorded yet.

        CheckpointError if it cannot be written or is not finite: then the checkpoint before is the better one.
        """
        self.record(losses)
        arrays = [self.losses, *state.state(self.gan)[0].values()]
        if len(self.losses) != self.gan.t or not all(np.isfinite(array).all() for array in arrays):
            raise CheckpointError(f"{self.checkpoint}: step {self.gan.t:,} is not kept, since it is not finite.")
        self.save()

    def way_back(self) -> str:
        """What is kept of the run, and how to go on from it: a sentence after a blank, or nothing."""
        if not self.checkpoint.is_file():
            return ""
        return f" The checkpoint of step {self.saved:,} is kept, {self.checkpoint}; --resume (resume=True) goes on."

    def keep(self) -> None:
        """Write the checkpoint if that can be done; :meth:`finish` tries again."""
        if self._attempt(self.checkpoint, self.save):
            self.judging.write(self, self._attempt, best=True)

    def draw(self) -> None:
        """Draw the curves and the film, which ends with samples.png."""
        self._attempt(self.curves, self._draw_losses)
        self._attempt(self.film, self._make_film)
        self.judging.draw(self, self._attempt)

    def _draw_losses(self) -> None:
        title = " + ".join(repr(part) for part in (self.gan.loss, *self.gan.penalties))
        losses = self.losses.copy()
        if len(self.columns) > 2:
            due = np.zeros(len(losses), dtype=bool)
            for penalty in self.gan.penalties:
                due[:: penalty.every] = True  # the step after t others, wherever t is a multiple
            losses[~due, 2] = np.nan
        plotting.save_loss_curves(self.curves, losses, loss=self.gan.loss, title=title)

    def _make_film(self) -> None:
        frames: list[Any] = [frame for frame in self.pictures() if step_in(frame) != self.gan.t]
        if self.latest or self.picture.is_file():
            frames.append(io.BytesIO(self.latest) if self.latest else self.picture)
        if left_out := plotting.save_film(self.film, frames):
            say(f"{self.film}: is made without {len(left_out)} of its frames. {left_out[0]}", to="stderr")

    def finish(self) -> None:
        """Draw everything as it is at the end, and make what is missing; CheckpointError if the end is not kept."""
        self.sample()
        self.judging.finish()
        self.judging.write(self, self._attempt, best=True)
        self.draw()
        for file, write in ((self.config, self._write_configuration), (self.real, self._write_real)):
            if not file.is_file():
                self._attempt(file, write)
        if self.saved != self.gan.t:
            self.save()
