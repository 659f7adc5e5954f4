"""What runs in the place of a layer on NumPy: the same numbers as the layer itself, whatever is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import Sequential
from tinygan.backends.cpu import CpuOps, blocks, convolution, layers, threads
from tinygan.errors import ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Flatten, LeakyReLU, ReLU, Tanh
from tinygan.network import Apart
from tinygan.ops import Ops, ops_of
from tinygan.testing.strategies import batch_sizes, geometries, rngs, sizes

F8 = {"dtype": np.float64}
few = st.integers(1, 3)


@pytest.fixture(params=["as it is", "small blocks, 3 cores"], scope="module")
def machine(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "as it is":
            patch.setattr(threads, "workers", lambda: 3)
            patch.setattr(threads, "SMALL", 0)
            patch.setattr(blocks, "BLOCK", 16)
            patch.setattr(blocks, "WIDE", 5)
            patch.setattr(convolution, "PIECE", 200)
            patch.setattr(convolution, "ROWS", 1)
        yield


def asked(runs, layer, x, dy, train):
    """All that a link or a layer answers: y, dx twice, and gradients that were written, added and written with dx."""
    y, cache = runs.apply(x, train)
    answers = [y, runs.input_gradient(cache, dy)]
    for ask in ("store_gradients", "backprop"):
        for add in (False, True):
            for key, grad in layer.grads.items():
                grad[...] = 2.0 + len(key)
            dx = getattr(runs, ask)(cache, dy, add)
            answers += [grad.copy() for grad in layer.grads.values()]
            answers += [] if dx is None else [dx]
    return [*answers, *layer.buffers.values()]


def assert_same(layer, x, rng, *, train=True, batches=1):
    """The fast link against the layer, which is run by the plain operations."""
    for key, p in layer.params.items():
        p[...] += 0.1 * rng.standard_normal(p.shape) if key in ("b", "gamma", "beta") else 0.0
    for key, buffer in layer.buffers.items():
        buffer[...] = rng.uniform(0.5, 2.0, buffer.shape) if key == "running_var" else rng.standard_normal(buffer.shape)
    plain, fast = layer.copy(), layer.copy()
    apart = [Apart(a, batches) if batches > 1 else a for a in (plain, fast)]
    link = layers.faster(apart[1])
    assert isinstance(link, layers.Fast)
    assert link.size == layer.size
    dy = rng.standard_normal((len(x), *layer.output_shape(x.shape[1:])))
    copies = x.copy(), dy.copy()
    given = asked(link, fast, x, dy, train)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("convolve", "convolve_adjoint", "convolve_weights"):
            patch.setattr(CpuOps, name, getattr(Ops, name))
        expected = asked(apart[0], plain, x, dy, train)
    for ours, theirs in zip(given, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * max(1.0, abs(theirs).max()))
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(dy, copies[1])


@pytest.mark.usefixtures("machine")
@given(n=batch_sizes, n_in=sizes, n_out=sizes, bias=st.booleans(), rng=rngs)
def test_dense(n, n_in, n_out, bias, rng):
    assert_same(Dense(n_in, n_out, bias=bias, rng=rng, **F8), rng.standard_normal((n, n_in)), rng)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
@given(data=st.data(), n=few, c_in=few, c_out=few, bias=st.booleans(), rng=rngs)
def test_convolutions(kind, data, n, c_in, c_out, bias, rng):
    shape = data.draw(geometries(transposed=kind is ConvTranspose2D, largest=5))
    layer = kind(c_in, c_out, shape.kernel_size, stride=shape.stride, padding=shape.padding, bias=bias, rng=rng, **F8)
    assert_same(layer, rng.standard_normal((n, *shape.hw, c_in)), rng)


@pytest.mark.usefixtures("machine")
@given(m=st.integers(2, 9), c=sizes, pixels=st.none() | st.tuples(few, few), data=st.data(), rng=rngs)
def test_batch_norm(m, c, pixels, data, rng):
    batches, train = data.draw(few, label="batches"), data.draw(st.booleans(), label="train")
    momentum = data.draw(st.sampled_from([0.9, 0.0, 1.0]), label="momentum")
    x = 2.0 + rng.standard_normal((batches * m, *(pixels or ()), c))
    assert_same(BatchNorm(c, momentum=momentum, eps=1e-3, **F8), x, rng, train=train, batches=batches)


@pytest.mark.usefixtures("machine")
@given(n=batch_sizes, c=sizes, slope=st.sampled_from([None, 0.0, 0.2, 0.99]), rng=rngs)
def test_leaky_relu_and_relu(n, c, slope, rng):
    x = rng.standard_normal((n, c))
    x[rng.random(x.shape) < 0.2] = 0.0  # where the left slope is taken
    assert_same(ReLU() if slope is None else LeakyReLU(slope), x, rng)


def test_a_slope_that_is_set_later_counts():
    layer, x = LeakyReLU(0.2), np.array([[-2.0, 3.0]])
    network = Sequential(layer)
    network.apply(x, True)
    for slope in (0.5, 0.0):
        layer.slope = slope
        y, passed = network.apply(x, True)
        np.testing.assert_array_equal(y, [[-2.0 * slope, 3.0]])
        np.testing.assert_array_equal(network.input_gradient(passed, np.ones((1, 2))), [[slope, 1.0]])


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(0.0)], ids=repr)
def test_relu_of_infinity(layer):
    with np.errstate(all="raise"):
        y, _ = layers.faster(layer).apply(np.array([[np.inf, -np.inf, -0.0, 2.0]]), True)
    np.testing.assert_array_equal(y, [[np.inf, 0.0, 0.0, 2.0]])


def test_one_value_per_channel_is_refused_in_every_batch():
    with pytest.raises(ShapeError, match=r"training batch of shape \(1, 3\) has one value per channel"):
        layers.FastBatchNorm(BatchNorm(3), 2).apply(np.ones((2, 3), dtype=np.float32), True)


def test_only_the_very_classes_have_links():
    """A class derived from one may do anything; it is run as it is."""

    class Own(Dense):
        pass

    class OwnNorm(BatchNorm):
        pass

    given = Own(2, 3), Tanh(), Flatten(), Sequential(Dense(2, 2)), Apart(OwnNorm(2), 2)
    assert all(layers.faster(layer) is layer for layer in given)
    for layer in (Dense(2, 3), Conv2D(1, 1, 1), ConvTranspose2D(1, 1, 1), BatchNorm(2), LeakyReLU(), ReLU()):
        assert layers.faster(layer).layer is layer


def test_a_pass_tells_whose_links_ran():
    """For whoever looks into a pass: the layers in their order, each with its cache."""
    net = Sequential(Dense(2, 3, rng=0), LeakyReLU(), BatchNorm(3), Tanh(), Dense(3, 1, rng=1))
    _, taken = net.apply(np.ones((4, 2), dtype=np.float32), True)
    passed = []
    for link, cache in taken:
        passed += link.of_layers(cache) if isinstance(link, layers.Fast) else [(link, cache)]
    assert [layer for layer, _ in passed] == list(net.layers)


def test_numpy_arrays_are_served_by_the_fast_operations():
    assert type(ops_of(np.ones(1))) is CpuOps
