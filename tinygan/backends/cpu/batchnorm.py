"""Batch normalisation of rows (batches·M, C), each batch with statistics of its own, in blocks of rows that fit into
the cache, short rows side by side (see :mod:`tinygan.backends.cpu.blocks`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...ops import Array, get_xp
from .blocks import in_blocks, repeat_row, side_by_side, sum_in_order, sum_of_products, sum_repeats


def moments(x: Array, batches: int) -> tuple[Array, Array]:
    """Mean and Σ (x − mean)² of each channel of each batch of x (batches·M, C): two arrays (batches, C)."""
    xp, c = get_xp(x), x.shape[1]

    def of_block(x: Array, centred: Array) -> tuple[int, Array, Array]:
        n = x.size // c
        mean = sum_repeats(x.sum(axis=0), c) / n
        xp.subtract(x, repeat_row(mean, x.shape[1]), out=centred)
        return n, mean, sum_repeats(sum_of_products("mc,mc->c", centred, centred), c)

    of_batches = [
        pool_moments(in_blocks(of_block, side_by_side(x[batch]), scratch=1)) for _, batch in _batches(x, batches)
    ]
    return tuple(xp.stack([moments[k] for moments in of_batches]) for k in (1, 2))


def pool_moments(groups: Sequence[tuple]) -> tuple:
    """The number, mean and Σ (x − mean)² of all groups of rows from those of each: their means scatter around the mean,
    and that belongs to the squares (Chan, Golub and LeVeque, 1979)."""
    m = sum(n for n, _, _ in groups)
    mean = sum_in_order([group_mean * (n / m) for n, group_mean, _ in groups])
    return m, mean, sum_in_order([s + n * (group_mean - mean) ** 2 for n, group_mean, s in groups])


def normalise(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float,
) -> tuple[Array, Array]:
    """Return y = gamma · (x − mean) · inv_std + beta, and inv_std = 1 / √(var + eps), (batches, C)."""
    xp, y = get_xp(x), get_xp(x).empty(x.shape, dtype=x.dtype)
    inv_std = 1.0 / xp.sqrt(var + eps)
    for k, batch in _batches(x, len(mean)):
        wide_x, wide_y = side_by_side(x[batch]), side_by_side(y[batch])
        rows = (mean[k], inv_std[k] * gamma, beta)
        wide_mean, scale, shift = (repeat_row(row, wide_x.shape[1]) for row in rows)

        def block(x: Array, y: Array, mean: Array = wide_mean, scale: Array = scale, shift: Array = shift) -> None:
            xp.subtract(x, mean, out=y)
            y *= scale
            y += shift

        in_blocks(block, wide_x, wide_y)
    return y, inv_std


def backward_sums(x: Array, dy: Array, mean: Array) -> Array:
    """Σ dy and Σ dy · (x − mean) over the rows of each batch, (2, batches, C)."""
    xp, c = get_xp(x), x.shape[1]
    sums = xp.empty((2, *mean.shape), dtype=x.dtype)
    for k, batch in _batches(x, len(mean)):
        wide_x, wide_dy = side_by_side(x[batch]), side_by_side(dy[batch])
        wide_mean = repeat_row(mean[k], wide_x.shape[1])

        def of_block(x: Array, dy: Array, centred: Array, mean: Array = wide_mean) -> tuple[Array, Array]:
            xp.subtract(x, mean, out=centred)
            return dy.sum(axis=0), sum_of_products("mc,mc->c", dy, centred)

        blocks = in_blocks(of_block, wide_x, wide_dy, scratch=1)
        for i in range(2):
            sums[i, k] = sum_repeats(sum_in_order([block[i] for block in blocks]), c)
    return sums


def backward(
    x: Array, dy: Array, mean: Array, inv_std: Array, gamma: Array, sums: Array | None, count: float | Array
) -> Array:
    """dx from dy and the sums over the rows that the statistics are of, ``count`` in each batch; None if fixed:

    dx = gamma/σ · (dy − Σdy/M − (x − mean)/σ² · Σ dy (x − mean) / M)
    """
    xp, dx = get_xp(x), get_xp(x).empty(x.shape, dtype=x.dtype)
    for k, batch in _batches(x, len(mean)):
        wide_x, wide_dy = side_by_side(x[batch]), side_by_side(dy[batch])
        width = wide_x.shape[1]
        scale, wide_mean = repeat_row(gamma * inv_std[k], width), repeat_row(mean[k], width)
        if sums is None:
            in_blocks(lambda dy, dx, scale=scale: xp.multiply(dy, scale, out=dx), wide_dy, side_by_side(dx[batch]))
            continue
        rows = sums[0, k] / count, inv_std[k] * (sums[1, k] * inv_std[k]) / -count
        by_mean, by_x = (repeat_row(row, width) for row in rows)

        def block(x, dy, dx, mean=wide_mean, scale=scale, by_mean=by_mean, by_x=by_x):
            xp.subtract(x, mean, out=dx)
            dx *= by_x
            dx += dy
            dx -= by_mean
            dx *= scale

        in_blocks(block, wide_x, wide_dy, side_by_side(dx[batch]))
    return dx


def _batches(x: Array, batches: int) -> Iterator[tuple[int, slice]]:
    """The number and the rows of each batch."""
    m = len(x) // batches
    return ((k, slice(k * m, (k + 1) * m)) for k in range(batches))
