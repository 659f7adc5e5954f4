"""Image data: real digits if they can be had, digits drawn by our own code if not.

From a name or a path to batches that a network takes:

    data = load("auto")                               # MNIST, or the embedded digits
    print(data.description)                           # which of them, and from where
    for rows in batches(len(data), 128, seed=0):      # endless, shuffled anew every epoch
        real = data.batch(rows)                       # (128, 28, 28, 1) float32 in [-1, 1]

In memory images are bytes, (N, H, W, C) uint8; floats exist only of the batch at hand.
"""

from .dataset import ImageData, batches, epoch_order, steps_per_epoch
from .digits import Factors, digits, draw, random_factors
from .idx import read_idx
from .mnist import load

__all__ = [
    "Factors",
    "ImageData",
    "batches",
    "digits",
    "draw",
    "epoch_order",
    "load",
    "random_factors",
    "read_idx",
    "steps_per_epoch",
]
