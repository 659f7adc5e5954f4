"""What SpectralNorm, MinibatchStdDev and Pack should compute, in loops and with SciPy's singular values."""

import numpy as np
from scipy.linalg import svdvals

from support import reference
from tinygan.layers import Conv2D, ConvTranspose2D, Dense, SpectralNorm
from tinygan.network import Apart


def with_singular_values(layer, values, rng):
    """``layer`` with a W of these singular values, so that one knows how fast a power iteration converges."""
    W = layer.params["W"]
    rows, columns = W.size // W.shape[-1], W.shape[-1]
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (rows, columns))
    k = min(rows, columns)
    W[...] = ((left[:, :k] * np.asarray(values)[:k]) @ right[:k]).reshape(W.shape)
    return layer


def spectral(inner, values=(3.0, 1.0, 0.8, 0.5, *[0.3] * 90), seed=0):
    """A SpectralNorm of ``inner`` with well separated singular values and a random u, far from converged."""
    rng = np.random.default_rng(seed)
    layer = SpectralNorm(with_singular_values(inner, values, rng))
    layer.buffers["u"][...] = rng.standard_normal(layer.buffers["u"].shape)
    return layer


def check_spectral_norm(layer, x, *, passes=60):
    """After some training passes, y is that of W divided by the largest singular value of the matrix (patch, pixel)."""
    layer, inner = layer.copy(), layer._inner
    for _ in range(passes):
        layer.forward(x)
        layer.forget()
    W, b = layer.params["W"], layer.params.get("b")
    W_hat = W / svdvals(W.reshape(-1, W.shape[-1]))[0]
    b = np.zeros(inner.n_out if isinstance(inner, Dense) else inner.c_out) if b is None else b
    if isinstance(inner, Dense):
        expected = np.array([[sum(x[n] * W_hat[:, o]) + b[o] for o in range(len(b))] for n in range(len(x))])
    else:
        loop = {Conv2D: reference.convolution, ConvTranspose2D: reference.transposed_convolution}[type(inner)]
        expected = loop(x, W_hat, b, inner.stride, inner.padding)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-9, atol=1e-9)


def check_minibatch_std(layer, x, *, batches=1, apart=Apart):
    """The last channel is the mean over features of their standard deviation over the batch; the rest is x.

    Of several ``batches`` of x, batches that are joined, each is ``apart``.
    """
    layer = layer.copy()
    for train in (True, False):
        y, _ = (layer if batches == 1 else apart(layer, batches)).apply(x, train)
        np.testing.assert_array_equal(y[..., :-1], x)
        n = len(x) // batches
        for start in range(0, len(x), n):
            part, stds = x[start : start + n], []
            for index in np.ndindex(x.shape[1:]):
                values = [sample[index] for sample in part]
                mean = sum(values) / n
                stds.append((sum((v - mean) ** 2 for v in values) / n + layer.eps) ** 0.5)
            np.testing.assert_allclose(y[start : start + n, ..., -1], sum(stds) / len(stds), rtol=1e-12)


def check_pack(layer, x):
    """Samples n·m, ..., n·m + m − 1 lie in the channels of y[n], pixel by pixel."""
    y = layer(x)
    assert y.shape == (len(x) // layer.m, *x.shape[1:-1], layer.m * x.shape[-1])
    for n in range(len(y)):
        for pixel in np.ndindex(x.shape[1:-1]):
            joined = [x[(n * layer.m + k, *pixel)] for k in range(layer.m)]
            np.testing.assert_array_equal(y[(n, *pixel)], np.concatenate(joined))
