r"""Batch normalisation of a batch that several processes share, and its rule for penalties.

M, μ, v and the sums in dx are those of all rows together; the gradients of gamma and beta are those of the own rows,
since the networks' gradients are added up later as a whole.
"""

from __future__ import annotations

from typing import Any

from ..backends.cpu import batchnorm as on_cpu
from ..backends.cpu.blocks import accumulate, sum_in_order, sum_of_products
from ..backends.cpu.layers import Fast
from ..backends.cuda import CudaOps
from ..backends.cuda import batchnorm as on_gpu
from ..errors import ShapeError
from ..ops import Array, get_xp, ops_of
from ..penalties import register
from ..penalties.standardized import pool_all, second_order_in_channels
from .group import Group


class SyncBatchNorm(Fast):
    """As :class:`tinygan.layers.BatchNorm`, for the processes of a group; a link, see :meth:`tinygan.ops.Ops.links`.

    The arrays are those of the layer that it stands for. Of several ``batches`` joined each has its own statistics, and
    all of them are told in one message. The cache is x (batches·M', C), of which M' rows of each batch are this
    process's, mean and inv_std (batches, C), and M, the rows of a batch in all processes, or None where the statistics
    were fixed.
    """

    def __init__(self, layer: Any, batches: int, group: Group) -> None:
        super().__init__(layer)
        self.batches, self.group, self.name = batches, group, layer.name
        self.params, self.grads, self.buffers = layer.params, layer.grads, layer.buffers

    def of_layers(self, cache: Any) -> list[tuple[Any, Any]]:
        return [(self, cache)]

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        layer, m = self.layer, None
        rows = x.reshape(-1, layer.c)
        if train:
            m, mean, var = self._moments(x, rows)
            unbiased = var * (m / (m - 1.0))
            for k in range(self.batches):
                layer.move_statistics(mean[k], unbiased[k])
        else:
            mean, var = layer.running_mean.copy()[None], layer.running_var[None]
        scale_shift = self.params["gamma"], self.params["beta"]
        if _on_gpu(rows):
            y, inv_std = on_gpu.normalise(rows, mean, var, *scale_shift, count=1.0, eps=layer.eps)
        else:
            y, inv_std = on_cpu.normalise(rows, mean, var, *scale_shift, eps=layer.eps)
        return y.reshape(x.shape), (rows, mean, inv_std, m)

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        rows = dy.reshape(cache[0].shape)
        return self._dx(cache, rows, None if cache[3] is None else self._sums(cache, rows)).reshape(dy.shape)

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        self._store(cache, self._sums(cache, dy.reshape(cache[0].shape)), add)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        rows = dy.reshape(cache[0].shape)
        sums = self._sums(cache, rows)
        self._store(cache, sums, add)
        return self._dx(cache, rows, None if cache[3] is None else sums).reshape(dy.shape)

    def _moments(self, x: Array, rows: Array) -> tuple[Any, Array, Array]:
        """M, and μ and v of each batch (batches, C), over the rows of all processes."""
        batches = self.batches
        if len(x) % batches:
            raise ShapeError(f"{self.name}: {len(x)} samples are not {batches} batches of one size.")
        mean, squares = (on_gpu if _on_gpu(rows) else on_cpu).moments(rows, batches)
        local_moments = len(rows) // batches, mean.reshape(-1), squares.reshape(-1)
        m, mean, squares = pool_all(self.group, on_cpu.pool_moments, [local_moments])
        return m, mean.reshape(batches, -1), squares.reshape(batches, -1) / m

    def _sums(self, cache: Any, dy: Array) -> Array:
        """Σ dy and Σ dy · (x − μ) over the own rows of each batch, (2, batches, C)."""
        x, mean, inv_std, _ = cache
        if _on_gpu(x):
            return on_gpu.backward_sums(x, dy, mean, inv_std, self.params["gamma"], self.params["beta"])
        return on_cpu.backward_sums(x, dy, mean)

    def _store(self, cache: Any, sums: Array, add: bool) -> None:
        """dbeta = Σ dy and dgamma = Σ dy · x̂ of all batches."""
        accumulate(self.grads["gamma"], sum_in_order(list(sums[1] * cache[2])), add=add)
        accumulate(self.grads["beta"], sum_in_order(list(sums[0])), add=add)

    def _dx(self, cache: Any, dy: Array, sums: Array | None) -> Array:
        x, mean, inv_std, m = cache
        if sums is not None:
            self.group.sum(sums.reshape(2, -1))  # in place
        gamma, count = self.params["gamma"], 1.0 if m is None else m
        if _on_gpu(x):
            return on_gpu.backward(x, dy, mean, inv_std, gamma, self.params["beta"], sums, count)
        return on_cpu.backward(x, dy, mean, inv_std, gamma, sums, count)


def _on_gpu(x: Array) -> bool:
    """Whether x lives where there are kernels of ours for the four functions of ``on_gpu``."""
    return isinstance(ops_of(x), CudaOps)


def _tangent(link: SyncBatchNorm, cache: Any, v: Array) -> Array:
    return link.input_gradient(cache, v)  # J = Jᵀ


def _second_order(link: SyncBatchNorm, cache: Any, v: Array, g: Array) -> tuple[Array | None, dict[str, Array]]:
    x, mean, inv_std, m = cache
    v_rows, g_rows, gamma = v.reshape(x.shape), g.reshape(x.shape), link.params["gamma"]
    if m is None:
        return None, {"gamma": sum_of_products("mc,mc->c", g_rows, v_rows) * inv_std[0]}
    dx, n = get_xp(g).empty(x.shape, dtype=g.dtype), len(x) // len(mean)
    dgamma = get_xp(g).zeros_like(gamma)
    for k in range(len(mean)):
        batch = slice(k * n, (k + 1) * n)
        of_batch = x[batch], mean[k], inv_std[k], gamma, v_rows[batch], g_rows[batch], dx[batch]
        dgamma = dgamma + second_order_in_channels(*of_batch, link.group)
    return dx.reshape(g.shape), {"gamma": dgamma}


register(SyncBatchNorm, tangent=_tangent, second_order=_second_order)
