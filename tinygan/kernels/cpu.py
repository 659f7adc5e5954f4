"""The three products of a convolution on the CPU: the same as in ``plain``, a few images at a time, on all cores.

A piece of columns (about half a million numbers) is made, multiplied and forgotten while it is in cache; each core goes
through images of its own with BLAS kept to one thread, so that the copies are shared too, which NumPy does on one core.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..threads import one_blas_thread, share_out
from .plain import Window

PIECE = 1 << 19  # numbers in a piece of columns


def convolve(x: np.ndarray, W: np.ndarray, window: Window, b: np.ndarray | None = None) -> np.ndarray:
    """As :func:`tinygan.kernels.plain.convolve`: each product is written where it belongs in y."""
    flat_W = W.reshape(-1, W.shape[3])
    y = np.empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)

    def work(start: int, stop: int) -> None:
        gather = _Gather(x, window, stop - start)
        for i, j in gather.pieces(start, stop):
            rows = y[i:j].reshape(-1, W.shape[3])
            np.matmul(gather.columns(i, j), flat_W, out=rows)
            if b is not None:
                rows += b

    _share_images(work, len(x))
    return y


def convolve_weights(x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """As :func:`tinygan.kernels.plain.convolve_weights`: a sum for each core, added up in the order of the images."""
    b = y.shape[3]
    sums = []

    def work(start: int, stop: int) -> None:
        gather, total, product = _Gather(x, window, stop - start), None, None
        for i, j in gather.pieces(start, stop):
            columns, rows = gather.columns(i, j), y[i:j].reshape(-1, b)
            if total is None:
                total = columns.T @ rows
            else:
                product = np.matmul(columns.T, rows, out=product)
                total += product
        sums.append((start, total))

    _share_images(work, len(x))
    sums.sort(key=lambda item: item[0])  # in the order of the images, whichever core was first
    dW = sums[0][1]
    for _, other in sums[1:]:
        dW += other
    return dW.reshape(*window.kernel, x.shape[3], b)


def convolve_adjoint(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None = None
) -> np.ndarray:
    """As :func:`tinygan.kernels.plain.convolve_adjoint`: columns are made and added to their pixels piece by piece."""
    (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
    (h, w), a = hw, W.shape[2]
    flat_WT = W.reshape(-1, W.shape[3]).T
    x = np.empty((len(y), h, w, a), dtype=y.dtype)

    def work(start: int, stop: int) -> None:
        step = _images_in_a_piece(window, a, stop - start)
        columns = np.empty((step * ho * wo, kh * kw * a), dtype=y.dtype)
        padded = np.empty((step, h + top + bottom, w + left + right, a), dtype=y.dtype)
        for i in range(start, stop, step):
            j = min(i + step, stop)
            n = j - i
            piece = columns[: n * ho * wo]
            np.matmul(y[i:j].reshape(-1, W.shape[3]), flat_WT, out=piece)
            piece = piece.reshape(n, ho, wo, kh, kw, a)
            sums = padded[:n]
            sums[...] = 0.0
            for p, q, rows, cols in window.spans():
                sums[:, rows, cols] += piece[:, :, :, p, q]
            inside = sums[:, top : top + h, left : left + w]
            if b is None:
                x[i:j] = inside
            else:
                np.add(inside, b, out=x[i:j])

    _share_images(work, len(y))
    return x


class _Gather:
    """Makes the columns of a few images at a time, in memory that it uses again and again."""

    def __init__(self, x: np.ndarray, window: Window, n: int) -> None:
        _, h, w, c = x.shape
        (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
        self.x, self.inside = x, (slice(top, top + h), slice(left, left + w))
        self.step = _images_in_a_piece(window, c, n)
        self.padded = (
            np.zeros((self.step, h + top + bottom, w + left + right, c), dtype=x.dtype) if any(window.pads) else None
        )
        self.memory = np.empty((self.step, ho, wo, kh, kw, c), dtype=x.dtype)
        self.window = window

    def pieces(self, start: int, stop: int):
        for i in range(start, stop, self.step):
            yield i, min(i + self.step, stop)

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


def _images_in_a_piece(window: Window, channels: int, n: int) -> int:
    (kh, kw), (ho, wo) = window.kernel, window.grid
    return max(1, min(n, PIECE // (ho * wo * kh * kw * channels)))


def _share_images(work: Callable[[int, int], None], n: int) -> None:
    if n == 1:
        work(0, 1)
        return
    with one_blas_thread():
        share_out(work, n, least=1)
