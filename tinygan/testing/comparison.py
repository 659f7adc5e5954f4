"""The comparison behind every gradient check: what was claimed against what is measured, array by array."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import ArgumentError, GradientError, UndecidedError, positive_int, real
from ..ops import Array, to_numpy
from .differences import Slopes, Undecided, slope, slopes


@dataclass(frozen=True)
class GradientReport:
    """What a check that passed has compared.

    Attributes
    ----------
    comparisons : number of slopes, each computed both ways.
    largest_error : the worst ‖backward − differences‖ / norm over the arrays.
    zero : names of arrays whose gradient is zero both ways, below rounding. For these the check cannot tell more: it
        may be true, as for a bias right before BatchNorm, or the input may be one for which the array does not matter.
    """

    comparisons: int
    largest_error: float
    zero: tuple[str, ...] = ()

    def __str__(self) -> str:
        zero = f"; zero both ways: {', '.join(self.zero)}" if self.zero else ""
        return f"{self.comparisons} comparisons, largest error {self.largest_error:.1e} of the norm{zero}"


class Claim(Protocol):
    """A function y of several arrays ``points``, with the gradients that somebody claims it has."""

    where: str
    points: dict[Hashable, np.ndarray]

    def name(self, key: Hashable) -> str:
        """What errors call the gradient of ``points[key]``: 'dx', "grads['W']"."""
        ...

    def owner(self, key: Hashable) -> str:
        """What errors call the layer that ``points[key]`` belongs to."""
        ...

    def evaluate(self, key: Hashable, value: np.ndarray) -> np.ndarray:
        """y as a vector, with ``value`` in the place of ``points[key]``."""
        ...

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        """The claimed gradients of Σ_i dy_i y_i."""
        ...


def checked(tolerance: Any, exhaustive: Any, directions: Any) -> tuple[float, int, int]:
    """Return how exactly and how often is compared, as numbers; ArgumentError if that has no meaning."""
    if not 0.0 < real(tolerance) <= 1e-6:
        raise ArgumentError(f"tolerance must be in (0, 1e-6], got {tolerance!r:.200}: in float64, more proves nothing.")
    most = positive_int(exhaustive, "exhaustive", least=0)
    return real(tolerance), most, positive_int(directions, "directions", most=1 << 16)


def verify(
    claim: Claim,
    dys: np.ndarray,
    rng: np.random.Generator,
    tolerance: float = 1e-6,
    exhaustive: int = 200,
    directions: int = 8,
) -> GradientReport:
    """Compare every claimed gradient with finite differences, array by array."""
    tolerance, exhaustive, directions = checked(tolerance, exhaustive, directions)
    if not claim.points:
        raise ArgumentError(f"{claim.where}: there is no array to check a gradient for; give at least one.")
    first = next(iter(claim.points))
    y = claim.evaluate(first, claim.points[first])
    if not np.isfinite(y).all():
        raise GradientError(f"{claim.where}: the output is not finite, so it has no gradient.")
    claimed = [_on_host(claim, claim.gradients(dy)) for dy in dys]
    comparisons, largest, zero = 0, 0.0, []
    for key, a in claim.points.items():
        v = _directions(a, rng, exhaustive, directions)  # (M, *a.shape)
        backward = np.stack([grads[key].ravel() for grads in claimed])  # (K, a.size)
        along = backward @ v.reshape(len(v), -1).T  # (K, M)

        def f(value: np.ndarray, key: Hashable = key) -> np.ndarray:
            return claim.evaluate(key, value)

        try:
            numerical = slopes(f, a, y, v, dys, tolerance=tolerance / 2.0)
        except Undecided as undecided:
            raise _undecided(claim, key, undecided.slopes, v) from None
        norm = max(np.linalg.norm(along), np.linalg.norm(numerical.value))
        comparisons += along.size
        if norm <= np.linalg.norm(numerical.noise):
            zero.append(claim.name(key))
            continue
        error = float(np.linalg.norm(along - numerical.value) / norm)
        if not error <= tolerance:
            raise _disagreement(claim, key, f, y, v, dys, backward, numerical, error, tolerance)
        largest = max(largest, error)
    if len(zero) == len(claim.points):
        raise UndecidedError(
            f"{claim.where}: nothing was compared, because every gradient is zero ({', '.join(zero)}). Choose an input "
            "that the output depends on."
        )
    return GradientReport(comparisons, largest, tuple(zero))


def _on_host(claim: Claim, gradients: dict[Hashable, Array | None]) -> dict[Hashable, np.ndarray]:
    """Bring the claimed gradients to the host, refusing what is missing, misshapen or not finite."""
    result = {}
    for key, a in claim.points.items():
        claimed = gradients.get(key)
        if claimed is None:
            raise GradientError(
                f"{claim.owner(key)}: {claim.name(key)} is missing; expected an array of shape {a.shape}."
            )
        g = to_numpy(claimed).astype(np.float64)
        if g.shape != a.shape:
            raise GradientError(f"{claim.owner(key)}: {claim.name(key)} has shape {g.shape}, expected {a.shape}.")
        if not np.isfinite(g).all():
            worst = int(np.argmin(np.isfinite(g)))
            raise GradientError(f"{claim.owner(key)}: {_entry(claim, key, a, worst)} is {g.flat[worst]}.")
        result[key] = g
    return result


def _directions(a: np.ndarray, rng: np.random.Generator, exhaustive: int, directions: int) -> np.ndarray:
    """Every entry by itself if ``a`` is small, else some random directions of length 1: (M, *a.shape)."""
    if a.size <= exhaustive:
        return np.eye(a.size).reshape(a.size, *a.shape)
    v = rng.standard_normal((directions, a.size))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v.reshape(directions, *a.shape)


# ---- what is said when they differ -----------------------------------------------------------------------------------


def _entry(claim: Claim, key: Hashable, a: np.ndarray, flat: int) -> str:
    """One entry of a gradient by name: 'grads['W'][1, 2]'."""
    return f"{claim.name(key)}[{', '.join(map(str, map(int, np.unravel_index(flat, a.shape))))}]"


def _disagreement(
    claim: Claim,
    key: Hashable,
    f: Callable[[np.ndarray], np.ndarray],
    y: np.ndarray,
    v: np.ndarray,
    dys: np.ndarray,
    backward: np.ndarray,
    numerical: Slopes,
    error: float,
    tolerance: float,
) -> GradientError:
    """The error that names the worst entry of a wrong gradient, and gives both values of it."""
    a = claim.points[key]
    along = backward @ v.reshape(len(v), -1).T
    k, m = np.unravel_index(np.argmax(np.abs(along - numerical.value)), along.shape)

    def measured(direction: np.ndarray) -> float:
        return float(slope(f, a, y, direction.reshape(a.shape), dys[k : k + 1], 3e-5)[0][0])

    # Halve the direction, and follow the half that disagrees more, until one entry is left.
    entries, direction = np.flatnonzero(v[m]), v[m].ravel()
    while len(entries) > 1:
        halves = np.array_split(entries, 2)
        directions = [np.zeros_like(direction) for _ in halves]
        for part, half in zip(directions, halves, strict=True):
            part[half] = direction[half]
        wrong = [abs(float(backward[k] @ part) - measured(part)) for part in directions]
        entries = halves[int(np.argmax(wrong))]
    worst = int(entries[0])
    unit = np.zeros_like(direction)
    unit[worst] = 1.0
    return GradientError(
        f"{claim.owner(key)}: {claim.name(key)} is wrong. Worst entry {_entry(claim, key, a, worst)}: backward says "
        f"{backward[k, worst]:.10g}, finite differences say {measured(unit):.10g}. Over the whole array they differ by "
        f"{error:.1e} of the norm; {tolerance:g} is allowed. {_hint(along, numerical.value)}"
    )


def _hint(along: np.ndarray, right: np.ndarray) -> str:
    """What the disagreement looks like, if it looks like something well known."""
    if not along.any():
        return "The backward pass says 0 everywhere: it is not computed, or not stored."
    if not right.any():
        return "The output does not depend on it at all."
    factor = float((along * right).sum() / (right * right).sum())
    if np.linalg.norm(along - factor * right) <= 1e-3 * np.linalg.norm(along - right):
        return f"Everywhere it is {factor:.6g} times the right one: a sign, a mean for a sum, a constant?"
    return "No constant factor explains it: a missing term, a wrong axis or transpose, values of another pass?"


def _undecided(claim: Claim, key: Hashable, numerical: Slopes, v: np.ndarray) -> UndecidedError:
    """The error for slopes that cannot be measured; an array that is zero both ways is listed in the report instead."""
    worst = int(np.argmax(np.linalg.norm(numerical.error, axis=0)))
    single = np.count_nonzero(v[worst]) == 1
    where = _entry(claim, key, claim.points[key], int(np.argmax(v[worst]))) if single else claim.name(key)
    if np.linalg.norm(numerical.error[:, worst]) > np.linalg.norm(numerical.noise[:, worst]):
        why = (
            "the slope jumps, however small the step: x stands on a kink, such as ReLU's at 0, or the function is not "
            "differentiable at all. Move the input or the parameters away from there"
        )
    else:
        why = "the output changes by no more than rounding. Choose an input for which it matters"
    return UndecidedError(f"{claim.owner(key)}: finite differences cannot tell what {where} should be, because {why}.")
