"""Gradient penalties that are wrong on purpose; see wrong_layers.py."""

import numpy as np

from support.wrong_layers import WRONG, Wrong
from support.wrong_shortcuts import with_rule
from tinygan import Sequential
from tinygan.errors import GradientError
from tinygan.layers import Conv2D, Dense, Flatten, SiLU
from tinygan.penalties import R1, R2, GradientPenalty, Sum
from tinygan.penalties.derivative import down, second_order_down, steps_of, up
from tinygan.testing import check_penalty

real, fake = np.random.default_rng(3).standard_normal((2, 4, 4, 4, 1))


def critic(kind=SiLU):
    """One with norms on both sides of 1."""
    f = {"dtype": np.float64}
    D = Sequential(Conv2D(1, 2, 3, stride=2, rng=1, **f), kind(), Flatten(), Dense(8, 1, rng=2, **f))
    D.theta[...] *= 1.6
    return D


class OneEpsilon(GradientPenalty):
    def decide(self, n, rng, t):
        return self.weight, np.full(n, rng.random())


class EpsilonOfEachPixel(GradientPenalty):
    def points(self, real, fake, drawn):
        epsilon = np.random.default_rng(7).random(real.shape)
        return epsilon * real + (1.0 - epsilon) * fake


class Extrapolated(GradientPenalty):
    def decide(self, n, rng, t):
        return self.weight, 1.5 * rng.random(n) - 0.25


class AtRealSamples(GradientPenalty):
    def points(self, real, fake, drawn):
        return real


class AtFakeSamples(R1):
    def points(self, real, fake, drawn):
        return fake


class NoRoot(GradientPenalty):
    def of_squares(self, q, drawn):
        off = q - self.target
        return self.weight * off * off, 2.0 * self.weight * off


class WholeGamma(R1):
    def of_squares(self, q, drawn):
        p, slope = super().of_squares(q, drawn)
        return 2.0 * p, 2.0 * slope


class HalfSlope(R1):
    def of_squares(self, q, drawn):
        p, slope = super().of_squares(q, drawn)
        return p, 0.5 * slope


class SlopeOfTheRoot(GradientPenalty):
    def of_squares(self, q, drawn):
        p, _ = super().of_squares(q, drawn)
        return p, 2.0 * self.weight * (np.sqrt(q) - self.target)


class OtherSide(GradientPenalty):
    """Pushes small norms up and leaves large ones alone."""

    def of_squares(self, q, drawn):
        p, slope = super().of_squares(q, drawn)
        return p * (q < self.target**2), slope * (q < self.target**2)


class NormOverColumns(GradientPenalty):
    """One norm for each row of pixels, where it belongs over all axes of a sample."""

    def __call__(self, discriminator, real, fake, rng, *, t=0):
        x = self.points(real, fake, self.decide(len(real), np.random.default_rng(rng), t))
        s, passed = discriminator.apply(x, True)
        steps = steps_of(passed)
        gs = down(steps, np.ones_like(s))
        norm = np.sqrt((gs[0] ** 2).sum(axis=(2, 3), keepdims=True))
        off = norm - self.target
        v = 2.0 * self.weight * off / norm * gs[0] / norm.size
        second_order_down(steps, up(steps, v), gs)
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
        s, passed = discriminator.apply(real, True)
        g = discriminator.input_gradient(passed, np.ones_like(s))
        discriminator.store_gradients(passed, np.full_like(s, self.gamma / len(s)))
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


#: What a penalty for piecewise linear critics makes of a smooth one.
Flattened = with_rule(SiLU, second_order=lambda layer, cache, v, g: (None, {}))


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


# ---- in the step of a GAN: what store_gradients writes ---------------------------------------------------------------


def in_a_step(made):
    """Loss and penalties together: as a backward of the loss, and then each penalty by itself."""
    D, rng = critic(), np.random.default_rng(6)
    dy, drawn = rng.standard_normal((8, 1)), made.draw(4, np.random.default_rng(1), 0)
    expected, x = D.copy(), np.concatenate([real, fake])
    _, passed = expected.apply(x, True, 2)
    expected.store_gradients(passed, dy, add=False)
    value, once = 0.0, np.random.default_rng(1)
    for part in made.terms():
        right = next(base for base in type(part).__mro__ if base.__module__.startswith("tinygan"))
        value += float(right(2.0)(expected, real, fake, once))
    D.grad[...] = 5.0
    logits, judged = D.apply(x, True, 2)
    actual = made.store_gradients(D, x, logits, judged, dy, drawn)
    np.testing.assert_allclose(float(actual), value, rtol=1e-10)
    np.testing.assert_allclose(D.grad, expected.grad, rtol=1e-9, atol=1e-12)


class TakenFromFakes(R1):
    def points(self, real, fake, drawn):
        return fake


class OnlyThePenalty(GradientPenalty):
    def store_gradients(self, D, x, logits, judged, d_logits, drawn, *, share=1.0):
        return super().store_gradients(D, x, logits, judged, 0.0 * d_logits, drawn, share=share)


class OnlyTheLoss(GradientPenalty):
    def store_gradients(self, D, x, logits, judged, d_logits, drawn, *, share=1.0):
        value = super().store_gradients(D, x, logits, judged, d_logits, drawn, share=share)
        D.store_gradients(judged, d_logits, add=False)
        return value


class AddsTheLoss(GradientPenalty):
    def store_gradients(self, D, x, logits, judged, d_logits, drawn, *, share=1.0):
        before = D.grad.copy()
        value = super().store_gradients(D, x, logits, judged, d_logits, drawn, share=share)
        D.grad[...] += before
        return value


class Half(Sum):
    def store_gradients(self, D, x, logits, judged, d_logits, drawn, *, share=1.0):
        drawn = (*drawn[:1], *[None] * (len(drawn) - 1))
        return super().store_gradients(D, x, logits, judged, d_logits, drawn, share=share)


class HalvesSwapped(Sum):
    def store_gradients(self, D, x, logits, judged, d_logits, drawn, *, share=1.0):
        n = len(x) // 2
        return super().store_gradients(D, np.roll(x, n, axis=0), logits, judged, d_logits, drawn, share=share)


def step(name, right, wrong):
    WRONG.append(Wrong(f"penalty in a step: {name}", in_a_step, AssertionError, None, right, wrong))


step("the loss left out", lambda: GradientPenalty(2.0), lambda: OnlyThePenalty(2.0))
step("the penalty left out", lambda: GradientPenalty(2.0), lambda: OnlyTheLoss(2.0))
step("added to what was there", lambda: GradientPenalty(2.0), lambda: AddsTheLoss(2.0))
step("R1 at generated samples beside R2", lambda: R1(2.0) + R2(2.0), lambda: TakenFromFakes(2.0) + R2(2.0))
step("one of two forgotten", lambda: R1(2.0) + GradientPenalty(2.0), lambda: Half(R1(2.0), GradientPenalty(2.0)))
step("the halves swapped", lambda: R1(2.0) + R1(2.0), lambda: HalvesSwapped(R1(2.0), R1(2.0)))
