"""Tangents, second orders and gradient penalties that are wrong on purpose; see wrong_layers.py."""

import numpy as np
from wrong_layers import WRONG, Wrong, enliven, numbers

from tinygan import Sequential
from tinygan.errors import GradientError
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from tinygan.layers.standardized import along, curvature
from tinygan.penalties import R1, GradientPenalty
from tinygan.testing import check_penalty, check_second_order

rows, image = numbers(5, 3), numbers(2, 5, 4, 2)
real, fake = np.random.default_rng(3).standard_normal((2, 4, 4, 4, 1))
TANGENT, ADJOINT = r"tangent\(v\) is wrong", "no adjoints"
DX, DW, DGAMMA = (
    r"second_order's dx is wrong",
    r"second_order's grads\['W'\] is wrong",
    r"second_order's grads\['gamma'\]",
)


def layer(name, says, wrong, *args, x=rows, **options):
    """``wrong`` is a subclass of a layer with a wrong tangent or second order."""

    def make(kind):
        return enliven(kind(*args, **options).astype(np.float64), np.random.default_rng(1))

    right = next(base for base in wrong.__mro__ if base.__module__.startswith("tinygan"))
    entry = (lambda made: check_second_order(made, x), GradientError, says, lambda: make(right), lambda: make(wrong))
    WRONG.append(Wrong(f"second order: {name}", *entry))


# ---- layers --------------------------------------------------------------------------------------------------------


class BiasInTheTangent(Dense):
    def tangent(self, v):
        return super().tangent(v) + self.params["b"]


class TransposedTangent(Dense):
    def tangent(self, v):
        return v @ self.params["W"].T


class TangentOfOtherWeights(Dense):
    def tangent(self, v):
        return super().tangent(v) * 1.001


class InputForTangent(Dense):
    def second_order(self, v, g):
        (x,) = self._peek()
        self.grads["W"] += x.T @ g


class Written(Dense):
    def second_order(self, v, g):
        self.grads["W"][...] = v.T @ g


class NothingForTheWeights(Dense):
    def second_order(self, v, g):
        return None


class ChangesV(Dense):
    def second_order(self, v, g):
        super().second_order(v, g)
        v *= 0.5


layer("b in the tangent", TANGENT, BiasInTheTangent, 3, 2)
layer("W transposed", TANGENT, TransposedTangent, 3, 3)
layer("a tangent a thousandth too long", TANGENT, TangentOfOtherWeights, 3, 2)
layer("x where v belongs", "second_order's grads", InputForTangent, 3, 2)
layer("written, not added", "does not add", Written, 3, 2)
layer("nothing for W", DW, NothingForTheWeights, 3, 2)
layer("v changed", "has changed v or g", ChangesV, 3, 2)


def bent(base, curvature_):
    """``base`` with another f''."""
    return type(f"Wrong{base.__name__}", (base,), {"_curvature_times": curvature_})


for kind in (Tanh, Sigmoid, Softplus, SiLU, ELU):
    layer(f"{kind.__name__} without f''", DX, bent(kind, lambda self, kept, v, g: None))
    layer(
        f"{kind.__name__} with −f''",
        DX,
        bent(kind, lambda self, kept, v, g, right=kind: -right._curvature_times(self, kept, v, g)),
    )
layer("Tanh with f' for f''", DX, bent(Tanh, lambda self, y, v, g: self._slope_times(y, v * g)))
layer("SiLU with its last factor forgotten", DX, bent(SiLU, lambda self, x, v, g: self._slope_times(x, v * g)))
layer("LeakyReLU with a curvature", DX, bent(LeakyReLU, lambda self, y, v, g: 0.01 * v * g))


class OtherMask(Dropout):
    def tangent(self, v):
        self._peek()
        keep = self.rng.random(v.shape) >= self.rate
        return v * keep / (1.0 - self.rate)


class NoMask(Dropout):
    def tangent(self, v):
        return v


layer("another mask", TANGENT, OtherMask, 0.5, rng=1)
layer("no mask", TANGENT, NoMask, 0.5, rng=1)


class ConstantStatistics(BatchNorm):
    def tangent(self, v):
        _, passes, _ = self._peek()
        return v * passes[0][2] * self.params["gamma"]


class LinearNorm(LayerNorm):
    def second_order(self, v, g):
        super().second_order(v, g)


