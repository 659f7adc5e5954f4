"""Optimisers, and Adam: operations on a network's two flat vectors, θ = ``network.theta`` and g = ``network.grad``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, Setting, fraction, positive, positive_int, positive_or_0, value_at
from ..network import Sequential
from ..ops import Array, get_xp, ops_of
from .stored import StoredOptimizer

Rate = float | Callable[[int], float]  # of learning


class Optimizer(StoredOptimizer):
    """What every optimiser shares: the network, the learning rate, and clipping.

    One of your own names its vectors in ``state_names`` and writes ``update``; and ``numbers``, if it needs more than
    the learning rate.

    Parameters
    ----------
    network : Sequential whose theta is changed, and whose grad is read.
    lr : learning rate, positive, or a function of the step, such as those of :mod:`tinygan.runs.schedules`: the step
        after t others uses lr(t), which is at least 0. Either may be changed between steps.
    clip_norm : if given, g is scaled down to this length where it is longer (Pascanu et al., 2013, algorithm 1).
    clip_value : if given, every entry of g is limited to ±clip_value. Clipping changes ``network.grad`` itself.
    """

    state_names: tuple[str, ...] = ()  # attributes that are flat vectors as long as theta, zero at first
    lr, t = Setting(positive_or_0, besides=Callable), Setting(positive_int, least=0)
    clip_norm, clip_value = Setting(positive, besides=type(None)), Setting(positive, besides=type(None))

    def __init__(
        self, network: Sequential, lr: Rate, *, clip_norm: float | None = None, clip_value: float | None = None
    ) -> None:
        if not isinstance(network, Sequential):
            raise ArgumentError(f"{type(self).__name__}: expected a tinygan.Sequential, got {type(network).__name__}.")
        self.network, self.lr = network, lr if callable(lr) else positive(lr, f"{type(self).__name__}: lr")
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.t = 0  # steps taken
        self.rate(0)  # a function that gives none is refused now
        for name in self.state_names:
            setattr(self, name, get_xp(network.theta).zeros_like(network.theta))

    def rate(self, t: int) -> float:
        """The learning rate of the step after t others; ArgumentError if a function gives none."""
        return value_at(self.lr, t, f"{type(self).__name__}: lr")

    def numbers(self, t: int) -> float | tuple[float, ...]:
        """The numbers that ``update`` needs at the step after t others: here the learning rate."""
        return self.rate(t)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """``update(numbers, theta, g, *state)`` changes θ and the optimiser's vectors in place, entry by entry, so that
        any part of them may come alone."""
        raise NotImplementedError(f"{type(self).__name__} has no update(numbers, theta, g, *state)")

    def step(self, numbers: Any = None) -> None:
        """Move θ one step against the gradient that is in ``network.grad`` now, by ``numbers(t)`` if none are given."""
        theta, g = self.network.theta, self.network.grad
        self._clip(g)
        state = [getattr(self, name) for name in self.state_names]
        numbers = ops_of(theta).place(self.numbers(self.t), theta) if numbers is None else numbers
        ops_of(theta).update(self, numbers, theta, g, *state)
        self.t += 1

    def __repr__(self) -> str:
        shown = (f"{k}={getattr(v, '__name__', v)}" for k, v in vars(self).items() if isinstance(v, float) or k == "lr")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _clip(self, g: Array) -> None:
        xp = get_xp(g)
        if self.clip_value is not None:
            xp.clip(g, -self.clip_value, self.clip_value, out=g)
        if self.clip_norm is not None:
            norm = xp.sqrt((g * g).sum())
            g *= xp.minimum(self.clip_norm / xp.maximum(norm, 1e-30), 1.0)  # no branch on a value


class Adam(Optimizer):
    r"""Momentum divided by the recent size of the gradient, both corrected for their start at 0 (Kingma and Ba, 2015).

    Parameters
    ----------
    lr, beta1, beta2, eps : the defaults are DCGAN's (Radford et al., 2016, section 4): a beta1 of 0.5, since a longer
        memory makes the two players of a GAN swing.

    Notes
    -----
    Algorithm 1 of the paper, at step t:

        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr · m̂ / (√v̂ + eps)

    The code keeps M = m / (1 − β₁) and V = v / (1 − β₂), which saves two passes over memory: M ← β₁ M + g and
    V ← β₂ V + g². With c = √((1 − β₂) / (1 − β₂ᵗ)), √v̂ = c √V, so that the step is

        θ ← θ − a · M / (√V + eps / c),      a = lr · (1 − β₁) / ((1 − β₁ᵗ) · c)
    """

    state_names, never_negative = ("M", "V"), ("V", "t", "lr")
    beta1, beta2, eps = Setting(fraction), Setting(fraction), Setting(positive)

    def __init__(
        self,
        network: Sequential,
        lr: Rate = 2e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **clipping: float | None,
    ) -> None:
        super().__init__(network, lr, **clipping)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def numbers(self, t: int) -> tuple[float, float]:
        """a and eps / c of the step after t others."""
        c = ((1.0 - self.beta2) / (1.0 - self.beta2 ** (t + 1))) ** 0.5
        return self.rate(t) * (1.0 - self.beta1) / ((1.0 - self.beta1 ** (t + 1)) * c), self.eps / c

    def update(self, numbers: tuple[float, float], theta: Array, g: Array, M: Array, V: Array) -> None:
        a, eps_over_c = numbers
        M *= self.beta1
        M += g
        V *= self.beta2
        V += g * g
        theta -= a * (M / (get_xp(g).sqrt(V) + eps_over_c))
