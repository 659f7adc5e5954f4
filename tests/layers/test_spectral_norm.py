"""SpectralNorm: both orders of derivatives, its u, its σ, weights of zero, and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import svdvals
from support import counting
from support import naive_regularisers as naive

from tinygan import Sequential, to_numpy
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, SpectralNorm, Tanh
from tinygan.penalties.rules import rule_of
from tinygan.testing import strategies
from tinygan.testing.strategies import batches, geometries, images

numbers = np.random.default_rng(0).standard_normal
f8 = {"dtype": np.float64}
modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


@modes
@settings(max_examples=100)
@given(case=strategies.spectral_norms())
def test_gradients(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@modes
@settings(max_examples=80)
@given(case=strategies.spectral_norms())
def test_second_order(train, case):
    counting.check_second_order(case.layer, case.x, train=train, random=True)


@pytest.mark.parametrize("shift", [0.0, 0.5], ids=["converged", "not converged"])
def test_the_gradient_is_that_of_what_was_computed_wherever_u_is(shift):
    """Both terms of ∂σ/∂W: without the second, the first case would pass and the other fail."""
    layer = naive.spectral(Dense(6, 4, **f8))
    for _ in range(50):
        layer.forward(numbers((2, 6)))
        layer.forget()
    layer.buffers["u"] += shift * numbers(6)
    counting.check_gradients(layer, numbers((3, 6)))


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


def test_numbers_that_one_can_check_by_hand():
    layer = SpectralNorm(Dense(2, 2, **f8))
    layer.params["W"][...] = [[4.0, 0.0], [0.0, 2.0]]
    layer.buffers["u"][...] = [2.0, 0.0]  # any length will do
    np.testing.assert_allclose(layer(np.eye(2)), [[1.0, 0.0], [0.0, 0.5]])


@pytest.mark.parametrize("inner", [Dense(20, 10), Conv2D(8, 16, 3), ConvTranspose2D(16, 8, 3)], ids=repr)
def test_sigma_is_close_from_the_start_and_never_above(inner):
    layer = SpectralNorm(inner, rng=3)
    W = layer.params["W"]
    np.testing.assert_array_equal(W, inner.params["W"])
    actual = float(layer.normalise(train=False).sigma)
    largest = svdvals(W.reshape(-1, W.shape[-1]))[0]
    assert 0.95 * largest < actual <= 1.00001 * largest


def test_only_training_moves_u_and_both_modes_compute_the_same():
    layer, x = naive.spectral(Dense(5, 4, **f8)), numbers((3, 5))
    before = layer.buffers["u"].copy()
    looked = layer(x)
    np.testing.assert_array_equal(layer.buffers["u"], before)
    np.testing.assert_array_equal(layer.forward(x), looked)
    assert (layer.buffers["u"] != before).any()
    assert np.linalg.norm(layer.buffers["u"]) == pytest.approx(1.0)


def test_a_refused_batch_does_not_move_u():
    layer = naive.spectral(Dense(5, 4, **f8))
    before = layer.buffers["u"].copy()
    with pytest.raises(ShapeError, match=r"SpectralNorm: expected input \(N, 5\), got \(N, 3\)"):
        layer.forward(numbers((2, 3)))
    np.testing.assert_array_equal(layer.buffers["u"], before)


def test_different_seeds_start_apart_and_equal_ones_alike():
    u = [SpectralNorm(Dense(9, 8, rng=0), rng=seed).buffers["u"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(u[0], u[1])
    assert (u[0] != u[2]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_zero_make_no_nan_and_do_not_spoil_u(device, dtype):
    layer = SpectralNorm(Dense(4, 3, dtype=dtype)).to(device.name)
    x, dy = device.put(numbers((5, 4)).astype(dtype)), device.put(numbers((5, 3)).astype(dtype))
    layer.params["W"][...] = 0.0
    before = device.get(layer.buffers["u"]).copy()
    y, cache = layer.apply(x, True)
    assert not device.get(y).any()
    rule_of(layer).add(layer, cache, x, dy)
    assert not device.get(layer.backprop(cache, dy)).any()
    np.testing.assert_array_equal(device.get(layer.buffers["u"]), before)
    dW = to_numpy(x).T @ to_numpy(dy)
    np.testing.assert_allclose(device.get(layer.grads["W"]), 2.0 * dW, rtol=1e-5)  # σ = 1 has taken its place
    layer.params["W"][...] = device.put(numbers((4, 3)).astype(dtype))
    assert np.isfinite(device.get(layer.forward(x))).all()
    assert np.isfinite(device.get(layer.backward(dy))).all()


def test_scaling_the_weights_changes_nothing():
    layer, x = naive.spectral(Dense(5, 4, bias=False, **f8)), numbers((3, 5))
    before = layer(x)
    layer.params["W"] *= 1e-7
    np.testing.assert_allclose(layer(x), before, rtol=1e-9)


def test_a_wrapped_layer_is_copied():
    inner = Dense(3, 2, rng=1)
    layer = SpectralNorm(inner)
    layer.params["W"][...] = 7.0
    assert (inner.params["W"] != 7.0).all()
    assert layer.input_shape == (3,)
    assert repr(layer) == "SpectralNorm(Dense(3, 2))"
    assert repr(SpectralNorm(Dense(3, 2, bias=False))) == "SpectralNorm(Dense(3, 2, bias=False))"


@pytest.mark.parametrize("wrong", [Tanh(), BatchNorm(3), Sequential(Dense(3, 2)), Dense, np.ones((3, 2)), None])
def test_other_layers_have_no_weights_to_divide(wrong):
    with pytest.raises(ArgumentError, match="SpectralNorm: expected a Dense, Conv2D or ConvTranspose2D"):
        SpectralNorm(wrong)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_norm_agrees_with_pytorch(kind):
    """Once u has converged; there v and û are constants, which only then makes no difference."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils.parametrizations import spectral_norm

    if kind == "dense":
        ours, theirs = Dense(5, 4, **f8), torch.nn.Linear(5, 4).double()
        x = numbers((3, 5))
    else:
        ours, theirs = Conv2D(2, 4, 3, padding="valid", **f8), torch.nn.Conv2d(2, 4, 3).double()
        x = numbers((3, 5, 4, 2))
    ours = naive.spectral(ours)
    ours.params["b"][...] = numbers(4)
    W = ours.params["W"]
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(W.T if kind == "dense" else W.transpose(3, 2, 0, 1)))
        theirs.bias.copy_(torch.tensor(ours.params["b"]))
    theirs = spectral_norm(theirs, n_power_iterations=60).train()
    for _ in range(60):
        ours.forward(x)
        ours.forget()
    a = torch.tensor(x if kind == "dense" else x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    expected = theirs(a)
    y = ours.forward(x)
    dy = numbers(y.shape)
    expected.backward(torch.tensor(dy if kind == "dense" else dy.transpose(0, 3, 1, 2).copy()))
    dx = ours.backward(dy)
    pairs = [(expected, y), (a.grad, dx)]
    expected = theirs.parametrizations.weight.original.grad
    for theirs_, mine in pairs:
        actual = theirs_.detach().numpy()
        np.testing.assert_allclose(
            actual if kind == "dense" else actual.transpose(0, 2, 3, 1), mine, rtol=1e-9, atol=1e-9
        )
    expected = expected.numpy().T if kind == "dense" else expected.numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(ours.grads["W"], expected, rtol=1e-8, atol=1e-9)
