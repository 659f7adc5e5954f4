"""Whole networks: random ones of all layers, and a generator's gradient through its discriminator."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support import counting, reference

from tinygan import GAN, Sequential, losses, models
from tinygan.errors import GradientError, UndecidedError
from tinygan.layers import BatchNorm, Dense, Dropout, Flatten, LayerNorm, LeakyReLU, Sigmoid, Tanh
from tinygan.optim import SGD
from tinygan.testing import check_layer
from tinygan.testing.strategies import enliven, networks, rngs

LOSSES = [losses.Minimax(), losses.NonSaturating(real_label=0.9), losses.LeastSquares()]

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


@modes
@settings(max_examples=400)
@given(case=networks())
def test_gradients_of_random_networks(train, case):
    counting.count_and_check_network(case.layer, case.x, train=train)


@settings(max_examples=60)
@given(case=networks())
def test_gradients_of_random_networks_on_every_backend(device, case):
    counting.count_and_check_network(case.layer.to(device.name), device.put(case.x), exhaustive=5, directions=2)


@settings(max_examples=60)
@given(case=networks())
def test_random_networks_keep_the_contract_of_a_layer(case):
    check_layer(case.layer, case.x, gradients=False)


@modes
@given(case=networks())
@settings(max_examples=60)
def test_a_network_is_its_layers_one_after_the_other(train, case):
    """Plain layers here, links in the network: the same to rounding, by whichever of its methods it is asked."""
    network, x = case
    alone, caches = [layer.copy() for layer in network.layers], []
    y, passed = network.apply(x, train)
    out = x
    for layer in alone:
        out, cache = layer.apply(out, train)
        caches.append(cache)
    close(y, out)
    d = out
    dx = network.backprop(passed, d)
    for layer, cache in zip(reversed(alone), reversed(caches), strict=True):
        d = layer.backprop(cache, d)
    close(dx, d)
    close(network.input_gradient(passed, out), d)
    expected = [g for layer in alone for g in layer.grads.values()]
    for g, of_layer in zip(network.grads.values(), expected, strict=True):
        close(g, of_layer)
    network.grad[...] = np.nan
    network.store_gradients(passed, out, add=False)
    for g, of_layer in zip(network.grads.values(), expected, strict=True):
        close(g, of_layer)


def close(a, b):
    assert a.shape == b.shape
    assert np.linalg.norm(a - b) <= 1e-10 * (1.0 + np.linalg.norm(b))


@given(case=networks())
@settings(max_examples=60)
def test_flat_vectors_are_the_layers_arrays(case):
    network, _ = case
    for flat, arrays in ((network.theta, network.params), (network.grad, network.grads)):
        assert flat.size == sum(a.size for a in arrays.values())
        assert all(np.shares_memory(flat, a) for a in arrays.values())
        np.testing.assert_array_equal(flat, np.concatenate([np.empty(0), *(a.ravel() for a in arrays.values())]))


def test_gradients_of_the_models():
    rng = np.random.default_rng(0)
    for batch_norm in (True, False):
        G, D = models.mlp((4, 4, 1), noise_dim=5, g_hidden=(9, 8), d_hidden=(7, 6), batch_norm=batch_norm)
        counting.count_and_check(G, rng.standard_normal((6, 5)))
        counting.count_and_check(D, rng.standard_normal((6, 4, 4, 1)))
        for loss in LOSSES:
            counting.count_and_check_generator(G, D, loss, rng.standard_normal((6, 5)))


# ---- a generator and a discriminator -------------------------------------------------------------------------------


@st.composite
def discriminators(draw, sample_shape, rng):
    """A random D for samples of this shape: normalised or not, with one hidden layer."""
    h, f8 = draw(st.integers(2, 5)), {"dtype": np.float64}
    inner = draw(
        st.sampled_from(((), (BatchNorm(h, eps=0.01, **f8),), (LayerNorm(max(h, 3), eps=0.1, **f8),), (Dropout(0.2),)))
    )
    h = inner[0].c if inner and hasattr(inner[0], "c") else h
    kind = draw(st.sampled_from((LeakyReLU, Tanh, Sigmoid)))
    first = Dense(int(np.prod(sample_shape)), h, rng=rng, **f8)
    layers = (Flatten(), first, *(layer.copy() for layer in inner), kind(), Dense(h, 1, rng=rng, **f8))
    return enliven(Sequential(*layers), rng)


@every_loss
@settings(max_examples=100)
@given(case=networks(), data=st.data(), rng=rngs)
def test_the_generators_gradient_goes_through_the_discriminator(loss, case, data, rng):
    G, z = case
    D = data.draw(discriminators(G.output_shape(z.shape[1:]), rng))
    counting.count_and_check_generator(G, D, loss, z)


@settings(max_examples=15)
@given(case=networks(), data=st.data(), rng=rngs)
def test_and_does_so_on_every_backend(device, case, data, rng):
    G, z = case
    D = data.draw(discriminators(G.output_shape(z.shape[1:]), rng))
    G, D = G.to(device.name), D.to(device.name)
    counting.count_and_check_generator(G, D, losses.NonSaturating(), device.put(z), exhaustive=4, directions=2)


def generator_gradient(G, D, loss, z):
    """What G learns, and D's weights and gradients after it."""
    G, D = G.copy(), D.copy()
    D.grad[...] = 7.0
    fake, g_cache = G.apply(z, True)
    logits, d_cache = D.apply(fake, True)
    value, d_logits = loss.generator(logits)
    G.store_gradients(g_cache, D.input_gradient(d_cache, d_logits), add=False)
    return float(value), G.grad, D


