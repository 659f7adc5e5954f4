r"""Several processes that train one GAN together, each on its share of every batch (*data parallel*).

All have the same networks and the same random numbers. Of a batch of N samples process r has n_r, and

    L = 1/N Σ_n l_n = Σ_r w_r · L_r        w_r = n_r / N,    L_r the mean over its own samples
    dL/dθ           = Σ_r dL/dθ from the samples of r

so each hands w_r ∂L_r/∂s to its backward pass, which then differentiates the loss of the whole batch, and one sum over
the processes of each network's flat gradient gives them all the same, to the bit. So the same step follows everywhere,
and no weights are ever sent. Shares may be unequal. Noise is drawn for the whole batch in every process, which keeps
its own rows: several processes see the numbers that one would.

Of the layers that look at a batch as a whole, BatchNorm does it across the processes; others are refused.

How the processes find each other and talk is :mod:`tinygan.mpi`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backend import Array, get_xp
from .errors import ArgumentError
from .flat import Flat
from .layers.base import Layer
from .network import Sequential


class Group:
    """The processes that train together; of this class itself, this process alone.

    What the methods get is alike in all processes, in shape, dtype and the order of calls: each waits for the others.

    Attributes
    ----------
    rank : the number of this process, from 0. The first one alone writes files and talks.
    size : how many there are.
    """

    rank, size = 0, 1

    def sum(self, a: Array) -> None:
        """Replace ``a`` by its sum over all processes, in place: the same bits everywhere."""

    def gather(self, a: Array) -> Array:
        """Return the arrays ``a`` of all processes, (size, ...)."""
        return a[None]

    def exchange(self, value: Any) -> list[Any]:
        """Return the objects of all processes, in their order."""
        return [value]

    def end(self, report: Callable[[], None]) -> None:
        """Say, with ``report()``, why this process ends in an error, and see to it that the others end too."""
        report()

    # ---- made of these -----------------------------------------------------------------------------------------------

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process."""
        return flag if self.size == 1 else bool(self.gather(np.array([flag])).any())

    def first(self, work: Callable[[], Any]) -> Any:
        """Call ``work()`` in the first process only; return its result, or raise its error, in all of them."""
        if self.size == 1:
            return work()
        found: tuple[Any, Exception | None] = None, None
        if self.rank == 0:
            try:
                found = work(), None
            except Exception as error:
                found = None, error
        result, error = self.exchange(found)[0]
        if error is not None:
            raise found[1] or error
        return result

    def in_turn(self, work: Callable[[], Any]) -> Any:
        """Return ``work()``, called in the others once the first process is done: what it has made they find ready."""
        results = []
        self.first(lambda: results.append(work()))
        return results[0] if results else work()

    def rows(self, total: int) -> slice:
        """The rows of a batch of ``total`` that belong to this process: all differ by one at most."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def shard(self, n: int) -> Shard:
        """The place of this process's ``n`` samples among those of all."""
        counts = [n] if self.size == 1 else self.gather(np.array([n]))[:, 0].tolist()
        return Shard(self, n, sum(counts), sum(counts[: self.rank]))

    def __deepcopy__(self, memo: dict) -> Group:
        return ALONE  # copies of a network are looked at by one process for itself

    def __reduce__(self) -> tuple[Any, ...]:
        return _alone, ()


ALONE = Group()


def _alone() -> Group:
    return ALONE


@dataclass(frozen=True)
class Shard:
    """Samples ``first`` to ``first + n`` of the ``total`` of a batch: what this process has of it."""

    group: Group
    n: int
    total: int
    first: int

    @property
    def share(self) -> float:
        """w = n / N."""
        return self.n / self.total

    def rng(self, rng: np.random.Generator) -> np.random.Generator | OwnRows:
        """A source of the random numbers that belong to these samples."""
        return rng if self.group.size == 1 else OwnRows(self, rng)

    def weighted(self, value: Array, *slopes: Array) -> tuple[Array, ...]:
        """The share w · L and w · ∂L/∂s of these samples in the loss of all."""
        return (value, *slopes) if self.group.size == 1 else tuple(a * self.share for a in (value, *slopes))

    def sum(self, grad: Array, *values: Array | float) -> tuple[Array | float, ...]:
        """Add up the flat gradient ``grad``, in place, and return the sums of some numbers."""
        if self.group.size == 1:
            return values
        numbers = get_xp(grad).zeros(len(values), dtype=grad.dtype)
        for i, value in enumerate(values):
            numbers[i] = value
        self.group.sum(grad)
        self.group.sum(numbers)
        return tuple(numbers[i] for i in range(len(values)))


class OwnRows:
    """A generator that draws for the samples of all processes, as one process would, and gives those of its own."""

    def __init__(self, shard: Shard, rng: np.random.Generator) -> None:
        self._shard, self._rng = shard, rng

    def random(self, size: Any, **options: Any) -> np.ndarray:
        return self._own(self._rng.random, size, options)

    def standard_normal(self, size: Any, **options: Any) -> np.ndarray:
        return self._own(self._rng.standard_normal, size, options)

    def _own(self, draw: Callable[..., np.ndarray], size: Any, options: dict[str, Any]) -> np.ndarray:
        n, *rest = size if isinstance(size, tuple) else (size,)
        if n != self._shard.n:
            raise ArgumentError(f"among several processes a row is drawn for each sample, {self._shard.n}; got {size}.")
        first = self._shard.first
        return draw((self._shard.total, *rest), **options)[first : first + n]

    def __getattr__(self, name: str) -> Any:
        raise ArgumentError(
            f"among several processes random numbers come from random(size) and standard_normal(size), not {name}."
        )


@contextmanager
def joined(gan: Any, group: Group) -> Iterator[None]:
    """Within the ``with`` block each step of ``gan`` is one of all processes of ``group``.

    Raises
    ------
    ArgumentError
        A layer couples the samples of a batch, or draws random numbers for them, and cannot do so across processes; or
        the networks are not the same everywhere.
    """
    if group.size == 1:
        yield
        return
    layers = [layer for network in (gan.generator, gan.discriminator) for layer in _inside(network)]
    for layer in layers:
        _require_divisible(layer)
    require_alike(group, gan.checksum, "weights or random numbers; give all the same seed")
    normalising = [layer for layer in layers if hasattr(layer, "group")]
    try:
        gan.group = group
        for layer in normalising:
            layer.group = group
        yield
    finally:
        gan.group = ALONE
        for layer in normalising:
            layer.group = None


def require_alike(group: Group, value: Callable[[], Any], what: str) -> None:
    """Raise ArgumentError, in all processes, unless ``value()`` is the same in each."""
    if group.size == 1:
        return
    values = group.exchange(value())
    if wrong := [rank for rank, other in enumerate(values) if other != values[0]]:
        raise ArgumentError(f"process {wrong[0]} of {group.size} is not like process 0, it has other {what}.")


def _inside(network: Sequential) -> Iterator[Layer]:
    for layer in network.layers:
        if isinstance(layer, Flat):
            yield from _inside(layer)
        else:
            yield layer


def _require_divisible(layer: Layer) -> None:
    if any(True for _ in layer.rngs()):
        raise ArgumentError(
            f"{layer.name}: draws random numbers for each batch, which several processes would each draw for "
            "themselves. Leave the layer out, or train in one process."
        )
    if layer.couples_samples and not (hasattr(layer, "group") and layer.parts):
        raise ArgumentError(
            f"{layer.name}: looks at a batch as a whole, but each of several processes has only a share of it. "
            "Of such layers BatchNorm alone works across processes; leave this one out, or train in one process."
        )
