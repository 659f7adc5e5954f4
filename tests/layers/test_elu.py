"""ELU: y = x, or alpha (e^x − 1) below 0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting

from tinygan.errors import ArgumentError
from tinygan.layers import ELU
from tinygan.testing import check_layer
from tinygan.testing.strategies import activations, batches

kinds = st.sampled_from((0.1, 1.0, 1.7)).map(ELU)


@settings(max_examples=40)
@given(case=activations(kinds))
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(x=batches())
def test_forward(x):
    expected = [[v if v > 0 else 1.7 * np.expm1(v) for v in row] for row in x]
    np.testing.assert_allclose(ELU(1.7)(x), expected, rtol=1e-14)


def test_far_out_it_is_finite(device):
    x = device.put(np.array([[-1e4, -100.0, 100.0, 1e4]], np.float32))
    layer = ELU()
    y = device.get(layer.forward(x))
    dx = device.get(layer.backward(x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@settings(max_examples=8)
@given(case=activations(kinds))
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_refusals():
    with pytest.raises(ArgumentError, match="ELU: alpha must be positive"):
        ELU(0.0)
