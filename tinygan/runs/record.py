"""What the record in a run's checkpoint may say: whatever a file decides comes through these rules first."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints
from ..checkpoints import Rule
from ..errors import CheckpointError
from ..layers.stored import MAX_STEPS

CHECKPOINT = "checkpoint.safetensors"  #: the name of a run's checkpoint in its folder
BEST = "best.safetensors"  #: of the weights that a judge found best

#: Where in its memory a generator reads next: MT19937 in 624 words, Philox in 4. NumPy does not look whether it does.
LAST = {"pos": 624, "buffer_pos": 4}


def _whole(least: int, most: int = 2**63 - 1) -> Rule:
    return f"a whole number from {least} to {most}", lambda x: type(x) is int and least <= x <= most


def _of_kind(words: str, kind: type) -> Rule:
    return words, lambda x: isinstance(x, kind)


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(x) in (int, float) for x in value)
    return numbers and all(map(isfinite, value)) and value[0] < value[1]


def _are_states(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(state, dict) and _is_state(state) for state in value.values())


def _is_state(value: Any, key: str = "") -> bool:
    """Whether a value is text, a whole number that a generator can hold, or lists and dicts of these.

    Two are refused that would be drawn from: PCG64 with an even increment, and MT19937 with nothing but zeros.
    """
    if isinstance(value, dict):
        return all(_is_state(entry, key) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(_is_state, value)) and (len(value) < LAST["pos"] or any(value))
    if key == "inc" and isinstance(value, int) and value % 2 == 0:
        return False
    return isinstance(value, str) or (type(value) is int and 0 <= value <= LAST.get(key, 2**128 - 1))


#: What the next step of a GAN depends on besides arrays (:mod:`tinygan.runs.state`).
STATE: dict[str, Rule] = {
    "step": _whole(0, MAX_STEPS),
    "average_t": _whole(0, MAX_STEPS),
    "rngs": ("the states of random generators", _are_states),
}

#: A training run, whoever reads it. What is in its identity is compared on resuming, and not used.
RUN: dict[str, Rule] = {
    "step": STATE["step"],
    "identity": _of_kind("a dictionary", dict),
    "settings": _of_kind("a dictionary", dict),
    **STATE,
}

#: What networks are built from.
NETWORKS: dict[str, Rule] = {
    "generator": _of_kind("a list", list),
    "discriminator": _of_kind("a list", list),
    "noise_dim": _whole(1, 1 << 24),
    "range": ("two numbers, the lower first", _is_range),
}


def read_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, metadata) of a run's checkpoint; CheckpointError if it is not there, cannot be read, is damaged,
    or is no run's."""
    path = checkpoints.as_path(path, "read_checkpoint: path")
    if not checkpoints.exists(path):
        raise CheckpointError(f"{path}: there is no checkpoint to go on from. Start without --resume (resume=False).")
    arrays, about = checkpoints.read(path)
    if about.get("kind") != "run":
        kind = about.get("kind") or "record of another kind"
        raise CheckpointError(f"{path}: holds a {kind!s:.40}, not a training run.")
    checkpoints.require_record(about, RUN, f"{path}: the record of the run")
    losses = arrays.get("losses")
    if losses is None or losses.ndim != 2 or len(losses) != about["step"]:
        raise CheckpointError(f"{path}: does not hold the losses of its {about['step']:,} steps.")
    if losses.size and np.isnan(losses).all():
        raise CheckpointError(f"{path}: is damaged, all its losses are NaN. Use a copy.")
    return arrays, about


def step_of(checkpoint: Path) -> str:
    """How many steps a run has taken, in words."""
    try:
        return f"{read_checkpoint(checkpoint)[1]['step']:,}"
    except CheckpointError:
        return "an unknown number of"
