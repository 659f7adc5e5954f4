"""The moving average of a network's weights."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, Setting, fraction, positive_int
from ..network import Sequential
from ..ops import ops_of


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

    decay, t = Setting(fraction), Setting(positive_int, least=0)

    def __init__(self, network: Sequential, decay: float = 0.999) -> None:
        if not isinstance(network, Sequential):
            name = type(network).__name__
            raise ArgumentError(f"ExponentialMovingAverage: expected a tinygan.Sequential, got {name}.")
        self.decay = decay
        self.source, self.network, self.t = network, network.copy(), 0

    def __repr__(self) -> str:
        return f"ExponentialMovingAverage(decay={self.decay}, t={self.t})"

    def part(self, t: int) -> float:
        """1 − d of the step after t others."""
        return 1.0 - min(self.decay, (t + 1) / (t + 10.0))

    def update(self, part: Any = None) -> None:
        """Take the source's present weights into the average, to ``part(t)`` if no part is given."""
        ops, theta = ops_of(self.network.theta), self.network.theta
        part = ops.place(self.part(self.t), theta) if part is None else part
        ops.mix(theta, self.source.theta, part)
        for key, average in self.network.buffers.items():
            if average.dtype.kind == "f":
                ops.mix(average, self.source.buffers[key], part)
            else:
                average[...] = self.source.buffers[key]  # a count, say, has no average
        self.t += 1
