"""Layers that move no number, only say how the numbers are arranged."""

from __future__ import annotations

from math import prod

from ..errors import ArgumentError, positive_int
from ..ops import Array
from .base import Layer, Shape


class Reshape(Layer):
    r"""Give each sample the shape ``shape``; the batch axis stays.

    Notes
    -----
    Shapes    x (N, ...)   y (N, *shape), equally many numbers in C order
    Forward   y = x arranged anew
    Backward  dx = dy arranged as x was
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        if len(shape) < 1 or isinstance(shape[0], tuple | list):
            raise ArgumentError(f"Reshape: expected sizes, as in Reshape(7, 7, 16), got {shape}.")
        self.shape = tuple(positive_int(s, "Reshape: each size") for s in shape)

    def apply(self, x: Array, train: bool) -> tuple[Array, Shape]:
        return x.reshape(len(x), *self.shape), x.shape

    def gradients(self, x_shape: Shape, dy: Array) -> tuple[Array, dict]:
        return dy.reshape(x_shape), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        if None not in input_shape and prod(input_shape) != prod(self.shape):
            raise self.misfit(
                f"with {prod(self.shape)} numbers per sample, to make {self.shape}",
                input_shape,
                f"That has {prod(input_shape)}.",
            )
        return self.shape

    def __repr__(self) -> str:
        return f"Reshape({', '.join(map(str, self.shape))})"


class Flatten(Layer):
    r"""Make each sample one row.

    Notes
    -----
    Shapes    x (N, A, B, ...)   y (N, A·B·...)
    Forward   y = x arranged anew
    Backward  dx = dy arranged as x was
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Shape]:
        return x.reshape(len(x), -1), x.shape

    def gradients(self, x_shape: Shape, dy: Array) -> tuple[Array, dict]:
        return dy.reshape(x_shape), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        return (None if None in input_shape else prod(input_shape),)
