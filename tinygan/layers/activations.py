"""Nonlinearities, number by number. Each keeps what its derivatives are cheapest from: y, or x.

For y = f(x) in every place by itself, the Jacobian J is diagonal and its own transpose, so that J v (the tangent) and
Jᵀ dy (the backward pass) are one formula, f'(x) times what came. The derivative of gᵀ J v = Σ g f'(x) v with respect to
x is f''(x) · v · g, in every place by itself again.
"""

from __future__ import annotations

from typing import Any

from ..arguments import fraction, positive
from ..backend import Array, get_xp
from ..kernels import (
    in_blocks,
    leaky_relu,
    leaky_relu_backward,
    on_gpu,
    sigmoid,
    sigmoid_backward,
    softplus,
    tanh_backward,
)
from .base import Layer


class _Elementwise(Layer):
    """A forward, and two formulas from what it ``kept``: an array, or two."""

    def backward(self, dy: Array) -> Array:
        (kept,) = self._recall(dy)
        return self._slope_times(kept, dy)

    def tangent(self, v: Array) -> Array:
        (kept,) = self._peek()
        self._require_like(v, "v")
        return self._slope_times(kept, v)

    def second_order(self, v: Array, g: Array) -> Array | None:
        (kept,) = self._peek()
        self._require_like(v, "v")
        self._require_like(g, "g")
        return self._curvature_times(kept, v, g)

    def _slope_times(self, kept: Any, d: Array) -> Array:
        """f'(x) · d, in new memory."""
        raise NotImplementedError

    def _curvature_times(self, kept: Any, v: Array, g: Array) -> Array | None:
        """f''(x) · v · g, in new memory; None where f is linear in pieces."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LeakyReLU(_Elementwise):
    r"""``y = x`` where x > 0, ``y = slope · x`` elsewhere (Maas et al., 2013).

    Parameters
    ----------
    slope : in [0, 1); 0.2 is usual in discriminators (Radford et al., 2016).

    Notes
    -----
    Forward       y = max(x, slope·x), which is the same because slope < 1
    Backward      dx = dy · (1 if x > 0 else slope); at x = 0, where there is no derivative, the left one is taken
    Second order  none
    """

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = fraction(slope, "LeakyReLU: slope")

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = leaky_relu(x, self.slope)
        return self._remember(y, y)  # y has the signs of x, and is kept anyway as the next layer's input

    def _slope_times(self, y: Array, d: Array) -> Array:
        return leaky_relu_backward(y, d, self.slope)

    def _curvature_times(self, y: Array, v: Array, g: Array) -> None:
        return None

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ReLU(_Elementwise):
    r"""``y = max(x, 0)``.

    Notes
    -----
    Forward       y = max(x, 0)
    Backward      dx = dy · [x > 0]; at x = 0, where there is no derivative, 0 is taken
    Second order  none
    """

    slope = 0.0  # that of a leaky one which is the same

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        xp = get_xp(x)
        y = xp.empty(x.shape, dtype=x.dtype)
        in_blocks(lambda x, y: xp.maximum(x, 0.0, out=y), x.reshape(-1), y.reshape(-1))
        return self._remember(y, y)  # y > 0 where x > 0, and y is kept anyway as the next layer's input

    def _slope_times(self, y: Array, d: Array) -> Array:
        if on_gpu(d):
            return leaky_relu_backward(y, d, self.slope)
        xp = get_xp(d)
        dx = xp.empty(d.shape, dtype=d.dtype)
        in_blocks(lambda y, d, dx: xp.multiply(d, y > 0, out=dx), y.reshape(-1), d.reshape(-1), dx.reshape(-1))
        return dx

    def _curvature_times(self, y: Array, v: Array, g: Array) -> None:
        return None


class ELU(_Elementwise):
    r"""``y = x`` where x > 0, ``y = alpha (e^x − 1)`` elsewhere (Clevert et al., 2016).

    Parameters
    ----------
    alpha : positive; −alpha is the least y. With 1 the slope has no jump at 0.

    Notes
    -----
    Forward       y = x                   where x > 0, else alpha (e^x − 1)
    Backward      dx = dy                 where x > 0, else dy · (y + alpha), because alpha e^x = y + alpha
    Second order  0                       where x > 0, else (y + alpha) · v · g
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = positive(alpha, "ELU: alpha")

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        xp = get_xp(x)
        y = xp.minimum(x, 0.0)  # e^x of the rest may overflow, and nobody would read it
        xp.expm1(y, out=y)
        y *= self.alpha
        y += xp.maximum(x, 0.0)  # one of the two terms is 0
        return self._remember(y, y)

    def _slope_times(self, y: Array, d: Array) -> Array:
        slope = get_xp(y).minimum(y, 0.0)
        slope += self.alpha
        if self.alpha != 1.0:  # with alpha = 1 this is 1 already where x > 0
            slope = get_xp(y).where(y > 0, slope.dtype.type(1.0), slope)
        slope *= d
        return slope

    def _curvature_times(self, y: Array, v: Array, g: Array) -> Array:
        h = y + self.alpha
        h *= y <= 0
        h *= v
        h *= g
        return h

    def __repr__(self) -> str:
        return "ELU()" if self.alpha == 1.0 else f"ELU({self.alpha})"


