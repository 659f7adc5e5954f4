"""Reshape: each sample in another shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting

from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import Reshape
from tinygan.testing import check_layer
from tinygan.testing.strategies import reshapes


@settings(max_examples=30)
@given(case=reshapes())
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(case=reshapes())
def test_forward(case):
    y = case.layer(case.x)
    assert y.shape == (len(case.x), *case.layer.shape)
    assert list(y.flat) == list(case.x.flat)


@settings(max_examples=8)
@given(case=reshapes())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_refusals():
    with pytest.raises(ShapeError, match=r"with 12 numbers per sample, to make \(3, 4\).*That has 10"):
        Reshape(3, 4).forward(np.ones((2, 10), np.float32))
    with pytest.raises(ArgumentError, match="expected sizes"):
        Reshape((3, 4))
    with pytest.raises(ArgumentError, match="each size"):
        Reshape(3, -1)
