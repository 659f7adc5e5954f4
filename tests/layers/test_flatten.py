"""Flatten: each sample one row."""

import numpy as np
from hypothesis import given, settings
from support import counting

from tinygan.layers import Flatten
from tinygan.testing import check_layer
from tinygan.testing.strategies import flattens


@settings(max_examples=30)
@given(case=flattens())
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(case=flattens())
def test_forward(case):
    expected = [[v for row in image for pixel in row for v in pixel] for image in case.x]
    np.testing.assert_array_equal(case.layer(case.x), expected)


@settings(max_examples=8)
@given(case=flattens())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_sizes_that_are_not_known_stay_so():
    assert Flatten().output_shape((None, 4, 3)) == (None,)
    assert Flatten().output_shape((2, 4, 3)) == (24,)
