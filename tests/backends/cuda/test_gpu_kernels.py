"""The kernels for the GPU, run by the emulator of ``emulator.py``: the numbers of NumPy, over every geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import gpu_checks
from support.emulator import emulated, needs_compiler
from support.gpu_checks import at_once, close, convolutions, in_steps, plain

from tinygan import Sequential, losses
from tinygan.backends.cuda import batchnorm, kernels
from tinygan.backends.cuda import launch as cuda
from tinygan.backends.cuda.losses import fused
from tinygan.data import ImageData
from tinygan.errors import ArgumentError, DTypeError, ShapeError
from tinygan.layers import BatchNorm, LeakyReLU, Sigmoid, Tanh
from tinygan.ops import Window
from tinygan.testing.strategies import rngs

pytestmark = needs_compiler

CHANNELS = st.sampled_from([1, 2, 3, 4, 8, 70])
SLOPES = st.sampled_from([0.0, 0.2, 1.0])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small arrays are split as large ones are: into several blocks, pieces and stages."""
    monkeypatch.setattr(kernels, "PIECE", 400)
    monkeypatch.setattr(cuda, "ROWS", 2)
    monkeypatch.setattr(cuda, "THREADS", 32)  # of which common.cuh leaves room for more


# ---- convolution -----------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(case=convolutions(CHANNELS))
def test_convolutions_equal_the_plain_ones(case):
    with emulated():
        gpu_checks.same_convolutions(*case)


@settings(max_examples=30)
@given(case=convolutions(CHANNELS))
def test_columns_are_those_of_plain(case):
    x, _, _, window = case
    columns = plain.gather_columns(x, window)
    with emulated():
        np.testing.assert_array_equal(kernels.gather_columns(x, window), columns)
        np.testing.assert_array_equal(kernels.gather_columns(x[::-1], window), plain.gather_columns(x[::-1], window))
        close(kernels.scatter_columns(columns, x.shape, window), plain.scatter_columns(columns, x.shape, window))


@settings(max_examples=30)
@given(case=convolutions(CHANNELS), slope=SLOPES)
def test_leaky_relu_is_fused_into_a_convolution_and_its_adjoint(case, slope):
    x, W, y, window = case
    a, b = np.arange(1.0, 1 + W.shape[2]), np.arange(1.0, 1 + W.shape[3])
    with emulated():
        straight = plain.convolve(x, W, window, b)
        close(kernels.convolve(x, W, window, b, slope), np.maximum(straight, slope * straight))
        straight = plain.convolve_adjoint(y, W, x.shape[1:3], window, a)
        close(kernels.convolve_adjoint(y, W, x.shape[1:3], window, a, slope), np.maximum(straight, slope * straight))


@settings(max_examples=20)
@given(case=convolutions(CHANNELS), add=st.booleans())
def test_weight_gradients_go_where_they_belong(case, add):
    x, W, y, window = case
    out = W.copy()
    with emulated():
        assert kernels.convolve_weights(x, y, window, out, add=add) is out
    close(out, plain.convolve_weights(x, y, window) + (W if add else 0.0))


def test_a_kernel_of_one_pixel_needs_no_columns():
    x, W = np.ones((2, 3, 3, 4)), np.ones((1, 1, 4, 5))
    with emulated() as launched:
        kernels.convolve(x, W, Window((1, 1), (1, 1), (0, 0, 0, 0), (3, 3)))
    assert not launched


# ---- rows and numbers ------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(m=st.integers(1, 200), c=CHANNELS, slope=SLOPES, add=st.booleans(), rng=rngs)
def test_bias_and_leaky_relu(m, c, slope, add, rng):
    y, dy, b = rng.standard_normal((m, c)), rng.standard_normal((m, c)), rng.standard_normal(c)
    z, db = y + b, b.copy()
    with emulated():
        actual = kernels.bias_leaky(y.copy(), b, slope)
        d = kernels.bias_leaky_backward(dy, actual if slope else z, slope, db, add=add)
        without = kernels.bias_leaky(y.copy(), None, slope)
    close(actual, np.maximum(z, slope * z))
    close(without, np.maximum(y, slope * y))
    close(d, dy * np.where(z > 0, 1.0, slope))
    close(db, d.sum(axis=0) + (b if add else 0.0))


