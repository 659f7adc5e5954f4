"""The strategies: what layers are tested on."""

import numpy as np
from hypothesis import given, settings

from tinygan import layers as all_layers
from tinygan.testing.strategies import Case, activations, away_from, conditionals, geometries, images, layers, resizings


@given(x=images())
def test_inputs_stay_away_from_kinks(x):
    assert (np.abs(x) >= 0.05).all()
    assert (np.abs(away_from((0.5, -0.5), x) - 0.5) >= 0.05).all()


@given(geometry=geometries(), transposed=geometries(transposed=True))
def test_geometries_cover_what_they_say(geometry, transposed):
    for g in (geometry, transposed):
        assert all(1 <= k <= 7 for k in g.kernel_size)
        assert all(1 <= s <= 4 for s in g.stride)


def kinds_of(cases, n):
    seen = set()

    @settings(max_examples=n, database=None, derandomize=True)
    @given(case=cases)
    def draw(case):
        assert isinstance(case, Case)
        seen.add(type(case.layer).__name__)

    draw()
    return seen


def test_layers_are_of_every_kind():
    """Of the activations, which are one choice among many in layers(), some come there and all when asked for."""
    nonlinear = {"LeakyReLU", "ReLU", "ELU", "Softplus", "SiLU", "Tanh", "Sigmoid"}
    assert kinds_of(activations(), 400) == nonlinear
    seen = kinds_of(layers(), 600) | kinds_of(conditionals(), 50) | kinds_of(resizings(), 50)
    assert seen | nonlinear == set(all_layers.__all__) - {"Layer", "set_labels", "Embedding"}
    assert seen & nonlinear
