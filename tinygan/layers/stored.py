"""How a network is saved and restored, the text by which a file knows its layers again, and what the arrays of a file
must be: those of networks, and of optimisers, which are told by the same rules."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from itertools import zip_longest
from math import inf
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..checkpoints import Rule, read, require_record, write
from ..errors import CheckpointError
from ..ops import Array, get_xp, ops_of, to_numpy

UNSAID = {"name", "layers", "input_shape", "params", "grads", "buffers"}  # attributes of layers that are no settings
MAX_STEPS = 1 << 40  #: more than any run takes
OF_YOURS = "_of_yours"  # behind the name of a class of yours that is called as one of ours
TAKEN = {"Residual", "Add", "Concat", "Shift", "Cutout", "Colour"}  # layers of ours that live elsewhere
LIMITS = {"t": MAX_STEPS, "lr": 3.4e38}  #: of an optimiser's counts and rates, by their names: float32 has no more

#: What the record of a saved network may say.
RULES: dict[str, Rule] = {
    "layers": ("a list of texts", lambda x: isinstance(x, list) and all(isinstance(text, str) for text in x)),
}


def describe(part: Any, *, inside: bool = True) -> str:
    """The text by which a layer, a loss or a penalty is known again: its ``repr``; with ``inside``, also its layers.

    A class of yours that has no ``repr`` of its own is told by its name and its settings: public attributes, without
    arrays and what is shown by where it lies in memory.
    """
    kind, network = type(part), isinstance(part, Stored)
    writer = next(base for base in kind.__mro__ if "__repr__" in vars(base))
    ours, inherited = (cls.__module__.partition(".")[0] in ("tinygan", "builtins") for cls in (kind, writer))
    name = kind.__name__ if ours else name_of(kind)
    if not inherited or (ours and not network):
        text = repr(part)
        if text.startswith(f"{kind.__name__}("):
            return name + text.removeprefix(kind.__name__)
        return text if text.startswith(name) else f"{name}: {text}"
    settings = [describe(layer) for layer in part.layers] if network and inside else []
    for key, value in [] if ours else sorted(vars(part).items()):
        value = value.item() if getattr(value, "shape", None) == () else value
        name_of_function = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        text = f"{key}={name_of_function or repr(value)}"
        if not (key.startswith("_") or key in UNSAID or hasattr(value, "dtype") or " at 0x" in text):
            settings.append(text)
    return f"{name}({', '.join(settings)})"


def name_of(kind: type) -> str:
    """The name of a class of yours, which is another than that of any of tinygan's."""
    taken = {*TAKEN, *sys.modules[__package__].__all__, *(base.__name__ for base in kind.__mro__[1:])}
    return kind.__name__ + (OF_YOURS if kind.__name__ in taken else "")


def described(network: Any) -> dict[str, Any]:
    """What a record says of a network: its layers, and its class if that is one of yours."""
    kind = describe(network, inside=False)
    known = {} if kind == "Sequential()" else {"network": kind}
    return {**known, "layers": [describe(layer) for layer in network.layers]}