class Softplus(_Elementwise):
    r"""``y = log(1 + e^x)``, a smooth ReLU (Dugas et al., 2001).

    Notes
    -----
    Forward       y = max(x, 0) + log(1 + e^−|x|), so that nothing overflows
    Backward      dx = dy · σ(x),  σ(x) = 1 − e^−y
    Second order  σ(x) (1 − σ(x)) · v · g = (1 − e^−y) e^−y · v · g
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = softplus(x)
        return self._remember(y, y)

    def _slope_times(self, y: Array, d: Array) -> Array:
        slope = get_xp(y).expm1(-y)  # −σ(x), with all its digits where it is small
        slope *= d
        return get_xp(y).negative(slope, out=slope)

    def _curvature_times(self, y: Array, v: Array, g: Array) -> Array:
        h = get_xp(y).exp(-y)
        h *= self._slope_times(y, v)
        h *= g
        return h


class SiLU(_Elementwise):
    r"""``y = x σ(x)``, a smooth ReLU that dips below 0 (Elfwing et al., 2018).

    Notes
    -----
    Forward       y = x · σ,  σ = 1 / (1 + e^−x)
    Backward      dx = dy · σ (1 + x (1 − σ))
    Second order  σ (1 − σ) (2 + x (1 − 2σ)) · v · g
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        s = sigmoid(x)
        return self._remember(x * s, (x, s))  # σ costs more than all the rest

    def _slope_times(self, kept: tuple[Array, Array], d: Array) -> Array:
        x, s = kept
        slope = 1.0 - s
        slope *= x
        slope += 1.0
        slope *= s
        slope *= d
        return slope

    def _curvature_times(self, kept: tuple[Array, Array], v: Array, g: Array) -> Array:
        x, s = kept
        h = 1.0 - 2.0 * s
        h *= x
        h += 2.0
        h *= s
        h *= 1.0 - s
        h *= v
        h *= g
        return h


class Tanh(_Elementwise):
    r"""``y = tanh x``, in (−1, 1): the range of images scaled to [−1, 1].

    Notes
    -----
    Forward       y = tanh x
    Backward      dx = dy · (1 − y²), because tanh' = 1 − tanh²
    Second order  −2 y (1 − y²) · v · g
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = get_xp(x).tanh(x)
        return self._remember(y, y)

    def _slope_times(self, y: Array, d: Array) -> Array:
        return tanh_backward(y, d)

    def _curvature_times(self, y: Array, v: Array, g: Array) -> Array:
        h = self._slope_times(y, v)
        h *= y
        h *= g
        h *= -2.0
        return h


class Sigmoid(_Elementwise):
    r"""``y = σ(x) = 1 / (1 + e^−x)``, in (0, 1): the range of images scaled to [0, 1].

    A discriminator has no Sigmoid: tinygan's losses take logits and apply σ themselves, safe from overflow.

    Notes
    -----
    Forward       y = σ(x)
    Backward      dx = dy · y · (1 − y), because σ' = σ(1 − σ)
    Second order  y (1 − y) (1 − 2y) · v · g
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = sigmoid(x)
        return self._remember(y, y)

    def _slope_times(self, y: Array, d: Array) -> Array:
        return sigmoid_backward(y, d)

    def _curvature_times(self, y: Array, v: Array, g: Array) -> Array:
        h = self._slope_times(y, v)
        h *= 1.0 - 2.0 * y
        h *= g
        return h
