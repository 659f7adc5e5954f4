"""The networks of a run, made again from its checkpoint: to be used, not to be trained further.

    from tinygan.runs import load_trained

    run = load_trained("runs/dcgan")
    images = run.generator(run.noise(16))       # (16, 28, 28, 1)
    images = run.sample(16, labels=7)           # of one class, if the run knows classes

A checkpoint holds each layer of both networks as text, and its arrays; :mod:`tinygan.runs.rebuilding` makes the layer
again, and runs no code from a file. Classes of yours are named in the call:

    run = load_trained("runs/mine", classes=[Residual, Scale])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints
from ..errors import ArgumentError, CheckpointError, positive_int
from ..layers import Layer
from ..layers.starting import as_generator, flag
from ..layers.stored import OF_YOURS, require_sound
from ..models.conditional import asked, classes_of, generate, number_of, shares_of
from ..network import Sequential
from ..ops import as_array
from .rebuilding import BESIDES, KINDS, grouped, network_of, output_shape
from .record import BEST, CHECKPOINT, NETWORKS, read_checkpoint


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
    own = _by_name(classes)  # before anything is read
    if not checkpoints.exists(path):
        raise CheckpointError(f"{path}: there is no checkpoint; give the folder of a run, such as runs/mnist_mlp_gan.")
    arrays, about = read_checkpoint(path)
    require_sound({key: array for key, array in arrays.items() if key not in ("losses", "scores")}, str(path))
    networks, identity = grouped(arrays), about["identity"]
    kinds = {**KINDS, **BESIDES, **_as_recorded(own, str(identity))}
    try:
        for key in NETWORKS:
            identity[key]  # a KeyError says which is missing
        checkpoints.require_record(identity, NETWORKS, "The record")
        G = network_of("generator", identity, networks["average" if "average" in networks else "generator"], kinds)
        D = network_of("discriminator", identity, networks["discriminator"], kinds)
        noise_dim, (low, high) = identity["noise_dim"], map(float, identity["range"])
        image_shape = output_shape(G, (noise_dim,))
        if len(image_shape) != 3 or output_shape(D, image_shape) != (1,) or G.theta.dtype != D.theta.dtype:
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


def _as_recorded(own: Mapping[str, type[Layer]], record: str) -> dict[str, type[Layer]]:
    """Classes of yours under the names that the record has for them: another one where a layer of ours is called so,
    but not in older checkpoints where a block of ours is."""
    renamed = {name: f"{name}{OF_YOURS}" for name in own}
    return {renamed[name] if renamed[name] in record or name in KINDS else name: kind for name, kind in own.items()}


def _by_name(classes: Iterable[type[Layer]] | Mapping[str, type[Layer]]) -> dict[str, type[Layer]]:
    try:
        named = dict(classes) if isinstance(classes, Mapping) else {kind.__name__: kind for kind in classes}
        if all(isinstance(name, str) and issubclass(kind, Layer) for name, kind in named.items()):
            return named
    except (AttributeError, TypeError):
        pass
    raise ArgumentError(
        f"load_trained: classes must be those of layers, [Residual] or {{'Residual': Residual}}, got {classes!r}."
    )
