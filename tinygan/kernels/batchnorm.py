"""Batch normalisation of rows (parts·M, C), each part with statistics of its own, on any backend; fast on NumPy.

The same functions as in ``gpu_batchnorm``. ``slope`` is that of a leaky ReLU right behind, 1 for none. Blocks of rows
fit into the cache, and short rows lie side by side, see :mod:`tinygan.kernels.elementwise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..backend import Array, get_xp
from .elementwise import accumulate, fold, in_blocks, spread, sum_in_order, widen
from .plain import bias_leaky, leaky_relu_backward
from .products import sum_of_products


def forward(
    x: Array,
    parts: int,
    gamma: Array,
    beta: Array,
    *,
    eps: float,
    slope: float,
    running: tuple[Array, Array],
    momentum: float,
) -> tuple[Array, Array, Array]:
    """:func:`moments` and :func:`normalise`: y, mean and inv_std of one process's training batch."""
    (mean, squares), m = moments(x, parts), len(x) // parts
    options = {"count": m, "eps": eps, "slope": slope, "running": running, "momentum": momentum}
    y, inv_std = normalise(x, mean, squares, gamma, beta, **options)
    return y, mean, inv_std


def moments(x: Array, parts: int) -> tuple[Array, Array]:
    """Mean and Σ (x − mean)² of each channel of each part of x (parts·M, C): two arrays (parts, C)."""
    xp, c = get_xp(x), x.shape[1]

    def of_block(x: Array, centred: Array) -> tuple[int, Array, Array]:
        n = x.size // c
        mean = fold(x.sum(axis=0), c) / n
        xp.subtract(x, spread(mean, x.shape[1]), out=centred)
        return n, mean, fold(sum_of_products("mc,mc->c", centred, centred), c)

    of_parts = [pool_moments(in_blocks(of_block, widen(x[part]), scratch=1)) for _, part in _parts(x, parts)]
    return tuple(xp.stack([found[k] for found in of_parts]) for k in (1, 2))


def pool_moments(groups: Sequence[tuple]) -> tuple:
    """The number, mean and Σ (x − mean)² of all groups of rows from those of each: their means scatter around the mean,
    and that belongs to the squares (Chan, Golub and LeVeque, 1979)."""
    m = sum(n for n, _, _ in groups)
    mean = sum_in_order([group_mean * (n / m) for n, group_mean, _ in groups])
    return m, mean, sum_in_order([s + n * (group_mean - mean) ** 2 for n, group_mean, s in groups])


def normalise(
    x: Array,
    mean: Array,
    squares: Array,
    gamma: Array,
    beta: Array,
    *,
    count: float | Array,
    eps: float,
    slope: float = 1.0,
    running: tuple[Array, Array] | None = None,
    momentum: float = 0.0,
) -> tuple[Array, Array]:
    """Return y = f(gamma · (x − mean) · inv_std + beta), and inv_std = 1 / √(squares / count + eps), (parts, C).

    ``running`` = (mean, var) are moved towards the statistics of each part in turn.
    """
    xp, y = get_xp(x), get_xp(x).empty(x.shape, dtype=x.dtype)
    var = squares / count
    if running:
        move(running, mean, var, count, momentum)
    inv_std = 1.0 / xp.sqrt(var + eps)
    for k, part in _parts(x, len(mean)):
        wide_x, wide_y = widen(x[part]), widen(y[part])
        rows = (mean[k], inv_std[k] * gamma, beta)
        wide_mean, scale, shift = (spread(row, wide_x.shape[1]) for row in rows)

        def block(x: Array, y: Array, mean: Array = wide_mean, scale: Array = scale, shift: Array = shift) -> None:
            xp.subtract(x, mean, out=y)
            y *= scale
            y += shift

        in_blocks(block, wide_x, wide_y)
    return bias_leaky(y, None, slope), inv_std


def move(running: tuple[Array, Array], mean: Array, var: Array, count: float | Array, momentum: float) -> None:
    """Move running statistics (C,) towards the mean and the unbiased variance of each part in turn."""
    unbiased = var * (count / (count - 1.0))
    for k in range(len(mean)):
        for old, new in zip(running, (mean[k], unbiased[k]), strict=True):
            old *= momentum
            old += (1.0 - momentum) * new


