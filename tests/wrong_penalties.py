"""Gradient penalties that are wrong on purpose; see wrong_layers.py."""

import numpy as np
from wrong_layers import WRONG, Wrong

from tinygan import Sequential
from tinygan.errors import GradientError
from tinygan.layers import Conv2D, Dense, Flatten, SiLU
from tinygan.penalties import R1, GradientPenalty
from tinygan.testing import check_penalty

real, fake = np.random.default_rng(3).standard_normal((2, 4, 4, 4, 1))


def critic(kind=SiLU):
    """One with norms on both sides of 1."""
    f = {"dtype": np.float64}
    D = Sequential(Conv2D(1, 2, 3, stride=2, rng=1, **f), kind(), Flatten(), Dense(8, 1, rng=2, **f))
    D.theta[...] *= 1.6
    return D


class OneEpsilon(GradientPenalty):
    def points(self, real, fake, rng):
        epsilon = rng.random()
        return epsilon * real + (1.0 - epsilon) * fake


class EpsilonOfEachPixel(GradientPenalty):
    def points(self, real, fake, rng):
        epsilon = rng.random(real.shape)
        return epsilon * real + (1.0 - epsilon) * fake


class Extrapolated(GradientPenalty):
    def points(self, real, fake, rng):
        epsilon = 1.5 * rng.random(len(real)).reshape(-1, 1, 1, 1) - 0.25
        return epsilon * real + (1.0 - epsilon) * fake


class AtRealSamples(GradientPenalty):
    def points(self, real, fake, rng):
        return real


class AtFakeSamples(R1):
    def points(self, real, fake, rng):
        return fake


class NoRoot(GradientPenalty):
    def of_squares(self, q, t):
        off = q - self.target
        return self.weight * off * off, 2.0 * self.weight * off


class WholeGamma(R1):
    def of_squares(self, q, t):
        p, slope = super().of_squares(q, t)
        return 2.0 * p, 2.0 * slope


class HalfSlope(R1):
    def of_squares(self, q, t):
        p, slope = super().of_squares(q, t)
        return p, 0.5 * slope


class SlopeOfTheRoot(GradientPenalty):
    def of_squares(self, q, t):
        p, _ = super().of_squares(q, t)
        return p, 2.0 * self.weight * (np.sqrt(q) - self.target)


class OtherSide(GradientPenalty):
    """Pushes small norms up and leaves large ones alone."""

    def of_squares(self, q, t):
        p, slope = super().of_squares(q, t)
        return p * (q < self.target**2), slope * (q < self.target**2)


class NormOverColumns(GradientPenalty):
    """One norm for each row of pixels, where it belongs over all axes of a sample."""

    def __call__(self, discriminator, real, fake, rng, *, t=0):
        D, x = discriminator, self.points(real, fake, rng)
        s = D.forward(x)
        gs = D.input_gradients(np.ones_like(s))
        norm = np.sqrt((gs[0] ** 2).sum(axis=(2, 3), keepdims=True))
        off = norm - self.target
        v = 2.0 * self.weight * off / norm * gs[0] / norm.size
        D.second_order(v, gs[-1], gradients=gs, need_dx=False)
        D.forget()
        return self.weight * np.mean(off**2)


class SumForMean(R1):
    def __call__(self, discriminator, real, fake, rng, *, t=0):
        before = discriminator.grad.copy()
        value = super().__call__(discriminator, real, fake, rng, t=t)
        discriminator.grad[...] = before + len(real) * (discriminator.grad - before)
        return len(real) * value


class ForgetsWhatWasThere(R1):
    def __call__(self, discriminator, real, fake, rng, *, t=0):
        discriminator.zero_grad()
        return super().__call__(discriminator, real, fake, rng, t=t)


class NotThroughTheCritic(R1):
    """The value is right, and nothing of it reaches the weights."""

    def __call__(self, discriminator, real, fake, rng, *, t=0):
        before = discriminator.grad.copy()
        value = super().__call__(discriminator, real, fake, rng, t=t)
        discriminator.grad[...] = before
        return value


class FirstOrder(R1):
    """An ordinary backward of v in the place of the second order: the weights learn from other numbers."""

    def __call__(self, discriminator, real, fake, rng, *, t=0):
        D = discriminator
        s = D.forward(real)
        g = D.input_gradients(np.ones_like(s))[0]
        D.backward(np.full_like(s, self.gamma / len(s)))
        return 0.5 * self.gamma * np.mean((g**2).sum(axis=(1, 2, 3)))


def looking(where, value):
    return lambda made: check_penalty(made, critic(), real, fake, where=where, value=value)


def penalty(name, says, wrong, where, value, right=GradientPenalty, **options):
    entry = (looking(where, value), GradientError, says, lambda: right(**options), lambda: wrong(**options))
    WRONG.append(Wrong(f"penalty: {name}", *entry))


def two_sided(r):
    return 10.0 * np.mean((r - 1.0) ** 2)


def half_gamma(r):
    return 5.0 * np.mean(r**2)


penalty("one ε for the batch", "all samples have the same", OneEpsilon, "between", two_sided)
penalty("one ε for each pixel", "not on the lines", EpsilonOfEachPixel, "between", two_sided)
penalty("ε beyond 0 and 1", "beyond the samples", Extrapolated, "between", two_sided)
penalty("at real samples only", "all samples have the same", AtRealSamples, "between", two_sided)
penalty("no square root", "the value is", NoRoot, "between", two_sided)
penalty("p' of the root", "is wrong", SlopeOfTheRoot, "between", two_sided)
penalty("the other side", "the value is", OtherSide, "between", two_sided)
penalty("the norm over the wrong axes", "the value is", NormOverColumns, "between", two_sided)
penalty("R1 at generated samples", "other points than the real", AtFakeSamples, "real", half_gamma, R1)
penalty("R1, gamma for gamma/2", "the value is", WholeGamma, "real", half_gamma, R1)
penalty("R1, a factor 2 in the gradient", "0.5 times the right one", HalfSlope, "real", half_gamma, R1)
penalty("R1, a sum for a mean", "the value is", SumForMean, "real", half_gamma, R1)
penalty("R1 empties the gradients", "does not add", ForgetsWhatWasThere, "real", half_gamma, R1)
penalty("R1 not through the critic", "is wrong", NotThroughTheCritic, "real", half_gamma, R1)
penalty("R1 by an ordinary backward", "is wrong", FirstOrder, "real", half_gamma, R1)


class Flattened(SiLU):
    """What a penalty for piecewise linear critics makes of a smooth one."""

    def second_order(self, v, g):
        return None


WRONG.append(
    Wrong(
        "penalty: a smooth critic taken for piecewise linear",
        lambda kind: check_penalty(R1(), critic(kind), real, fake, where="real", value=half_gamma),
        GradientError,
        r"D.grads\['0.W'\] is wrong",
        lambda: SiLU,
        lambda: Flattened,
    )
)