@every_loss
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 6))
def test_it_changes_when_the_discriminators_weights_do(loss, seed, n):
    rng = np.random.default_rng(seed)
    G, D = models.mlp((2, 2, 1), noise_dim=3, g_hidden=(4,), d_hidden=(4, 3), rng=rng, dtype=np.float64)
    z = rng.standard_normal((n, 3))
    _, before, untouched = generator_gradient(G, D, loss, z)
    np.testing.assert_array_equal(untouched.theta, D.theta)
    assert (untouched.grad == 7.0).all()
    for key, p in D.params.items():
        other = D.copy()
        other.params[key][...] += 0.5 * rng.standard_normal(p.shape)
        _, after, _ = generator_gradient(G, other, loss, z)
        assert np.linalg.norm(after - before) > 1e-6 * np.linalg.norm(before), f"{key} of D makes no difference to G"


@st.composite
def gans(draw):
    """A small GAN in float64 with plain SGD, so that its steps can be read as gradients, and a real batch."""
    rng, f8 = draw(rngs), {"dtype": np.float64}
    noise_dim, h, c, n = (draw(st.integers(2, 4)) for _ in range(4))
    norm = draw(st.sampled_from(((), (BatchNorm(h, eps=1e-3, **f8),))))
    G = Sequential(Dense(noise_dim, h, rng=rng, **f8), *norm, LeakyReLU(), Dense(h, c, rng=rng, **f8), Tanh())
    D = draw(discriminators((c,), rng).filter(lambda d: not any(isinstance(x, Dropout) for x in d.layers)))
    loss, lr = draw(st.sampled_from(LOSSES)), draw(st.sampled_from((0.01, 0.3)))
    gan = GAN(
        enliven(G, rng),
        D,
        noise_dim=noise_dim,
        loss=loss,
        g_optimizer=SGD(G, lr),
        d_optimizer=SGD(D, lr),
        seed=draw(st.integers(0, 9)),
    )
    return gan, np.tanh(rng.standard_normal((n + 2, c)))


@settings(max_examples=100)
@given(case=gans())
def test_a_step_moves_each_network_along_the_slope_of_its_loss(case):
    try:
        reference.check_adversarial_step(*case, check=counting.count_and_check_function)
    except UndecidedError:  # a random game may happen to be degenerate
        reject()


def test_a_derived_network_stays_what_it_is_in_float64():
    """Otherwise a check of a network of one's own would silently check a plain Sequential."""

    class Derived(Sequential):
        def backprop(self, cache, dy, add=True):
            return 2.0 * super().backprop(cache, dy, add)

    network = Derived(Dense(3, 2))
    assert type(network.astype(np.float64)) is Derived
    assert network.astype(np.float64).theta.dtype == np.float64
    with pytest.raises(GradientError, match=r"dx is wrong.*2 times"):
        counting.count_and_check(network, np.ones((4, 3)))
