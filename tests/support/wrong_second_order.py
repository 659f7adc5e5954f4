"""Tangents, second orders and their shortcuts that are wrong on purpose; see wrong_layers.py."""

from dataclasses import replace

import numpy as np

from support import wrong_penalties  # noqa: F401  (adds the mistakes of whole penalties)
from support.shared_pass import check_shared_pass
from support.wrong_layers import WRONG, Wrong, enliven, numbers
from support.wrong_shortcuts import NOTICED_BY_THE_PASS, SHORTCUTS, shortcut, with_rule
from tinygan import Sequential
from tinygan.errors import GradientError
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from tinygan.network import Apart
from tinygan.penalties.derivative import down, steps_of, up
from tinygan.penalties.rules import RULES
from tinygan.penalties.standardized import along, curvature
from tinygan.testing import check_second_order

rows, image = numbers(5, 3), numbers(2, 5, 4, 2)
TANGENT, ADJOINT = r"tangent\(v\) is wrong", "no adjoints"
DX, DW, DGAMMA = (
    r"second_order's dx is wrong",
    r"second_order's grads\['W'\] is wrong",
    r"second_order's grads\['gamma'\]",
)


def layer(name, says, wrong, *args, x=rows, **options):
    """``wrong`` is a subclass of a layer with a wrong tangent or second order."""

    def make(kind):
        return enliven(kind(*args, **options).astype(np.float64), np.random.default_rng(1))

    right = next(base for base in wrong.__mro__ if base.__module__.startswith("tinygan"))
    entry = (lambda made: check_second_order(made, x), GradientError, says, lambda: make(right), lambda: make(wrong))
    WRONG.append(Wrong(f"second order: {name}", *entry))


# ---- layers --------------------------------------------------------------------------------------------------------


def times(base, of_tangent):
    """``base`` with its tangent changed by ``of_tangent(layer, u)``."""
    right = RULES[base].tangent
    return with_rule(base, tangent=lambda layer, cache, v: of_tangent(layer, right(layer, cache, v)))


def of_other(base, of_v):
    """``base`` with the second order of other vectors, ``of_v(cache, v, g)``."""
    right = RULES[base].second_order
    return with_rule(base, second_order=lambda layer, cache, v, g: right(layer, cache, *of_v(cache, v, g)))


def stored(layer, x, v, g):
    layer.grads["W"][...] = v.T @ g
    return None, {}


def changes_v(layer, x, v, g):
    dW = v.T @ g
    v *= 0.5
    return None, {"W": dW}


def changes_x(layer, x, v, g):
    x *= 0.5
    return None, {"W": v.T @ g}


nothing = with_rule(Dense, second_order=lambda layer, x, v, g: (None, {}))
layer("b in the tangent", TANGENT, times(Dense, lambda layer, u: u + layer.params["b"]), 3, 2)
layer("W transposed", TANGENT, with_rule(Dense, tangent=lambda layer, x, v: v @ layer.params["W"].T), 3, 3)
layer("a tangent a thousandth too long", TANGENT, times(Dense, lambda layer, u: u * 1.001), 3, 2)
layer("x where v belongs", "second_order's grads", of_other(Dense, lambda x, v, g: (x, g)), 3, 2)
layer("written, not added", "is not added", with_rule(Dense, second_order=stored), 3, 2)
layer("nothing for W", DW, nothing, 3, 2)
layer("v changed", "has changed v or g", with_rule(Dense, second_order=changes_v), 3, 2)
layer("the cache changed", "has changed the cache", with_rule(Dense, second_order=changes_x), 3, 2)


def bent(base, curvature_):
    """``base`` with another f'': ``curvature_(layer, cache, v, g)``."""
    return with_rule(base, second_order=lambda *given: (curvature_(*given), {}))


for kind in (Tanh, Sigmoid, Softplus, SiLU, ELU):
    right = RULES[kind].second_order
    layer(f"{kind.__name__} without f''", DX, bent(kind, lambda layer, cache, v, g: None))
    layer(f"{kind.__name__} with −f''", DX, bent(kind, lambda *given, right=right: -right(*given)[0]))
layer("Tanh with f' for f''", DX, bent(Tanh, lambda layer, y, v, g: layer.input_gradient(y, v * g)))
layer("SiLU with its last factor forgotten", DX, bent(SiLU, lambda layer, x, v, g: layer.input_gradient(x, v * g)))
layer("LeakyReLU with a curvature", DX, bent(LeakyReLU, lambda layer, y, v, g: 0.01 * v * g))


