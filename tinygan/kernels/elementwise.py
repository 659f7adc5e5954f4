"""Primitives for any array: memory handled for speed, and formulas arranged so that nothing overflows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backend import Array, get_xp
from ..threads import share_out

BLOCK = 1 << 17  # numbers: long enough for the cores not to fight over the interpreter, short enough for their caches


def accumulate(out: Array, value: Array, *, add: bool) -> None:
    """Add ``value`` to ``out``, or write it there: the two ways in which a gradient is stored."""
    if add:
        out += value
    else:
        out[...] = value


def accumulate_matmul(out: Array, a: Array, b: Array, *, add: bool) -> None:
    """Like ``accumulate(out, a @ b)``; a product that is only written needs no memory beside ``out``."""
    if add:
        out += a @ b
    else:
        get_xp(a, b).matmul(a, b, out=out)


def in_blocks(update: Callable[..., None], *vectors: Array, scratch: int) -> None:
    """Call ``update(*blocks, *scratch_blocks)`` for each block of flat vectors of one length, to change them in place.

    On the CPU a block stays in cache while all the operations of ``update`` pass over it, where whole vectors would
    wait for memory at each, and the cores share the blocks. On a GPU one call over everything is best.
    """
    xp, size, dtype = get_xp(*vectors), vectors[0].size, vectors[0].dtype
    length = BLOCK if xp is np else max(size, 1)

    def part(start: int, stop: int) -> None:
        between = [xp.empty(min(length, stop - start), dtype=dtype) for _ in range(scratch)]
        for i in range(start, stop, length):
            j = min(i + length, stop)
            update(*(v[i:j] for v in vectors), *(s[: j - i] for s in between))

    if xp is np:
        share_out(part, size, least=2 * BLOCK)
    else:
        part(0, size)


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
