"""All layers alike: on every backend, in both precisions, and by what a backend runs in their place."""

import numpy as np
from hypothesis import given, settings
from support import counting
from support.linked import check_link, modes

from tinygan import to_numpy
from tinygan.testing import check_layer, strategies


@modes
@settings(max_examples=150)
@given(case=strategies.layers())
def test_gradients_on_every_backend(device, train, case):
    counting.count_and_check(case.layer.to(device.name), device.put(case.x), train=train, exhaustive=8)


@modes
@settings(max_examples=150)
@given(case=strategies.layers())
def test_a_network_of_one_layer_gives_what_the_layer_does(train, case):
    check_link(case.layer, case.x, train=train)


@settings(max_examples=40)
@given(case=strategies.layers())
def test_contract_on_every_backend(device, case):
    check_layer(case.layer.to(device.name), device.put(case.x), gradients=False)


@settings(max_examples=100)
@given(case=strategies.layers())
def test_float32_and_every_backend_give_what_float64_gives(device, case):
    x = case.x.astype(np.float32)
    fast, exact = case.layer.copy().astype(np.float32).to(device.name), case.layer.copy()
    y, expected = fast.forward(device.put(x)), exact.forward(x.astype(np.float64))
    dy = np.cos(np.arange(expected.size)).reshape(expected.shape)
    dx, expected_dx = fast.backward(device.put(dy.astype(np.float32))), exact.backward(dy)
    pairs = [(y, expected), (dx, expected_dx), *((fast.grads[key], exact.grads[key]) for key in exact.grads)]
    for actual, wanted in pairs:
        assert actual.dtype == np.float32
        assert np.linalg.norm(to_numpy(actual) - wanted) <= 2e-3 * (1.0 + np.linalg.norm(wanted))
