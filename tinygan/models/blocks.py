r"""Networks that are no row of layers: what goes through several branches, side by side.

    Residual(Conv2D(8, 8, 3), LeakyReLU(), Conv2D(8, 8, 3))                  # y = x + f(x)
    Add(Conv2D(8, 16, 1, stride=2), Sequential(Conv2D(8, 16, 3, stride=2), LeakyReLU()))
    Concat(Conv2D(8, 4, 1), Conv2D(8, 4, 3))                                # channels of both

Each is a layer, and a network: it holds the arrays of its branches in flat vectors, is saved, moved and summarised as
:class:`tinygan.Sequential` is, and stands anywhere in one. Penalties differentiate through all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..layers.base import Layer, Shape, show_shape
from ..network import Sequential
from ..ops import Array, get_xp
from ..penalties import register
from ..penalties.rules import RULES, rule_of


class Residual(Sequential):
    r"""The layers one after the other, and their input added to what comes out: y = x + f(x).

    Raises
    ------
    ShapeError
        What comes out has not the shape of what goes in.

    Notes
    -----
    Forward   y = x + f(x)
    Backward  dx = dy + Jᵀ dy,  J of f: however small Jᵀ dy is, dy arrives

    References: He et al., 2016, equation 1.
    """

    replayable = True  # see tinygan.backends.cuda.graphs

    def _check_fit(self) -> None:
        super()._check_fit()
        if self.input_shape is not None:
            self.output_shape(self.input_shape)

    def apply(self, x: Array, train: bool, batches: int = 1) -> tuple[Array, Any]:
        y, passed = super().apply(x, train, batches)
        return x + y, passed

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        return dy + super().input_gradient(cache, dy)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        return dy + super().backprop(cache, dy, add)

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = super().output_shape(input_shape)
        if any(a != b for a, b in zip(shape, input_shape, strict=False) if None not in (a, b)) or len(shape) != len(
            input_shape
        ):
            raise ShapeError(
                f"{self.name}: {show_shape(input_shape)} comes out as {show_shape(shape)}, so that x cannot be added. "
                "Let the last layer give the shape of the input; or use Add, with a branch that brings the input to it."
            )
        return shape


class Branches(Sequential):
    """What takes one input through several networks side by side."""

    _in_a_row = False

    def __init__(self, *branches: Layer) -> None:
        whole = all(isinstance(branch, Layer) for branch in branches)  # or let Sequential say what is wrong
        super().__init__(
            *([b if isinstance(b, Sequential) else Sequential(b) for b in branches] if whole else branches)
        )

    def _check_fit(self) -> None:
        self.input_shape = next((b.input_shape for b in self.layers if b.input_shape is not None), None)
        if self.input_shape is not None:
            self.output_shape(self.input_shape)

    def apply(self, x: Array, train: bool, batches: int = 1) -> tuple[Array, Any]:
        passes = [(link, *link.apply(x, train)) for link in self.links(x, batches)]
        return self.join([y for _, y, _ in passes]), [(link, cache, y.shape) for link, y, cache in passes]

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        parts = zip(cache, self.split(dy, cache), strict=True)
        return _sum([link.input_gradient(of_link, part) for (link, of_link, _), part in parts])

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        parts = zip(cache, self.split(dy, cache), strict=True)
        return _sum([link.backprop(of_link, part, add) for (link, of_link, _), part in parts])

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        for (link, of_link, _), part in zip(cache, self.split(dy, cache), strict=True):
            link.store_gradients(of_link, part, add)

    def check_input(self, x: Array) -> None:
        for branch in self.layers:
            branch.check_input(x)
        self.output_shape(x.shape[1:])

    def join(self, ys: Sequence[Array]) -> Array:
        """y of what the branches give."""
        raise NotImplementedError

    def split(self, dy: Array, cache: Any) -> list[Array]:
        """The dy of each branch."""
        raise NotImplementedError


class Add(Branches):
    r"""The sum of what several networks make of one input: y = Σ_k f_k(x).

    Notes
    -----
    Backward  dx = Σ_k J_kᵀ dy
    """

    replayable = True

    def join(self, ys: Sequence[Array]) -> Array:
        return _sum(ys)

    def split(self, dy: Array, cache: Any) -> list[Array]:
        return [dy] * len(cache)

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = [branch.output_shape(input_shape) for branch in self.layers]
        if len({*map(len, shapes)}) > 1 or any(len({*sizes} - {None}) > 1 for sizes in zip(*shapes, strict=True)):
            shown = " and ".join(map(show_shape, shapes))
            raise ShapeError(f"{self.name}: the branches give {shown}, which cannot be added.")
        return tuple(next((s for s in sizes if s is not None), None) for sizes in zip(*shapes, strict=True))


class Concat(Branches):
    r"""The channels of what several networks make of one input, one after the other: y[..., of branch k] = f_k(x).

    Notes
    -----
    Backward  dx = Σ_k J_kᵀ dy[..., of branch k]
    """

    replayable = True

    def join(self, ys: Sequence[Array]) -> Array:
        return get_xp(*ys).concatenate(ys, axis=-1)

    def split(self, dy: Array, cache: Any) -> list[Array]:
        parts, start = [], 0
        for _, _, shape in cache:
            parts.append(get_xp(dy).ascontiguousarray(dy[..., start : start + shape[-1]]))
            start += shape[-1]
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = [branch.output_shape(input_shape) for branch in self.layers]
        pixels = [shape[:-1] for shape in shapes]
        if len({*map(len, pixels)}) > 1 or any(len({*sizes} - {None}) > 1 for sizes in zip(*pixels, strict=True)):
            shown = " and ".join(map(show_shape, shapes))
            raise ShapeError(f"{self.name}: the branches give {shown}; all but the channels must be alike.")
        channels = [shape[-1] for shape in shapes]
        first = tuple(next((s for s in sizes if s is not None), None) for sizes in zip(*pixels, strict=True))
        return (*first, None if None in channels else sum(c for c in channels if c is not None))


def _sum(arrays: Sequence[Array | None]) -> Array:
    """The sum of those that are there; a branch that begins with indices has no dx."""
    there = [a for a in arrays if a is not None]
    total: Any = there[0] if there else None
    for a in there[1:]:
        total = total + a
    return total


# ---- how penalties differentiate through them ------------------------------------------------------------------------


def _residual_tangent(block: Residual, passed: Any, v: Array) -> Array:
    return v + RULES[Sequential].tangent(block, passed, v)


def _residual_second_order(block: Residual, passed: Any, v: Array, g: Array) -> tuple[Array | None, Any]:
    """gᵀ (1 + J) v: the first term holds no parameter and no x."""
    return RULES[Sequential].second_order(block, passed, v, g)


def _branches_tangent(block: Branches, cache: Any, v: Array) -> Array:
    return block.join([rule_of(link).tangent(link, of_link, v) for link, of_link, _ in cache])


def _branches_second_order(block: Branches, cache: Any, v: Array, g: Array) -> tuple[Array | None, dict]:
    """gᵀ J v is the sum of that of the branches, whose gradients are added here."""
    parts = zip(cache, block.split(g, cache), strict=True)
    dxs = [rule_of(link).add(link, of_link, v, part) for (link, of_link, _), part in parts]
    bent = [dx for dx in dxs if dx is not None]
    return (_sum(bent) if bent else None), {}


register(Residual, tangent=_residual_tangent, second_order=_residual_second_order)
for _kind in (Add, Concat):
    register(_kind, tangent=_branches_tangent, second_order=_branches_second_order)
