"""LayerNorm: the channels of each sample, normalised among themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting, reference

from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import LayerNorm
from tinygan.testing import check_layer
from tinygan.testing.strategies import layer_norms


@settings(max_examples=125)
@given(case=layer_norms())
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@given(case=layer_norms())
def test_forward(case):
    layer, x = case
    rows = [reference.normalized(row.tolist(), layer.eps) for row in x.reshape(-1, layer.c)]
    expected = np.reshape(rows, x.shape) * layer.params["gamma"] + layer.params["beta"]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(layer(x), layer.forward(x))  # the same in both modes


def test_it_normalises_each_sample():
    x = 5.0 + 3.0 * np.random.default_rng(0).standard_normal((50, 4, 4, 6))
    y = LayerNorm(6, dtype=np.float64).forward(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=-1), 1.0, atol=1e-3)


@settings(max_examples=8)
@given(case=layer_norms())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


def test_refusals():
    with pytest.raises(ArgumentError, match="c must be a whole number of at least 2"):
        LayerNorm(1)
    with pytest.raises(ShapeError, match=r"expected input \(N, ..., 3\), got \(N, 4\)"):
        LayerNorm(3).forward(np.ones((2, 4), np.float32))
