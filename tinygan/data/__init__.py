"""Image data: real digits if they can be had, digits drawn by our own code if not, and people's own images.

From a name or a path to batches that a network takes:

    data = load("auto")                               # MNIST, or the embedded digits
    print(data.description)                           # which of them, and from where
    for rows in batches(len(data), 128, seed=0):      # endless, shuffled anew every epoch
        real = data.batch(rows)                       # (128, 28, 28, 1) float32 in [-1, 1]

The same takes a folder of pictures, or a file of NumPy's:

    data = load("~/photos/cats", size=64, mirror=True)

Images are bytes, (N, H, W, C) uint8, in memory or mapped from a file, and where a GPU trains and they fit there, in its
memory (:class:`OnDevice`); floats exist only of the batch at hand. The book, ``backends`` and the console
of ``parallel`` are imported here.
"""

from .arrays import read_arrays
from .dataset import ImageData, batches, epoch_order, steps_per_epoch
from .digits import Factors, digits, draw, random_factors
from .folder import load_folder
from .idx import read_idx
from .loading import load
from .on_device import OnDevice
from .pictures import Form, refit
from .shapes import shapes
from .stacked import Stacked

__all__ = [
    "Factors",
    "Form",
    "ImageData",
    "OnDevice",
    "Stacked",
    "batches",
    "digits",
    "draw",
    "epoch_order",
    "load",
    "load_folder",
    "random_factors",
    "read_arrays",
    "read_idx",
    "refit",
    "shapes",
    "steps_per_epoch",
]
