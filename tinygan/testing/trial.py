"""What the rules of the contract are made of: a layer on trial, and the form of a rule."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..layers.base import Layer
from ..layers.initializers import Rng, as_generator
from ..ops import Array, as_array, ops_of, to_numpy


class Run(NamedTuple):
    """What a forward and a backward pass gave, on the host."""

    y: np.ndarray
    dx: np.ndarray | None
    grads: dict[str, np.ndarray]


class Trial:
    """A layer under examination: fresh copies of it, batches for it, and runs of both passes.

    ``x`` and ``other`` are two batches, ``dy`` and ``other_dy`` gradients of their outputs, all on the host. They are
    float64, but for the indices that a layer with ``takes_integers`` is given.
    """

    def __init__(self, layer: Layer, x: Array, rng: Rng) -> None:
        require_initialised(layer)
        x, rng = as_array(x), as_generator(rng)
        self.layer, self.put = layer, ops_of(x).from_host
        if layer.takes_integers:
            self.x = np.array(to_numpy(x))
            self.other = rng.permutation(self.x.ravel()).reshape(self.x.shape)  # indices that the layer knows
        else:
            self.x = numbers(x)
            self.other = self.x[::-1] + 0.1 * rng.standard_normal(self.x.shape)  # near the range of x
        self.fresh().check_input(self.batch(self.x))  # a batch that does not fit is no fault of the layer
        self.rng = rng

    @cached_property
    def dy(self) -> np.ndarray:
        """A gradient of the output."""
        return self.rng.standard_normal(self.fresh().forward(self.batch(self.x)).shape)

    @cached_property
    def other_dy(self) -> np.ndarray:
        """Another one."""
        return self.rng.standard_normal(self.dy.shape)

    def fresh(self, dtype: Any = np.float64, *, grads: float = 0.0) -> Layer:
        """A copy of the layer, all of its gradients set to ``grads``."""
        layer = self.layer.astype(dtype)
        self.fill(layer, grads)
        return layer

    @staticmethod
    def fill(layer: Layer, grads: float) -> None:
        """Set all gradients of ``layer`` to ``grads``."""
        for g in layer.grads.values():
            g[...] = grads

    def array(self, host: np.ndarray, dtype: Any = np.float64) -> Array:
        """A copy on the layer's backend."""
        return self.put(np.array(host, dtype=dtype))

    def batch(self, host: np.ndarray, dtype: Any = np.float64) -> Array:
        """The same of a batch for the layer; indices stay what they are."""
        return self.array(host, host.dtype if self.layer.takes_integers else dtype)

    def run(
        self, layer: Layer, x: np.ndarray | None = None, dy: np.ndarray | None = None, *, train: bool = True
    ) -> Run:
        """forward(x) and backward(dy)."""
        y = layer.forward(self.batch(self.x if x is None else x), train=train)
        return self.outcome(layer, y, layer.backward(self.array(self.dy if dy is None else dy)))

    def outcome(self, layer: Layer, y: Array, dx: Array | None) -> Run:
        """What a forward and a backward gave, as copies on the host."""
        dx = None if dx is None or self.layer.takes_integers else self.host(dx)
        return Run(self.host(y), dx, self.grads(layer))

    def grads(self, layer: Layer) -> dict[str, np.ndarray]:
        """Copies of the gradients that are stored in ``layer``, on the host."""
        return {key: self.host(g) for key, g in layer.grads.items()}

    @staticmethod
    def host(a: Array) -> np.ndarray:
        """A copy on the host."""
        return np.array(to_numpy(a))


def numbers(x: Array) -> np.ndarray:
    """A float64 copy of ``x`` on the host; DTypeError if it holds no numbers, ShapeError if it is a single one."""
    host = to_numpy(x)
    if host.dtype.kind not in "biuf":
        raise DTypeError(f"expected an array of numbers, got {host.dtype}.")
    if host.ndim == 0:
        raise ShapeError("expected a batch (N, ...), got a single number of shape ().")
    return np.array(host, dtype=np.float64)


def require_initialised(layer: Layer) -> None:
    """Refuse a layer whose class forgot the first line of ``__init__``."""
    if not isinstance(layer, Layer):
        raise ArgumentError(f"expected a tinygan Layer, got {type(layer).__name__}; derive from Layer.")
    if not hasattr(layer, "_bound"):
        raise ArgumentError(f"{type(layer).__name__}: __init__ must call super().__init__().")


def rewinder(layer: Layer) -> Callable[[], None]:
    """Return a function that undoes what forward passes do to ``layer``: open passes, buffers, states of Generators."""
    buffers = [(b, b.copy()) for b in layer.buffers.values()]
    states = [(rng.bit_generator, rng.bit_generator.state) for _, rng in layer.rngs()]

    def rewind() -> None:
        layer.forget()
        for buffer, before in buffers:
            buffer[...] = before
        for bits, state in states:
            bits.state = state

    return rewind


def keeps_a_trace(layer: Layer, run: Callable[[], object], rewind: Callable[[], None]) -> bool:
    """Whether ``run`` changes the layer in a way that cannot be rewound, so that each run needs a fresh copy."""
    try:
        before = pickle.dumps(layer)
        run()
        rewind()
        return before != pickle.dumps(layer)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError):
        return True  # it cannot be pickled and compared


def refused(error: type[Exception], method: Callable, *args: object) -> bool:
    """Whether calling ``method`` raises ``error``."""
    try:
        method(*args)
    except error:
        return True
    return False


def apart(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two arrays differ by more than the order of summation explains."""
    if a is None or b is None:
        return a is not b
    return a.shape != b.shape or not np.linalg.norm(a - b) <= 1e-12 + 1e-10 * np.linalg.norm(b)


def difference(run: Run, expected: Run, *, exact: bool = False) -> str | None:
    """Say which result of two runs differs, if any does."""
    pairs: list[tuple[str, Any, Any]] = [("the output", run.y, expected.y), ("dx", run.dx, expected.dx)]
    pairs += [(f"the gradient of {key}", g, expected.grads[key]) for key, g in run.grads.items()]
    for name, a, b in pairs:
        if (not np.array_equal(a, b) and a is not b) if exact else apart(a, b):
            return f"{name} differs"
    return None


def strided(put: Callable, host: np.ndarray) -> Array:
    """The numbers of ``host`` as every second one of a larger array."""
    return put(np.repeat(host, 2, axis=-1))[..., ::2]


def transposed(put: Callable, host: np.ndarray) -> Array:
    """The numbers of ``host`` with the first axis fastest in memory."""
    return put(np.ascontiguousarray(host.T)).T


class Rule(NamedTuple):
    """One rule: what must hold, why, how to mend a layer that breaks it, and the function that looks."""

    what: str
    why: str
    mend: str
    check: Callable[[Trial], Iterator[str]]


def rule(what: str, *, why: str, mend: str) -> Callable:
    """Make a rule of the function below, which tries a layer and yields what it finds wrong."""
    return lambda check: Rule(what, why, mend, check)


#: Train and eval; nearly every rule must hold in both.
MODES = (True, False)
