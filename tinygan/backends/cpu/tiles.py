"""Images cut into the overlapping tiles of Winograd's convolution, and their transforms; see ``winograd``.

All of it is products of a small matrix with long rows, a few images at a time, in memory that is used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from ...ops import Window
from .threads import pieces_of

PIECE = 1 << 22  # numbers in V and M of the images that a core transforms together, or one image, if that has more
LONG_ENOUGH = 512  # tiles of a piece that is cut for more cores than two
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)  # and infinity; more would cost float32 another digit
OUTPUTS = {2: 4, 3: 4, 4: 3, 5: 2}  # of a tile along an axis, by the number of taps: 4, or what these points allow

_strided = np.lib.stride_tricks.as_strided


class Axis(NamedTuple):
    """One dimension: its matrices, the kernel and its step, and how many tiles there are."""

    B: np.ndarray  #: (n, n)
    G: np.ndarray  #: (n, r), for r taps
    A: np.ndarray  #: (n, m), for m outputs of a tile
    kernel: int
    step: int
    tiles: int

    @classmethod
    def of(cls, kernel: int, step: int, places: int, dtype: np.dtype) -> Axis:
        """For ``places`` outputs."""
        taps = -(-kernel // step)
        return cls(*matrices(taps, OUTPUTS[taps], dtype), kernel, step, -(-places // OUTPUTS[taps]))

    @property
    def n(self) -> int:
        """Products of a tile; it covers as many cells of the image, one for each step."""
        return len(self.B)

    @property
    def m(self) -> int:
        return self.A.shape[1]

    @property
    def full(self) -> int:
        """How many phases have all r taps."""
        return self.kernel - (self.G.shape[1] - 1) * self.step

    @property
    def cells(self) -> int:
        """That all tiles cover: each begins m after the one before, the last needs more."""
        return self.m * self.tiles + self.n - self.m

    @property
    def products(self) -> int:
        """Of a number of x with one of W, along all the tiles; the last needs the phases with all taps alone."""
        return self.tiles * (self.step * (self.n - 1) + self.full)

    def taps(self, phase: int) -> int:
        return -(-(self.kernel - phase) // self.step)

    def pixels(self, size: int, before: int) -> list[tuple[slice, slice]]:
        """Of each phase: which of its cells hold pixels of an image of ``size`` with zeros ``before``, and which."""
        spans = []
        for f in range(self.step):
            cell = -(-(before - f) // self.step)
            pixel = cell * self.step + f - before
            count = max(0, min(self.cells - cell, -(-(size - pixel) // self.step)))
            spans.append((slice(cell, cell + count), slice(pixel, pixel + count * self.step, self.step)))
        return spans


@lru_cache(64)
def matrices(taps: int, outputs: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B, G and A for a kernel of r taps and m outputs.

    Point a_j has the rows a_j^i for A, a_j^i / Π_{k≠j} (a_j − a_k) for G, and for B the coefficients of
    Π_{k≠j} (x − a_k); infinity has the last coefficient of A and G, and Π (x − a_k) (Toom, 1963; Cook, 1966).
    """
    n = outputs + taps - 1
    points = POINTS[: n - 1]
    B, G, A = np.zeros((n, n)), np.zeros((n, taps)), np.zeros((n, outputs))
    for j, a in enumerate(points):
        others = [b for b in points if b != a]
        A[j] = a ** np.arange(outputs)
        G[j] = a ** np.arange(taps) / prod(a - b for b in others)
        B[j, : n - 1] = np.poly(others)[::-1]
    A[-1, -1] = G[-1, -1] = 1.0
    B[-1] = np.poly(points)[::-1]
    return B.astype(dtype), G.astype(dtype), A.astype(dtype)


def phases_of(rows: Axis, columns: Axis) -> list[tuple[int, int]]:
    """The parts (f, g) of an image whose pixels a kernel meets with every step-th of its taps, in an order in which
    those that have all taps down, or across, lie together."""
    return [(f, g) for f, g in ((1, 0), (0, 0), (0, 1), (1, 1)) if f < rows.step and g < columns.step]


