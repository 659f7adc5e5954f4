"""Augmentations that are wrong on purpose; see wrong_layers.py."""

import numpy as np

from support.wrong_layers import gradients, with_dx
from support.wrong_second_order import TANGENT, layer
from support.wrong_shortcuts import with_rule
from tinygan.augment import Colour, Cutout, Shift

picture = np.random.default_rng(5).standard_normal((4, 6, 5, 3))


def adjoint_of(kind, adjoint):
    """``kind`` with another way back: ``adjoint(layer, dy, numbers)``."""
    return type("Wrong", (kind,), {"adjoint": adjoint})


def without_the_means(layer, dy, numbers):
    _, f, g = numbers[..., None, None, None]
    return f * g * dy


def in_the_order_of_the_way_up_with_another_mean(layer, dy, numbers):
    _, f, g = numbers[..., None, None, None]
    dv = g * dy + (1.0 - g) * dy.mean(axis=(1, 2), keepdims=True)
    return f * dv + (1.0 - f) * dv.mean(axis=3, keepdims=True)


redrawn = with_dx(Cutout, lambda layer, x, dy: layer.adjoint(dy, layer.draw(x.shape, np.ones(len(x), bool))))
for name, wrong, args in (
    ("shift: the way back is the way there", adjoint_of(Shift, lambda self, dy, s: self.change(dy, s)), (0.4,)),
    (
        "shift: what goes out comes in again on the other side",
        adjoint_of(
            Shift,
            lambda self, dy, s: np.stack([np.roll(a, (-i, -j), (0, 1)) for a, i, j in zip(dy, *s, strict=True)]),
        ),
        (0.4,),
    ),
    (
        "shift: rows and columns exchanged",
        adjoint_of(Shift, lambda self, dy, s: Shift.adjoint(self, dy, s[::-1])),
        (0.4,),
    ),
    ("cutout: another hole in the backward pass", redrawn, (0.5,)),
    ("cutout: no hole in the backward pass", adjoint_of(Cutout, lambda self, dy, m: dy), (0.5,)),
    ("colour: the means are constants", adjoint_of(Colour, without_the_means), ()),
    ("colour: the mean of each channel", adjoint_of(Colour, in_the_order_of_the_way_up_with_another_mean), ()),
):
    gradients(name, "dx", wrong, *args, rng=2, x=picture)

with_constant = {"tangent": lambda layer, numbers, v: layer.change(v, numbers)}
layer(
    "shift: what comes in is part of the tangent",
    TANGENT,
    with_rule(Shift, **with_constant),
    0.4,
    fill=1.0,
    rng=2,
    x=picture,
)
layer(
    "cutout: its colour is part of the tangent", TANGENT, with_rule(Cutout, **with_constant), fill=1.0, rng=2, x=picture
)
layer("colour: brightness is part of the tangent", TANGENT, with_rule(Colour, **with_constant), rng=2, x=picture)
