"""Nonlinearities, number by number: y = f(x) in every place by itself, and so dx = f'(x) · dy.

Each keeps what its slope is cheapest from, which is most often y.
"""

from __future__ import annotations

from ..errors import Setting, fraction
from ..ops import Array, get_xp, sigmoid
from .base import Layer


class LeakyReLU(Layer):
    r"""``y = x`` where x > 0, ``y = slope · x`` elsewhere (Maas et al., 2013).

    Parameters
    ----------
    slope : in [0, 1); 0.2 is usual in discriminators (Radford et al., 2016).

    Notes
    -----
    Forward   y = max(x, slope·x), which is the same because slope < 1
    Backward  dx = dy · (1 if x > 0 else slope); at x = 0, where there is no derivative, the left one is taken
    """

    slope = Setting(fraction)

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = get_xp(x).maximum(x, self.slope * x)
        return y, y  # y has the signs of x, and is kept anyway as the next layer's input

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return get_xp(dy).where(y > 0, dy, self.slope * dy), {}

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ReLU(Layer):
    r"""``y = max(x, 0)``.

    Notes
    -----
    Forward   y = max(x, 0)
    Backward  dx = dy · [x > 0]; at x = 0, where there is no derivative, 0 is taken
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = get_xp(x).maximum(x, 0.0)
        return y, y  # y > 0 where x > 0

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return dy * (y > 0), {}


class Tanh(Layer):
    r"""``y = tanh x``, in (−1, 1): the range of images scaled to [−1, 1].

    Notes
    -----
    Forward   y = tanh x
    Backward  dx = dy · (1 − y²), because tanh' = 1 − tanh²
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = get_xp(x).tanh(x)
        return y, y

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return dy * (1.0 - y * y), {}


class Sigmoid(Layer):
    r"""``y = σ(x) = 1 / (1 + e^−x)``, in (0, 1): the range of images scaled to [0, 1].

    A discriminator has no Sigmoid: tinygan's losses take logits and apply σ themselves, safe from overflow.

    Notes
    -----
    Forward   y = σ(x)
    Backward  dx = dy · y · (1 − y), because σ' = σ(1 − σ)
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = sigmoid(x)
        return y, y

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return dy * y * (1.0 - y), {}
