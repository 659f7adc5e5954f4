"""Tangents and second order of every layer and of random networks; PyTorch's double backward as an extra oracle."""

import counting
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import Sequential, models, threads
from tinygan.errors import DTypeError, PassError, SecondOrderError, ShapeError, UndecidedError
from tinygan.kernels import elementwise
from tinygan.layers import BatchNorm, Conv2D, Dense, Flatten, Layer, LayerNorm, LeakyReLU, ReLU, SiLU, Softplus, Tanh
from tinygan.layers.standardized import along, curvature
from tinygan.testing import strategies

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
numbers = np.random.default_rng(0).standard_normal


# ---- every layer, random networks ----------------------------------------------------------------------------------


@modes
@settings(max_examples=300)
@given(case=strategies.layers())
def test_second_order_of_every_layer(train, case):
    counting.check_second_order(case.layer, case.x, train=train, random=True)


@settings(max_examples=120)
@given(case=strategies.layers())
def test_second_order_on_every_backend(device, case):
    counting.check_second_order(case.layer.to(device.name), device.put(case.x), exhaustive=20, random=True)


@modes
@settings(max_examples=200)
@given(case=strategies.networks())
def test_second_order_of_random_networks(train, case):
    counting.check_second_order(case.layer, case.x, train=train, exhaustive=20, random=True)


@settings(max_examples=40)
@given(parts=st.integers(1, 3), eps=st.sampled_from((1e-3, 0.1)), rng=strategies.rngs)
def test_batch_norm_in_parts(parts, eps, rng):
    layer = strategies.enliven(BatchNorm(2, eps=eps, dtype=np.float64), rng)
    layer.parts = parts
    counting.check_second_order(layer, rng.standard_normal((4 * parts, 2)))


@given(m=st.integers(2, 40), c=st.integers(1, 5), offset=st.sampled_from((0.0, 3.0)), rng=strategies.rngs)
def test_batch_norm_in_blocks(m, c, offset, rng):
    """Block by block, on however many cores, what equations (1) and (2) say of the whole array."""
    x, v, g = rng.standard_normal((3, m, c)) + offset
    layer = strategies.enliven(BatchNorm(c, eps=0.1, dtype=np.float64), rng)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "BLOCK", 16)
        patch.setattr(elementwise, "WIDE", 5)
        for cores in (1, 2, 5):
            patch.setattr(threads, "workers", lambda cores=cores: cores)
            layer.zero_grad()
            layer.forward(x)
            found.append((layer.tangent(v), layer.second_order(v, g), layer.grads["gamma"].copy()))
            layer.forget()
    inv_std = 1.0 / np.sqrt(x.var(axis=0, keepdims=True) + layer.eps)
    xhat, gamma = (x - x.mean(axis=0)) * inv_std, layer.params["gamma"]
    t = along(xhat, inv_std, v, axis=0)
    expected = (gamma * t, curvature(xhat, inv_std, gamma * g, v, axis=0), (g * t).sum(axis=0))
    for one, other in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    assert len({b"".join(a.tobytes() for a in arrays) for arrays in found}) == 1


@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan", "dcgan", "dcgan64"])
def test_second_order_of_every_discriminator(name):
    sizes = {"d_hidden": (5, 4)} if name == "mlp" else {"width": 2}
    _, D = getattr(models, name)((8, 8, 1), dtype=np.float64, **sizes)
    counting.check_second_order(D, numbers((3, 8, 8, 1)), exhaustive=10)


def test_networks_in_networks():
    inner = Sequential(Dense(3, 4, rng=1, dtype=np.float64), Tanh(), LayerNorm(4, dtype=np.float64))
    network = Sequential(inner, SiLU(), Dense(4, 2, rng=2, dtype=np.float64), Softplus())
    counting.check_second_order(network, numbers((4, 3)))


class Residual(Sequential):
    """y = x + f(x), with both passes and both orders: what a user's own block needs."""

    def forward(self, x, *, train=True):
        return x + super().forward(x, train=train)

    def backward(self, dy, *, grads="add", need_dx=True):
        dx = super().backward(dy, grads=grads, need_dx=need_dx)
        return dy + dx if need_dx else None

    def tangent(self, v):
        return v + super().tangent(v)

    def second_order(self, v, g, **options):
        return super().second_order(v, g, **options)


def test_a_residual_block_of_ones_own():
    block = Residual(Dense(3, 5, rng=1, dtype=np.float64), Softplus(), Dense(5, 3, rng=2, dtype=np.float64))
    counting.check_second_order(Sequential(block, Tanh(), Dense(3, 1, rng=3, dtype=np.float64)), numbers((4, 3)))


# ---- what is saved, what is refused ----------------------------------------------------------------------------------


class Counted(Dense):
    calls = 0

    def backward(self, dy, *, grads="add", need_dx=True):
        Counted.calls += 1
        return super().backward(dy, grads=grads, need_dx=need_dx)


