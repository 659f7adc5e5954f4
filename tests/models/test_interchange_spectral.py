"""SpectralNorm and PyTorch's spectral_norm: what of them is the same, and the refusal of what is not."""

import copy

import numpy as np
import pytest
from support.both_sides import close, here, there

from tinygan import Sequential, interchange, layers, models
from tinygan.errors import ArgumentError

torch = pytest.importorskip("torch")
nn = torch.nn
spectral_norm = nn.utils.parametrizations.spectral_norm

f8 = {"dtype": np.float64}


def dense(n_in, n_out, seed=0):
    return layers.Dense(n_in, n_out, rng=seed, **f8)


def conv(c_in, c_out, k=3):
    return layers.Conv2D(c_in, c_out, k, rng=0, **f8)


def values(shape):
    return np.random.default_rng(0).standard_normal((5, *shape))


CASES = {
    "dense": ([dense(4, 3)], (4,)),
    "conv": ([conv(2, 3, (3, 2))], (4, 3, 2)),
    "padded by hand": ([layers.Conv2D(2, 3, 4, rng=0, **f8)], (4, 3, 2)),
    "transposed": ([layers.ConvTranspose2D(2, 3, (4, 3), stride=2, rng=0, **f8)], (4, 3, 2)),
    "no bias": ([layers.Conv2D(2, 1, 3, bias=False, rng=0, **f8)], (4, 3, 2)),
    "in several orders": (
        [dense(4, 12), layers.BatchNorm(12, **f8), layers.Reshape(2, 2, 3), conv(3, 2), layers.Flatten(),
         models.Residual(dense(8, 8), layers.Tanh(), dense(8, 8, 1)), dense(8, 1)], (4,)),
}  # fmt: skip


def normalised(layer, rng):
    """With a spectral norm around all that may have one; u as it may be in training: not settled, of any length."""
    if isinstance(layer, Sequential):
        return type(layer)(*(normalised(inner, rng) for inner in layer))
    if not isinstance(layer, layers.Dense | layers.Conv2D | layers.ConvTranspose2D):
        return layer.copy()
    layer = layers.SpectralNorm(layer.copy(), rng=rng)
    layer.buffers["u"][...] = 3.0 * rng.standard_normal(layer.buffers["u"].shape)
    return layer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_a_spectral_norm_that_has_not_settled(name, dtype):
    """Both modes begin with the same numbers, and so does each batch of training."""
    parts, shape = CASES[name]
    network = normalised(Sequential(*(layer.copy() for layer in parts)), np.random.default_rng(3)).astype(dtype)
    x, tolerance = values(shape).astype(dtype), 1e-12 if dtype == np.float64 else 1e-5
    module = interchange.to_pytorch(network, shape)
    close(here(module(there(x))), network(x), tolerance)
    back = interchange.from_pytorch(module, shape)
    close(back(x), network(x), tolerance)
    t = there(x).requires_grad_()
    for _ in range(3):
        out, y = module.train()(t), network.forward(x)
        close(here(out), y, tolerance)
        out.sum().backward()
        close(here(t.grad), network.backward(np.ones_like(y)), 10 * tolerance)
        close(back.forward(x), y, tolerance)
        t.grad, _ = None, back.forget()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_spectral_norm_that_has_settled_has_the_same_gradients(name, train):
    parts, shape = CASES[name]
    network = normalised(Sequential(*(layer.copy() for layer in parts)), np.random.default_rng(3))
    x = values(shape)
    for part in (part for layer in network for part in (layer, *getattr(layer, "layers", ()))):
        for _ in range(2000 if isinstance(part, layers.SpectralNorm) else 0):
            part.normalise(train=True)
    module = interchange.to_pytorch(network, shape)
    module.train(train)
    y, out = network.forward(x, train=train), module(there(x))
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    network.backward(dy)
    out.backward(there(dy))
    with torch.no_grad():  # every gradient by way of a step
        for parameter in module.parameters():
            parameter -= 0.1 * parameter.grad
    network.theta[...] -= 0.1 * network.grad
    close(here(module.train()(there(x))), network.forward(x), 1e-10)
    with torch.no_grad():  # and back when u and v have followed
        for part in module.modules():
            for _ in range(3000 if nn.utils.parametrize.is_parametrized(part) else 0):
                _ = part.weight
    back = interchange.from_pytorch(module.eval(), shape)
    close(back(x), here(module(there(x))), 1e-11)
    close(back.forward(x), here(module.train()(there(x))), 1e-11)


def test_reading_a_spectral_norm_does_not_move_it():
    network = normalised(Sequential(dense(4, 3)), np.random.default_rng(3))
    module = interchange.to_pytorch(network).train()
    before = copy.deepcopy(module.state_dict())
    interchange.from_pytorch(module)
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_weight_of_nothing_is_refused():
    layer = layers.SpectralNorm(dense(3, 3))
    network = Sequential(layer)
    layer.params["W"][...] = 0.0
    with pytest.raises(ArgumentError, match=r"layer 0 SpectralNorm.*its W is 0 or close to it"):
        interchange.to_pytorch(network)
    layer.params["W"][...] = np.eye(3)
    module = interchange.to_pytorch(network)
    with torch.no_grad():
        module[0].parametrizations.weight.original.zero_()
    with pytest.raises(ArgumentError, match=r"0 ParametrizedLinear.*its weight is 0 or close to it"):
        interchange.from_pytorch(module)


def hooked():
    module = spectral_norm(nn.Linear(4, 4))
    module.parametrizations.weight[0].register_forward_hook(lambda module, given, y: 2.0 * y)
    return module


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: spectral_norm(nn.Linear(4, 4)), "0 ParametrizedLinear.*takes one step more, to .* Let them settle"),
        (
            lambda: spectral_norm(nn.Linear(4, 4), n_power_iterations=2),
            "n_power_iterations=2 has no counterpart",
        ),
        (lambda: spectral_norm(nn.ConvTranspose2d(2, 2, 3)), "dim=1 has no counterpart here; dim=0 has"),
        (lambda: spectral_norm(spectral_norm(nn.Linear(4, 4))), "its weight is computed"),
        (hooked, "it has hooks"),
        (lambda: spectral_norm(nn.Linear(4, 4), "bias"), "its bias is computed"),
        (lambda: spectral_norm(nn.Embedding(4, 4)), "0 ParametrizedEmbedding.*its weight is computed"),
    ],
)
def test_modules_that_are_refused(make, says):
    torch.manual_seed(0)
    with pytest.raises(ArgumentError, match=says):
        interchange.from_pytorch(nn.Sequential(make()))


def test_one_of_pytorch_is_read_once_it_has_settled():
    torch.manual_seed(0)
    module = nn.Sequential(spectral_norm(nn.Linear(6, 4)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(4, 1))).double()
    for _ in range(1000):
        _ = module[0].weight, module[2].weight
    x = values((6,))
    network = interchange.from_pytorch(module.eval())
    close(network(x), here(module(there(x))))
    close(network.forward(x), here(module.train()(there(x))))
