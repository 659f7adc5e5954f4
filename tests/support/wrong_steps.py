"""Games whose steps a recording gets wrong, each with what :func:`tinygan.testing.replay.check_replay` says of it."""

from __future__ import annotations

import numpy as np

from tinygan import GAN, optim
from tinygan.backends import ops_of
from tinygan.penalties import R1

from .small_games import Altered, build


class BakedRate(optim.SGD):
    """The rate is a number of Python's, not the one that was drawn."""

    replayable = True

    def step(self, numbers=None):
        self.network.theta[...] -= 0.01 / (1 + self.t) * self.network.grad
        self.t += 1


class BakedGamma(R1):
    """The weight is a number of Python's, too."""

    replayable = True
    counted = 0

    def store_gradients(self, *args, **options):
        self.counted += 1
        *args, drawn = args
        return super().store_gradients(*args, scaled(drawn, 1.0 + self.counted), **options)


def scaled(drawn, by):
    return tuple(scaled(one, by) for one in drawn) if isinstance(drawn, tuple) else drawn * by


class CountsInPython(Altered):
    replayable = True

    def apply(self, x, train):
        self.calls[0] += 1
        return super().apply(x * (1.0 + 0.1 * (self.calls[0] % 7)), train)


class Rebinds(Altered):
    replayable = True

    def apply(self, x, train):
        self.state = self.state * 0.9 + x.mean()
        return super().apply(x - self.state, train)


class Uploads(Altered):
    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def apply(self, x, train):
        noise = self.rng.standard_normal(x.shape).astype(x.dtype)
        return super().apply(x + ops_of(x).from_host(noise), train)


class Waits(Altered):
    replayable = True

    def apply(self, x, train):
        return super().apply(x * (2.0 if float(x.sum()) > 0 else 1.0), train)


class UsesCublas(Altered):
    replayable = True

    def apply(self, x, train):
        return super().apply(x + 0.0 * (x.T @ x).sum(), train)


class DrawsBeside(Altered):
    """Decides something at random on the host, and so not again in a replay."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def apply(self, x, train):
        return super().apply(x if self.rng.random() < 0.5 else 2.0 * x, train)


class DrawsBesideFromTwister(DrawsBeside):
    """As above; the state of this generator is an array."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.Generator(np.random.MT19937(4))


class SettingThatMoves(Altered):
    """A number of Python's that repr shows: steps are recorded again and again, and stay right."""

    replayable = True
    seen = 0

    def apply(self, x, train):
        self.seen += 1
        return super().apply(x * (1.0 + 0.1 * (self.seen % 7)), train)

    def __repr__(self):
        return f"SettingThatMoves({self.seen})"


class BakedAverage(optim.ExponentialMovingAverage):
    replayable = True

    def update(self, part=None):
        part = self.part(self.t)
        self.network.theta[...] += part * (self.source.theta - self.network.theta)
        self.t += 1


def averaged(gan):
    gan.average = BakedAverage(gan.generator, 0.9)
    return gan


class NoiseOfOneStep(GAN):
    """Its play looks at what was drawn on the host for one step."""

    replayable = True

    def draw(self, n):
        self.noisy = super().draw(n)
        return self.noisy

    def play(self, real, draws, watch=None):
        return super().play(real * (1.0 + 0.1 * float(abs(self.noisy.g[0][0, 0]))), draws, watch)


def holding_on(gan):
    gan.__class__ = NoiseOfOneStep
    return gan


WRONG = {
    "a baked-in learning rate": (lambda: build(optimizer=BakedRate), "differs"),
    "a baked-in weight of a penalty": (lambda: build(penalties=BakedGamma(1.0)), "differs"),
    "a count in Python": (lambda: build(d_layers=[CountsInPython()]), "differs"),
    "a rebound array": (lambda: build(d_layers=[Rebinds()]), "differs"),
    "a copy from the host": (lambda: build(d_layers=[Uploads()]), "copy from the host"),
    "a wait for the device": (lambda: build(d_layers=[Waits()]), "makes the host wait"),
    "a product by CuPy": (lambda: build(d_layers=[UsesCublas()]), "cuBLAS"),
    "a decision at random": (lambda: build(d_layers=[DrawsBeside()]), "draws random numbers"),
    "a baked-in average": (lambda: averaged(build()), "differs"),
    "noise that belongs to one step": (lambda: holding_on(build()), "differs"),
}
