"""R1, R2 and the gradient penalties against PyTorch's double backward: values, and every parameter's gradient."""

import numpy as np
import pytest

from tinygan import Sequential
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    LayerNorm,
    LeakyReLU,
    SiLU,
    Softplus,
    SpectralNorm,
    Tanh,
)
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.testing.strategies import enliven

torch = pytest.importorskip("torch")
F = torch.nn.functional
f8 = {"dtype": np.float64}

#: Each with ``points(real, fake, ε)`` and ``value(norms)``, as the papers write them.
PENALTIES = {
    "R1": (R1(3.0), lambda real, fake, e: real, lambda r: 1.5 * (r**2).mean()),
    "R2": (R2(0.7), lambda real, fake, e: fake, lambda r: 0.35 * (r**2).mean()),
    "two-sided": (
        GradientPenalty(),
        lambda real, fake, e: e * real + (1.0 - e) * fake,
        lambda r: 10.0 * ((r - 1.0) ** 2).mean(),
    ),
    "one-sided": (
        GradientPenalty(2.0, one_sided=True),
        lambda real, fake, e: e * real + (1.0 - e) * fake,
        lambda r: 2.0 * ((r - 1.0).clamp(min=0.0) ** 2).mean(),
    ),
    "zero-centred": (
        GradientPenalty(4.0, target=0.0),
        lambda real, fake, e: e * real + (1.0 - e) * fake,
        lambda r: 4.0 * (r**2).mean(),
    ),
}


def batch_norm_of_images():
    return (
        Conv2D(2, 4, 3, stride=2, padding=1, rng=1, **f8),
        BatchNorm(4, **f8),
        LeakyReLU(0.2),
        Conv2D(4, 3, 2, padding="valid", bias=False, rng=2, **f8),
        SiLU(),
        Flatten(),
        Dense(12, 1, rng=3, **f8),
    )


def up_and_down():
    return (
        ConvTranspose2D(2, 3, 3, stride=2, padding="valid", rng=1, **f8),
        ELU(0.7),
        Conv2D(3, 4, 3, stride=2, padding=((0, 1), (1, 0)), rng=2, **f8),
        LayerNorm(4, **f8),
        Softplus(),
        Flatten(),
        Dense(64, 1, bias=False, rng=3, **f8),
    )


def rows():
    return (
        Dense(5, 8, rng=1, **f8),
        LayerNorm(8, **f8),
        Tanh(),
        Dense(8, 6, bias=False, rng=2, **f8),
        BatchNorm(6, **f8),
        Softplus(),
        Dense(6, 6, rng=3, **f8),
        LeakyReLU(0.1),
        Dense(6, 1, rng=4, **f8),
    )


def smooth_rows():
    return Dense(5, 7, rng=1, **f8), SiLU(), Dense(7, 7, rng=2, **f8), Tanh(), Dense(7, 1, rng=3, **f8)


def spectral_rows():
    return (
        SpectralNorm(Dense(5, 8, rng=1, **f8), rng=5),
        SiLU(),
        SpectralNorm(Dense(8, 6, bias=False, rng=2, **f8), rng=6),
        Tanh(),
        Dense(6, 1, rng=3, **f8),
    )


def spectral_images():
    return (
        SpectralNorm(Conv2D(2, 4, 3, stride=2, padding=1, rng=1, **f8), rng=5),
        Softplus(),
        SpectralNorm(Conv2D(4, 3, 2, padding="valid", rng=2, **f8), rng=6),
        LeakyReLU(0.2),
        Flatten(),
        SpectralNorm(Dense(12, 6, rng=3, **f8), rng=7),
        Tanh(),
        Dense(6, 1, rng=4, **f8),
    )


CRITICS = {
    "BatchNorm of images": (batch_norm_of_images, (5, 5, 2)),
    "up and down": (up_and_down, (4, 4, 2)),
    "normalised rows": (rows, (5,)),
    "smooth rows": (smooth_rows, (5,)),
    "spectral rows": (spectral_rows, (5,)),
    "spectral images": (spectral_images, (5, 5, 2)),
}

