"""Normalisation over the batch and over the channels of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import fraction, positive, positive_int
from ..backend import Array, get_xp
from ..errors import ShapeError
from ..kernels import accumulate, batchnorm_for
from ..kernels.batchnorm import pool_moments
from ..kernels.products import sum_of_products
from .base import GradMode, Layer, Shape
from .standardized import along, curvature, pool_all, second_order_in_channels


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
    group : the processes that have a share of each training batch (None), see :mod:`tinygan.parallel`: M, μ, v and the
        sums in dx are those of all shares together, and the gradients of gamma and beta those of the own share.

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
    group: Any = None

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

    def forward(self, x: Array, *, train: bool = True, slope: float = 1.0) -> Array:
        """Return y; with ``slope``, of a leaky ReLU right behind, as :mod:`tinygan.layers.pairs` asks for it."""
        self._check_input(x)
        rows, running = x.reshape(-1, self.c), (self.running_mean, self.running_var)  # (M, C)
        ways, own, m = batchnorm_for(x), (self.params["gamma"], self.params["beta"]), None
        how, moved = {"eps": self.eps, "slope": slope}, {"running": running, "momentum": self.momentum}
        if not train:
            mean, var = running[0].copy()[None], running[1][None]
            y, inv_std = ways.normalise(rows, mean, var, *own, count=1.0, **how)
        elif self.group is None:
            parts = self._check_parts(len(x), len(rows), x.shape)
            m = len(rows) // parts
            y, mean, inv_std = ways.forward(rows, parts, *own, **how, **moved)
        else:
            m, mean, squares = self._moments(rows, self._check_parts(len(x), len(rows), x.shape))
            y, inv_std = ways.normalise(rows, mean, squares, *own, count=m, **how, **moved)
        return self._remember(y.reshape(x.shape), rows, mean, inv_std, m)

    def _check_parts(self, n: int, m: int, shape: Shape) -> int:
        """How many parts a training batch has."""
        parts = 1 if self.parts is None else self.parts
        if parts < 1 or n % parts or m // parts < (2 if self.group is None else 1):
            raise ShapeError(
                f"{self.name}: a training batch of shape {shape} has one value per channel, and so no variance. "
                "Use a batch of at least 2, or train=False."
                if parts == 1
                else f"{self.name}: a training batch of shape {shape} cannot be split into {parts} equal parts of "
                "at least 2 values per channel."
            )
        return parts

    def _moments(self, x: Array, parts: int) -> tuple[float | Array, Array, Array]:
        """M, μ and Σ (x − μ)² of each part (parts, C), over the rows of all processes."""
        (mean, squares), m = batchnorm_for(x).moments(x, parts), len(x) // parts
        m, mean, squares = pool_all(self.group, pool_moments, [(m, mean.reshape(-1), squares.reshape(-1))])
        return m, mean.reshape(parts, -1), squares.reshape(parts, -1)

    def backward(
        self,
        dy: Array,
        *,
        grads: GradMode = "add",
        need_dx: bool = True,
        y: Array | None = None,
        slope: float = 1.0,
    ) -> Array | None:
        """Return dx; with ``y`` and ``slope``, ``dy`` is that behind a leaky ReLU, see :mod:`tinygan.layers.pairs`."""
        return self._pull_back(self._recall(dy, grads), dy, grads, need_dx, y, slope)

    def _pull_back(
        self, cache: tuple, dy: Array, grads: GradMode, need_dx: bool, y: Array | None = None, slope: float = 1.0
    ) -> Array | None:
        x, mean, inv_std, m = cache
        ways, saved = batchnorm_for(x), (mean, inv_std, self.params["gamma"], self.params["beta"])
        dy, shape = dy.reshape(-1, self.c), dy.shape
        behind = {"y": None if y is None else y.reshape(-1, self.c), "slope": slope}
        store = None if grads == "skip" else (self.grads["gamma"], self.grads["beta"], grads == "add")
        if self.group is None and m is not None and need_dx:
            return ways.backward_all(x, dy, *saved, store=store, **behind).reshape(shape)
        d, sums = ways.backward_sums(x, dy, *saved, **behind)
        if store:
            ways.store_grads(sums, inv_std, *store[:2], add=store[2])
        if not need_dx:
            return None
        if m is not None and self.group is not None:
            self.group.sum(sums.reshape(2, -1))  # in place
        return ways.backward(x, d, *saved, *((None, 1.0) if m is None else (sums, m)), slope=slope).reshape(shape)

    def tangent(self, v: Array) -> Array:
        cache = self._peek()
        self._require_like(v, "v")
        return self._pull_back(cache, v, "skip", True)  # J = Jᵀ

    def second_order(self, v: Array, g: Array) -> Array | None:
        x, mean, inv_std, m = self._peek()
        self._require_like(v, "v")
        self._require_like(g, "g")
        v_rows, g_rows = v.reshape(-1, self.c), g.reshape(-1, self.c)
        dx = get_xp(g).empty(x.shape, dtype=g.dtype) if m is not None else None
        for k in range(len(mean)):
            part = slice(k * len(x) // len(mean), (k + 1) * len(x) // len(mean))
            if m is not None:
                of_part = (x[part], mean[k], inv_std[k], self.params["gamma"], v_rows[part], g_rows[part], dx[part])
                self.grads["gamma"] += second_order_in_channels(*of_part, self.group)
            else:
                self.grads["gamma"] += sum_of_products("mc,mc->c", g_rows[part], v_rows[part]) * inv_std[k]
        return dx.reshape(g.shape) if dx is not None else None


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
        var = sum_of_products("mc,mc->m", xhat, xhat)[:, None] / self.c  # (M, 1)
        inv_std = 1.0 / get_xp(x).sqrt(var + self.eps)
        xhat *= inv_std
        y = xhat * self.params["gamma"]
        y += self.params["beta"]
        return self._remember(y.reshape(x.shape), xhat, inv_std)

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        xhat, inv_std = self._recall(dy, grads)
        rows = dy.reshape(-1, self.c)  # (M, C)
        self._store_grads(sum_of_products("mc,mc->c", rows, xhat), rows.sum(axis=0), grads)
        if not need_dx:
            return None
        dx = rows * self.params["gamma"]  # dx̂ so far
        mean_dxhat_xhat = sum_of_products("mc,mc->m", dx, xhat)[:, None] / self.c
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
        self.grads["gamma"] += sum_of_products("mc,mc->c", rows, along(xhat, inv_std, v, axis=1))
        return curvature(xhat, inv_std, rows * self.params["gamma"], v, axis=1).reshape(g.shape)
