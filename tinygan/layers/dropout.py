"""Dropout."""

from __future__ import annotations

from ..errors import Setting, fraction
from ..ops import Array, ops_of
from .base import Layer
from .starting import Rng, as_generator


class Dropout(Layer):
    r"""In training, set each number to 0 with probability ``rate`` and scale the rest by 1 / (1 − rate).

    Parameters
    ----------
    rate : in [0, 1).
    rng : Generator or seed that the masks are drawn from, by NumPy whatever x is, so that every backend sees the same;
        if None, they are like those of no other layer.

    Notes
    -----
    Forward   y = x · m,  m = [u ≥ rate] / (1 − rate),  u uniform in [0, 1), one for each number; E[y] = x
    Backward  dx = dy · m
    With ``train=False``, m = 1. (Srivastava et al., 2014, in the form scaled at training time.)
    """

    rate, rng = Setting(fraction), Setting(lambda rng, what: as_generator(rng))

    def __init__(self, rate: float, *, rng: Rng = None) -> None:
        super().__init__()
        self.rate, self.rng = rate, as_generator(rng)

    def apply(self, x: Array, train: bool) -> tuple[Array, Array | None]:
        if not train or self.rate == 0.0:
            return x, None
        keep = self.rng.random(x.shape, dtype="float32") >= self.rate
        m = ops_of(x).from_host(keep.astype(x.dtype) / (1.0 - self.rate))
        return x * m, m

    def gradients(self, m: Array | None, dy: Array) -> tuple[Array, dict]:
        return (dy if m is None else dy * m), {}

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