class Stored:
    """The half of a network that saves and restores its parameters and buffers."""

    params: dict[str, Array]
    buffers: dict[str, Array]
    layers: tuple[Any, ...]

    @property
    def never_zero(self) -> tuple[str, ...]:
        """The names of the parameters and buffers that must not be all zeros, as layers declare them."""
        return tuple(f"{i}.{key}" for i, layer in enumerate(self.layers) for key in getattr(layer, "never_zero", ()))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers as NumPy arrays: ``{"0.W": ..., "1.running_mean": ...}``."""
        return {key: to_numpy(value).copy() for key, value in {**self.params, **self.buffers}.items()}

    def load_state_arrays(self, arrays: dict[str, np.ndarray], *, source: str = "the state") -> None:
        """Copy ``arrays``, as :meth:`state_arrays` gave them, into this network; nothing changes if they do not fit.

        Raises
        ------
        CheckpointError
            A name is missing or too many, or a shape or dtype differs: ``source`` is of another architecture. Or a
            number is not finite, a running variance negative, or the vector of a SpectralNorm zero.
        """
        stored = {**self.params, **self.buffers}
        require_same(stored, arrays, source, never_zero=self.never_zero)
        for key, value in stored.items():
            value[...] = ops_of(value).from_host(arrays[key])

    def save(self, path: str | Path) -> None:
        """Write parameters and buffers to ``path``, one safetensors file, in one step: whole or not at all."""
        write(path, self.state_arrays(), {"kind": "network", **described(self)})

    def load(self, path: str | Path) -> Self:
        """Read what :meth:`save` wrote into this network, which must have the same layers; returns it.

        Raises
        ------
        CheckpointError
            The file is not there, damaged, foreign, or of another architecture.
        """
        arrays, metadata = read(path)
        if metadata.get("kind") != "network":
            raise CheckpointError(f"{path}: holds a {metadata.get('kind')!s:.40}, not a network.")
        require_record(metadata, RULES, f"{path}: the record of the network")
        then, now = ([x.get("network", "Sequential()"), *x["layers"]] for x in (metadata, described(self)))
        for i, (saved, layer) in enumerate(zip_longest(then, now), start=-1):
            if layer != saved:
                what = f"layer {i}" if i >= 0 else "the network"
                raise CheckpointError(
                    f"{path} is of another architecture: {what} is {saved!s:.200} there, but {layer!s:.200} here. "
                    "Build the same layers as then; if only a name has changed since, "
                    "network.load_state_arrays(tinygan.checkpoints.read(path)[0]) takes the arrays."
                )
        self.load_state_arrays(arrays, source=str(path))
        return self


def require_same(expected: Mapping[str, Any], arrays: Mapping[str, Any], source: str, **names: Collection[str]) -> None:
    """Raise CheckpointError, naming the first difference, unless both hold the same names, shapes and dtypes, and the
    numbers of ``arrays`` are sound (:func:`require_sound`, which gets the ``names``)."""
    if not isinstance(arrays, Mapping) or not all(isinstance(key, str) for key in arrays):
        raise CheckpointError(f"{source} must be a dict of arrays by their names, got {type(arrays).__name__}.")
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        lists = [
            f"{what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
            for what, keys in (("missing", missing), ("unexpected", extra))
            if keys
        ]
        raise CheckpointError(
            f"{source} is of another architecture ({'; '.join(lists)}). Build the same layers as then."
        )
    for key, array in expected.items():
        for what in ("shape", "dtype"):
            want, got = getattr(array, what), getattr(arrays[key], what, "none")
            if want != got:
                raise CheckpointError(
                    f"{source} is of another architecture: {key} has {what} {got} there, but {want} here. "
                    "Build the same layers as then."
                )
    require_sound(arrays, source, **names)


def require_sound(
    arrays: Mapping[str, Any], source: str, *, never_negative: Collection[str] = (), never_zero: Collection[str] = ()
) -> None:
    """Raise CheckpointError, naming the array, where a number is not finite; where one of a variance or of those named
    ``never_negative`` is below 0, or above its limit; and where all of one named ``never_zero`` are 0."""
    for key, array in arrays.items():
        wrong = "" if array.dtype.kind != "f" or get_xp(array).isfinite(array).all() else "NaN or infinity"
        if (key in never_negative or key.endswith("running_var")) and (array < 0).any():
            wrong = "a number below 0"
        if key in never_negative and (array > (most := LIMITS.get(key.rpartition(".")[2], inf))).any():
            wrong = f"a number above {most:,}"
        if key in never_zero and not array.any():
            wrong = "nothing but zeros"
        if wrong:
            raise CheckpointError(f"{source}: {key} holds {wrong}, which would spoil all that follows. Use a copy.")
