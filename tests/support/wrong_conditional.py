"""Layers and GANs that know classes, wrong on purpose; see wrong_layers.py."""

import numpy as np

from support.wrong_layers import WRONG, Wrong, altered, enliven, numbers
from support.wrong_shortcuts import with_rule
from tinygan.errors import ContractError, GradientError
from tinygan.layers import ConcatLabels, ConditionalScale, Embedding, Projection
from tinygan.layers.conditional import one_hot
from tinygan.models import ConditionalGAN, mlp
from tinygan.models.conditional import Claim
from tinygan.penalties.rules import RULES
from tinygan.testing import check_gradients, check_layer, check_second_order

rows, image, LABELS = numbers(5, 3), numbers(5, 2, 3, 3), np.array([0, 2, 1, 2, 2])


def known(kind, *sizes):
    layer = enliven(kind(*sizes).astype(np.float64), np.random.default_rng(1))
    layer.labels = LABELS
    return layer


def add(name, says, wrong, *sizes, x=rows, check=check_gradients, error=GradientError):
    right = next(base for base in wrong.__mro__ if base.__module__.startswith("tinygan"))
    entry = (lambda layer: check(layer, x), error, says, lambda: known(right, *sizes), lambda: known(wrong, *sizes))
    WRONG.append(Wrong(f"classes: {name}", *entry, (check, right, sizes, x.tobytes())))


# ---- layers ----------------------------------------------------------------------------------------------------------


class FirstColumns(ConcatLabels):
    def gradients(self, c, dy):
        return dy[..., -c:].copy(), {}


class LearnsLabels(ConcatLabels):
    """As if the columns of the label were copies of the first of x."""

    def gradients(self, c, dy):
        dx = dy[..., :c].copy()
        dx[..., 0] += dy[..., c:].sum(axis=-1)
        return dx, {}


class OneScaleBack(ConditionalScale):
    def input_gradient(self, cache, dy):
        return self.params["gamma"][0] * dy


class OtherLabels(Projection):
    """The labels of the layer as they are by now, and not those of the pass."""

    def gradients(self, cache, dy):
        return super().gradients((cache[0], np.roll(cache[1], 1)), dy)


class WithoutTheClass(Projection):
    def input_gradient(self, cache, dy):
        return dy * self.params["W"][:, 0]


class ClassOnly(Projection):
    def input_gradient(self, cache, dy):
        return dy * self.params["V"][cache[1]]


class LastOfAClass(Projection):
    """Where several samples are of one class, only the last is written."""

    def sum_by_class(self, labels, rows):
        sums = np.zeros((self.classes, rows.shape[1]))
        sums[labels] = rows
        return sums


class MeanOfAClass(ConditionalScale):
    def sum_by_class(self, labels, rows):
        counts = one_hot(labels, self.classes, rows.dtype).sum(axis=0)
        return super().sum_by_class(labels, rows) / np.maximum(counts, 1.0)[:, None]


class AllClasses(ConditionalScale):
    def sum_by_class(self, labels, rows):
        return np.broadcast_to(rows.sum(axis=0), (self.classes, rows.shape[1])).copy()


class Shared(ConditionalScale):
    """Takes the label of the whole batch from its last sample."""

    def labels_of(self, x):
        return np.full(len(x), int(x[-1].argmax()))


add("the columns of the label for those of x", "dx is wrong", FirstColumns, 4, x=numbers(5, 6))
add("a gradient of the label", "dx is wrong", LearnsLabels, 3)
add("one scale for all on the way back", "dx is wrong", OneScaleBack, 3, 3)
add("one scale for all on the way back, of images", "dx is wrong", OneScaleBack, 3, 3, x=image)
add("the mean of a class", r"grads\['(gamma|beta)'\] is wrong", MeanOfAClass, 3, 3, x=image)
add("every class learns from every sample", r"grads\['(gamma|beta)'\] is wrong", AllClasses, 3, 3)
add("gamma negated", r"grads\['gamma'\] is wrong", altered(ConditionalScale, gamma=lambda g: -g), 3, 3, x=image)
add("labels of another pass", "is wrong", OtherLabels, 3, 3)
add("dx without the class", "dx is wrong", WithoutTheClass, 3, 3)
add("dx of the class alone", "dx is wrong", ClassOnly, 3, 3)
add("only the last sample of a class", r"grads\['V'\] is wrong", LastOfAClass, 3, 3)
add("the bias forgotten", r"grads\['b'\] is wrong", altered(Projection, b=np.zeros_like), 3, 3)
add(
    "one label for all, read from the batch",
    "a sample's output does not depend on the other samples",
    Shared,
    3,
    3,
    check=lambda layer, x: check_layer(layer, x, gradients=False),
    error=ContractError,
)


