"""Layers that are wrong on purpose, each with one mistake that people make, and the check that must notice it.

Every entry of :data:`WRONG` has a right counterpart, which must pass the same check: a check that fails on everything
would catch every mistake too. Losses, optimisers, networks and steps of a GAN are in wrong_training.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from support import reference
from tinygan.errors import ContractError, GradientError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Tanh,
)
from tinygan.testing import check_gradients, check_layer
from tinygan.testing.strategies import enliven


class Wrong(NamedTuple):
    """A mistake: ``check(wrong())`` must raise ``error`` and say ``says``; ``check(right())`` must pass.

    Of mistakes with one ``counterpart``, the right one is the same, and is checked once.
    """

    name: str
    check: Callable[[Any], Any]
    error: type[Exception]
    says: str | None
    right: Callable[[], Any]
    wrong: Callable[[], Any]
    counterpart: Any = None


WRONG: list[Wrong] = []


def gradients(name, key, wrong, *args, x, train=True, **options):
    """``wrong`` is a subclass of a layer with a wrong gradient, 'dx' or that of the parameter ``key``."""
    says = r"dx is wrong" if key == "dx" else rf"grads\['{key}'\] is wrong"
    given = ("gradients", x.tobytes(), train)
    _add(name, given, lambda layer: check_gradients(layer, x, train=train), GradientError, says, wrong, args, options)


def contract(name, says, wrong, *args, x, error=ContractError, right=None, **options):
    """``wrong`` is a subclass of a layer that breaks the rule of the contract that ``says`` belongs to; ``right``, if
    it is not the layer it derives from, keeps all of them."""
    given = ("contract", x.tobytes())
    _add(name, given, lambda layer: check_layer(layer, x), error, says, wrong, args, options, right)


def function(name, check, wrong, *args, x, **options):
    """``wrong`` is a subclass with gradients that may well be right, but of another function than the layer's."""
    given = (check, x.tobytes())
    _add(name, given, lambda layer: check(layer, x), AssertionError, None, wrong, args, options)


def _add(name, key, check, error, says, wrong, args, options, right=None):
    def make(kind):
        return enliven(kind(*args, **options).astype(np.float64), np.random.default_rng(1))

    right = right or next(base for base in wrong.__mro__ if base.__module__.startswith("tinygan"))
    same = (key, right, repr(args), repr(options))
    WRONG.append(Wrong(name, check, error, says, lambda: make(right), lambda: make(wrong), same))


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


rows, square, wide, image = numbers(4, 3), numbers(3, 3), numbers(4, 300), numbers(2, 5, 4, 2)


# ---- tools to be wrong with ----------------------------------------------------------------------------------------


def altered(kind, **changes):
    """A subclass of ``kind`` whose gradients are changed on their way out: altered(Dense, W=lambda g: -g)."""

    class Altered(kind):
        def gradients(self, cache, dy):
            dx, gradients = super().gradients(cache, dy)
            gradients = {key: changes[key](g) if key in changes else g for key, g in gradients.items()}
            return changes["dx"](dx) if "dx" in changes else dx, gradients

    return Altered


def with_dx(kind, dx):
    """A subclass of ``kind`` that returns ``dx(layer, x, dy)``, its parameters' gradients being right."""

    class WithDx(kind):
        def apply(self, x, train):
            y, cache = super().apply(x, train)
            return y, (cache, x)

        def gradients(self, cache, dy):
            return dx(self, cache[1], dy), super().gradients(cache[0], dy)[1]

    return WithDx


def of_a_twin(kind, changed, key="dx", *, image=lambda x: x, dy=lambda dy: dy):
    """A convolution that takes one gradient from a twin, ``changed(layer)``, made to see other images or another dy."""

    class OfATwin(kind):
        def gradients(self, x, d):
            dx, gradients = super().gradients(x, d)
            twin = changed(self)
            twin_dx, of_twin = twin.gradients(twin.apply(image(x), True)[1], dy(d))
            return (twin_dx, gradients) if key == "dx" else (dx, {**gradients, key: of_twin[key]})

    return OfATwin


def first_row_missing(g):
    g = g.copy()
    g[0] = 0.0
    return g


# ---- Dense, and factors everywhere ---------------------------------------------------------------------------------