def backward_all(
    x: Array,
    dy: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    *,
    store: tuple[Array, Array, bool] | None,
    y: Array | None = None,
    slope: float = 1.0,
) -> Array:
    """dx of one process's training batch: :func:`backward_sums`, :func:`store_grads`, if there is ``store`` = (dgamma,
    dbeta, add), and :func:`backward`."""
    saved = mean, inv_std, gamma, beta
    d, sums = backward_sums(x, dy, *saved, y=y, slope=slope)
    if store:
        dgamma, dbeta, add = store
        store_grads(sums, inv_std, dgamma, dbeta, add=add)
    return backward(x, d, *saved, sums, len(x) // len(mean), slope=slope)


def backward_sums(
    x: Array,
    dy: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    *,
    y: Array | None = None,
    slope: float = 1.0,
) -> tuple[Array, Array]:
    """Return d = dy · f', and Σ d and Σ d · (x − mean) over the rows of each part, (2, parts, C).

    ``y`` is what :func:`normalise` returned; it is needed where the slope is not 1.
    """
    xp, c = get_xp(x), x.shape[1]
    d = dy if slope == 1.0 else leaky_relu_backward(y, dy, slope)
    sums = xp.empty((2, *mean.shape), dtype=x.dtype)
    for k, part in _parts(x, len(mean)):
        wide_x, wide_d = widen(x[part]), widen(d[part])
        wide_mean = spread(mean[k], wide_x.shape[1])

        def of_block(x: Array, d: Array, centred: Array, mean: Array = wide_mean) -> tuple[Array, Array]:
            xp.subtract(x, mean, out=centred)
            return d.sum(axis=0), sum_of_products("mc,mc->c", d, centred)

        blocks = in_blocks(of_block, wide_x, wide_d, scratch=1)
        for i in range(2):
            sums[i, k] = fold(sum_in_order([block[i] for block in blocks]), c)
    return d, sums


def store_grads(sums: Array, inv_std: Array, dgamma: Array, dbeta: Array, *, add: bool) -> None:
    """dbeta = Σ d and dgamma = Σ d · x̂ of all parts, or add these."""
    accumulate(dgamma, sum_in_order(list(sums[1] * inv_std)), add=add)
    accumulate(dbeta, sum_in_order(list(sums[0])), add=add)


def backward(
    x: Array,
    d: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    sums: Array | None,
    count: float | Array,
    *,
    slope: float = 1.0,
) -> Array:
    """dx from d and the sums over all rows that the statistics are of, ``count`` in each part; None if they were fixed.

    ``d`` and ``slope`` are as :func:`backward_sums` returned and got them.
    """
    xp, dx = get_xp(x), get_xp(x).empty(x.shape, dtype=x.dtype)
    for k, part in _parts(x, len(mean)):
        wide_x, wide_d = widen(x[part]), widen(d[part])
        width = wide_x.shape[1]
        scale, wide_mean = spread(gamma * inv_std[k], width), spread(mean[k], width)
        if sums is None:
            in_blocks(lambda d, dx, scale=scale: xp.multiply(d, scale, out=dx), wide_d, widen(dx[part]))
            continue
        rows = sums[0, k] / count, inv_std[k] * (sums[1, k] * inv_std[k]) / -count
        by_mean, by_x = (spread(row, width) for row in rows)

        def block(x, d, dx, mean=wide_mean, scale=scale, by_mean=by_mean, by_x=by_x):
            xp.subtract(x, mean, out=dx)
            dx *= by_x
            dx += d
            dx -= by_mean
            dx *= scale

        in_blocks(block, wide_x, wide_d, widen(dx[part]))
    return dx


def _parts(x: Array, parts: int) -> Iterator[tuple[int, slice]]:
    """The number and the rows of each part."""
    m = len(x) // parts
    return ((k, slice(k * m, (k + 1) * m)) for k in range(parts))
