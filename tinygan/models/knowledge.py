"""What the networks of a system know of classes, and the layers that make it so: :mod:`tinygan.models.conditional`."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, positive_int
from ..layers import BatchNorm, ConcatLabels, ConditionalScale, Dense, Layer, Projection
from ..layers.starting import one_of

WAYS = ("concat", "projection")


class Knowledge:
    """What the networks of a system know of classes, and the layers that make it so. This one: nothing.

    Attributes
    ----------
    columns : by how many channels the input of either network grows.
    """

    columns = 0

    def first(self) -> list[Layer]:
        """What a network begins with."""
        return []

    def scale(self, c: int, dtype: Any) -> list[Layer]:
        """What c channels in G learn of the class."""
        return []

    def normalisation(self, c: int, dtype: Any) -> list[Layer]:
        """What normalises c channels in G."""
        return [BatchNorm(c, dtype=dtype), *self.scale(c, dtype)]

    def last(self, n_in: int, common: dict[str, Any]) -> Layer:
        """What makes of D's features a logit."""
        return Dense(n_in, 1, **common)


class Concatenated(Knowledge):
    """Both networks see the label one-hot, beside what they are given."""

    def __init__(self, classes: int) -> None:
        self.classes = self.columns = classes

    def first(self) -> list[Layer]:
        return [ConcatLabels(self.classes)]


class Projected(Knowledge):
    """G has a scale and a shift for each class, D a direction in its features."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def scale(self, c: int, dtype: Any) -> list[Layer]:
        return [ConditionalScale(c, self.classes, dtype=dtype)]

    def last(self, n_in: int, common: dict[str, Any]) -> Layer:
        return Projection(n_in, self.classes, **common)


def knowledge(classes: int | None, conditional: str, name: str, *, batch_norm: bool = True) -> Knowledge:
    """What ``classes`` and ``conditional`` ask for; ArgumentError if it cannot be had."""
    way = one_of(conditional, f"{name}: conditional: expected {' or '.join(map(repr, WAYS))}", WAYS)
    if classes is None:
        return Knowledge()
    classes = positive_int(classes, f"{name}: classes")
    if way == "concat":
        return Concatenated(classes)
    if not batch_norm:
        why = "G learns of the class in BatchNorm, which it has not; conditional='concat' needs none"
        raise ArgumentError(f"{name}: conditional='projection' and batch_norm=False: {why}.")
    return Projected(classes)
