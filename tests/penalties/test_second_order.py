"""Tangents and second order of every layer and of random networks; PyTorch's double backward as an extra oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting

from tinygan import Sequential, models
from tinygan.backends.cpu import blocks, threads
from tinygan.backends.cpu.layers import FastBatchNorm
from tinygan.errors import UndecidedError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    LayerNorm,
    LeakyReLU,
    MinibatchStdDev,
    ReLU,
    SiLU,
    Softplus,
    Tanh,
)
from tinygan.penalties import register
from tinygan.penalties.derivative import down, second_order_down, steps_of, up
from tinygan.penalties.rules import RULES, rule_of
from tinygan.penalties.standardized import along, curvature
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


@modes
@settings(max_examples=60)
@given(case=strategies.layers())
def test_second_order_of_what_runs_in_a_network(train, case):
    """The links of the backend, with rules or caches of their own, in the place of the layers."""
    counting.check_second_order(Sequential(case.layer), case.x, train=train, exhaustive=20, random=True)


class Joined(Sequential):
    """A network that is shown several batches at once."""

    def apply(self, x, train, batches=None):
        return super().apply(x, train, batches or self.joined)


register(Joined, like=Sequential)


@pytest.mark.parametrize("within", [False, True], ids=["a layer", "a network"])
@settings(max_examples=40)
@given(
    batches=st.integers(1, 3),
    eps=st.sampled_from((1e-3, 0.1)),
    kind=st.sampled_from((BatchNorm, MinibatchStdDev)),
    rng=strategies.rngs,
)
def test_batches_that_are_joined(device, within, batches, eps, kind, rng):
    layer = BatchNorm(2, eps=eps, dtype=np.float64) if kind is BatchNorm else MinibatchStdDev(eps=eps)
    inside = [Sequential(layer, SiLU())] if within else [layer]
    network = strategies.enliven(Joined(*inside), rng).to(device.name)
    network.joined = batches
    counting.check_second_order(network, device.put(rng.standard_normal((4 * batches, 2))), exhaustive=12, random=True)


@given(m=st.integers(2, 40), c=st.integers(1, 5), offset=st.sampled_from((0.0, 3.0)), rng=strategies.rngs)
def test_batch_norm_in_blocks(m, c, offset, rng):
    """Block by block, on however many cores, what equations (1) and (2) say of the whole array."""
    x, v, g = rng.standard_normal((3, m, c)) + offset
    layer = strategies.enliven(BatchNorm(c, eps=0.1, dtype=np.float64), rng)
    link, actual = FastBatchNorm(layer), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 16)
        patch.setattr(blocks, "WIDE", 5)
        for cores in (1, 2, 5):
            patch.setattr(threads, "workers", lambda cores=cores: cores)
            layer.zero_grad()
            _, cache = link.apply(x, True)
            u, dx = link.input_gradient(cache, v), rule_of(link).add(link, cache, v, g)
            actual.append((u, dx, layer.grads["gamma"].copy()))
    inv_std = 1.0 / np.sqrt(x.var(axis=0, keepdims=True) + layer.eps)
    xhat, gamma = (x - x.mean(axis=0)) * inv_std, layer.params["gamma"]
    t = along(xhat, inv_std, v, axis=0)
    expected = (gamma * t, curvature(xhat, inv_std, gamma * g, v, axis=0), (g * t).sum(axis=0))
    for one, other in zip(actual[0], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    assert len({b"".join(a.tobytes() for a in arrays) for arrays in actual}) == 1


@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan", "dcgan", "dcgan64", "resnet"])
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

    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return x + y, passed

    def input_gradient(self, passed, dy):
        return dy + super().input_gradient(passed, dy)

    def backprop(self, passed, dy, add=True):
        return dy + super().backprop(passed, dy, add)


of_network = RULES[Sequential]
register(
    Residual,
    tangent=lambda block, passed, v: v + of_network.tangent(block, passed, v),
    second_order=of_network.second_order,
)


def test_a_residual_block_of_ones_own():
    block = Residual(Dense(3, 5, rng=1, dtype=np.float64), Softplus(), Dense(5, 3, rng=2, dtype=np.float64))
    counting.check_second_order(Sequential(block, Tanh(), Dense(3, 1, rng=3, dtype=np.float64)), numbers((4, 3)))


# ---- what is saved, what is refused ----------------------------------------------------------------------------------


class Counted(Dense):
    calls = 0

    def gradients(self, x, dy):
        Counted.calls += 1
        return super().gradients(x, dy)


register(Counted, like=Dense)


def passes(network, x, v, g):
    """A pass, and what goes up and down through it."""
    steps = steps_of(network.apply(x, True)[1])
    return steps, up(steps, v), down(steps, g)


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("smooth", [LeakyReLU, Softplus])
def test_the_backward_of_a_loss_along_the_way_gives_its_dx_too(smooth, alone, add):
    f8 = {"dtype": np.float64}
    network = Sequential(Dense(3, 4, rng=1, **f8), smooth(), Dense(4, 1, rng=2, **f8))
    x, v, dy = numbers((5, 3)), numbers((5, 3)), numbers((5, 1))
    through = passes(network, x, v, np.ones((5, 1)))
    network.grad[...] = 0.0 if add else 7.0
    actual = second_order_down(*through, dy, alone=alone, add=add, input_too=True)
    grad = network.grad.copy()
    network.zero_grad()
    bend = second_order_down(*through, input_too=True)
    network.forward(x)
    expected = network.backward(dy)
    expected = expected if bend is None else expected + bend
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(grad, network.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("smooth", "calls"), [(LeakyReLU, 0), (Softplus, 1)])
def test_piecewise_linear_networks_skip_the_last_pass_down(smooth, calls):
    network = Sequential(Counted(3, 4, rng=1), smooth(), Counted(4, 1, rng=2))
    x = numbers((5, 3)).astype("f4")
    through = passes(network, x, x, np.ones((5, 1), "f4"))
    Counted.calls = 0
    assert second_order_down(*through) is None
    assert Counted.calls == calls  # below the activation, once


def test_nothing_is_done_below_the_lowest_parameters():
    class Refuses(Tanh):
        def gradients(self, cache, dy):
            assert not self.closed
            return super().gradients(cache, dy)

    register(Refuses, like=Tanh)
    first = Refuses()
    network = Sequential(first, Flatten(), Dense(3, 4, rng=1, dtype=np.float64), SiLU(), Dense(4, 1, dtype=np.float64))
    first.closed = False
    through = passes(network, numbers((5, 3)), numbers((5, 3)), np.ones((5, 1)))
    first.closed = True
    second_order_down(*through)
    second_order_down(*through, numbers((5, 1)), add=False)


def test_no_gradients_change_on_the_way_up_and_down():
    network = Sequential(Dense(3, 4, rng=1), Tanh(), BatchNorm(4), Dense(4, 1, rng=2))
    network.grad[...] = 7.0
    passes(network, *numbers((2, 5, 3)).astype("f4"), np.ones((5, 1), "f4"))
    assert (network.grad == 7.0).all()


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
    second_order_down(*passes(network, x, v, np.ones((3, 1))))
    for (key, grad), wanted in zip(network.grads.items(), expected, strict=True):
        wanted = np.zeros_like(grad) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(grad, wanted, rtol=1e-9, atol=1e-12, err_msg=key)


def test_a_kink_is_undecided():
    with pytest.raises(UndecidedError, match="kink"):
        counting.check_second_order(ReLU(), np.zeros((2, 2)))
