"""BatchNorm: the channels of a batch, normalised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting, reference
from support.linked import as_run, modes, ways

from tinygan import Sequential
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import BatchNorm
from tinygan.testing import check_layer
from tinygan.testing.strategies import batch_norms, enliven, rngs

# ---- gradients -------------------------------------------------------------------------------------------------------


@ways
@modes
@settings(max_examples=75)
@given(case=batch_norms())
def test_gradients(train, linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x, train=train)


@ways
@settings(max_examples=10)
@given(rng=rngs)
def test_gradients_of_many_channels(linked, rng):
    counting.count_and_check(as_run(BatchNorm(300), linked), rng.standard_normal((5, 300)))


class OfTwoBatches(Sequential):
    """A network that takes its input for two batches in a row, as a GAN's discriminator is shown real and fake."""

    def apply(self, x, train):
        return super().apply(x, train, batches=2)


@modes
@settings(max_examples=20)
@given(m=st.integers(3, 5), c=st.integers(1, 3), rng=rngs)
def test_gradients_of_batches_that_pass_joined(device, train, m, c, rng):
    layer = enliven(BatchNorm(c, dtype=np.float64), rng)
    x = device.put(rng.standard_normal((2 * m, c)))
    counting.count_and_check(OfTwoBatches(layer).to(device.name), x, train=train, exhaustive=12)


# ---- forward ---------------------------------------------------------------------------------------------------------


@given(case=batch_norms())
def test_forward_and_running_statistics(case):
    reference.check_batch_norm(case.layer, case.x)


def test_it_normalises_what_it_says():
    x = 5.0 + 3.0 * np.random.default_rng(0).standard_normal((50, 4, 4, 6))
    y = BatchNorm(6, dtype=np.float64).forward(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1.0, atol=1e-5)


@pytest.mark.parametrize("batches", [1, 2, 3])
@settings(max_examples=50)
@given(m=st.integers(2, 5), c=st.integers(1, 4), rng=rngs)
def test_batches_that_pass_joined_are_batches(device, batches, m, c, rng):
    """Normalised in one pass, or one after the other: the same outputs, gradients and running statistics."""
    alone = BatchNorm(c, dtype=np.float64)
    alone.params["gamma"][...], alone.params["beta"][...] = np.arange(1, c + 1), np.arange(c)
    network = Sequential(alone.copy()).to(device.name)
    x, dy = rng.standard_normal((2, batches * m, c))
    y, passed = network.apply(device.put(x), True, batches=batches)
    dx = network.backprop(passed, device.put(dy))
    again = network.input_gradient(passed, device.put(dy))
    for i in range(0, batches * m, m):
        rows = slice(i, i + m)
        np.testing.assert_allclose(device.get(y)[rows], alone.forward(x[rows]), rtol=1e-10, atol=1e-10)
        expected = alone.backward(dy[rows])
        for actual in (dx, again):
            np.testing.assert_allclose(device.get(actual)[rows], expected, rtol=1e-7, atol=1e-7)
    for kind in ("grads", "buffers"):
        for key, value in getattr(alone, kind).items():
            joined = device.get(getattr(network, kind)[f"0.{key}"])
            np.testing.assert_allclose(joined, value, rtol=1e-8, atol=1e-8)
    network.grad[...] = 3.0
    network.store_gradients(passed, device.put(dy), add=False)
    for key, value in alone.grads.items():
        np.testing.assert_allclose(device.get(network.grads[f"0.{key}"]), value, rtol=1e-8, atol=1e-8)


def test_running_statistics_reach_those_of_the_data():
    rng, layer = np.random.default_rng(0), BatchNorm(2, momentum=0.9, dtype=np.float64)
    for _ in range(300):
        layer.apply(np.array([3.0, -1.0]) + np.array([2.0, 0.5]) * rng.standard_normal((64, 2)), True)
    np.testing.assert_allclose(layer.running_mean, [3.0, -1.0], atol=0.2)
    np.testing.assert_allclose(layer.running_var, [4.0, 0.25], rtol=0.15)


# ---- contract --------------------------------------------------------------------------------------------------------


@ways
@settings(max_examples=8)
@given(case=batch_norms())
def test_contract(linked, case):
    check_layer(as_run(case.layer, linked), case.x, gradients=False)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "batches", "says"),
    [(5, 2, "5 samples are not 2 batches"), (2, 2, "one value per channel"), (4, 3, "4 samples are not 3 batches")],
)
def test_joined_batches_that_are_none_are_refused(device, n, batches, says):
    network = Sequential(BatchNorm(3)).to(device.name)
    with pytest.raises(ShapeError, match=f"BatchNorm.*{says}"):
        network.apply(device.put(np.ones((n, 3), np.float32)), True, batches=batches)


def test_refusals():
    with pytest.raises(ShapeError, match="one value per channel, and so no variance"):
        BatchNorm(3).forward(np.ones((1, 3), np.float32))
    with pytest.raises(ShapeError, match=r"expected input \(N, ..., 3\), got \(N, 4\)"):
        BatchNorm(3).forward(np.ones((2, 4), np.float32))
    with pytest.raises(ArgumentError, match="eps must be positive"):
        BatchNorm(3, eps=0.0)
    with pytest.raises(ArgumentError, match="momentum"):
        BatchNorm(3, momentum=1.1)
