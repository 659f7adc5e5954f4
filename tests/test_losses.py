"""The losses against SciPy's special functions, finite differences, and their own docstrings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import LOSSES, check_cross_entropy, check_loss
from scipy.special import expit, log1p

from tinygan import losses
from tinygan.kernels import sigmoid, softplus

logits = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_values_and_gradients_agree_with_scipy_and_with_finite_differences(name, real_label):
    check_loss(getattr(losses, name)(real_label=real_label), name, real_label=real_label)


def test_softmax_cross_entropy_agrees_with_scipy():
    check_cross_entropy(losses.SoftmaxCrossEntropy())


@given(s=st.lists(logits, min_size=1, max_size=20))
def test_sigmoid_and_softplus_agree_with_scipy(device, s):
    s = np.array(s, dtype=np.float64)
    tiny = 1e-305  # below, floats lose digits one by one
    np.testing.assert_allclose(device.get(sigmoid(device.put(s))), expit(s), rtol=1e-13, atol=tiny)
    expected = np.maximum(s, 0) + log1p(np.exp(-np.abs(s)))
    np.testing.assert_allclose(device.get(softplus(device.put(s))), expected, rtol=1e-13, atol=tiny)


@pytest.mark.parametrize("name", LOSSES)
@given(r=st.lists(logits, min_size=1, max_size=8), f=st.lists(logits, min_size=1, max_size=8))
def test_every_logit_gives_finite_float32(device, name, r, f):
    loss = getattr(losses, name)(real_label=0.9)
    real, fake = (device.put(np.array(s, dtype=np.float32)[:, None]) for s in (r, f))
    d_real, d_fake = loss.discriminator(real, fake)[1:]
    for result, like in ((d_real, real), (d_fake, fake), (loss.generator(fake)[1], fake)):
        assert result.shape == like.shape
        assert result.dtype == np.float32
        assert np.isfinite(device.get(result)).all()
    for value in (loss.discriminator(real, fake)[0], loss.generator(fake)[0]):
        assert value.dtype == np.float32
        assert value.shape == ()
        assert np.isfinite(float(value))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_are_not_changed(device, name):
    s = device.put(np.array([[0.5], [-2.0]]))
    loss = getattr(losses, name)()
    loss.discriminator(s, s)
    loss.generator(s)
    np.testing.assert_array_equal(device.get(s), [[0.5], [-2.0]])


def test_what_the_articles_get_wrong_is_right_here():
    """G's loss falls as D is fooled, and D's falls as it tells real from fake; minus the value does neither."""
    for name in LOSSES:
        loss = getattr(losses, name)()
        low, high = np.full((4, 1), -0.5), np.full((4, 1), 0.5)
        assert loss.generator(high)[0] < loss.generator(low)[0], f"{name}: fooling D must lower G's loss"
        assert (loss.generator(low)[1] < 0).all(), f"{name}: descending L_G must raise D(G(z))"
        assert loss.discriminator(high, low)[0] < loss.discriminator(low, high)[0]


def test_minimax_saturates_where_the_other_does_not():
    sure_fake = np.array([[-12.0]])
    assert abs(losses.Minimax().generator(sure_fake)[1].item()) < 1e-5
    assert abs(losses.NonSaturating().generator(sure_fake)[1].item()) > 0.99


def test_at_the_equilibrium_the_losses_are_log_2():
    zero = np.zeros((8, 1))
    value, d_real, d_fake = losses.NonSaturating().discriminator(zero, zero)
    assert value == pytest.approx(2 * np.log(2))
    assert losses.NonSaturating().generator(zero)[0] == pytest.approx(np.log(2))
    np.testing.assert_allclose(d_real, -d_fake)


def test_label_smoothing_is_one_sided():
    """Real logits are drawn to where σ(r) = 0.9; the fake part is untouched."""
    r, f = np.array([[np.log(9.0)]]), np.array([[0.3]])
    _, d_real, d_fake = losses.NonSaturating(real_label=0.9).discriminator(r, f)
    assert d_real.item() == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_array_equal(d_fake, losses.NonSaturating().discriminator(r, f)[2])
