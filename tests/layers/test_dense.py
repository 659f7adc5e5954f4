"""Dense: y = x W + b."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting
from support.linked import as_run, ways

from tinygan.errors import ArgumentError, DTypeError, ShapeError
from tinygan.layers import Dense
from tinygan.testing import check_layer
from tinygan.testing.strategies import batches, dense, rngs, sizes


@ways
@settings(max_examples=125)
@given(case=dense())
def test_gradients(linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x)


@ways
@settings(max_examples=20)
@given(x=batches(), n_out=sizes, rng=rngs)
def test_gradients_without_a_bias(linked, x, n_out, rng):
    layer = Dense(x.shape[1], n_out, bias=False, rng=rng)
    assert list(layer.params) == ["W"]
    counting.count_and_check(as_run(layer, linked), x)


@settings(max_examples=10)
@given(rng=rngs)
def test_gradients_of_a_large_one(rng):
    counting.count_and_check(Dense(300, 200, rng=rng), rng.standard_normal((3, 300)))


@given(case=dense())
def test_forward_is_a_sum_over_inputs(case):
    W, b = case.layer.params["W"], case.layer.params["b"]
    expected = [[b[o] + sum(row[i] * W[i, o] for i in range(len(row))) for o in range(len(b))] for row in case.x]
    np.testing.assert_allclose(case.layer(case.x), expected, rtol=1e-10, atol=1e-12)


@ways
@settings(max_examples=8)
@given(case=dense())
def test_contract(linked, case):
    check_layer(as_run(case.layer, linked), case.x, gradients=False)


def test_refusals():
    layer = Dense(3, 2)
    with pytest.raises(ShapeError, match=r"Dense: expected input \(N, 3\), got \(N, 4\).*n_in"):
        layer.forward(np.ones((5, 4), np.float32))
    with pytest.raises(ShapeError, match=r"got \(N, 2, 2, 3\).*Flatten"):
        layer.forward(np.ones((5, 2, 2, 3), np.float32))
    with pytest.raises(DTypeError, match="expected floating-point input, got uint8"):
        layer.forward(np.ones((5, 3), np.uint8))
    with pytest.raises(ArgumentError, match="n_out must be a whole number"):
        Dense(3, 0)
