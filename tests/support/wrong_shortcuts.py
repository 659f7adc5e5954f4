"""Ways to get the joint rule of Dense and Conv2D wrong; wrong_second_order.py has them checked."""

from dataclasses import replace

import numpy as np

from tinygan.penalties.rules import RULES


def with_rule(base, *, of=None, **changes):
    """A class like ``base``, or ``of`` if it is given, registered with another tangent, second order or joint rule."""
    kind = of or type(f"Wrong{base.__name__}", (base,), {})
    RULES[kind] = replace(RULES[base], **({"symmetric": False} if "tangent" in changes else {}), **changes)
    return kind


def spread(share, x):
    return share.reshape(-1, *[1] * (x.ndim - 1))


def shortcut(base, wrong):
    """``base`` with another joint rule, ``wrong(right, layer, x, v, g, share, add)``."""
    right = RULES[base].joint
    return with_rule(base, joint=lambda *given: wrong(right, *given))


def half_the_share(right, layer, x, v, g, share, add):
    right(layer, x, v, g, 0.5 * share, add)


def nothing_for_the_bias(right, layer, x, v, g, share, add):
    before = layer.grads["b"].copy()
    right(layer, x, v, g, share, add)
    layer.grads["b"][...] = before if add else 0.0


def v_forgotten(right, layer, x, v, g, share, add):
    right(layer, x, 0.0 * v, g, share, add)


def no_share_for_the_weights(right, layer, x, v, g, share, add):
    right(layer, 0.0 * x, v, g, share, add)


def one_share_for_all(right, layer, x, v, g, share, add):
    right(layer, x, v, g, np.full_like(share, share.mean()), add)


def adds_where_it_should_write(right, layer, x, v, g, share, add):
    right(layer, x, v, g, share, True)


def writes_where_it_should_add(right, layer, x, v, g, share, add):
    right(layer, x, v, g, share, False)


def rests(right, layer, x, v, g, share, add):
    pass


def in_place(right, layer, x, v, g, share, add):
    v += spread(share, x) * x
    right(layer, 0.0 * x, v, g, share, add)


OF_W, OF_B = (rf"what it adds to grads\['{key}'\] differs from what second_order" for key in "Wb")
SHORTCUTS = {
    half_the_share: OF_W,
    nothing_for_the_bias: OF_B,
    v_forgotten: OF_W,
    no_share_for_the_weights: OF_W,
    one_share_for_all: OF_W,
    adds_where_it_should_write: r"what it writes into grads\['W'\] differs",
    rests: OF_W,
    writes_where_it_should_add: OF_W,
    in_place: "has changed v, g, share or the cache",
}
NOTICED_BY_THE_PASS = list(SHORTCUTS)[
    :7
]  # a step of a GAN works with the others; whoever calls them otherwise does not
