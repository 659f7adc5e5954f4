"""Convolutions in steps of 1 or 2 with about half of the multiplications (Winograd, 1980; Lavin and Gray, 2016).

In one dimension and steps of 1, two neighbouring outputs y of a kernel g with two taps need four products. Three do:

    m₀ = (d₀ − d₁) g₀      m₁ = d₁ (g₀ + g₁)      m₂ = (d₂ − d₁) g₁      y₀ = m₀ + m₁      y₁ = m₁ + m₂

With B, G and A for the three sets of signs this is m = (B d) · (G g), y = Aᵀ m. Three taps need four products in
place of six. In two dimensions the same is done along rows and columns: 9 products for a tile of 2 x 2 outputs in place
of 16, or 16 in place of 36. Over channels and tiles each product r, c is one of matrices,

    M_rc = V_rc U_rc        V = B d Bᵀ of each tile d of x        U = G W Gᵀ        y = Aᵀ M A

In steps of 2, a kernel's taps meet even pixels or odd ones: with both (the *phases*) side by side as channels, it is a
convolution in steps of 1 with half as many taps, 4 -> 2 and 5 -> 3 (odd pixels: 2). Products with taps that are not
there are left out: 49 remain in place of 100 for a kernel of 5 x 5, and 36 in place of 64 for 4 x 4. So are those that
only an output beyond the last of an odd number would need.

All of it is linear in x and in W, and so the derivatives are the same steps, transposed, in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod

import numpy as np

from ...ops import Window
from .blocks import accumulate_matmul
from .threads import share_images, share_out
from .tiles import PIECE, SIGNS, Axis, Tiles, add, mix

LEAST = 1 << 19  # numbers in a core's part of all U_rc; over fewer, two cores lose more to each other than they gain


@lru_cache(1024)
def axes(window: Window) -> tuple[Axis, Axis]:
    """Both dimensions; of a window that has such a form."""
    rows, columns = (Axis.of(*of) for of in zip(window.kernel, window.stride, window.grid, strict=True))
    return rows, columns


def saves(window: Window, channels: int, images: int) -> bool:
    """Whether a core with so many images is faster this way than with the plain sum of products. Measured: it is where
    a good third of the products is saved, and with so many channels and tiles that its matrices are large ones."""
    (kh, kw), (sh, sw), _, (ho, wo) = window
    if channels < 32 or max(sh, sw) > 2 or -(-kh // sh) not in SIGNS or -(-kw // sw) not in SIGNS:
        return False
    rows, columns = axes(window)
    fewer = rows.products * columns.products < 0.65 * kh * kw * ho * wo
    tiles = images * rows.tiles[0] * columns.tiles[0]
    return fewer and tiles >= 64 and tiles * sh * sw * channels >= PIECE // 4


def convolve(x: np.ndarray, W: np.ndarray, window: Window, b: np.ndarray | None = None) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve`: y = Aᵀ M A, plus b."""
    rows, columns = axes(window)
    U = _transform_weights(W, rows, columns)
    y = np.empty((len(x), *window.grid, W.shape[3]), dtype=x.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, W.shape[2], W.shape[3], x.dtype, stop - start)
        for i, j in tiles.pieces(start, stop):
            tiles.read_image(x[i:j])
            for r in range(len(rows.B)):
                tiles.transform_rows(r)
                for c in range(len(columns.B)):
                    np.matmul(tiles.V(r, c), U[r][c], out=tiles.M(r, c))
                tiles.add_outputs(r)
            tiles.write_outputs(y[i:j], b)

    share_images(work, len(x), y.size * W[..., 0].size)
    return y


