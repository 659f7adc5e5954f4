r"""Rules of the layers that compute with means and deviations; the equations are in ``standardized``.

BatchNorm        u = gamma · t and equation (2), down each channel; ∂(gᵀ J v)/∂gamma = Σ_m g[m] t[m].
                 With ``train=False``, t = v/σ, and x is not in it. t is symmetric and gamma one number for a channel,
                 so that J = Jᵀ: the tangent along v is dx for dy = v.
LayerNorm        u = gamma · t and equation (2), along each row; ∂(gᵀ J v)/∂gamma = Σ_m g[m] t[m].
GroupNorm        as LayerNorm, with the numbers of a group in the place of a row.
MinibatchStdDev  u[..., :C] = v     u[..., C] = 1/(N F) Σ_nf x̂ v
                 with G = Σ g[..., C] and t down each feature: ∂(Σ_n x̂ v)/∂x = t, as given there for s, N times; and so
                 ∂(gᵀ J v)/∂x = G / (N F) · t
"""

from __future__ import annotations

from typing import Any

from ..backends.cpu.blocks import sum_of_products
from ..backends.cpu.layers import FastBatchNorm
from ..layers import BatchNorm, GroupNorm, LayerNorm, MinibatchStdDev
from ..ops import Array, get_xp
from .rules import register
from .standardized import along, curvature, second_order_in_channels


def _batchnorm(layer: Any, cache: Any, v: Array, g: Array) -> tuple[Array | None, dict[str, Array]]:
    xhat, inv_std, train = cache
    rows, g_rows, gamma = v.reshape(xhat.shape), g.reshape(xhat.shape), layer.params["gamma"]
    if not train:
        return None, {"gamma": sum_of_products("mc,mc->c", g_rows, rows) * inv_std}
    dgamma = sum_of_products("mc,mc->c", g_rows, along(xhat, inv_std, rows, axis=0))
    return curvature(xhat, inv_std, gamma * g_rows, rows, axis=0).reshape(g.shape), {"gamma": dgamma}


def _fast_batchnorm(link: Any, cache: Any, v: Array, g: Array) -> tuple[Array | None, dict]:
    """The same from x, μ and 1/σ of each batch, in blocks of rows that stay in cache; gamma's part is added here."""
    x, mean, inv_std, m = cache
    gamma, dgamma = link.layer.params["gamma"], link.layer.grads["gamma"]
    v_rows, g_rows = v.reshape(x.shape), g.reshape(x.shape)
    if m is None:
        dgamma += sum_of_products("mc,mc->c", g_rows, v_rows) * inv_std[0]
        return None, {}
    dx, n = get_xp(g).empty(x.shape, dtype=g.dtype), len(x) // len(mean)
    for k in range(len(mean)):
        part = slice(k * n, (k + 1) * n)
        of_part = (x[part], mean[k], inv_std[k], gamma, v_rows[part], g_rows[part], dx[part])
        dgamma += second_order_in_channels(*of_part)
    return dx.reshape(g.shape), {}


def _layernorm_tangent(layer: Any, cache: Any, v: Array) -> Array:
    xhat, inv_std = cache
    return (along(xhat, inv_std, v.reshape(xhat.shape), axis=1) * layer.params["gamma"]).reshape(v.shape)


def _layernorm(layer: Any, cache: Any, v: Array, g: Array) -> tuple[Array, dict[str, Array]]:
    xhat, inv_std = cache
    v_rows, g_rows = v.reshape(xhat.shape), g.reshape(xhat.shape)
    dgamma = sum_of_products("mc,mc->c", g_rows, along(xhat, inv_std, v_rows, axis=1))
    dx = curvature(xhat, inv_std, g_rows * layer.params["gamma"], v_rows, axis=1)
    return dx.reshape(g.shape), {"gamma": dgamma}


def _groupnorm_tangent(layer: Any, cache: Any, v: Array) -> Array:
    xhat, inv_std = cache
    return along(xhat, inv_std, layer.grouped(v), axis=(1, 3)).reshape(v.shape) * layer.params["gamma"]


def _groupnorm(layer: Any, cache: Any, v: Array, g: Array) -> tuple[Array, dict[str, Array]]:
    xhat, inv_std = cache
    t = along(xhat, inv_std, layer.grouped(v), axis=(1, 3))
    dgamma = sum_of_products("mc,mc->c", g.reshape(-1, layer.c), t.reshape(-1, layer.c))
    dx = curvature(xhat, inv_std, layer.grouped(g * layer.params["gamma"]), layer.grouped(v), axis=(1, 3))
    return dx.reshape(g.shape), {"gamma": dgamma}


def _deviation_tangent(layer: Any, cache: Any, v: Array) -> Array:
    xhat, _ = cache
    u = get_xp(v).empty((*v.shape[:-1], v.shape[-1] + 1), dtype=v.dtype)
    u[..., :-1] = v
    u[..., -1] = (xhat * v.reshape(xhat.shape)).sum() / xhat.size
    return u


def _deviation(layer: Any, cache: Any, v: Array, g: Array) -> tuple[Array, dict]:
    xhat, std = cache
    t = along(xhat, 1.0 / std, v.reshape(xhat.shape), axis=0)
    t *= g[..., -1].sum() / xhat.size
    return t.reshape(v.shape), {}


register(BatchNorm, symmetric=True, second_order=_batchnorm)
register(FastBatchNorm, symmetric=True, second_order=_fast_batchnorm)
register(LayerNorm, tangent=_layernorm_tangent, second_order=_layernorm)
register(GroupNorm, tangent=_groupnorm_tangent, second_order=_groupnorm)
register(MinibatchStdDev, tangent=_deviation_tangent, second_order=_deviation)
