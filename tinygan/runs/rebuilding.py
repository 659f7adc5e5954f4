"""Networks made again from what a checkpoint says of them: the text of each layer, and its arrays.

A layer is the text that its ``repr`` gives, such as ``Dense(100, 256)``. The text is read as the name of a layer and
plain values: no code from a file is ever run, nothing is imported because a file names it, and no layer is made larger
than its arrays.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import augment, layers, models
from ..errors import CheckpointError
from ..layers import Layer
from ..layers.stored import require_same
from ..models.blocks import Branches
from ..network import Sequential

KINDS = {name: getattr(layers, name) for name in layers.__all__ if name not in ("Layer", "set_labels")}
BESIDES = {
    kind.__name__: kind
    for kind in (Sequential, models.Residual, models.Add, models.Concat, augment.Shift, augment.Cutout, augment.Colour)
}
#: Of which no array says how large they are; what they make of a sample is bounded all the same
FREE = {layers.Reshape, layers.Pack, layers.ConcatLabels, layers.MaxPool2D, layers.AvgPool2D, layers.Upsample}
FREE |= {layers.PixelShuffle}
MAX_NUMBERS = 1 << 24  #: in what a layer makes of one sample; a bound on what a foreign file can ask for
MAX_OPTION = 64  #: the largest stride and padding, for the same reason
MAX_IN_ALL = 16 * MAX_NUMBERS  #: in what all layers make of one sample together
MAX_TEXT = 200  #: letters that describe a layer
MAX_LAYERS = 10_000  #: of a network, those in blocks included
MAX_NESTED = 8  #: blocks within each other


def grouped(arrays: Mapping[str, np.ndarray]) -> defaultdict[str, dict[str, np.ndarray]]:
    """{"generator.0.W": ...} as {"generator": {"0.W": ...}}."""
    groups: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, array in arrays.items():
        first, _, rest = key.partition(".")
        groups[first][rest] = array
    return groups


def network_of(
    player: str, identity: Mapping[str, Any], arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type[Layer]]
) -> Sequential:
    """The network of a player, "generator" or "discriminator", that a run's identity describes, with these arrays.

    Raises
    ------
    CheckpointError
        A layer is neither one of ``kinds`` nor of a size that its arrays have; or there are too many.
    """
    texts, of_layers = identity[player], grouped(arrays)
    if (n := sum(str(text).count("(") for text in texts)) > MAX_LAYERS:
        raise CheckpointError(f"The {player} has about {n:,} layers, more than the {MAX_LAYERS:,} that are built.")
    layers = [_layer(f"layer {i} {text!s:.80}", text, of_layers[str(i)], kinds) for i, text in enumerate(texts)]
    text = identity.get(f"{player}_class", "Sequential()")
    kind, _, options = _read(f"the {player}, {text!s:.80},", _parsed(text), kinds)
    network: Any = _made(f"the {player}", kind, layers, options, arrays)
    network.load_state_arrays(dict(arrays), source=f"the {player}")
    return network


def _layer(name: str, text: str, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type[Layer]] = KINDS) -> Layer:
    """The layer that ``text`` describes, with the weights in ``arrays``."""
    return _built(name, _parsed(text), arrays, kinds, 0)


def _parsed(text: Any) -> Any:
    """The expression that ``text`` is, or None."""
    if not isinstance(text, str) or len(text) > MAX_TEXT * max(1, text.count("(")):
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _read(name: str, call: Any, kinds: Mapping[str, type[Layer]]) -> tuple[Any, list[Any], dict[Any, Any]]:
    """The class that is called, its arguments, of which layers are calls still, and its options."""
    try:
        args = [arg if isinstance(arg, ast.Call) else ast.literal_eval(arg) for arg in call.args]
        return kinds[call.func.id], args, {node.arg: ast.literal_eval(node.value) for node in call.keywords}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            f"{name} is none of tinygan's layers. If it is yours, give its class: load_trained(..., classes=[...])."
        ) from error


def _built(
    name: str, call: Any, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type[Layer]], nested: int
) -> Layer:
    kind, args, options = _read(name, call, kinds)
    if nested > MAX_NESTED:
        raise CheckpointError(f"{name} has more than {MAX_NESTED} blocks within each other.")
    if issubclass(kind, Sequential):
        of_layers = grouped(arrays)
        calls = [arg for arg in args if isinstance(arg, ast.Call)]
        inside = [_built(f"{name}: {i}", arg, of_layers[str(i)], kinds, nested + 1) for i, arg in enumerate(calls)]
        return _made(name, kind, inside, options, arrays)
    if kind is layers.SpectralNorm and len(args) == 1 and isinstance(args[0], ast.Call):
        rest = {key: array for key, array in arrays.items() if key != "u"}
        wrapped: Any = _built(name, args[0], rest, kinds, nested + 1)
        return _with_these(name, layers.SpectralNorm(wrapped), arrays)
    if any(isinstance(arg, ast.Call) for arg in args):
        raise CheckpointError(f"{name} is none of tinygan's layers.")
    if kind not in KINDS.values():
        return _with_these(name, _made(name, kind, args, options, arrays), arrays)
    # Before any memory is taken for it
    sizes = [1, *(a.size for a in arrays.values())]
    if kind not in FREE and max(_whole_numbers(args), default=0) > max(sizes):
        raise CheckpointError(f"{name} is larger than its arrays.")
    if max(_whole_numbers(options), default=0) > MAX_OPTION:
        raise CheckpointError(f"{name} has an option above {MAX_OPTION}.")
    if arrays:
        options["dtype"] = next(iter(arrays.values())).dtype
    if "W" in arrays:
        options["init"] = lambda shape, **_: next((a for a in arrays.values() if a.shape == shape), arrays["W"])
    return _with_these(name, kind(*args, **options), arrays)


def _made(
    name: str, kind: type[Layer], args: Sequence[Any], options: dict[Any, Any], arrays: Mapping[str, np.ndarray]
) -> Layer:
    """A layer of a class of yours, or a block, whose parameters have the dtype of these arrays."""
    if (n := prod(max(1, value) for value in _whole_numbers([*args, options]))) > MAX_NUMBERS:
        raise CheckpointError(f"{name} has sizes that multiply to {n:.1e}, more than {MAX_NUMBERS:,}.")
    try:
        layer = kind(*args, **options)
        own = {**layer.params, **layer.buffers}
        if all(own[key].dtype == arrays[key].dtype for key in own.keys() & arrays.keys()):
            return layer
        wanted = next((arrays[key].dtype for key in own if key in arrays and arrays[key].dtype.kind == "f"), None)
        same = wanted is None or all(array.dtype == wanted for array in own.values() if array.dtype.kind == "f")
        return layer if same else layer.astype(wanted)
    except Exception as error:  # a class of yours may raise what it likes
        raise CheckpointError(
            f"{name} could not be made ({error!s:.200}). A repr that shows how a layer is made also makes it again."
        ) from error


def _with_these(name: str, layer: Layer, arrays: Mapping[str, np.ndarray]) -> Layer:
    require_same({**layer.params, **layer.buffers}, arrays, name)
    return layer


def _whole_numbers(value: Any) -> list[int]:
    """The whole numbers in a plain value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for entry in value for number in _whole_numbers(entry)]
    return [value] if isinstance(value, int) else []


def output_shape(network: Sequential, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that samples of ``shape`` leave with, if they stay within bounds on their way."""
    total = 0
    for layer in network.layers:
        inside = layer.layers if isinstance(layer, Branches) else [layer] if isinstance(layer, Sequential) else []
        for part in inside:
            output_shape(part, shape)  # which refuses what is too large
        shape = layer.output_shape(shape)
        total += prod(shape)
        if prod(shape) > MAX_NUMBERS or total > MAX_IN_ALL:
            most = f"{MAX_NUMBERS:,} numbers of a sample, or with those before it more than {MAX_IN_ALL:,}"
            raise CheckpointError(f"{layer.name} makes more than {most}.")
    return shape
