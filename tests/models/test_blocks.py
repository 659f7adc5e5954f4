"""Residual, Add and Concat: both orders of derivatives, as layers and in GANs, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting

from tinygan import GAN, Sequential
from tinygan.data import ImageData
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import BatchNorm, Conv2D, Dense, Embedding, Flatten, LeakyReLU, SiLU, Tanh
from tinygan.models import Add, Concat, Residual
from tinygan.penalties import R1
from tinygan.runs import load_trained
from tinygan.runs.training import train
from tinygan.testing import check_layer
from tinygan.testing.replay import check_replay
from tinygan.testing.strategies import Case, batches, enliven, few, images, rngs, sizes

f8 = {"dtype": np.float64}


@st.composite
def blocks(draw):
    """A block of dense layers or convolutions, curved ones among them, and a batch for it."""
    rng, kind = draw(rngs), draw(st.sampled_from((Residual, Add, Concat)))
    of_images = draw(st.booleans())
    x = draw(images()) if of_images else draw(batches(n=st.integers(3, 5)))
    c = x.shape[-1]

    def layer(c_in, c_out):
        return Conv2D(c_in, c_out, draw(few), rng=rng, **f8) if of_images else Dense(c_in, c_out, rng=rng, **f8)

    k = draw(sizes)
    branch = [layer(c, k), draw(st.sampled_from((SiLU(), Tanh(), LeakyReLU()))).copy()]
    if kind is Residual:
        block = Residual(*branch, layer(k, c))
    else:
        out = k if kind is Add else draw(sizes)
        block = kind(Sequential(*branch), layer(c, out), *([SiLU()] if out == c else []))
    return Case(enliven(block, rng), x)


@settings(max_examples=80)
@given(case=blocks())
def test_gradients(case):
    counting.count_and_check_network(case.layer, case.x)


@settings(max_examples=60)
@given(case=blocks())
def test_second_order(case):
    counting.count_and_check_second_order(case.layer, case.x, random=True)


@settings(max_examples=20)
@given(case=blocks())
def test_second_order_within_a_network(case):
    network = Sequential(case.layer.copy(), Tanh())
    counting.count_and_check_second_order(network, case.x, random=True)


@settings(max_examples=15)
@given(case=blocks())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_what_they_compute():
    x, f, g = np.random.default_rng(0).standard_normal((3, 4)), Dense(4, 4, rng=0, **f8), Dense(4, 4, rng=1, **f8)
    np.testing.assert_allclose(Residual(f.copy())(x), x + f(x))
    np.testing.assert_allclose(Add(f.copy(), g.copy(), f.copy())(x), 2 * f(x) + g(x))
    np.testing.assert_allclose(Concat(f.copy(), g.copy())(x), np.concatenate([f(x), g(x)], axis=1))


def d_of_blocks():
    rng = np.random.default_rng(1)
    common = {"rng": rng, **f8}
    down = Add(Conv2D(3, 4, 1, stride=2, **common), Sequential(Conv2D(3, 4, 3, stride=2, **common), SiLU()))
    wide = Concat(Conv2D(1, 1, 1, **common), Sequential(Conv2D(1, 2, 3, **common), SiLU()))
    return Sequential(wide, Residual(Conv2D(3, 3, 3, **common), SiLU()), down, Flatten(), Dense(16, 1, **common))


def game(**options):
    G = Sequential(Residual(Dense(4, 4, rng=1, **f8), BatchNorm(4, **f8), LeakyReLU()), Dense(4, 16, rng=2, **f8))
    from tinygan.layers import Reshape

    return GAN(Sequential(*(layer.copy() for layer in G), Reshape(4, 4, 1)), d_of_blocks(), noise_dim=4, **options)


def test_a_gan_of_blocks_is_penalised_copied_saved_and_moved(device, tmp_path):
    gan, there = game(penalties=[R1(1.0)], average=0.9), game(penalties=[R1(1.0)], average=0.9).to(device.name)
    real = np.random.default_rng(0).standard_normal((4, 4, 4, 1))
    for _ in range(3):
        a, b = gan.step(real), there.step(device.put(real))
        np.testing.assert_allclose([float(x) for x in a], [float(x) for x in b], rtol=1e-9)
    gan.discriminator.save(tmp_path / "d.safetensors")
    again = d_of_blocks()
    again.load(tmp_path / "d.safetensors")
    np.testing.assert_array_equal(again(real), gan.discriminator(real))
    np.testing.assert_array_equal(gan.discriminator.copy()(real), gan.discriminator(real))
    assert "Residual" in gan.discriminator.summary((4, 4, 1))


def test_a_run_of_blocks_is_made_again(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 4, 4, 1), dtype=np.uint8)
    gan = game()
    run = load_trained(train(gan, ImageData(images), out=tmp_path / "run", steps=2, batch_size=4, progress=False))
    assert repr(run.discriminator) == repr(gan.discriminator)
    x = rng.standard_normal((3, 4, 4, 1))
    np.testing.assert_array_equal(run.discriminator(x), gan.discriminator(x))


def test_a_gan_of_blocks_is_replayed():
    assert check_replay(lambda: game(penalties=[R1(1.0)])) >= 4


def test_batches_that_pass_joined_are_apart():
    block = Add(Sequential(Dense(3, 3, rng=0, **f8), BatchNorm(3, **f8)), Dense(3, 3, rng=1, **f8))
    x = np.random.default_rng(0).standard_normal((8, 3))
    network = Sequential(block)
    joined, _ = network.copy().apply(x, True, batches=2)
    np.testing.assert_allclose(joined[:4], network.copy().apply(x[:4], True)[0], rtol=1e-9, atol=1e-12)
    alone, _ = block.apply(x, True, batches=2)
    np.testing.assert_allclose(alone, joined, rtol=1e-9, atol=1e-12)


def test_branches_that_begin_with_indices_learn():
    """They have no dx; their parameters have the gradients that they have alone."""
    tables = [Embedding(5, 3, rng=k, dtype=np.float64) for k in (1, 2)]
    alone = [Sequential(table.copy()) for table in tables]
    x, dy = np.array([1, 4, 1]), np.random.default_rng(0).standard_normal((3, 3))
    block = Add(*tables)
    np.testing.assert_allclose(block.forward(x), sum(network(x) for network in alone))
    assert block.backward(dy) is None
    for k, network in enumerate(alone):
        network.forward(x)
        network.backward(dy)
        np.testing.assert_array_equal(block.grads[f"{k}.0.W"], network.grads["0.W"])


def test_refusals():
    with pytest.raises(ShapeError, match=r"Residual.*\(N, 3\) comes out as \(N, 4\), so that x cannot be added"):
        Residual(Dense(3, 4, rng=0))
    with pytest.raises(ShapeError, match=r"the branches give \(N, 4\) and \(N, 5\), which cannot be added"):
        Add(Dense(3, 4, rng=0), Dense(3, 5, rng=0))
    with pytest.raises(ShapeError, match=r"\(N, 2, 2, 1\) and \(N, 4, 4, 1\); all but the channels must be alike"):
        Concat(Conv2D(1, 1, 3, stride=2), Conv2D(1, 1, 3))(np.ones((1, 4, 4, 1), np.float32))
    with pytest.raises(ArgumentError, match="layer 0 must be a tinygan Layer"):
        Add(3, Dense(3, 4))
    with pytest.raises(ArgumentError, match="at least one layer"):
        Concat()
