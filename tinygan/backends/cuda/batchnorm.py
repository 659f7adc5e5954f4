"""Batch normalisation on the GPU: all batches in a few launches.

A leaky ReLU right behind costs no pass over memory. On the way back the sign of what went into it is computed again.
"""

from __future__ import annotations

from typing import Any

from ...ops import Array, get_xp
from . import launch as cuda
from .kernels import sum_rows


def normalise_batches(
    x: Array,
    batches: int,
    gamma: Array,
    beta: Array,
    *,
    eps: float,
    slope: float,
    running: tuple[Array, Array],
    momentum: float,
) -> tuple[Array, Array, Array]:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.normalise_batches`; for few rows, in one launch."""
    m, c, xp = len(x) // batches, x.shape[1], get_xp(x)
    lanes = cuda.lanes_of((c,), (x, gamma, beta, *running))
    grid, block, _ = cuda.down(m, c // lanes)
    if grid[0] > 1:
        mean, squares = moments(x, batches)
        more: dict[str, Any] = {"count": m, "eps": eps, "slope": slope, "running": running, "momentum": momentum}
        y, inv_std = normalise(x, mean, squares, gamma, beta, **more)
        return y, mean, inv_std
    y, mean, inv_std = (xp.empty(shape, dtype=x.dtype) for shape in (x.shape, (batches, c), (batches, c)))
    args = (
        xp.ascontiguousarray(x),
        gamma,
        beta,
        y,
        mean,
        inv_std,
        *running,
        batches,
        m,
        c // lanes,
        eps,
        momentum,
        slope,
    )
    cuda.launch("batchnorm.forward_at_once", grid, block, args, x.dtype, lanes)
    return y, mean, inv_std


def normalise_fixed(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float, slope: float
) -> tuple[Array, Array]:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.normalise_fixed`."""
    return normalise(x, mean, var, gamma, beta, count=1.0, eps=eps, slope=slope)


def normalise_backward(
    x: Array,
    dy: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    m: int | None,
    *,
    slope: float,
    store: tuple[Array, Array, bool] | None = None,
    input_too: bool = True,
) -> Array | None:
    """As :meth:`tinygan.backends.cuda.fused.FusedOps.normalise_backward`."""
    saved, sums = (mean, inv_std, gamma, beta), None
    if m is not None and input_too:
        return backward_all(x, dy, *saved, store=store, slope=slope)
    if store:
        dgamma, dbeta, add = store
        sums = backward_sums(x, dy, *saved, slope=slope)
        store_grads(sums, inv_std, dgamma, dbeta, add=add)
    return backward(x, dy, *saved, None, 1.0, slope=slope) if input_too else None


def moments(x: Array, batches: int) -> tuple[Array, Array]:
    """Mean and Σ (x − mean)² of each channel of each batch of x (batches·M, C): two arrays (batches, C)."""
    m, c = len(x) // batches, x.shape[1]
    return _moments(get_xp(x).ascontiguousarray(x), None, batches, m, 1, m, c)


def _moments(
    x: Array, squares: Array | None, batches: int, rows: int, each: int, m: int, c: int
) -> tuple[Array, Array]:
    """The same from ``rows`` groups in each batch, of ``each`` of its m rows."""
    lanes = cuda.lanes_of((c,), (x, squares))
    grid, block, height = cuda.down(rows, c // lanes, batches)
    of_groups = tuple(get_xp(x).empty((batches * grid[0], c), dtype=x.dtype) for _ in range(2))
    cuda.launch("batchnorm.moments", grid, block, (x, squares, *of_groups, m, each, c // lanes, height), x.dtype, lanes)
    mean, squares = of_groups
    return (mean, squares) if grid[0] == 1 else _moments(mean, squares, batches, grid[0], each * height, m, c)


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
    """Return y = f(gamma · (x − mean) · inv_std + beta), and inv_std = 1 / √(squares / count + eps), (batches, C).

    ``running`` = (mean, var) are moved towards the statistics of each batch in turn. ``count`` may be a number on the
    device, which has counted the rows of all processes; then the running statistics are the caller's.
    """
    if not isinstance(count, (int, float)):
        squares, count = squares / count, 1.0
    (batches, c), xp = mean.shape, get_xp(x)
    x = xp.ascontiguousarray(x)
    y, inv_std = xp.empty_like(x), xp.empty_like(mean)
    arrays = (x, mean, squares, gamma, beta, y, inv_std, *(running or (None, None)))
    _rows("normalise", arrays, batches, len(x) // batches, c, count, eps, momentum, slope)
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
    slope: float = 1.0,
) -> Array:
    """Return dx, and store the gradients in ``store`` = (dgamma, dbeta, add), if it is given; for few rows, in one
    launch."""
    (batches, c), m, xp = mean.shape, len(x) // len(mean), get_xp(x)
    saved, (dgamma, dbeta, add) = (mean, inv_std, gamma, beta), store or (None, None, False)
    lanes = cuda.lanes_of((c,), (x, dy, *saved, dgamma, dbeta))
    grid, block, _ = cuda.down(m, c // lanes)
    if grid[0] > 1:
        sums = backward_sums(x, dy, *saved, slope=slope)
        if store:
            store_grads(sums, inv_std, *store[:2], add=add)
        return backward(x, dy, *saved, sums, m, slope=slope)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    dx = xp.empty_like(x)
    args = (x, dy, *saved, dx, dgamma, dbeta, batches, m, c // lanes, int(add), slope)
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
    slope: float = 1.0,
) -> Array:
    """Σ d and Σ d · (x − mean) over the rows of each batch, (2, batches, C), where d = f'(z) dy."""
    (batches, c), xp = mean.shape, get_xp(x)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    arrays = (x, dy, mean, inv_std, gamma, beta)
    lanes = cuda.lanes_of((c,), arrays)
    grid, block, height = cuda.down(len(x) // batches, c // lanes, batches)
    sums = xp.empty((2 * batches, grid[0], c), dtype=x.dtype)
    args = (*arrays, sums, len(x) // batches, c // lanes, height, slope)
    cuda.launch("batchnorm.backward_sums", grid, block, args, x.dtype, lanes)
    return (sums if grid[0] == 1 else sum_rows(sums)).reshape(2, batches, c)


def store_grads(sums: Array, inv_std: Array, dgamma: Array, dbeta: Array, *, add: bool) -> None:
    """Store dbeta = Σ d and dgamma = Σ d · x̂ of all batches, from their sums."""
    batches, c = inv_std.shape
    args = (sums, inv_std, dgamma, dbeta, batches, c, int(add))
    cuda.launch("batchnorm.store_grads", (-(-c // cuda.THREADS),), (cuda.THREADS,), args, sums.dtype)


def backward(
    x: Array,
    dy: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    sums: Array | None,
    count: float | Array,
    *,
    slope: float = 1.0,
) -> Array:
    """dx from dy and the sums over all rows that the statistics are of, ``count`` in each batch; None if fixed:

    dx = gamma/σ · (d − Σd/M − (x − mean)/σ² · Σ d (x − mean) / M)          d = f'(z) dy
    """
    if not isinstance(count, (int, float)):
        count, sums = 1.0, None if sums is None else sums / count
    (batches, c), xp = mean.shape, get_xp(x)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    dx = xp.empty_like(x)
    arrays = (x, dy, mean, inv_std, gamma, beta, sums, dx)
    _rows("backward", arrays, batches, len(x) // batches, c, count, slope)
    return dx


def _rows(name: str, arrays: tuple, batches: int, m: int, c: int, *numbers: float) -> None:
    lanes = cuda.lanes_of((c,), arrays)
    grid, block, height = cuda.down(m, c // lanes, batches)
    cuda.launch(f"batchnorm.{name}", grid, block, (*arrays, m, c // lanes, height, *numbers), arrays[0].dtype, lanes)
