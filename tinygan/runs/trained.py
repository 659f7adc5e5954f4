"""The networks of a run, made again from its checkpoint: to be used, not to be trained further.

    from tinygan.runs import load_trained

    run = load_trained("runs/dcgan")
    images = run.generator(run.noise(16))       # (16, 28, 28, 1)
    images = run.sample(16, labels=7)           # of one class, if the run knows classes

A checkpoint holds each layer of both networks as the text that ``repr`` gives of it, such as ``Dense(100, 256)``, and
its arrays. The text is read as the name of a layer and plain values: no code from a file is ever run, nothing is
imported because a file names it, and no layer is made larger than its arrays. Classes of yours are named in the call:

    run = load_trained("runs/mine", classes=[Residual, Scale])
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import augment, checkpoints, layers, models
from ..errors import ArgumentError, CheckpointError, positive_int
from ..layers import Layer
from ..layers.starting import as_generator, flag
from ..layers.stored import name_of, require_same, require_sound
from ..models.blocks import Branches
from ..models.conditional import asked, classes_of, generate, number_of, shares_of
from ..network import Sequential
from ..ops import as_array
from .record import BEST, CHECKPOINT, NETWORKS, read_checkpoint

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


@dataclass(frozen=True, eq=False)
class Trained:
    """What :func:`load_trained` finds in a run.

    Attributes
    ----------
    generator : z (N, noise_dim) -> images (N, H, W, C); with averaged weights if the run kept an average.
    discriminator : images (N, H, W, C) -> logits (N, 1).
    noise_dim : length of z, which was drawn from normal(0, 1).
    image_shape : (H, W, C).
    low, high : the values of black and white in the images of both.
    step : how many steps the run had taken.
    settings : what the run recorded besides, such as command-line flags.
    data : what the images that it learned from are called.
    shares : how often each class comes, (classes,), of networks that know one, else None.
    classes : the names of these classes, where they have some.
    """

    generator: Sequential
    discriminator: Sequential
    noise_dim: int
    image_shape: tuple[int, int, int]
    low: float
    high: float
    step: int
    settings: dict[str, Any]
    data: str = ""
    shares: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def noise(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw z (n, noise_dim)."""
        n, rng = positive_int(n, "noise: n", least=0, most=2**30 // self.noise_dim), as_generator(seed)
        return rng.standard_normal((n, self.noise_dim), dtype=self.generator.theta.dtype)

    def sample(
        self, n: int | None = None, *, labels: Any = None, z: np.ndarray | None = None, seed: int = 0
    ) -> np.ndarray:
        """Make n images (n, H, W, C), of ``z`` or of the noise of ``seed``; ``labels`` as in
        :meth:`tinygan.models.ConditionalGAN.sample`, of a run that knows classes."""
        if z is None:
            z = self.noise(positive_int(number_of(labels) if n is None else n, "sample: n"), seed=seed)
        self.generator.check_input(z := as_array(z))
        if n is not None and positive_int(n, "sample: n") != len(z):
            raise ArgumentError(f"sample: n = {n}, but z has {len(z)} rows; give one of the two.")
        if self.shares is not None:
            return generate(self.generator, z, asked(labels, len(z), self.shares, "sample"))
        if labels is not None:
            raise ArgumentError("sample: this run knows no classes; leave labels out, or train with --conditional.")
        return generate(self.generator, z, None)


def load_trained(
    folder: str | Path, *, best: bool = False, classes: Iterable[type[Layer]] | Mapping[str, type[Layer]] = ()
) -> Trained:
    """Read the checkpoint in the folder of a run, and build its networks, on the CPU.

    Parameters
    ----------
    best : take G's weights not from the checkpoint, but those that a judge found best on the way, best.safetensors.
    classes : layers and blocks of yours that the networks are made of: ``[Residual]``, or ``{"Residual": Renamed}``.
        Each is called as its ``repr`` says, with plain values; if it has none of its own, with its public attributes by
        name; and a block with its layers first, as :class:`tinygan.Sequential` is.

    Raises
    ------
    CheckpointError
        There is no checkpoint, or no best weights; it cannot be read, is damaged or not finite, the networks do not
        make images, or a layer is neither one of tinygan's nor of ``classes``.
    ArgumentError
        ``classes`` holds something else than classes of layers.
    """
    path = checkpoints.as_path(folder, "load_trained: folder") / CHECKPOINT
    kinds = {**KINDS, **BESIDES, **_by_name(classes)}
    if not checkpoints.exists(path):
        raise CheckpointError(f"{path}: there is no checkpoint; give the folder of a run, such as runs/mnist_mlp_gan.")
    arrays, about = read_checkpoint(path)
    require_sound({key: array for key, array in arrays.items() if key not in ("losses", "scores")}, str(path))
    networks, identity = _grouped(arrays), about["identity"]
    try:
        for key in NETWORKS:
            identity[key]  # a KeyError says which is missing
        checkpoints.require_record(identity, NETWORKS, "The record")
        G = _network("generator", identity, networks["average" if "average" in networks else "generator"], kinds)
        D = _network("discriminator", identity, networks["discriminator"], kinds)
        noise_dim, (low, high) = identity["noise_dim"], map(float, identity["range"])
        image_shape = _output_shape(G, (noise_dim,))
        if len(image_shape) != 3 or _output_shape(D, image_shape) != (1,) or G.theta.dtype != D.theta.dtype:
            raise CheckpointError("G does not make images that D gives one logit")
        shares = _shares(G, D, identity.get("shares"))
    except KeyError as error:
        raise CheckpointError(f"{path}: the networks cannot be built, there is no {error} in the record.") from error
    except Exception as error:  # such as a ShapeError; classes of yours may raise what they like
        raise CheckpointError(f"{path}: the networks cannot be built. {error!s:.400}") from error
    if flag(best, "load_trained: best"):
        weights = path.with_name(BEST)
        if not checkpoints.exists(weights):
            raise CheckpointError(f"{weights}: there are no best weights; the run was not judged, or not yet.")
        best_arrays, record = checkpoints.read(weights)
        if record.get("kind") != "network":
            raise CheckpointError(f"{weights}: holds no network.")
        G.load_state_arrays(best_arrays, source=str(weights))
    name, names = _of_data(identity, shares)
    return Trained(G, D, noise_dim, image_shape, low, high, about["step"], about["settings"], name, shares, names)


def _shares(G: Sequential, D: Sequential, recorded: Any) -> np.ndarray | None:
    """How often each class comes, of networks that know one; CheckpointError if they are of different numbers."""
    told = classes_of(G), classes_of(D)
    if not any(told):
        return None
    if told[0] != told[1] or len(told[0]) != 1:
        raise CheckpointError(f"G knows of {sorted(told[0])} classes and D of {sorted(told[1])}")
    [classes] = told[0]
    return shares_of(recorded, classes, "the record")


def _of_data(identity: Mapping[str, Any], shares: np.ndarray | None) -> tuple[str, tuple[str, ...]]:
    """What the data is called, and the names of the classes if there is one for each."""
    data = identity.get("data")
    about = data if isinstance(data, Mapping) else {}
    names = about.get("classes")
    fits = isinstance(names, list) and shares is not None and len(names) == len(shares)
    return str(about.get("name", "")), tuple(map(str, names or ())) if fits else ()


def _by_name(classes: Iterable[type[Layer]] | Mapping[str, type[Layer]]) -> dict[str, type[Layer]]:
    try:
        named = dict(classes) if isinstance(classes, Mapping) else {name_of(kind): kind for kind in classes}
        if all(isinstance(name, str) and issubclass(kind, Layer) for name, kind in named.items()):
            return named
    except (AttributeError, TypeError):
        pass
    raise ArgumentError(
        f"load_trained: classes must be those of layers, [Residual] or {{'Residual': Residual}}, got {classes!r}."
    )


def _grouped(arrays: Mapping[str, np.ndarray]) -> defaultdict[str, dict[str, np.ndarray]]:
    """{"generator.0.W": ...} as {"generator": {"0.W": ...}}."""
    groups: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, array in arrays.items():
        first, _, rest = key.partition(".")
        groups[first][rest] = array
    return groups


def _network(
    player: str, identity: Mapping[str, Any], arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type[Layer]]
) -> Sequential:
    texts, of_layers = identity[player], _grouped(arrays)
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
        of_layers = _grouped(arrays)
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


def _output_shape(network: Sequential, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that samples of ``shape`` leave with, if they stay within bounds on their way."""
    total = 0
    for layer in network.layers:
        inside = layer.layers if isinstance(layer, Branches) else [layer] if isinstance(layer, Sequential) else []
        for part in inside:
            _output_shape(part, shape)  # which refuses what is too large
        shape = layer.output_shape(shape)
        total += prod(shape)
        if prod(shape) > MAX_NUMBERS or total > MAX_IN_ALL:
            most = f"{MAX_NUMBERS:,} numbers of a sample, or with those before it more than {MAX_IN_ALL:,}"
            raise CheckpointError(f"{layer.name} makes more than {most}.")
    return shape
