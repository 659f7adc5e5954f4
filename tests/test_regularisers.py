"""SpectralNorm, MinibatchStdDev and Pack: both orders of derivatives, forward, what is refused."""

import copy
import pickle

import counting
import naive_regularisers as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import Sequential, optim
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    MinibatchStdDev,
    Pack,
    Softplus,
    SpectralNorm,
    Tanh,
)
from tinygan.testing import check_layer, strategies
from tinygan.testing.strategies import batches, geometries, images, rngs

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
numbers = np.random.default_rng(0).standard_normal
f8 = {"dtype": np.float64}

#: One of each, and a batch for it.
KINDS = {
    "dense": (SpectralNorm(Dense(4, 3, rng=1, **f8)), numbers((4, 4))),
    "conv": (SpectralNorm(Conv2D(2, 3, 3, stride=2, rng=1, **f8)), numbers((4, 4, 5, 2))),
    "transposed": (SpectralNorm(ConvTranspose2D(2, 3, 4, stride=2, bias=False, rng=1, **f8)), numbers((4, 3, 2, 2))),
    "std": (MinibatchStdDev(), numbers((4, 3, 2, 2))),
    "pack": (Pack(2), numbers((4, 3, 2, 2))),
}
every_kind = pytest.mark.parametrize("name", KINDS)


# ---- derivatives, contract -----------------------------------------------------------------------------------------


