"""A layer and the leaky ReLU right behind it, done as one where memory is what counts.

Adding a bias, normalising and a leaky ReLU cost a GPU the time to read an array and to write it, and little else. Where
they follow each other in a network, one pass does both, forward, and one pass does both, backward:

    y  = f(a),  a = layer(x)         forward(x, slope=...)           a itself is never written
    da = f'(a) · dy                  backward(dy, y=y, slope=...)    the sign of y is that of a

Both layers' passes are opened and closed as if each had run by itself: what one looks at in between (a tangent, a
second order, a gradient of the input alone) does not know the difference. On NumPy every layer runs by itself.
"""

from __future__ import annotations

import inspect

from ..backend import Array
from ..kernels import fuses
from .activations import LeakyReLU, ReLU
from .base import GradMode, Layer

__all__ = ["backward", "forward", "fuses", "is_pair"]


def is_pair(layer: Layer, behind: Layer) -> bool:
    """Whether ``behind`` is a leaky ReLU that ``layer`` can do along the way. No class of yours that changes one is."""
    return type(behind) in (LeakyReLU, ReLU) and all(
        wanted <= inspect.signature(method).parameters.keys()
        for method, wanted in ((layer.forward, {"slope"}), (layer.backward, {"y", "slope"}))
    )


def forward(layer: Layer, behind: LeakyReLU | ReLU, x: Array, *, train: bool) -> Array:
    """behind.forward(layer.forward(x))."""
    y = layer.forward(x, train=train, slope=behind.slope)
    return behind._remember(y, y)


def backward(layer: Layer, behind: LeakyReLU | ReLU, dy: Array, *, grads: GradMode, need_dx: bool) -> Array | None:
    """layer.backward(behind.backward(dy))."""
    (y,) = behind._recall(dy, grads)
    return layer.backward(dy, grads=grads, need_dx=need_dx, y=y, slope=behind.slope)
