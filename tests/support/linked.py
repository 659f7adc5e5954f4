"""A layer as it stands, and as a network runs it: by a link, which may do the same faster."""

import numpy as np
import pytest

from tinygan import Sequential

#: For tests of a layer, plain and as the only one of a network.
ways = pytest.mark.parametrize("linked", [False, True], ids=["plain", "link"])

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


def as_run(layer, linked):
    """``layer``, or a network of a copy of it."""
    return Sequential(layer.copy()) if linked else layer


def check_link(layer, x, *, train, tolerance=1e-12):
    """A network of ``layer`` alone gives what the layer gives: y, dx, what it stores, and its buffers."""
    network = Sequential(layer.copy())
    y, cache = layer.apply(x, train)
    y_linked, passed = network.apply(x, train)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    dx, gradients = layer.gradients(cache, dy)
    pairs = {"y": (y_linked, y), "dx": (network.input_gradient(passed, dy), dx)}
    network.grad[...] = np.nan
    network.store_gradients(passed, dy, add=False)
    pairs |= {f"stored {key}": (network.grads[f"0.{key}"].copy(), gradients[key]) for key in layer.grads}
    pairs["dx, stored"] = network.backprop(passed, dy), dx
    pairs |= {f"added {key}": (network.grads[f"0.{key}"], 2.0 * gradients[key]) for key in layer.grads}
    pairs |= {key: (network.buffers[f"0.{key}"], b) for key, b in layer.buffers.items()}
    for name, (fast, plain) in pairs.items():
        assert fast.shape == plain.shape, name
        assert np.linalg.norm(fast - plain) <= tolerance * (1.0 + np.linalg.norm(plain)), name