@modes
@settings(max_examples=200)
@given(case=strategies.regularisers())
def test_gradients(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@modes
@settings(max_examples=150)
@given(case=strategies.regularisers())
def test_second_order(train, case):
    counting.check_second_order(case.layer, case.x, train=train, random=True)


@settings(max_examples=60)
@given(parts=st.integers(1, 3), m=st.integers(3, 5), pixels=st.sampled_from(((), (2, 1), (2, 3))), rng=rngs)
def test_both_orders_of_the_standard_deviation_of_parts(parts, m, pixels, rng):
    layer, x = MinibatchStdDev(eps=1e-3), rng.standard_normal((parts * m, *pixels, 2))
    layer.parts = parts
    counting.check_gradients(layer, x)
    counting.check_second_order(layer, x, random=True)


@every_kind
def test_the_contract(device, name):
    layer, x = KINDS[name]
    check_layer(layer.to(device.name) if device.name == "numpy" else layer.copy().to(device.name), device.put(x))


@pytest.mark.parametrize("shift", [0.0, 0.5], ids=["converged", "not converged"])
def test_the_gradient_is_that_of_what_was_computed_wherever_u_is(shift):
    """Both terms of ∂σ/∂W: without the second, the first case would pass and the other fail."""
    layer = naive.spectral(Dense(6, 4, **f8))
    for _ in range(50):
        layer.forward(numbers((2, 6)))
        layer.forget()
    layer.buffers["u"] += shift * numbers(6)
    counting.check_gradients(layer, numbers((3, 6)))


# ---- forward -------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(x=batches(), n_out=strategies.sizes, bias=st.booleans(), seed=st.integers(0, 99))
def test_spectral_norm_of_dense(x, n_out, bias, seed):
    naive.check_spectral_norm(naive.spectral(Dense(x.shape[1], n_out, bias=bias, **f8), seed=seed), x)


@pytest.mark.parametrize("transposed", [False, True])
@settings(max_examples=30)
@given(data=st.data(), c=st.integers(1, 3), seed=st.integers(0, 99))
def test_spectral_norm_of_convolutions(transposed, data, c, seed):
    kernel_size, stride, padding, hw = data.draw(geometries(transposed=transposed, largest=3))
    kind = ConvTranspose2D if transposed else Conv2D
    inner = kind(c, 2, kernel_size, stride=stride, padding=padding, **f8)
    naive.check_spectral_norm(
        naive.spectral(inner, seed=seed), data.draw(images(n=st.just(1), hw=st.just(hw), c=st.just(c)))
    )


@settings(max_examples=40)
@given(parts=st.integers(1, 3), m=st.integers(1, 4), x=images(n=st.just(12)), eps=st.sampled_from((1e-8, 0.1)))
def test_standard_deviation_of_a_minibatch(parts, m, x, eps):
    naive.check_minibatch_std(MinibatchStdDev(eps=eps), x[: parts * m], parts=parts)


@settings(max_examples=40)
@given(x=st.one_of(batches(n=st.just(12)), images(n=st.just(12))), m=st.sampled_from((1, 2, 3, 4, 6, 12)))
def test_packing(x, m):
    naive.check_pack(Pack(m), x)


def test_numbers_that_one_can_check_by_hand():
    x = np.array([[0.0, 5.0], [6.0, 5.0]])
    np.testing.assert_allclose(MinibatchStdDev(eps=1e-8)(x)[:, 2], (3.0 + 1e-4) / 2)  # of 0, 6: 3; of 5, 5: √eps
    np.testing.assert_array_equal(Pack(2)(x), [[0.0, 5.0, 6.0, 5.0]])
    layer = SpectralNorm(Dense(2, 2, **f8))
    layer.params["W"][...] = [[4.0, 0.0], [0.0, 2.0]]
    layer.buffers["u"][...] = [2.0, 0.0]  # any length will do
    np.testing.assert_allclose(layer(np.eye(2)), [[1.0, 0.0], [0.0, 0.5]])


def test_one_sample_has_no_deviation_and_its_gradient_passes_as_it_came():
    layer = MinibatchStdDev()
    y = layer.forward(np.ones((1, 3)))
    np.testing.assert_allclose(y, [[1.0, 1.0, 1.0, 1e-4]])
    np.testing.assert_array_equal(layer.backward(np.full((1, 4), 2.0)), np.full((1, 3), 2.0))


# ---- in networks ---------------------------------------------------------------------------------------------------


def network(**options):
    return Sequential(
        MinibatchStdDev(),
        SpectralNorm(Conv2D(3, 4, 3, stride=2, rng=1, **options)),
        Softplus(),
        SpectralNorm(ConvTranspose2D(4, 2, 2, stride=2, rng=2, **options)),
        Flatten(),
        SpectralNorm(Dense(32, 1, rng=3, **options), rng=4),
    )


def test_it_learns_in_a_network_and_its_arrays_are_views(device, tmp_path):
    net = network(dtype=np.float32).to(device.name)
    x = device.put(numbers((6, 4, 4, 2)).astype(np.float32))
    adam = optim.Adam(net, 0.01)
    for _ in range(3):
        y = net.forward(x)
        net.backward(y - 1.0, grads="write", need_dx=False)
        adam.step()
    assert set(net.buffers) == {"1.u", "3.u", "5.u"}
    expected = device.get(net(x))
    net.save(tmp_path / "net.safetensors")
    fresh = network(dtype=np.float32).to(device.name).load(tmp_path / "net.safetensors")
    others = [fresh, net.copy(), net.astype(np.float32)]
    if device.name == "numpy":
        others += [pickle.loads(pickle.dumps(net)), copy.deepcopy(net), net.copy().to("standin").to("numpy")]
    for other in others:
        np.testing.assert_array_equal(device.get(other(x)), expected)
        other.forward(x)
        other.backward(other(x), grads="write")
        other.theta[...] = 0.0
    np.testing.assert_array_equal(device.get(net(x)), expected)


def test_bound_layers_errors_and_summaries_name_the_place():
    net = network()
    with pytest.raises(ShapeError, match=r"layer 1 SpectralNorm\(Conv2D\(3, 4.*: expected input \(N, H, W, 3\)"):
        net.layers[1].forward(numbers((2, 4, 4, 5)).astype("f4"))
    assert "SpectralNorm(Dense(32, 1))" in net.summary((4, 4, 2))
    with pytest.raises(ArgumentError, match=r"layer 0 Dense\(3, 2\) is part of a network already"):
        SpectralNorm(Sequential(Dense(3, 2)).layers[0])


@pytest.mark.parametrize("wrong", [Tanh(), BatchNorm(3), Sequential(Dense(3, 2)), Dense, np.ones((3, 2)), None])
def test_other_layers_have_no_weights_to_divide(wrong):
    with pytest.raises(ArgumentError, match="SpectralNorm: expected a Dense, Conv2D or ConvTranspose2D"):
        SpectralNorm(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pack(0), "Pack: m must be a whole number of at least 1"),
        (lambda: Pack(2.0), "Pack: m must be a whole number"),
        (lambda: MinibatchStdDev(eps=0.0), "MinibatchStdDev: eps must be positive"),
        (lambda: SpectralNorm(Dense(2, 2), rng=-1), "rng must be"),
    ],
)
def test_settings_without_meaning(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(("layer", "n", "parts", "multiple"), [(Pack(3), 4, 1, 3), (Pack(2), 6, 2, 4)])
def test_batches_that_cannot_be_packed(layer, n, parts, multiple):
    layer = layer.copy()
    layer.parts = parts
    with pytest.raises(ShapeError, match=f"Pack: a batch of {n} samples.*cannot be split.*a multiple of {multiple}"):
        layer.forward(np.ones((n, 3)))


def test_parts_that_do_not_divide_a_batch():
    layer = MinibatchStdDev()
    layer.parts = 2
    with pytest.raises(ShapeError, match=r"MinibatchStdDev: a batch of 5 samples.*in 2 equal parts.*multiple of 2"):
        layer.forward(np.ones((5, 3)))
    assert layer(np.ones((5, 3))).shape == (5, 4)  # parts are for training


@pytest.mark.parametrize("kind", [MinibatchStdDev, Pack])
def test_a_class_with_another_forward_is_not_split_without_its_knowledge(kind):
    class Another(kind):
        def forward(self, x, *, train=True):
            return super().forward(x, train=train)

    class Knows(Another):
        parts = 1

        def forward(self, x, *, train=True):
            return super().forward(x, train=train)

    assert (kind.parts, Another.parts, Knows.parts) == (1, None, 1)


def test_sizes_not_known_stay_so():
    assert Pack(3).output_shape((None, None, None)) == (None, None, None)
    assert Pack(3).output_shape((None, 5, 2)) == (None, 5, 6)
    assert MinibatchStdDev().output_shape((None,)) == (None,)
    assert SpectralNorm(Conv2D(2, 3, 3, stride=2)).output_shape((None, 5, 2)) == (None, 3, 3)
