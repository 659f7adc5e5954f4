"""Tangents, second orders and their shortcuts that are wrong on purpose; see wrong_layers.py."""

import numpy as np
import wrong_penalties  # noqa: F401  (adds the mistakes of whole penalties)
from shared_pass import check_shared_pass
from wrong_layers import WRONG, Wrong, enliven, numbers
from wrong_shortcuts import NOTICED_BY_THE_PASS, SHORTCUTS, shortcut

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
from tinygan.testing import check_second_order

rows, image = numbers(5, 3), numbers(2, 5, 4, 2)
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
        _, _, inv_std, _ = self._peek()
        return v * inv_std * self.params["gamma"]


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
        x, mean, inv_std, _ = self._peek()
        before = self.grads["gamma"].copy()
        dx = super().second_order(v, g)
        self.grads["gamma"][...] = before + (g * (x - mean) * inv_std).sum(axis=0)
        return dx


class RunningStatistics(BatchNorm):
    def second_order(self, v, g):
        x, *_ = self._peek()
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


# ---- the shortcut: second_order(v, g) and backward(share · g) at once ----------------------------------------------


def critic(kind):
    """A layer of ``kind`` that learns from the shortcut, under a Dense one."""
    f, rng = {"dtype": np.float64}, np.random.default_rng(2)
    made = kind(3, 4, rng=1, **f) if issubclass(kind, Dense) else kind(2, 2, 3, stride=2, rng=1, **f)
    above = [LeakyReLU()] if issubclass(kind, Dense) else [LeakyReLU(), Flatten()]
    size = 4 if issubclass(kind, Dense) else int(np.prod(made.output_shape(image.shape[1:])))
    return enliven(Sequential(made, *above, Dense(size, 1, rng=2, **f)), rng)


def in_the_pass_of_the_loss(x):
    dy = np.random.default_rng(4).standard_normal((2 * len(x), 1))
    return lambda kind: check_shared_pass(critic(kind), x, x[::-1] - 0.3, dy)


for right, x, arguments in ((Dense, rows, (3, 2)), (Conv2D, image, (2, 3, 3))):
    for wrong, says in SHORTCUTS.items():
        name = f"{right.__name__}'s shortcut, {wrong.__name__.replace('_', ' ')}"
        kind = shortcut(right, wrong)
        layer(name, says, kind, *arguments, x=x)
        if wrong in NOTICED_BY_THE_PASS:
            check = in_the_pass_of_the_loss(x)
            entry = (check, AssertionError, "the gradient of 0", lambda right=right: right, lambda kind=kind: kind)
            WRONG.append(Wrong(f"pass of the loss: {name}", *entry))


class BentShortcut(Tanh):
    """A shortcut for a layer that is not linear in x: what bends is never sent down."""

    def second_order_and_backward(self, v, g, share):
        return True


layer("a curved layer with a shortcut", "not linear in x has no such shortcut", BentShortcut)
