"""Every layer: gradients over generated cases, the contract, and forward passes against naive computations."""

import counting
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from tinygan import to_numpy
from tinygan.errors import ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, LayerNorm, LeakyReLU, ReLU, Sigmoid, Tanh
from tinygan.testing import check_layer, strategies
from tinygan.testing.strategies import batches, rngs

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


# ---- gradients -----------------------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(case=strategies.dense())
def test_gradients_of_dense(case):
    counting.check_gradients(case.layer, case.x)


@modes
@settings(max_examples=250)
@given(case=strategies.normalizations())
def test_gradients_of_normalizations(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@settings(max_examples=200)
@given(case=strategies.activations())
def test_gradients_of_activations(case):
    counting.check_gradients(case.layer, case.x)


@modes
@settings(max_examples=100)
@given(case=strategies.dropouts())
def test_gradients_of_dropout(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@settings(max_examples=60)
@given(case=strategies.arrangements())
def test_gradients_of_reshape_and_flatten(case):
    counting.check_gradients(case.layer, case.x)


@modes
@settings(max_examples=150)
@given(case=strategies.layers())
def test_gradients_of_every_layer_on_every_backend(device, train, case):
    counting.check_gradients(case.layer.to(device.name), device.put(case.x), train=train, exhaustive=20)


@given(n=st.integers(1, 8), rng=rngs)
@settings(max_examples=10)
def test_gradients_of_large_layers(n, rng):
    counting.check_gradients(Dense(300, 200, rng=rng), rng.standard_normal((n, 300)))
    counting.check_gradients(BatchNorm(300), rng.standard_normal((n + 2, 300)))


# ---- the contract --------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(case=strategies.layers())
def test_every_layer_keeps_the_contract(device, case):
    check_layer(case.layer.to(device.name), device.put(case.x), gradients=False)


@settings(max_examples=100)
@given(case=strategies.layers())
def test_float32_and_every_backend_give_what_float64_gives(device, case):
    x = case.x.astype(np.float32)
    fast, exact = case.layer.copy().astype(np.float32).to(device.name), case.layer.copy()
    y, expected = fast.forward(device.put(x)), exact.forward(x.astype(np.float64))
    dy = np.cos(np.arange(expected.size)).reshape(expected.shape)
    dx, expected_dx = fast.backward(device.put(dy.astype(np.float32))), exact.backward(dy)
    pairs = [(y, expected), (dx, expected_dx), *((fast.grads[key], exact.grads[key]) for key in exact.grads)]
    for given_, wanted in pairs:
        assert given_.dtype == np.float32
        assert np.linalg.norm(to_numpy(given_) - wanted) <= 2e-3 * (1.0 + np.linalg.norm(wanted))


# ---- forward passes ------------------------------------------------------------------------------------------------


@given(case=strategies.dense())
def test_dense_forward_is_a_sum_over_inputs(case):
    W, b = case.layer.params["W"], case.layer.params["b"]
    expected = [[b[o] + sum(row[i] * W[i, o] for i in range(len(row))) for o in range(len(b))] for row in case.x]
    np.testing.assert_allclose(case.layer(case.x), expected, rtol=1e-10, atol=1e-12)


@given(case=strategies.normalizations())
def test_normalizations_forward(case):
    layer, x = case
    if isinstance(layer, BatchNorm):
        reference.check_batch_norm(layer, x)
    else:
        rows = [reference.normalized(row.tolist(), layer.eps) for row in x.reshape(-1, layer.c)]
        expected = np.reshape(rows, x.shape) * layer.params["gamma"] + layer.params["beta"]
        np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)


@given(x=batches())
def test_activations_forward(x):
    np.testing.assert_allclose(LeakyReLU(0.1)(x), [[v if v > 0 else 0.1 * v for v in row] for row in x], rtol=1e-14)
    np.testing.assert_allclose(ReLU()(x), [[v if v > 0 else 0.0 for v in row] for row in x], rtol=1e-14)
    np.testing.assert_allclose(Tanh()(x), 2.0 * expit(2.0 * x) - 1.0, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(Sigmoid()(x), expit(x), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_forward(rate):
    reference.check_dropout(Dropout(rate, rng=3), np.random.default_rng(0).uniform(1.0, 2.0, (50, 80)))


def test_dropout_draws_anew_each_time_and_the_same_on_every_backend(device):
    x, layer = np.ones((20, 20), np.float32), Dropout(0.5, rng=3)
    expected = [layer.copy().forward(x)]
    layer.forward(x)
    expected.append(layer.forward(x))
    assert (expected[0] != expected[1]).any()
    np.testing.assert_array_equal(device.get(Dropout(0.5, rng=3).forward(device.put(x))), expected[0])


@pytest.mark.parametrize("kind", [Sigmoid, Tanh])
def test_activations_far_out_are_finite(device, kind):
    x = device.put(np.array([[-1e4, -100.0, 100.0, 1e4]], np.float32))
    layer = kind()
    y = device.get(layer.forward(x))
    dx = device.get(layer.backward(x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_at_a_kink_the_left_slope_is_taken():
    for layer, slope in ((ReLU(), 0.0), (LeakyReLU(0.2), 0.2)):
        layer.forward(np.zeros((1, 2)))
        np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), np.full((1, 2), slope))


def test_batch_norm_normalises_and_layer_norm_does_for_each_sample():
    x = 5.0 + 3.0 * np.random.default_rng(0).standard_normal((50, 4, 4, 6))
    y = BatchNorm(6, dtype=np.float64).forward(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1.0, atol=1e-5)
    y = LayerNorm(6, dtype=np.float64).forward(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0.0, atol=1e-12)


@pytest.mark.parametrize("parts", [1, 2, 3])
@given(m=st.integers(2, 5), c=st.integers(1, 4), rng=rngs)
def test_parts_of_a_batch_are_batches(parts, m, c, rng):
    """Normalised in one pass, or one after the other: the same outputs, gradients and running statistics."""
    together, apart = (BatchNorm(c, dtype=np.float64) for _ in range(2))
    for layer in (together, apart):
        layer.params["gamma"][...], layer.params["beta"][...] = np.arange(1, c + 1), np.arange(c)
    x, dy = rng.standard_normal((2, parts * m, c))
    together.parts = parts
    y = together.forward(x)
    together.parts = 1  # backward knows what forward did
    dx = together.backward(dy)
    for i in range(0, parts * m, m):
        np.testing.assert_allclose(y[i : i + m], apart.forward(x[i : i + m]), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(dx[i : i + m], apart.backward(dy[i : i + m]), rtol=1e-7, atol=1e-7)
    for kind in ("grads", "buffers"):
        for key, value in getattr(together, kind).items():
            np.testing.assert_allclose(value, getattr(apart, kind)[key], rtol=1e-8, atol=1e-8)


@settings(max_examples=30)
@given(m=st.integers(3, 5), c=st.integers(1, 3), rng=rngs)
def test_gradients_of_parts(m, c, rng):
    layer = BatchNorm(c, dtype=np.float64)
    layer.parts = 2
    counting.check_gradients(layer, rng.standard_normal((2 * m, c)))


@pytest.mark.parametrize(("n", "parts"), [(5, 2), (2, 2), (4, 3)])
def test_a_batch_that_has_no_such_parts_is_refused(n, parts):
    layer = BatchNorm(3)
    layer.parts = parts
    with pytest.raises(ShapeError, match=f"BatchNorm.*cannot be split into {parts} equal parts"):
        layer.forward(np.ones((n, 3), dtype=np.float32))


def test_running_statistics_reach_those_of_the_data():
    rng, layer = np.random.default_rng(0), BatchNorm(2, momentum=0.9, dtype=np.float64)
    for _ in range(300):
        layer.forward(np.array([3.0, -1.0]) + np.array([2.0, 0.5]) * rng.standard_normal((64, 2)))
        layer.forget()
    np.testing.assert_allclose(layer.running_mean, [3.0, -1.0], atol=0.2)
    np.testing.assert_allclose(layer.running_var, [4.0, 0.25], rtol=0.15)
