"""What ``gpu`` has kernels for, in the few lines that show what it is; every backend can run them.

Convolution is a matrix product here. The columns of a whole batch are made at once, so they need memory: for NumPy
arrays ``cpu`` has the same three functions, fast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, get_xp
from .elementwise import accumulate, in_blocks, sum_rows
from .products import matmul


class Window(NamedTuple):
    """Where a convolution's kernel stands on an image: the geometry that gather and scatter share.

    A kernel of ``kernel`` = (kh, kw) moves in steps of ``stride`` over the image with zeros around it,
    ``pads`` = (top, bottom, left, right), and stands on ``grid`` = (Ho, Wo) places.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    grid: tuple[int, int]

    def spans(self):
        """For each kernel entry (i, j), the rows and columns of the padded image that it meets on its way."""
        (kh, kw), (sh, sw), (ho, wo) = self.kernel, self.stride, self.grid
        for i in range(kh):
            for j in range(kw):
                yield i, j, slice(i, i + (ho - 1) * sh + 1, sh), slice(j, j + (wo - 1) * sw + 1, sw)


def gather_columns(x: Array, window: Window) -> Array:
    """Lay out what the kernel sees at every place: x (N, H, W, C) -> columns (N·Ho·Wo, kh·kw·C).

        columns[(n,p,q), (i,j,c)] = x̄[n, p·sh + i, q·sw + j, c]          x̄: x with zeros around it

    so that a convolution is one matrix product, columns @ W (Chellapilla et al., 2006, section 2).
    """
    xp = get_xp(x)
    n, _, _, c = x.shape
    (kh, kw), (ho, wo) = window.kernel, window.grid
    padded = _pad(x, window)
    columns = xp.empty((n, ho, wo, kh, kw, c), dtype=x.dtype)
    for i, j, rows, cols in window.spans():
        columns[:, :, :, i, j, :] = padded[:, rows, cols, :]
    return columns.reshape(n * ho * wo, kh * kw * c)


