"""Optimisers: a few operations on a network's two flat vectors, θ = ``network.theta`` and g = ``network.grad``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import checkpoints, kernels
from .arguments import fraction, positive
from .backend import Array, Backend, get_xp, to_backend, to_numpy
from .errors import ArgumentError
from .feeds import feed
from .kernels import in_blocks
from .kernels.products import dot
from .network import Sequential
from .schedules import value_at

Rate = float | Callable[[int], float]  # of learning


class Optimizer:
    """What every optimiser shares: the network, the learning rate, and clipping.

    Parameters
    ----------
    network : Sequential whose theta is changed, and whose grad is read.
    lr : learning rate, positive, or a function of the step such as those of :mod:`tinygan.schedules`: the step that is
        taken after t others uses lr(t), which is at least 0. Either may be changed between steps.
    clip_norm : if given, g is scaled down to this length where it is longer (Pascanu et al., 2013, algorithm 1).
    clip_value : if given, every entry of g is limited to ±clip_value. Clipping changes ``network.grad`` itself.
    """

    state_names: tuple[str, ...] = ()  # attributes that are flat vectors as long as theta, zero at first

    def __init__(
        self, network: Sequential, lr: Rate, *, clip_norm: float | None = None, clip_value: float | None = None
    ) -> None:
        if not isinstance(network, Sequential):
            raise ArgumentError(f"{type(self).__name__}: expected a tinygan.Sequential, got {type(network).__name__}.")
        for what, value in (("lr", lr), ("clip_norm", clip_norm), ("clip_value", clip_value)):
            if not (callable(value) if what == "lr" else value is None):
                positive(value, f"{type(self).__name__}: {what}")
        self.network, self.lr, self.clip_norm, self.clip_value = network, lr, clip_norm, clip_value
        self.t = 0  # steps taken
        self._numbers: Any = self.rate  # a function that gives none is refused now
        for name in self.state_names:
            setattr(self, name, get_xp(network.theta).zeros_like(network.theta))

    @property
    def rate(self) -> float:
        """The learning rate of the next step; ArgumentError if a function gives none."""
        return value_at(self.lr, self.t, f"{type(self).__name__}: lr")

    def step(self) -> None:
        """Move θ one step against the gradient that is in ``network.grad`` now."""
        self._numbers = feed(self._advance, self.network.theta)
        self._clip(self.network.grad)
        self._move()

    def _move(self) -> None:
        state = [getattr(self, name) for name in self.state_names]
        in_blocks(self._update, self.network.theta, self.network.grad, *state, scratch=2)

    def _advance(self) -> float | tuple[float, ...]:
        """Begin the next step: count it, and return the ``_numbers`` that it differs in from all others."""
        rate = self.rate
        self.t += 1
        return rate

    def _update(self, theta: Array, g: Array, *state_and_scratch: Array) -> None:
        """Update one block of θ and of the optimiser's vectors in place; two scratch blocks hold what is between."""
        raise NotImplementedError

    def _clip(self, g: Array) -> None:
        xp = get_xp(g)
        if self.clip_value is not None:
            xp.clip(g, -self.clip_value, self.clip_value, out=g)
        if self.clip_norm is not None:
            norm = xp.sqrt(dot(g, g))
            g *= xp.minimum(self.clip_norm / xp.maximum(norm, 1e-30), 1.0)  # no branch: a GPU need not wait

    # ---- state -----------------------------------------------------------------------------------------------------

    def to(self, backend: str | Backend) -> None:
        """Move the optimiser's own vectors; the network moves by itself."""
        for name in self.state_names:
            setattr(self, name, to_backend(getattr(self, name), backend))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that the next step depends on, as NumPy arrays."""
        vectors = {name: to_numpy(getattr(self, name)).copy() for name in self.state_names}
        return {**vectors, "t": np.array(self.t), "lr": np.array(self.rate, dtype=np.float64)}

    def load_state_arrays(self, arrays: Mapping[str, np.ndarray], *, source: str = "the state") -> None:
        """Continue from what :meth:`state_arrays` gave; CheckpointError if it is of another optimiser.

        A learning rate that is a number becomes that of the state; one that is a function stays, and goes on at the
        state's step.
        """
        checkpoints.require_same(self.state_arrays(), arrays, source)
        for name in self.state_names:
            vector = getattr(self, name)
            vector[...] = get_xp(vector).asarray(arrays[name])
        self.t = int(arrays["t"])
        if not callable(self.lr):
            self.lr = float(arrays["lr"])


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum (Polyak, 1964, in the form where lr stays outside the memory).

    Notes
    -----
    u ← momentum · u + g
    θ ← θ − lr · u            a new lr holds for the whole memory at once
    """

    state_names = ("u",)

    def __init__(
        self, network: Sequential, lr: Rate = 1e-2, *, momentum: float = 0.0, **clipping: float | None
    ) -> None:
        super().__init__(network, lr, **clipping)
        self.momentum = fraction(momentum, "SGD: momentum")

    def _update(self, theta: Array, g: Array, u: Array, step: Array, _: Array) -> None:
        u *= self.momentum
        u += g
        get_xp(u).multiply(u, self._numbers, out=step)
        theta -= step