def convolve_adjoint(
    y: np.ndarray, W: np.ndarray, hw: tuple[int, int], window: Window, b: np.ndarray | None = None
) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_adjoint`: M = A y Aᵀ, V = M Uᵀ, x = Bᵀ V B, plus b."""
    rows, columns = axes(window)
    U = _transform_weights(W, rows, columns)
    x = np.empty((len(y), *hw, W.shape[2]), dtype=y.dtype)

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, W.shape[2], W.shape[3], y.dtype, stop - start)
        for i, j in tiles.pieces(start, stop):
            tiles.read_outputs(y[i:j])
            for r in range(len(rows.B)):
                tiles.outputs_to_products(r)
                for c in range(len(columns.B)):
                    tiles.add_columns(r, c, np.matmul(tiles.M(r, c), U[r][c].T, out=tiles.room(r, c)))
                tiles.add_rows(r)
            tiles.write_image(x[i:j], b)

    share_images(work, len(y), y.size * W[..., 0].size)
    return x


def convolve_weights(x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """As :meth:`tinygan.ops.Ops.convolve_weights`: U = Vᵀ M with V = B x Bᵀ and M = A y Aᵀ, W = Gᵀ U G."""
    rows, columns = axes(window)
    shape = (*window.kernel, x.shape[3], y.shape[3])
    sums = []

    def work(start: int, stop: int) -> None:
        tiles = Tiles(rows, columns, window, *shape[2:], x.dtype, stop - start)
        weights = _Weights(rows, columns, *shape[2:], x.dtype)
        for i, j in tiles.pieces(start, stop):
            tiles.read_image(x[i:j])
            tiles.read_outputs(y[i:j])
            for r in range(len(rows.B)):
                tiles.transform_rows(r)
                tiles.outputs_to_products(r)
                for c, U in enumerate(weights.U[r]):
                    accumulate_matmul(U, tiles.V(r, c).T, tiles.M(r, c), add=i > start)
        sums.append((start, weights))

    share_images(work, len(x), y.size * prod(shape[:3]))
    sums.sort(key=lambda item: item[0])  # in the order of the images, whichever core was first
    return _transform_weights_adjoint([weights for _, weights in sums], shape, rows, columns)


class _Weights:
    """Memory for U_rc (f·f·k, o) of all products r and c; rows with equally many phases lie together, in one block."""

    def __init__(self, rows: Axis, columns: Axis, k: int, o: int, dtype: np.dtype) -> None:
        self.rows, self.columns = rows, columns
        self.runs = [list(run) for _, run in groupby(range(len(rows.phases)), key=rows.phases.__getitem__)]
        # blocks[run][c] is (rows of the run, f, g, k, o) with f and g phases
        self.blocks = [
            [np.empty((len(run), rows.phases[run[0]], g, k, o), dtype=dtype) for g in columns.phases]
            for run in self.runs
        ]
        self.U = [
            [block[i].reshape(-1, o) for block in blocks]
            for run, blocks in zip(self.runs, self.blocks, strict=True)
            for i in range(len(run))
        ]

    def strips(self, run: list[int], kw: int, k: int, o: int) -> np.ndarray:
        """Memory for what has been transformed along one axis only."""
        return np.empty((len(run), self.rows.phases[run[0]], kw, k, o), dtype=self.U[0][0].dtype)

    def share_out(self, work: Callable[[int, int], None], k: int, o: int) -> None:
        share_out(work, k, least=max(1, LEAST // (len(self.U) * len(self.U[0]) * o)))


def _transform_weights(W: np.ndarray, rows: Axis, columns: Axis) -> list[list[np.ndarray]]:
    """U = G W Gᵀ."""
    _, kw, k, o = W.shape
    weights = _Weights(rows, columns, k, o, W.dtype)

    def work(start: int, stop: int) -> None:
        for run, blocks in zip(weights.runs, weights.blocks, strict=True):
            strips = weights.strips(run, kw, stop - start, o)
            for i, r in enumerate(run):
                for f in range(rows.phases[r]):
                    mix(rows.G[r], W[f :: rows.step, :, start:stop], strips[i, f], rows.factors[r])
            for c, block in enumerate(blocks):
                for g in range(columns.phases[c]):
                    taps = [strips[:, :, q] for q in range(g, kw, columns.step)]
                    mix(columns.G[c], taps, block[:, :, g, start:stop], columns.factors[c])

    weights.share_out(work, k, o)
    return weights.U


def _transform_weights_adjoint(
    shares: Sequence[_Weights], shape: tuple[int, ...], rows: Axis, columns: Axis
) -> np.ndarray:
    """W = Gᵀ U G, with U the sum of the shares of the cores: the transpose of the above."""
    _, kw, k, o = shape
    W = np.zeros(shape, dtype=shares[0].U[0][0].dtype)

    def work(start: int, stop: int) -> None:
        for n, run in enumerate(shares[0].runs):
            strips = shares[0].strips(run, kw, stop - start, o)
            total = np.empty_like(strips[:, :, 0])
            strips[...] = 0.0
            for c in range(len(columns.B)):
                for g in range(columns.phases[c]):
                    of_cores = [share.blocks[n][c][:, :, g, start:stop] for share in shares]
                    mix((1,) * len(of_cores), of_cores, total, columns.factors[c])
                    for sign, q in zip(columns.G[c], range(g, kw, columns.step), strict=False):
                        if sign:
                            add(sign, total, strips[:, :, q])
            for i, r in enumerate(run):
                strips[i] *= rows.factors[r]
                for f in range(rows.phases[r]):
                    for sign, place in zip(rows.G[r], W[f :: rows.step, :, start:stop], strict=False):
                        if sign:
                            add(sign, strips[i, f], place)

    shares[0].share_out(work, k, o)
    return W
