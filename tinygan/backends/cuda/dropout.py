"""Dropout in a step that is recorded and replayed: the masks are drawn on the host, in the middle of the step.

The link draws what the layer would draw, from the layer's own generator. While a step is recorded it draws nothing: its
mask is memory, which is filled before each replay with a mask that is drawn then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from ...errors import BackendError
from ...ops import Array, ops_of
from ..cpu.layers import Fast


class MaskedDropout(Fast):
    """As :class:`tinygan.layers.Dropout`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array | None]:
        if not train or self.layer.rate == 0.0:
            return x, None
        wanted, masks = Mask(self.layer, x.shape, x.dtype), _masks.get()
        m = ops_of(x).from_host(wanted.draw()) if masks is None else masks.take(wanted, x)
        return x * m, m

    def input_gradient(self, m: Array | None, dy: Array) -> Array:
        return dy if m is None else dy * m


class Mask(NamedTuple):
    """A mask that a step needs."""

    layer: Any
    shape: tuple[int, ...]
    dtype: np.dtype

    def draw(self) -> np.ndarray:
        """m = [u ≥ rate] / (1 − rate), from the layer's generator."""
        keep = self.layer.rng.random(self.shape, dtype="float32") >= self.layer.rate
        return keep.astype(self.dtype) / (1.0 - self.layer.rate)


class Masks:
    """All masks of a step, in the order in which it asks for them.

    While a step runs within :meth:`noted`, they are drawn as ever and noted. While it is recorded within
    :meth:`given`, it gets the arrays that are given, and has to ask for the same ones again.
    """

    def __init__(self) -> None:
        self.wanted: list[Mask] = []
        self._given: list[Array] | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        token = _masks.set(self)
        try:
            yield
        finally:
            _masks.reset(token)

    @contextmanager
    def given(self, arrays: tuple[Array, ...]) -> Iterator[None]:
        self._given = list(arrays)
        try:
            with self.noted():
                yield
            if self._given:
                raise BackendError(f"{len(self._given)} masks of Dropout fewer were needed than in the step before.")
        finally:
            self._given = None

    def take(self, wanted: Mask, like: Array) -> Array:
        if self._given is None:
            self.wanted.append(wanted)
            return ops_of(like).from_host(wanted.draw())
        k = len(self.wanted) - len(self._given)
        if not self._given or self.wanted[k] != wanted:
            raise BackendError(f"a mask {wanted.shape} of Dropout was needed, but another one in the step before.")
        return self._given.pop(0)

    def draw(self) -> tuple[np.ndarray, ...]:
        """Draw them all, for another step."""
        return tuple(mask.draw() for mask in self.wanted)


_masks: ContextVar[Masks | None] = ContextVar("masks", default=None)
