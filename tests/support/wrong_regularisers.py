"""Spectral normalisation, minibatch deviation and packing that are wrong on purpose; see wrong_layers.py."""

import numpy as np

from support import naive_regularisers as naive
from support.wrong_layers import WRONG, Wrong, altered, contract, enliven, function, gradients, numbers, with_dx
from support.wrong_shortcuts import with_rule
from tinygan.errors import GradientError
from tinygan.layers import Conv2D, Dense, MinibatchStdDev, Pack, SpectralNorm
from tinygan.layers.spectral import Normalised
from tinygan.network import Apart
from tinygan.penalties.rules import RULES
from tinygan.testing import check_second_order

rows, batch, image = numbers(4, 3), numbers(6, 3, 2, 2), numbers(2, 5, 4, 2)
dense, conv = Dense(3, 2, rng=1, dtype=np.float64), Conv2D(2, 3, 3, rng=1, dtype=np.float64)


def second_order(name, says, wrong, *args, x, **options):
    """``wrong`` is a subclass of a layer with a wrong second order."""

    def make(kind):
        return enliven(kind(*args, **options).astype(np.float64), np.random.default_rng(1))

    right = next(base for base in wrong.__mro__ if base.__module__.startswith("tinygan"))
    entry = (lambda made: check_second_order(made, x), GradientError, says, lambda: make(right), lambda: make(wrong))
    WRONG.append(Wrong(name, *entry))


def spectral(name, wrong, inner=dense, x=rows):
    """``wrong`` is a subclass that computes something else than W/σ, from a random u that has to converge first."""

    def make(kind):
        layer = naive.spectral(inner.copy())
        layer.__class__ = kind
        return layer

    entry = (AssertionError, None, lambda: make(SpectralNorm), lambda: make(wrong))
    WRONG.append(Wrong(f"spectral norm: {name}", lambda layer: naive.check_spectral_norm(layer, x), *entry))


# ---- spectral normalisation ----------------------------------------------------------------------------------------


def with_slope(slope):
    """A SpectralNorm that finds dW for D = ∂L/∂Ŵ by ``slope(normalised, D, M)``, all as matrices."""

    class OtherNormalised(Normalised):
        def slope(self, D):
            M = self.W.reshape(-1, self.W.shape[-1])
            return slope(self, D.reshape(M.shape), M).reshape(self.W.shape)

    class OtherSlope(SpectralNorm):
        def normalise(self, train):
            return OtherNormalised(*super().normalise(train))

    return OtherSlope


def second_term(of, M):
    return of.sigma / of.n * np.outer(of.u0, M.T @ of.u - of.v)


for name, slope in {
    "σ taken for a constant": lambda of, D, M: D / of.sigma,
    "σ forgotten": lambda of, D, M: D,
    "the path through v missing": lambda of, D, M: (D - (D * M).sum() * np.outer(of.u, of.v)) / of.sigma,
    "u₀ for û": lambda of, D, M: (D - (D * M).sum() * (np.outer(of.u0, of.v) + second_term(of, M))) / of.sigma,
    "n forgotten": lambda of, D, M: (D - (D * M).sum() * (np.outer(of.u, of.v) + of.n * second_term(of, M))) / of.sigma,
    "the slope of σ with the other sign": lambda of, D, M: (
        (D + (D * M).sum() * (np.outer(of.u, of.v) + second_term(of, M))) / of.sigma
    ),
}.items():
    gradients(f"spectral norm: {name}", "W", with_slope(slope), dense, x=rows)
    gradients(f"spectral norm of a convolution: {name}", "W", with_slope(slope), conv, x=image)


class NotStored(SpectralNorm):
    def normalise(self, train):
        return super().normalise(train=False)


class StoresWhileEvaluating(SpectralNorm):
    def normalise(self, train):
        return super().normalise(train=True)


class RawInEvaluation(SpectralNorm):
    def normalise(self, train):
        normalised = super().normalise(train)
        return normalised if train else normalised._replace(W=self.params["W"])


class DividesTheBias(SpectralNorm):
    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return y - self.params["b"] + self.params["b"] / svd(self.params["W"].reshape(-1, y.shape[-1]))[0], cache


class Frobenius(SpectralNorm):
    def normalise(self, train):
        normalised, W = super().normalise(train), self.params["W"]
        return normalised._replace(W=W / np.linalg.norm(W))


class OtherMatrix(SpectralNorm):
    """Rows by the first axis, where PyTorch has the outputs; here it is one of the kernel's."""

    def normalise(self, train):
        normalised, W = super().normalise(train), self.params["W"]
        return normalised._replace(W=W / svd(W.reshape(len(W), -1))[0])


def raw_second_order(layer, cache, v, g):
    of_inner, normalised = cache
    inner = layer.inner(normalised.W)
    _, gradients = RULES[type(inner)].second_order(inner, of_inner, v, g)
    return None, {"W": gradients["W"] / normalised.sigma}


def svd(M):
    return np.linalg.svd(M, compute_uv=False)


with_bias = Dense(3, 2, rng=1, dtype=np.float64)
with_bias.params["b"][...] = 1.0
spectral("u not stored", NotStored)
spectral("u not stored, of a convolution", NotStored, conv, image)
spectral("raw weights in evaluation", RawInEvaluation)
spectral("the bias divided too", DividesTheBias, with_bias)
spectral("the Frobenius norm", Frobenius)
spectral("another matrix", OtherMatrix, conv, image)
contract(
    "spectral norm: u moves while evaluating",
    r"forward\(train=False\) has changed u",
    StoresWhileEvaluating,
    dense,
    x=rows,
)
raw = with_rule(SpectralNorm, second_order=raw_second_order)
second_order("spectral norm: second order with σ constant", r"second_order's grads\['W'\]", raw, dense, x=rows)


