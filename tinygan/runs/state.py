"""All that the next step of a GAN depends on, as arrays and a record, and back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checkpoints
from ..errors import ArgumentError, CheckpointError
from ..gan import GAN
from ..layers.stored import require_same
from ..network import Sequential
from ..ops import Array
from .record import STATE


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
        It is of other networks or optimisers, incomplete, or not finite. Nothing has changed then.
    """
    current, _ = state(gan)
    owners, generators = _owners(gan), rngs(gan)
    names = {
        rule: [f"{name}.{key}" for name, part in owners.items() for key in getattr(part, rule, ())]
        for rule in ("never_negative", "never_zero")
    }
    require_same(current, arrays, source, **names)
    checkpoints.require_record(about, STATE, f"{source}: the record of the run")
    states = about["rngs"]
    try:
        if states.keys() != generators.keys():
            raise KeyError(f"random states of {sorted(states)}, not {sorted(generators)}")
        for name, rng in generators.items():  # tried on copies first, so that a bad state changes nothing
            type(rng.bit_generator)().state = states[name]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{source}: the record of the run is incomplete or damaged ({error}).") from error
    for name, part in owners.items():
        inner = {key.removeprefix(name + "."): a for key, a in arrays.items() if key.startswith(name + ".")}
        part.load_state_arrays(inner, source=source)
    for name, rng in generators.items():
        rng.bit_generator.state = states[name]
    gan.t = about["step"]
    if gan.average:
        gan.average.t = about["average_t"]


def checksum(gan: GAN) -> int:
    """A number that two GANs share if the next step depends on the same bits in both, and hardly ever otherwise."""
    arrays, about = state(gan)
    crc = zlib.crc32(repr(about).encode())
    for key, array in arrays.items():
        crc = zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(key.encode(), crc))
    return crc


def live_arrays(gan: GAN) -> dict[str, Array]:
    """The very arrays of floats that a state copies, by their names there."""
    arrays: dict[str, Array] = {}
    for name, part in _owners(gan).items():
        if isinstance(part, Sequential):
            live = {**part.params, **part.buffers}
        else:
            live = {key: getattr(part, key) for key in part.state_names}
        arrays |= {f"{name}.{key}": array for key, array in live.items() if array.dtype.kind == "f"}
    return arrays


def rngs(gan: GAN) -> dict[str, np.random.Generator]:
    """Every source of random numbers, by the name it has in a checkpoint."""
    if not isinstance(gan, GAN):
        raise ArgumentError(f"expected a tinygan.GAN, got {type(gan).__name__}.")
    generators = {"training": gan.rng, "sampling": gan.sample_rng}
    for name, network in (("generator", gan.generator), ("discriminator", gan.discriminator)):
        generators |= {f"{name}.{key}": rng for key, rng in network.rngs()}
    return generators


def _owners(gan: GAN) -> dict[str, Any]:
    """Everything that holds arrays, by the name it has in a checkpoint."""
    if not isinstance(gan, GAN):
        raise ArgumentError(f"expected a tinygan.GAN, got {type(gan).__name__}.")
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
