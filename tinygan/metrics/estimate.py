"""A number and how far it can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A value and its standard error; NaN where one sample of it gives none."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.1g}" if self.error > 0.0 else f"{self.value:.3g}"


def share(hits: np.ndarray) -> Estimate:
    """The part of ``hits`` that is True, with the error of a part: √(p (1 − p) / N)."""
    p = float(hits.mean())
    return Estimate(p, float(np.sqrt(p * (1.0 - p) / len(hits))))


def mean_of(values: np.ndarray) -> Estimate:
    """Their mean, with the error of a mean: s / √N."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    return Estimate(float(values.mean()), error)
