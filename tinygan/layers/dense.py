"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import positive_int
from ..ops import Array
from .base import Layer, Shape
from .initializers import Initializer, he_normal
from .starting import Rng, flag, weights


class Dense(Layer):
    r"""Affine map of every row, ``y = x W + b``.

    Parameters
    ----------
    n_in, n_out : sizes of a row of x and of y.
    bias : whether b is added; before BatchNorm, which subtracts it again with the mean, it would only cost time.
    init : how W starts (:mod:`tinygan.layers.initializers`); b starts at 0.
    rng : Generator or seed that W is drawn from; if None, W is like that of no other layer.
    dtype : of the parameters, and so of x and y.

    Notes
    -----
    Shapes    x (N, I)   W (I, O)   b (O,)   y (N, O)

    Forward   y[n,o] = Σ_i x[n,i] W[i,o] + b[o]

    Backward  Every path from a number to the loss L counts, so sum over them:

        dx[n,i] = Σ_o dy[n,o] W[i,o]     dx = dy Wᵀ
        dW[i,o] = Σ_n x[n,i] dy[n,o]     dW = xᵀ dy
        db[o]   = Σ_n dy[n,o]            broadcast forward, sum backward
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        init: Initializer = he_normal,
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = positive_int(n_in, "Dense: n_in"), positive_int(n_out, "Dense: n_out")
        self.input_shape, shape = (self.n_in,), (self.n_in, self.n_out)
        W = weights("Dense", init, shape, fan_in=self.n_in, fan_out=self.n_out, rng=rng, dtype=dtype)
        self.add_param("W", W, shape)
        if flag(bias, "Dense: bias"):
            self.add_param("b", np.zeros(self.n_out, dtype=dtype))

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        W, b = self.params["W"], self.params.get("b")
        return (x @ W if b is None else x @ W + b), x

    def gradients(self, x: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        dx = dy @ self.params["W"].T
        return dx, {"W": x.T @ dy, "b": dy.sum(axis=0)}  # without a bias, nobody reads the last

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise self.misfit(f"(N, {self.n_in})", input_shape, "Put Flatten() before it.")
        if input_shape[0] not in (self.n_in, None):
            raise self.misfit(f"(N, {self.n_in})", input_shape, "n_in must be the size of one row of the input.")
        return (self.n_out,)

    def __repr__(self) -> str:
        bias = "" if "b" in self.params else ", bias=False"
        return f"Dense({self.n_in}, {self.n_out}{bias})"
