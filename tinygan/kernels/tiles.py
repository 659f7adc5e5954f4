"""Images cut into the overlapping tiles of Winograd's convolution, and their transforms; see ``kernels.winograd``.

All of it is sums and differences of slices, made a few images at a time in memory that stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .plain import Window

PIECE = 1 << 18  # numbers in one V_rc: enough rows for fast matrix products, and little enough for the cache

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
    """One dimension: B, G, A, the factors, the step, how many tiles there are, how many phases product i has, and of
    each sign in B whether it is the first that reaches what its tap meets, in the same tile or the one before."""

    B: tuple[tuple[int, ...], ...]
    G: tuple[tuple[int, ...], ...]
    A: tuple[tuple[int, ...], ...]
    factors: tuple[float, ...]
    step: int
    tiles: int
    phases: tuple[int, ...]
    first: tuple[tuple[bool, ...], ...]

    @classmethod
    def of(cls, kernel: int, step: int, places: int) -> Axis:
        B, G, A, factors = SIGNS[-(-kernel // step)]
        # phase f has ⌈(kernel − f) / step⌉ taps; product i needs it if one of them has a sign in G's row
        phases = tuple(sum(any(g[: -(-(kernel - f) // step)]) for f in range(step)) for g in G)
        first = tuple(
            tuple(
                tap < 2 and not any(row[t] for row in B[:i] for t in range(tap, len(row), 2))
                for tap in range(len(B[i]))
            )
            for i in range(len(B))
        )
        return cls(B, G, A, factors, step, -(-places // 2), phases, first)

    @property
    def pixels(self) -> int:
        """Of the image that the tiles cover: each begins two steps after the one before, and the last needs more."""
        return 2 * self.step * (self.tiles + 1)


class Tiles:
    """A few images at a time, cut into tiles: x -> V and y -> M, and the transposes V -> x and M -> y.

    Axes: n images, th and tw tiles down and across, f phases, k channels of the image x, o channels of the outputs y.
    """

    def __init__(self, rows: Axis, columns: Axis, window: Window, k: int, o: int, dtype: np.dtype, n: int) -> None:
        self.rows, self.columns, self.k, self.o = rows, columns, k, o
        self.th, self.tw = rows.tiles, columns.tiles
        self.grid, (self.top, _, self.left, _) = window.grid, window.pads
        phases = rows.step * columns.step * k
        self.size = max(1, min(n, PIECE // (self.th * self.tw * phases)))  # images in a piece
        tiles = self.size * self.th * self.tw
        self.padded = np.zeros((self.size, rows.pixels, columns.pixels, k), dtype=dtype)
        self.strips = np.empty((self.size, self.th, rows.step, self.tw + 1, 2, columns.step * k), dtype=dtype)
        self.across = self.strips.transpose(0, 1, 3, 4, 2, 5)
        self.v = np.empty(tiles * phases, dtype=dtype)
        self.m = np.empty((len(columns.B), tiles, o), dtype=dtype)
        self.half = np.empty((tiles, o), dtype=dtype)
        self.outputs = np.zeros((self.size, self.th, 2, self.tw, 2, o), dtype=dtype)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for i in range(start, stop, self.size):
            self.n = min(self.size, stop - i)
            self.count = self.n * self.th * self.tw
            yield i, i + self.n

    # ---- from the image to V: V_rc = Σ_pq B_rp B_cq d_pq -------------------------------------------------------------

    def read_image(self, x: np.ndarray) -> None:
        inside, x = self._overlap(x)
        inside[...] = x  # the zeros around it stay

    def transform_rows(self, r: int) -> None:
        """Strips: the rows of product r, as wide as the image still."""
        signs = self.rows.B[r]
        mix(signs, [self._down(r, tap) if sign else None for tap, sign in enumerate(signs)], self._strips(r))

    def V(self, r: int, c: int) -> np.ndarray:
        """V_rc (n·th·tw, f·f·k), of the strips of product r."""
        V, signs = self.room(r, c), self.columns.B[c]
        taps = [self._across(r, c, tap) if sign else None for tap, sign in enumerate(signs)]
        mix(signs, taps, V.reshape(self.n, self.th, self.tw, self.rows.phases[r], -1))
        return V

    def room(self, r: int, c: int) -> np.ndarray:
        """Memory of V_rc's shape."""
        width = self.rows.phases[r] * self.columns.phases[c] * self.k
        return self.v[: self.count * width].reshape(self.count, width)

    # ---- and its transpose: d_pq = Σ_rc B_rp B_cq V_rc ---------------------------------------------------------------

    def add_columns(self, r: int, c: int, V: np.ndarray) -> None:
        """Add V_rc to the strips of product r; whoever comes first to a place writes."""
        if c == 0:
            self.strips[: self.n, :, : self.rows.phases[r], -1] = 0.0
        V = V.reshape(self.n, self.th, self.tw, self.rows.phases[r], -1)
        for tap, sign in enumerate(self.columns.B[c]):
            if sign:
                add(sign, V, self._across(r, c, tap), first=self.columns.first[c][tap])

    def add_rows(self, r: int) -> None:
        if r == 0:
            self.padded[: self.n, -2 * self.rows.step :] = 0.0
        strips = self._strips(r)
        for tap, sign in enumerate(self.rows.B[r]):
            if sign:
                add(sign, strips, self._down(r, tap), first=self.rows.first[r][tap])

    def write_image(self, x: np.ndarray, b: np.ndarray | None) -> None:
        inside, covered = self._overlap(x)
        if covered.shape != x.shape:
            x[...] = 0.0 if b is None else b  # pixels that no kernel reaches
        if b is None:
            covered[...] = inside
        else:
            np.add(inside, b, out=covered)

    # ---- from M to the outputs: y_pq = Σ_rc A_rp A_cq M_rc -----------------------------------------------------------

    def M(self, c: int) -> np.ndarray:
        return self.m[c, : self.count]

    def add_outputs(self, r: int) -> None:
        own = [p for p in (0, 1) if self.rows.A[r][p]]
        new = next((p for p in own if not any(row[p] for row in self.rows.A[:r])), None)
        shape = (self.n, self.th, self.tw, self.o)
        products = [M.reshape(shape) for M in self.m[:, : self.count]]
        for q, signs in enumerate(zip(*self.columns.A, strict=True)):
            half = self.half[: self.count].reshape(shape) if new is None else self._output(new, q)
            mix(signs, products, half)
            for p in own:
                if p != new:
                    add(self.rows.A[r][p], half, self._output(p, q))

    def write_outputs(self, y: np.ndarray, b: np.ndarray | None) -> None:
        inside = self._whole()[:, : self.grid[0], : self.grid[1]]
        if b is None:
            y[...] = inside
        else:
            np.add(inside, b, out=y)

    # ---- and its transpose: M_rc = Σ_pq A_rp A_cq y_pq ---------------------------------------------------------------

    def read_outputs(self, y: np.ndarray) -> None:
        self._whole()[:, : self.grid[0], : self.grid[1]] = y  # beyond the grid there are zeros, and stay

    def spread_outputs(self, r: int) -> None:
        """M_rc of one r and all c."""
        A = self.columns.A
        ends = self.m[0, : self.count], self.m[len(A) - 1, : self.count]  # where A has one sign: (1, 0) and (0, 1)
        for q, half in enumerate(ends):
            mix(self.rows.A[r], [self._output(p, q) for p in (0, 1)], half.reshape(self.n, self.th, self.tw, self.o))
        for c in range(1, len(A) - 1):
            mix(A[c], ends, self.m[c, : self.count])

    # ---- views of the memory -----------------------------------------------------------------------------------------

    def _down(self, r: int, tap: int) -> np.ndarray:
        """Rows of pixels (n, th, f, W·k) that this tap of product r meets; two taps further is the next tile."""
        s = self.rows.step
        pairs = self.padded.reshape(self.size, self.th + 1, 2, s, -1)
        return pairs[: self.n, tap // 2 : tap // 2 + self.th, tap % 2, : self.rows.phases[r]]

    def _strips(self, r: int) -> np.ndarray:
        """(n, th, f, W·k)"""
        return self.strips.reshape(self.size, self.th, self.rows.step, -1)[: self.n, :, : self.rows.phases[r]]

    def _across(self, r: int, c: int, tap: int) -> np.ndarray:
        """Of the strips of product r, what this tap of product c meets, (n, th, tw, f, f·k)."""
        tiles, run = slice(tap // 2, tap // 2 + self.tw), self.columns.phases[c] * self.k
        return self.across[: self.n, :, tiles, tap % 2, : self.rows.phases[r], :run]

    def _overlap(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the tiles cover of an image: as part of the padded memory, and of x."""
        h, w = min(x.shape[1], self.rows.pixels - self.top), min(x.shape[2], self.columns.pixels - self.left)
        return self.padded[: self.n, self.top : self.top + h, self.left : self.left + w], x[:, :h, :w]

    def _output(self, p: int, q: int) -> np.ndarray:
        return self.outputs[: self.n, :, p, :, q]

    def _whole(self) -> np.ndarray:
        return self.outputs.reshape(self.size, 2 * self.th, 2 * self.tw, self.o)[: self.n]


def mix(signs: tuple[int, ...], arrays: Sequence[np.ndarray | None], out: np.ndarray, factor: float = 1) -> None:
    """out = factor · Σ sign · array; one of the signs is +. Arrays beyond those that are given count as zeros."""
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