for key in ("dx", "W", "b"):
    negated, slightly = {key: lambda g: -g}, {key: lambda g: 1.0005 * g}
    gradients(f"dense: {key} with the wrong sign", key, altered(Dense, **negated), 3, 2, x=rows)
    gradients(f"dense: {key} times 1.0005", key, altered(Dense, **slightly), 3, 2, x=rows)
    gradients(f"large dense: {key} times 1.0005", key, altered(Dense, **slightly), 300, 200, x=wide)
    gradients(f"conv: {key} times 1.0005", key, altered(Conv2D, **slightly), 2, 3, 3, x=image)


class BiasOverWrongAxis(Dense):
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx, {**gradients, "b": dy.sum(axis=1)}


without_transpose = with_dx(Dense, lambda layer, x, dy: dy @ layer.params["W"])
gradients("dense: dx = dy W", "dx", without_transpose, 3, 3, x=square)
gradients("dense: dW = dyᵀ x", "W", altered(Dense, W=lambda g: g.T), 3, 3, x=square)
gradients("dense: db forgotten", "b", altered(Dense, b=lambda g: 0.0 * g), 3, 2, x=rows)
gradients("dense: db a mean over the batch", "b", altered(Dense, b=lambda g: g / 4), 3, 2, x=rows)
gradients("dense: db summed over the outputs", "b", BiasOverWrongAxis, 3, 3, x=square)
gradients("large dense: one row of 300 of dW missing", "W", altered(Dense, W=first_row_missing), 300, 200, x=wide)


# ---- normalisation -------------------------------------------------------------------------------------------------


def batch_norm_dx(formula):
    """A BatchNorm that returns gamma / σ · formula(dy, x̂, M)."""

    def dx(layer, x, dy):
        inv_std = 1.0 / np.sqrt(x.var(axis=0) + layer.eps)
        return layer.params["gamma"] * inv_std * formula(dy, (x - x.mean(axis=0)) * inv_std, len(x))

    return with_dx(BatchNorm, dx)


for name, formula in {
    "the path through the mean missing": lambda dy, xhat, m: dy - xhat * (dy * xhat).sum(0) / m,
    "the path through the variance missing": lambda dy, xhat, m: dy - dy.sum(0) / m,
    "mean and variance taken for constants": lambda dy, xhat, m: dy,
    "M − 1 for M": lambda dy, xhat, m: dy - (dy.sum(0) + xhat * (dy * xhat).sum(0)) / (m - 1),
    "x̂ forgotten before its sum": lambda dy, xhat, m: dy - (dy.sum(0) + (dy * xhat).sum(0)) / m,
    "sums for means": lambda dy, xhat, m: dy - dy.sum(0) - xhat * (dy * xhat).sum(0),
}.items():
    gradients(f"batch norm: {name}", "dx", batch_norm_dx(formula), 3, x=rows)


class SwappedParameters(BatchNorm):
    def gradients(self, cache, dy):
        dx, gradients = super().gradients(cache, dy)
        return dx, {"gamma": gradients["beta"], "beta": gradients["gamma"]}


def training_slope(layer, x, dy):
    twin = BatchNorm.copy(layer)
    return BatchNorm.gradients(twin, BatchNorm.apply(twin, x, True)[1], dy)[0]


def statistics(update):
    """A BatchNorm whose running statistics become ``update(momentum, old, new, key, m)``."""

    class WrongStatistics(BatchNorm):
        def apply(self, x, train):
            old = {key: b.copy() for key, b in self.buffers.items()}
            result = super().apply(x, train)
            if train:
                new = {"running_mean": x.mean(axis=0), "running_var": x.var(axis=0, ddof=1)}
                for key, b in self.buffers.items():
                    b[...] = update(self.momentum, old[key], new[key], key, len(x))
            return result

    return WrongStatistics


class EvaluatesInTraining(BatchNorm):
    def apply(self, x, train):
        if train:
            super().apply(x, train)
        return super().apply(x, False)


class UnbiasedInForward(BatchNorm):
    def apply(self, x, train):
        (y, cache), m = super().apply(x, train), len(x)
        beta = self.params["beta"]
        return (y - beta) * ((m - 1) / m) ** 0.5 + beta if train else y, cache


class LearnsWhileEvaluating(BatchNorm):
    """After it has evaluated, so that what comes out is right."""

    def apply(self, x, train):
        result = super().apply(x, train)
        if not train:
            self.running_mean[...] = 0.9 * self.running_mean + 0.1 * x.mean(axis=0)
        return result


