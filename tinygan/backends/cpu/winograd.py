"""Convolutions in steps of 1 or 2 with a third of the multiplications, or half (Winograd, 1980; Lavin and Gray, 2016).

In one dimension and steps of 1, m neighbouring outputs y of a kernel g with r taps need m·r products of its taps and
n = m + r − 1 numbers d of the image. Only n do, as for two polynomials that are known by their values at n points:

    y = Aᵀ ((G g) · (B d))        B (n, n), G (n, r) and A (n, m): constants, see ``tiles.matrices``

In two dimensions the same is done along rows and columns: for a kernel of 3 x 3, 36 products for a tile of 4 x 4
outputs in place of 144. Over channels and tiles each product c, r is one of matrices,

    M_cr = V_cr U_cr        V = B d Bᵀ of each tile d of x        U = G W Gᵀ        y = Aᵀ M A

In steps of 2, a kernel's taps meet even pixels or odd ones: with both (the *phases*) side by side as channels, it is a
convolution in steps of 1 with half as many taps, 4 -> 2 and 5 -> 3 (odd pixels: 2). Products with taps that are not
there are left out.

All of it is linear in x and in W, and so the derivatives are the same steps, transposed, in reverse order. Images are
shared by the cores, and for the weights' gradient channels of x: no sum depends on how many cores there are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...ops import Window
from .threads import share_images, share_out
from .tiles import OUTPUTS, Axis, Tiles, phases_of

ROWS = 128  # of the matrices M_cr of a batch, at least: products of fewer take as long as the plain sums
LEAST = 1 << 17  # numbers in a core's part of all U_cr; over fewer, two cores lose more to each other than they gain
LONG = 1 << 14  # numbers in a row of a small product; BLAS has no fast way for longer ones


@lru_cache(1024)
def axes(window: Window, dtype: np.dtype) -> tuple[Axis, Axis]:
    """Both dimensions, of a window that has such a form."""
    rows, columns = (Axis.of(*of, dtype) for of in zip(window.kernel, window.stride, window.grid, strict=True))
    return rows, columns


def saves(window: Window, channels: int, images: int) -> bool:
    """Whether a batch is faster this way than with the plain sum of products. Measured: it is where a good third of the
    products is saved, and with so many channels and tiles that its matrices are large ones."""
    (kh, kw), (sh, sw), _, (ho, wo) = window
    if channels < 32 or max(sh, sw) > 2 or -(-kh // sh) not in OUTPUTS or -(-kw // sw) not in OUTPUTS:
        return False
    rows, columns = axes(window, np.dtype("f4"))
    fewer = rows.products * columns.products < 0.65 * kh * kw * ho * wo
    return fewer and images * rows.tiles * columns.tiles >= ROWS


def convolve(x: np.ndarray, W: np.ndarray, window: Window, b: np.ndarray | None = None) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve`: y = Aᵀ M A, plus b."""
    rows, columns = axes(window, x.dtype)
    U = transform_weights(W, rows, columns)
    y = np.empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, *W.shape[2:], x.dtype)
        for i, j in tiles.pieces(start, stop, W.shape[2]):
            tiles.read_image(x[i:j])
            for c, r, phases in tiles.groups:
                np.matmul(tiles.V(c, r, phases), _of(U, c, r, phases), out=tiles.M(c, r))
            tiles.write_outputs(y[i:j], b)

    share_images(work, len(x), y.size * W[..., 0].size)
    return y


