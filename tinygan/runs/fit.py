"""Whether a GAN, its data and the settings of a run fit each other: found out before anything is written."""

from __future__ import annotations

import numpy as np

from ..data import ImageData, steps_per_epoch
from ..errors import ArgumentError, ShapeError, positive_int
from ..gan import GAN, last_layer
from ..layers import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from ..layers.base import Layer, show_shape
from ..ops import ops_of, to_backend
from ..parallel import Group

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
    """Refuse images with values that G's last layer cannot give: they would tell it from the data for good."""
    layer = last_layer(gan.generator)
    least, most = next((reach for kind, reach in REACH.items() if isinstance(layer, kind)), (-np.inf, np.inf))
    if isinstance(layer, ELU):
        least = -layer.alpha
    elif isinstance(layer, LeakyReLU) and layer.slope == 0.0:
        least = 0.0
    if low < least or high > most:
        mend = f"low={least:g}" if most == np.inf else f"low={least:g}, high={most:g}"
        raise ArgumentError(
            f"train: the images go from low={low:g} (black) to high={high:g} (white), but G ends in {layer!r}, which "
            f"gives values from {least:g} to {most:g}. Pass {mend}, or end G in another layer: Tanh for -1 to 1, "
            "Sigmoid for 0 to 1."
        )


def try_out(gan: GAN, data: ImageData, n: int, low: float, high: float) -> None:
    """Let copies of both networks refuse n samples, if too few for BatchNorm, say, before any file is written."""
    G, D = gan.generator.copy(), gan.discriminator.copy()
    z = gan.noise(n, rng=np.random.default_rng(0))
    real = data.batch(np.arange(n), low=low, high=high, dtype=D.theta.dtype)
    with np.errstate(all="ignore"):
        G.forward(z)
        D.forward(to_backend(real, ops_of(D.theta)))
