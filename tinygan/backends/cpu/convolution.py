"""The three products of a convolution, as in :class:`tinygan.ops.Ops`, a few images at a time, on all cores.

A piece of columns (about half a million numbers, or one image if that has more) is made, multiplied and forgotten while
it is in cache; each core goes through images of its own with BLAS kept to one thread, so that the copies are shared
too, which NumPy does on one core.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ...ops import Window
from . import winograd
from .threads import pieces_of, share_images, share_sum

PIECE = 1 << 19  # numbers in a piece of columns
ROWS = 384  # that a piece has at least, as products like them
LONG_ENOUGH = 1024  # rows of a piece that is cut for more cores than two
FEW = 8  # channels; a run of so few numbers takes as long as one several times as long


def convolve(x: np.ndarray, W: np.ndarray, window: Window, b: np.ndarray | None = None) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve`: each product is written where it belongs in y."""
    if _each_pixel_alone(window):
        return _product(x, W[0, 0], b)
    if winograd.saves(window, W.shape, len(x), x.dtype):
        return winograd.convolve(x, W, window, b)
    flat_W, pieces = W.reshape(-1, W.shape[3]), _pieces(len(x), window, W.shape[2])
    y = np.empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)

    def work(start: int, stop: int) -> None:
        gather = _Gather(x, window, pieces[0][1])
        for i, j in pieces[start:stop]:
            rows = y[i:j].reshape(-1, W.shape[3])
            np.matmul(gather.columns(i, j), flat_W, out=rows)
            if b is not None:
                rows += b

    share_images(work, len(pieces), y.size * W[..., 0].size)
    return y