gamma_forgotten = with_dx(BatchNorm, lambda layer, x, dy: training_slope(layer, x, dy / layer.params["gamma"]))
gradients("batch norm: gamma forgotten on the way to x", "dx", gamma_forgotten, 3, x=rows)
gradients("batch norm: dgamma and dbeta swapped", "gamma", SwappedParameters, 3, x=rows)
gradients("batch norm: training slope in evaluation", "dx", with_dx(BatchNorm, training_slope), 3, x=rows, train=False)
function("batch norm: running statistics for the batch's", reference.check_batch_norm, EvaluatesInTraining, 3, x=rows)
function("batch norm: unbiased variance in the forward pass", reference.check_batch_norm, UnbiasedInForward, 3, x=rows)
for name, update in {
    "biased running variance": lambda k, old, new, key, m: k * old + (1 - k) * new * (1 - ("var" in key) / m),
    "momentum of the new": lambda k, old, new, key, m: (1 - k) * old + k * new,
    "running statistics never updated": lambda k, old, new, key, m: old,
}.items():
    function(f"batch norm: {name}", reference.check_batch_norm, statistics(update), 3, x=rows)
contract("batch norm: learns while evaluating", "has changed running_mean", LearnsWhileEvaluating, 3, x=rows)


def layer_norm_dx(formula):
    """A LayerNorm that returns formula(dx̂, x̂) / σ."""

    def dx(layer, x, dy):
        inv_std = 1.0 / np.sqrt(x.var(axis=1, keepdims=True) + layer.eps)
        return inv_std * formula(dy * layer.params["gamma"], (x - x.mean(axis=1, keepdims=True)) * inv_std)

    return with_dx(LayerNorm, dx)


for name, formula in {
    "means over the batch": lambda d, xhat: d - d.mean(0) - xhat * (d * xhat).mean(0),
    "the path through the variance missing": lambda d, xhat: d - d.mean(1, keepdims=True),
    "the path through the mean missing": lambda d, xhat: d - xhat * (d * xhat).mean(1, keepdims=True),
}.items():
    gradients(f"layer norm: {name}", "dx", layer_norm_dx(formula), 3, x=rows)
gradients("layer norm: dbeta averaged", "beta", altered(LayerNorm, beta=lambda g: g / 4), 3, x=rows)


# ---- convolution ---------------------------------------------------------------------------------------------------


def twin_of(layer, W=lambda W: W, **changed):
    """A convolution like ``layer`` with some settings changed and the weights ``W(weights of layer)``."""
    kind = ConvTranspose2D if isinstance(layer, ConvTranspose2D) else Conv2D
    settings = {"stride": layer.stride, "padding": layer.padding, "dtype": np.float64, **changed}
    twin = kind(layer.c_in, layer.c_out, layer.kernel_size, **settings)
    twin.params["W"][...], twin.params["b"][...] = W(layer.params["W"]), layer.params["b"]
    return twin


def flipped(W):
    return W[::-1, ::-1]


class Flipped(Conv2D):
    """A convolution in the mathematician's sense."""

    def apply(self, x, train):
        return twin_of(self, W=flipped).apply(x, train)


class OddPaddingFirst(Conv2D):
    """An odd zero of 'same' at the top and the left, where TensorFlow has it at the bottom and the right."""

    def apply(self, x, train):
        (kh, kw), (sh, sw) = self.kernel_size, self.stride
        rows, columns = (reference.pads_of("same", *a) for a in ((x.shape[1], kh, sh, 0), (x.shape[2], kw, sw, 1)))
        return twin_of(self, padding=(rows[::-1], columns[::-1])).apply(x, train)


