"""What the kernels for a GPU must give, each part in one function: for the right sources, and for those with mistakes.

Call them within ``with emulated():`` (:mod:`support.emulator`). What is right is said by the plain lines of
:class:`tinygan.backends.cuda.fused.FusedOps` and by the layers of the book.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinygan.backends.cuda import batchnorm, kernels
from tinygan.backends.cuda import losses as fused_losses
from tinygan.backends.cuda.fused import FusedOps
from tinygan.layers import BatchNorm, LeakyReLU
from tinygan.network import Apart, Sequential
from tinygan.ops import Window
from tinygan.optim import Adam, ExponentialMovingAverage
from tinygan.testing.strategies import rngs

plain = FusedOps()
KERNEL_AND_STRIDE = st.tuples(st.integers(1, 7), st.integers(1, 4))


@st.composite
def convolutions(draw, channels):
    """Images, weights, small images and the window that ties them: kernel 1 to 7, stride 1 to 4, any padding."""
    n, a, b = draw(st.integers(1, 5), label="n"), draw(channels, label="channels"), draw(st.integers(1, 4))
    kernel, stride = zip(draw(KERNEL_AND_STRIDE), draw(KERNEL_AND_STRIDE), strict=True)
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    sides = list(zip(kernel, stride, (pads[:2], pads[2:]), strict=True))
    hw = tuple(draw(st.integers(max(1, k - sum(zeros)), 9)) for k, _, zeros in sides)
    grid = tuple((size + sum(zeros) - k) // s + 1 for size, (k, s, zeros) in zip(hw, sides, strict=True))
    rng = draw(rngs)
    x, W, y = (rng.standard_normal(shape) for shape in ((n, *hw, a), (*kernel, a, b), (n, *grid, b)))
    return x, W, y, Window(kernel, stride, pads, grid)


def close(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, abs(np.asarray(expected)).max()))
    assert np.asarray(actual).dtype == np.asarray(expected).dtype


def same_convolutions(x, W, y, window):
    """The three products and their sums with a bias, relative to the largest number."""
    hw, (a, b) = x.shape[1:3], W.shape[2:]
    for one in (
        lambda ops: ops.convolve(x, W, window),
        lambda ops: ops.convolve(x, W, window, np.arange(1.0, 1 + b, dtype=x.dtype)),
        lambda ops: ops.convolve_weights(x, y, window),
        lambda ops: ops.convolve_adjoint(y, W, hw, window),
        lambda ops: ops.convolve_adjoint(y, W, hw, window, np.arange(1.0, 1 + a, dtype=x.dtype)),
    ):
        close(one(kernels), one(plain))


def normalised(batches, m, c, slope, train, add, rng, ways):
    """Forward, running statistics and backward, with leaky ReLU behind, against the layers; in each of some ways."""
    x, dy = rng.standard_normal((2, batches * m, c)) + 3.0
    layer, leaky = BatchNorm(c, dtype=np.float64), LeakyReLU(slope if slope < 1 else 0.0)
    for key in ("gamma", "beta"):
        layer.params[key][...] = rng.standard_normal(c)
        layer.grads[key][...] = rng.standard_normal(c)
    start, apart = layer.copy(), Apart(layer, batches)
    expected, cache = apart.apply(x, train)
    d = dy
    if slope < 1:
        expected, y = leaky.apply(expected, train)
        d = leaky.input_gradient(y, dy)
    dx = apart.backprop(cache, d, add)
    for way in ways:
        copy = start.copy()
        close(way(copy, batches, x, dy, slope, train, add), np.stack([expected, dx]), 1e-9)
        for key, grad in {**copy.grads, **copy.buffers}.items():
            close(grad, {**layer.grads, **layer.buffers}[key], 1e-9)


def in_steps(layer, batches, x, dy, slope, train, add):
    """y and dx by the kernels that do one thing each."""
    scale_shift, m = (layer.params["gamma"], layer.params["beta"]), len(x) // batches
    if train:
        mean, squares = batchnorm.moments(x, batches)
        running = layer.running_mean, layer.running_var
        options = {"count": m, "eps": layer.eps, "running": running, "momentum": layer.momentum}
    else:
        mean, squares = (np.repeat(a[None], batches, axis=0) for a in (layer.running_mean, layer.running_var))
        options = {"count": 1.0, "eps": layer.eps}
    y, inv_std = batchnorm.normalise(x, mean, squares, *scale_shift, slope=slope, **options)
    sums = batchnorm.backward_sums(x, dy, mean, inv_std, *scale_shift, slope=slope)
    batchnorm.store_grads(sums, inv_std, layer.grads["gamma"], layer.grads["beta"], add=add)
    return np.stack(
        [y, batchnorm.backward(x, dy, mean, inv_std, *scale_shift, sums if train else None, m, slope=slope)]
    )


def at_once(layer, batches, x, dy, slope, train, add):
    """y and dx by the two functions that a layer in training calls."""
    scale_shift, running = (layer.params["gamma"], layer.params["beta"]), (layer.running_mean, layer.running_var)
    options = {"eps": layer.eps, "running": running, "momentum": layer.momentum}
    y, mean, inv_std = batchnorm.normalise_batches(x, batches, *scale_shift, slope=slope, **options)
    saved, m = (x, dy, mean, inv_std, *scale_shift), len(x) // batches
    dx = batchnorm.normalise_backward(*saved, m, slope=slope)
    store = layer.grads["gamma"], layer.grads["beta"], add
    again = batchnorm.normalise_backward(*saved, m, store=store, slope=slope)
    np.testing.assert_array_equal(again, dx)
    return np.stack([y, dx])


def network(n, rng):
    """A network with n parameters."""
    layer = BatchNorm(n // 2, dtype=np.float64)
    layer.params["gamma"][...], layer.params["beta"][...] = rng.standard_normal((2, n // 2))
    return Sequential(layer)


def adam(n, beta1):
    """Three steps, beside those of the book, which are given by ``update`` alone."""
    rng = np.random.default_rng(n)
    net = network(n, rng)
    optimizer = Adam(net, 0.01, beta1=beta1)
    theta, M, V = net.theta.copy(), np.zeros(n), np.zeros(n)
    for t in range(3):
        net.grad[...] = rng.standard_normal(n)
        optimizer.update(optimizer.numbers(t), net.theta, net.grad, optimizer.M, optimizer.V)
        numbers = (np.array(number) for number in optimizer.numbers(t))
        kernels.adam(theta, net.grad, M, V, *numbers, beta1, optimizer.beta2)
    for array, expected in ((theta, net.theta), (V, optimizer.V), (M, optimizer.M if beta1 else np.zeros(n))):
        close(array, expected)  # with a beta1 of 0, M is g, and nobody needs it kept


def moving_average(n):
    rng = np.random.default_rng(n)
    net = network(n, rng)
    average = ExponentialMovingAverage(net, 0.9)
    mean = average.network.theta.copy()
    net.theta[...] = rng.standard_normal(n)
    average.update()
    kernels.average(mean, net.theta, np.array(1.0 - min(0.9, 1 / 10)))
    close(mean, average.network.theta)


def same_losses(loss, r, f, f_of_g):
    """L_D, L_G and their gradients, against the book's; D sees r and f, G the logits ``f_of_g``."""
    fused = fused_losses.fused(loss)
    assert fused is not loss
    real = r if loss.compares else None
    actual = *fused.discriminator(r, f), *fused.generator(f_of_g, real)
    for one, other in zip(actual, (*loss.discriminator(r, f), *loss.generator(f_of_g, real)), strict=True):
        assert one.shape == np.shape(other)
        close(one, other)
