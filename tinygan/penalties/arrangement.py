"""Rules of the layers that only arrange numbers: the tangent is v arranged as y is, and nothing bends."""

from __future__ import annotations

from typing import Any

from ..layers import Flatten, Pack, Reshape
from ..ops import Array
from .rules import register


def _arranged(layer: Any, cache: Any, v: Array) -> Array:
    return layer.apply(v, True)[0]


def _nothing_bends(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict]:
    return None, {}


for kind in (Flatten, Reshape, Pack):
    register(kind, tangent=_arranged, second_order=_nothing_bends)
