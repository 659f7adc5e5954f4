"""All that the next step of a GAN depends on, as arrays and a record, and back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import checkpoints
from .errors import CheckpointError
from .network import Sequential
from .optim import ExponentialMovingAverage, Optimizer


class Resumable:
    """The half of :class:`tinygan.GAN` that saves and restores."""

    generator: Sequential
    discriminator: Sequential
    g_optimizer: Optimizer
    d_optimizer: Optimizer
    average: ExponentialMovingAverage | None
    rng: np.random.Generator
    sample_rng: np.random.Generator
    t: int

    def _parts(self) -> dict[str, Any]:
        """Everything that holds arrays, by the name it has in a checkpoint."""
        parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
        }
        return {**parts, "average": self.average.network} if self.average else parts

    def _rngs(self) -> dict[str, np.random.Generator]:
        """Every source of random numbers, by the name it has in a checkpoint."""
        rngs = {"training": self.rng, "sampling": self.sample_rng}
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            rngs |= {f"{name}.{key}": rng for key, rng in network.rngs()}
        return rngs

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return (arrays, metadata): all that the next step depends on, for :func:`tinygan.checkpoints.write`."""
        arrays = {f"{name}.{key}": a for name, part in self._parts().items() for key, a in part.state_arrays().items()}
        rngs = {name: _plain(rng.bit_generator.state) for name, rng in self._rngs().items()}
        return arrays, {"step": self.t, "rngs": rngs, "average_t": self.average.t if self.average else 0}

    def checksum(self) -> int:
        """A number that two GANs share if the next step depends on the same bits in both, and hardly ever otherwise."""
        arrays, about = self.state()
        found = zlib.crc32(repr(about).encode())
        for key, array in arrays.items():
            found = zlib.crc32(np.ascontiguousarray(array), zlib.crc32(key.encode(), found))
        return found

    def load_state(
        self, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], *, source: str = "the state"
    ) -> None:
        """Continue from what :meth:`state` gave: the next step is the one that would have followed, to the bit.

        Raises
        ------
        CheckpointError
            It is of other networks or optimisers, or incomplete. Nothing has changed then.
        """
        own, _ = self.state()
        checkpoints.require_same(own, arrays, source)
        rngs = self._rngs()
        try:
            step, average_t, states = int(metadata["step"]), int(metadata["average_t"]), dict(metadata["rngs"])
            if step < 0 or average_t < 0:
                raise ValueError(f"step {step}")
            if states.keys() != rngs.keys():
                raise KeyError(f"random states of {sorted(states)}, not {sorted(rngs)}")
            for name, rng in rngs.items():  # tried on copies first, so that a bad state changes nothing
                type(rng.bit_generator)().state = states[name]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: the record of the run is incomplete or damaged ({error}).") from error
        for name, part in self._parts().items():
            inner = {key.removeprefix(name + "."): a for key, a in arrays.items() if key.startswith(name + ".")}
            part.load_state_arrays(inner, source=source)
        for name, rng in rngs.items():
            rng.bit_generator.state = states[name]
        self.t = step
        if self.average:
            self.average.t = average_t


def _plain(state: Any) -> Any:
    """The state of a bit generator with lists for arrays (MT19937 has one), so that JSON can hold it."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state
