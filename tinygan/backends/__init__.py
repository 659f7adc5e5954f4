"""Where arrays live and who computes with them: the operations of :mod:`tinygan.ops`, fast.

``cpu`` is for NumPy's arrays, and takes the place of the plain operations; ``cuda`` is for CuPy's, and is loaded when a
GPU is first asked for (``loading`` says what is missing). They import the book; of the other wings nothing.
"""

from ..ops import LOADERS, get_ops, get_xp, ops_of, register, to_backend, to_numpy
from . import loading
from .cpu import CpuOps
from .loading import best_backend, device_of, precision, set_precision

register(CpuOps())
LOADERS.update(cupy=loading.load_cupy, auto=lambda: best_backend()[0])

__all__ = [
    "best_backend",
    "device_of",
    "get_ops",
    "get_xp",
    "ops_of",
    "precision",
    "register",
    "set_precision",
    "to_backend",
    "to_numpy",
]
