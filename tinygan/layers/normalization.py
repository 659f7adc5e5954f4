"""Normalisation over the batch and over the channels of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arguments import fraction, positive, positive_int
from ..backend import Array, get_xp
from ..errors import ShapeError
from ..kernels import accumulate, fold, in_blocks, spread, sum_in_order, widen
from .base import GradMode, Layer, Shape
from .standardized import along, curvature, second_order_in_channels


class _Normalization(Layer):
    """What both layers share: gamma and beta for each of c channels, the last axis of the input."""

    def __init__(self, c: int, *, eps: float, dtype: Any) -> None:
        super().__init__()
        self.c = positive_int(c, f"{self.name}: c")
        self.eps = positive(eps, f"{self.name}: eps")
        self._add_param("gamma", np.ones(c, dtype=dtype))
        self._add_param("beta", np.zeros(c, dtype=dtype))

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] not in (self.c, None):
            raise self._misfit(
                f"(N, ..., {self.c})", input_shape, "Channels come last; c must be the size of the last axis."
            )
        return input_shape

    def _store_grads(self, dgamma: Array, dbeta: Array, grads: GradMode) -> None:
        if grads != "skip":
            accumulate(self.grads["gamma"], dgamma, add=grads == "add")
            accumulate(self.grads["beta"], dbeta, add=grads == "add")

    def __repr__(self) -> str:
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        return f"{type(self).__name__}({self.c}{eps})"


class BatchNorm(_Normalization):
    r"""Normalise each channel over the batch (and over all pixels), then scale and shift.

    Parameters
    ----------
    c : channels, the size of the last axis.
    eps : added to the variance.
    momentum : the part of the old running statistics that is kept at each training step, in [0, 1].
    dtype : of the parameters.

    Attributes
    ----------
    parts : into how many equal parts, one after the other, a training batch is split that are normalised each on its
        own (1), and moves the running statistics once; real and generated images pass through a discriminator at once,
        and do not mix. A class of yours with another ``forward`` has parts = None, if it does not say otherwise.

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

    Tangent, second order   gamma · t and equation (2) of :mod:`tinygan.layers.standardized`, down each channel of a
              part; ∂(gᵀ J v)/∂gamma = Σ_m g[m] t[m]. With ``train=False``, t = v/σ, and x is not in it. t is symmetric
              and gamma one number for a channel, so that J = Jᵀ: the tangent along v is dx for dy = v.

    References: Ioffe and Szegedy, 2015, algorithms 1 and 2.
    """

    couples_samples = True
    parts = 1

    def __init__(self, c: int, *, eps: float = 1e-5, momentum: float = 0.9, dtype: Any = np.float32) -> None:
        super().__init__(c, eps=eps, dtype=dtype)
        self.momentum = fraction(momentum, "BatchNorm: momentum", closed="[]")
        self.buffers["running_mean"] = np.zeros(c, dtype=dtype)
        self.buffers["running_var"] = np.ones(c, dtype=dtype)

    @property
    def running_mean(self) -> Array:
        """Mean of each channel (C,), averaged over training steps."""
        return self.buffers["running_mean"]

    @property
    def running_var(self) -> Array:
        """Variance of each channel (C,), averaged over training steps."""
        return self.buffers["running_var"]

    def __repr__(self) -> str:
        momentum = "" if self.momentum == 0.9 else f", momentum={self.momentum}"
        return super().__repr__().removesuffix(")") + momentum + ")"

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        rows = x.reshape(-1, self.c)  # (M, C)
        y = get_xp(x).empty(rows.shape, dtype=x.dtype)
        parts = list(self._split(len(x), len(rows), x.shape)) if train else [slice(0, len(rows))]
        passes = [(part, *self._normalise(rows[part], y[part], train)) for part in parts]
        return self._remember(y.reshape(x.shape), rows, passes, train)

    def _split(self, n: int, m: int, shape: Shape) -> Iterator[slice]:
        """The rows of each part of a training batch."""
        parts = 1 if self.parts is None else self.parts
        if parts < 1 or n % parts or m // parts < 2:
            raise ShapeError(
                f"{self.name}: a training batch of shape {shape} has one value per channel, and so no variance. "
                "Use a batch of at least 2, or train=False."
                if parts == 1
                else f"{self.name}: a training batch of shape {shape} cannot be split into {parts} equal parts of "
                "at least 2 values per channel."
            )
        return (slice(k * m // parts, (k + 1) * m // parts) for k in range(parts))

    def _normalise(self, x: Array, y: Array, train: bool) -> tuple[Array, Array]:
        """Fill y (M, C); return μ and 1/σ."""
        x, y = widen(x), widen(y)
        if train:
            mean, var = self._statistics(x)
            m = x.size // self.c
            for running, new in ((self.running_mean, mean), (self.running_var, var * (m / (m - 1.0)))):
                running *= self.momentum
                running += (1.0 - self.momentum) * new
        else:
            mean, var = self.running_mean.copy(), self.running_var
        xp = get_xp(x)
        inv_std = 1.0 / xp.sqrt(var + self.eps)
        rows = (mean, inv_std * self.params["gamma"], self.params["beta"])
        wide_mean, scale, beta = (spread(row, x.shape[1]) for row in rows)

        def block(x, y):
            xp.subtract(x, wide_mean, out=y)
            y *= scale
            y += beta

        in_blocks(block, x, y)
        return mean, inv_std

    def _statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of each channel, from those of blocks of rows that fit into the cache: the blocks' means
        scatter around the mean, and that belongs to the variance (Chan, Golub and LeVeque, 1979)."""
        m, c, xp = x.size // self.c, self.c, get_xp(x)

        def of_block(x, centred):
            n = x.size // c
            mean = fold(x.sum(axis=0), c) / n
            xp.subtract(x, spread(mean, x.shape[1]), out=centred)
            return n, mean, fold(xp.einsum("mc,mc->c", centred, centred), c)  # one pass, no squares in memory

        blocks = in_blocks(of_block, x, scratch=1)
        mean = sum_in_order([block_mean * (n / m) for n, block_mean, _ in blocks])
        squares = [s + n * (block_mean - mean) ** 2 for n, block_mean, s in blocks]
        return mean, sum_in_order(squares) / m

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        x, passes, train = self._recall(dy, grads)
        rows = dy.reshape(-1, self.c)  # (M, C)
        dx = get_xp(dy).empty(rows.shape, dtype=dy.dtype) if need_dx else None
        sums = [
            self._backward_of(x[part], mean, inv_std, rows[part], dx[part] if need_dx else None, train)
            for part, mean, inv_std in passes
        ]
        self._store_grads(
            sum_in_order([dgamma for dgamma, _ in sums]), sum_in_order([dbeta for _, dbeta in sums]), grads
        )
        return dx.reshape(dy.shape) if need_dx else None

    def _backward_of(
        self, x: Array, mean: Array, inv_std: Array, dy: Array, dx: Array | None, train: bool
    ) -> tuple[Array, Array]:
        """Fill dx (M, C); return dgamma and dbeta."""
        xp, m, c = get_xp(dy), len(dy), self.c
        x, dy = widen(x), widen(dy)
        width = x.shape[1]
        mean = spread(mean, width)

        def sums(x, dy, centred):
            xp.subtract(x, mean, out=centred)
            return xp.einsum("mc,mc->c", dy, centred), dy.sum(axis=0)

        blocks = in_blocks(sums, x, dy, scratch=1)
        dgamma = fold(sum_in_order([products for products, _ in blocks]), c) * inv_std
        dbeta = fold(sum_in_order([plain for _, plain in blocks]), c)
        rows = (self.params["gamma"] * inv_std, dbeta / m, inv_std * dgamma / -m)
        scale, by_mean, by_x = (spread(row, width) for row in rows)

        def slope(x, dy, dx):
            if not train:
                xp.multiply(dy, scale, out=dx)
                return
            xp.subtract(x, mean, out=dx)
            dx *= by_x
            dx += dy
            dx -= by_mean
            dx *= scale

        if dx is not None:
            in_blocks(slope, x, dy, widen(dx))
        return dgamma, dbeta

    def tangent(self, v: Array) -> Array:
        x, passes, train = self._peek()
        self._require_like(v, "v")
        rows, u = v.reshape(-1, self.c), get_xp(v).empty(x.shape, dtype=v.dtype)
        for part, mean, inv_std in passes:
            self._backward_of(x[part], mean, inv_std, rows[part], u[part], train)  # J = Jᵀ
        return u.reshape(v.shape)

    def second_order(self, v: Array, g: Array) -> Array | None:
        x, passes, train = self._peek()
        self._require_like(v, "v")
        self._require_like(g, "g")
        v_rows, g_rows = v.reshape(-1, self.c), g.reshape(-1, self.c)
        dx = get_xp(g).empty(x.shape, dtype=g.dtype) if train else None
        for part, mean, inv_std in passes:
            if train:
                of_part = (x[part], mean, inv_std, self.params["gamma"], v_rows[part], g_rows[part], dx[part])
                self.grads["gamma"] += second_order_in_channels(*of_part)
            else:
                self.grads["gamma"] += get_xp(g).einsum("mc,mc->c", g_rows[part], v_rows[part]) * inv_std
        return dx.reshape(g.shape) if train else None


