"""MinibatchStdDev: both orders of derivatives, of one batch and of joined ones, and the forward pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting
from support import naive_regularisers as naive

from tinygan import Sequential
from tinygan.layers import MinibatchStdDev
from tinygan.penalties import register
from tinygan.testing.strategies import images, minibatch_layers, rngs

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
cases = minibatch_layers().filter(lambda case: isinstance(case.layer, MinibatchStdDev))


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


class Joined(Sequential):
    """A network that is shown several batches at once."""

    def apply(self, x, train, batches=None):
        return super().apply(x, train, batches or self.joined)


register(Joined, like=Sequential)


@settings(max_examples=60)
@given(batches=st.integers(1, 3), m=st.integers(3, 5), pixels=st.sampled_from(((), (2, 1), (2, 3))), rng=rngs)
def test_both_orders_of_the_standard_deviation_of_parts(batches, m, pixels, rng):
    network, x = Joined(MinibatchStdDev(eps=1e-3)), rng.standard_normal((batches * m, *pixels, 2))
    network.joined = batches
    counting.check_gradients(network, x)
    counting.check_second_order(network, x, random=True)


@settings(max_examples=40)
@given(batches=st.integers(1, 3), m=st.integers(1, 4), x=images(n=st.just(12)), eps=st.sampled_from((1e-8, 0.1)))
def test_standard_deviation_of_a_minibatch(batches, m, x, eps):
    naive.check_minibatch_std(MinibatchStdDev(eps=eps), x[: batches * m], batches=batches)


def test_numbers_that_one_can_check_by_hand():
    x = np.array([[0.0, 5.0], [6.0, 5.0]])
    np.testing.assert_allclose(MinibatchStdDev(eps=1e-8)(x)[:, 2], (3.0 + 1e-4) / 2)  # of 0, 6: 3; of 5, 5: √eps


def test_one_sample_has_no_deviation_and_its_gradient_passes_as_it_came():
    layer = MinibatchStdDev()
    y = layer.forward(np.ones((1, 3)))
    np.testing.assert_allclose(y, [[1.0, 1.0, 1.0, 1e-4]])
    np.testing.assert_array_equal(layer.backward(np.full((1, 4), 2.0)), np.full((1, 3), 2.0))
