"""What a layer starts from, checked: the dtype and size of its arrays, and a source of random numbers of its own.

A layer that is made without ``rng`` gets the next of a row of Generators, which begins with one seed in every process:
no two layers draw alike, and the same script makes the same layers in each of its runs. Which Generator a layer gets
depends on how many were made before it, and only on that; copies, and layers made with an ``rng``, take none. So layers
that must not change when something is put before them, or that are made in several threads, are given an ``rng``.
"""

from __future__ import annotations

from itertools import count
from math import inf, prod
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, positive_int, real
from ..errors import seed as check_seed

Rng = np.random.Generator | int | None
Pair = int | tuple[int, int]
Padding = str | int | tuple[tuple[int, int], tuple[int, int]]

MAX_NUMBERS = 1 << 30  #: in one array of weights: 4 GiB in float32

_row = 0, count()  # the seed of the row, and the place of the next Generator in it


def seed(value: int = 0) -> None:
    """Let the row of Generators for layers made without ``rng`` begin anew, with this seed; it begins with 0.

    In a notebook, ``tinygan.seed(0)`` at the top of a cell makes the same layers each time that the cell is run.
    """
    global _row
    _row = check_seed(value, "seed"), count()


def fresh() -> np.random.Generator:
    """Return the next Generator of the row."""
    value, places = _row
    # (4, ...) is a key that nobody else in the package uses: from the same seed, other numbers than theirs
    return np.random.default_rng(np.random.SeedSequence(value, spawn_key=(4, next(places))))


def as_generator(rng: Rng) -> np.random.Generator:
    """Return ``rng`` if it is a Generator, else a new one with this seed, or for None one that nobody else is given
    (:mod:`tinygan.layers.starting`). Equal seeds draw equal numbers: give the layers of one network one Generator, so
    that each draws its own."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return fresh()
    try:
        return np.random.default_rng(positive_int(rng, "rng", least=0, most=inf))
    except ArgumentError:
        raise ArgumentError(f"rng must be a numpy.random.Generator or a seed, got {rng!r:.200}.") from None


def float_dtype(dtype: Any, what: str) -> np.dtype:
    """Return the dtype that ``dtype`` means if it is float32 or float64, else raise DTypeError."""
    try:
        meant = None if dtype is None else np.dtype(dtype)  # to NumPy, None is float64
    except Exception:  # NumPy has several for it
        meant = None
    if meant not in (np.float32, np.float64):
        shown = repr(dtype) if meant is None else meant
        raise DTypeError(f"{what}: parameters are float32 or float64, got dtype {shown!s:.200}.")
    return meant


def weights(
    name: str, init: Any, shape: tuple[int, ...], *, fan_in: int, fan_out: int, rng: Rng, dtype: Any
) -> np.ndarray:
    """Return the weights that ``init`` makes for a layer; ArgumentError if it is no function, or they are too many."""
    if not callable(init):
        raise ArgumentError(
            f"{name}: init must be a function such as tinygan.initializers.he_normal, got {init!r:.200}."
        )
    if prod(shape) > MAX_NUMBERS:
        raise ArgumentError(f"{name}: W would have the shape {shape}, but may hold {MAX_NUMBERS:,} numbers at most.")
    return init(shape, fan_in=fan_in, fan_out=fan_out, rng=as_generator(rng), dtype=float_dtype(dtype, name))


def flag(value: Any, what: str) -> bool:
    """Return ``value`` as a bool if it is True or False, NumPy's included, else raise ArgumentError."""
    of_numpy = str(getattr(value, "dtype", "")), getattr(value, "shape", None)
    if not isinstance(value, bool) and of_numpy != ("bool", ()):
        raise ArgumentError(f"{what} must be True or False, got {value!r:.200}.")
    return bool(value)


def one_of(value: Any, what: str, choices: tuple[Any, ...]) -> Any:
    """Return that of ``choices``, texts or numbers, which ``value`` is, else raise ArgumentError, which says ``what``
    was expected."""
    for choice in choices:
        if (isinstance(value, str) and value == choice) or real(value) == choice:
            return choice
    raise ArgumentError(f"{what}, got {value!r:.200}.")


def pair(value: Any, name: str, what: str) -> tuple[int, int]:
    """Return ``value`` as (vertical, horizontal) if it is one whole number or two of them, else raise ArgumentError."""
    if not isinstance(value, tuple | list):
        value = (value, value)
    elif len(value) != 2:
        raise ArgumentError(f"{name}: {what} must be an int or a pair (vertical, horizontal), got {value!r}.")
    return positive_int(value[0], f"{name}: {what}"), positive_int(value[1], f"{name}: {what}")


def check_padding(padding: Any, name: str) -> Padding:
    """Return ``padding`` if it is one that a convolution knows, else raise ArgumentError."""
    try:
        if padding in ("same", "valid"):
            return padding
        if np.ndim(padding) == 0:
            return positive_int(padding, "padding", least=0)
        (top, bottom), (left, right) = padding
        sizes = [positive_int(p, "padding", least=0) for p in (top, bottom, left, right)]
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name}: padding must be 'same', 'valid', an int >= 0 or ((top, bottom), (left, right)), got {padding!r}."
        ) from error
    return (sizes[0], sizes[1]), (sizes[2], sizes[3])
