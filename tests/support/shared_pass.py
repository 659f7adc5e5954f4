"""R1 and R2 in the pass in which D judges both batches for its loss, against a backward and passes of their own."""

import numpy as np

from tinygan import to_numpy
from tinygan.penalties import R1, R2

PENALTIES = [R1(2.0), R2(0.7, every=3)]


def check_shared_pass(D, real, fake, dy, *, put=np.array, penalties=PENALTIES, tolerance=1e-10):
    """The same value and the same ``D.grad``; a wrong one is an AssertionError that names the parameter.

    Parameters
    ----------
    D : critic on the backend that ``put`` brings NumPy arrays to; it is not changed.
    real, fake, dy : NumPy arrays (N, ...), (N, ...) and (2 N, 1): dy is the gradient of a loss in the logits.
    """
    apart, shared = D.copy(), D.copy()
    x, both = put(np.concatenate([real, fake])), penalties[0] + penalties[1]
    for network in (apart, shared):
        network.grad[...] = 5.0  # what was there before does not count
    _, passed = apart.apply(x, True, batches=2)
    apart.store_gradients(passed, put(dy), add=False)
    expected = both(apart, put(real), put(fake), np.random.default_rng(0))
    s, judged = shared.apply(x, True, batches=2)
    before = shared.input_gradient(judged, put(dy))
    actual = both.store_gradients(shared, x, s, judged, put(dy), both.draw(len(real), np.random.default_rng(0), 0))

    np.testing.assert_allclose(float(actual), float(expected), rtol=tolerance, atol=1e-14)
    scale = np.linalg.norm(to_numpy(apart.grad))
    for key, grad in shared.grads.items():
        error = np.linalg.norm(to_numpy(grad) - to_numpy(apart.grads[key]))
        assert error <= tolerance * scale, f"the gradient of {key} is off by {error / scale:.1e} of the norm"
    after = shared.input_gradient(judged, put(dy))
    np.testing.assert_array_equal(to_numpy(after), to_numpy(before))  # the pass is what it was
