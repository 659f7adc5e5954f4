"""ReLU: y = max(x, 0)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting
from support.linked import as_run, ways

from tinygan.layers import ReLU
from tinygan.testing import check_layer
from tinygan.testing.strategies import activations, batches

kinds = st.builds(ReLU)


@ways
@settings(max_examples=20)
@given(case=activations(kinds))
def test_gradients(linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x)


@given(x=batches())
def test_forward(x):
    np.testing.assert_array_equal(ReLU()(x), [[v if v > 0 else 0.0 for v in row] for row in x])


def test_at_the_kink_the_left_slope_is_taken():
    layer = ReLU()
    layer.forward(np.zeros((1, 2)))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), np.full((1, 2), 0.0))


@settings(max_examples=8)
@given(case=activations(kinds))
def test_contract(case):
    check_layer(as_run(case.layer, True), case.x, gradients=False)