ACTIVATIONS = {
    SiLU: lambda layer, a: F.silu(a),
    Softplus: lambda layer, a: F.softplus(a, threshold=1e9),  # past a threshold it would be linear
    ELU: lambda layer, a: F.elu(a, layer.alpha),
    Tanh: lambda layer, a: torch.tanh(a),
    LeakyReLU: lambda layer, a: F.leaky_relu(a, layer.slope),
}


def in_pytorch(layer, theta, a):
    """What ``layer`` computes of a (N, ..., C), by PyTorch's own functions; ``theta`` are its parameters there."""
    if isinstance(layer, SpectralNorm):
        W = theta["W"]
        M = W.reshape(-1, W.shape[-1])
        v = F.normalize(M.T @ torch.tensor(layer.buffers["u"]), dim=0)
        return in_pytorch(layer._inner, {**theta, "W": W / (M @ v).norm()}, a)  # one step of the iteration, from u
    if type(layer) in ACTIVATIONS:
        return ACTIVATIONS[type(layer)](layer, a)
    if isinstance(layer, Flatten):
        return a.flatten(1)
    if isinstance(layer, Dense):
        return F.linear(a, theta["W"].T, theta.get("b"))
    if isinstance(layer, LayerNorm):
        return F.layer_norm(a, a.shape[-1:], theta["gamma"], theta["beta"], eps=layer.eps)
    a = a.movedim(-1, 1)  # channels come second there
    if isinstance(layer, BatchNorm):
        a = F.batch_norm(a, None, None, theta["gamma"], theta["beta"], training=True, eps=layer.eps)
    elif isinstance(layer, ConvTranspose2D):
        assert layer.padding == "valid"
        a = F.conv_transpose2d(a, theta["W"].permute(3, 2, 0, 1), theta.get("b"), stride=layer.stride)
    else:
        (top, bottom), (left, right) = explicit(layer.padding)
        a = F.conv2d(F.pad(a, (left, right, top, bottom)), theta["W"].permute(3, 2, 0, 1), theta.get("b"), layer.stride)
    return a.movedim(1, -1)


def explicit(padding):
    if padding == "valid":
        padding = 0
    return ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("critic", CRITICS)
def test_value_and_gradients_agree_with_double_backward(critic, penalty):
    ours, points, value = PENALTIES[penalty]
    layers, shape = CRITICS[critic]
    D = enliven(Sequential(*layers()), np.random.default_rng(5))
    real, fake = np.random.default_rng(6).standard_normal((2, 6, *shape))
    for _ in range(2):  # the first leaves each SpectralNorm nearer to its σ, which changes the norms
        _, passed = D.apply(0.5 * (real + fake), True)
    norms = np.linalg.norm(D.input_gradient(passed, np.ones((6, 1))).reshape(6, -1), axis=1)
    D.layers[-1].params["W"][...] /= np.median(norms)  # some norms lie below 1 and some above

    theta = [{key: torch.tensor(p, requires_grad=True) for key, p in layer.params.items()} for layer in D.layers]
    epsilon = np.random.default_rng(7).random(len(real)).reshape(-1, *[1] * len(shape))
    x = points(torch.tensor(real), torch.tensor(fake), torch.tensor(epsilon)).requires_grad_()
    s = x
    for layer, of_layer in zip(D.layers, theta, strict=True):
        s = in_pytorch(layer, of_layer, s)
    (g,) = torch.autograd.grad(s.sum(), x, create_graph=True)
    norms = g.flatten(1).norm(dim=1)
    assert penalty != "one-sided" or 0 < (norms < 1.0).sum() < len(norms)
    expected = value(norms)
    flat = [p for of_layer in theta for p in of_layer.values()]
    gradients = torch.autograd.grad(expected, flat, allow_unused=True)  # the last bias has no part in it

    D.zero_grad()
    actual = ours(D, real, fake, np.random.default_rng(7))
    assert float(actual) == pytest.approx(float(expected.detach()), rel=1e-10)
    largest = max(float(wanted.abs().max()) for wanted in gradients if wanted is not None)
    for (key, grad), wanted in zip(D.grads.items(), gradients, strict=True):
        wanted = np.zeros_like(grad) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(grad, wanted, rtol=1e-8, atol=1e-10 * largest, err_msg=key)
