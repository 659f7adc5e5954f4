"""The few primitives that every hot path leans on, written once for all backends.

Each works on whatever array it is given. They keep two things out of the layers: memory handled for speed, and formulas
arranged so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .backend import Array, get_xp
from .threads import share_out

BLOCK = 1 << 17  # numbers: long enough for the cores not to fight over the interpreter, short enough for their caches


def accumulate(out: Array, value: Array, *, add: bool) -> None:
    """Add ``value`` to ``out``, or write it there: the two ways in which a gradient is stored."""
    if add:
        out += value
    else:
        out[...] = value


def accumulate_matmul(out: Array, a: Array, b: Array, *, add: bool) -> None:
    """Like ``accumulate(out, a @ b)``; a product that is only written needs no memory beside ``out``."""
    if add:
        out += a @ b
    else:
        get_xp(a, b).matmul(a, b, out=out)


def in_blocks(update: Callable[..., None], *vectors: Array, scratch: int) -> None:
    """Call ``update(*blocks, *scratch_blocks)`` for each block of flat vectors of one length, to change them in place.

    On the CPU a block stays in cache while all the operations of ``update`` pass over it, where whole vectors would
    wait for memory at each, and the cores share the blocks. On a GPU one call over everything is best.
    """
    xp, size, dtype = get_xp(*vectors), vectors[0].size, vectors[0].dtype
    length = BLOCK if xp is np else max(size, 1)

    def part(start: int, stop: int) -> None:
        between = [xp.empty(min(length, stop - start), dtype=dtype) for _ in range(scratch)]
        for i in range(start, stop, length):
            j = min(i + length, stop)
            update(*(v[i:j] for v in vectors), *(s[: j - i] for s in between))

    if xp is np:
        share_out(part, size, least=2 * BLOCK)
    else:
        part(0, size)


def sigmoid(s: Array) -> Array:
    """Logistic function σ(s) = 1 / (1 + e^−s), accurate relative to its size at both ends.

    Written as e^min(s,0) / (1 + e^−|s|): no exponent is positive, so nothing overflows, and for very negative s the
    result is e^s rather than a difference that rounds to 0.
    """
    xp = get_xp(s)
    y = xp.exp(xp.minimum(s, 0.0))
    y /= 1.0 + xp.exp(-abs(s))
    return y


def softplus(s: Array) -> Array:
    """log(1 + e^s), the smooth max(s, 0), as max(s, 0) + log(1 + e^−|s|): no exponent is positive."""
    xp = get_xp(s)
    y = xp.log1p(xp.exp(-abs(s)))
    y += xp.maximum(s, 0.0)
    return y


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


def images_per_piece(columns_per_image: int, n: int) -> int:
    """How many images to unfold at a time, so that a block of columns (about a million numbers) stays in cache."""
    return min(n, max(1, (1 << 20) // columns_per_image))


def _pad(x: Array, window: Window) -> Array:
    top, bottom, left, right = window.pads
    if not any(window.pads):
        return x
    n, h, w, c = x.shape
    padded = get_xp(x).zeros((n, h + top + bottom, w + left + right, c), dtype=x.dtype)
    padded[:, top : top + h, left : left + w, :] = x
    return padded
