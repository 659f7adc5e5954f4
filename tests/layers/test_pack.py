"""Pack: both orders of derivatives, the forward pass, and batches that cannot be packed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting
from support import naive_regularisers as naive

from tinygan.errors import ShapeError
from tinygan.layers import Pack
from tinygan.testing.strategies import batches, images, minibatch_layers

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
cases = minibatch_layers().filter(lambda case: isinstance(case.layer, Pack))


@modes
@settings(max_examples=60)
@given(case=cases)
def test_gradients(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@modes
@settings(max_examples=50)
@given(case=cases)
def test_second_order(train, case):
    counting.check_second_order(case.layer, case.x, train=train, random=True)


@settings(max_examples=40)
@given(x=st.one_of(batches(n=st.just(12)), images(n=st.just(12))), m=st.sampled_from((1, 2, 3, 4, 6, 12)))
def test_packing(x, m):
    naive.check_pack(Pack(m), x)


def test_numbers_that_one_can_check_by_hand():
    x = np.array([[0.0, 5.0], [6.0, 5.0]])
    np.testing.assert_array_equal(Pack(2)(x), [[0.0, 5.0, 6.0, 5.0]])


@pytest.mark.parametrize(("layer", "n", "multiple"), [(Pack(3), 4, 3), (Pack(2), 5, 2)])
def test_batches_that_cannot_be_packed(layer, n, multiple):
    with pytest.raises(ShapeError, match=f"Pack: a batch of {n} samples.*cannot be split.*a multiple of {multiple}"):
        layer.forward(np.ones((n, 3)))
