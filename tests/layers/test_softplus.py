"""Softplus: y = log(1 + e^x)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting

from tinygan.layers import Softplus
from tinygan.testing import check_layer
from tinygan.testing.strategies import activations, batches

kinds = st.builds(Softplus)


@settings(max_examples=40)
@given(case=activations(kinds))
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(x=batches())
def test_forward(x):
    np.testing.assert_allclose(Softplus()(x), np.logaddexp(0.0, x), rtol=1e-12)
    np.testing.assert_allclose(Softplus()(-30.0 - abs(x)), np.exp(-30.0 - abs(x)), rtol=1e-12)


def test_far_out_it_is_finite(device):
    x = device.put(np.array([[-1e4, -100.0, 100.0, 1e4]], np.float32))
    layer = Softplus()
    y = device.get(layer.forward(x))
    dx = device.get(layer.backward(x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@settings(max_examples=8)
@given(case=activations(kinds))
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)
