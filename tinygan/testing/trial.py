"""What the rules of the contract are made of: a layer on trial, and the list that rules are added to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, backend_of, to_numpy
from ..initializers import Rng, as_generator
from ..layers.base import Layer


class Run(NamedTuple):
    """One forward and one backward, on the host."""

    y: np.ndarray
    dx: np.ndarray | None
    grads: dict[str, np.ndarray]


class Trial:
    """A layer under examination: fresh copies of it, batches for it, and runs of both passes."""

    def __init__(self, layer: Layer, x: Array, rng: Rng) -> None:
        self.layer, self.put, rng = layer, backend_of(x).from_host, as_generator(rng)
        self.x = np.array(to_numpy(x), dtype=np.float64)
        self.other = self.x[::-1] + 0.1 * rng.standard_normal(self.x.shape)  # a second batch, near the range of x
        y = self.fresh().forward(self.array(self.x))
        self.dy, self.other_dy = rng.standard_normal((2, *y.shape))
        self.options = {"grads", "need_dx"} & inspect.signature(layer.backward).parameters.keys()

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

    def run(
        self,
        layer: Layer,
        x: np.ndarray | None = None,
        dy: np.ndarray | None = None,
        *,
        train: bool = True,
        **options: Any,
    ) -> Run:
        """A forward of x and a backward of dy, with the keywords ``options``."""
        y = layer.forward(self.array(self.x if x is None else x), train=train)
        dx = layer.backward(self.array(self.dy if dy is None else dy), **options)
        return self.outcome(layer, y, dx)

    def outcome(self, layer: Layer, y: Array, dx: Array | None) -> Run:
        """What a forward and a backward gave, as copies on the host."""
        grads = {key: self.host(g) for key, g in layer.grads.items()}
        return Run(self.host(y), None if dx is None else self.host(dx), grads)

    @staticmethod
    def host(a: Array) -> np.ndarray:
        """A copy on the host."""
        return np.array(to_numpy(a))


def refused(error: type[Exception], method: Callable, *args: object) -> bool:
    """Whether calling ``method`` raises ``error``."""
    try:
        method(*args)
    except error:
        return True
    return False


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays differ by more than the order of summation explains."""
    return a.shape != b.shape or not np.linalg.norm(a - b) <= 1e-12 + 1e-10 * np.linalg.norm(b)


def difference(run: Run, expected: Run, *, exact: bool = False) -> str | None:
    """Say which result of two runs differs, if any does."""
    pairs = [("the output", run.y, expected.y), ("dx", run.dx, expected.dx)]
    pairs += [(f"the gradient of {key}", g, expected.grads[key]) for key, g in run.grads.items()]
    for name, a, b in pairs:
        if not np.array_equal(a, b) if exact else apart(a, b):
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


#: The contract, in the order in which it is checked.
RULES: list[Rule] = []


def rule(what: str, *, why: str, mend: str) -> Callable:
    """Add the function below to the list of rules."""

    def add(check: Callable[[Trial], Iterator[str]]) -> Callable[[Trial], Iterator[str]]:
        RULES.append(Rule(what, why, mend, check))
        return check

    return add


#: Train and eval; nearly every rule must hold in both.
MODES = (True, False)