def convolve_weights(x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_weights`: the sum of the pieces' products."""
    if _each_pixel_alone(window):
        return (x.reshape(-1, x.shape[3]).T @ y.reshape(-1, y.shape[3]))[None, None]
    if winograd.saves(window, (*window.kernel, x.shape[3], y.shape[3]), len(x), x.dtype):
        return winograd.convolve_weights(x, y, window)
    b, pieces = y.shape[3], _pieces(len(x), window, x.shape[3])

    def terms(start: int, stop: int) -> Iterator[np.ndarray]:
        gather = _Gather(x, window, pieces[0][1])
        for i, j in pieces[start:stop]:
            yield gather.columns(i, j).T @ y[i:j].reshape(-1, b)

    dW, *others = share_sum(terms, len(pieces), y.size * prod(window.kernel) * x.shape[3])
    for other in others:
        dW += other
    return dW.reshape(*window.kernel, x.shape[3], b)


def convolve_adjoint(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None = None
) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_adjoint`: columns are made and added to their pixels piece by piece."""
    if _each_pixel_alone(window):
        return _product(y, W[0, 0].T, b)
    (kh, kw), (sh, sw), (top, bottom, left, _), (ho, wo) = window
    if W.shape[2] > FEW and (back := _reversed(window, hw)):
        return convolve(y, np.ascontiguousarray(W[::-1, ::-1].swapaxes(2, 3)), back, b)
    if winograd.saves(window, W.shape, len(y), y.dtype):
        return winograd.convolve_adjoint(y, W, hw, window, b)
    if W.shape[2] <= FEW:
        return _convolve_adjoint_to_few_channels(y, W, hw, window, b)
    (h, w), a = hw, W.shape[2]
    flat_WT, pieces = W.reshape(-1, W.shape[3]).T, _pieces(len(y), window, a)
    x = np.empty((len(y), h, w, a), dtype=y.dtype)

    def work(start: int, stop: int) -> None:
        step = pieces[0][1]
        columns = np.empty((step * ho * wo, kh * kw * a), dtype=y.dtype)
        # Rows are made of cells of sw pixels, which a stride keeps together: that much of the kernel is added at once
        cells = max(wo + -(-kw // sw) - 1, -(-(left + w) // sw))
        padded = np.empty((step, h + top + bottom, cells, sw * a), dtype=y.dtype)
        for i, j in pieces[start:stop]:
            n = j - i
            piece = columns[: n * ho * wo]
            np.matmul(y[i:j].reshape(-1, W.shape[3]), flat_WT, out=piece)
            piece = piece.reshape(n, ho, wo, kh, kw * a)
            sums = padded[:n]
            sums[...] = 0.0
            for p in range(kh):
                rows = slice(p, p + (ho - 1) * sh + 1, sh)
                for q in range(0, kw, sw):
                    wide = min(sw, kw - q) * a
                    place = sums[:, rows, q // sw : q // sw + wo, :wide]
                    np.add(place, piece[:, :, :, p, q * a : q * a + wide], out=place)
            _store(sums.reshape(n, -1, cells * sw, a)[:, top : top + h, left : left + w], b, x[i:j])

    share_images(work, len(pieces), y.size * W[..., 0].size)
    return x


def _each_pixel_alone(window: Window) -> bool:
    """Whether the kernel is 1x1, so that pixels are rows of a dense layer, and no columns are needed."""
    return window.kernel == window.stride == (1, 1) and not any(window.pads)


def _product(x: np.ndarray, W: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    y = x.reshape(-1, x.shape[3]) @ W
    if b is not None:
        y += b
    return y.reshape(*x.shape[:3], -1)


def _reversed(window: Window, hw: tuple[int, int]) -> Window | None:
    """In steps of 1, the adjoint is itself a convolution, of y with the kernel turned round, which reads where the
    adjoint would add; None in other steps, or where zeros around the image are more than a kernel reaches."""
    (kh, kw), stride, (top, _, left, _), (ho, wo) = window
    first = kh - 1 - top, kw - 1 - left
    pads = (first[0], hw[0] + kh - 1 - first[0] - ho, first[1], hw[1] + kw - 1 - first[1] - wo)
    return Window((kh, kw), (1, 1), pads, hw) if stride == (1, 1) and min(pads) >= 0 else None


def _convolve_adjoint_to_few_channels(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None
) -> np.ndarray:
    """The same with long runs of memory where single pixels are short: the sh x sw pixels that a stride keeps together
    are one *cell* of sh·sw·a numbers; over cells the kernel has ⌈kh/sh⌉ x ⌈kw/sw⌉ entries and moves in steps of 1.
    """
    (kh, kw), (sh, sw), (top, _, left, _), (ho, wo) = window
    (h, w), a = hw, W.shape[2]
    rh, rw = -(-kh // sh), -(-kw // sw)
    whole = np.zeros((rh * sh, rw * sw, *W.shape[2:]), dtype=W.dtype)
    whole[:kh, :kw] = W
    # (rh, sh, rw, sw, a, B) -> (rh, rw, B, sh·sw·a)
    cells_W = whole.reshape(rh, sh, rw, sw, a, -1).transpose(0, 2, 5, 1, 3, 4).reshape(rh, rw, W.shape[3], -1)
    x = np.empty((len(y), h, w, a), dtype=y.dtype)
    pieces = pieces_of(len(y), PIECE // (ho * wo * W.shape[3]), len(y) * ho * wo // LONG_ENOUGH)
    high, wide = max(ho + rh - 1, -(-(top + h) // sh)), max(wo + rw - 1, -(-(left + w) // sw))  # in cells

    def work(start: int, stop: int) -> None:
        step = pieces[0][1]
        product = np.empty((step, ho, wo, sh * sw * a), dtype=y.dtype)
        cells, image = (np.empty((step, high * wide, sh * sw * a), dtype=y.dtype) for _ in range(2))
        for i, j in pieces[start:stop]:
            n = j - i
            sums = cells[:n].reshape(n, high, wide, -1)
            sums[...] = 0.0
            for p in range(rh):
                for q in range(rw):
                    np.matmul(y[i:j].reshape(-1, W.shape[3]), cells_W[p, q], out=product[:n].reshape(n * ho * wo, -1))
                    sums[:, p : p + ho, q : q + wo] += product[:n]
            pixels = image[:n].reshape(n, high, sh, wide, sw * a)
            pixels[...] = sums.reshape(n, high, wide, sh, sw * a).transpose(0, 1, 3, 2, 4)
            inside = pixels.reshape(n, high * sh, wide * sw, a)[:, top : top + h, left : left + w]
            _store(inside, b, x[i:j])

    share_images(work, len(pieces), y.size * W[..., 0].size)
    return x


def _store(image: np.ndarray, b: np.ndarray | None, out: np.ndarray) -> None:
    if b is None:
        out[...] = image
    else:
        np.add(image, b, out=out)


class _Gather:
    """Makes the columns of up to ``step`` images at a time, in memory that it uses again and again."""

    def __init__(self, x: np.ndarray, window: Window, step: int) -> None:
        _, h, w, c = x.shape
        (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
        self.x, self.inside = x, (slice(top, top + h), slice(left, left + w))
        padded = (step, h + top + bottom, w + left + right, c)
        self.padded = np.zeros(padded, dtype=x.dtype) if any(window.pads) else None
        self.memory = np.empty((step, ho, wo, kh, kw, c), dtype=x.dtype)
        self.window = window

    def columns(self, i: int, j: int) -> np.ndarray:
        images, columns = self.x[i:j], self.memory[: j - i]
        if self.padded is not None:
            self.padded[: j - i, *self.inside] = images
            images = self.padded[: j - i]
        n, row, pixel, channel = images.strides
        sh, sw = self.window.stride
        strides = (n, sh * row, sw * pixel, row, pixel, channel)
        columns[...] = np.lib.stride_tricks.as_strided(images, columns.shape, strides, writeable=False)
        return columns.reshape(-1, columns[0, 0, 0].size)


def _pieces(n: int, window: Window, channels: int) -> list[tuple[int, int]]:
    (kh, kw), (ho, wo) = window.kernel, window.grid
    most = max(PIECE // (ho * wo * kh * kw * channels), ROWS // (ho * wo))
    return pieces_of(n, most, n * ho * wo // LONG_ENOUGH)
