"""How an optimiser's state is kept, and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..layers.stored import require_same
from ..ops import Ops, ops_of, to_backend, to_numpy


class StoredOptimizer:
    """The half of an optimiser that moves, saves and restores its vectors."""

    state_names: tuple[str, ...]
    never_negative: tuple[str, ...] = ("t", "lr")  # of the arrays of the state
    t: Any
    lr: float | Callable[[int], float]

    def __setattr__(self, name: str, value: Any) -> None:
        """The network stays: the vectors are of its size, and move by its gradients."""
        if name == "network" and name in vars(self):
            raise ArgumentError(f"{type(self).__name__}: the network stays; make a new optimiser for another one.")
        super().__setattr__(name, value)

    def rate(self, t: int) -> float:
        """The learning rate of the step after t others."""
        raise NotImplementedError

    def to(self, backend: str | Ops) -> None:
        """Move the optimiser's own vectors; the network moves by itself."""
        for name in self.state_names:
            setattr(self, name, to_backend(getattr(self, name), backend))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that the next step depends on, as NumPy arrays."""
        vectors = {name: to_numpy(getattr(self, name)).copy() for name in self.state_names}
        return {**vectors, "t": np.array(self.t), "lr": np.array(self.rate(self.t), dtype=np.float64)}

    def load_state_arrays(self, arrays: Mapping[str, np.ndarray], *, source: str = "the state") -> None:
        """Continue from what :meth:`state_arrays` gave; CheckpointError if it is of another optimiser.

        A learning rate that is a number becomes that of the state; one that is a function stays, and goes on at the
        state's step.
        """
        require_same(self.state_arrays(), arrays, source, never_negative=self.never_negative)
        for name in self.state_names:
            vector = getattr(self, name)
            vector[...] = ops_of(vector).from_host(arrays[name])
        self.t = int(arrays["t"])
        if not callable(self.lr):
            self.lr = float(arrays["lr"])
