"""Every error that tinygan raises on purpose, and the checks of settings that raise them.

Each is also a built-in exception of the nearest meaning, so ``except ValueError`` keeps working for people who never
heard of these classes. A message says where (layer or file), what was expected, what came, and how to mend it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import inf, nan
from typing import Any


class TinyGANError(Exception):
    """Base of all errors below: ``except TinyGANError`` catches whatever tinygan refuses."""


class ArgumentError(TinyGANError, ValueError):
    """A setting has no meaning: a stride of 0, a rate of 1.5, a name that does not exist."""


class ShapeError(TinyGANError, ValueError):
    """An array does not fit a layer, or two layers do not fit each other."""


class DTypeError(TinyGANError, TypeError):
    """An array holds numbers of the wrong kind, such as integers where a layer wants floats."""


class PassError(TinyGANError, RuntimeError):
    """A backward pass that does not belong to exactly one forward pass."""


class SecondOrderError(TinyGANError, NotImplementedError):
    """A layer has no tangent or second-order part, which gradient penalties need."""


class BackendError(TinyGANError, RuntimeError):
    """NumPy and CuPy arrays were mixed, or a backend was asked for that is not there."""


class NonFiniteError(TinyGANError, FloatingPointError):
    """A loss or gradient became NaN or infinite."""


class DataError(TinyGANError, ValueError):
    """A data set cannot be read, or does not hold what it should."""


class CheckpointError(TinyGANError, ValueError):
    """A checkpoint is damaged, foreign, or belongs to another architecture."""


class GradientError(TinyGANError, AssertionError):
    """A hand-written gradient disagrees with finite differences."""


class UndecidedError(GradientError):
    """Finite differences cannot tell whether a gradient is right: there is a kink, or nothing depends on the input."""


class ContractError(TinyGANError, AssertionError):
    """A layer breaks the protocol that networks rely on."""


# ---- settings: what must hold, what came -----------------------------------------------------------------------------


class _Setting:
    """An attribute that is checked whenever it is set, also later on: ``rate = Setting(fraction)`` in the class Dropout
    calls ``fraction(value, "Dropout: rate")`` and keeps what that returns. What is a ``besides`` is kept as it is."""

    def __init__(self, check: Callable[..., Any], *, besides: Any = (), **options: Any) -> None:
        self.check, self.besides, self.options = check, besides, options

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: Any) -> None:
        if not isinstance(value, self.besides):
            value = self.check(value, f"{type(instance).__name__}: {self.name}", **self.options)
        vars(instance)[self.name] = value


Setting: Any = _Setting  # so that to a type checker an attribute is what it holds


def real(value: Any) -> float:
    """Return ``value`` as a float if it is a number, NumPy's and 0-d arrays included, else NaN: so for True and "1"."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if isinstance(value, bool | str | bytes) or kind not in "iuf" or getattr(value, "shape", ()) != ():
        return nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return nan


def positive_int(value: Any, what: str, *, least: int = 1, most: float = 2**63 - 1) -> int:
    """Return ``value`` as an int if it is a whole number from ``least`` to ``most``, else raise ArgumentError."""
    try:
        boolean = isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"
        number = None if boolean else operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < least:
        raise ArgumentError(f"{what} must be a whole number of at least {least}, got {value!r:.200}.")
    if number > most:
        raise ArgumentError(f"{what} must be at most {most:,}, got more.")
    return number


def positive(value: Any, what: str) -> float:
    """Return ``value`` as a float if it is a finite number above 0, else raise ArgumentError."""
    if not 0.0 < (number := real(value)) < inf:
        raise ArgumentError(f"{what} must be positive and finite, got {value!r:.200}.")
    return number


def positive_or_0(value: Any, what: str) -> float:
    """Return ``value`` as a float if it is a finite number of at least 0, else raise ArgumentError."""
    if not 0.0 <= (number := real(value)) < inf:
        raise ArgumentError(f"{what} must be a finite number of at least 0, got {value!r:.200}.")
    return number


def fraction(value: Any, what: str, *, closed: str = "[)") -> float:
    """Return ``value`` as a float if it lies between 0 and 1; ``closed`` says which ends belong: "[)", "[]", "(]"."""
    number = real(value)
    if not (0.0 < number < 1.0 or (number == 0.0 and closed[0] == "[") or (number == 1.0 and closed[1] == "]")):
        raise ArgumentError(f"{what} must be in {closed[0]}0, 1{closed[1]}, got {value!r:.200}.")
    return number


def seed(value: Any, what: str) -> int:
    """Return ``value`` as an int if it can seed a Generator, else raise ArgumentError."""
    return positive_int(value, f"{what}: the seed", least=0, most=inf)


def value_at(value: float | Callable[[int], float], t: int, what: str) -> float:
    """Return ``value`` itself if it is a number, and ``value(t)`` if it is a function of the step; ArgumentError if it
    is negative, not finite, or no number."""
    now = value(t) if callable(value) else value
    if not 0.0 <= (number := real(now)) < inf:
        raise ArgumentError(f"{what}: {value!r} gives {now!r} at step {t}; a finite number of at least 0 is needed.")
    return number
