r"""Slopes of a function from its values alone, each with a bound on its own error.

Along a direction v from a point a, write φ(t) = f(a + t v). The central difference

    D(h) = (φ(h) − φ(−h)) / 2h = φ'(0) + h²/6 φ'''(0) + O(h⁴)

has no error of first order in h: the even terms of Taylor's series cancel. Half the step has a quarter of the error,
so two of them tell how large it is, and most of it can be subtracted (Richardson, 1911):

    R = D(h/2) + (D(h/2) − D(h)) / 3 = φ'(0) + O(h⁴)                |D(h/2) − D(h)| ≥ |R − φ'(0)| for small h

**Kinks.** Where φ has a corner (ReLU at 0), its slope jumping by J at a distance d < h, the series does not hold. If
d > 0, D(h) and D(h/2) disagree and we see it. If d = 0, both give the mean of the two slopes and agree on a slope that
is neither. Second differences do not overlook that: S(h) = (φ(h) − 2φ(0) + φ(−h)) / h is h φ''(0) + O(h³) where φ is
smooth, so 2 S(h/2) − S(h) nearly vanishes there, but it is J at a corner. Hence the bound that :func:`slope` returns,

    E = |D(h/2) − D(h)| + ½ |2 S(h/2) − S(h)|,

which is never less than |R − φ'(0)| for a corner at any distance, and O(h²) where there is none: one number for
truncation, corners and rounding alike. Where it is too large, a smaller h leaves the corner out of reach; a corner at a
itself stays, and nothing can be decided there.

**The step.** Values carry a rounding error of about ε|φ| (ε = 2.2e-16), so D errs by ε|φ|/h besides. Steps near 1e-4
leave about 1e-12 of that and 1e-9 of truncation. No float32 derivative can be checked to 1e-6 in this way: the rounding
alone would be 1e-3. Hence float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Steps tried in turn until the error is small enough: smaller ones avoid corners, the last drowns rounding.
STEPS = (3e-4, 3e-5, 3e-6, 3e-7, 3e-3)


class Slopes(NamedTuple):
    """Slopes of K functions along M directions: arrays (K, M)."""

    value: np.ndarray  #: R, the extrapolated slopes
    error: np.ndarray  #: E, a bound on |R − slope|
    noise: np.ndarray  #: how large R can be by rounding alone


class Undecided(Exception):
    """No step gave slopes as exact as was asked for."""

    def __init__(self, slopes: Slopes, wanted: float) -> None:
        super().__init__(slopes, wanted)
        self.slopes, self.wanted = slopes, wanted


def slope(
    f: Callable[[np.ndarray], np.ndarray], a: np.ndarray, y: np.ndarray, v: np.ndarray, dys: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes of the K functions L_k(a) = Σ_i dys[k, i] f(a)[i] along ``v``.

    Parameters
    ----------
    f : function from arrays like ``a`` to vectors (I,).
    a, y : the point, and f(a).
    v : direction, shaped like ``a``.
    dys : (K, I).
    step : h for entries of size up to 1; where a's are larger, h grows with them.

    Returns
    -------
    R, E, noise, each (K,) : the slopes, bounds on their errors, and how large a slope rounding alone can feign.
    """
    h = step * max(1.0, float(np.linalg.norm(a * v)))

    def central(h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        up, down = f(a + h * v), f(a - h * v)  # their difference is taken before anything large is summed
        return dys @ (up - down) / (2.0 * h), dys @ ((up - y) + (down - y)) / h, np.maximum(np.abs(up), np.abs(down))

    (D, S, size), (D_half, S_half, _) = central(h), central(h / 2.0)
    noise = 64.0 * np.finfo(np.float64).eps * (np.abs(dys) @ size) / h
    error = np.abs(D_half - D) + 0.5 * np.abs(2.0 * S_half - S)
    return D_half + (D_half - D) / 3.0, error + noise / 8.0, noise  # rounding may happen to cancel in ``error``


def slopes(
    f: Callable[[np.ndarray], np.ndarray],
    a: np.ndarray,
    y: np.ndarray,
    directions: np.ndarray,
    dys: np.ndarray,
    *,
    tolerance: float,
) -> Slopes:
    """Slopes along ``directions`` (M, *a.shape), each with a step for which all together are exact enough.

    That is: ‖E‖ ≤ tolerance · ‖R‖ over the whole (K, M) array; or both are within rounding noise, so the slopes are 0.

    Raises
    ------
    Undecided
        No step will do: there is a corner at ``a`` itself, or f varies too little to rise above rounding.
    """
    size = (len(dys), len(directions))
    best = Slopes(np.full(size, np.nan), np.full(size, np.inf), np.full(size, np.inf))
    pending = list(range(len(directions)))
    for step in STEPS:
        for m in pending:
            new = slope(f, a, y, directions[m], dys, step)
            if np.linalg.norm(new[1]) < np.linalg.norm(best.error[:, m]):
                for into, column in zip(best, new, strict=True):
                    into[:, m] = column
        value, error, noise = (float(np.linalg.norm(part)) for part in best)
        if error <= tolerance * value or max(value, error) <= noise:
            return best
        allowed = tolerance * value / len(directions) ** 0.5
        pending = [m for m in range(len(directions)) if not np.linalg.norm(best.error[:, m]) <= allowed]
    raise Undecided(best, tolerance)
