"""The loop that trains every system.

    train(gan, data, out="runs/mine", epochs=10)

shows both losses, images per second and the time left, and fills the folder with what :mod:`tinygan.runs` lists.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .arguments import positive_int
from .arguments import seed as check_seed
from .backend import backend_of, to_backend
from .data import ImageData, OnDevice, batches, steps_per_epoch
from .errors import ArgumentError, NonFiniteError, ShapeError
from .gan import GAN, Losses
from .graphs import stepper
from .layers.views import show_shape
from .mpi import world
from .parallel import Group, joined, require_alike
from .runs import Run

LOOK_EVERY = 50  # steps between two looks at the losses; on a GPU each look waits for the device
LINE_EVERY = 15.0  # seconds between two lines of progress where there is no terminal


def train(
    gan: GAN,
    data: ImageData,
    *,
    out: str | Path,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    low: float = -1.0,
    high: float = 1.0,
    sample_every: int = 500,
    checkpoint_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    group: Group | None = None,
) -> Path:
    """Train ``gan`` on ``data`` up to a number of steps; return the folder with all that came of it.

    Of several processes (:mod:`tinygan.parallel`) each has its share of every batch, and the first writes the folder:
    but for rounding the run is the same whatever their number, which may be another one after resuming.

    Parameters
    ----------
    out : folder for the output; made if it is not there.
    epochs, steps : when to stop, counted from the very start of the run; one of the two. A step shows D ``batch_size``
        real images, ``gan.d_steps`` times, and trains G once. An epoch visits the images once, in an order of its own;
        what does not fill a last batch sits out.
    seed : of the order of the images, and of the noise that all pictures of this run are made from.
    low, high : the values of black and white in G's images: -1 and 1 for tanh.
    sample_every, checkpoint_every : steps between two pictures, and between two checkpoints.
    resume : go on from the checkpoint in ``out``. Learning rates, clipping, intervals and length may differ from what
        they were, and nothing else.
    overwrite : remove an earlier run in ``out``, rather than refuse to start.
    settings : JSON-like values to record with the run, such as command-line flags.
    progress : whether to show progress on stderr: a bar, or a line now and then where that is no terminal.
    group : the processes that train together; None: all that mpiexec started, or this one alone.

    Raises
    ------
    ArgumentError, ShapeError, DataError
        A setting has no meaning, the data does not fit the networks or is smaller than a batch, or ``out`` cannot be
        written or holds a run already; or several processes differ in what they train, or have not one image each of a
        batch, or D or G has a layer that cannot be divided. All this is found before training starts.
    CheckpointError
        There is nothing to resume, or it is damaged, or was made with other settings.
    NonFiniteError
        A loss or gradient is not finite. The last checkpoint stays, and the message says how to go on from it. On
        NumPy it names the step where that began; on a device the step where it was found, and that of the last look
        before: only some steps are looked at there, at most 50 apart.
    KeyboardInterrupt
        Ctrl-C or SIGTERM came. The step at hand was finished and a checkpoint written; a second signal does not wait.
    """
    sample_every = positive_int(sample_every, "train: sample_every")
    checkpoint_every = positive_int(checkpoint_every, "train: checkpoint_every")
    seed, batch_size = check_seed(seed, "train"), positive_int(batch_size, "train: batch_size")
    rows = batch_size * gan.d_steps
    if (steps is None) == (epochs is None):
        raise ArgumentError(f"train: give either steps or epochs, got steps={steps!r} and epochs={epochs!r}.")
    if data.image_shape != gan.sample_shape:
        raise ShapeError(
            f"train: the images of {data.name} are {show_shape(data.image_shape)}, but G makes "
            f"{show_shape(gan.sample_shape)}. Build the networks for image_shape={data.image_shape}."
        )
    per_epoch = steps_per_epoch(len(data), rows)
    last = positive_int(epochs, "train: epochs") * per_epoch if steps is None else positive_int(steps, "train: steps")

    group = world() if group is None else group
    if batch_size < group.size:
        raise ArgumentError(
            f"train: a batch of {batch_size} is too small for {group.size} processes, each of which needs an image of "
            "it. Use a larger batch (--batch-size, batch_size=) or fewer processes (mpiexec -n)."
        )
    here, writes = np.arange(batch_size)[group.rows(batch_size)], group.rank == 0
    _try_out(gan, data, max(len(here), min(batch_size, 2)), low, high)
    run = Run(out, gan, data, batch_size=batch_size, seed=seed, low=low, high=high, settings=settings)
    require_alike(group, lambda: run.identity, "data or settings")
    with joined(gan, group):
        group.first(lambda: run.resume(last) if resume else run.start(overwrite=overwrite))
        if resume and group.size > 1:
            gan.load_state(*group.first(gan.state))

        backend, dtype = backend_of(gan.discriminator.theta), gan.discriminator.theta.dtype
        waits = backend.name != "numpy"  # where looking makes the host wait, only some steps are looked at
        step = stepper(gan)  # gan.step itself, or the same in one launch
        looked = gan.t  # the latest step whose losses and gradients were looked at
        unread: list[Losses] = []
        order, images = batches(len(data), rows, seed=seed, start=gan.t), OnDevice(data, backend)
        bar = _Progress(gan.t, last, rows=rows, per_epoch=per_epoch, shown=progress and writes)
        with bar, _Signals() as signals:
            for t in range(gan.t + 1, last + 1):
                own = next(order).reshape(gan.d_steps, batch_size)[:, here].reshape(-1)
                real = images.batch(own, low=low, high=high, dtype=dtype)
                sample, keep = t % sample_every == 0, t % checkpoint_every == 0 or t == last
                stop = group.any(signals.came)
                look = sample or keep or stop or t % LOOK_EVERY == 0
                check = look or not waits
                try:
                    with np.errstate(all="ignore"):  # the check says more than NumPy's warnings
                        unread.append(step(real, check=check))
                except NonFiniteError as error:
                    late = f" This was found at step {t}; the last look was at step {looked}." if looked < t - 1 else ""
                    if writes:
                        run.record(unread)
                        run.draw()
                    raise NonFiniteError(
                        f"{error}{late} The checkpoint of step {run.saved} is kept, {run.checkpoint}: go on from it "
                        "with such a change (--resume --lr ..., or resume=True)."
                    ) from error
                looked = t if check else looked
                if look:
                    if writes:
                        run.record(unread)
                        bar.show(t, run.losses[-1])
                    unread.clear()
                if sample and writes:
                    run.sample(keep=True)
                if keep or stop:
                    require_alike(group, gan.checksum, f"weights after step {t}")
                    group.first(run.save)
                if stop:
                    break
        group.first(run.finish)
        if gan.t < last:
            if writes:
                _say(
                    f"stopped at step {gan.t} of {last}, which is kept in {run.checkpoint}; --resume goes on", progress
                )
            raise KeyboardInterrupt
    return run.folder


def _try_out(gan: GAN, data: ImageData, n: int, low: float, high: float) -> None:
    """Let copies of both networks refuse n samples, if too few for BatchNorm, say, before any file is written."""
    G, D = gan.generator.copy(), gan.discriminator.copy()
    z = gan.noise(n, rng=np.random.default_rng(0))
    real = data.batch(np.arange(n), low=low, high=high, dtype=D.theta.dtype)
    with np.errstate(all="ignore"):
        G.forward(z)
        D.forward(to_backend(real, backend_of(D.theta)))


class _Signals:
    """Within the ``with`` block, Ctrl-C and SIGTERM only leave a note: the step at hand must be finished first."""

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self.__exit__()  # a second one does what it always does

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Progress:
    """A bar on stderr, or plain lines where stderr is no terminal."""

    def __init__(self, t: int, last: int, *, rows: int, per_epoch: int, shown: bool) -> None:
        self.first, self.t, self.last, self.rows, self.per_epoch, self.shown = t, t, last, rows, per_epoch, shown
        self.epochs = -(-last // per_epoch)
        self.began = self.told = time.monotonic()
        self.bar = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=last * rows,
                initial=t * rows,
                unit=" images",
                unit_scale=True,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left",
            )

    def __enter__(self) -> _Progress:
        return self

    def show(self, t: int, losses: Any) -> None:
        epoch = (t - 1) // self.per_epoch + 1
        text = f"epoch {epoch}/{self.epochs}  step {t}/{self.last}  D {losses[0]:.3f}  G {losses[1]:.3f}"
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            self.bar.update((t - self.t) * self.rows)
        elif now - self.told >= LINE_EVERY or t == self.last:
            speed = (t - self.first) * self.rows / max(now - self.began, 1e-9)
            left = (self.last - t) * self.rows / speed
            _say(f"{text}  {speed:,.0f} images/s  {left // 60:.0f}:{left % 60:02.0f} left", self.shown)
            self.told = now
        self.t = t

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _say(text: str, shown: bool) -> None:
    if shown:
        print(text, file=sys.stderr, flush=True)
