"""Hypothesis strategies for numbers, geometries and layers; :mod:`tinygan.testing.strategies` says how to use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Dropout, GroupNorm, Layer, LayerNorm, SpectralNorm
from ..layers.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from ..layers.conditional import ConcatLabels, Conditional, ConditionalScale, Projection
from ..layers.minibatch import MinibatchStdDev, Pack
from ..layers.resizing import AvgPool2D, MaxPool2D, PixelShuffle, Upsample
from ..layers.shape import Flatten, Reshape
from ..layers.smooth import ELU, SiLU, Softplus

#: Sizes of dense layers and numbers of channels, with 1 among them.
sizes: SearchStrategy[int] = st.integers(1, 6)

#: Numbers of samples, from 1.
batch_sizes: SearchStrategy[int] = st.integers(1, 5)

#: Generators with a seed of their own; a failing example shows the seed.
rngs: SearchStrategy[np.random.Generator] = st.integers(0, 2**32 - 1).map(np.random.default_rng)

few = st.integers(1, 3)
_hw = st.tuples(st.integers(1, 6), st.integers(1, 6))


class Case(NamedTuple):
    """A layer or network, and a batch that fits it."""

    layer: Layer
    x: np.ndarray


class Geometry(NamedTuple):
    """The arguments of a convolution, and a size of image for which it has an output."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: Any
    hw: tuple[int, int]


# ---- numbers -------------------------------------------------------------------------------------------------------


def away_from(values: tuple[float, ...], x: np.ndarray, *, by: float = 0.05) -> np.ndarray:
    """Push the entries of x that lie within ``by`` of one of the ``values`` (kinks) just beyond that distance."""
    x = x.copy()
    for value in values:
        near = np.abs(x - value) < by
        x[near] = value + np.where(x[near] < value, -by, by) * 1.5
    return x


@st.composite
def batches(draw: Callable, *, n: SearchStrategy[int] = batch_sizes, c: SearchStrategy[int] = sizes) -> np.ndarray:
    """Dense data (N, C) in float64, from normal(0, 1), none within 0.05 of 0, where ReLU has its kink."""
    return away_from((0.0,), draw(rngs).standard_normal((draw(n), draw(c))))


@st.composite
def images(
    draw: Callable,
    *,
    n: SearchStrategy[int] = few,
    hw: SearchStrategy[tuple[int, int]] = _hw,
    c: SearchStrategy[int] = few,
) -> np.ndarray:
    """Images (N, H, W, C) in float64, with single pixels and single channels among them; none near 0."""
    h, w = draw(hw)
    return away_from((0.0,), draw(rngs).standard_normal((draw(n), h, w, draw(c))))


# ---- convolutions --------------------------------------------------------------------------------------------------


@st.composite
def geometries(draw: Callable, *, transposed: bool = False, largest: int = 7) -> Geometry:
    """Kernels 1 to 7, strides 1 to 4, every kind of padding, images from a single pixel; each has an output.

    Parameters
    ----------
    transposed : for ConvTranspose2D rather than Conv2D.
    largest : H and W of the input are at most this, or the least for which there is an output.
    """
    kernel_size, stride = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (7, 4))
    zeros = st.integers(0, 3)
    pairs = st.tuples(st.tuples(zeros, zeros), st.tuples(zeros, zeros))
    padding = draw(st.one_of(st.sampled_from(("same", "valid")), zeros, pairs))
    hw = []
    for axis, (k, s) in enumerate(zip(kernel_size, stride, strict=True)):
        total = 2 * padding if isinstance(padding, int) else 0 if isinstance(padding, str) else sum(padding[axis])
        least = 1 - (k - 1 - total) // s if transposed else k - total  # the smallest image that leaves an output
        least = 1 if padding == "same" else max(1, least)
        hw.append(draw(st.integers(least, max(least, largest))))
    return Geometry(kernel_size, stride, padding, tuple(hw))


@st.composite
def convolutions(draw: Callable, *, transposed: bool = False, largest: int = 7) -> Case:
    """A Conv2D or its adjoint of any geometry, in float64, with 1 to 3 channels on either side and 1 or 2 images."""
    geometry = draw(geometries(transposed=transposed, largest=largest))
    c_in, c_out, rng = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(rngs)
    kind = ConvTranspose2D if transposed else Conv2D
    kernel_size, stride, padding, hw = geometry
    layer = kind(c_in, c_out, kernel_size, stride=stride, padding=padding, rng=rng, dtype=np.float64)
    return Case(enliven(layer, rng), draw(images(n=st.integers(1, 2), hw=st.just(hw), c=st.just(c_in))))


