"""Dropout: y = x · m in training, x in evaluation."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting, reference
from support.linked import modes

from tinygan.errors import ArgumentError
from tinygan.layers import Dropout
from tinygan.testing import check_layer
from tinygan.testing.strategies import dropouts


@modes
@settings(max_examples=100)
@given(case=dropouts())
def test_gradients(train, case):
    counting.count_and_check(case.layer, case.x, train=train)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_forward(rate):
    reference.check_dropout(Dropout(rate, rng=3), np.random.default_rng(0).uniform(1.0, 2.0, (50, 80)))


def test_it_draws_anew_each_time_and_the_same_on_every_backend(device):
    x, layer = np.ones((20, 20), np.float32), Dropout(0.5, rng=3)
    first, second = layer.copy().forward(x), (layer.apply(x, True), layer.apply(x, True))[1][0]
    assert (first != second).any()
    np.testing.assert_array_equal(device.get(Dropout(0.5, rng=3).forward(device.put(x))), first)


@settings(max_examples=8)
@given(case=dropouts())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_refusals():
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ArgumentError, match=r"Dropout: rate must be in \[0, 1\)"):
            Dropout(rate)
