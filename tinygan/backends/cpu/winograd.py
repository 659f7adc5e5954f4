"""Convolutions in steps of 1 or 2 with a quarter to a half of the products (Winograd, 1980; Lavin and Gray, 2016).

In one dimension and steps of 1, m neighbouring outputs y of a kernel g with r taps need m·r products of its taps and
n = m + r − 1 numbers d of the image. Only n do, as for two polynomials that are known by their values at n points:

    y = Aᵀ ((G g) · (B d))        B (n, n), G (n, r) and A (n, m): constants, see ``tiles.matrices``

In two dimensions the same is done along rows and columns: for a kernel of 3 x 3, 36 products for a tile of 4 x 4
outputs in place of 144. Over channels and tiles each product c, r is one of matrices,

    M_cr = V_cr U_cr        V = B d Bᵀ of each tile d of x        U = G W Gᵀ        y = Aᵀ M A

In steps of 2, a kernel's taps meet even pixels or odd ones: with both (the *phases*) side by side as channels, it is a
convolution in steps of 1 with half as many taps, 4 -> 2 and 5 -> 3 (odd pixels: 2). Products with taps that are not
there are left out.

All of it is linear in x and in W, and so the derivatives are the same steps, transposed, in reverse order. What is not
finite in x reaches all outputs of its tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from ...ops import Window
from .threads import pieces_of, share_images, share_out, share_sum
from .tiles import OUTPUTS, Axis, Tiles, clear_unwritten, phases_of, pieces

FEWER = 0.5  # of the plain sum's products
ROWS = 128  # of the matrices M_cr of a batch, at least: products of fewer take as long as the plain sums
LEAST = 1 << 17  # numbers in a core's part of all U_cr; over fewer, two cores lose more to each other than they gain
LONG = 1 << 14  # numbers in a row of a small product; BLAS has no fast way for longer ones


@lru_cache(1024)
def axes(window: Window, dtype: np.dtype) -> tuple[Axis, Axis]:
    """Both dimensions, of a window that has such a form."""
    rows, columns = (Axis.of(*of, dtype) for of in zip(window.kernel, window.stride, window.grid, strict=True))
    return rows, columns


def saves(window: Window, shape: tuple[int, ...], images: int, dtype: np.dtype) -> bool:
    """Whether a batch is faster this way than with the plain sum of products; ``shape`` is that of W. Measured: it is
    where half of the products are saved, with so many channels and tiles that its matrices are large ones."""
    (kh, kw), (sh, sw), _, (ho, wo) = window
    if max(sh, sw) > 2 or -(-kh // sh) not in OUTPUTS or -(-kw // sw) not in OUTPUTS:
        return False
    if shape[2] < 32 or shape[3] < 16 or dtype not in (np.float32, np.float64):
        return False
    rows, columns = axes(window, dtype)
    fewer = rows.products * columns.products < FEWER * kh * kw * ho * wo
    return fewer and images * rows.tiles * columns.tiles >= ROWS


def convolve(x: np.ndarray, W: np.ndarray, window: Window, b: np.ndarray | None = None) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve`: y = Aᵀ M A, plus b."""
    rows, columns = axes(window, x.dtype)
    U, parts = transform_weights(W, rows, columns), pieces(len(x), rows, columns, *W.shape[2:])
    y = np.empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, W.shape[2], W.shape[3], x.dtype)
        for i, j in parts[start:stop]:
            tiles.make_room(j - i)
            tiles.read_image(x[i:j])
            for c, r, phases in tiles.groups:
                np.matmul(tiles.V(c, r, phases), _of(U, c, r, phases), out=tiles.M(c, r))
            tiles.write_outputs(y[i:j], b)

    share_images(work, len(parts), y.size * W[..., 0].size)
    return y


