"""Rules of the layers that arrange numbers, or add them with fixed weights: the tangent is what a layer makes of v, and
nothing bends. MaxPool2D takes of v what it has taken of x."""

from __future__ import annotations

from typing import Any

from ..layers import AvgPool2D, Flatten, MaxPool2D, Pack, PixelShuffle, Reshape, Upsample
from ..ops import Array, get_xp
from .rules import register


def _arranged(layer: Any, cache: Any, v: Array) -> Array:
    return layer.apply(v, True)[0]


def _nothing_bends(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict]:
    return None, {}


def _chosen(layer: Any, cache: Any, v: Array) -> Array:
    where, _ = cache
    columns, window = layer.columns(v)
    return get_xp(v).take_along_axis(columns, where, axis=1).reshape(len(v), *window.grid, v.shape[3])


for kind in (Flatten, Reshape, Pack, AvgPool2D, Upsample, PixelShuffle):
    register(kind, tangent=_arranged, second_order=_nothing_bends)
register(MaxPool2D, tangent=_chosen, second_order=_nothing_bends)
