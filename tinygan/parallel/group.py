r"""The processes that train together, what they tell each other, and which samples of a batch belong to whom.

All have the same networks and the same random numbers. Of a batch of N samples process r has n_r, and

    L = 1/N Σ_n l_n = Σ_r w_r · L_r        w_r = n_r / N,    L_r the mean over its own samples
    dL/dθ           = Σ_r dL/dθ from the samples of r

so each hands w_r ∂L_r/∂s to its backward pass, which then differentiates the loss of the whole batch, and one sum over
the processes (an *all-reduce*) of each network's flat gradient gives them all the same, to the bit. So the same step
follows everywhere, and no weights are ever sent. Shares may be unequal. Noise is drawn for the whole batch in every
process, which keeps its own rows: several processes see the numbers that one would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ops import Array, get_xp


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
        result, failure = None, None
        if self.rank == 0:
            try:
                result = work()
            except Exception as error:
                failure = error
        result, other = self.exchange((result, failure))[0]
        if other is not None:
            raise failure or other  # the very one, where it was raised
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

    def rng(self, rng: np.random.Generator) -> Any:
        """A source of the random numbers that belong to these samples."""
        return rng if self.group.size == 1 else OwnRows(self, rng)

    def weighted(self, value: Array, *slopes: Array) -> Any:
        """The share w · L and w · ∂L/∂s of these samples in the loss of all."""
        return (value, *slopes) if self.group.size == 1 else tuple(a * self.share for a in (value, *slopes))

    def sum(self, grad: Array, *values: Array | float) -> tuple[Any, ...]:
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


def require_alike(group: Group, value: Callable[[], Any], what: str) -> None:
    """Raise ArgumentError, in all processes, unless ``value()`` is the same in each."""
    if group.size == 1:
        return
    values = group.exchange(value())
    if wrong := [rank for rank, other in enumerate(values) if other != values[0]]:
        raise ArgumentError(f"process {wrong[0]} of {group.size} is not like process 0, it has other {what}.")
