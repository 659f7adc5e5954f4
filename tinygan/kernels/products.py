"""Products of matrices, and sums of products, in the form that each backend computes best.

On a GPU none of them goes through CuPy's own cuBLAS calls, which it refuses while a step is recorded as a graph
(:mod:`tinygan.graphs`): so engine code writes these, and not ``@``, ``dot``, ``vdot`` or a contracting ``einsum``.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, backend_of, get_xp
from . import cublas


def matmul(a: Array, b: Array, out: Array | None = None, *, add: bool = False) -> Array:
    """Return a @ b for a (M, K) and b (K, N) or (K,); write it into ``out``, or add it to what is there.

    ``out`` shares no memory with a and b.
    """
    backend = backend_of(a, b)
    if backend.name == "cupy":
        return cublas.matmul(a, b, out, add=add)
    if not add:
        return backend.xp.matmul(a, b, out=out) if out is not None else backend.xp.matmul(a, b)
    out += backend.xp.matmul(a, b)
    return out


def sum_of_products(subscripts: str, a: Array, b: Array) -> Array:
    """``einsum(subscripts, a, b)`` for arrays of one shape, as in "nk,nk->n": Σ a · b over the axes that are gone."""
    xp = get_xp(a, b)
    if xp is np:
        return xp.einsum(subscripts, a, b)
    labels, rest = subscripts.split(",")[0], subscripts.split(">")[1]
    return (a * b).sum(axis=tuple(i for i, label in enumerate(labels) if label not in rest))


def dot(a: Array, b: Array) -> Array:
    """Σ a · b over all entries of two arrays of one shape, 0-d."""
    return get_xp(a).vdot(a, b) if get_xp(a, b) is np else (a * b).sum()