def convolve_adjoint(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None = None
) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_adjoint`: M = A y Aᵀ, V = M Uᵀ, x = Bᵀ V B, plus b."""
    rows, columns = axes(window, y.dtype)
    U = transform_weights(W, rows, columns)
    x = np.empty((len(y), *hw, W.shape[2]), dtype=y.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, *W.shape[2:], y.dtype)
        for i, j in tiles.pieces(start, stop, W.shape[2]):
            tiles.read_outputs(y[i:j])
            for c, r, phases in tiles.groups:
                np.matmul(tiles.M(c, r), _of(U, c, r, phases).swapaxes(2, 3), out=tiles.V(c, r, phases))
            tiles.write_image(x[i:j], b)

    share_images(work, len(y), y.size * W[..., 0].size)
    return x


def convolve_weights(x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_weights`: U = Vᵀ M with V = B x Bᵀ and M = A y Aᵀ, W = Gᵀ U G."""
    rows, columns = axes(window, x.dtype)
    k, o = x.shape[3], y.shape[3]
    W = np.empty((*window.kernel, k, o), x.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, stop - start, o, x.dtype)
        U = product = np.zeros((columns.n, rows.n, len(tiles.phases), stop - start, o), x.dtype)
        for i, j in tiles.pieces(0, len(x), k):
            tiles.read_image(x[i:j, ..., start:stop])
            tiles.read_outputs(y[i:j])
            for c, r, phases in tiles.groups:
                np.matmul(tiles.V(c, r, phases).swapaxes(2, 3), tiles.M(c, r), out=_of(product, c, r, phases))
            if product is not U:
                U += product
            elif j < len(x):
                product = np.zeros_like(U)
        transform_weights_adjoint(U, rows, columns, W[:, :, start:stop])

    share_images(work, k, y.size * W[..., 0].size)
    return W


# ---- U = G W Gᵀ ----------------------------------------------------------------------------------------------------


def transform_weights(W: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """U (c, r, P, k, o)."""
    _, kw, k, o = W.shape
    phases = phases_of(rows, columns)
    U = np.empty((columns.n, rows.n, len(phases), k, o), W.dtype)

    def work(start: int, stop: int) -> None:
        for a, b in _spans(start, stop, o):
            for f in range(rows.step):
                taps, size = rows.taps(f), (b - a) * o
                strips = np.empty((rows.n, kw, size), W.dtype)
                of_f = W[f :: rows.step, :, a:b].reshape(taps, kw, size).swapaxes(0, 1)
                np.matmul(rows.G[:, :taps], of_f, out=strips.swapaxes(0, 1))
                for i, g in ((i, g) for i, (of, g) in enumerate(phases) if of == f):
                    out = U[:, :, i, a:b].swapaxes(0, 1).reshape(rows.n, columns.n, size)
                    np.matmul(columns.G[:, : columns.taps(g)], strips[:, g :: columns.step], out=out)

    share_out(work, k, least=max(1, LEAST // (rows.n * columns.n * o)))
    return U


def transform_weights_adjoint(U: np.ndarray, rows: Axis, columns: Axis, W: np.ndarray) -> None:
    """W = Gᵀ U G, written into memory that there is."""
    k, o = W.shape[2:]
    for a, b in _spans(0, k, o):
        for i, (f, g) in enumerate(phases_of(rows, columns)):
            of_phase = U[:, :, i, a:b].swapaxes(0, 1).reshape(rows.n, columns.n, -1)
            strips = np.matmul(columns.G[:, : columns.taps(g)].T, of_phase)  # (r, taps across, numbers of W)
            taps = W[f :: rows.step, g :: columns.step, a:b].swapaxes(0, 1)
            taps[...] = np.matmul(rows.G[:, : rows.taps(f)].T, strips.swapaxes(0, 1)).reshape(taps.shape)


def _spans(start: int, stop: int, o: int) -> list[tuple[int, int]]:
    """Channels of x whose weights make rows of a good length."""
    step = max(1, LONG // o)
    return [(a, min(a + step, stop)) for a in range(start, stop, step)]


def _of(U: np.ndarray, c: slice, r: slice, phases: slice) -> np.ndarray:
    """U_cr of some products and phases, (c, r, P·k, o)."""
    part = U[c, r, phases]
    return part.reshape(*part.shape[:2], -1, part.shape[-1])
