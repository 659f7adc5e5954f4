"""Sets of features: what is accepted, and their distances, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from ..ops import as_array, to_numpy

ROWS = 4096  # in memory as float64 at a time
PAIRS = 1 << 22  # distances in memory at a time


def as_rows(x: Any, name: str, *, least: int = 2) -> np.ndarray:
    """Features (N, F) on the host, of N ≥ ``least`` rows; ArgumentError, DTypeError, NonFiniteError or ShapeError."""
    rows = to_numpy(as_array(x))
    if rows.ndim != 2 or 0 in rows.shape:
        raise ShapeError(f"{name}: expected features (N, F), got {rows.shape}. Flatten images first: x.reshape(N, -1).")
    if rows.dtype.kind not in "fiu":
        raise DTypeError(f"{name}: expected real numbers, got {rows.dtype}.")
    if len(rows) < least:
        raise ArgumentError(f"{name}: expected {least} rows of features at least, got {len(rows)}.")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise NonFiniteError(f"{name}: some features are not finite.")
    return rows


def require_alike(a: np.ndarray, b: np.ndarray, name: str) -> None:
    if a.shape[1] != b.shape[1]:
        raise ShapeError(f"{name}: {a.shape[1]} features a row against {b.shape[1]}: not of one kind.")


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """|a_i − b_j|² of some rows i of a at a time, and all j: (rows, (m, N_b)), as |a|² + |b|² − 2 a·b in float64."""
    b = b.astype(np.float64)
    center = b.mean(axis=0)  # less is lost to rounding around 0
    b -= center
    b2 = np.square(b).sum(axis=1)
    step = max(1, PAIRS // len(b))
    for i in range(0, len(a), step):
        x = a[i : i + step].astype(np.float64) - center
        d = x @ b.T
        d *= -2.0
        d += b2
        d += np.square(x).sum(axis=1)[:, None]
        yield slice(i, i + len(x)), np.maximum(d, 0.0, out=d)
