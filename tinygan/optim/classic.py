"""Gradient descent with momentum, and RMSProp."""

from __future__ import annotations

from ..errors import Setting, fraction, positive
from ..network import Sequential
from ..ops import Array, get_xp
from .adam import Optimizer, Rate


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum (Polyak, 1964, in the form where lr stays outside the memory).

    Notes
    -----
    u ← momentum · u + g
    θ ← θ − lr · u            a new lr holds for the whole memory at once
    """

    state_names = ("u",)
    momentum = Setting(fraction)

    def __init__(
        self, network: Sequential, lr: Rate = 1e-2, *, momentum: float = 0.0, **clipping: float | None
    ) -> None:
        super().__init__(network, lr, **clipping)
        self.momentum = momentum

    def update(self, lr: float, theta: Array, g: Array, u: Array) -> None:
        u *= self.momentum
        u += g
        theta -= lr * u


class RMSProp(Optimizer):
    r"""Divide each entry of the gradient by its recent size (Tieleman and Hinton, 2012, lecture 6e).

    Notes
    -----
    v ← rho · v + (1 − rho) · g²
    θ ← θ − lr · g / (√v + eps)
    """

    state_names, never_negative = ("v",), ("v", "t", "lr")
    rho = Setting(fraction)
    eps = Setting(positive)

    def __init__(
        self, network: Sequential, lr: Rate = 1e-4, *, rho: float = 0.9, eps: float = 1e-8, **clipping: float | None
    ) -> None:
        super().__init__(network, lr, **clipping)
        self.rho, self.eps = rho, eps

    def update(self, lr: float, theta: Array, g: Array, v: Array) -> None:
        v *= self.rho
        v += (1.0 - self.rho) * (g * g)
        theta -= lr * (g / (get_xp(g).sqrt(v) + self.eps))
