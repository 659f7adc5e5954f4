"""The loop that trains every system.

    train(gan, data, out="runs/mine", epochs=10)

shows both losses, images per second and the time left, and fills the folder with what :mod:`tinygan.runs.folder` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import iscoroutinefunction, isgeneratorfunction
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.loading import out_of_memory
from ..checkpoints import as_path
from ..data import ImageData
from ..data.arrays import from_array
from ..data.dataset import check_range
from ..errors import ArgumentError, NonFiniteError, positive_int
from ..errors import seed as check_seed
from ..gan import GAN, Losses
from ..layers.starting import flag
from ..metrics import Judge
from ..ops import Array, ops_of
from ..parallel import Group, Together, joined, require_alike
from ..parallel.console import say
from ..parallel.mpi import world
from .feeding import real_samples, rows_of_process
from .fit import last_step, require_an_image_each, require_reach, try_out
from .folder import Run
from .judging import Judging
from .outputs import attempt
from .progress import Progress
from .signals import Signals
from .state import checksum, load_state, state
from .stopping import Equilibrium
from .tracing import require_finite, require_finite_state

LOOK_EVERY = 50  # steps between two looks at the losses; on a GPU each look waits for the device


def train(
    gan: GAN,
    data: ImageData | Array,
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
    callback: Callable[[GAN, Losses], object] | None = None,
    judge: Judge | None = None,
    judge_every: int = 500,
    until: Equilibrium | None = None,
    group: Group | None = None,
) -> Path:
    """Train ``gan`` on ``data`` up to a number of steps; return the folder with all that came of it.

    Of several processes (:mod:`tinygan.parallel`) each has its share of every batch, and the first writes the folder:
    but for rounding the run is the same whatever their number, which may be another one after resuming.

    Parameters
    ----------
    data : the images, as :func:`tinygan.data.load` gives them; or an array of them, which that function takes as well:
        (N, H, W) or (N, H, W, C), uint8, or floats in [0, 1], or in [−1, 1] if any is negative. With labels, for a
        :class:`tinygan.models.ConditionalGAN`.
    out : folder for the output; made if it is not there.
    epochs, steps : when to stop, counted from the very start of the run; one of the two. A step shows D ``batch_size``
        real images, ``gan.d_steps`` times, and trains G once. An epoch visits the images once, in an order of its own;
        what does not fill a last batch sits out.
    seed : of the order of the images, and of the noise that all pictures of this run are made from.
    low, high : the values of black and white in G's images: -1 and 1 for tanh, 0 and 1 for a sigmoid.
    sample_every, checkpoint_every : steps between two pictures, and between two checkpoints.
    resume : go on from the checkpoint in ``out``. Learning rates, clipping, intervals, length and ``until`` may differ
        from what they were, and nothing else.
    overwrite : remove an earlier run in ``out``, rather than refuse to start.
    settings : JSON-like values to record with the run, such as command-line flags.
    progress : whether to show progress on stderr: a bar, or a line now and then where that is no terminal.
    callback : called as ``callback(gan, losses)`` after every step, in each process, before what is due then is drawn
        or written: ``gan.t`` is the number of the step; reading a loss on a GPU waits for it. Its result is ignored,
        and an exception ends the run. It may change what it likes; whether a resumed run is then the same is its own
        affair.
    judge : what says how good the samples are (:class:`tinygan.metrics.Judge`), each ``judge_every`` steps and at the
        end, in the files that :mod:`tinygan.runs.judging` lists; a run that goes on must be judged by the same.
    until : end before the last step where the samples get no better and D cannot tell (:mod:`tinygan.runs.stopping`).
    group : the processes that train together; None: all that mpiexec started, or this one alone.

    Raises
    ------
    ArgumentError, ShapeError, DataError
        A setting has no meaning, the data does not fit the networks or their range, or is smaller than a batch, or
        ``out`` cannot be written, holds a run already, or is written by another run just now; or several processes
        differ in what they train, or have not one image each of a batch, or D or G has a layer that cannot be divided.
        All this is found before training starts.
    CheckpointError
        There is nothing to resume, or it is damaged, or was made with other settings; or the first or the last
        checkpoint cannot be written. Any other file that cannot, a picture or a checkpoint on the way, is said on
        stderr, once, and training goes on.
    NonFiniteError
        A loss or gradient is not finite. The last checkpoint stays, and the message says how to go on from it. On
        NumPy it names the step where that began; on a device the step where it was found, and that of the last look
        before: only some steps are looked at there, at most 50 apart.
    Exception
        Whatever else data, layers or memory raise ends training, too. If it came between two steps, the last one is
        kept (not of several processes); a line on stderr says what is kept, and how to go on.
    KeyboardInterrupt
        Ctrl-C, SIGTERM or SIGHUP (a closed terminal) came. The step at hand was finished and a checkpoint written,
        then a handler of the caller's own called; a second signal does not wait.
    """
    if not isinstance(gan, GAN):
        raise ArgumentError(f"train: expected a tinygan.GAN, got {type(gan).__name__}.")
    if not isinstance(data, ImageData):
        if not hasattr(data, "__array__"):
            made = (
                f"train: data must be what tinygan.data.load gives, or an array of images, got {type(data).__name__}."
            )
            raise ArgumentError(made)
        data = from_array(data)
    if not (callback is None or callable(callback)):
        raise ArgumentError(f"train: callback must be a function of (gan, losses), got {callback!r:.200}.")
    if iscoroutinefunction(callback) or isgeneratorfunction(callback):
        what = "is async or yields, so that a call of it would do nothing"
        raise ArgumentError(f"train: callback must be a plain function of (gan, losses); {callback.__name__} {what}.")
    if not (group is None or isinstance(group, Group)):
        raise ArgumentError(f"train: group must be a tinygan.parallel.Group, got {group!r:.200}.")
    out, (low, high) = as_path(out, "train: out"), check_range(low, high)
    resume, overwrite, progress = (
        flag(resume, "train: resume"),
        flag(overwrite, "train: overwrite"),
        flag(progress, "train: progress"),
    )
    sample_every = positive_int(sample_every, "train: sample_every")
    checkpoint_every = positive_int(checkpoint_every, "train: checkpoint_every")
    seed, batch_size = check_seed(seed, "train"), positive_int(batch_size, "train: batch_size")
    last = last_step(gan, data, batch_size, epochs, steps)
    group = world() if group is None else group
    require_an_image_each(group, batch_size)
    try_out(gan, data, max(len(rows_of_process(group, batch_size)), min(batch_size, 2)), low, high)
    require_reach(gan, low, high)
    judging = Judging(judge, gan, every=judge_every, until=until, seed=seed, range_=(low, high))
    about = {"batch_size": batch_size, "seed": seed}
    run = Run(out, gan, data, **about, low=low, high=high, settings=settings, judging=judging)
    require_alike(group, lambda: (run.identity, judging.every, repr(until)), "data or settings")
    with joined(gan, group) as together, run:
        group.first(lambda: run.resume(last) if resume else run.start(overwrite=overwrite))
        if resume and group.size > 1:
            load_state(gan, *group.first(lambda: state(gan)))
        rows, shown = batch_size * gan.d_steps, progress and group.rank == 0
        bar = Progress(gan.t, last, rows=rows, per_epoch=run.steps_per_epoch, shown=shown)
        loop = _Loop(run, group, _stepper(gan, together), bar, last, sample_every, checkpoint_every, callback)
        samples = real_samples(gan, data, group, batch_size, seed, low, high)
        signals = Signals()
        try:
            with bar, signals:
                if too_rare := judging.too_rare(last):
                    bar.say(too_rare)
                try:
                    while gan.t < last and not (loop.stopped or loop.done):
                        loop.step(next(samples), stop=group.any(signals.came))
                except (Exception, SystemExit) as error:
                    loop.leave(error)
                    raise
            group.first(run.finish)
            if len(judging.rows):
                bar.say(judging.summary())
            if gan.t < last and loop.done:
                why = f"the samples get no better: ended at step {gan.t} of {last}, by {until}"
                bar.say(f"{why}; without it (--no-until-equilibrium) --resume goes on")
            elif gan.t < last:
                bar.say(f"stopped at step {gan.t} of {last}, which is kept in {run.checkpoint}; --resume goes on")
        finally:
            signals.pass_on()  # now that all is kept
        if gan.t < last and not loop.done:
            raise KeyboardInterrupt
    return run.folder


class _Loop:
    """The steps of a run in one of the processes that train together, and all that is due after some of them."""

    def __init__(
        self,
        run: Run,
        group: Group,
        take: Callable[..., Losses],
        bar: Progress,
        last: int,
        sample_every: int,
        checkpoint_every: int,
        callback: Callable[[GAN, Losses], object] | None,
    ) -> None:
        self.run, self.group, self.take, self.bar, self.last = run, group, take, bar, last
        self.sample_every, self.checkpoint_every, self.callback = sample_every, checkpoint_every, callback
        self.ops = ops_of(run.gan.discriminator.theta)
        self.waits = self.ops.name != "numpy"  # where looking makes the host wait, only some steps are looked at
        self.looked = run.gan.t  # the latest step whose losses and gradients were looked at
        self.unread: list[Losses] = []
        self.stopped = False
        self.done = group.first(lambda: run.judging.reached)  # already, if a run goes on that has ended
        self.after = self._draws()

    def step(self, batch: tuple[Array, ...], *, stop: bool) -> None:
        """Take the next step, which is the last one if it shall ``stop``, and do what is due."""
        run, group, t = self.run, self.group, self.run.gan.t + 1
        sample, keep = t % self.sample_every == 0, stop or t % self.checkpoint_every == 0 or t == self.last
        judged = run.judging.due(t)
        look = sample or keep or judged or t % LOOK_EVERY == 0
        self._train(t, batch, look or not self.waits)
        if self.callback:
            self.callback(run.gan, self.unread[-1])
        if look:
            self._read(t)
        if sample or keep or judged:
            self._require_finite_state(t)
        if sample and group.rank == 0:
            run.sample(keep=True)
        if judged:
            self.done = self._judge(t)
        if keep or self.done:
            require_alike(group, lambda: checksum(run.gan), f"weights after step {t}")
            group.first(run.keep)
        self.stopped = stop

    def _train(self, t: int, batch: tuple[Array, ...], check: bool) -> None:
        """Train both networks; with ``check``, look whether all is finite."""
        watch = partial(require_finite, group=self.group) if check else None
        try:
            with np.errstate(all="ignore"):  # the watch says more than NumPy's warnings
                self.unread.append(self.take(*batch, watch=watch))
        except NonFiniteError as error:
            raise self._in_vain(t, error) from error
        except Exception as error:
            if full := out_of_memory(error, self.ops):
                raise full from error
            raise
        self.after = self._draws()
        if check:
            self.looked = t

    def _require_finite_state(self, t: int) -> None:
        """Look at all that a picture or a checkpoint is made of; it is the same in all processes."""
        try:
            require_finite_state(self.run.gan)
        except NonFiniteError as error:
            raise self._in_vain(t, error) from error

    def _judge(self, t: int) -> bool:
        try:
            return self.group.first(self.run.judge)
        except NonFiniteError as error:
            raise self._in_vain(t, error) from error

    def _draws(self) -> str:
        """The state of the GAN's random numbers, the first thing that a step changes."""
        return repr(self.run.gan.rng.bit_generator.state)

    def leave(self, error: Exception | SystemExit) -> None:
        """Before an error ends the run, keep its last step and say how to go on.

        A step half done cannot be kept, nor one of several processes, which can no longer ask whether they are alike.
        """
        run, t = self.run, self.run.gan.t
        if self.group.rank > 0 or isinstance(error, NonFiniteError):  # which says so itself
            return
        if self.group.size == 1 and self._draws() == self.after and run.saved < t:
            attempt(run.checkpoint, partial(run.rescue, self.unread))
        say(f"Training ended after step {t:,} of {self.last:,}.{run.way_back()}", to="stderr")

    def _read(self, t: int) -> None:
        """Record the losses since the last look, and show the latest."""
        if self.group.rank == 0:
            self.run.record(self.unread)
        self.unread.clear()
        if self.group.rank == 0:
            self.bar.show(t, self.run.losses[-1])

    def _in_vain(self, t: int, error: NonFiniteError) -> NonFiniteError:
        """Leave what is known of a run whose numbers are no longer finite; return what to say."""
        run = self.run
        if self.group.rank == 0:
            run.record(self.unread)
            run.draw()
        late = f" This was found at step {t}; the last look was at step {self.looked}." if self.looked < t - 1 else ""
        return NonFiniteError(
            f"{error}{late} The checkpoint of step {run.saved} is kept, {run.checkpoint}: go on from it "
            "with such a change (--resume --lr ..., or resume=True)."
        )


def _stepper(gan: GAN, together: GAN | Together) -> Callable[..., Losses]:
    """What takes a step: on a device that can replay one in a single launch, that; not among several processes, which
    wait for each other in each step."""
    if together is not gan or ops_of(gan.generator.theta).name == "numpy":
        return together.step
    from ..backends.cuda.graphs import stepper

    return stepper(gan)
