"""A whole adversarial step as one launch: recorded once as a graph of the device's operations, and replayed.

A small network is done with an operation sooner than Python has asked for the next one. So on a GPU the operations of a
step are captured once, with the addresses of all memory that they touch, and from then on all of them are launched with
a single call. What differs from step to step is fed (:mod:`tinygan.feeds`). The numbers are those of a step that is not
replayed, to the bit: the same kernels run on the same memory in the same order.

    step = stepper(gan)          # gan.step itself, where there is nothing to gain
    losses = step(real)          # in place of gan.step(real)

A graph is good for one shape of the batch and for the penalties that are due with it, and as long as no setting and no
array is replaced; otherwise the step is recorded anew. The first step of a kind runs as always, the second is recorded,
and from then on it is replayed. Where that is impossible, steps go on as they would have, and a warning says why, once.

Parts of your own (a layer, a loss, a penalty, an optimiser) are replayed if their class says ``replayable = True``:
that it decides nothing on the host that changes from step to step, except through :func:`tinygan.feeds.feed`.
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

from .backend import Array, backend_of, precision
from .errors import BackendError
from .feeds import Tape
from .gan import GAN, Losses
from .kernels import capture
from .layers.base import Layer

#: Of each backend that can record: what makes an engine, see :class:`tinygan.kernels.capture.Engine`.
ENGINES: dict[str, Callable[[], Any]] = {"cupy": capture.Engine}

KINDS = 12  # of steps that are kept: more are a sign of batches that all have different shapes
FED = {"t", "lr", "gamma", "weight", "name"}  # settings that no recorded operation depends on


def stepper(gan: GAN) -> Callable[..., Losses]:
    """Return what does the same as ``gan.step``, as fast as its backend can: a :class:`Stepper`, or that method."""
    together = gan.group.size > 1  # each step waits for the other processes
    return Stepper(gan) if backend_of(gan.generator.theta).name in ENGINES and not together else gan.step


class Stepper:
    """``gan.step``, replayed where that is possible.

    Attributes
    ----------
    why : why steps are not replayed, or None.
    replayed : how many were.
    """

    def __init__(self, gan: GAN) -> None:
        self.gan, self.why, self.replayed = gan, None, 0
        self._backend = backend_of(gan.generator.theta)
        self._kinds: dict[Any, _Kind] = {}
        self._engine = ENGINES[self._backend.name]()
        if why := _refusal(gan):
            self._give_up(why)

    def __call__(self, real: Array, *, check: bool = False) -> Losses:
        """Train D and G as :meth:`tinygan.GAN.step` does. With ``check`` the step is not replayed."""
        gan = self.gan
        gan._check_real(real)
        if self._engine is None or gan.group.size > 1 or backend_of(real) is not self._backend:
            return gan.step(real, check=check)
        which = real.shape, *(gan.t % penalty.every == 0 for penalty in gan.penalties)
        kind = self._kinds.get(which)
        if kind is None or not kind.holds(gan):
            self._kinds[which] = kind = _Kind(self._engine, real)
            if len(self._kinds) > KINDS:
                self._give_up(f"there are more than {KINDS} kinds of steps; batches of one shape can be replayed")
            return kind.meet(gan, real, check)
        if check:
            return kind.take(gan, real, check)
        if kind.launch is None:
            why, generators = None, {rng: _state(rng) for rng in gan._rngs().values()}
            try:
                kind.record(gan)
                if any(_state(rng) != state for rng, state in generators.items()):
                    raise BackendError("a part of it draws random numbers other than through tinygan.feeds.feed")
            except BaseException as error:
                gan.forget()
                for rng, state in generators.items():
                    rng.bit_generator.state = pickle.loads(state)
                if not isinstance(error, Exception):
                    raise
                why = f"it cannot be recorded: {shorten(str(error), 200, placeholder=' ...')}"
            if why:  # here the error is gone, whose frames hold the memory of the graphs
                del kind
                self._give_up(why)
                return gan.step(real)
        self.replayed += 1
        return kind.replay(gan, real)

    def _give_up(self, why: str) -> None:
        self.why, self._engine = why, None
        self._kinds.clear()
        gc.collect()  # an engine and its pool hold each other
        warnings.warn(f"each operation of a step is launched by itself, since {why}", RuntimeWarning, stacklevel=3)


class _Kind:
    """Steps that are launched with the same graph."""

    def __init__(self, engine: Any, real: Array) -> None:
        xp = backend_of(real).xp
        self.engine, self.launch, self.tape = engine, None, Tape()
        self.real, self.values = xp.empty_like(real), xp.empty(3, dtype=real.dtype)  # what goes in, and the losses

    def meet(self, gan: GAN, real: Array, check: bool) -> Losses:
        """Take a step as always; note what it is fed with, and what it depends on."""
        with self.tape.listening():
            losses = self.take(gan, real, check)
        self.objects, self.settings, self.precision = _objects(gan), _settings(gan), precision()
        return losses

    def take(self, gan: GAN, real: Array, check: bool) -> Losses:
        """Take a step as always, in the memory of the graphs."""
        self.engine.run(lambda: self._keep(gan.step(real, check=check)))
        return self._losses()

    def holds(self, gan: GAN) -> bool:
        """Whether all is as it was when this kind was met: the same arrays in the same memory, the same settings."""
        objects = _objects(gan)
        return (
            len(objects) == len(self.objects)
            and all(map(operator.is_, objects, self.objects))
            and all(read(part) == values for part, read, values in self.settings)
            and self.precision == precision()
        )

    def record(self, gan: GAN) -> None:
        """Record a step, without taking it."""
        self.staging = self.engine.staging(self.tape.nbytes)
        self.tape.place(self.staging.device)

        def work() -> None:
            with self.tape.recording():
                self._keep(gan.take_turns(self.real))

        self.launch = self.engine.capture(work)

    def replay(self, gan: GAN, real: Array) -> Losses:
        """Take a step."""
        self.tape.fill(self.staging.host(), gan.t)
        self.staging.send()
        self.real[...] = real
        self.launch()
        gan.t += 1
        return self._losses()

    def _keep(self, losses: Losses) -> None:
        self.penalised = not isinstance(losses.penalty, float)
        for i, value in enumerate(losses[: 2 + self.penalised]):
            self.values[i] = value

    def _losses(self) -> Losses:
        values = self.values.copy()  # which the next step writes over
        return Losses(values[0], values[1], values[2] if self.penalised else 0.0)


def _state(rng: np.random.Generator) -> bytes:
    return pickle.dumps(rng.bit_generator.state)  # a dict, of arrays too


# ---- what a recorded step depends on ---------------------------------------------------------------------------------


def _objects(gan: GAN) -> list[Any]:
    """Whatever would be missed if another object were in its place."""
    G, D = gan.generator, gan.discriminator
    found = [G.layers, D.layers, G.theta, G.grad, D.theta, D.grad, gan.loss, gan.average, gan.rng]
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        found += [optimizer, *(getattr(optimizer, name) for name in optimizer.state_names)]
    if gan.average:
        found.append(gan.average.network.theta)
    return found + gan.penalties


def _settings(gan: GAN) -> list[tuple[Any, Callable[[Any], Any], Any]]:
    """Numbers that are written into recorded operations: whose they are, how to read them, and what they were."""
    found = []
    for part in _parts(gan):
        plain = (bool, int, float, str, tuple, type(None))
        names = [key for key, value in vars(part).items() if type(value) in plain and key not in FED]
        if names:
            read = operator.attrgetter(*names)
            found.append((part, read, read(part)))
    return found


def _parts(gan: GAN) -> Iterator[Any]:
    yield from (gan, gan.loss, gan.g_optimizer, gan.d_optimizer, *gan.penalties)
    if gan.average:
        yield gan.average
    for network in (gan.generator, gan.discriminator):
        yield from _layers(network)


def _layers(layer: Layer) -> Iterator[Layer]:
    """The layer, and all that it is made of."""
    yield layer
    for inner in (*getattr(layer, "layers", ()), getattr(layer, "_inner", None)):
        if inner is not None:
            yield from _layers(inner)


def _refusal(gan: GAN) -> str | None:
    """Why no step of this GAN can be replayed."""
    for part in _parts(gan):
        kind = type(part)
        if not vars(kind).get("replayable", kind.__module__.split(".")[0] == __name__.split(".")[0]):
            return f"{kind.__name__} does not say replayable = True (see tinygan.graphs)"
    return None
