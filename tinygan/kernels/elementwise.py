"""Primitives for any array: memory handled for speed, and formulas arranged so that nothing overflows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..backend import Array, get_xp
from ..threads import share_out
from .products import matmul

BLOCK = 1 << 18  # numbers: long enough for the cores not to fight over the interpreter, short enough for their caches
WIDE = 1 << 13  # numbers in a row that NumPy does not copy into its buffer


def accumulate(out: Array, value: Array, *, add: bool) -> None:
    """Add ``value`` to ``out``, or write it there: the two ways in which a gradient is stored."""
    if add:
        out += value
    else:
        out[...] = value


def accumulate_matmul(out: Array, a: Array, b: Array, *, add: bool) -> None:
    """Like ``accumulate(out, a @ b)``; a product that is only written needs no memory beside ``out``."""
    matmul(a, b, out, add=add)


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

    share_out(part, count, least=2)
    return results


def widen(rows: Array) -> Array:
    """Rows (M, C) with g of them side by side, (M/g, g·C), if there are many short ones: NumPy copies a short row that
    meets every other one into a buffer again and again, and starts each loop anew. On a GPU g is 1."""
    m, c = rows.shape
    g = 1 << ((WIDE - 1) // c).bit_length()
    return rows.reshape(m // g, g * c) if get_xp(rows) is np and m % g == 0 and m * c >= 8 * WIDE else rows


def spread(row: Array, width: int) -> Array:
    """A row (C,) for each that :func:`widen` put side by side, (g·C,)."""
    return row if len(row) == width else get_xp(row).broadcast_to(row, (width // len(row), len(row))).reshape(-1)


def fold(row: Array, c: int) -> Array:
    """The transpose of :func:`spread`: the sum of the g parts of a row (g·C,), (C,)."""
    return row if len(row) == c else row.reshape(-1, c).sum(axis=0)


def sum_rows(a: Array) -> Array:
    """The sum of a (M, C) over its rows."""
    return fold(sum_in_order(in_blocks(lambda block: block.sum(axis=0), widen(a))), a.shape[1])


def sum_in_order(parts: Sequence[Array]) -> Array:
    """The sum of arrays, in new memory."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


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
