"""A network here and as a module of PyTorch, and whether they compute the same. Importing it needs PyTorch."""

import copy

import numpy as np
import pytest

from tinygan import interchange
from tinygan.layers import set_labels

torch = pytest.importorskip("torch")


def there(x):
    """An array as PyTorch takes it: images with their channels first."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))


def here(t):
    a = t.detach().numpy()
    return a.transpose(0, 2, 3, 1) if a.ndim == 4 else a


def close(a, b, tolerance=1e-12):
    assert a.shape == b.shape
    assert np.linalg.norm(a - b) <= tolerance * (1.0 + np.linalg.norm(b))


def check(network, x, labels=None, tolerance=1e-12):
    """Outputs in both modes, dx, every gradient, running statistics, and the way back."""
    shape = None if network.takes_integers else x.shape[1:]
    told = () if labels is None else (torch.from_numpy(labels),)
    set_labels(network, labels)
    module = interchange.to_pytorch(network, shape)
    close(here(module(there(x), *told)), network(x), tolerance)
    back = returned(module, network, shape, labels)
    close(back(x), network(x), tolerance)
    close(back.theta, network.theta, tolerance)
    if any(True for _ in network.rngs()):  # what is drawn differs
        return module
    t = there(x)
    t = t if network.takes_integers else t.requires_grad_()
    out, y = module.train()(t, *told), network.forward(x)
    close(here(out), y, tolerance)
    dy = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
    network.zero_grad()
    dx = network.backward(dy)
    out.backward(there(dy))
    if not network.takes_integers:
        close(here(t.grad), dx, 10 * tolerance)
    back = returned(module.eval(), network, shape, labels)
    for key, array in zip(network.buffers, back.buffers.values(), strict=True):
        close(array, network.buffers[key], tolerance)
    close(back.forward(x), network.forward(x), tolerance)
    moved = copy.deepcopy(module)  # whose parameters are the gradients, so that they are read in their places
    with torch.no_grad():
        for parameter, of in zip(moved.parameters(), module.parameters(), strict=True):
            parameter.copy_(of.grad)
    close(returned(moved, network, shape, labels).theta, network.grad, 10 * tolerance)
    return module


def returned(module, network, shape, labels):
    """The network that is read back, of the same dtype."""
    back = interchange.from_pytorch(module, shape)
    for key, array in back.state_arrays().items():
        assert array.dtype == network.theta.dtype, key
    set_labels(back, labels)
    return back