class CroppedOnTheOtherSide(ConvTranspose2D):
    def apply(self, x, train):
        sides = zip(self.kernel_size, self.stride, strict=True)
        return twin_of(self, padding=tuple(((k - s + 1) // 2, (k - s) // 2) for k, s in sides)).apply(x, train)


class OverlapsAveraged(ConvTranspose2D):
    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return (y - self.params["b"]) / 2.0 + self.params["b"], cache


padding_off_by_one = of_a_twin(Conv2D, lambda layer: twin_of(layer, padding=((0, 2), (1, 1))))
flipped_backward = of_a_twin(Conv2D, lambda layer: twin_of(layer, W=flipped))
shifted_image = of_a_twin(Conv2D, twin_of, "W", image=lambda x: np.roll(x, 1, axis=2))
first_image = of_a_twin(Conv2D, twin_of, "W", image=lambda x: x[:1], dy=lambda dy: dy[:1])
stride_forgotten = of_a_twin(Conv2D, lambda layer: twin_of(layer, stride=1, padding="valid"))
swapped_channels = altered(ConvTranspose2D, W=lambda g: g.swapaxes(2, 3))

function("conv: kernel flipped", reference.check_convolution, Flipped, 2, 3, 3, x=image)
function("conv: odd padding at the top left", reference.check_convolution, OddPaddingFirst, 2, 3, 4, x=image)
gradients("conv: kernel flipped in the backward pass", "dx", flipped_backward, 2, 3, 3, x=image)
gradients("conv: padding off by one in the backward pass", "dx", padding_off_by_one, 2, 3, 3, x=image)
gradients("conv: stride forgotten in the backward pass", "dx", stride_forgotten, 2, 3, 3, stride=2, x=image)
gradients("conv: dW of a shifted image", "W", shifted_image, 2, 3, 3, x=image)
gradients("conv: dW of the first image only", "W", first_image, 2, 3, 3, x=image)
gradients("conv: db a mean over the pixels", "b", altered(Conv2D, b=lambda g: g / 20), 2, 3, 3, x=image)
function(
    "transposed conv: cropped on the other side", reference.check_convolution, CroppedOnTheOtherSide, 2, 3, 4, x=image
)
function(
    "transposed conv: overlaps averaged", reference.check_convolution, OverlapsAveraged, 2, 3, 4, stride=2, x=image
)
gradients("transposed conv: dW with swapped channels", "W", swapped_channels, 2, 2, 3, stride=2, x=image)
gradients("transposed conv: dW flipped", "W", altered(ConvTranspose2D, W=flipped), 2, 3, 3, stride=2, x=image)


# ---- activations, dropout, shapes ----------------------------------------------------------------------------------

near_zero = np.array([[0.05, -0.7], [1.2, -0.03]])
for name, slope in {
    "slope squared": lambda layer, x, dy: dy * np.where(x > 0, 1.0, layer.slope**2),
    "slope on the positive side": lambda layer, x, dy: dy * np.where(x > 0, layer.slope, 1.0),
    "slope forgotten": lambda layer, x, dy: dy * (x > 0),
    "its kink at 0.1": lambda layer, x, dy: dy * np.where(x > 0.1, 1.0, layer.slope),
}.items():
    gradients(f"leaky ReLU: {name}", "dx", with_dx(LeakyReLU, slope), 0.2, x=near_zero)
for kind, name, slope in (
    (ReLU, "everything passes back", lambda layer, x, dy: dy),
    (Tanh, "1 − y", lambda layer, x, dy: dy * (1.0 - np.tanh(x))),
    (Tanh, "1 + y²", lambda layer, x, dy: dy * (1.0 + np.tanh(x) ** 2)),
    (Sigmoid, "y", lambda layer, x, dy: dy / (1.0 + np.exp(-x))),
    (Sigmoid, "1 − y", lambda layer, x, dy: dy / (1.0 + np.exp(x))),
):
    gradients(f"{kind.__name__}: {name}", "dx", with_dx(kind, slope), x=rows)


class Unscaled(Dropout):
    def apply(self, x, train):
        y, m = super().apply(x, train)
        return y * (1.0 - self.rate) if train else y, m


class ActiveInEvaluation(Dropout):
    def apply(self, x, train):
        return super().apply(x, True)


class FromNowhere(Dropout):
    def apply(self, x, train):
        self.rng = np.random.default_rng()
        return super().apply(x, train)


redrawn = with_dx(Dropout, lambda layer, x, dy: dy * (layer.rng.random(x.shape) >= layer.rate) / (1.0 - layer.rate))
unscaled_backward = altered(Dropout, dx=lambda g: 0.5 * g)
fortran = altered(Flatten, dx=lambda g: g.reshape(len(g), -1).reshape(g.shape, order="F"))
gradients("dropout: mask drawn again in the backward pass", "dx", redrawn, 0.5, x=numbers(6, 6))
gradients("dropout: 1 / (1 − rate) missing in the backward pass", "dx", unscaled_backward, 0.5, x=numbers(6, 6))
function("dropout: 1 / (1 − rate) missing", reference.check_dropout, Unscaled, 0.5, x=numbers(40, 50))
function("dropout: active in evaluation", reference.check_dropout, ActiveInEvaluation, 0.5, x=numbers(40, 50))
contract(
    "dropout: random numbers from nowhere",
    "two equal copies give different outputs",
    FromNowhere,
    0.5,
    x=numbers(6, 6),
    error=GradientError,
)
gradients("flatten: backward in Fortran order", "dx", fortran, x=image)