class LayerNorm(_Normalization):
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

    Tangent, second order   gamma · t and equation (2) of :mod:`tinygan.layers.standardized`, along each row;
              ∂(gᵀ J v)/∂gamma = Σ_m g[m] t[m].

    No sample sees another, so it suits a critic with a gradient penalty, where BatchNorm does not (Gulrajani et al.,
    2017, section 4).
    References: Ba et al., 2016, section 3.
    """

    def __init__(self, c: int, *, eps: float = 1e-5, dtype: Any = np.float32) -> None:
        positive_int(c, "LayerNorm: c", least=2)
        super().__init__(c, eps=eps, dtype=dtype)

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        rows = x.reshape(-1, self.c)  # (M, C)
        xhat = rows - rows.mean(axis=1, keepdims=True)
        var = get_xp(x).einsum("mc,mc->m", xhat, xhat)[:, None] / self.c  # (M, 1)
        inv_std = 1.0 / get_xp(x).sqrt(var + self.eps)
        xhat *= inv_std
        y = xhat * self.params["gamma"]
        y += self.params["beta"]
        return self._remember(y.reshape(x.shape), xhat, inv_std)

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        xhat, inv_std = self._recall(dy, grads)
        rows = dy.reshape(-1, self.c)  # (M, C)
        self._store_grads(get_xp(dy).einsum("mc,mc->c", rows, xhat), rows.sum(axis=0), grads)
        if not need_dx:
            return None
        dx = rows * self.params["gamma"]  # dx̂ so far
        mean_dxhat_xhat = get_xp(dy).einsum("mc,mc->m", dx, xhat)[:, None] / self.c
        dx -= dx.mean(axis=1, keepdims=True)
        dx -= xhat * mean_dxhat_xhat
        dx *= inv_std
        return dx.reshape(dy.shape)

    def tangent(self, v: Array) -> Array:
        xhat, inv_std = self._peek()
        self._require_like(v, "v")
        return (along(xhat, inv_std, v.reshape(-1, self.c), axis=1) * self.params["gamma"]).reshape(v.shape)

    def second_order(self, v: Array, g: Array) -> Array:
        xhat, inv_std = self._peek()
        self._require_like(v, "v")
        self._require_like(g, "g")
        v, rows = v.reshape(-1, self.c), g.reshape(-1, self.c)
        self.grads["gamma"] += get_xp(g).einsum("mc,mc->c", rows, along(xhat, inv_std, v, axis=1))
        return curvature(xhat, inv_std, rows * self.params["gamma"], v, axis=1).reshape(g.shape)
