"""Batch normalisation on the GPU, as in ``batchnorm``: all parts in a few launches.

A leaky ReLU right behind costs no pass over memory. On the way back the sign of what went into it is computed again.
"""

from __future__ import annotations

from ..backend import Array, get_xp
from . import launch as cuda
from .batchnorm import move
from .gpu import sum_rows


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
    """As :func:`tinygan.kernels.batchnorm.forward`; for few rows, in one launch."""
    m, c, xp = len(x) // parts, x.shape[1], get_xp(x)
    lanes = cuda.lanes_of((c,), (x, gamma, beta, *running))
    grid, block, _ = cuda.down(m, c // lanes)
    if grid[0] > 1:
        mean, squares = moments(x, parts)
        options = {"count": m, "eps": eps, "slope": slope, "running": running, "momentum": momentum}
        y, inv_std = normalise(x, mean, squares, gamma, beta, **options)
        return y, mean, inv_std
    y, mean, inv_std = (xp.empty(shape, dtype=x.dtype) for shape in (x.shape, (parts, c), (parts, c)))
    args = (
        xp.ascontiguousarray(x),
        gamma,
        beta,
        y,
        mean,
        inv_std,
        *running,
        parts,
        m,
        c // lanes,
        eps,
        momentum,
        slope,
    )
    cuda.launch("batchnorm.forward_at_once", grid, block, args, x.dtype, lanes)
    return y, mean, inv_std


def moments(x: Array, parts: int) -> tuple[Array, Array]:
    """As :func:`tinygan.kernels.batchnorm.moments`."""
    m, c = len(x) // parts, x.shape[1]
    return _moments(get_xp(x).ascontiguousarray(x), None, parts, m, 1, m, c)


def _moments(x: Array, squares: Array | None, parts: int, rows: int, each: int, m: int, c: int) -> tuple[Array, Array]:
    """The same from ``rows`` groups in each part, of ``each`` of its m rows."""
    lanes = cuda.lanes_of((c,), (x, squares))
    grid, block, height = cuda.down(rows, c // lanes, parts)
    found = tuple(get_xp(x).empty((parts * grid[0], c), dtype=x.dtype) for _ in range(2))
    cuda.launch("batchnorm.moments", grid, block, (x, squares, *found, m, each, c // lanes, height), x.dtype, lanes)
    return found if grid[0] == 1 else _moments(*found, parts, grid[0], each * height, m, c)


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
    """As :func:`tinygan.kernels.batchnorm.normalise`."""
    if not isinstance(count, (int, float)):  # on the device, which counted the rows of all processes
        squares = squares / count
        if running:
            move(running, mean, squares, count, momentum)
        count, running = 1.0, None
    (parts, c), xp = mean.shape, get_xp(x)
    x = xp.ascontiguousarray(x)
    y, inv_std = xp.empty_like(x), xp.empty_like(mean)
    arrays = (x, mean, squares, gamma, beta, y, inv_std, *(running or (None, None)))
    _rows("normalise", arrays, parts, len(x) // parts, c, count, eps, momentum, slope)
    return y, inv_std


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
    """As :func:`tinygan.kernels.batchnorm.backward_all`; for few rows, in one launch."""
    (parts, c), m, xp = mean.shape, len(x) // len(mean), get_xp(x)
    saved, (dgamma, dbeta, add) = (mean, inv_std, gamma, beta), store or (None, None, False)
    lanes = cuda.lanes_of((c,), (x, dy, *saved, dgamma, dbeta))
    grid, block, _ = cuda.down(m, c // lanes)
    if grid[0] > 1:
        dy, sums = backward_sums(x, dy, *saved, slope=slope)
        if store:
            store_grads(sums, inv_std, dgamma, dbeta, add=add)
        return backward(x, dy, *saved, sums, m, slope=slope)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    dx = xp.empty_like(x)
    args = (x, dy, *saved, dx, dgamma, dbeta, parts, m, c // lanes, int(add), slope)
    cuda.launch("batchnorm.backward_at_once", grid, block, args, x.dtype, lanes)
    return dx


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
    """As :func:`tinygan.kernels.batchnorm.backward_sums`, but d is still dy: :func:`backward` makes d of it again."""
    (parts, c), xp = mean.shape, get_xp(x)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    arrays = (x, dy, mean, inv_std, gamma, beta)
    lanes = cuda.lanes_of((c,), arrays)
    grid, block, height = cuda.down(len(x) // parts, c // lanes, parts)
    sums = xp.empty((2 * parts, grid[0], c), dtype=x.dtype)
    args = (*arrays, sums, len(x) // parts, c // lanes, height, slope)
    cuda.launch("batchnorm.backward_sums", grid, block, args, x.dtype, lanes)
    return dy, (sums if grid[0] == 1 else sum_rows(sums)).reshape(2, parts, c)


def store_grads(sums: Array, inv_std: Array, dgamma: Array, dbeta: Array, *, add: bool) -> None:
    """As :func:`tinygan.kernels.batchnorm.store_grads`."""
    parts, c = inv_std.shape
    args = (sums, inv_std, dgamma, dbeta, parts, c, int(add))
    cuda.launch("batchnorm.store_grads", (-(-c // cuda.THREADS),), (cuda.THREADS,), args, sums.dtype)


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
    """As :func:`tinygan.kernels.batchnorm.backward`."""
    if not isinstance(count, (int, float)):
        count, sums = 1.0, None if sums is None else sums / count
    (parts, c), x = mean.shape, get_xp(x).ascontiguousarray(x)
    dx = get_xp(x).empty_like(x)
    arrays = (x, d, mean, inv_std, gamma, beta, sums, dx)
    _rows("backward", arrays, parts, len(x) // parts, c, count, slope)
    return dx


def _rows(name: str, arrays: tuple, parts: int, m: int, c: int, *numbers: float) -> None:
    lanes = cuda.lanes_of((c,), arrays)
    grid, block, height = cuda.down(m, c // lanes, parts)
    cuda.launch(f"batchnorm.{name}", grid, block, (*arrays, m, c // lanes, height, *numbers), arrays[0].dtype, lanes)