def convolve_adjoint(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None = None
) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_adjoint`: M = A y Aᵀ, V = M Uᵀ, x = Bᵀ V B, plus b."""
    rows, columns = axes(window, y.dtype)
    U, parts = transform_weights(W, rows, columns), pieces(len(y), rows, columns, *W.shape[2:])
    x = np.empty((len(y), *hw, W.shape[2]), dtype=y.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, W.shape[2], W.shape[3], y.dtype)
        for i, j in parts[start:stop]:
            tiles.make_room(j - i)
            tiles.read_outputs(y[i:j])
            for c, r, phases in tiles.groups:
                np.matmul(tiles.M(c, r), _of(U, c, r, phases).swapaxes(2, 3), out=tiles.V(c, r, phases))
            tiles.write_image(x[i:j], b)

    share_images(work, len(parts), y.size * W[..., 0].size)
    return x


def convolve_weights(x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_weights`: U = Vᵀ M with V = B x Bᵀ and M = A y Aᵀ, W = Gᵀ U G."""
    rows, columns = axes(window, x.dtype)
    shape = (*window.kernel, x.shape[3], y.shape[3])
    parts = pieces(len(x), rows, columns, *shape[2:])

    def terms(start: int, stop: int) -> Iterator[np.ndarray]:
        tiles = Tiles(rows, columns, window, *shape[2:], x.dtype)
        for i, j in parts[start:stop]:
            tiles.make_room(j - i)
            tiles.read_image(x[i:j])
            tiles.read_outputs(y[i:j])
            U = np.empty((columns.n, rows.n, len(tiles.phases), *shape[2:]), x.dtype)
            clear_unwritten(U, rows, columns)
            for c, r, phases in tiles.groups:
                np.matmul(tiles.V(c, r, phases).swapaxes(2, 3), tiles.M(c, r), out=_of(U, c, r, phases))
            yield U

    halves = share_sum(terms, len(parts), y.size * prod(shape[:3]))
    return transform_weights_adjoint(halves, shape, rows, columns)


# ---- U = G W Gᵀ ----------------------------------------------------------------------------------------------------


def transform_weights(W: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """U (c, r, P, k, o)."""
    _, kw, k, o = W.shape
    phases = phases_of(rows, columns)
    U = np.empty((columns.n, rows.n, len(phases), k, o), W.dtype)
    spans = pieces_of(k, LONG // o)

    def work(start: int, stop: int) -> None:
        for a, b in spans[start:stop]:
            for f in range(rows.step):
                taps, size = rows.taps(f), (b - a) * o
                strips = np.empty((rows.n, kw, size), W.dtype)
                of_f = W[f :: rows.step, :, a:b].reshape(taps, kw, size).swapaxes(0, 1)
                np.matmul(rows.G[:, :taps], of_f, out=strips.swapaxes(0, 1))
                for i, g in ((i, g) for i, (of, g) in enumerate(phases) if of == f):
                    out = U[:, :, i, a:b].swapaxes(0, 1).reshape(rows.n, columns.n, size)
                    np.matmul(columns.G[:, : columns.taps(g)], strips[:, g :: columns.step], out=out)

    share_out(work, len(spans), least=_least(spans, rows.n * columns.n * o))
    return U


def transform_weights_adjoint(
    shares: Sequence[np.ndarray], shape: tuple[int, ...], rows: Axis, columns: Axis
) -> np.ndarray:
    """W = Gᵀ U G, with U the sum of the shares, of which the first is changed."""
    *_, k, o = shape
    W, spans = np.empty(shape, shares[0].dtype), pieces_of(k, LONG // o)
    phases = phases_of(rows, columns)

    def work(start: int, stop: int) -> None:
        for a, b in spans[start:stop]:
            for i, (f, g) in enumerate(phases):
                U = shares[0][:, :, i, a:b]
                for other in shares[1:]:
                    U += other[:, :, i, a:b]
                U = U.swapaxes(0, 1).reshape(rows.n, columns.n, -1)
                strips = np.matmul(columns.G[:, : columns.taps(g)].T, U)  # (r, taps across, a number of W)
                of_f = W[f :: rows.step, g :: columns.step, a:b].swapaxes(0, 1)
                of_f[...] = np.matmul(rows.G[:, : rows.taps(f)].T, strips.swapaxes(0, 1)).reshape(of_f.shape)

    share_out(work, len(spans), least=_least(spans, rows.n * columns.n * o))
    return W


def _least(spans: list[tuple[int, int]], numbers: int) -> int:
    """How many spans of channels of x are worth a core, with so many numbers for each channel."""
    return max(1, LEAST // (spans[0][1] * numbers))


def _of(U: np.ndarray, c: slice, r: slice, phases: slice) -> np.ndarray:
    """U_cr of some products and phases, (c, r, P·k, o)."""
    part = U[c, r, phases]
    return part.reshape(*part.shape[:2], -1, part.shape[-1])