def groups_of(rows: Axis, columns: Axis) -> list[tuple[slice, slice, slice]]:
    """The products (c, r) that the same phases take part in, and these: only those with all taps in the last ones."""
    phases = phases_of(rows, columns)
    groups = []
    for last_c in (False, True) if columns.full < columns.step else (None,):
        for last_r in (False, True) if rows.full < rows.step else (None,):
            part = [
                i
                for i, (f, g) in enumerate(phases)
                if (f < rows.full or not last_r) and (g < columns.full or not last_c)
            ]
            spans = [{None: slice(0, n), False: slice(0, n - 1), True: slice(n - 1, n)} for n in (columns.n, rows.n)]
            groups.append((spans[0][last_c], spans[1][last_r], slice(part[0], part[-1] + 1)))
    return groups


def clear_unwritten(products: np.ndarray, rows: Axis, columns: Axis) -> None:
    """Set those of products (c, r, ..., P, k, o) to 0 that no group writes."""
    for i, (f, g) in enumerate(phases_of(rows, columns)):
        if f >= rows.full:
            products[:, -1, ..., i, :, :] = 0.0
        if g >= columns.full:
            products[-1, ..., i, :, :] = 0.0


def pieces(n: int, rows: Axis, columns: Axis, k: int, o: int) -> list[tuple[int, int]]:
    """The images of each piece."""
    tiles = rows.tiles * columns.tiles
    numbers = rows.n * columns.n * tiles * (len(phases_of(rows, columns)) * k + o)
    return pieces_of(n, PIECE // numbers, n * tiles // LONG_ENOUGH)


class Tiles:
    """A few images at a time, cut into tiles: x -> V and y -> M, and the transposes V -> x and M -> y.

    Axes: products c across and r down, th and tw tiles down and across, s images, P phases, k channels of the image x,
    o channels of the outputs y. The images stand next to the channels, so that rows are long.
    """

    def __init__(self, rows: Axis, columns: Axis, window: Window, k: int, o: int, dtype: np.dtype) -> None:
        self.rows, self.columns, self.k, self.o, self.window, self.dtype = rows, columns, k, o, window, dtype
        self.phases, self.groups = phases_of(rows, columns), groups_of(rows, columns)
        self.s = 0  # images that there is room for

    def make_room(self, s: int) -> None:
        """For pieces of s images."""
        if s == self.s:
            return
        rows, columns, dtype = self.rows, self.columns, self.dtype
        grid, image, self.s = (rows.tiles, columns.tiles, s), (s, len(self.phases) * self.k), s
        self.cells = np.zeros((rows.cells, columns.cells, *image), dtype)
        self.strips = np.empty((rows.n, rows.tiles, columns.cells, *image), dtype)
        self.v = np.empty((columns.n, rows.n, *grid, image[1]), dtype)
        self.products = np.empty((columns.n, rows.n, *grid, self.o), dtype)
        self.half = np.empty((columns.m, rows.n, *grid, self.o), dtype)
        self.outputs = np.zeros((columns.m, rows.m, *grid, self.o), dtype)

    def V(self, c: slice, r: slice, phases: slice) -> np.ndarray:
        """(c, r, th·tw·s, P·k)."""
        return _joined(self.v[c, r, ..., phases.start * self.k : phases.stop * self.k])

    def M(self, c: slice, r: slice) -> np.ndarray:
        """(c, r, th·tw·s, o)."""
        return _joined(self.products[c, r])

    # ---- V = B x Bᵀ ------------------------------------------------------------------------------------------------

    def read_image(self, x: np.ndarray) -> None:
        for cells, pixels in self._overlap(x):
            cells[...] = pixels  # the zeros around it stay
        (down, across, image, number), rows, columns = self.cells.strides, self.rows, self.columns
        s, L = self.cells.shape[2:]
        windows = _strided(
            self.cells, (rows.tiles, columns.cells, s, rows.n, L), (rows.m * down, across, image, down, number)
        )
        np.matmul(rows.B, windows, out=self.strips.transpose(1, 2, 3, 0, 4))
        r, down, across, image, number = self.strips.strides
        windows = _strided(
            self.strips,
            (rows.n, rows.tiles, columns.tiles, s, columns.n, L),
            (r, down, columns.m * across, image, across, number),
        )
        np.matmul(columns.B, windows, out=self.v.transpose(1, 2, 3, 4, 0, 5))

    def write_image(self, x: np.ndarray, b: np.ndarray | None) -> None:
        """x = Bᵀ V B, plus b."""
        rows, columns = self.rows, self.columns
        clear_unwritten(self.v.reshape(*self.v.shape[:-1], -1, self.k, 1), rows, columns)
        _add_windows(columns, self.v.transpose(3, 1, 2, 4, 0, 5), self.strips.transpose(2, 0, 1, 3, 4))
        _add_windows(rows, self.strips.transpose(1, 2, 3, 0, 4), self.cells)
        top, _, left, _ = self.window.pads
        if x.shape[1] > rows.cells * rows.step - top or x.shape[2] > columns.cells * columns.step - left:
            x[...] = 0.0 if b is None else b  # the kernel has not been there
        for cells, pixels in self._overlap(x):
            _store(cells, b, pixels)

    def _overlap(self, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cells of each phase that hold pixels, and these pixels, (s, H, W, k)."""
        top, _, left, _ = self.window.pads
        down, across = self.rows.pixels(x.shape[1], top), self.columns.pixels(x.shape[2], left)
        for i, (f, g) in enumerate(self.phases):
            cells = self.cells[down[f][0], across[g][0], :, i * self.k : (i + 1) * self.k]
            yield cells.transpose(2, 0, 1, 3), x[:, down[f][1], across[g][1]]

    # ---- y = Aᵀ M A ------------------------------------------------------------------------------------------------

    def write_outputs(self, y: np.ndarray, b: np.ndarray | None) -> None:
        M, half, outputs = self._in_rows()
        np.matmul(self.columns.A.T, M.transpose(1, 2, 0, 3), out=half.transpose(1, 2, 0, 3))
        np.matmul(self.rows.A.T, half.swapaxes(1, 2), out=outputs.swapaxes(1, 2))
        for places, of_tiles in self._places(y):
            _store(of_tiles, b, places)

    def read_outputs(self, y: np.ndarray) -> None:
        """M = A y Aᵀ."""
        for places, of_tiles in self._places(y):
            of_tiles[...] = places  # those beyond the last stay 0
        M, half, outputs = self._in_rows()
        np.matmul(self.rows.A, outputs.swapaxes(1, 2), out=half.swapaxes(1, 2))
        np.matmul(self.columns.A, half.transpose(1, 2, 0, 3), out=M.transpose(1, 2, 0, 3))

    def _in_rows(self) -> Iterator[np.ndarray]:
        """(c, r, th, tw·s·o) each."""
        return (a.reshape(*a.shape[:3], -1) for a in (self.products, self.half, self.outputs))

    def _places(self, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Where the outputs (q, p) of all tiles stand in y, and they, (s, th, tw, o)."""
        for q in range(self.columns.m):
            for p in range(self.rows.m):
                places = y[:, p :: self.rows.m, q :: self.columns.m]
                yield places, self.outputs[q, p, : places.shape[1], : places.shape[2]].transpose(2, 0, 1, 3)


def _joined(a: np.ndarray) -> np.ndarray:
    """(c, r, th, tw, s, L) -> (c, r, th·tw·s, L), of which only L may be a part of the memory."""
    c, r, th, tw, s, L = a.shape
    return _strided(a, (c, r, th * tw * s, L), (*a.strides[:2], *a.strides[4:]))


def _add_windows(axis: Axis, V: np.ndarray, cells: np.ndarray) -> None:
    """cells (cells, ..., L) = the sum of Bᵀ V over all tiles, V (tiles, ..., n, L): each overlaps the next by n − m."""
    m, n, tiles = axis.m, axis.n, axis.tiles
    first, *rest, number = cells.strides
    own = _strided(cells, (tiles, *cells.shape[1:-1], m, cells.shape[-1]), (m * first, *rest, first, number))
    np.matmul(axis.B[:, :m].T, V, out=own)
    cells[m * tiles :] = 0.0
    for j in range(m, n, m):
        more = np.matmul(axis.B[:, j : j + m].T, V)
        for i in range(more.shape[-2]):
            cells[j + i : j + i + m * (tiles - 1) + 1 : m] += more[..., i, :]


def _store(of_tiles: np.ndarray, b: np.ndarray | None, places: np.ndarray) -> None:
    if b is None:
        places[...] = of_tiles
    else:
        np.add(of_tiles, b, out=places)
