"""A whole adversarial step as one launch: recorded once as a graph of the device's operations, and replayed.

A small network is done with an operation sooner than Python has asked for the next one. So on a GPU the operations of a
step are captured once, with the addresses of all memory that they touch, and from then on all of them are launched with
a single call. What differs from step to step is decided before (:meth:`tinygan.GAN.draw`), and copied to where the
recorded operations read it. The numbers are those of a step that is not replayed, to the bit: the same kernels run on
the same memory in the same order.

    step = stepper(gan)          # gan.step itself, where there is nothing to gain
    losses = step(real)          # in place of gan.step(real)

A graph is good for one shape of the batch and of what was drawn, and as long as no setting and no array is replaced;
otherwise the step is recorded anew. The first step of a kind runs as always, the second is recorded, and from then on
it is replayed. Where that is impossible, steps go on as they would have, and a warning says why, once.

Parts of your own (a layer, a loss, a penalty, an optimiser) are replayed if their class says ``replayable = True``:
that ``GAN.play`` decides nothing on the host that changes from step to step, except by what was drawn, and that their
settings show in ``repr``.
"""

from __future__ import annotations

import gc
import operator
import pickle
import warnings
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

import numpy as np

from ...errors import BackendError
from ...gan import GAN, Losses
from ...layers.base import Layer
from ...ops import Array, ops_of
from ..loading import out_of_memory, precision
from . import capture
from .dropout import Masks
from .placing import Layout, lay_out

#: Of each backend that can record: what makes an engine, see :class:`tinygan.backends.cuda.capture.Engine`.
ENGINES: dict[str, Callable[[], Any]] = {"cupy": capture.Engine}

KINDS = 12  # of steps that are kept: more are a sign of batches that all have different shapes
OURS = {"gan", "layers", "losses", "network", "optim", "penalties"}  # whose classes are replayable, unless they deny it


def stepper(gan: GAN) -> Callable[..., Losses]:
    """Return what does the same as ``gan.step``, as fast as its backend can: a :class:`Stepper`, or that method."""
    if ops_of(gan.generator.theta).name not in ENGINES:
        return gan.step
    return Stepper(gan)


