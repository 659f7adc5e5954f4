"""All that the next step of a GAN depends on, as arrays and a record, and back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checkpoints
from ..errors import CheckpointError
from ..gan import GAN


def state(gan: GAN) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, record): all that the next step depends on, for :func:`tinygan.checkpoints.write`."""
    arrays = {f"{name}.{key}": a for name, part in _owners(gan).items() for key, a in part.state_arrays().items()}
    states = {name: _plain(rng.bit_generator.state) for name, rng in rngs(gan).items()}
    return arrays, {"step": gan.t, "rngs": states, "average_t": gan.average.t if gan.average else 0}


def load_state(
    gan: GAN, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], *, source: str = "the state"
) -> None:
    """Let ``gan`` continue from what :func:`state` gave: the next step is the one that would have followed, to the bit.

    Raises
    ------
    CheckpointError
        It is of other networks or optimisers, or incomplete. Nothing has changed then.
    """
    current, _ = state(gan)
    checkpoints.require_same(current, arrays, source)
    generators = rngs(gan)
    try:
        step, average_t, states = int(about["step"]), int(about["average_t"]), dict(about["rngs"])
        if step < 0 or average_t < 0:
            raise ValueError(f"step {step}")
        if states.keys() != generators.keys():
            raise KeyError(f"random states of {sorted(states)}, not {sorted(generators)}")
        for name, rng in generators.items():  # tried on copies first, so that a bad state changes nothing
            type(rng.bit_generator)().state = states[name]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: the record of the run is incomplete or damaged ({error}).") from error
    for name, part in _owners(gan).items():
        inner = {key.removeprefix(name + "."): a for key, a in arrays.items() if key.startswith(name + ".")}
        part.load_state_arrays(inner, source=source)
    for name, rng in generators.items():
        rng.bit_generator.state = states[name]
    gan.t = step
    if gan.average:
        gan.average.t = average_t


def checksum(gan: GAN) -> int:
    """A number that two GANs share if the next step depends on the same bits in both, and hardly ever otherwise."""
    arrays, about = state(gan)
    crc = zlib.crc32(repr(about).encode())
    for key, array in arrays.items():
        crc = zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(key.encode(), crc))
    return crc


def rngs(gan: GAN) -> dict[str, np.random.Generator]:
    """Every source of random numbers, by the name it has in a checkpoint."""
    generators = {"training": gan.rng, "sampling": gan.sample_rng}
    for name, network in (("generator", gan.generator), ("discriminator", gan.discriminator)):
        generators |= {f"{name}.{key}": rng for key, rng in network.rngs()}
    return generators


def _owners(gan: GAN) -> dict[str, Any]:
    """Everything that holds arrays, by the name it has in a checkpoint."""
    owners = {
        "generator": gan.generator,
        "discriminator": gan.discriminator,
        "g_optimizer": gan.g_optimizer,
        "d_optimizer": gan.d_optimizer,
    }
    return {**owners, "average": gan.average.network} if gan.average else owners


def _plain(state: Any) -> Any:
    """The state of a bit generator with lists for arrays (MT19937 has one), so that JSON can hold it."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state
