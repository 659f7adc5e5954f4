"""Normalisation over the channels of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Setting, positive, positive_int
from ..ops import Array, get_xp
from .base import Layer, Shape
from .starting import MAX_NUMBERS, float_dtype


class LayerNorm(Layer):
    r"""Normalise the channels of each sample (at each pixel) among themselves, then scale and shift.

    Parameters
    ----------
    c : channels, the size of the last axis; at least 2, since one channel would always become 0.
    eps : added to the variance.
    dtype : of the parameters.

    Notes
    -----
    Shapes    x, y (N, ..., C), read as M rows of C channels; gamma, beta (C,)

    Forward   for each row:  μ = 1/C Σ_c x[c]   v = 1/C Σ_c (x[c] − μ)²   σ = √(v + eps)
              x̂ = (x − μ) / σ       y = gamma · x̂ + beta

    Backward  dbeta = Σ_m dy[m]      dgamma = Σ_m dy[m] x̂[m]
              with dx̂ = gamma · dy, and means over the channels of a row:

        dx = 1/σ · (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂))

    No sample sees another, so it suits a critic with a gradient penalty, where BatchNorm does not (Gulrajani et al.,
    2017, section 4).
    References: Ba et al., 2016, section 3.
    """

    eps = Setting(positive)

    def __init__(self, c: int, *, eps: float = 1e-5, dtype: Any = np.float32) -> None:
        super().__init__()
        self.c, self.eps = positive_int(c, "LayerNorm: c", least=2, most=MAX_NUMBERS), eps
        self.add_param("gamma", np.ones(self.c, dtype=float_dtype(dtype, self.name)))
        self.add_param("beta", np.zeros(self.c, dtype=dtype))

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        rows = x.reshape(-1, self.c)  # (M, C)
        xhat = rows - rows.mean(axis=1, keepdims=True)
        var = (xhat * xhat).mean(axis=1, keepdims=True)  # (M, 1)
        inv_std = 1.0 / get_xp(x).sqrt(var + self.eps)
        xhat *= inv_std
        y = self.params["gamma"] * xhat + self.params["beta"]
        return y.reshape(x.shape), (xhat, inv_std)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        xhat, inv_std = cache
        rows = dy.reshape(-1, self.c)  # (M, C)
        dxhat = self.params["gamma"] * rows
        dx = dxhat - dxhat.mean(axis=1, keepdims=True)
        dx -= xhat * (dxhat * xhat).mean(axis=1, keepdims=True)
        dx *= inv_std
        return dx.reshape(dy.shape), {"gamma": (rows * xhat).sum(axis=0), "beta": rows.sum(axis=0)}

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] not in (self.c, None):
            raise self.misfit(
                f"(N, ..., {self.c})", input_shape, "Channels come last; c must be the size of the last axis."
            )
        return input_shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.c}{'' if self.eps == 1e-5 else f', eps={self.eps}'})"
