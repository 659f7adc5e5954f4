"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import positive_int
from ..backend import Array
from ..initializers import Initializer, Rng, as_generator, he_normal
from ..kernels import accumulate_matmul, bias_leaky, bias_leaky_backward, matmul
from .base import GradMode, Layer, Shape


class Dense(Layer):
    r"""Affine map of every row, ``y = x W + b``.

    Parameters
    ----------
    n_in, n_out : sizes of a row of x and of y.
    bias : whether b is added; before BatchNorm, which subtracts it again with the mean, it would only cost time.
    init : how W starts (:mod:`tinygan.initializers`); b starts at 0.
    rng : Generator or seed that W is drawn from.
    dtype : of the parameters, and so of x and y.

    Notes
    -----
    Shapes    x (N, I)   W (I, O)   b (O,)   y (N, O)

    Forward   y[n,o] = Σ_i x[n,i] W[i,o] + b[o]

    Backward  Every path from a number to the loss L counts, so sum over them:

        dx[n,i] = Σ_o dy[n,o] W[i,o]     dx = dy Wᵀ
        dW[i,o] = Σ_n x[n,i] dy[n,o]     dW = xᵀ dy
        db[o]   = Σ_n dy[n,o]            broadcast forward, sum backward

    Tangent       u = v W                                  b stays where it is
    Second order  gᵀ u = Σ_nio g[n,o] v[n,i] W[i,o], so it adds vᵀ g to dW; x is not in it
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        init: Initializer = he_normal,
        rng: Rng = 0,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = positive_int(n_in, "Dense: n_in"), positive_int(n_out, "Dense: n_out")
        self.input_shape = (self.n_in,)
        shape = (self.n_in, self.n_out)
        W = init(shape, fan_in=self.n_in, fan_out=self.n_out, rng=as_generator(rng), dtype=dtype)
        self._add_param("W", W, shape)
        if bias:
            self._add_param("b", np.zeros(self.n_out, dtype=dtype))

    def forward(self, x: Array, *, train: bool = True, slope: float = 1.0) -> Array:
        """Return y; with ``slope``, of a leaky ReLU right behind, as :mod:`tinygan.layers.pairs` asks for it."""
        self._check_input(x)
        y = bias_leaky(matmul(x, self.params["W"]), self.params.get("b"), slope)
        return self._remember(y, x)

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
        (x,) = self._recall(dy, grads)
        db = None if grads == "skip" else self.grads.get("b")
        dy = bias_leaky_backward(dy, y, slope, db, add=grads == "add")
        if grads != "skip":
            accumulate_matmul(self.grads["W"], x.T, dy, add=grads == "add")
        if not need_dx:
            return None
        W = self.params["W"]
        return dy * W.T if self.n_out == 1 else matmul(dy, W.T)  # the same; a product over one number is slow in BLAS

    def tangent(self, v: Array) -> Array:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        return matmul(v, self.params["W"])

    def second_order(self, v: Array, g: Array) -> None:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        self._require_like(g, "g")
        accumulate_matmul(self.grads["W"], v.T, g, add=True)

    def second_order_and_backward(self, v: Array, g: Array, share: Array) -> bool:
        (x,) = self._peek()
        moved = share * x
        moved += v
        self.second_order(moved, g)
        if "b" in self.params:
            accumulate_matmul(self.grads["b"][None], share.T, g, add=True)
        return True

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise self._misfit(f"(N, {self.n_in})", input_shape, "Put Flatten() before it.")
        if input_shape[0] not in (self.n_in, None):
            raise self._misfit(f"(N, {self.n_in})", input_shape, "n_in must be the size of one row of the input.")
        return (self.n_out,)

    def __repr__(self) -> str:
        bias = "" if "b" in self.params else ", bias=False"
        return f"Dense({self.n_in}, {self.n_out}{bias})"
