r"""Rules of the layers that know the class of each sample. The labels are those of the pass, and stay where they are.

All of them are linear in x at fixed labels, so that nothing bends:

| layer            | u = J v                        | ∂(gᵀ J v)/∂θ                                               |
|------------------|--------------------------------|------------------------------------------------------------|
| ConcatLabels     | v, and 0 for the K channels    | no parameters                                              |
| ConditionalScale | u[n] = gamma[k] · v[n]         | dgamma[k] = Σ_{n: labels[n] = k} Σ_pixels g[n] v[n]        |
| Projection       | u[n] = Σ_f v[n,f] (W + V[k])[f]| dW = vᵀ g,   dV[k] = Σ_{n: labels[n] = k} g[n] v[n]        |
"""

from __future__ import annotations

from typing import Any

from ..layers.conditional import ConcatLabels, ConditionalScale, Projection, sum_pixels
from ..ops import Array, get_xp, ops_of
from .rules import register


def _with_zeros(layer: Any, c: int, v: Array) -> Array:
    u = get_xp(v).zeros((*v.shape[:-1], c + layer.classes), dtype=v.dtype)
    u[..., :c] = v
    return u


def _concat(layer: Any, c: int, v: Array, g: Array) -> tuple[None, dict]:
    return None, {}


def _scale(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
    return None, {"gamma": layer.sum_by_class(cache[1], sum_pixels(g * v))}


def _projected(layer: Any, cache: Any, v: Array) -> Array:
    one = get_xp(v).ones((len(v), 1), dtype=v.dtype)
    return (v * layer.input_gradient(cache, one)).sum(axis=1, keepdims=True)


def _projection(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
    return None, {"W": ops_of(v).matmul(v.T, g), "V": layer.sum_by_class(cache[1], g * v)}


register(ConcatLabels, tangent=_with_zeros, second_order=_concat)
register(ConditionalScale, symmetric=True, second_order=_scale)
register(Projection, tangent=_projected, second_order=_projection)
