"""GroupNorm: both orders of derivatives, and what it is for one group, and for one of each channel."""

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting

from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import GroupNorm, LayerNorm
from tinygan.testing import check_layer
from tinygan.testing.strategies import batches, enliven, group_norms, rngs


@settings(max_examples=100)
@given(case=group_norms())
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@settings(max_examples=60)
@given(case=group_norms())
def test_second_order(case):
    counting.count_and_check_second_order(case.layer, case.x, random=True)


@settings(max_examples=10)
@given(case=group_norms())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


@given(case=group_norms())
def test_forward_by_loops(case):
    layer, x = case
    y, each = layer(x), layer.c // layer.groups
    for n in range(len(x)):
        for k in range(layer.groups):
            own = slice(k * each, (k + 1) * each)
            group = x[n, ..., own]
            xhat = (group - group.mean()) / np.sqrt(group.var() + layer.eps)
            expected = layer.params["gamma"][own] * xhat + layer.params["beta"][own]
            np.testing.assert_allclose(y[n, ..., own], expected, rtol=1e-9, atol=1e-9)


@given(x=batches(c=rngs.map(lambda rng: int(rng.integers(3, 7)))), rng=rngs)
def test_of_dense_data_one_group_is_layer_norm(x, rng):
    group, layer = (enliven(kind, np.random.default_rng(3)) for kind in (
        GroupNorm(1, x.shape[1], dtype=np.float64), LayerNorm(x.shape[1], dtype=np.float64)))  # fmt: skip
    dy = rng.standard_normal(x.shape)
    for a, b in ((group.forward(x), layer.forward(x)), (group.backward(dy), layer.backward(dy))):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_refusals():
    with pytest.raises(ArgumentError, match="6 channels cannot be split into 4 groups of one size"):
        GroupNorm(4, 6)
    with pytest.raises(ShapeError, match=r"expected input \(N, \.\.\., 6\), got \(N, 2, 2, 4\)"):
        GroupNorm(2, 6)(np.ones((1, 2, 2, 4), np.float32))
    with pytest.raises(ShapeError, match="A group of one number is 0, whatever it was"):
        GroupNorm(4, 4)(np.ones((2, 4), np.float32))
    assert GroupNorm(4, 4)(np.ones((1, 2, 1, 4), np.float32)).shape == (1, 2, 1, 4)
    assert repr(GroupNorm(2, 6, eps=1e-3)) == "GroupNorm(2, 6, eps=0.001)"
