"""Every error that tinygan raises on purpose, and the checks of settings that raise them.

Each is also a built-in exception of the nearest meaning, so ``except ValueError`` keeps working for people who never
heard of these classes. A message says where (layer or file), what was expected, what came, and how to mend it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isfinite
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


def positive_int(value: Any, what: str, *, least: int = 1) -> int:
    """Return ``value`` as an int if it is a whole number of at least ``least``, else raise ArgumentError."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise ArgumentError(f"{what} must be a whole number of at least {least}, got {value!r}.")
    return number


def positive(value: Any, what: str) -> float:
    """Return ``value`` as a float if it is a finite number above 0, else raise ArgumentError."""
    if not _is_number(value) or not 0.0 < value < float("inf"):
        raise ArgumentError(f"{what} must be positive and finite, got {value!r}.")
    return float(value)


def positive_or_0(value: Any, what: str) -> float:
    """Return ``value`` as a float if it is a finite number of at least 0, else raise ArgumentError."""
    if not _is_number(value) or not 0.0 <= value < float("inf"):
        raise ArgumentError(f"{what} must be a finite number of at least 0, got {value!r}.")
    return float(value)


def fraction(value: Any, what: str, *, closed: str = "[)") -> float:
    """Return ``value`` as a float if it lies between 0 and 1; ``closed`` says which ends belong: "[)", "[]", "(]"."""
    low, high = closed[0], closed[1]
    inside = _is_number(value) and (value >= 0.0 if low == "[" else value > 0.0)
    if not (inside and (value <= 1.0 if high == "]" else value < 1.0)):
        raise ArgumentError(f"{what} must be in {low}0, 1{high}, got {value!r}.")
    return float(value)


def seed(value: Any, what: str) -> int:
    """Return ``value`` as an int if it can seed a Generator, else raise ArgumentError."""
    return positive_int(value, f"{what}: the seed", least=0)


def value_at(value: float | Callable[[int], float], t: int, what: str) -> float:
    """Return ``value`` itself if it is a number, and ``value(t)`` if it is a function of the step; ArgumentError if the
    function gives something that is negative, not finite, or no number."""
    if not callable(value):
        return float(value)
    now = value(t)
    if _is_number(now) and 0.0 <= now < float("inf"):
        return float(now)
    raise ArgumentError(f"{what}: {value!r} gives {now!r} at step {t}; a finite number of at least 0 is needed.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (getattr(value, "shape", None) == () and isfinite(float(value)))