class WithoutTheThree(LayerNorm):
    def second_order(self, v, g):
        xhat, inv_std = self._peek()
        dx = super().second_order(v, g)
        p = g * self.params["gamma"]
        q, s = ((xhat * a).mean(axis=1, keepdims=True) for a in (p, v))
        return dx - inv_std**2 * xhat * 2.0 * q * s  # −1 q s where −3 q s belongs


class OverTheWrongAxis(LayerNorm):
    def second_order(self, v, g):
        xhat, inv_std = self._peek()
        super().second_order(v, g)
        return curvature(xhat, inv_std, g * self.params["gamma"], v, axis=0)


class GammaFromX(BatchNorm):
    def second_order(self, v, g):
        x, passes, _ = self._peek()
        _, mean, inv_std = passes[0]
        before = self.grads["gamma"].copy()
        dx = super().second_order(v, g)
        self.grads["gamma"][...] = before + (g * (x - mean) * inv_std).sum(axis=0)
        return dx


class RunningStatistics(BatchNorm):
    def second_order(self, v, g):
        x, _, _ = self._peek()
        super().second_order(v, g)
        mean, inv_std = self.running_mean, 1.0 / np.sqrt(self.running_var + self.eps)
        return curvature((x - mean) * inv_std, inv_std, g * self.params["gamma"], v, axis=0)


class HalfAlong(LayerNorm):
    def tangent(self, v):
        xhat, inv_std = self._peek()
        return (along(xhat, inv_std, v, axis=1) + 0.01 * xhat) * self.params["gamma"]


layer("BatchNorm with constant statistics", TANGENT, ConstantStatistics, 3)
layer("BatchNorm with running statistics", DX, RunningStatistics, 3)
layer("BatchNorm, gamma from x̂", DGAMMA, GammaFromX, 3)
layer("LayerNorm taken for linear", DX, LinearNorm, 3)
layer("LayerNorm, 1 for 3", DX, WithoutTheThree, 3)
layer("LayerNorm over the wrong axis", DX, OverTheWrongAxis, 3)
layer("LayerNorm, not linear in v", TANGENT, HalfAlong, 3)


class FlippedKernel(Conv2D):
    def tangent(self, v):
        W = self.params["W"]
        self.params["W"] = np.ascontiguousarray(W[::-1, ::-1])
        try:
            return super().tangent(v)
        finally:
            self.params["W"] = W


class SwappedRoles(Conv2D):
    def second_order(self, v, g):
        (x,) = self._peek()
        super().second_order(v + x, g)


class HalfTheWeights(ConvTranspose2D):
    def second_order(self, v, g):
        super().second_order(0.5 * v, g)


layer("a flipped kernel", TANGENT, FlippedKernel, 2, 3, 3, x=image)
layer("x beside v", DW, SwappedRoles, 2, 3, 3, stride=2, x=image)
layer("a factor 2 in a transposed convolution", DW, HalfTheWeights, 2, 3, 3, stride=2, x=image)


class NoPassDown(Sequential):
    """What bends is not sent down to the layers below."""

    def second_order(self, v, g, **options):
        vs, gs = self.tangents(v), self.input_gradients(g)
        bend = None
        for i in range(len(self.layers) - 1, -1, -1):
            bend = self.layers[i].second_order(vs[i], gs[i + 1])
        return bend


class OnlyTheLowestBend(Sequential):
    """A curved layer forgets what comes from the curved layers above."""

    def second_order(self, v, g, **options):
        vs, gs = self.tangents(v), self.input_gradients(g)
        h = None
        for i in range(len(self.layers) - 1, -1, -1):
            bend = self.layers[i].second_order(vs[i], gs[i + 1])
            below = None if h is None else self._backward_in_open_pass(i, h, "add", True)
            h = below if bend is None else bend
        return h


def network(kind):
    f = {"dtype": np.float64}
    return kind(Dense(3, 4, rng=1, **f), Tanh(), Dense(4, 4, rng=2, **f), SiLU(), Dense(4, 1, rng=3, **f))


for name, kind in {
    "curvature stays where it is": NoPassDown,
    "curvature from above is lost": OnlyTheLowestBend,
}.items():
    WRONG.append(
        Wrong(
            f"second order: {name}",
            lambda made: check_second_order(made, rows),
            GradientError,
            "second_order's",
            lambda: network(Sequential),
            lambda kind=kind: network(kind),
        )
    )


# ---- whole penalties -------------------------------------------------------------------------------------------------


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
