"""The bodies of :mod:`tinygan.data.shapes`: closed curves r = R(θ) about their middle, as tables.

θ grows from the right over the bottom, as y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

KINDS = ("circle", "square", "triangle", "hexagon", "star", "flower", "heart", "drop")  #: of bodies, the labels
ANGLES = 512  #: directions in which a body's edge is tabulated


@dataclass(frozen=True, eq=False)
class Outlines:
    """All kinds of bodies; S = len(KINDS).

    Attributes
    ----------
    radius : (S · (ANGLES + 1),) R(θ) at angles from 0 to 2π, one kind after the other. All have the same area.
    steepness : the same of 1 / √(1 + (R′/R)²), by which r − R(θ) becomes a distance; at least 1/2.
    reach : (S,) the largest R(θ).
    face : (S,) height of the face above or below the middle.
    """

    radius: np.ndarray
    steepness: np.ndarray
    reach: np.ndarray
    face: np.ndarray


@lru_cache(maxsize=1)
def outlines() -> Outlines:
    """Return the tables, computed once."""
    theta = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    up = theta + np.pi / 2  # from the upper end
    t = np.linspace(0.0, 2 * np.pi, 4 * ANGLES, endpoint=False)
    kinds = {  # R(θ), and where the face is
        "circle": (np.ones(ANGLES), 0.0),
        "square": (_polygon(theta, 4, 0.0, 10.0), 0.0),
        "triangle": (_polygon(theta, 3, np.pi / 2, 7.0), 0.15),
        "hexagon": (_polygon(theta, 6, 0.0, 16.0), 0.0),
        "star": (1.0 + 0.22 * np.cos(5 * up) + 0.04 * np.cos(10 * up), 0.02),
        "flower": (0.86 + 0.2 * np.abs(np.sin(3.5 * up)), 0.0),
        "heart": (
            _around(16 * np.sin(t) ** 3, -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)),
            -0.12,
        ),
        "drop": (_around(0.95 * np.sin(t) * np.abs(np.sin(t / 2)), -np.cos(t) - 0.25), 0.2),
    }
    radius = np.stack([kinds[name][0] for name in KINDS])
    radius *= np.sqrt(0.75 / np.mean(radius**2, axis=1, keepdims=True))
    slope = (np.roll(radius, -1, axis=1) - np.roll(radius, 1, axis=1)) * (ANGLES / (4 * np.pi))
    steepness = np.maximum(1.0 / np.sqrt(1.0 + (slope / radius) ** 2), 0.5)  # else tips grow thorns
    edge, steep = (np.pad(a, ((0, 0), (0, 1)), mode="wrap").astype(np.float32).ravel() for a in (radius, steepness))
    return Outlines(edge, steep, radius.max(axis=1), np.array([kinds[name][1] for name in KINDS]))


def _polygon(theta: np.ndarray, corners: int, first: float, p: float) -> np.ndarray:
    """Return R(θ) of a polygon with rounded corners, R = (Σ_k max(0, cos(θ − θ_k))^p)^(−1/p); p → ∞ is not rounded.

    The sides lie at distance 1 in the directions θ_k = first + 2πk / corners.
    """
    sides = first + np.arange(corners) * (2 * np.pi / corners)
    return (np.maximum(np.cos(theta[:, None] - sides), 0.0) ** p).sum(axis=1) ** (-1.0 / p)


def _around(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return R(θ) of a closed curve through points (x, y), each in another direction from the origin."""
    angle = np.arctan2(y, x)
    return np.interp(np.arange(ANGLES) * (2 * np.pi / ANGLES), angle, np.hypot(x, y), period=2 * np.pi)
