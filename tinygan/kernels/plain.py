"""Convolution as a matrix product, in the few lines that show what it is; every backend can run them.

The columns of a whole batch are made at once, so they need memory. ``kernels.cpu`` has the same functions, fast.
"""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, get_xp


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


def convolve(x: Array, W: Array, window: Window, b: Array | None = None) -> Array:
    """y (N, Ho, Wo, B) = columns of x (N, H, W, A) times W (kh, kw, A, B), plus b (B,) if there is one."""
    y = gather_columns(x, window) @ W.reshape(-1, W.shape[3])
    if b is not None:
        y += b
    return y.reshape(len(x), *window.grid, W.shape[3])


def convolve_adjoint(y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None) -> Array:
    """The transpose of the linear map :func:`convolve`: y (N, Ho, Wo, B) -> images (N, *hw, A), plus b (A,) if any."""
    columns = y.reshape(-1, W.shape[3]) @ W.reshape(-1, W.shape[3]).T  # (N·Ho·Wo, kh·kw·A)
    x = scatter_columns(columns, (len(y), *hw, W.shape[2]), window)
    return x if b is None else x + b


def convolve_weights(x: Array, y: Array, window: Window) -> Array:
    """The derivative of <y, convolve(x, W)> with respect to W: columns of x, transposed, times y; (kh, kw, A, B)."""
    dW = gather_columns(x, window).T @ y.reshape(-1, y.shape[3])
    return dW.reshape(*window.kernel, x.shape[3], y.shape[3])
