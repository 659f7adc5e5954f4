"""The layers that know the class of each sample: both orders of derivatives, the forward pass, and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting
from support.linked import modes

from tinygan import Sequential, to_numpy
from tinygan.errors import ArgumentError, DTypeError, SecondOrderError, ShapeError
from tinygan.layers import ConcatLabels, ConditionalScale, Dense, Embedding, Projection, set_labels
from tinygan.penalties import R1
from tinygan.testing import check_gradients, check_layer
from tinygan.testing.strategies import batches, conditionals, rngs, sizes


@modes
@settings(max_examples=100)
@given(case=conditionals())
def test_gradients(train, case):
    counting.count_and_check(case.layer, case.x, train=train)


@modes
@settings(max_examples=60)
@given(case=conditionals())
def test_second_order(train, case):
    counting.count_and_check_second_order(case.layer, case.x, train=train, random=True)


@settings(max_examples=20)
@given(case=conditionals())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


@given(case=conditionals())
def test_forward_by_loops(case):
    layer, x = case
    y, p = layer(x), layer.params
    for n, k in enumerate(layer.labels):
        if isinstance(layer, ConcatLabels):
            one_hot = [float(j == k) for j in range(layer.classes)]
            expected = np.array([[*pixel, *one_hot] for pixel in x[n].reshape(-1, x.shape[-1])])
        elif isinstance(layer, ConditionalScale):
            expected = np.array([[g * a + b for g, a, b in zip(p["gamma"][k], pixel, p["beta"][k], strict=True)]
                                 for pixel in x[n].reshape(-1, x.shape[-1])])  # fmt: skip
        else:
            terms = (a * (w + v) for a, w, v in zip(x[n], p["W"][:, 0], p["V"][k], strict=True))
            expected = np.array([sum(terms) + p["b"][0]])
        np.testing.assert_allclose(y[n].ravel(), expected.ravel(), rtol=1e-10, atol=1e-12)


@given(x=batches(), n_out=sizes, classes=st.integers(1, 4), rng=rngs)
def test_a_projection_is_a_dense_layer_of_its_own_for_each_class(x, n_out, classes, rng):
    layer = Projection(x.shape[1], classes, rng=rng, dtype=np.float64)
    layer.labels = rng.integers(classes, size=len(x))
    dense = Dense(x.shape[1], classes, rng=rng, dtype=np.float64)
    dense.params["W"][...] = layer.params["W"] + layer.params["V"].T
    dense.params["b"][...] = layer.params["b"]
    np.testing.assert_allclose(layer(x)[:, 0], dense(x)[np.arange(len(x)), layer.labels], rtol=1e-10, atol=1e-12)


def test_labels_of_one_batch_hold_for_each_of_several():
    """A pass through real and generated samples, one batch after the other, tells both the same labels."""
    layer, x = ConditionalScale(2, 3, dtype=np.float64), np.ones((4, 2))
    layer.params["gamma"][...] = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    layer.labels = np.array([2, 1])
    np.testing.assert_array_equal(layer(x)[:, 0], [2.0, 1.0, 2.0, 1.0])
    network = Sequential(Dense(2, 2, rng=0, dtype=np.float64), layer)
    y, _ = network.apply(x, True, batches=2)
    np.testing.assert_array_equal(y[:2], y[2:])


def test_the_labels_of_a_pass_are_those_before_it():
    layer = Projection(2, 3, rng=0, dtype=np.float64)
    layer.labels = np.array([0, 1])
    x = np.ones((2, 2))
    y, cache = layer.apply(x, True)
    dx, gradients = layer.gradients(cache, np.ones_like(y))
    layer.labels = np.array([2, 2])
    again, gradients_again = layer.gradients(cache, np.ones_like(y))
    np.testing.assert_array_equal(dx, again)
    np.testing.assert_array_equal(gradients["V"], gradients_again["V"])


def test_only_the_class_of_a_sample_learns_from_it():
    layer = Projection(2, 3, rng=0, dtype=np.float64)
    layer.labels = np.array([1])
    layer.backward(layer.forward(np.array([[2.0, 3.0]])))
    assert not layer.grads["V"][[0, 2]].any()
    assert layer.grads["V"][1].all()


def test_labels_reach_all_layers_of_a_network_and_nothing_else():
    inner = Sequential(ConditionalScale(3, 2), ConcatLabels(2))
    network = Sequential(Dense(3, 3, rng=0), inner, Projection(5, 2, rng=0))
    set_labels(network, np.array([0, 1]))
    assert network(np.zeros((2, 3), np.float32)).shape == (2, 1)
    set_labels(network, None)
    with pytest.raises(ArgumentError, match=r"layer 1\.0 ConditionalScale\(3, 2\): which class is each sample of\?"):
        network(np.zeros((2, 3), np.float32))
    set_labels(Dense(3, 2), np.array([0]))


def test_on_every_backend(device):
    layer = ConditionalScale(2, 3)
    layer.labels = device.put(np.array([2, 1]))
    x = np.ones((2, 4, 2), np.float32)
    on_host = ConditionalScale(2, 3)
    on_host.labels = np.array([2, 1])
    np.testing.assert_array_equal(to_numpy(layer.to(device.name)(device.put(x))), on_host(x))


# ---- embedding -------------------------------------------------------------------------------------------------------


@given(classes=sizes, n_out=sizes, shape=st.lists(st.integers(1, 3), min_size=1, max_size=3), rng=rngs)
def test_embedding(classes, n_out, shape, rng):
    layer, x = Embedding(classes, n_out, rng=rng, dtype=np.float64), rng.integers(classes, size=shape)
    check_layer(layer, x, gradients=False)
    check_gradients(layer, x)
    y = layer(x)
    for place in np.ndindex(*shape):
        np.testing.assert_array_equal(y[place], layer.params["W"][x[place]])


def test_embedding_begins_a_network_and_has_no_second_order():
    network = Sequential(Embedding(4, 3, rng=0), Dense(3, 1, rng=0))
    y = network.forward(np.array([0, 3, 3]))
    assert network.backward(np.ones_like(y)) is None
    assert network.grads["0.W"][[0, 3]].any(axis=1).all()
    assert not network.grads["0.W"][[1, 2]].any()
    with pytest.raises(SecondOrderError, match="Embedding"):
        R1()(network, np.array([0, 1]), np.array([2, 3]), 0)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_refusals():
    layer = ConditionalScale(2, 3)
    for labels, error, says in (
        (np.array([0.0, 1.0]), DTypeError, r"integers, got float64; labels\.astype"),
        (np.array([[0], [1]]), ShapeError, r"expected labels \(N,\), one for each sample, got shape \(2, 1\)"),
        (np.array([], int), ShapeError, r"got shape \(0,\)"),
        (np.array([0, 3]), ArgumentError, r"3 classes, 0 to 2, but the labels go from 0 to 3\..*return_inverse"),
        (np.array([-1, 2]), ArgumentError, r"from -1 to 2"),
    ):
        with pytest.raises(error, match=says):
            layer.labels = labels
    assert layer.labels is None
    layer.labels = np.array([0, 1])
    for n in (1, 3):
        with pytest.raises(ShapeError, match=rf"{n} samples, but 2 labels; each sample needs one"):
            layer(np.ones((n, 2), np.float32))
    with pytest.raises(ShapeError, match=r"ConditionalScale\(2, 3\)|ConditionalScale: expected input \(N, \.\.\., 2\)"):
        layer(np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match=r"Projection: expected input \(N, 2\), got \(N, 2, 2\).*Flatten"):
        Projection(2, 3)(np.ones((1, 2, 2), np.float32))
    with pytest.raises(ArgumentError, match="4 classes, 0 to 3, but the labels go from 0 to 4"):
        Embedding(4, 2)(np.array([0, 4]))
    with pytest.raises(ArgumentError, match="set_labels: expected a network or a layer, got list"):
        set_labels([layer], np.array([0]))
    for kind in (ConcatLabels, lambda n: ConditionalScale(2, n), lambda n: Projection(2, n), lambda n: Embedding(n, 2)):
        with pytest.raises(ArgumentError, match="classes must be a whole number"):
            kind(0)
