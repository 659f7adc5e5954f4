"""The networks of a run, made again from its checkpoint: to be used, not to be trained further.

    from tinygan.runs import load_trained

    run = load_trained("runs/dcgan")
    images = run.generator(run.noise(16))       # (16, 28, 28, 1)

A checkpoint holds each layer of both networks as the text that ``repr`` gives of it, such as ``Dense(100, 256)``, and
its arrays. The text is read as the name of a layer and plain values: no code from a file is ever run, and no layer is
made larger than its arrays.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints, layers
from ..errors import CheckpointError, positive_int
from ..layers import Layer
from ..network import Sequential
from .folder import CHECKPOINT, read_checkpoint

KINDS = {name: getattr(layers, name) for name in layers.__all__ if name != "Layer"}
MAX_NUMBERS = 1 << 24  #: in what a layer makes of one sample; a bound on what a foreign file can ask for
MAX_OPTION = 64  #: the largest stride and padding, for the same reason
MAX_TEXT = 200  #: letters that describe a layer


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
    """

    generator: Sequential
    discriminator: Sequential
    noise_dim: int
    image_shape: tuple[int, int, int]
    low: float
    high: float
    step: int
    settings: dict[str, Any]

    def noise(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw z (n, noise_dim)."""
        rng = np.random.default_rng(seed)
        return rng.standard_normal((n, self.noise_dim), dtype=self.generator.theta.dtype)


def load_trained(folder: str | Path) -> Trained:
    """Read the checkpoint in the folder of a run, and build its networks, on the CPU.

    Raises
    ------
    CheckpointError
        There is no checkpoint, it is damaged, the networks do not make images, or a layer is none of
        :mod:`tinygan.layers`; then build the networks as the run did, and use ``load_state_arrays``.
    """
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint; give the folder of a run, such as runs/mnist_mlp_gan.")
    arrays, about = read_checkpoint(path)
    networks, identity = _grouped(arrays), about["identity"]
    try:
        G = _network(identity["generator"], networks["average" if "average" in networks else "generator"])
        D = _network(identity["discriminator"], networks["discriminator"])
        noise_dim = positive_int(identity["noise_dim"], "noise_dim")
        low, high = (float(value) for value in identity["range"])
        image_shape = _output_shape(G, (noise_dim,))
        if len(image_shape) != 3 or _output_shape(D, image_shape) != (1,) or G.theta.dtype != D.theta.dtype:
            raise CheckpointError("G does not make images that D gives one logit")
        if not -np.inf < low < high < np.inf:
            raise CheckpointError(f"images range from {low} to {high}")
    except KeyError as error:
        raise CheckpointError(f"{path}: the networks cannot be built, there is no {error} in the record.") from error
    except (ArithmeticError, TypeError, ValueError) as error:  # such as an ArgumentError or ShapeError
        raise CheckpointError(f"{path}: the networks cannot be built. {error}") from error
    return Trained(G, D, noise_dim, image_shape, low, high, about["step"], about["settings"])


def _grouped(arrays: Mapping[str, np.ndarray]) -> defaultdict[str, dict[str, np.ndarray]]:
    """{"generator.0.W": ...} as {"generator": {"0.W": ...}}."""
    groups: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, array in arrays.items():
        first, _, rest = key.partition(".")
        groups[first][rest] = array
    return groups


def _network(texts: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Sequential:
    of_layers = _grouped(arrays)
    network = Sequential(*(_layer(f"layer {i} {text!s:.80}", text, of_layers[str(i)]) for i, text in enumerate(texts)))
    network.load_state_arrays(dict(arrays), source="the checkpoint")
    return network


def _layer(name: str, text: str, arrays: Mapping[str, np.ndarray]) -> Layer:
    """The layer that ``text`` describes, with the weights in ``arrays``."""
    if "u" in arrays and isinstance(text, str) and text.startswith("SpectralNorm("):
        rest = {key: array for key, array in arrays.items() if key != "u"}
        inside: Any = _layer(name, text.removeprefix("SpectralNorm(").removesuffix(")"), rest)
        return _with_these(name, layers.SpectralNorm(inside), arrays)
    try:
        call: Any = ast.parse(text[:MAX_TEXT], mode="eval").body
        kind, args = KINDS[call.func.id], [ast.literal_eval(node) for node in call.args]
        options = {node.arg: ast.literal_eval(node.value) for node in call.keywords}
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{name} is none of tinygan's layers.") from error
    # Before any memory is taken for it
    sizes = [1, *(a.size for a in arrays.values())]
    if kind not in (layers.Reshape, layers.Pack) and _largest(call.args) > max(sizes):
        raise CheckpointError(f"{name} is larger than its arrays.")
    if _largest(call.keywords) > MAX_OPTION:
        raise CheckpointError(f"{name} has an option above {MAX_OPTION}.")
    if arrays:
        options["dtype"] = next(iter(arrays.values())).dtype
    if "W" in arrays:
        options["init"] = lambda shape, **_: arrays["W"]
    return _with_these(name, kind(*args, **options), arrays)


def _with_these(name: str, layer: Layer, arrays: Mapping[str, np.ndarray]) -> Layer:
    checkpoints.require_same({**layer.params, **layer.buffers}, arrays, name)
    return layer


def _largest(nodes: Sequence[ast.AST]) -> int:
    """The largest whole number in a piece of text, at least 0."""
    constants = [n.value for node in nodes for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return max([0, *(value for value in constants if isinstance(value, int))])


def _output_shape(network: Sequential, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that samples of ``shape`` leave with, if they stay within bounds on their way."""
    for layer in network.layers:
        shape = layer.output_shape(shape)
        if prod(shape) > MAX_NUMBERS:
            raise CheckpointError(f"{layer.name} makes more than {MAX_NUMBERS:,} numbers of a sample.")
    return shape