class RMSProp(Optimizer):
    r"""Divide each entry of the gradient by its recent size (Tieleman and Hinton, 2012, lecture 6e).

    Notes
    -----
    v ← rho · v + (1 − rho) · g²
    θ ← θ − lr · g / (√v + eps)
    """

    state_names = ("v",)

    def __init__(
        self, network: Sequential, lr: Rate = 1e-4, *, rho: float = 0.9, eps: float = 1e-8, **clipping: float | None
    ) -> None:
        super().__init__(network, lr, **clipping)
        self.rho, self.eps = fraction(rho, "RMSProp: rho"), positive(eps, "RMSProp: eps")

    def _update(self, theta: Array, g: Array, v: Array, square: Array, root: Array) -> None:
        xp = get_xp(g)
        xp.multiply(g, g, out=square)
        square *= 1.0 - self.rho
        v *= self.rho
        v += square
        xp.sqrt(v, out=root)
        root += self.eps
        xp.divide(g, root, out=root)
        root *= self._numbers
        theta -= root


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

    state_names = ("M", "V")

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
        self.beta1, self.beta2 = fraction(beta1, "Adam: beta1"), fraction(beta2, "Adam: beta2")
        self.eps = positive(eps, "Adam: eps")

    def _advance(self) -> tuple[float, float]:
        """a and eps / c."""
        rate = super()._advance()
        c = ((1.0 - self.beta2) / (1.0 - self.beta2**self.t)) ** 0.5
        return rate * (1.0 - self.beta1) / ((1.0 - self.beta1**self.t) * c), self.eps / c

    def _move(self) -> None:
        theta = self.network.theta
        if not kernels.on_gpu(theta):
            super()._move()
            return
        numbers = get_xp(theta).asarray(self._numbers, dtype=theta.dtype)
        kernels.gpu.adam(theta, self.network.grad, self.M, self.V, numbers, self.beta1, self.beta2)  # one launch

    def _update(self, theta: Array, g: Array, M: Array, V: Array, square: Array, root: Array) -> None:
        xp, (a, eps_over_c) = get_xp(g), self._numbers
        if self.beta1 > 0.0:
            M *= self.beta1
            M += g
        else:
            M = g  # what M would be; its memory need not be touched
        xp.multiply(g, g, out=square)
        V *= self.beta2
        V += square
        xp.sqrt(V, out=root)
        root += eps_over_c
        xp.divide(M, root, out=root)
        root *= a
        theta -= root


class ExponentialMovingAverage:
    r"""A copy of a network whose weights are an average over the last steps of training.

    The weights of a GAN circle around a good point; their average lies nearer to it than any of them, at the cost of
    one pass over memory (Yazıcı et al., 2019). Running statistics of BatchNorm are averaged alike.

    Parameters
    ----------
    network : Sequential to follow.
    decay : in [0, 1): the part of the average that a step keeps, so that it spans about 1 / (1 − decay) steps.

    Attributes
    ----------
    network : the averaged copy, a Sequential to sample from.

    Notes
    -----
    θ̄ ← d · θ̄ + (1 − d) · θ,   d = min(decay, t / (t + 9)) at step t: the average forgets its random start at first.
    """

    def __init__(self, network: Sequential, decay: float = 0.999) -> None:
        self.decay = fraction(decay, "ExponentialMovingAverage: decay")
        self.source, self.network, self.t = network, network.copy(), 0

    def update(self) -> None:
        """Take the source's present weights into the average."""
        part = feed(self._advance, self.network.theta)

        def mix(average: Array, new: Array, step: Array) -> None:
            get_xp(new).subtract(new, average, out=step)
            step *= part
            average += step  # θ̄ + (1 − d)(θ − θ̄)

        def mix_all(average: Array, new: Array) -> None:
            if kernels.on_gpu(new):
                kernels.gpu.average(average, new, get_xp(new).asarray(part, dtype=new.dtype))
            else:
                in_blocks(mix, average, new, scratch=1)

        mix_all(self.network.theta, self.source.theta)
        for key, average in self.network.buffers.items():
            if average.dtype.kind == "f":
                mix_all(average, self.source.buffers[key])
            else:
                average[...] = self.source.buffers[key]  # a count, say, has no average

    def _advance(self) -> float:
        """Count the step, and return 1 − d."""
        self.t += 1
        return 1.0 - min(self.decay, self.t / (self.t + 9.0))
