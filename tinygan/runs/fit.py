"""Whether a GAN, its data and the settings of a run fit each other: found out before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ..data import ImageData, steps_per_epoch
from ..errors import ArgumentError, ShapeError, positive_int
from ..gan import GAN
from ..layers import ELU, Flatten, LeakyReLU, ReLU, Reshape, Sigmoid, SiLU, Softplus, Tanh, set_labels
from ..layers.base import Layer, show_shape
from ..models import ConditionalGAN
from ..network import Sequential
from ..ops import ops_of, to_backend, to_numpy
from ..parallel import Group
from .feeding import labels_for

FAR = 1e4  #: stands for infinity where layers are tried

#: The values that a last layer can give.
REACH: dict[type[Layer], tuple[float, float]] = {
    Sigmoid: (0, 1),
    Tanh: (-1, 1),
    ReLU: (0, np.inf),
    Softplus: (0, np.inf),
    SiLU: (-0.2785, np.inf),
}


def last_step(gan: GAN, data: ImageData, batch_size: int, epochs: int | None, steps: int | None) -> int:
    """The number of the step that a run ends with; refuse data that cannot be trained on."""
    if (steps is None) == (epochs is None):
        raise ArgumentError(f"train: give either steps or epochs, got steps={steps!r} and epochs={epochs!r}.")
    if data.image_shape != gan.sample_shape:
        raise ShapeError(
            f"train: the images of {data.name} are {show_shape(data.image_shape)}, but G makes "
            f"{show_shape(gan.sample_shape)}. Build the networks for image_shape={data.image_shape}."
        )
    per_epoch = steps_per_epoch(len(data), batch_size * gan.d_steps)
    return positive_int(epochs, "train: epochs") * per_epoch if steps is None else positive_int(steps, "train: steps")


def require_an_image_each(group: Group, batch_size: int) -> None:
    """Refuse a batch of fewer images than there are processes to share it."""
    if batch_size < group.size:
        raise ArgumentError(
            f"train: a batch of {batch_size} is too small for {group.size} processes, each of which needs an image of "
            "it. Use a larger batch (--batch-size, batch_size=) or fewer processes (mpiexec -n)."
        )


def require_reach(gan: GAN, low: float, high: float) -> None:
    """Refuse images with values that G's last layers cannot give: they would tell it from the data for good."""
    last, least, most = _reach(gan)
    if low < least or high > most:
        mend = ", ".join(f"{name}={end:g}" for name, end in (("low", least), ("high", most)) if abs(end) < np.inf)
        shown = " and ".join(repr(layer) for layer in last if not isinstance(layer, Flatten | Reshape))
        raise ArgumentError(
            f"train: the images go from low={low:g} (black) to high={high:g} (white), but G ends in {shown}, which "
            f"gives values from {least:g} to {most:g}. Pass {mend}, or end G in another layer: Tanh for -1 to 1, "
            "Sigmoid for 0 to 1."
        )


def _reach(gan: GAN) -> tuple[list[Layer], float, float]:
    """G's last layers, from the one on that bounds what it gives, and the least and the most that they give.

    What those after it make of its values is found by trying, since they may be of somebody's own. None of them learns:
    one that does can give anything, and so can a block of somebody's own."""
    layers, ops = list(_layers(gan.generator)), ops_of(gan.generator.theta)
    for i, layer in reversed([*enumerate(layers)]):
        bounds = np.array(_bounds(layer), dtype=float)
        if np.isfinite(bounds).any():
            break
        if layer.size:
            return layers[i:], -np.inf, np.inf
    else:
        return layers, -np.inf, np.inf
    if rest := [layer.copy() for layer in layers[i + 1 :]]:
        shape: tuple[int, ...] = (gan.noise_dim,)
        for layer in layers[: i + 1]:
            shape = layer.output_shape(shape)
        start, stop = np.clip(bounds, -FAR, FAR).tolist()
        ramp = np.linspace(start, stop, prod(shape))
        x = np.stack([np.full_like(ramp, start), np.full_like(ramp, stop), ramp, ramp[::-1]])
        y = ops.from_host(x.reshape(-1, *shape).astype(gan.generator.theta.dtype))
        with np.errstate(all="ignore"):
            for layer in rest:
                y = layer(y)
        ends = to_numpy(y).min(), to_numpy(y).max()
        bounds = np.array([float(f"{end.round(5):.5g}") for end in ends])  # up to rounding
        bounds[np.abs(bounds) > FAR / 10] *= np.inf
    return layers[i:], float(bounds[0]), float(bounds[1])


def _layers(network: Layer) -> Iterator[Layer]:
    """The layers, also of networks inside of each other; a block of somebody's own is one layer."""
    if type(network) is Sequential:
        for layer in network.layers:
            yield from _layers(layer)
    else:
        yield network


def _bounds(layer: Layer) -> tuple[float, float]:
    if isinstance(layer, ELU):
        return -layer.alpha, np.inf
    if isinstance(layer, LeakyReLU) and layer.slope == 0.0:
        return 0.0, np.inf
    return next((reach for kind, reach in REACH.items() if isinstance(layer, kind)), (-np.inf, np.inf))


def try_out(gan: GAN, data: ImageData, n: int, low: float, high: float) -> None:
    """Let copies of both networks refuse n samples, if too few for BatchNorm, say, before any file is written."""
    G, D = gan.generator.copy(), gan.discriminator.copy()
    z = gan.noise(n, rng=np.random.default_rng(0))
    real = data.batch(np.arange(n), low=low, high=high, dtype=D.theta.dtype)
    if isinstance(gan, ConditionalGAN):
        for network in (G, D):
            set_labels(network, labels_for(gan, data)[:n])
    with np.errstate(all="ignore"):
        G.forward(z)
        D.forward(to_backend(real, ops_of(D.theta)))
