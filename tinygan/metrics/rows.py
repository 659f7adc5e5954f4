"""Sets of features: what is accepted, and their distances, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from ..ops import as_array, to_numpy

ROWS = 4096  # in memory as float64 at a time
PAIRS = 1 << 22  # distances in memory at a time
LARGEST = 1e30  # of a feature, also in float32
CLOSE = 1e-6  # of |a|² + |b|²: where their difference has lost six digits of sixteen


def as_rows(x: Any, name: str, *, least: int = 2) -> np.ndarray:
    """Features (N, F) on the host, of N ≥ ``least`` rows; ArgumentError, DTypeError, NonFiniteError or ShapeError."""
    rows = to_numpy(as_array(x))
    if rows.ndim != 2 or 0 in rows.shape:
        raise ShapeError(f"{name}: expected features (N, F), got {rows.shape}. Flatten images first: x.reshape(N, -1).")
    if rows.dtype.kind not in "fiu":
        raise DTypeError(f"{name}: expected real numbers, got {rows.dtype}.")
    if len(rows) < least:
        raise ArgumentError(f"{name}: expected {least} rows of features at least, got {len(rows)}.")
    if rows.dtype.kind == "f" and not (abs(rows) < LARGEST).all():
        raise NonFiniteError(f"{name}: some features are not finite, or beyond {LARGEST:g}.")
    return rows


def require_alike(a: np.ndarray, b: np.ndarray, name: str) -> None:
    """ShapeError unless both sets have as many features a row."""
    if a.shape[1] != b.shape[1]:
        raise ShapeError(f"{name}: {a.shape[1]} features a row against {b.shape[1]}: not of one kind.")


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """|a_i − b_j|² of some rows i of a at a time, and all j: (rows, (m, N_b)), in float64, as |a|² + |b|² − 2 a·b; or
    where that is all rounding, since a_i and b_j are close, as the sum of squares that it is: a copy is at 0."""
    b = b.astype(np.float64)
    center = b.mean(axis=0)  # less is lost to rounding around 0
    b -= center
    b2 = np.square(b).sum(axis=1)
    step = max(1, PAIRS // len(b))
    for i in range(0, len(a), step):
        x = a[i : i + step].astype(np.float64) - center
        d, x2 = x @ b.T, np.square(x).sum(axis=1)[:, None]
        d *= -2.0
        d += b2
        d += x2
        _mend(d, x, b, *np.nonzero(d <= CLOSE * (x2 + b2)))
        yield slice(i, i + len(x)), d


def _mend(d: np.ndarray, x: np.ndarray, b: np.ndarray, i: np.ndarray, j: np.ndarray) -> None:
    """Write the distances of the pairs (i, j) anew."""
    step = max(1, PAIRS // x.shape[1])
    for k in range(0, len(i), step):
        p, q = i[k : k + step], j[k : k + step]
        d[p, q] = np.square(x[p] - b[q]).sum(axis=1)
