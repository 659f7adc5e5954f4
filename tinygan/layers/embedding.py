"""A vector for each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import positive_int
from ..ops import Array, ops_of
from .base import Layer, Shape
from .conditional import checked, one_hot
from .initializers import Initializer, he_normal
from .starting import Rng, weights


class Embedding(Layer):
    r"""A learned vector for each class: a table that is looked into.

    Parameters
    ----------
    classes : K.
    n_out : F, the length of a vector.
    init : how W starts (:mod:`tinygan.layers.initializers`).
    rng : Generator or seed that W is drawn from.
    dtype : of the parameters.

    Raises
    ------
    ArgumentError
        An index is not in [0, K); looked at on the CPU only, where it costs no waiting.

    Notes
    -----
    Shapes    x (N, ...) integers   W (K, F)   y (N, ..., F)
    Forward   y[n] = W[x[n]]
    Backward  dW[k] = Σ_{n: x[n] = k} dy[n]      no dx: an integer cannot be moved a little
    """

    takes_integers = True

    def __init__(
        self, classes: int, n_out: int, *, init: Initializer = he_normal, rng: Rng = None, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.classes, self.n_out = positive_int(classes, "Embedding: classes"), positive_int(n_out, "Embedding: n_out")
        shape = self.classes, self.n_out
        # He's rule makes up for a ReLU, which does not follow: with it, one number that is not 0 means normal(0, 1)
        W = weights("Embedding", init, shape, fan_in=2, fan_out=self.n_out, rng=rng, dtype=dtype)
        self.add_param("W", W, shape)

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        checked(x.reshape(-1), self.classes, self.name)
        return self.params["W"][x], x

    def gradients(self, x: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        rows = dy.reshape(-1, self.n_out)
        dW = ops_of(rows).matmul(one_hot(x.reshape(-1), self.classes, dy.dtype).T, rows)
        return None, {"W": dW}  # type: ignore[return-value]

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.n_out)

    def __repr__(self) -> str:
        return f"Embedding({self.classes}, {self.n_out})"