@settings(max_examples=50)
@given(m=st.integers(1, 3000), c=CHANNELS, matrices=st.sampled_from([(), (1,), (3,)]), add=st.booleans(), rng=rngs)
def test_sums_of_rows(m, c, matrices, add, rng):
    a = rng.standard_normal((*matrices, min(m, 20_000 // c), c))
    out = rng.standard_normal((*matrices, c))
    expected = a.sum(axis=-2)
    with emulated():
        close(kernels.sum_rows(a), expected)
        close(kernels.sum_rows(a, out.copy(), add=add), expected + (out if add else 0.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 33, 64, 1000])
def test_activations_number_by_number(n, dtype):
    rng = np.random.default_rng(n)
    x, dy = (10 * rng.standard_normal((2, n))).astype(dtype)
    x[: min(n, 4)] = [1000.0, -1000.0, np.nan, 0.0][: min(n, 4)]
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    with emulated(), np.errstate(over="ignore"):
        for layer, forward, backward in (
            (LeakyReLU(), lambda x: kernels.leaky_relu(x, 0.2), lambda y, dy: kernels.leaky_relu_backward(y, dy, 0.2)),
            (Sigmoid(), kernels.sigmoid, kernels.sigmoid_backward),
            (Tanh(), np.tanh, kernels.tanh_backward),
        ):
            y = layer.forward(x[None])[0]
            np.testing.assert_allclose(forward(x), y, rtol=rtol)
            np.testing.assert_allclose(backward(y, dy), layer.backward(dy[None])[0], rtol=10 * rtol, atol=rtol)


# ---- batch normalisation ---------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    batches=st.integers(1, 3),
    m=st.integers(2, 200),
    c=CHANNELS,
    slope=SLOPES,
    train=st.booleans(),
    rows=st.sampled_from([2, 1000]),
    add=st.booleans(),
    rng=rngs,
)
def test_batch_normalisation(batches, m, c, slope, train, rows, add, rng):
    """In steps, and at once."""
    with pytest.MonkeyPatch.context() as patch, emulated():
        patch.setattr(cuda, "ROWS", rows)
        ways = (in_steps, at_once) if train else (in_steps,)
        gpu_checks.normalised(batches, m, c, slope, train, add, rng, ways)


@pytest.mark.parametrize(
    ("m", "forward", "backward"),
    [
        (10, ["forward_at_once"], ["backward_at_once"]),
        (10_000, ["moments", "moments", "normalise"], ["backward_sums", "sum_rows", "store_grads", "backward"]),
    ],
)
def test_few_rows_take_one_launch_each_way(monkeypatch, m, forward, backward):
    monkeypatch.setattr(cuda, "ROWS", 16)
    monkeypatch.setattr(cuda, "THREADS", 256)
    net, x = Sequential(BatchNorm(4, dtype=np.float64)), np.random.default_rng(0).standard_normal((m, 4))
    with emulated(layers=True) as launched:
        net.forward(x)
        assert [name.partition(".")[2] for name in launched] == forward
        launched.clear()
        net.backward(x)
        assert [name.partition(".")[2] for name in launched] == backward


@pytest.mark.parametrize("m", [5, 20_000])
def test_moments_far_from_zero_keep_their_digits(m):
    """The mean is a thousand times the standard deviation: in float32, a sum of squares would lose all of it."""
    x = (1000 + np.random.default_rng(0).standard_normal((m, 4))).astype(np.float32)
    with emulated():
        mean, squares = batchnorm.moments(x, 1)
    np.testing.assert_allclose(mean[0], x.mean(axis=0, dtype=np.float64), rtol=3e-7)
    np.testing.assert_allclose(squares[0] / m, x.var(axis=0, dtype=np.float64), rtol=2e-4)


# ---- losses, optimiser, data -----------------------------------------------------------------------------------------

LOSSES = [losses.Minimax(real_label=0.9), losses.NonSaturating(), losses.LeastSquares(real_label=0.8)]
LOSSES += [losses.Wasserstein(), losses.Hinge()]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize(("real", "fake"), [(1, 1), (7, 300), (300, 40)])
def test_losses_and_their_gradients(monkeypatch, loss, real, fake):
    monkeypatch.setattr(cuda, "THREADS", 256)
    rng = np.random.default_rng(real)
    r, f = 3 * rng.standard_normal((real, 1)), 3 * rng.standard_normal((fake, 1))
    r[0], f[0] = 2000.0, -2000.0
    with emulated():
        gpu_checks.same_losses(loss, r, f, f)


@pytest.mark.parametrize("n", [1, 300])
def test_the_loss_of_pairs(monkeypatch, n):
    monkeypatch.setattr(cuda, "THREADS", 256)
    r, f = 3 * np.random.default_rng(n).standard_normal((2, n, 1))
    with emulated():
        gpu_checks.same_losses(losses.Relativistic(), r, f, f)


def test_losses_of_exactly_these_classes_are_one_launch_and_refuse_what_the_books_refuse():
    loss = type("Own", (losses.Hinge,), {})()
    assert fused(loss) is loss
    r = np.ones((3, 1))
    for loss in (*LOSSES, losses.Relativistic()):
        with pytest.raises(DTypeError, match=type(loss).__name__):
            fused(loss).discriminator(r, r.astype(np.float32))
    pairs = fused(losses.Relativistic())
    with pytest.raises(ShapeError, match="equally many"):
        pairs.discriminator(r, r[:2])
    with pytest.raises(ShapeError, match="equally many"):
        pairs.generator(r, r[:2])
    with pytest.raises(ArgumentError, match="real_logits"):
        pairs.generator(r)


@pytest.mark.parametrize("beta1", [0.0, 0.5])
@pytest.mark.parametrize("n", [2, 66, 4096])
def test_adam(n, beta1):
    with emulated():
        gpu_checks.adam(n, beta1)


@pytest.mark.parametrize("n", [2, 66, 4096])
def test_moving_average(n):
    with emulated():
        gpu_checks.moving_average(n)


@settings(max_examples=30)
@given(
    n=st.integers(1, 9),
    hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    c=st.integers(1, 4),
    mirrored=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    bounds=st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-0.3, 2.0)]),
    rng=rngs,
)
def test_a_minibatch_has_the_bytes_of_the_hosts(n, hw, c, mirrored, dtype, bounds, rng):
    data = ImageData(rng.integers(0, 256, (n, *hw, c), dtype=np.uint8), mirrored=mirrored)
    indices = rng.integers(0, len(data), 5)
    low, high = bounds
    with emulated():
        batch = kernels.minibatch(data.images, indices, low, high, dtype)
    np.testing.assert_array_equal(batch, data.batch(indices, low=low, high=high, dtype=dtype))
    assert batch.dtype == dtype
