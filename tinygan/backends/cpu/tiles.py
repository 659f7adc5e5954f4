"""Images cut into the overlapping tiles of Winograd's convolution, and their transforms; see ``winograd``.

All of it is sums and differences of slices, made a few images at a time in memory that stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import prod
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from ...ops import Window

PIECE = 1 << 17  # numbers in one V_rc: enough rows for fast matrix products, and little enough for the cache

# By the number of taps: B, G and A as signs, one row for each product, and the factors of G's rows
SIGNS = {
    2: (((1, -1, 0), (0, 1, 0), (0, -1, 1)), ((1, 0), (1, 1), (0, 1)), ((1, 0), (1, 1), (0, 1)), (1, 1, 1)),
    3: (
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)),
        ((1, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 1)),
        ((1, 0), (1, 1), (1, -1), (0, 1)),
        (1, 0.5, 0.5, 1),
    ),
}


class Axis(NamedTuple):
    """One dimension: B, G, A, the factors, the step, how many tiles need product i and how many phases it has, and of
    each sign in B whether it is the first that reaches what its tap meets, in the same tile or the one before."""

    B: tuple[tuple[int, ...], ...]
    G: tuple[tuple[int, ...], ...]
    A: tuple[tuple[int, ...], ...]
    factors: tuple[float, ...]
    step: int
    tiles: tuple[int, ...]
    phases: tuple[int, ...]
    first: tuple[tuple[bool, ...], ...]

    @classmethod
    def of(cls, kernel: int, step: int, places: int) -> Axis:
        B, G, A, factors = SIGNS[-(-kernel // step)]
        # the last tile of an odd number of outputs has only the first of its two
        tiles = tuple(-(-places // 2) if a[0] else places // 2 for a in A)
        # phase f has ⌈(kernel − f) / step⌉ taps; product i needs it if one of them has a sign in G's row
        phases = tuple(sum(any(g[: -(-(kernel - f) // step)]) for f in range(step)) for g in G)
        first = tuple(
            tuple(
                tap < 2 and not any(row[t] for row in B[:i] for t in range(tap, len(row), 2))
                for tap in range(len(B[i]))
            )
            for i in range(len(B))
        )
        return cls(B, G, A, factors, step, tiles, phases, first)

    @property
    def products(self) -> int:
        """Of a number of x with one of W, along all the tiles."""
        return sum(map(mul, self.tiles, self.phases))

    @property
    def cells(self) -> int:
        """How many steps of the image the tiles cover: each begins two after the one before, the last needs more."""
        return 2 * self.tiles[0] + len(self.B[0]) - 2

    def pixels(self, size: int, before: int) -> Iterator[tuple[int, slice, slice]]:
        """Of each phase: which of its cells hold pixels of an image of ``size`` with zeros ``before``, and which."""
        for f in range(self.step):
            cell = -(-(before - f) // self.step)
            pixel = cell * self.step + f - before
            n = max(0, min(self.cells - cell, -(-(size - pixel) // self.step)))
            yield f, slice(cell, cell + n), slice(pixel, pixel + n * self.step, self.step)


class Tiles:
    """A few images at a time, cut into tiles: x -> V and y -> M, and the transposes V -> x and M -> y.

    Axes: th and tw tiles down and across, n images, f phases, k channels of the image x, o channels of the outputs y.
    The images stand next to the channels, so that every sum runs over long stretches of memory.
    """

    def __init__(self, rows: Axis, columns: Axis, window: Window, k: int, o: int, dtype: np.dtype, n: int) -> None:
        self.rows, self.columns, self.k, self.o = rows, columns, k, o
        self.top, _, self.left, _ = window.pads
        grid = rows.tiles[0], columns.tiles[0]
        numbers = rows.step * columns.step * k
        pieces = -(-n // max(1, PIECE // (prod(grid) * numbers)))
        self.size = -(-n // pieces)  # images in a piece
        image = self.size, rows.step, columns.step, k
        self.cells = np.zeros((rows.cells, columns.cells, *image), dtype=dtype)
        self.strips = np.empty((grid[0], columns.cells, *image), dtype=dtype)
        self.v = np.empty(prod(grid) * self.size * numbers, dtype=dtype)
        self.m = np.empty((len(columns.B), prod(grid) * self.size * o), dtype=dtype)
        self.half = np.empty((2, *grid, self.size, o), dtype=dtype)
        self.outputs = np.zeros((2, 2, *grid, self.size, o), dtype=dtype)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for i in range(start, stop, self.size):
            self.n = min(self.size, stop - i)
            yield i, i + self.n

    # ---- from the image to V: V_rc = Σ_pq B_rp B_cq d_pq -------------------------------------------------------------

    def read_image(self, x: np.ndarray) -> None:
        for cells, pixels in self._overlap(x):
            cells[...] = pixels  # the zeros around it stay

    def transform_rows(self, r: int) -> None:
        """Strips: the rows of product r, as wide as the image still."""
        signs = self.rows.B[r]
        mix(signs, [self._down(r, tap) if sign else None for tap, sign in enumerate(signs)], self._strips(r))

    def V(self, r: int, c: int) -> np.ndarray:
        """V_rc (th·tw·n, f·f·k), of the strips of product r."""
        V, signs = self.room(r, c), self.columns.B[c]
        taps = [self._across(r, c, tap) if sign else None for tap, sign in enumerate(signs)]
        mix(signs, taps, V.reshape(self._shape(r, c)))
        return V

    def room(self, r: int, c: int) -> np.ndarray:
        """Memory of V_rc's shape."""
        shape = self._shape(r, c)
        rows, numbers = prod(shape[:3]), prod(shape[3:])
        return self.v[: rows * numbers].reshape(rows, numbers)

    # ---- and its transpose: d_pq = Σ_rc B_rp B_cq V_rc ---------------------------------------------------------------

    def add_columns(self, r: int, c: int, V: np.ndarray) -> None:
        """Add V_rc to the strips of product r; whoever comes first to a place writes."""
        if c == 0:
            self._strips(r)[:, 2 * self.columns.tiles[0] :] = 0.0
        V = V.reshape(self._shape(r, c))
        for tap, sign in enumerate(self.columns.B[c]):
            if sign:
                add(sign, V, self._across(r, c, tap), first=self.columns.first[c][tap])

    def add_rows(self, r: int) -> None:
        if r == 0:
            self.cells[2 * self.rows.tiles[0] :] = 0.0
        strips = self._strips(r)
        for tap, sign in enumerate(self.rows.B[r]):
            if sign:
                add(sign, strips, self._down(r, tap), first=self.rows.first[r][tap])

    def write_image(self, x: np.ndarray, b: np.ndarray | None) -> None:
        rows, columns = self.rows, self.columns
        if x.shape[1] > rows.cells * rows.step - self.top or x.shape[2] > columns.cells * columns.step - self.left:
            x[...] = 0.0 if b is None else b  # pixels that no kernel reaches
        for cells, pixels in self._overlap(x):
            if b is None:
                pixels[...] = cells
            else:
                np.add(cells, b, out=pixels)

    # ---- from M to the outputs: y_pq = Σ_rc A_rp A_cq M_rc -----------------------------------------------------------

    def M(self, r: int, c: int) -> np.ndarray:
        """Memory for M_rc (th·tw·n, o); that of another r is the same."""
        rows = prod(self._shape(r, c)[:3])
        return self.m[c, : rows * self.o].reshape(rows, self.o)

    def add_outputs(self, r: int) -> None:
        outputs_met = [p for p in (0, 1) if self.rows.A[r][p]]
        new = next((p for p in outputs_met if not any(row[p] for row in self.rows.A[:r])), None)
        th = self.rows.tiles[r]
        products = [self.M(r, c).reshape(*self._shape(r, c)[:3], self.o) for c in range(len(self.columns.A))]
        for q, signs in enumerate(zip(*self.columns.A, strict=True)):
            tw = self.columns.tiles[-q]  # of the last product if q is 1
            half = (self.half[0] if new is None else self.outputs[new, q])[:th, :tw, : self.n]
            mix(signs, [M[:, :tw] for M in products], half)
            for p in outputs_met:
                if p != new:
                    add(self.rows.A[r][p], half, self.outputs[p, q, :th, :tw, : self.n])

    def write_outputs(self, y: np.ndarray, b: np.ndarray | None) -> None:
        for outputs, places in self._places(y):
            if b is None:
                places[...] = outputs
            else:
                np.add(outputs, b, out=places)

    # ---- and its transpose: M_rc = Σ_pq A_rp A_cq y_pq ---------------------------------------------------------------

    def read_outputs(self, y: np.ndarray) -> None:
        for outputs, places in self._places(y):
            outputs[...] = places  # beyond them there are zeros, and stay

    def outputs_to_products(self, r: int) -> None:
        """M_rc of one r and all c."""
        halves = self.half[:, : self.rows.tiles[r], :, : self.n]
        for q in (0, 1):
            mix(self.rows.A[r], self.outputs[:, q, : self.rows.tiles[r], :, : self.n], halves[q])
        for c, signs in enumerate(self.columns.A):
            th, tw, n, *_ = self._shape(r, c)
            mix(signs, halves[:, :, :tw], self.M(r, c).reshape(th, tw, n, self.o))

    # ---- views of the memory -----------------------------------------------------------------------------------------

    def _shape(self, r: int, c: int) -> tuple[int, ...]:
        """Of V_rc, with all its axes: (th, tw, n, f, f, k)."""
        rows, columns = self.rows, self.columns
        return rows.tiles[r], columns.tiles[c], self.n, rows.phases[r], columns.phases[c], self.k

    def _down(self, r: int, tap: int) -> np.ndarray:
        """Rows of cells that this tap of product r meets."""
        return self.cells[tap : tap + 2 * self.rows.tiles[r] : 2, :, : self.n, : self.rows.phases[r]]

    def _strips(self, r: int) -> np.ndarray:
        return self.strips[: self.rows.tiles[r], :, : self.n, : self.rows.phases[r]]

    def _across(self, r: int, c: int, tap: int) -> np.ndarray:
        """Of the strips of product r, what this tap of product c meets."""
        tiles, phases = slice(tap, tap + 2 * self.columns.tiles[c], 2), self.columns.phases[c]
        return self._strips(r)[:, tiles, :, :, :phases]

    def _overlap(self, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cells and the pixels of x that belong there, (n, rows, columns, k), for each pair of phases."""
        for f, down, rows in self.rows.pixels(x.shape[1], self.top):
            for g, across, columns in self.columns.pixels(x.shape[2], self.left):
                yield self.cells[down, across, : self.n, f, g].transpose(2, 0, 1, 3), x[:, rows, columns]

    def _places(self, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """First and second outputs of the tiles, down and across, and their places in y, (n, th, tw, o)."""
        for p in (0, 1):
            for q in (0, 1):
                outputs = self.outputs[p, q, : self.rows.tiles[-p], : self.columns.tiles[-q], : self.n]
                yield outputs.transpose(2, 0, 1, 3), y[:, p::2, q::2]


def mix(signs: tuple[int, ...], arrays: np.ndarray | Sequence[Any], out: np.ndarray, factor: float = 1) -> None:
    """out = factor · Σ sign · array; one of the signs is +. Arrays beyond those that are given count as zeros, and
    where the sign is 0, there may be None."""
    (i, _), *rest = _terms(signs[: len(arrays)])
    if rest:
        j, sign = rest[0]
        (np.add if sign > 0 else np.subtract)(arrays[i], arrays[j], out=out)
    else:
        out[...] = arrays[i]
    for j, sign in rest[1:]:
        add(sign, arrays[j], out)
    if factor != 1:
        out *= factor


@cache
def _terms(signs: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Where signs stand, and which; one that is + comes first."""
    return tuple(sorted(((i, sign) for i, sign in enumerate(signs) if sign), key=lambda term: -term[1]))


def add(sign: int, array: np.ndarray, to: np.ndarray, *, first: bool = False) -> None:
    """to += sign · array, or to = sign · array if it is the first; sign is + or −."""
    if not first:
        (np.add if sign > 0 else np.subtract)(to, array, out=to)
    elif sign > 0:
        to[...] = array
    else:
        np.negative(array, out=to)
