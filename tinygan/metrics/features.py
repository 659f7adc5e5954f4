"""What samples are compared by: pixels, fixed random convolutions, a classifier of digits, or a function of your own.

An extractor is called with images (N, H, W, C) in [−1, 1] and returns features (N, F). Its ``name`` is part of every
score: scores by other features do not compare. A network from elsewhere is such a function too. Published Fréchet and
kernel distances are by an Inception network with the weights of 2015, which the package torch-fidelity has for PyTorch:

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])

    def inception_2015(images):
        levels = ((images + 1.0) * 127.5).round().astype("uint8")          # as it was trained: 0 to 255
        x = torch.from_numpy(levels).permute(0, 3, 1, 2)                   # channels first; it resizes by itself
        return network(x.expand(-1, 3, -1, -1).contiguous())[0].numpy()    # (N, 2048), from the layer before the last
    judge = metrics.Judge(data, features=inception_2015)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, positive_int, seed
from ..layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, LeakyReLU
from ..layers.starting import Rng, as_generator
from ..network import Sequential
from .classes import softmax

Features = Callable[[np.ndarray], np.ndarray]
PIECE = 500  # images that a network looks at together
DIGITS = Path(__file__).with_name("digits.safetensors")


def pixels(images: np.ndarray) -> np.ndarray:
    """The pixels themselves, (N, H·W·C): what differs by a shift differs wholly."""
    return np.reshape(images, (len(images), -1))


class RandomConvolutions:
    """Three convolutions with random weights that never change, for images of any size and content.

    Of each channel after each of them, the mean and the deviation over the places: 2 · (32 + 64 + 128) features, of
    texture at three sizes; where things are in the image is forgotten. Random filters tell images apart well enough to
    rank generators (they respond to edges and frequencies: Saxe et al., 2011), but a number of theirs means nothing by
    itself.

    Parameters
    ----------
    channels : of the images.
    rng : the seed of the weights, which is part of the name. A judge keeps to one.
    """

    CHANNELS = (32, 64, 128)

    def __init__(self, channels: int, *, rng: int = 0) -> None:
        rng, channels = seed(rng, "RandomConvolutions"), positive_int(channels, "RandomConvolutions: channels")
        draw, (a, b, c) = np.random.default_rng([rng, 0x7179]), self.CHANNELS
        self.name = f"random convolutions {rng}, {channels} channel{'s' if channels > 1 else ''}"
        sizes = ((channels, a, 5), (a, b, 5), (b, c, 3))
        self.blocks = [Sequential(Conv2D(i, o, k, stride=2, rng=draw), LeakyReLU(0.2)) for i, o, k in sizes]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        found = []
        for i in range(0, len(images), PIECE):
            x, parts = np.asarray(images[i : i + PIECE], dtype=np.float32), []
            for block in self.blocks:
                x = block(x)
                parts += [x.mean(axis=(1, 2)), x.std(axis=(1, 2))]
            found.append(np.concatenate(parts, axis=1))
        return np.concatenate(found)


class Digits:
    """A classifier of digits, trained on MNIST with tinygan's own layers and part of the package.

    ``name`` says which, ``accuracy`` what part of MNIST's test digits it names rightly. Calling it gives the 128
    features below its last layer. It looks at grey images of 28x28.
    """

    def __init__(self, network: Sequential, name: str, accuracy: float) -> None:
        self.network, self.name, self.accuracy = network, name, accuracy

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.look(images)[1]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(N, 10): how likely each digit is, to the classifier."""
        return softmax(self.look(images)[0])

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, 10) and features (N, 128)."""
        if np.shape(images)[1:] != (28, 28, 1):
            raise ShapeError(
                f"{self.name}: expected images (N, 28, 28, 1), got {np.shape(images)}; RandomConvolutions (--judge "
                "random) looks at any."
            )
        *hidden, head = self.network.layers
        features = []
        for i in range(0, len(images), PIECE):
            x = np.asarray(images[i : i + PIECE], dtype=np.float32)
            for layer in hidden:
                x = layer(x)
            features.append(x)
        seen = np.concatenate(features)
        return head(seen), seen


def digit_network(rng: Rng = None) -> Sequential:
    """Images (N, 28, 28, 1) -> logits (N, 10), the layers of :class:`Digits`."""
    rng = as_generator(rng)
    return Sequential(
        *(Conv2D(1, 16, 5, stride=2, bias=False, rng=rng), BatchNorm(16), LeakyReLU()),  # (N, 14, 14, 16)
        *(Conv2D(16, 32, 5, stride=2, bias=False, rng=rng), BatchNorm(32), LeakyReLU(), Flatten()),  # (N, 7·7·32)
        *(Dense(7 * 7 * 32, 128, bias=False, rng=rng), BatchNorm(128), LeakyReLU(), Dropout(0.3, rng=rng)),
        Dense(128, 10, rng=rng),
    )


@cache
def digits() -> Digits:
    """The classifier that comes with tinygan. Raises CheckpointError if its file is damaged."""
    from ..checkpoints import read

    arrays, record = read(DIGITS)
    network = digit_network(0)
    network.load_state_arrays({name: a.astype(np.float32) for name, a in arrays.items()}, source=str(DIGITS))
    return Digits(network, record["name"], record["accuracy"])


def named(features: Features) -> str:
    """The name of an extractor: its own, or that of a function."""
    for maker, call in ((digits, "digits()"), (RandomConvolutions, "RandomConvolutions(channels)")):
        if features is maker:
            raise ArgumentError(f"features: expected what metrics.{call} gives, got the function itself; call it.")
    name = getattr(features, "name", None) or getattr(features, "__qualname__", None)
    if not callable(features) or not isinstance(name, str):
        raise ArgumentError(
            "features must be a function of images (N, H, W, C) that returns (N, F), with a name to say which: "
            f"got {features!r:.200}."
        )
    return name


def extracted(features: Features, images: np.ndarray) -> np.ndarray:
    """(N, F); ShapeError if the function gives something else."""
    found: Any = np.asarray(features(images))
    if found.ndim != 2 or len(found) != len(images):
        raise ShapeError(f"features {named(features)}: expected (N, F) for {len(images)} images, got {found.shape}.")
    return found
