"""R1 with R2 in the pass of the loss: for any critic the same gradient as a backward and passes of their own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.shared_pass import check_shared_pass

from tinygan import Sequential
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    SpectralNorm,
    Tanh,
)
from tinygan.penalties.rules import RULES
from tinygan.testing.strategies import enliven, rngs

f8 = {"dtype": np.float64}
few, sides = st.integers(1, 3), st.integers(1, 4)
STRAIGHT = (LeakyReLU, ReLU)
CURVED = (SiLU, Softplus, ELU, Tanh, Sigmoid)


@st.composite
def linear(draw, shape, rng):
    """Dense for (C,), a convolution down or up for (H, W, C); with or without a bias, with or without SpectralNorm."""
    c, bias = shape[-1], draw(st.booleans())
    if len(shape) == 1:
        layer = Dense(c, draw(st.integers(1, 5)), bias=bias, rng=rng, **f8)
    else:
        up = max(shape[:2]) <= 4 and draw(st.booleans())
        kind, padding = (
            (ConvTranspose2D, "same") if up else (Conv2D, draw(st.sampled_from(("same", 1, ((0, 2), (2, 0))))))
        )
        layer = kind(c, draw(few), draw(few), stride=draw(st.integers(1, 2)), padding=padding, bias=bias, rng=rng, **f8)
    return converged(SpectralNorm(enliven(layer, rng), rng=rng)) if draw(st.booleans()) else layer


def converged(layer):
    """Where the power iteration ends: with this u, which moves no further, one pass computes what two of them do."""
    W = layer.params["W"]
    layer.buffers["u"][...] = np.linalg.svd(W.reshape(-1, W.shape[-1]))[0][:, 0]
    return layer


@st.composite
def critics(draw, *, norms=(LayerNorm,)):
    """Layers that fit each other, some of them networks in the network, under a Dense layer for the logit."""
    rng, several = draw(rngs), draw(st.booleans())  # a critic may be linear in pieces, or curved here and there
    shape = draw(st.one_of(st.tuples(st.integers(1, 5)), st.tuples(sides, sides, few)))
    start, layers = shape, []
    for _ in range(draw(st.integers(1, 4))):
        block = [draw(linear(shape, rng))]
        shape = block[0].output_shape(shape)
        kinds = [kind for kind in norms if kind is BatchNorm or shape[-1] > 1]
        if kinds and draw(st.booleans()):
            block.append(enliven(draw(st.sampled_from(kinds))(shape[-1], eps=0.1, **f8), rng))
        if draw(st.booleans()):
            block.append(draw(st.sampled_from(STRAIGHT + CURVED if several else STRAIGHT))())
        layers += [Sequential(*block)] if draw(st.booleans()) else block
    if len(shape) > 1:
        layers.append(Flatten())
    head = enliven(Dense(int(np.prod(shape)), 1, bias=draw(st.booleans()), rng=rng, **f8), rng)
    layers.append(converged(SpectralNorm(head)) if draw(st.booleans()) else head)
    D = Sequential(*layers)
    n = draw(st.integers(1, 4)) if BatchNorm not in norms else draw(st.integers(3, 5))
    real, fake = rng.standard_normal((2, n, *start))
    return D, real, fake, rng.standard_normal((2 * n, 1))


def images(*layers, n=3):
    """A convolutional critic of 4 by 4 images that Hypothesis need not find first."""
    rng = np.random.default_rng(7)
    D = Sequential(*layers)
    size = int(np.prod(D.output_shape((4, 4, 2))))
    D = Sequential(*(layer.copy() for layer in layers), Flatten(), Dense(size, 1, rng=8, **f8))
    return enliven(D, rng), *rng.standard_normal((2, n, 4, 4, 2)), rng.standard_normal((2 * n, 1))


@settings(max_examples=150)
@given(case=critics())
@example(images(Conv2D(2, 3, 3, stride=2, **f8), LeakyReLU()))
@example(images(Conv2D(2, 3, 3, stride=2, bias=False, **f8), SiLU(), Conv2D(3, 2, 3, **f8)))
@example(images(ConvTranspose2D(2, 3, 3, stride=2, **f8), LeakyReLU(), Conv2D(3, 2, 2, stride=2, **f8)))
@example(images(Sequential(Conv2D(2, 3, 3, **f8), ReLU()), Conv2D(3, 2, 3, **f8)))
def test_one_pass_for_loss_and_penalties_gives_the_gradient_of_two(device, case):
    D, *arrays = case
    check_shared_pass(D.copy().to(device.name), *arrays, put=device.put)


@settings(max_examples=60)
@given(case=critics(norms=(BatchNorm, LayerNorm)))
def test_with_batch_normalisation_too(device, case):
    """Each half has statistics of its own, so the gradients are the same; only the running averages move once less."""
    D, *arrays = case
    check_shared_pass(D.copy().to(device.name), *arrays, put=device.put)


@pytest.mark.parametrize("kind", [Dense, Conv2D, ConvTranspose2D])
def test_the_shortcut_is_taken_by_every_layer_that_is_linear_in_its_weights(kind, monkeypatch):
    """Else the tests above would say nothing of it."""
    calls, right = [], RULES[kind]

    def counted(*given):
        calls.append(kind)
        right.joint(*given)

    monkeypatch.setitem(RULES, kind, replace(right, joint=counted))
    layer = kind(2, 3, rng=1, **f8) if kind is Dense else kind(2, 3, 3, rng=1, **f8)
    shape = (2,) if kind is Dense else (3, 3, 2)
    size = int(np.prod(layer.output_shape(shape)))
    D = Sequential(layer, LeakyReLU(), *([] if kind is Dense else [Flatten()]), Dense(size, 1, rng=2, **f8))
    rng = np.random.default_rng(0)
    check_shared_pass(D, *rng.standard_normal((2, 3, *shape)), rng.standard_normal((6, 1)))
    assert len(calls) == (2 if kind is Dense else 1)