def scatter_columns(columns: Array, image_shape: tuple[int, int, int, int], window: Window) -> Array:
    """The adjoint of :func:`gather_columns`: every column entry is added back to the pixel it was read from.

    columns (N·Ho·Wo, kh·kw·C) -> image (N, H, W, C); what was read from the zeros around the image is dropped.
    """
    xp = get_xp(columns)
    n, h, w, c = image_shape
    (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
    columns = columns.reshape(n, ho, wo, kh, kw, c)
    padded = xp.zeros((n, h + top + bottom, w + left + right, c), dtype=columns.dtype)
    for i, j, rows, cols in window.spans():
        padded[:, rows, cols, :] += columns[:, :, :, i, j, :]
    return padded[:, top : top + h, left : left + w, :]


def _pad(x: Array, window: Window) -> Array:
    top, bottom, left, right = window.pads
    if not any(window.pads):
        return x
    n, h, w, c = x.shape
    padded = get_xp(x).zeros((n, h + top + bottom, w + left + right, c), dtype=x.dtype)
    padded[:, top : top + h, left : left + w, :] = x
    return padded


def convolve(x: Array, W: Array, window: Window, b: Array | None = None, slope: float = 1.0) -> Array:
    """y (N, Ho, Wo, B) = columns of x (N, H, W, A) times W (kh, kw, A, B); then :func:`bias_leaky` with b (B,)."""
    y = matmul(gather_columns(x, window), W.reshape(-1, W.shape[3]))
    return bias_leaky(y, b, slope).reshape(len(x), *window.grid, W.shape[3])


def convolve_adjoint(
    y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None, slope: float = 1.0
) -> Array:
    """The transpose of the linear map :func:`convolve`, y (N, Ho, Wo, B) -> images (N, *hw, A); then
    :func:`bias_leaky` with b (A,)."""
    columns = matmul(y.reshape(-1, W.shape[3]), W.reshape(-1, W.shape[3]).T)  # (N·Ho·Wo, kh·kw·A)
    return bias_leaky(scatter_columns(columns, (len(y), *hw, W.shape[2]), window), b, slope)


def convolve_weights(x: Array, y: Array, window: Window) -> Array:
    """The derivative of <y, convolve(x, W)> with respect to W: columns of x, transposed, times y; (kh, kw, A, B)."""
    dW = matmul(gather_columns(x, window).T, y.reshape(-1, y.shape[3]))
    return dW.reshape(*window.kernel, x.shape[3], y.shape[3])


def bias_leaky(y: Array, b: Array | None, slope: float = 1.0) -> Array:
    """Add b (C,) to y (..., C), if there is one, and apply leaky ReLU, if slope is not 1, all in place; return y."""
    if b is not None:
        y += b
    if slope != 1.0:
        get_xp(y).maximum(y, slope * y, out=y)
    return y


def bias_leaky_backward(dy: Array, y: Array, slope: float, db: Array | None = None, *, add: bool = False) -> Array:
    """Return d = dy · (1 if y > 0 else slope), and store its sum over all but the last axis in db (C,), if given.

    With a slope of 1, d is dy itself, and y is not looked at.
    """
    d = dy if slope == 1.0 else leaky_relu_backward(y, dy, slope)
    if db is not None:
        accumulate(db, d.sum(axis=0) if d.ndim == 2 else sum_rows(d.reshape(-1, len(db))), add=add)
    return d


def leaky_relu(x: Array, slope: float) -> Array:
    """y = max(x, slope · x), which is x where x > 0 and slope · x elsewhere, because slope < 1."""
    xp = get_xp(x)
    y = xp.empty(x.shape, dtype=x.dtype)

    def part(x, y):
        xp.multiply(x, slope, out=y)
        xp.maximum(x, y, out=y)

    in_blocks(part, x.reshape(-1), y.reshape(-1))
    return y


def leaky_relu_backward(y: Array, dy: Array, slope: float) -> Array:
    """dx = dy · (1 if y > 0 else slope)."""
    xp = get_xp(dy)
    dx = xp.empty(dy.shape, dtype=dy.dtype)

    def part(y, dy, dx):
        # [y > 0]·(1 − slope) + slope, in place: several times faster than where(), which copies both branches
        xp.multiply(y > 0, dy.dtype.type(1.0 - slope), out=dx)
        dx += slope
        dx *= dy

    in_blocks(part, y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
    return dx


def sigmoid_backward(y: Array, dy: Array) -> Array:
    """dx = dy · y · (1 − y)."""
    dx = 1.0 - y
    dx *= y
    dx *= dy
    return dx


def tanh_backward(y: Array, dy: Array) -> Array:
    """dx = dy · (1 − y²)."""
    dx = y * y
    dx -= 1.0
    dx *= dy
    return get_xp(dx).negative(dx, out=dx)


def minibatch(images: Array, indices: Array, low: float, high: float, dtype: Any) -> Array:
    """Pick images and make floats of them: images (N, H, W, C) uint8, indices (B,) int64 -> x (B, H, W, C) of dtype.

        x[b,h,w,c] = (p − 127.5) / (127.5 / half) + middle           half = (high − low) / 2, middle = (high + low) / 2
        p = images[i, h, w, c]           for i = indices[b] < N
        p = images[i − N, h, W − 1 − w, c]   for i in N..2N − 1, which stand for mirror images

    rounded after each operation, which makes the result that of every other backend to the bit.
    """
    xp, n = get_xp(images, indices), len(images)
    pixels = images[indices % n]  # (B, H, W, C), a copy
    mirrored = (indices >= n)[:, None, None, None]
    x = xp.where(mirrored, pixels[:, :, ::-1], pixels).astype(dtype)
    middle, half = (high + low) / 2, (high - low) / 2
    x -= 127.5
    x /= 127.5 / half
    if middle:
        x += middle
    return x
