"""Passes over memory in blocks that stay in cache, and short rows side by side.

Arrays of a GPU come here too, from the penalties and the wing ``parallel``: of them each pass is one block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ...ops import Array, get_xp, ops_of
from .threads import share_out

BLOCK = 1 << 17  # numbers: long enough for the cores not to fight over the interpreter, short enough for their caches
WIDE = 1 << 13  # numbers in a row that NumPy does not copy into its buffer


def accumulate(out: Array, value: Array, *, add: bool) -> None:
    """Add ``value`` to ``out``, or write it there: the two ways in which a gradient is stored."""
    if add:
        out += value
    else:
        out[...] = value


def accumulate_matmul(out: Array, a: Array, b: Array, *, add: bool) -> None:
    """Like ``accumulate(out, a @ b)``; a product that is only written needs no memory beside ``out``."""
    ops_of(a).matmul(a, b, out, add=add)


def in_blocks(update: Callable[..., Any], *arrays: Array, scratch: int = 0) -> list[Any]:
    """Call ``update(*blocks, *scratch_blocks)`` for each block of rows of arrays of one shape; return what it returned.

    On the CPU a block stays in cache while all the operations of ``update`` pass over it, where whole arrays would
    wait for memory at each, and the cores share the blocks. On a GPU one call over everything is best. What the blocks
    are does not depend on the number of cores, so neither do sums of what they return.
    """
    xp, first = get_xp(*arrays), arrays[0]
    if first.size <= BLOCK or xp is not np:
        return [update(*arrays, *(xp.empty(first.shape, dtype=first.dtype) for _ in range(scratch)))]
    n, *rest = first.shape
    rows = max(1, BLOCK // prod(rest))
    count = -(-n // rows)
    results: list[Any] = [None] * count

    def part(start: int, stop: int) -> None:
        between = [xp.empty((min(rows, n), *rest), dtype=first.dtype) for _ in range(scratch)]
        for k in range(start, stop):
            i, j = k * rows, min((k + 1) * rows, n)
            results[k] = update(*(a[i:j] for a in arrays), *(s[: j - i] for s in between))

    share_out(part, count, least=1)
    return results


def side_by_side(rows: Array) -> Array:
    """Rows (M, C) with g of them side by side, (M/g, g·C), if there are many short ones: NumPy copies a short row that
    meets every other one into a buffer again and again, and starts each loop anew. On a GPU g is 1."""
    m, c = rows.shape
    g = 1 << ((WIDE - 1) // c).bit_length()
    return rows.reshape(m // g, g * c) if get_xp(rows) is np and m % g == 0 and m * c >= 8 * WIDE else rows


def repeat_row(row: Array, width: int) -> Array:
    """A row (C,) for each that :func:`side_by_side` has put together, (g·C,)."""
    return row if len(row) == width else row[None].repeat(width // len(row), axis=0).reshape(-1)


def sum_repeats(row: Array, c: int) -> Array:
    """The transpose of :func:`repeat_row`: the sum of a row (g·C,) over its g repeats, (C,)."""
    return row if len(row) == c else row.reshape(-1, c).sum(axis=0)


def sum_rows(a: Array) -> Array:
    """The sum of a (M, C) over its rows."""
    return sum_repeats(sum_in_order(in_blocks(lambda block: block.sum(axis=0), side_by_side(a))), a.shape[1])


def sum_in_order(arrays: Sequence[Array]) -> Array:
    """The sum of arrays, in new memory."""
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


def sum_of_products(subscripts: str, a: Array, b: Array) -> Array:
    """``einsum(subscripts, a, b)`` for arrays of one shape, as in "nk,nk->n": Σ a · b over the axes that are gone."""
    xp = get_xp(a, b)
    if xp is np:
        return xp.einsum(subscripts, a, b)
    labels, rest = subscripts.split(",")[0], subscripts.split(">")[1]
    return (a * b).sum(axis=tuple(i for i, label in enumerate(labels) if label not in rest))


def leaky_relu(x: Array, slope: float) -> Array:
    """y = max(x, slope · x); for a slope of 0 max(x, 0), since 0 · ∞ is no number."""
    xp = get_xp(x)
    y = xp.empty(x.shape, dtype=x.dtype)

    def block(x: Array, y: Array) -> None:
        if slope:
            xp.multiply(x, slope, out=y)
            xp.maximum(x, y, out=y)
        else:
            xp.maximum(x, x.dtype.type(0.0), out=y)

    in_blocks(block, x.reshape(-1), y.reshape(-1))
    return y


def leaky_relu_backward(y: Array, dy: Array, slope: float) -> Array:
    """dx = dy · (1 if y > 0 else slope)."""
    xp = get_xp(dy)
    dx = xp.empty(dy.shape, dtype=dy.dtype)

    def block(y: Array, dy: Array, dx: Array) -> None:
        # [y > 0]·(1 − slope) + slope, in place: several times faster than where(), which copies both branches
        xp.multiply(y > 0, dy.dtype.type(1.0 - slope), out=dx)
        if slope:
            dx += slope
        dx *= dy

    in_blocks(block, y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
    return dx
