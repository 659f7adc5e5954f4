"""Settings that have no meaning, refused in one voice: what must hold, what came."""

from __future__ import annotations

import operator
from math import isfinite
from typing import Any

from .errors import ArgumentError


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
    low, high = closed
    inside = _is_number(value) and (value >= 0.0 if low == "[" else value > 0.0)
    if not (inside and (value <= 1.0 if high == "]" else value < 1.0)):
        raise ArgumentError(f"{what} must be in {low}0, 1{high}, got {value!r}.")
    return float(value)


def seed(value: Any, what: str) -> int:
    """Return ``value`` as an int if it can seed a Generator, else raise ArgumentError."""
    return positive_int(value, f"{what}: the seed", least=0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (getattr(value, "shape", None) == () and isfinite(float(value)))
