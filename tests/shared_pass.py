"""R1 and R2 in the pass in which D judges both batches for its loss, against a backward and passes of their own."""

import numpy as np

from tinygan import to_numpy
from tinygan.penalties import R1, R2, penalise, penalise_in_the_pass_of_the_loss

PENALTIES = [R1(2.0), R2(0.7, every=3)]


def check_shared_pass(D, real, fake, dy, *, put=np.array, penalties=PENALTIES, tolerance=1e-10):
    """The same value and the same ``D.grad``; a wrong one is an AssertionError that names the parameter.

    Parameters
    ----------
    D : critic on the backend that ``put`` brings NumPy arrays to; it is not changed.
    real, fake, dy : NumPy arrays (N, ...), (N, ...) and (2 N, 1): dy is the gradient of a loss in the logits.
    """
    apart, shared = D.copy(), D.copy()
    x = put(np.concatenate([real, fake]))
    for network in (apart, shared):
        network.parts = 2
        network.grad[...] = 5.0  # what was there before does not count
    apart.forward(x)
    apart.backward(put(dy), grads="write")
    expected = penalise(penalties, apart, put(real), put(fake), np.random.default_rng(0))
    s = shared.forward(x)
    found = penalise_in_the_pass_of_the_loss(penalties, shared, x, s, put(dy))

    np.testing.assert_allclose(float(found), float(expected), rtol=tolerance, atol=1e-14)
    scale = np.linalg.norm(to_numpy(apart.grad))
    for key, grad in shared.grads.items():
        error = np.linalg.norm(to_numpy(grad) - to_numpy(apart.grads[key]))
        assert error <= tolerance * scale, f"the gradient of {key} is off by {error / scale:.1e} of the norm"
    shared.forward(x)
    shared.backward(put(dy))  # would be refused had the pass stayed open
