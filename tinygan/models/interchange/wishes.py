"""What is asked of the order of a row of numbers by the parts that follow: by the image that they make of it, or by the
other branches of a block, to which it is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ... import layers as ours
from ...layers import Layer
from ...network import Sequential
from ..blocks import Add, Concat, Residual
from .order import Order, channels_first, same

#: What works number by number, whatever the order
ELEMENTWISE = ours.LeakyReLU, ours.ReLU, ours.ELU, ours.Softplus, ours.SiLU, ours.Tanh, ours.Sigmoid, ours.Dropout
NORMS = ours.BatchNorm, ours.LayerNorm, ours.ConditionalScale


class Asked(NamedTuple):
    """The answer of what needs its row in this order; in a list of parts, what its end shall be in."""

    order: Order


class Branches(NamedTuple):
    """The answer of a block: what the rows of parts in it say; whether what they give is added, so that a branch that
    leaves the order as it is hands on what is asked behind the block."""

    rows: Sequence[Sequence[Any]]
    added: bool


KEEPS, STOPS = "keeps", "stops"  # the answers of what works in any order and keeps it, and of what is indifferent


def wanted(parts: Sequence[Any], look: Callable[[Any], Any]) -> Order:
    """In which order these parts, one after the other, need their row; ``look(part)`` is the answer of one."""
    found = _answer(parts, look)
    return found.order if isinstance(found, Asked) else None


def _answer(parts: Sequence[Any], look: Callable[[Any], Any]) -> Any:
    for part in parts:
        found = part if isinstance(part, Asked) else look(part)
        if isinstance(found, Branches):
            answers = [_answer(row, look) for row in found.rows]
            kept = found.added and any(answer is KEEPS for answer in answers)
            found = next((answer for answer in answers if isinstance(answer, Asked)), KEEPS if kept else STOPS)
        if found is not KEEPS:
            return found
    return KEEPS


def agreed(make: Callable[[Order], list[tuple[Any, Order]]], wish: Order) -> tuple[list[Any], Order] | None:
    """What ``make(order)`` makes of branches that are added, and the one order that all end in; None if there is none.
    It is that wish, unless a branch ends in another whatever it is asked for."""
    made = make(wish)
    if other := [order for _, order in made if not same(order, wish)]:
        wish = other[0]
        made = make(wish)
    return ([one for one, _ in made], wish) if all(same(order, wish) for _, order in made) else None


# ---- of layers -------------------------------------------------------------------------------------------------------


def order_wanted(rest: Sequence[Any]) -> Order:
    """In which order the layers after a Dense need its numbers: that of the image, if they make one of them."""
    return wanted(rest, _look)


def _look(layer: Layer) -> Any:
    """What one layer asks of the order of its row."""
    if isinstance(layer, (*ELEMENTWISE, *NORMS)):
        return KEEPS
    if type(layer) is ours.Reshape and len(layer.shape) == 3:
        return Asked(channels_first(*layer.shape))
    if type(layer) in (Sequential, Residual, Add, Concat):
        rows = rows_of(layer)
        return Branches([*rows, ()] if type(layer) is Residual else rows, added=type(layer) is not Concat)
    return STOPS


def rows_of(block: Any) -> list[Sequence[Layer]]:
    """The layers of each branch; the one that leaves x as it is is not among them."""
    if type(block) not in (Add, Concat):
        return [block.layers]
    return [branch.layers if type(branch) is Sequential else (branch,) for branch in block.layers]