# ---- layers --------------------------------------------------------------------------------------------------------


def enliven(layer: Layer, rng: np.random.Generator) -> Layer:
    """Move parameters and running statistics away from where they start; returns the layer.

    Behind a bias of 0, a gamma of 1 or a running variance of 1, an error in their use cannot be seen.
    """
    for p in layer.params.values():
        p += 0.3 * rng.standard_normal(p.shape)
    for b in layer.buffers.values():
        b += rng.uniform(0.1, 0.9, b.shape)
    return layer


@st.composite
def dense(draw: Callable) -> Case:
    """A Dense layer of any small size."""
    x, rng = draw(batches()), draw(rngs)
    return Case(enliven(Dense(x.shape[1], draw(sizes), rng=rng, dtype=np.float64), rng), x)


_eps = st.sampled_from((1e-5, 1e-3, 0.1))


@st.composite
def batch_norms(draw: Callable) -> Case:
    """BatchNorm of dense data or images.

    Two values alone always become ±1, whatever they were (but for eps), so at least three are normalised together.
    """
    x = draw(st.one_of(batches(n=st.integers(3, 6)), images(hw=st.tuples(st.integers(2, 3), st.integers(2, 3)))))
    momentum = draw(st.sampled_from((0.0, 0.9, 1.0)))
    return Case(enliven(BatchNorm(x.shape[-1], eps=draw(_eps), momentum=momentum, dtype=np.float64), draw(rngs)), x)


@st.composite
def layer_norms(draw: Callable) -> Case:
    """LayerNorm of at least three channels, for the same reason, of dense data or images."""
    c = st.integers(3, 6)
    x = draw(st.one_of(batches(c=c), images(hw=st.tuples(st.integers(1, 3), st.integers(1, 3)), c=c)))
    return Case(enliven(LayerNorm(x.shape[-1], eps=draw(_eps), dtype=np.float64), draw(rngs)), x)


_kinds = st.sampled_from(
    (
        *(LeakyReLU(0.2), ReLU(), ELU(), Softplus(), SiLU(), Tanh(), Sigmoid()),
        *(LeakyReLU(0.0), LeakyReLU(0.01), LeakyReLU(0.9), ELU(0.1), ELU(1.7)),
    )
).map(Layer.copy)


@st.composite
def activations(draw: Callable, kinds: SearchStrategy[Layer] = _kinds) -> Case:
    """One of these activations, of dense data or images, at least one entry positive and none near 0."""
    layer, x = draw(kinds), draw(st.one_of(batches(), images()))
    x.flat[0] = abs(x.flat[0])
    return Case(layer, x)


@st.composite
def dropouts(draw: Callable) -> Case:
    """Dropout of a rate from 0 to 0.8, with a mask that keeps something."""
    x, rate, seed = draw(batches(n=st.integers(2, 5))), draw(st.sampled_from((0.0, 0.2, 0.5, 0.8))), draw(sizes)
    while not Dropout(rate, rng=seed).forward(x).any():
        seed += 1
    return Case(Dropout(rate, rng=seed), x)


@st.composite
def reshapes(draw: Callable) -> Case:
    """Reshape of images to another order of their sizes."""
    x = draw(images())
    return Case(Reshape(*draw(st.permutations(x.shape[1:]))), x)


def flattens() -> SearchStrategy[Case]:
    """Flatten of images."""
    return images().map(lambda x: Case(Flatten(), x))


@st.composite
def spectral_norms(draw: Callable) -> Case:
    """SpectralNorm of a Dense, a Conv2D or a ConvTranspose2D, its u from converged to far from that."""
    inner, x = draw(st.one_of(dense(), convolutions(largest=5), convolutions(transposed=True, largest=3)))
    layer, rng = SpectralNorm(inner, rng=draw(rngs)), draw(rngs)
    u = layer.buffers["u"]
    moved = u + draw(st.sampled_from((0.0, 0.3, 0.6))) * rng.standard_normal(u.shape) / len(u) ** 0.5
    assume(abs(u @ moved) > 0.2 * np.linalg.norm(moved))  # at a right angle to W's columns, v has no direction
    u[...] = moved
    return Case(layer, x)