# ---- minibatch deviation -------------------------------------------------------------------------------------------


def with_last_channel(s):
    """A MinibatchStdDev that appends ``s(layer, x)``, with x by batches (P, M, ..., C): here one."""

    class OtherChannel(MinibatchStdDev):
        def apply(self, x, train):
            y, cache = super().apply(x, train)
            y[None][..., -1] = s(self, x[None])
            return y, cache

    return OtherChannel


def over_all(a):
    return a.reshape(len(a), -1).mean(axis=1).reshape(-1, *[1] * (a.ndim - 1))


def in_parts(layer, x):
    naive.check_minibatch_std(layer, x, batches=2)


for name, s in {
    "of the features of a sample": lambda layer, x: np.sqrt(x.var(axis=-1) + layer.eps),
    "over the pixels": lambda layer, x: over_all(np.sqrt(x.var(axis=(2, 3)) + layer.eps))[..., None],
    "over batch and pixels": lambda layer, x: over_all(np.sqrt(x.var(axis=(1, 2, 3)) + layer.eps))[:, :, None, None],
    "a mean of variances": lambda layer, x: over_all(x.var(axis=1) + layer.eps)[..., 0][..., None],
    "the root of a mean": lambda layer, x: np.sqrt(over_all(x.var(axis=1) + layer.eps))[..., 0][..., None],
    "the unbiased estimate": lambda layer, x: over_all(np.sqrt(x.var(axis=1, ddof=1) + layer.eps))[..., 0][..., None],
    "one for each pixel": lambda layer, x: np.sqrt(x.var(axis=1, keepdims=True) + layer.eps).mean(axis=-1),
}.items():
    function(f"minibatch deviation: {name}", in_parts, with_last_channel(s), x=batch)


class OnesTogether(Apart):
    """Several batches joined as one: real and generated samples mixed."""

    def split(self, a):
        return [a]

    def apply(self, x, train):
        y, cache = self.layer.apply(x, train)
        return y, [cache]


mixed = "minibatch deviation: real and generated samples mixed"
entry = (AssertionError, None, lambda: Apart, lambda: OnesTogether)
WRONG.append(
    Wrong(mixed, lambda apart: naive.check_minibatch_std(MinibatchStdDev(), batch, batches=2, apart=apart), *entry)
)


def last(dy):
    return dy[..., -1:]


def standardized(layer, x):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.eps)


for name, dx in {
    "the path through s missing": lambda layer, x, dy: dy[..., :-1],
    "only the sample's own dy": lambda layer, x, dy: dy[..., :-1] + last(dy) * standardized(layer, x) / x.size,
    "a mean over the batch too many": lambda layer, x, dy: (
        dy[..., :-1] + last(dy).sum() * standardized(layer, x) / x.size / len(x)
    ),
    "1/σ forgotten": lambda layer, x, dy: dy[..., :-1] + last(dy).sum() * (x - x.mean(axis=0)) / x.size,
}.items():
    gradients(f"minibatch deviation: {name}", "dx", with_dx(MinibatchStdDev, dx), x=batch)


def variance_constant(layer, cache, v, g):
    """The second derivative of s as if σ did not move."""
    xhat, std = cache
    rows = v.reshape(xhat.shape)
    t = (rows - rows.mean(axis=0)) / std
    return (t * g[..., -1].sum() / xhat.size).reshape(v.shape), {}


class CouplesInSecret(MinibatchStdDev):
    couples_samples = False


dx_is_wrong = "second_order's dx is wrong"
no_curvature = with_rule(MinibatchStdDev, second_order=lambda layer, cache, v, g: (None, {}))
constant = with_rule(MinibatchStdDev, second_order=variance_constant)
second_order("minibatch deviation: no second order", dx_is_wrong, no_curvature, x=rows)
second_order("minibatch deviation: σ constant in the second order", dx_is_wrong, constant, x=rows)
contract("minibatch deviation: couples samples in secret", "other samples have changed", CouplesInSecret, x=rows)


# ---- packing -------------------------------------------------------------------------------------------------------


class MixesPixels(Pack):
    def apply(self, x, train):
        return x.reshape(len(x) // self.m, *x.shape[1:-1], -1), x.shape

    def gradients(self, shape, dy):
        return dy.reshape(shape), {}


class PacksFarApart(Pack):
    """The first with the one in the middle of the batch: a real sample with a generated one."""

    def apply(self, x, train):
        n = len(x) // self.m
        return super().apply(x.reshape(self.m, n, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape), train)


class InterleavesChannels(Pack):
    def apply(self, x, train):
        y, shape = super().apply(x, train)
        return y.reshape(*y.shape[:-1], self.m, -1).swapaxes(-1, -2).reshape(y.shape), shape


class MixesPixelsBackward(Pack):
    def gradients(self, shape, dy):
        return dy.reshape(shape), {}


def mixes_pixels_along(layer, shape, v):
    return v.reshape(len(v) // layer.m, *v.shape[1:-1], -1)


function("pack: pixels instead of channels", naive.check_pack, MixesPixels, 2, x=batch)
function("pack: samples far apart", naive.check_pack, PacksFarApart, 2, x=batch)
function("pack: channels interleaved", naive.check_pack, InterleavesChannels, 2, x=batch)
gradients("pack: pixels instead of channels in the backward pass", "dx", MixesPixelsBackward, 2, x=batch)
gradients("pack: dx negated", "dx", altered(Pack, dx=lambda g: -g), 2, x=batch)
mixed = with_rule(Pack, tangent=mixes_pixels_along)
second_order("pack: pixels instead of channels in the tangent", r"tangent\(v\) is wrong", mixed, 2, x=batch)
