"""Normalisation over groups of channels of a sample."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ArgumentError, Setting, positive, positive_int
from ..ops import Array, get_xp
from .base import Layer, Shape
from .starting import MAX_NUMBERS, float_dtype


class GroupNorm(Layer):
    r"""Normalise each group of channels of a sample over all its pixels, then scale and shift each channel.

    Parameters
    ----------
    groups : how many, K; each has C/K channels in a row. One group: all of a sample at once; as many as there are
        channels: each by itself, instance normalisation.
    c : channels, the size of the last axis; a multiple of ``groups``.
    eps : added to the variance.
    dtype : of the parameters.

    Notes
    -----
    Shapes    x, y (N, ..., C); gamma, beta (C,); a group of a sample has S numbers: C/K at each pixel

    Forward   for each group of each sample:  μ = 1/S Σ x   v = 1/S Σ (x − μ)²   σ = √(v + eps)
              x̂ = (x − μ) / σ       y = gamma · x̂ + beta

    Backward  dbeta = Σ dy      dgamma = Σ dy x̂      over samples and pixels
              with dx̂ = gamma · dy, and means over a group:

        dx = 1/σ · (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂))

    No sample sees another, as in LayerNorm, but the numbers of all pixels are looked at together.
    References: Wu and He, 2018, section 3.
    """

    eps = Setting(positive)

    def __init__(self, groups: int, c: int, *, eps: float = 1e-5, dtype: Any = np.float32) -> None:
        super().__init__()
        self.groups, self.c = (
            positive_int(groups, "GroupNorm: groups"),
            positive_int(c, "GroupNorm: c", most=MAX_NUMBERS),
        )
        if self.c % self.groups:
            raise ArgumentError(f"GroupNorm: {self.c} channels cannot be split into {self.groups} groups of one size.")
        self.eps = eps
        self.add_param("gamma", np.ones(self.c, dtype=float_dtype(dtype, self.name)))
        self.add_param("beta", np.zeros(self.c, dtype=dtype))

    def grouped(self, x: Array) -> Array:
        """x (N, ..., C) as (N, pixels, K, C/K)."""
        return x.reshape(len(x), -1, self.groups, self.c // self.groups)

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        grouped = self.grouped(x)
        xhat = grouped - grouped.mean(axis=(1, 3), keepdims=True)
        var = (xhat * xhat).mean(axis=(1, 3), keepdims=True)  # (N, 1, K, 1)
        inv_std = 1.0 / get_xp(x).sqrt(var + self.eps)
        xhat *= inv_std
        y = self.params["gamma"] * xhat.reshape(x.shape) + self.params["beta"]
        return y, (xhat, inv_std)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        xhat, inv_std = cache
        dxhat = self.grouped(self.params["gamma"] * dy)
        dx = dxhat - dxhat.mean(axis=(1, 3), keepdims=True)
        dx -= xhat * (dxhat * xhat).mean(axis=(1, 3), keepdims=True)
        dx *= inv_std
        rows = dy.reshape(-1, self.c)
        return dx.reshape(dy.shape), {"gamma": (rows * xhat.reshape(rows.shape)).sum(axis=0), "beta": rows.sum(axis=0)}

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] not in (self.c, None):
            mend = "Channels come last; c must be the size of the last axis."
            raise self.misfit(f"(N, ..., {self.c})", input_shape, mend)
        if None not in input_shape and prod(input_shape) == self.groups:
            mend = "A group of one number is 0, whatever it was: use fewer groups."
            raise self.misfit(f"(N, ..., {self.c}) of more than one number in a group", input_shape, mend)
        return input_shape

    def __repr__(self) -> str:
        return f"GroupNorm({self.groups}, {self.c}{'' if self.eps == 1e-5 else f', eps={self.eps}'})"