def other_mask(layer, m, v):
    keep = layer.rng.random(v.shape) >= layer.rate
    return v * keep / (1.0 - layer.rate)


layer("another mask", TANGENT, with_rule(Dropout, tangent=other_mask), 0.5, rng=1)
layer("no mask", TANGENT, with_rule(Dropout, tangent=lambda layer, m, v: v), 0.5, rng=1)


def without_the_three(layer, cache, v, g):
    xhat, inv_std = cache
    dx, gradients = RULES[LayerNorm].second_order(layer, cache, v, g)
    p = g * layer.params["gamma"]
    q, s = ((xhat * a).mean(axis=1, keepdims=True) for a in (p, v))
    return dx - inv_std**2 * xhat * 2.0 * q * s, gradients  # −1 q s where −3 q s belongs


def over_the_wrong_axis(layer, cache, v, g):
    xhat, inv_std = cache
    _, gradients = RULES[LayerNorm].second_order(layer, cache, v, g)
    return curvature(xhat, inv_std, g * layer.params["gamma"], v, axis=0), gradients


def gamma_from_x(layer, cache, v, g):
    dx, _ = RULES[BatchNorm].second_order(layer, cache, v, g)
    return dx, {"gamma": (g * cache[0]).sum(axis=0)}


def running_statistics(layer, cache, v, g):
    xhat, inv_std, _ = cache
    _, gradients = RULES[BatchNorm].second_order(layer, cache, v, g)
    fixed = 1.0 / np.sqrt(layer.running_var + layer.eps)
    return curvature(xhat / inv_std * fixed, fixed, g * layer.params["gamma"], v, axis=0), gradients


def half_along(layer, cache, v):
    xhat, inv_std = cache
    return (along(xhat, inv_std, v, axis=1) + 0.01 * xhat) * layer.params["gamma"]


def constant_statistics(layer, cache, v):
    return v * cache[1] * layer.params["gamma"]


def taken_for_linear(*given):
    return None, RULES[LayerNorm].second_order(*given)[1]


layer("BatchNorm with constant statistics", TANGENT, with_rule(BatchNorm, tangent=constant_statistics), 3)
layer("BatchNorm with running statistics", DX, with_rule(BatchNorm, second_order=running_statistics), 3)
layer("BatchNorm, gamma from x̂", DGAMMA, with_rule(BatchNorm, second_order=gamma_from_x), 3)
layer("LayerNorm taken for linear", DX, with_rule(LayerNorm, second_order=taken_for_linear), 3)
layer("LayerNorm, 1 for 3", DX, with_rule(LayerNorm, second_order=without_the_three), 3)
layer("LayerNorm over the wrong axis", DX, with_rule(LayerNorm, second_order=over_the_wrong_axis), 3)
layer("LayerNorm, not linear in v", TANGENT, with_rule(LayerNorm, tangent=half_along), 3)


def flipped_kernel(layer, x, v):
    twin = layer.copy()
    twin.params["W"][...] = layer.params["W"][::-1, ::-1]
    return RULES[Conv2D].tangent(twin, x, v)


half_the_weights = of_other(ConvTranspose2D, lambda x, v, g: (0.5 * v, g))
layer("a flipped kernel", TANGENT, with_rule(Conv2D, tangent=flipped_kernel), 2, 3, 3, x=image)
layer("x beside v", DW, of_other(Conv2D, lambda x, v, g: (v + x, g)), 2, 3, 3, stride=2, x=image)
layer("a factor 2 in a transposed convolution", DW, half_the_weights, 2, 3, 3, stride=2, x=image)


# ---- networks ------------------------------------------------------------------------------------------------------


def no_pass_down(network, passed, v, g):
    """What bends is not sent down to the layers below."""
    steps, bend = steps_of(passed), None
    vs, gs = up(steps, v), down(steps, g)
    for i in range(len(steps) - 1, -1, -1):
        bend = steps[i].rule.add(steps[i].layer, steps[i].cache, vs[i], gs[i + 1])
    return bend, {}


def only_the_lowest_bend(network, passed, v, g):
    """A curved layer forgets what comes from the curved layers above."""
    steps, h = steps_of(passed), None
    vs, gs = up(steps, v), down(steps, g)
    for i in range(len(steps) - 1, -1, -1):
        bend = steps[i].rule.add(steps[i].layer, steps[i].cache, vs[i], gs[i + 1])
        below = None if h is None else steps[i].link.backprop(steps[i].of_link, h, True)
        h = below if bend is None else bend
    return h, {}


