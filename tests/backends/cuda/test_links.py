"""Links of a GPU, and two layers as one: nobody may see a difference to the layers of the book."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.emulator import emulated, needs_compiler

from tinygan import Sequential, layers
from tinygan.backends import to_numpy
from tinygan.backends.cpu.layers import FastBatchNorm
from tinygan.backends.cuda import layers as fused
from tinygan.backends.cuda.layers import FUSED, FusedLeakyReLU, Pair, links
from tinygan.errors import PassError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    SpectralNorm,
    Tanh,
)
from tinygan.network import Apart
from tinygan.penalties import R1
from tinygan.testing.device import standin
from tinygan.testing.strategies import rngs

BEHIND = st.sampled_from([lambda: LeakyReLU(0.2), lambda: LeakyReLU(0.0), ReLU])


@st.composite
def networks(draw):
    """A network with pairs, some of them without a bias, and one leaky ReLU that has no partner."""
    rng, bias = draw(rngs), draw(st.booleans())
    options = {"rng": rng, "dtype": np.float64}
    behind = [draw(BEHIND) for _ in range(5)]
    layers = [Dense(3, 8, bias=bias, **options), behind[0](), Reshape(2, 2, 2), behind[1]()]
    layers += [ConvTranspose2D(2, 3, 3, stride=2, bias=bias, **options), behind[2]()]
    inner = Conv2D(3, 4, 3, stride=2, bias=bias, **options)
    layers += [SpectralNorm(inner, rng=rng) if draw(st.booleans()) else inner]
    layers += [BatchNorm(4, dtype=np.float64)] if draw(st.booleans()) else []
    layers += [behind[3](), Flatten(), Dense(16, 1, **options)]
    layers += [draw(st.sampled_from([behind[4], Tanh, Sigmoid]))()] if draw(st.booleans()) else []
    net = Sequential(*layers)
    net.theta[...] = rng.standard_normal(net.size)
    net.grad[...] = rng.standard_normal(net.size)
    return net


def everything(net, x, dy, *, train=True, batches=1, add=True, way="backprop"):
    """y, dx, gradients and buffers, after one of the ways back."""
    y, passed = net.apply(x, train, batches)
    back = net.input_gradient(passed, dy) if way == "input_gradient" else getattr(net, way)(passed, dy, add)
    return [None if a is None else to_numpy(a) for a in (y, back, net.grad, *net.buffers.values())]


def assert_equal(actual, expected):
    for array, other in zip(actual, expected, strict=True):
        assert (array is None) == (other is None)
        if array is not None:
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-12 * max(1.0, abs(other).max()))


def by_the_book(net, x, dy, *, batches=1, add=True, way="backprop", train=True):
    """The same by the layers themselves."""
    apart = [Apart(a, batches) if a.couples_samples and batches > 1 else a for a in net]
    caches, y = [], x
    for layer in apart:
        y, cache = layer.apply(y, train)
        caches.append(cache)
    if not add:
        net.grad[...] = 0.0
    for layer, cache in zip(reversed(apart), reversed(caches), strict=True):
        dy = layer.input_gradient(cache, dy) if way == "input_gradient" else layer.backprop(cache, dy, True)
    return [y, None if way == "store_gradients" else dy, net.grad, *net.buffers.values()]


def compare(net, rng, batches=1, **options):
    n = 4
    x, dy = rng.standard_normal((n, *net.input_shape)), rng.standard_normal((n, *net.output_shape(net.input_shape)))
    on_host, on_device = net.copy(), net.copy().to("standin")
    for copy in (on_host, on_device):
        copy.grad[...] = standin.from_host(net.grad) if copy is on_device else net.grad
    given = {"batches": batches, **options}
    assert_equal(
        everything(on_device, standin.from_host(x), standin.from_host(dy), **given),
        by_the_book(on_host, x, dy, **given),
    )


ways = st.sampled_from(["backprop", "store_gradients", "input_gradient"])


@settings(max_examples=60)
@given(net=networks(), rng=rngs, add=st.booleans(), way=ways, batches=st.integers(1, 2), train=st.booleans())
def test_links_and_pairs_compute_what_the_layers_do(net, rng, add, way, batches, train):
    compare(net, rng, batches, add=add or way == "input_gradient", way=way, train=train)


@settings(max_examples=20)
@given(net=networks(), rng=rngs, batches=st.integers(1, 2))
def test_what_a_pass_leaves_is_what_the_layers_would_have_left(net, rng, batches):
    """Taken apart into links by themselves, it gives the same gradients; and they stand for the layers in order."""
    x, dy = rng.standard_normal((4, 3)), standin.from_host(rng.standard_normal((4, 1)))
    on_device = net.to("standin")
    _, passed = on_device.apply(standin.from_host(x), True, batches)
    alone, of_layers = [], []
    for link, cache in passed:
        alone += link.unfused(cache) if isinstance(link, Pair) else [(link, cache)]
        of_layers += link.of_layers(cache) if hasattr(link, "of_layers") else [(link, cache)]
    assert [getattr(layer, "layer", layer) for layer, _ in of_layers] == list(on_device)
    actual = []
    for caches in (passed, alone, of_layers):
        dx = on_device.backprop(caches, dy, False)
        actual.append([to_numpy(dx), to_numpy(on_device.grad)])
    assert_equal(actual[1], actual[0])
    assert_equal(actual[2], actual[0])


def test_batchnorms_cache_is_that_of_the_cpus_link(device):
    layer, x = BatchNorm(3, dtype=np.float64), np.random.default_rng(0).standard_normal((6, 3))
    _, expected = FastBatchNorm(layer.copy(), 2).apply(x, True)
    link = fused.FusedBatchNorm(layer.copy().to("standin"), 2)
    _, cache = link.apply(standin.from_host(x), True)
    for array, other in zip(cache, expected, strict=True):
        np.testing.assert_allclose(array if isinstance(array, int) else array.get(), other, rtol=1e-13)
    [(plain, same)] = link.of_layers(cache)
    assert type(plain) is FastBatchNorm
    assert same is cache
    with pytest.raises(ShapeError, match="5 samples are not 2 batches"):
        link.apply(standin.from_host(x[:5]), True)


def test_a_penalty_is_the_same(device):
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": np.float64}
    D = Sequential(Conv2D(1, 4, 3, stride=2, **options), LeakyReLU(), Flatten(), Dense(16, 4, **options), LeakyReLU())
    D = Sequential(D, Dense(4, 1, **options))
    real, fake = rng.standard_normal((2, 3, 4, 4, 1))
    expected = R1(2.0)(D, real, fake, 0), D.grad.copy()
    D.zero_grad()
    D.to(device.name)
    value = R1(2.0)(D, device.put(real), device.put(fake), 0)
    np.testing.assert_allclose(device.get(value), expected[0], rtol=1e-12)
    np.testing.assert_allclose(device.get(D.grad), expected[1], rtol=0, atol=1e-12)


@needs_compiler
@settings(max_examples=15)
@given(net=networks(), rng=rngs, way=ways, batches=st.integers(1, 2), train=st.booleans())
def test_the_kernels_do_what_the_plain_lines_do(net, rng, way, batches, train):
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    on_host = net.copy()
    on_host.grad[...] = net.grad
    given = {"batches": batches, "way": way, "train": train}
    expected = by_the_book(on_host, x, dy, **given)
    with emulated(layers=True):
        actual = everything(net, x, dy, **given)
    for array, other in zip(actual, expected, strict=True):
        if array is not None:
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-10 * max(1.0, abs(other).max()))


# ---- who is a pair ---------------------------------------------------------------------------------------------------


class Louder(LeakyReLU):
    def apply(self, x, train):
        return super().apply(2.0 * x, train)


class Shifted(Dense):
    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return y + 1.0, cache


class Renamed(Dense):
    """Changes nothing that matters; but who could know?"""

    def __repr__(self):
        return "Renamed()"


@pytest.mark.parametrize(
    ("layer", "behind", "pair"),
    [
        (Dense(2, 3), LeakyReLU(), True),
        (Dense(2, 3), ReLU(), True),
        (Conv2D(2, 3, 3), LeakyReLU(), True),
        (ConvTranspose2D(2, 3, 3), ReLU(), True),
        (BatchNorm(3), LeakyReLU(), True),
        (Apart(BatchNorm(3), 2), ReLU(), True),
        (Apart(LayerNorm(3), 2), ReLU(), False),
        (Renamed(2, 3), LeakyReLU(), False),
        (Dense(2, 3), Tanh(), False),
        (Dense(2, 3), Dense(3, 2), False),
        (LayerNorm(3), LeakyReLU(), False),
        (LeakyReLU(), LeakyReLU(), False),
        (Sequential(Dense(2, 3)), LeakyReLU(), False),
        (Dense(2, 3), Louder(), False),
        (Shifted(2, 3), LeakyReLU(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_who_is_a_pair(layer, behind, pair):
    actual = links([layer, behind])
    assert [isinstance(link, Pair) for link in actual] == ([True] if pair else [False, False])
    for link, alone in zip(actual, (layer, behind), strict=False):  # what is of no known class runs by itself
        if not pair and type(alone) not in FUSED:
            assert link is alone


def test_pairs_do_not_overlap_and_leave_nobody_out():
    net = Sequential(LeakyReLU(), Dense(2, 3), ReLU(), LeakyReLU(), BatchNorm(3), LeakyReLU(), Dense(3, 1))
    actual = links(net.layers)
    assert [type(link).__name__ for link in actual] == [
        "FusedLeakyReLU",
        "Pair",
        "FusedLeakyReLU",
        "Pair",
        "FusedDense",
    ]
    assert [link.size for link in actual] == [0, 9, 0, 6, 4]


def test_every_link_stands_for_one_class_of_the_book():
    assert all(kind.__module__.startswith("tinygan.layers.") for kind in FUSED)
    assert len(set(FUSED.values()) - {FusedLeakyReLU}) == len(FUSED) - 2
    assert {layers.Dense, layers.Conv2D, layers.ConvTranspose2D, layers.BatchNorm, layers.Dropout} <= FUSED.keys()


def test_they_stay_pairs_in_copies_and_casts():
    net = Sequential(Dense(2, 3), ReLU()).to("standin")
    for other in (net.copy(), net.astype(np.float64)):
        (pair,) = other.links(other.theta)
        assert isinstance(pair, Pair)
        assert pair.link.layer is other[0]


def test_on_numpy_every_layer_runs_by_itself():
    net = Sequential(Dense(2, 3), ReLU())
    assert len(net.links(net.theta)) == 2


def test_a_slope_that_is_set_later_counts():
    net = Sequential(Dense(2, 3, rng=0), LeakyReLU(0.2)).to("standin")
    x = standin.xp.ones((1, 2), dtype="float32")
    before = net(x)
    net[1].slope = 0.5
    expected = np.where(before.get() > 0, before.get(), before.get() * 2.5)
    np.testing.assert_allclose(net(x).get(), expected, rtol=1e-6)


def test_a_backward_too_many_is_an_error():
    net = Sequential(Dense(2, 3), LeakyReLU()).to("standin")
    dy = net.forward(standin.xp.ones((1, 2), dtype="float32"))
    net.backward(dy)
    with pytest.raises(PassError):
        net.backward(dy)


# ---- wrong ways of doing it ------------------------------------------------------------------------------------------


def forgets_the_slope(pair, x, train):
    y, cache = pair.link.apply(x, train)
    return y, (cache, y)


def keeps_the_negative(pair, x, train):
    y, cache = pair.link.apply(x, train, pair.behind.slope)
    return y, (cache, -y)


def passes_everything(pair, cache, dy, add=True):
    return pair.link.backprop(cache[0], dy, add)


def always_adds(pair, cache, dy, add=True):
    return pair.link.backprop(cache[0], dy, True, cache[1], pair.behind.slope)


def slope_of_its_own(pair, cache, dy, add=True):
    return pair.link.backprop(cache[0], dy, add, cache[1], 0.21)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("apply", forgets_the_slope),
        ("apply", keeps_the_negative),
        ("backprop", passes_everything),
        ("backprop", always_adds),
        ("backprop", slope_of_its_own),
    ],
)
def test_a_wrong_pair_is_caught(monkeypatch, name, wrong):
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": np.float64}
    net = Sequential(
        Dense(3, 16, **options), LeakyReLU(), BatchNorm(16, dtype=np.float64), LeakyReLU(), Dense(16, 1, **options)
    )
    net.grad[...] = 1.0
    compare(net, rng, add=False)
    monkeypatch.setattr(Pair, name, wrong)
    with pytest.raises(AssertionError):
        compare(net, rng, add=False)


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("FusedConvTranspose2D", "store", fused.FusedConv2D.store),
        ("FusedConv2D", "dx", lambda self, x, da: 1.001 * standin.convolve_adjoint(
            da, self.layer.params["W"], x.shape[1:3], self.layer.window(x.shape[1:3]))),
        ("FusedSpectralNorm", "_store", lambda self, actual, normalised, add: self.layer._store(actual, add)),
        ("FusedBatchNorm", "_grads", lambda self, add: (*self.layer.grads.values(), True)),
        ("FusedTanh", "input_gradient", lambda self, y, dy: dy * (1.0 - y)),
    ],
)  # fmt: skip
def test_a_wrong_link_is_caught(monkeypatch, kind, name, wrong):
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": np.float64}
    net = Sequential(
        Dense(3, 8, **options), Reshape(2, 2, 2), ConvTranspose2D(2, 3, 3, stride=2, **options),
        BatchNorm(3, dtype=np.float64), Conv2D(3, 4, 3, stride=2, **options), SpectralNorm(Conv2D(4, 4, 2, **options)),
        Flatten(), Dense(16, 1, **options), Tanh(),
    )  # fmt: skip
    net.grad[...] = 1.0
    compare(net, rng, add=False)
    monkeypatch.setattr(getattr(fused, kind), name, wrong)
    with pytest.raises((AssertionError, ValueError, ShapeError)):
        compare(net, rng, add=False)
