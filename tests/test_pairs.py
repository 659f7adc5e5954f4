"""A layer and the leaky ReLU behind it as one: nobody may see the difference, on a device or on NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import Sequential
from tinygan.backend import to_backend, to_numpy
from tinygan.errors import PassError
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
    Tanh,
    pairs,
)
from tinygan.penalties import R1
from tinygan.testing.device import standin
from tinygan.testing.strategies import rngs

BEHIND = st.sampled_from([lambda: LeakyReLU(0.2), lambda: LeakyReLU(0.0), ReLU])


@st.composite
def networks(draw):
    """A network with pairs, some of them without a bias, and one leaky ReLU that has no partner."""
    rng, bias = draw(rngs), draw(st.booleans())
    own = {"rng": rng, "dtype": np.float64}
    behind = [draw(BEHIND) for _ in range(5)]
    layers = [Dense(3, 8, bias=bias, **own), behind[0](), Reshape(2, 2, 2), behind[1]()]
    layers += [ConvTranspose2D(2, 3, 3, stride=2, bias=bias, **own), behind[2]()]
    layers += [Conv2D(3, 4, 3, stride=2, bias=bias, **own)]
    layers += [BatchNorm(4, dtype=np.float64)] if draw(st.booleans()) else []
    layers += [behind[3](), Flatten(), Dense(16, 1, **own)]
    layers += [behind[4]()] if draw(st.booleans()) else []
    net = Sequential(*layers)
    net.theta[...] = rng.standard_normal(net.size)
    net.grad[...] = rng.standard_normal(net.size)
    return net


def everything(net, x, dy, **options):
    y = net.forward(x)
    dx = net.backward(dy, **options)
    arrays = [y, dx, net.grad, *net.buffers.values()]
    return [None if a is None else to_numpy(a) for a in arrays]


def assert_equal(found, expected):
    for own, other in zip(found, expected, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            np.testing.assert_allclose(own, other, rtol=0, atol=1e-12 * max(1.0, abs(other).max()))


def compare(net, rng, **options):
    """On the stand-in pairs are one, on NumPy they are not."""
    n = 4
    x, dy = rng.standard_normal((n, *net.input_shape)), rng.standard_normal((n, *net.output_shape(net.input_shape)))
    here, there = net.copy(), net.copy().to("standin")
    assert_equal(
        everything(there, standin.from_host(x), standin.from_host(dy), **options), everything(here, x, dy, **options)
    )


@settings(max_examples=60)
@given(net=networks(), rng=rngs, grads=st.sampled_from(["add", "write", "skip"]), need_dx=st.booleans())
def test_pairs_compute_what_their_layers_do(net, rng, grads, need_dx):
    compare(net, rng, grads=grads, need_dx=need_dx)


@settings(max_examples=20)
@given(net=networks(), rng=rngs, forward=st.booleans())
def test_passes_of_pairs_and_of_single_layers_are_the_same(net, rng, forward):
    """One of both directions layer by layer, the other in pairs."""
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    expected = everything(net.copy(), x, dy)
    net = net.to("standin")
    one, other = (net._paired, net._alone) if forward else (net._alone, net._paired)
    net._paired = one
    y = net.forward(standin.from_host(x))
    net._paired = other
    dx = net.backward(standin.from_host(dy))
    assert_equal([to_numpy(a) for a in (y, dx, net.grad, *net.buffers.values())], expected)


@settings(max_examples=20)
@given(net=networks(), rng=rngs)
def test_what_looks_at_an_open_pass_sees_single_layers(net, rng):
    x, v, g = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    found = []
    for backend in ("standin", "numpy"):
        copy = net.copy().to(backend)
        here, along, above = (to_backend(a, backend) for a in (x, v, g))
        copy.forward(here)
        arrays = [*copy.tangents(along), *copy.input_gradients(above), copy.second_order(along, above), copy.grad]
        found.append([None if a is None else to_numpy(a) for a in arrays])
    assert_equal(*found)


def test_a_penalty_is_the_same(device):
    rng = np.random.default_rng(0)
    own = {"rng": rng, "dtype": np.float64}
    D = Sequential(Conv2D(1, 4, 3, stride=2, **own), LeakyReLU(), Flatten(), Dense(16, 4, **own), LeakyReLU())
    D = Sequential(D, Dense(4, 1, **own))
    real, fake = rng.standard_normal((2, 3, 4, 4, 1))
    expected = R1(2.0)(D, real, fake, 0), D.grad.copy()
    D.zero_grad()
    D.to(device.name)
    value = R1(2.0)(D, device.put(real), device.put(fake), 0)
    np.testing.assert_allclose(device.get(value), expected[0], rtol=1e-12)
    np.testing.assert_allclose(device.get(D.grad), expected[1], rtol=0, atol=1e-12)


# ---- who is a pair ---------------------------------------------------------------------------------------------------


class Louder(LeakyReLU):
    def forward(self, x, *, train=True):
        return super().forward(2.0 * x, train=train)


class Shifted(Dense):
    def forward(self, x, *, train=True):
        return super().forward(x, train=train) + 1.0


class Careless(Dense):
    def backward(self, dy):
        return super().backward(dy)


class Renamed(Dense):
    """Changes nothing that a pair would not see."""

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
        (Renamed(2, 3), LeakyReLU(), True),
        (Dense(2, 3), Tanh(), False),
        (Dense(2, 3), Dense(3, 2), False),
        (LayerNorm(3), LeakyReLU(), False),
        (LeakyReLU(), LeakyReLU(), False),
        (Sequential(Dense(2, 3)), LeakyReLU(), False),
        (Dense(2, 3), Louder(), False),
        (Shifted(2, 3), LeakyReLU(), False),
        (Careless(2, 3), LeakyReLU(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_who_is_a_pair(layer, behind, pair):
    assert pairs.is_pair(layer, behind) is pair


def test_pairs_do_not_overlap_and_leave_nobody_out():
    net = Sequential(LeakyReLU(), Dense(2, 3), ReLU(), LeakyReLU(), BatchNorm(3), LeakyReLU(), Dense(3, 1))
    assert net._paired == [(0, False), (1, True), (3, False), (4, True), (6, False)]
    assert net._alone == [(i, False) for i in range(7)]


def test_they_stay_pairs_in_copies_and_casts():
    net = Sequential(Dense(2, 3), ReLU())
    for other in (net.copy(), net.astype(np.float64)):
        assert other._paired == [(0, True)]


def test_on_numpy_every_layer_runs_by_itself(monkeypatch):
    monkeypatch.setattr(pairs, "forward", None)
    Sequential(Dense(2, 3), ReLU()).forward(np.ones((1, 2), dtype=np.float32))


def test_a_backward_too_many_is_an_error():
    net = Sequential(Dense(2, 3), LeakyReLU()).to("standin")
    dy = net.forward(standin.xp.ones((1, 2), dtype="float32"))
    net.backward(dy)
    with pytest.raises(PassError):
        net.backward(dy)


# ---- wrong ways of doing it ------------------------------------------------------------------------------------------


def forgets_the_slope(layer, behind, x, *, train):
    y = layer.forward(x, train=train)
    return behind._remember(y, y)


def remembers_the_input(layer, behind, x, *, train):
    y = layer.forward(x, train=train, slope=behind.slope)
    return behind._remember(y, -y)


def passes_everything(layer, behind, dy, *, grads, need_dx):
    behind._recall(dy, grads)
    return layer.backward(dy, grads=grads, need_dx=need_dx)


def always_adds(layer, behind, dy, *, grads, need_dx):
    (y,) = behind._recall(dy, grads)
    return layer.backward(dy, grads="add", need_dx=need_dx, y=y, slope=behind.slope)


def slope_of_its_own(layer, behind, dy, *, grads, need_dx):
    (y,) = behind._recall(dy, grads)
    return layer.backward(dy, grads=grads, need_dx=need_dx, y=y, slope=0.21)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("forward", forgets_the_slope),
        ("forward", remembers_the_input),
        ("backward", passes_everything),
        ("backward", always_adds),
        ("backward", slope_of_its_own),
    ],
)
def test_a_wrong_pair_is_caught(monkeypatch, name, wrong):
    rng = np.random.default_rng(0)
    own = {"rng": rng, "dtype": np.float64}
    net = Sequential(
        Dense(3, 16, **own), LeakyReLU(), BatchNorm(16, dtype=np.float64), LeakyReLU(), Dense(16, 1, **own)
    )
    net.grad[...] = 1.0
    compare(net, rng, grads="write")
    monkeypatch.setattr(pairs, name, wrong)
    with pytest.raises(AssertionError):
        compare(net, rng, grads="write")