def network(kind):
    f = {"dtype": np.float64}
    return kind(Dense(3, 4, rng=1, **f), Tanh(), Dense(4, 4, rng=2, **f), SiLU(), Dense(4, 1, rng=3, **f))


for name, second_order in {
    "curvature stays where it is": no_pass_down,
    "curvature from above is lost": only_the_lowest_bend,
}.items():
    wrong = with_rule(Sequential, second_order=second_order)
    WRONG.append(
        Wrong(
            f"second order: {name}",
            lambda made: check_second_order(made, rows),
            GradientError,
            "second_order's",
            lambda: network(Sequential),
            lambda kind=wrong: network(kind),
        )
    )


# ---- batches that are joined: the rule of Apart ----------------------------------------------------------------------


class Joined(Sequential):
    """A network that is shown two batches at once, whatever it is given."""

    def apply(self, x, train, batches=2):
        return super().apply(x, train, batches)


def as_if_one(apart, caches, v, g):
    """The second order of the first batch, for both."""
    rule_, pairs = RULES[type(apart.layer)], zip(apart.split(v), apart.split(g), strict=True)
    dxs = [rule_.add(apart.layer, caches[0], *pair) for pair in pairs]
    return np.concatenate(dxs), {}


def first_batch_only(apart, caches, v, g):
    dx = RULES[type(apart.layer)].add(apart.layer, caches[0], apart.split(v)[0], apart.split(g)[0])
    return np.concatenate([dx, np.zeros_like(dx)]), {}


with_rule(Sequential, of=Joined)


def joined(rule_of_apart):
    """Check a network of two batches, with another rule for what sees them apart."""

    def check(made):
        before = RULES[Apart]
        RULES[Apart] = rule_of_apart(before) if made else before
        try:
            f = {"dtype": np.float64}
            inner = Sequential(Dense(3, 4, rng=1, **f), BatchNorm(4, eps=0.1, **f), Tanh())
            check_second_order(Joined(inner, Dense(4, 1, rng=2, **f)), numbers(6, 3))
        finally:
            RULES[Apart] = before

    return check


for name, says, wrong in (
    ("the first batch's statistics for both", "second_order's", {"second_order": as_if_one}),
    ("the second batch forgotten", "second_order's", {"second_order": first_batch_only}),
    (
        "the tangent of the first batch's slopes",
        TANGENT,
        {
            "tangent": lambda apart, caches, v: np.concatenate(
                [RULES[type(apart.layer)].tangent(apart.layer, caches[0], part) for part in apart.split(v)]
            )
        },
    ),
):
    check = joined(lambda right, wrong=wrong: replace(right, **wrong))
    WRONG.append(
        Wrong(f"second order of joined batches: {name}", check, GradientError, says, lambda: False, lambda: True)
    )


# ---- the shortcut: second_order(v, g) and the backward of share · g at once ----------------------------------------


def critic(kind):
    """A layer of ``kind`` that learns from the shortcut, under a Dense one."""
    f, rng = {"dtype": np.float64}, np.random.default_rng(2)
    made = kind(3, 4, rng=1, **f) if issubclass(kind, Dense) else kind(2, 2, 3, stride=2, rng=1, **f)
    above = [LeakyReLU()] if issubclass(kind, Dense) else [LeakyReLU(), Flatten()]
    size = 4 if issubclass(kind, Dense) else int(np.prod(made.output_shape(image.shape[1:])))
    return enliven(Sequential(made, *above, Dense(size, 1, rng=2, **f)), rng)


def in_the_pass_of_the_loss(x):
    dy = np.random.default_rng(4).standard_normal((2 * len(x), 1))
    return lambda kind: check_shared_pass(critic(kind), x, x[::-1] - 0.3, dy)


for right, x, arguments in ((Dense, rows, (3, 2)), (Conv2D, image, (2, 3, 3))):
    for wrong, says in SHORTCUTS.items():
        name = f"{right.__name__}'s shortcut, {wrong.__name__.replace('_', ' ')}"
        kind = shortcut(right, wrong)
        layer(name, says, kind, *arguments, x=x)
        if wrong in NOTICED_BY_THE_PASS:
            check = in_the_pass_of_the_loss(x)
            entry = (check, AssertionError, "the gradient of 0", lambda right=right: right, lambda kind=kind: kind)
            WRONG.append(Wrong(f"pass of the loss: {name}", *entry))


def bent_shortcut(layer, y, v, g, share, add):
    """A shortcut for a layer that is not linear in x: what bends is never sent down."""


says = "a layer that is not linear in x has no such shortcut"
layer("a curved layer with a shortcut", says, with_rule(Tanh, joint=bent_shortcut))
