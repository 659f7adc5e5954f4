"""Normalisation over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Setting, ShapeError, fraction, positive, positive_int
from ..ops import Array, get_xp
from .base import Layer, Shape
from .starting import MAX_NUMBERS, float_dtype


class BatchNorm(Layer):
    r"""Normalise each channel over the batch (and over all pixels), then scale and shift.

    Parameters
    ----------
    c : channels, the size of the last axis.
    eps : added to the variance.
    momentum : the part of the old running statistics that is kept at each training step, in [0, 1].
    dtype : of the parameters.

    Notes
    -----
    Shapes    x, y (N, ..., C), read as M rows of C channels; gamma, beta, running_mean, running_var (C,)

    Forward   μ = 1/M Σ_m x[m]      v = 1/M Σ_m (x[m] − μ)²      σ = √(v + eps)
              x̂ = (x − μ) / σ       y = gamma · x̂ + beta
              running_mean ← momentum · running_mean + (1 − momentum) · μ
              running_var  ← momentum · running_var  + (1 − momentum) · v · M/(M − 1)      the unbiased estimate
              With ``train=False`` the running statistics stand for μ and v.

    Backward  dbeta = Σ_m dy[m]      dgamma = Σ_m dy[m] x̂[m]
              x reaches y directly, through μ and through v; with dx̂ = gamma · dy the three paths add up to

        dx = 1/σ · (dx̂ − mean(dx̂) − x̂ mean(dx̂ x̂)) = gamma/σ · (dy − dbeta/M − x̂ dgamma/M)

              With ``train=False``, μ and v do not depend on x: dx = gamma/σ · dy.

    References: Ioffe and Szegedy, 2015, algorithms 1 and 2.
    """

    couples_samples = True
    eps, momentum = Setting(positive), Setting(fraction, closed="[]")

    def __init__(self, c: int, *, eps: float = 1e-5, momentum: float = 0.9, dtype: Any = np.float32) -> None:
        super().__init__()
        self.c, self.eps, self.momentum = positive_int(c, "BatchNorm: c", most=MAX_NUMBERS), eps, momentum
        self.add_param("gamma", np.ones(self.c, dtype=float_dtype(dtype, self.name)))
        self.add_param("beta", np.zeros(self.c, dtype=dtype))
        self.buffers["running_mean"] = np.zeros(self.c, dtype=dtype)
        self.buffers["running_var"] = np.ones(self.c, dtype=dtype)

    @property
    def running_mean(self) -> Array:
        """Mean of each channel (C,), averaged over training steps."""
        return self.buffers["running_mean"]

    @property
    def running_var(self) -> Array:
        """Variance of each channel (C,), averaged over training steps."""
        return self.buffers["running_var"]

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        rows = x.reshape(-1, self.c)  # (M, C)
        mean, var = self.running_mean, self.running_var
        if train:
            m = self.check_rows(x)
            mean = rows.mean(axis=0)
            var = ((rows - mean) ** 2).mean(axis=0)
            self.move_statistics(mean, var * (m / (m - 1)))
        inv_std = 1.0 / get_xp(x).sqrt(var + self.eps)
        xhat = (rows - mean) * inv_std
        y = self.params["gamma"] * xhat + self.params["beta"]
        return y.reshape(x.shape), (xhat, inv_std, train)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        xhat, inv_std, train = cache
        rows = dy.reshape(-1, self.c)  # (M, C)
        dbeta, dgamma = rows.sum(axis=0), (rows * xhat).sum(axis=0)
        if train:
            rows = rows - dbeta / len(rows) - xhat * (dgamma / len(rows))
        dx = self.params["gamma"] * inv_std * rows
        return dx.reshape(dy.shape), {"gamma": dgamma, "beta": dbeta}

    def move_statistics(self, mean: Array, var: Array) -> None:
        """Move the running statistics towards those of a batch."""
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running *= self.momentum
            running += (1.0 - self.momentum) * new

    def check_rows(self, x: Array) -> int:
        """How many numbers a channel of this training batch has; refuse one, which has no variance."""
        m = x.size // self.c
        if m < 2:
            raise ShapeError(
                f"{self.name}: a training batch of shape {x.shape} has one value per channel, and so no variance. "
                "Use a batch of at least 2, or train=False."
            )
        return m

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] not in (self.c, None):
            raise self.misfit(
                f"(N, ..., {self.c})", input_shape, "Channels come last; c must be the size of the last axis."
            )
        return input_shape

    def __repr__(self) -> str:
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        momentum = "" if self.momentum == 0.9 else f", momentum={self.momentum}"
        return f"{type(self).__name__}({self.c}{eps}{momentum})"
