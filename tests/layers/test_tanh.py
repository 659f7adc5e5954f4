"""Tanh: y = tanh x."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from support import counting

from tinygan.layers import Tanh
from tinygan.testing import check_layer
from tinygan.testing.strategies import activations, batches

kinds = st.builds(Tanh)


@settings(max_examples=40)
@given(case=activations(kinds))
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(x=batches())
def test_forward(x):
    np.testing.assert_allclose(Tanh()(x), 2.0 * expit(2.0 * x) - 1.0, rtol=1e-10, atol=1e-15)


def test_far_out_it_is_finite(device):
    x = device.put(np.array([[-1e4, -100.0, 100.0, 1e4]], np.float32))
    layer = Tanh()
    y = device.get(layer.forward(x))
    dx = device.get(layer.backward(x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@settings(max_examples=8)
@given(case=activations(kinds))
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)