class LastOfAnIndex(Embedding):
    def gradients(self, x, dy):
        dW = np.zeros_like(self.params["W"])
        dW[x] = dy
        return None, {"W": dW}


def embedding(kind):
    return enliven(kind(3, 4, rng=0).astype(np.float64), np.random.default_rng(1))


WRONG.append(
    Wrong(
        "classes: only the last sample of an index",
        lambda layer: check_gradients(layer, LABELS),
        GradientError,
        r"grads\['W'\] is wrong",
        lambda: embedding(Embedding),
        lambda: embedding(LastOfAnIndex),
    )
)


# ---- second order ----------------------------------------------------------------------------------------------------


def second(base, **changes):
    """``base`` with another rule, each made from the right one."""
    return with_rule(base, **{key: change(getattr(RULES[base], key)) for key, change in changes.items()})


def forgets(key):
    def change(right):
        def second_order(layer, cache, v, g):
            dx, gradients = right(layer, cache, v, g)
            return dx, {name: g for name, g in gradients.items() if name != key}

        return second_order

    return change


def the_label_itself(right):
    """As if the label moved with x: the tangent is the layer's output for v."""
    return lambda layer, c, v: np.concatenate([v, one_hot(LABELS, layer.classes, v.dtype)], axis=1)


def without_the_class(right):
    return lambda layer, cache, v: v @ layer.params["W"]


for name, says, wrong, sizes in (
    ("the label in the tangent", r"tangent\(v\) is wrong", second(ConcatLabels, tangent=the_label_itself), (3,)),
    ("a tangent without the class", r"tangent\(v\) is wrong", second(Projection, tangent=without_the_class), (3, 3)),
    ("no second order of V", r"second_order's grads\['V'\]", second(Projection, second_order=forgets("V")), (3, 3)),
    ("no second order of W", r"second_order's grads\['W'\]", second(Projection, second_order=forgets("W")), (3, 3)),
    (
        "no second order of gamma",
        r"second_order's grads\['gamma'\]",
        second(ConditionalScale, second_order=forgets("gamma")),
        (3, 3),
    ),
):
    add(name, says, wrong, *sizes, check=check_second_order)


# ---- the game --------------------------------------------------------------------------------------------------------


def game(kind):
    networks = mlp((2, 2, 1), noise_dim=3, g_hidden=(5,), d_hidden=(6,), classes=3, rng=0, dtype=np.float64)
    for network in networks:
        network.theta[...] += 0.3 * np.random.default_rng(1).standard_normal(network.theta.shape)
    return kind(*networks, noise_dim=3, d_steps=2)


def plays_by_the_labels(gan):
    """What the players learn in a step follows from the labels of its samples, in their order, and from no others."""
    told = []
    condition = gan.condition
    gan.condition = lambda labels: (labels is not None and told.append(np.array(labels)), condition(labels))[1]
    labels = np.array([0, 1, 2, 2, 1, 0])
    gan.step(np.random.default_rng(0).standard_normal((6, 2, 2, 1)), labels)
    wanted = [labels[:3], labels[3:], labels[3:]]
    assert len(told) == 3
    assert all(np.array_equal(a, b) for a, b in zip(told, wanted, strict=True))


class LabelsOfTheFirstTurn(ConditionalGAN):
    def draw(self, n):
        draws = super().draw(n)
        first = draws.d[0][0].labels
        return draws._replace(d=tuple((Claim(z.z, first), *rest) for z, *rest in draws.d))


class OtherClaims(ConditionalGAN):
    """G makes other classes than D was shown."""

    def draw(self, n):
        draws = super().draw(n)
        z, numbers = draws.g
        return draws._replace(g=(Claim(z.z, z.labels[::-1]), numbers))


for name, wrong in (("each turn of D the labels of the first", LabelsOfTheFirstTurn), ("other claims", OtherClaims)):
    right = lambda: game(ConditionalGAN)  # noqa: E731
    entry = (plays_by_the_labels, AssertionError, None, right, lambda wrong=wrong: game(wrong), "the game of classes")
    WRONG.append(Wrong(f"classes: {name}", *entry))
