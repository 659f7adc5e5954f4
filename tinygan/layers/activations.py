"""Elementwise nonlinearities. Each needs only what its derivative is cheapest from: the sign of x, or y itself."""

from __future__ import annotations

from ..arguments import fraction
from ..backend import Array, get_xp
from ..kernels import in_blocks, sigmoid
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

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = fraction(slope, "LeakyReLU: slope")

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        xp = get_xp(x)
        y = xp.empty(x.shape, dtype=x.dtype)

        def part(x, y):
            xp.multiply(x, self.slope, out=y)
            xp.maximum(x, y, out=y)

        in_blocks(part, x.reshape(-1), y.reshape(-1))
        return self._remember(y, y)  # y has the signs of x, and is kept anyway as the next layer's input

    def backward(self, dy: Array) -> Array:
        (y,) = self._recall(dy)
        xp = get_xp(dy)
        dx = xp.empty(dy.shape, dtype=dy.dtype)

        def part(y, dy, dx):
            # [y > 0]·(1 − slope) + slope, in place: several times faster than where(), which copies both branches
            xp.multiply(y > 0, dy.dtype.type(1.0 - self.slope), out=dx)
            dx += self.slope
            dx *= dy

        in_blocks(part, y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
        return dx

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ReLU(Layer):
    r"""``y = max(x, 0)``.

    Notes
    -----
    Forward   y = max(x, 0)
    Backward  dx = dy · [x > 0]; at x = 0, where there is no derivative, 0 is taken
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        xp = get_xp(x)
        y = xp.empty(x.shape, dtype=x.dtype)
        in_blocks(lambda x, y: xp.maximum(x, 0.0, out=y), x.reshape(-1), y.reshape(-1))
        return self._remember(y, y)  # y > 0 where x > 0, and y is kept anyway as the next layer's input

    def backward(self, dy: Array) -> Array:
        (y,) = self._recall(dy)
        xp = get_xp(dy)
        dx = xp.empty(dy.shape, dtype=dy.dtype)
        in_blocks(lambda y, dy, dx: xp.multiply(dy, y > 0, out=dx), y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
        return dx

    def __repr__(self) -> str:
        return "ReLU()"


class Tanh(Layer):
    r"""``y = tanh x``, in (−1, 1): the range of images scaled to [−1, 1].

    Notes
    -----
    Forward   y = tanh x
    Backward  dx = dy · (1 − y²), because tanh' = 1 − tanh²
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = get_xp(x).tanh(x)
        return self._remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self._recall(dy)
        dx = y * y
        dx -= 1.0
        dx *= dy
        return get_xp(dx).negative(dx, out=dx)

    def __repr__(self) -> str:
        return "Tanh()"


class Sigmoid(Layer):
    r"""``y = σ(x) = 1 / (1 + e^−x)``, in (0, 1): the range of images scaled to [0, 1].

    A discriminator has no Sigmoid: tinygan's losses take logits and apply σ themselves, safe from overflow.

    Notes
    -----
    Forward   y = σ(x)
    Backward  dx = dy · y · (1 − y), because σ' = σ(1 − σ)
    """

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        y = sigmoid(x)
        return self._remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self._recall(dy)
        dx = 1.0 - y
        dx *= y
        dx *= dy
        return dx

    def __repr__(self) -> str:
        return "Sigmoid()"
