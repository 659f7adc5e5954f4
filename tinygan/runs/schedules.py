"""Numbers that change in the course of training: learning rates, and the weights of penalties.

    Adam(network, lr=warmup(500, cosine(2e-4, 0.0, 20_000)))
    R1(gamma=linear(10.0, 1.0, 20_000))

A schedule is a function of t, the steps taken so far, so that the first step asks for t = 0. Whose steps, depends on
who asks: an optimiser counts its own updates, of which D's has ``d_steps`` in each adversarial step; a penalty is asked
with the adversarial steps, which its ``every`` counts, too. Any function of t will do in its place, but these can say
what they are: ``repr`` is how they are written, by which a run that is resumed knows its penalties again, and two that
are written alike are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import positive_int, positive_or_0, value_at


class Schedule:
    """What the schedules share: they are called with t and return a float of at least 0."""

    def __call__(self, t: int) -> float:
        """Return the value after ``t`` steps, t ≥ 0."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__()")

    def _set(self, **values: Any) -> None:
        """Set what is frozen afterwards."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(value) for value in vars(self).values())})"


@dataclass(frozen=True, repr=False)
class linear(Schedule):
    """From ``start`` to ``end`` in a straight line, ``end`` from step ``steps`` on.

    ``value(t) = start + (end − start) · t / steps``

    Raises
    ------
    ArgumentError
        start or end is negative or not finite, or steps is no whole number of at least 1.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        self._set(start=_level(self, "start"), end=_level(self, "end"), steps=_steps(self))

    def __call__(self, t: int) -> float:
        return self.end if t >= self.steps else self.start + (self.end - self.start) * (t / self.steps)


@dataclass(frozen=True, repr=False)
class cosine(Schedule):
    """From ``start`` to ``end`` along half a cosine, flat at both ends, ``end`` from step ``steps`` on.

    ``value(t) = end + (start − end) · (1 + cos(π t / steps)) / 2``   (Loshchilov and Hutter, 2017, equation 5)

    Raises
    ------
    ArgumentError
        As for :class:`linear`.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        self._set(start=_level(self, "start"), end=_level(self, "end"), steps=_steps(self))

    def __call__(self, t: int) -> float:
        if t >= self.steps:
            return self.end
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * t / self.steps)) / 2.0


@dataclass(frozen=True, repr=False)
class warmup(Schedule):
    """From 0 in a straight line to what ``then`` begins with, for ``steps`` steps; after that ``then``, from its start.

    ``value(t) = then(0) · t / steps`` for t < steps, ``then(t − steps)`` from there on. The first step has a rate of 0:
    it moves nothing, but an optimiser with a memory has seen a gradient by then (Goyal et al., 2017, section 2.2).

    Parameters
    ----------
    then : a number, which stays, or another schedule.

    Raises
    ------
    ArgumentError
        steps is no whole number of at least 1, or then is neither a schedule nor a number of at least 0.
    """

    steps: int
    then: float | Schedule

    def __post_init__(self) -> None:
        then = self.then if isinstance(self.then, Schedule) else _level(self, "then")
        self._set(steps=_steps(self), then=then)

    def __call__(self, t: int) -> float:
        if t < self.steps:
            return value_at(self.then, 0, "warmup: then") * (t / self.steps)
        return value_at(self.then, t - self.steps, "warmup: then")


def _level(schedule: Schedule, name: str) -> float:
    return positive_or_0(getattr(schedule, name), f"{type(schedule).__name__}: {name}")


def _steps(schedule: linear | cosine | warmup) -> int:
    return positive_int(schedule.steps, f"{type(schedule).__name__}: steps")
