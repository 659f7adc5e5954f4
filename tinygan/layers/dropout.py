"""Dropout."""

from __future__ import annotations

from ..arguments import fraction
from ..backend import Array
from ..feeds import feed
from ..initializers import Rng, as_generator
from .base import Layer


class Dropout(Layer):
    r"""In training, set each number to 0 with probability ``rate`` and scale the rest by 1 / (1 − rate).

    Parameters
    ----------
    rate : in [0, 1).
    rng : Generator or seed that the masks are drawn from, on the host whatever the backend, so both see the same ones.

    Notes
    -----
    Forward   y = x · m,  m = [u ≥ rate] / (1 − rate),  u uniform in [0, 1), one for each number; E[y] = x
    Backward  dx = dy · m
    Tangent   u = v · m, with the mask of the open pass; no second order
    With ``train=False``, m = 1. (Srivastava et al., 2014, in the form scaled at training time.)
    """

    def __init__(self, rate: float, *, rng: Rng = 0) -> None:
        super().__init__()
        self.rate = fraction(rate, "Dropout: rate")
        self.rng = as_generator(rng)

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        if not train or self.rate == 0.0:
            return self._remember(x, None)
        shape, dtype = x.shape, x.dtype

        def mask():
            keep = self.rng.random(shape, dtype="float32") >= self.rate
            return keep.astype(dtype) / (1.0 - self.rate)

        m = feed(mask, x)
        return self._remember(x * m, m)

    def backward(self, dy: Array) -> Array:
        (m,) = self._recall(dy)
        return dy if m is None else dy * m

    def tangent(self, v: Array) -> Array:
        (m,) = self._peek()
        self._require_like(v, "v")
        return v if m is None else v * m

    def second_order(self, v: Array, g: Array) -> None:
        return None

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
