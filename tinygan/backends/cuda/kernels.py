"""What the GPU computes with kernels of its own: named and meant as in ``fused``, few launches, few passes over memory.

Nothing here waits for the device. Results do not change from run to run, and not with the device: how sums are split is
a matter of the sizes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...ops import Array, Window, get_xp
from . import launch as cuda
from .cublas import matmul

PIECE = 1 << 26  # numbers in a piece of columns: products of fewer rows would not keep all of a large GPU busy


# ---- convolution: columns and a product ------------------------------------------------------------------------------


def convolve(x: Array, W: Array, window: Window, b: Array | None = None, slope: float = 1.0) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.convolve`."""
    flat_W = W.reshape(-1, W.shape[3])
    y = get_xp(x).empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)
    for i, j, columns in _columns_in_pieces(x, window):
        matmul(columns, flat_W, out=y[i:j].reshape(-1, W.shape[3]))
    return bias_leaky(y, b, slope)


def convolve_adjoint(
    y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None, slope: float = 1.0
) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.convolve_adjoint`."""
    xp, a, places = get_xp(y), W.shape[2], window.grid[0] * window.grid[1]
    flat_WT = W.reshape(-1, W.shape[3]).T
    x = xp.empty((len(y), *hw, a), dtype=y.dtype)
    memory = None
    for i, j in _pieces(len(y), window, a):
        memory = xp.empty(((j - i) * places, flat_WT.shape[1]), dtype=y.dtype) if memory is None else memory
        columns = memory[: (j - i) * places]
        matmul(y[i:j].reshape(-1, W.shape[3]), flat_WT, out=columns)
        _collect(columns, x[i:j], window, b, slope)
    return x


def convolve_weights(x: Array, y: Array, window: Window, out: Array | None = None, *, add: bool = False) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.convolve_weights`."""
    shape = (*window.kernel, x.shape[3], y.shape[3])
    dW = get_xp(x).empty(shape, dtype=x.dtype) if out is None else out
    for i, j, columns in _columns_in_pieces(x, window):
        matmul(columns.T, y[i:j].reshape(-1, y.shape[3]), out=dW.reshape(-1, y.shape[3]), add=add or i > 0)
    return dW


def gather_columns(x: Array, window: Window, out: Array | None = None) -> Array:
    """As :meth:`tinygan.ops.Ops.gather_columns`."""
    x = get_xp(x).ascontiguousarray(x)
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (top, _, left, _), (ho, wo) = window
    columns = get_xp(x).empty((n * ho * wo, kh * kw * c), dtype=x.dtype) if out is None else out
    lanes = cuda.lanes_of((c,), (columns, x))
    c //= lanes
    grid, block = cuda.along(n * ho * wo, kw * c)
    sizes = (n * ho * wo, h, w * c, c, kh, kw * c, sh, sw, top, left, ho, wo)
    cuda.launch("columns.gather", grid[:1], block, (x, columns, *sizes), x.dtype, lanes)
    return columns


def scatter_columns(columns: Array, image_shape: tuple[int, int, int, int], window: Window) -> Array:
    """As :meth:`tinygan.ops.Ops.scatter_columns`."""
    return _collect(columns, get_xp(columns).empty(image_shape, dtype=columns.dtype), window, None, 1.0)


def _collect(columns: Array, x: Array, window: Window, b: Array | None, slope: float) -> Array:
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (top, _, left, _), (ho, wo) = window
    lanes = cuda.lanes_of((c,), (x, columns, b))
    c //= lanes
    grid, block = cuda.along(n * h, w * c)
    sizes = (n * h, h, w * c, c, kh, kw, sh, sw, top, left, ho, wo, slope)
    cuda.launch("columns.scatter", grid, block, (columns, b, x, *sizes), x.dtype, lanes)
    return x


def _columns_in_pieces(x: Array, window: Window) -> Iterator[tuple[int, int, Array]]:
    """The columns of images i to j, in memory that is used again for the next."""
    n, h, w, c = x.shape
    (kh, kw), (ho, wo) = window.kernel, window.grid
    if window == Window((1, 1), (1, 1), (0, 0, 0, 0), (h, w)):  # an image is what its columns would be
        yield 0, n, x.reshape(-1, c)
        return
    memory = None
    for i, j in _pieces(n, window, c):
        rows = (j - i) * ho * wo
        memory = get_xp(x).empty((rows, kh * kw * c), dtype=x.dtype) if memory is None else memory
        yield i, j, gather_columns(x[i:j], window, out=memory[:rows])


def _pieces(n: int, window: Window, channels: int) -> Iterator[tuple[int, int]]:
    """Images i to j whose columns are PIECE numbers together, or one image with more."""
    (kh, kw), (ho, wo) = window.kernel, window.grid
    step = max(1, min(n, PIECE // (ho * wo * kh * kw * channels)))
    return ((i, min(i + step, n)) for i in range(0, n, step))


# ---- rows of channels ------------------------------------------------------------------------------------------------


def bias_leaky(y: Array, b: Array | None, slope: float = 1.0) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.bias_leaky`."""
    if b is None:
        return y if slope == 1.0 else leaky_relu(y, slope, out=y)
    c = len(b)
    lanes = cuda.lanes_of((c,), (y, b))
    grid, block, height = cuda.down(y.size // c, c // lanes)
    cuda.launch("rows.bias_leaky", grid, block, (y, b, y.size // c, c // lanes, height, slope), y.dtype, lanes)
    return y


def bias_leaky_backward(dy: Array, y: Array, slope: float, db: Array | None = None, *, add: bool = False) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.bias_leaky_backward`."""
    if db is None:
        return dy if slope == 1.0 else leaky_relu_backward(y, dy, slope)
    if slope == 1.0:
        sum_rows(dy.reshape(-1, len(db)), db, add=add)
        return dy
    xp, m, c = get_xp(dy), dy.size // len(db), len(db)
    dy = xp.ascontiguousarray(dy)
    d = xp.empty_like(dy)
    lanes = cuda.lanes_of((c,), (dy, y, d))
    grid, block, height = cuda.down(m, c // lanes)
    direct = grid[0] == 1 and not add and (lanes == 1 or cuda.address(db) % cuda.BYTES == 0)
    sums = db if direct else xp.empty((grid[0], c), dtype=dy.dtype)
    args = (dy, y, d, sums, m, c // lanes, height, slope)
    cuda.launch("rows.bias_leaky_backward", grid, block, args, dy.dtype, lanes)
    if not direct:
        sum_rows(sums, db, add=add)
    return d


def sum_rows(a: Array, out: Array | None = None, *, add: bool = False) -> Array:
    """The sum of a (M, C) over its rows, (C,), or of each of the matrices a (K, M, C); to ``out``, or added to it."""
    xp, m, c = get_xp(a), a.shape[-2], a.shape[-1]
    a = xp.ascontiguousarray(a)
    out = xp.empty((*a.shape[:-2], c), dtype=a.dtype) if out is None else out
    lanes = cuda.lanes_of((c,), (a, out))
    matrices = a.size // (m * c)
    grid, block, height = cuda.down(m, c // lanes, matrices)
    if grid[0] == 1:
        cuda.launch("rows.sum_rows", grid, block, (a, out, m, c // lanes, height, int(add)), a.dtype, lanes)
        return out
    sums = xp.empty((*a.shape[:-2], grid[0], c), dtype=a.dtype)
    cuda.launch("rows.sum_rows", grid, block, (a, sums, m, c // lanes, height, 0), a.dtype, lanes)
    return sum_rows(sums, out, add=add)


# ---- number by number ------------------------------------------------------------------------------------------------


def leaky_relu(x: Array, slope: float, out: Array | None = None) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.leaky_relu`."""
    return _each("leaky_relu", (x,), (slope,), out)


def leaky_relu_backward(y: Array, dy: Array, slope: float) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.leaky_relu_backward`."""
    return _each("leaky_relu_backward", (y, dy), (slope,))


def tanh_backward(y: Array, dy: Array) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.tanh_backward`."""
    return _each("tanh_backward", (y, dy))


def sigmoid(x: Array) -> Array:
    """As :func:`tinygan.ops.sigmoid`."""
    return _each("sigmoid", (x,))


def sigmoid_backward(y: Array, dy: Array) -> Array:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.sigmoid_backward`."""
    return _each("sigmoid_backward", (y, dy))


def adam(theta: Array, g: Array, M: Array, V: Array, a: Array, e: Array, beta1: float, beta2: float) -> None:
    """M ← β₁ M + g, V ← β₂ V + g², θ ← θ − a · M / (√V + e), with the numbers a and e in the memory of the device."""
    _in_place("adam", (theta, g, M, V), (a, e), (beta1, beta2))


def average(mean: Array, new: Array, rate: Array) -> None:
    """mean ← mean + rate · (new − mean), with the rate, one number, in the memory of the device."""
    _in_place("average", (mean, new), (rate,))


def minibatch(images: Array, indices: Array, low: float, high: float, dtype: Any) -> Array:
    """As :meth:`tinygan.data.ImageData.batch`, of images (N, H, W, C) uint8 and indices (B,) int64; those from N on
    stand for mirror images. They are not looked at by the host: they must be in range."""
    _, h, w, c = images.shape
    half, middle = (high - low) / 2, (high + low) / 2
    out = get_xp(images).empty((len(indices), h, w, c), dtype=dtype)
    grid, block = cuda.along(len(indices) * h, w * c)
    sizes = (len(images), len(indices) * h, h, w, c, 127.5 / half, middle)
    cuda.launch("elementwise.minibatch", grid, block, (images, indices, out, *sizes), out.dtype)
    return out


def _each(name: str, arrays: Sequence[Array], numbers: Sequence[float] = (), out: Array | None = None) -> Array:
    xp = get_xp(*arrays)
    arrays = [xp.ascontiguousarray(a) for a in arrays]
    out = xp.empty_like(arrays[0]) if out is None else out
    _in_place(name, (*arrays, out), (), numbers)
    return out


def _in_place(name: str, arrays: Sequence[Array], more: Sequence[Array] = (), numbers: Sequence[float] = ()) -> None:
    n = arrays[0].size
    lanes = cuda.lanes_of((n,), arrays)
    grid, args = (-(-n // lanes // cuda.THREADS),), (*arrays, *more, n // lanes, *numbers)
    cuda.launch(f"elementwise.{name}", grid, (cuda.THREADS,), args, arrays[0].dtype, lanes)