@pytest.mark.parametrize("smooth", [LeakyReLU, Softplus])
def test_the_backward_of_a_loss_along_the_way_gives_its_dx_too(smooth):
    f8 = {"dtype": np.float64}
    network = Sequential(Dense(3, 4, rng=1, **f8), smooth(), Dense(4, 1, rng=2, **f8))
    x, v, dy = numbers((5, 3)), numbers((5, 3)), numbers((5, 1))
    network.zero_grad()
    network.forward(x)
    found = network.second_order(v, np.ones((5, 1)), dy=dy)
    grad = network.grad.copy()
    network.zero_grad()
    bend = network.second_order(v, np.ones((5, 1)))
    expected = network.backward(dy)
    expected = expected if bend is None else expected + bend
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(grad, network.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("smooth", "passes"), [(LeakyReLU, 0), (Softplus, 1)])
def test_piecewise_linear_networks_skip_the_last_pass_down(smooth, passes):
    network = Sequential(Counted(3, 4, rng=1), smooth(), Counted(4, 1, rng=2))
    x = numbers((5, 3)).astype("f4")
    gradients = (network.forward(x), network.input_gradients(np.ones((5, 1), "f4")))[1]
    Counted.calls = 0
    network.second_order(x, gradients[-1], gradients=gradients, need_dx=False)
    assert Counted.calls == passes  # below the activation, once


def test_no_gradients_change_on_the_way_up_and_down():
    network = Sequential(Dense(3, 4, rng=1), Tanh(), BatchNorm(4), Dense(4, 1, rng=2))
    network.grad[...] = 7.0
    network.forward(numbers((5, 3)).astype("f4"))
    network.tangent(numbers((5, 3)).astype("f4"))
    network.input_gradients(np.ones((5, 1), "f4"))
    assert (network.grad == 7.0).all()


class Square(Layer):
    def forward(self, x, *, train=True):
        return self._remember(x * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        return 2.0 * x * dy


class Shifted(Dense):
    def forward(self, x, *, train=True):
        return super().forward(x + 1.0, train=train)


class Doubled(Sequential):
    def forward(self, x, *, train=True):
        return 2.0 * super().forward(x, train=train)


@pytest.mark.parametrize(
    "layer",
    [Square(), Shifted(3, 3, dtype=np.float64), Doubled(Dense(3, 3, dtype=np.float64))],
    ids=["own", "of", "net"],
)
def test_a_layer_without_second_order_says_so(layer):
    """One of another forward has lost the tangent that it would inherit: that would be wrong without a word."""
    network = Sequential(Dense(3, 3, dtype=np.float64), layer)
    network.forward(numbers((4, 3)))
    with pytest.raises(SecondOrderError, match=r"layer 1 .*: a gradient penalty differentiates.*no tangent\(v\)"):
        network.tangent(numbers((4, 3)))
    with pytest.raises(SecondOrderError, match=r"no second_order\(v, g\).*check_second_order"):
        layer.second_order(numbers((4, 3)), numbers((4, 3)))


@settings(max_examples=60)
@given(case=strategies.layers())
def test_tangents_need_one_open_pass_and_arrays_that_fit(case):
    layer, x = case.layer, case.x
    v = np.ones_like(x)
    with pytest.raises(PassError):
        layer.tangent(v)
    y = layer.forward(x)
    for bad, error in ((v[..., None], ShapeError), (v.astype(np.float32), DTypeError)):
        with pytest.raises(error, match="expected v of the"):
            layer.tangent(bad)
    assert layer.tangent(v).shape == y.shape
    layer.forward(x)
    with pytest.raises(PassError):
        layer.tangent(v)


# ---- PyTorch -------------------------------------------------------------------------------------------------------


def test_second_order_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    network = Sequential(
        Conv2D(2, 3, 3, stride=2, rng=1, dtype=np.float64),
        SiLU(),
        Flatten(),
        Dense(12, 6, rng=2, dtype=np.float64),
        LayerNorm(6, dtype=np.float64),
        ReLU(),
        Dense(6, 1, rng=3, dtype=np.float64),
    )
    x, v = numbers((3, 4, 4, 2)), numbers((3, 4, 4, 2))
    theta = {key: torch.tensor(p, requires_grad=True) for key, p in network.params.items()}

    a = torch.nn.functional.pad(torch.tensor(x, requires_grad=True).permute(0, 3, 1, 2), (0, 1, 0, 1))
    start = a
    a = torch.nn.functional.conv2d(a, theta["0.W"].permute(3, 2, 0, 1), theta["0.b"], stride=2)
    a = torch.nn.functional.silu(a).permute(0, 2, 3, 1).reshape(3, 12) @ theta["3.W"] + theta["3.b"]
    a = torch.nn.functional.layer_norm(a, (6,), theta["4.gamma"], theta["4.beta"], eps=1e-5).relu()
    s = a @ theta["6.W"] + theta["6.b"]
    (g,) = torch.autograd.grad(s.sum(), start, create_graph=True)
    along = (g[:, :, :4, :4] * torch.tensor(v).permute(0, 3, 1, 2)).sum()
    expected = torch.autograd.grad(along, list(theta.values()), allow_unused=True)

    network.zero_grad()
    network.forward(x)
    network.second_order(v, np.ones((3, 1)), need_dx=False)
    for (key, grad), wanted in zip(network.grads.items(), expected, strict=True):
        wanted = np.zeros_like(grad) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(grad, wanted, rtol=1e-9, atol=1e-12, err_msg=key)


def test_a_kink_is_undecided():
    with pytest.raises(UndecidedError, match="kink"):
        counting.check_second_order(ReLU(), np.zeros((2, 2)))