class Stepper:
    """``gan.step``, replayed where that is possible.

    Attributes
    ----------
    why : why steps are not replayed, or None.
    replayed : how many were.
    """

    def __init__(self, gan: GAN) -> None:
        self.gan, self.replayed = gan, 0
        self.why: str | None = None
        self._ops = ops_of(gan.generator.theta)
        self._kinds: dict[Any, _Kind] = {}
        self._engine = ENGINES[self._ops.name]()
        if why := _refusal(gan):
            self._give_up(why)

    def __call__(self, real: Array, *labels: Array, watch: Callable | None = None) -> Losses:
        """Train D and G as ``gan.step`` does. With ``watch`` the step is not replayed.

        Raises
        ------
        BackendError
            The GPU's memory is full, or the samples live elsewhere than the networks.
        """
        ops = ops_of(real)
        try:
            if self._engine is None or ops is not self._ops:
                return self.gan.step(real, *labels, watch=watch)
            self.gan.check_real(real)
            if labels:
                self.gan.expect(*labels, len(real))  # type: ignore[attr-defined]  # a ConditionalGAN
            return self._step(real, watch)
        except BaseException as error:
            if full := out_of_memory(error, ops):
                raise full from error
            raise

    def _step(self, real: Array, watch: Callable | None) -> Losses:
        gan, before = self.gan, self.gan.rng.bit_generator.state
        draws = gan.draw(len(real) // gan.d_steps)
        which = real.shape, lay_out(draws, real.dtype)
        kind = self._kinds.get(which)
        if kind is None or not kind.is_current(gan):
            kind = _Kind(self._engine, real)
            losses = kind.run_first(gan, real, draws, watch)
            self._kinds[which] = kind
            if len(self._kinds) > KINDS:
                del kind
                self._give_up(f"there are more than {KINDS} kinds of steps; batches of one shape can be replayed")
        elif watch:
            losses = kind.run_eagerly(gan, real, draws, watch)
        else:
            why: str | None = None
            if kind.launch is None:
                try:
                    kind.record(gan, draws)
                except Exception as error:
                    why = f"it cannot be recorded: {shorten(str(error), 200, placeholder=' ...')}"
                except BaseException:
                    gan.rng.bit_generator.state = before
                    raise
            if why:  # here the error is gone, whose frames hold the memory of the graphs
                del kind
                self._give_up(why)
                losses = gan.play(real, self._ops.place(draws, gan.generator.theta))
            else:
                losses = kind.replay(real, draws)
                self.replayed += 1
        gan.t += 1
        return losses

    def _give_up(self, why: str) -> None:
        self.why, self._engine = why, None
        self._kinds.clear()
        gc.collect()  # an engine and its pool hold each other
        warnings.warn(f"each operation of a step is launched by itself, since {why}", RuntimeWarning, stacklevel=4)


class _Kind:
    """Steps that are launched with the same graph."""

    def __init__(self, engine: Any, real: Array) -> None:
        xp = ops_of(real).xp
        self.engine, self.masks = engine, Masks()
        self.launch: Any = None  # the function that does it all, once it is recorded
        self.real, self.values = xp.empty_like(real), xp.empty(3, dtype=real.dtype)  # what goes in, and the losses

    def run_first(self, gan: GAN, real: Array, draws: Any, watch: Callable | None) -> Losses:
        """Take a step as always; note which masks are drawn on the way, and what it depends on."""
        with self.masks.noted():
            losses = self.run_eagerly(gan, real, draws, watch)
        self.objects, self.settings = _objects(gan), _settings(gan)
        return losses

    def run_eagerly(self, gan: GAN, real: Array, draws: Any, watch: Callable | None = None) -> Losses:
        """Take a step as always, in the memory of the graphs."""
        placed = ops_of(real).place(draws, gan.generator.theta)
        self.engine.run(lambda: self._keep(gan.play(real, placed, watch)))
        return self._losses()

    def is_current(self, gan: GAN) -> bool:
        """Whether all is as in the first step of this kind: the same arrays in the same memory, the same settings."""
        objects = _objects(gan)
        return (
            len(objects) == len(self.objects)
            and all(map(operator.is_, objects, self.objects))
            and _settings(gan) == self.settings
        )

    def record(self, gan: GAN, draws: Any) -> None:
        """Record a step, without taking it."""
        self.clocks = [clock for clock in (gan.d_optimizer, gan.g_optimizer, gan.average) if clock is not None]
        before, generators = [clock.t for clock in self.clocks], _states(gan)
        zeros = tuple(np.zeros(mask.shape, mask.dtype) for mask in self.masks.wanted)
        self.layout: Layout = lay_out((draws, zeros), self.real.dtype)
        self.staging = self.engine.staging(self.layout.nbytes)
        placed, masks = self.layout.unpack(self.staging.device)

        def work() -> None:
            with self.masks.given(masks):
                self._keep(gan.play(self.real, placed))

        try:
            launch = self.engine.capture(work)
            self.moved = [clock.t - t for clock, t in zip(self.clocks, before, strict=True)]
            if _states(gan) != generators:
                raise BackendError("a part of it draws random numbers other than in GAN.draw")
        finally:
            for clock, t in zip(self.clocks, before, strict=True):
                clock.t = t
            _restore(generators)
        self.launch = launch

    def replay(self, real: Array, draws: Any) -> Losses:
        """Take a step."""
        self.layout.write((draws, self.masks.draw()), self.staging.host())
        self.staging.send()
        self.real[...] = real
        self.launch()
        for clock, moved in zip(self.clocks, self.moved, strict=True):
            clock.t += moved
        return self._losses()

    def _keep(self, losses: Losses) -> None:
        self.penalised = not isinstance(losses.penalty, float)
        for i, value in enumerate(losses[: 2 + self.penalised]):
            self.values[i] = value

    def _losses(self) -> Losses:
        values = self.values.copy()  # which the next step writes over
        return Losses(values[0], values[1], values[2] if self.penalised else 0.0)


def _states(gan: GAN) -> dict[np.random.Generator, bytes]:
    """The states of all generators that a step may draw from."""
    inside = (rng for network in (gan.generator, gan.discriminator) for _, rng in network.rngs())
    return {rng: pickle.dumps(rng.bit_generator.state) for rng in (gan.rng, *inside)}  # a dict, of arrays too


def _restore(states: dict[np.random.Generator, bytes]) -> None:
    for rng, state in states.items():
        rng.bit_generator.state = pickle.loads(state)


# ---- what a recorded step depends on ---------------------------------------------------------------------------------


def _objects(gan: GAN) -> list[Any]:
    """Whatever would be missed if another object were in its place."""
    G, D = gan.generator, gan.discriminator
    objects = [G.layers, D.layers, G.theta, G.grad, D.theta, D.grad, gan.loss, gan.penalty, gan.average]
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        objects += [optimizer, *(getattr(optimizer, name) for name in optimizer.state_names)]
    if gan.average:
        objects.append(gan.average.network.theta)
    return objects


def _settings(gan: GAN) -> tuple[Any, ...]:
    """The numbers that are written into recorded operations. Layers, losses and penalties show theirs in ``repr``; an
    optimiser's are its constants: what changes with the step, it says in ``numbers``."""
    shown = tuple(map(repr, (gan.generator, gan.discriminator, gan.loss, gan.penalties)))
    constants = tuple(
        tuple((key, value) for key, value in vars(optimizer).items() if key not in ("t", "lr") and _is_plain(value))
        for optimizer in (gan.g_optimizer, gan.d_optimizer)
    )
    return shown, constants, gan.d_steps, gan.weight_clip, precision()


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _parts(gan: GAN) -> Iterator[Any]:
    yield from (gan, gan.loss, gan.g_optimizer, gan.d_optimizer, *gan.penalties)
    if gan.average:
        yield gan.average
    for network in (gan.generator, gan.discriminator):
        yield from _layers(network)


def _layers(layer: Layer) -> Iterator[Layer]:
    """The layer, and all that it is made of."""
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)


def _refusal(gan: GAN) -> str | None:
    """Why no step of this GAN can be replayed."""
    for part in _parts(gan):
        kind = type(part)
        if not vars(kind).get("replayable", _home(kind) in OURS):
            return f"{kind.__name__} does not say replayable = True (see tinygan.backends.cuda.graphs)"
    return None


def _home(kind: type) -> str | None:
    """The name of the room of tinygan that a class lives in."""
    package, _, inside = kind.__module__.partition(".")
    return inside.partition(".")[0] if package == __name__.partition(".")[0] else None
