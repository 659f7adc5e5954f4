r"""The derivatives of x̂ = (x − μ) / σ, for both layers that normalise: x̂ along v, and what bends it.

μ and σ are taken over one axis of x, of length M; a bar takes the mean away, v̄ = v − mean(v), and mean is over that
axis. Since ∂σ/∂x = x̂ / M and mean(x̂) = 0,

    x̂ along v:    t = (v̄ − x̂ s) / σ,    s = mean(x̂ v)                                                       (1)

which is symmetric in what goes in and what comes out: <p, t(v)> = <t(p), v>, so (1) is also the backward pass.
For a constant p, the number <p, t> = M/σ · (mean(p̄ v̄) − q s) with q = mean(x̂ p) depends on x through σ, q and s:

    ∂(1/σ)/∂x = −x̂ / (M σ²)      ∂q/∂x = (p̄ − x̂ q) / (M σ)      ∂s/∂x = (v̄ − x̂ s) / (M σ)

by (1) again, and so

    ∂<p, t>/∂x = −1/σ² · ( x̂ (mean(p̄ v̄) − q s)  +  s (p̄ − x̂ q)  +  q (v̄ − x̂ s) )
               = −1/σ² · ( x̂ (mean(p̄ v̄) − 3 q s)  +  s p̄  +  q v̄ )                                            (2)

The channels of a sample are in cache when they are needed, and :func:`along` and :func:`curvature` say the above as it
stands. A channel of a batch is a column of a long array: :func:`second_order_in_channels` passes over it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backends.cpu.blocks import in_blocks, repeat_row, side_by_side, sum_in_order, sum_of_products, sum_repeats
from ..ops import Array, get_xp


def along(xhat: Array, inv_std: Array, v: Array, axis: int | tuple[int, ...]) -> Array:
    """t of equation (1); ``inv_std``, 1/σ, has size 1 along ``axis``."""
    t = v - v.mean(axis=axis, keepdims=True)
    t -= xhat * (xhat * v).mean(axis=axis, keepdims=True)
    t *= inv_std
    return t


def curvature(xhat: Array, inv_std: Array, p: Array, v: Array, axis: int | tuple[int, ...]) -> Array:
    """∂<p, t>/∂x of equation (2)."""
    p_bar, v_bar = (a - a.mean(axis=axis, keepdims=True) for a in (p, v))
    q, s = ((xhat * a).mean(axis=axis, keepdims=True) for a in (p, v))
    h = xhat * ((p_bar * v_bar).mean(axis=axis, keepdims=True) - 3.0 * q * s)
    h += s * p_bar
    h += q * v_bar
    h *= -(inv_std**2)
    return h


def second_order_in_channels(
    x: Array, mean: Array, inv_std: Array, gamma: Array, v: Array, g: Array, dx: Array, group: Any = None
) -> Array:
    """Fill dx with ∂(gᵀ J v)/∂x and return ∂(gᵀ J v)/∂gamma, for y = gamma · x̂ + beta down each channel.

    x, v, g, dx (M, C); mean, inv_std, gamma and what is returned (C,). With p = gamma · g, gᵀ J v = <p, t>: the first
    is (2), sorted by the arrays in it, and the second is <g, t> = M/σ · (mean(ḡ v̄) − q s), with q = mean(x̂ g). Of the
    second each process of ``group`` gets a part, as large as its part of the rows.
    """
    xp, (rows_here, c) = get_xp(g), g.shape
    x, v, g, dx = side_by_side(x), side_by_side(v), side_by_side(g), side_by_side(dx)
    width = x.shape[1]
    wide_mean = repeat_row(mean, width)

    def sums(x, v, g, centred):
        n = x.size // c
        v_mean, g_mean = (sum_repeats(a.sum(axis=0), c) / n for a in (v, g))
        xp.subtract(x, wide_mean, out=centred)
        with_x = [sum_repeats(sum_of_products("mc,mc->c", a, centred), c) for a in (v, g)]
        xp.subtract(v, repeat_row(v_mean, width), out=centred)
        return n, v_mean, g_mean, *with_x, sum_repeats(sum_of_products("mc,mc->c", g, centred), c)

    def pool(blocks):
        m = sum(block[0] for block in blocks)
        v_mean, g_mean = (sum_in_order([block[k] * (block[0] / m) for block in blocks]) for k in (1, 2))
        with_x = (sum_in_order([block[k] for block in blocks]) for k in (3, 4))
        # The means of blocks scatter around the mean, and that belongs to mean(v̄ ḡ), as in BatchNorm's variance
        products = [vg + n * (block_v - v_mean) * (block_g - g_mean) for n, block_v, block_g, _, _, vg in blocks]
        return m, v_mean, g_mean, *with_x, sum_in_order(products)

    m, v_mean, g_mean, *with_x, products = pool_all(group, pool, in_blocks(sums, x, v, g, scratch=1))
    s, q = (a * inv_std / m for a in with_x)
    v_bar_g_bar = products / m

    dgamma = rows_here * inv_std * (v_bar_g_bar - q * s)
    scale = -gamma * inv_std**2
    by_x, by_g, by_v = scale * inv_std * (v_bar_g_bar - 3.0 * q * s), scale * s, scale * q
    rows = (v_mean, g_mean, by_x, by_g, by_v)
    v_mean, g_mean, by_x, by_g, by_v = (repeat_row(row, width) for row in rows)

    def slope(x, v, g, dx, term):
        xp.subtract(x, wide_mean, out=dx)
        dx *= by_x
        for a, a_mean, by_a in ((g, g_mean, by_g), (v, v_mean, by_v)):
            xp.subtract(a, a_mean, out=term)
            term *= by_a
            dx += term

    in_blocks(slope, x, v, g, dx, scratch=1)
    return dgamma


def pool_all(group: Any, pool: Callable[[Sequence[tuple]], tuple], blocks: Sequence[tuple]) -> tuple:
    """Pool the blocks of rows of this process, (number, numbers for each channel, ...), then those of all processes."""
    pooled = pool(blocks)
    if group is None:
        return pooled
    xp, c = get_xp(pooled[1]), len(pooled[1])
    of_each = group.gather(xp.concatenate([xp.full(1, pooled[0], dtype=pooled[1].dtype), *pooled[1:]]))
    return pool([(a[0], *(a[k : k + c] for k in range(1, len(a), c))) for a in of_each])
