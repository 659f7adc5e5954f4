"""Image data: real digits if they can be had, digits drawn by our own code if not.

    data = load("auto")                               # MNIST, or the embedded digits
    print(data.description)                           # which of them, and from where
    for rows in batches(len(data), 128, seed=0):      # endless, shuffled anew every epoch
        real = data.batch(rows)                       # (128, 28, 28, 1) float32 in [-1, 1]
"""

from .dataset import ImageData, batches, epoch_order, steps_per_epoch
from .digits import digits
from .idx import read_idx
from .mnist import load

__all__ = ["ImageData", "batches", "digits", "epoch_order", "load", "read_idx", "steps_per_epoch"]
