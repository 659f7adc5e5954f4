"""Smooth relatives of ReLU, number by number: y = f(x) and dx = f'(x) · dy."""

from __future__ import annotations

from ..errors import Setting, positive
from ..ops import Array, get_xp, sigmoid, softplus
from .base import Layer


class ELU(Layer):
    r"""``y = x`` where x > 0, ``y = alpha (e^x − 1)`` elsewhere (Clevert et al., 2016).

    Parameters
    ----------
    alpha : positive; −alpha is the least y. With 1 the slope has no jump at 0.

    Notes
    -----
    Forward   y = x                   where x > 0, else alpha (e^x − 1)
    Backward  dx = dy                 where x > 0, else dy · (y + alpha), because alpha e^x = y + alpha
    """

    alpha = Setting(positive)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        xp = get_xp(x)
        # e^x of the large x may overflow, and nobody would read it; one of the two terms is 0
        y = xp.maximum(x, 0.0) + self.alpha * xp.expm1(xp.minimum(x, 0.0))
        return y, y

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return get_xp(dy).where(y > 0, dy, dy * (y + self.alpha)), {}

    def __repr__(self) -> str:
        return "ELU()" if self.alpha == 1.0 else f"ELU({self.alpha})"


class Softplus(Layer):
    r"""``y = log(1 + e^x)``, a smooth ReLU (Dugas et al., 2001).

    Notes
    -----
    Forward   y = max(x, 0) + log(1 + e^−|x|), so that nothing overflows
    Backward  dx = dy · σ(x),  σ(x) = 1 − e^−y, by expm1, with all its digits where it is small
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = softplus(x)
        return y, y

    def gradients(self, y: Array, dy: Array) -> tuple[Array, dict]:
        return -get_xp(dy).expm1(-y) * dy, {}


class SiLU(Layer):
    r"""``y = x σ(x)``, a smooth ReLU that dips below 0 (Elfwing et al., 2018).

    Notes
    -----
    Forward   y = x · σ,  σ = 1 / (1 + e^−x)
    Backward  dx = dy · σ (1 + x (1 − σ))
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, tuple[Array, Array]]:
        s = sigmoid(x)
        return x * s, (x, s)

    def gradients(self, cache: tuple[Array, Array], dy: Array) -> tuple[Array, dict]:
        x, s = cache
        return dy * s * (1.0 + x * (1.0 - s)), {}
