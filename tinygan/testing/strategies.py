"""Hypothesis strategies: what layers are tested on. This module needs the package ``hypothesis``, and only this one.

Hypothesis draws structure (sizes, strides, paddings, modes) and a seed; a Generator made from the seed draws the
numbers, so that a failing case shrinks to the smallest structure that fails. A test of one layer reads ::

    @given(batch=batches(), n_out=sizes, rng=rngs)
    def test_dense(batch, n_out, rng):
        check_gradients(Dense(batch.shape[1], n_out, rng=rng), batch)

and a test of all of them ::

    @given(case=layers())
    def test_every_layer_keeps_the_contract(case):
        check_layer(case.layer, case.x)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Dropout, Layer, LayerNorm, SpectralNorm
from ..layers.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from ..layers.minibatch import MinibatchStdDev, Pack
from ..layers.shape import Flatten, Reshape
from ..layers.smooth import ELU, SiLU, Softplus
from ..network import Sequential

#: Sizes of dense layers and numbers of channels, with 1 among them.
sizes: SearchStrategy[int] = st.integers(1, 6)

#: Numbers of samples, from 1.
batch_sizes: SearchStrategy[int] = st.integers(1, 5)

#: Generators with a seed of their own; a failing example shows the seed.
rngs: SearchStrategy[np.random.Generator] = st.integers(0, 2**32 - 1).map(np.random.default_rng)

_few = st.integers(1, 3)
_hw = st.tuples(st.integers(1, 6), st.integers(1, 6))
_depths = st.integers(1, 5)


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
    n: SearchStrategy[int] = _few,
    hw: SearchStrategy[tuple[int, int]] = _hw,
    c: SearchStrategy[int] = _few,
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
    m = draw(_few)
    n = st.integers(1, 2).map(lambda packs: packs * m)
    return Case(Pack(m), draw(st.one_of(batches(n=n), images(n=n))))


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
    )


# ---- networks ------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw: Callable, *, depth: SearchStrategy[int] = _depths) -> Case:
    """A Sequential of random layers of all kinds that fit each other, in float64, and a batch for it.

    The batch has three samples or more, also behind Pack, for the sake of BatchNorm. Networks whose output does not
    respond to the input (all units of a ReLU layer dead) are left out.
    """
    rng = draw(rngs)
    shape = draw(st.one_of(st.tuples(sizes), st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))))
    n = draw(st.integers(3, 6))
    x = rng.standard_normal((n, *shape))
    layers: list[Layer] = []
    for _ in range(draw(depth)):
        layers.append(_next_layer(draw, n, shape, layers[-1] if layers else None, rng))
        shape, n = layers[-1].output_shape(shape), n // getattr(layers[-1], "m", 1)
    network = enliven(Sequential(*layers), rng)
    nudged = x + 1e-3 * rng.standard_normal(x.shape)
    assume(np.abs(network.copy().forward(nudged) - network.copy().forward(x)).max() > 1e-6)
    return Case(network, x)


def _next_layer(draw: Callable, n: int, shape: tuple[int, ...], above: Layer | None, rng: np.random.Generator) -> Layer:
    """Any layer that takes n samples of ``shape``, from the layer ``above`` it, and gives no large ones."""
    c = shape[-1]

    def dense() -> Dense:
        return Dense(c, draw(sizes), rng=rng, dtype=np.float64)

    def convolution() -> Conv2D:
        return Conv2D(c, draw(_few), draw(_few), stride=draw(_few), rng=rng, dtype=np.float64)

    choices: list[Callable[[], Layer]] = [
        lambda: LeakyReLU(draw(st.sampled_from((0.1, 0.5)))),
        ReLU,
        lambda: draw(st.sampled_from((ELU(), ELU(0.5), Softplus(), SiLU()))).copy(),
        Tanh,
        Sigmoid,
        lambda: Dropout(0.3, rng=draw(sizes)),
        lambda: MinibatchStdDev(eps=0.1),
    ]
    if n >= 6 and c <= 6:
        choices.append(lambda: Pack(2))
    if not isinstance(above, BatchNorm | LayerNorm):  # normalised twice, hardly a gradient is left
        choices.append(lambda: BatchNorm(c, eps=0.1, dtype=np.float64))
        if c >= 3:
            choices.append(lambda: LayerNorm(c, eps=0.1, dtype=np.float64))
    if len(shape) == 1:
        choices += [dense, dense, dense, lambda: SpectralNorm(dense(), rng=rng)]
        choices.append(lambda: Reshape(1, 1, c))
    else:
        choices += [convolution, convolution, lambda: SpectralNorm(convolution(), rng=rng)]
        choices.append(Flatten)
        if max(shape[:2]) <= 4:
            choices.append(lambda: ConvTranspose2D(c, draw(_few), draw(_few), stride=2, rng=rng, dtype=np.float64))
    return draw(st.sampled_from(choices))()
