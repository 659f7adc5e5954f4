"""What is registered for layers: which have a rule, what is said where there is none, rules of one's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting

from tinygan import Sequential, layers, models
from tinygan.backends.cpu.layers import FASTER
from tinygan.errors import ArgumentError, SecondOrderError
from tinygan.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, MinibatchStdDev, SiLU, Tanh
from tinygan.network import Apart
from tinygan.penalties import register
from tinygan.penalties.derivative import steps_of
from tinygan.penalties.rules import RULES, rule_of
from tinygan.testing import strategies

numbers = np.random.default_rng(0).standard_normal


class Square(Layer):
    def apply(self, x, train):
        return x * x, x

    def gradients(self, x, dy):
        return 2.0 * x * dy, {}


class Shifted(Dense):
    def apply(self, x, train):
        return super().apply(x + 1.0, train)


class Doubled(Sequential):
    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return 2.0 * y, passed


class Renamed(Dense):
    pass


@pytest.mark.parametrize(
    ("layer", "like"),
    [
        (Square(), ""),
        (Shifted(3, 3, dtype=np.float64), "or like=Dense"),
        (Doubled(Dense(3, 3, dtype=np.float64)), "or like=Sequential"),
        (Renamed(3, 3, dtype=np.float64), "or like=Dense"),
    ],
    ids=["own", "of", "net", "renamed"],
)
def test_a_layer_without_a_rule_says_so(layer, like):
    """A class inherits nothing: the tangent of another forward would be wrong without a word."""
    network = Sequential(Dense(3, 3, dtype=np.float64), layer, Dense(3, 1, dtype=np.float64))
    _, passed = network.apply(numbers((4, 3)), True)
    kind = type(layer).__name__
    says = rf"layer 1 .*: a gradient penalty differentiates.*for the class {kind}.*register\({kind}.*{like}"
    with pytest.raises(SecondOrderError, match=says + ".*check_second_order"):
        steps_of(passed)
    with pytest.raises(SecondOrderError, match=says):
        rule_of(layer)


def test_a_rule_of_ones_own():
    class Cube(Layer):
        def apply(self, x, train):
            return x**3, x

        def gradients(self, x, dy):
            return 3.0 * x**2 * dy, {}

    class CubeToo(Cube):
        pass

    with pytest.raises(ArgumentError, match="Cube needs two functions"):
        register(Cube, tangent=lambda layer, x, v: 3.0 * x**2 * v)
    with pytest.raises(ArgumentError, match="Cube needs two functions"):
        register(Cube, second_order=lambda layer, x, v, g: (6.0 * x * v * g, {}))
    with pytest.raises(ArgumentError, match=r"nothing is registered for .*Cube.*, which CubeToo shall be like"):
        register(CubeToo, like=Cube)
    with pytest.raises(ArgumentError, match=r"expected a class of layers, got Cube\(\); write type\(layer\)"):
        register(Cube(), symmetric=True)
    register(Cube, symmetric=True, second_order=lambda layer, x, v, g: (6.0 * x * v * g, {}))
    register(CubeToo, like=Cube)
    for kind in (Cube, CubeToo):
        counting.check_second_order(kind(), numbers((4, 3)))
        counting.check_second_order(Sequential(Dense(3, 2, dtype=np.float64), kind()), numbers((4, 3)))


def test_every_layer_and_link_of_the_house_has_a_rule():
    kinds = {getattr(layers, name) for name in layers.__all__} - {Layer, layers.set_labels}
    kinds -= {layers.Embedding}  # of integers, of which there is no tangent
    kinds |= {models.Residual, models.Add, models.Concat}
    assert kinds | {Sequential, Apart} <= RULES.keys()
    for kind, link in FASTER.items():
        assert kind in RULES, link


@settings(max_examples=60)
@given(case=strategies.layers())
def test_tangents_and_seconds_orders_have_the_shapes_of_what_they_belong_to(case):
    layer, x = case.layer, case.x
    y, cache = layer.apply(x, True)
    rule = rule_of(layer)
    assert rule.tangent(layer, cache, np.ones_like(x)).shape == y.shape
    dx, gradients = rule.second_order(layer, cache, np.ones_like(x), np.ones_like(y))
    assert dx is None or dx.shape == x.shape
    assert {key: value.shape for key, value in gradients.items()}.items() <= {
        key: value.shape for key, value in layer.params.items()
    }.items()


def test_dtypes_stay():
    for layer in (Dense(3, 4), LayerNorm(3), BatchNorm(3), SiLU(), Tanh(), MinibatchStdDev(), Dropout(0.5)):
        x = numbers((4, 3)).astype("f4")
        y, cache = layer.apply(x, True)
        u, (dx, gradients) = (
            rule_of(layer).tangent(layer, cache, x),
            rule_of(layer).second_order(layer, cache, x, np.ones_like(y)),
        )
        assert {a.dtype for a in (u, *gradients.values(), *([] if dx is None else [dx]))} == {np.dtype("f4")}
