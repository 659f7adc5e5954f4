"""LeakyReLU: y = max(x, slope · x)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting
from support.linked import as_run, ways

from tinygan.errors import ArgumentError
from tinygan.layers import LeakyReLU
from tinygan.testing import check_layer
from tinygan.testing.strategies import activations, batches

kinds = st.sampled_from((0.0, 0.01, 0.2, 0.9)).map(LeakyReLU)


@ways
@settings(max_examples=25)
@given(case=activations(kinds))
def test_gradients(linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x)


@given(x=batches())
def test_forward(x):
    np.testing.assert_allclose(LeakyReLU(0.1)(x), [[v if v > 0 else 0.1 * v for v in row] for row in x], rtol=1e-14)


def test_at_the_kink_the_left_slope_is_taken():
    layer = LeakyReLU(0.2)
    layer.forward(np.zeros((1, 2)))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), np.full((1, 2), 0.2))


@settings(max_examples=8)
@given(case=activations(kinds))
def test_contract(case):
    check_layer(as_run(case.layer, True), case.x, gradients=False)


def test_refusals():
    with pytest.raises(ArgumentError, match=r"LeakyReLU: slope must be in \[0, 1\)"):
        LeakyReLU(1.0)