@st.composite
def minibatch_layers(draw: Callable) -> Case:
    """MinibatchStdDev or Pack, of dense data or images.

    Of two samples, one lies as far above the mean as the other below it, whatever they are: there are one, or three
    and more.
    """
    if draw(st.booleans()):
        n = st.sampled_from((1, 3, 4, 5))
        eps = draw(st.sampled_from((1e-8, 1e-3, 0.1)))
        return Case(MinibatchStdDev(eps=eps), draw(st.one_of(batches(n=n), images(n=n))))
    m = draw(few)
    n = st.integers(1, 2).map(lambda packs: packs * m)
    return Case(Pack(m), draw(st.one_of(batches(n=n), images(n=n))))


def knowing(layer: Conditional, n: int, rng: np.random.Generator) -> Conditional:
    """Give the layer labels for n samples; returns the layer."""
    layer.labels = rng.integers(layer.classes, size=n)
    return layer


@st.composite
def conditionals(draw: Callable) -> Case:
    """ConcatLabels, ConditionalScale or Projection, of 1 to 4 classes, with labels for a batch."""
    classes, rng = draw(st.integers(1, 4)), draw(rngs)
    kind = draw(st.sampled_from((ConcatLabels, ConditionalScale, Projection)))
    x = draw(batches() if kind is Projection else st.one_of(batches(), images()))
    sizes = (classes,) if kind is ConcatLabels else (x.shape[-1], classes)
    layer: Conditional = kind(*sizes)
    return Case(knowing(enliven(layer.astype(np.float64), rng), len(x), rng), x)  # type: ignore[arg-type]


def _apart(draw: Callable, x: np.ndarray) -> np.ndarray:
    """Numbers of x's shape no two of which are within 0.05 of each other, so that it is clear which is larger."""
    rng = draw(rngs)
    return (rng.permutation(x.size) - x.size / 2 + rng.uniform(-0.25, 0.25, x.size)).reshape(x.shape) * 0.1


@st.composite
def resizings(draw: Callable) -> Case:
    """MaxPool2D, AvgPool2D, Upsample or PixelShuffle of images."""
    kind = draw(st.sampled_from((MaxPool2D, AvgPool2D, Upsample, PixelShuffle)))
    if kind is Upsample:
        layer = Upsample(draw(few), mode=draw(st.sampled_from(("nearest", "bilinear"))))
        return Case(layer, draw(images(hw=st.tuples(few, few))))
    if kind is PixelShuffle:
        scale = draw(st.integers(1, 2))
        return Case(PixelShuffle(scale), draw(images(c=st.integers(1, 2).map(lambda c: c * scale**2))))
    kernel_size, stride = draw(st.tuples(few, few)), draw(st.one_of(st.none(), st.tuples(few, few)))
    hw = st.tuples(*(st.integers(k, 6) for k in kernel_size))
    return Case(kind(kernel_size, stride=stride), _apart(draw, draw(images(hw=hw))))


@st.composite
def group_norms(draw: Callable) -> Case:
    """GroupNorm of groups of at least three numbers, as of LayerNorm, of dense data or images."""
    groups, each = draw(few), draw(st.integers(3, 4))
    c = st.just(groups * each)
    x = draw(st.one_of(batches(c=c), images(hw=st.tuples(few, few), c=c)))
    return Case(enliven(GroupNorm(groups, x.shape[-1], eps=draw(_eps), dtype=np.float64), draw(rngs)), x)


def regularisers() -> SearchStrategy[Case]:
    """What keeps a discriminator smooth, or lets it see several samples at once."""
    return st.one_of(spectral_norms(), minibatch_layers())


def layers() -> SearchStrategy[Case]:
    """Every kind of layer, in float64, with a batch that fits it."""
    return st.one_of(
        dense(),
        convolutions(largest=5),
        convolutions(transposed=True, largest=3),
        batch_norms(),
        layer_norms(),
        activations(),
        dropouts(),
        reshapes(),
        flattens(),
        regularisers(),
        conditionals(),
        resizings(),
        group_norms(),
    )
