"""The losses against SciPy's special functions, finite differences, and their own docstrings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log1p
from support import counting
from support.reference import LABELLED, LOSSES, check_adversarial_step, check_cross_entropy, check_loss

from tinygan import GAN, Sequential, losses
from tinygan.backends import get_xp
from tinygan.errors import ArgumentError, DTypeError, ShapeError
from tinygan.layers import BatchNorm, Dense, LeakyReLU, Sigmoid, Tanh
from tinygan.ops import ops_of, sigmoid, softplus
from tinygan.optim import SGD, Adam
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs import require_finite
from tinygan.runs.schedules import linear
from tinygan.testing import check_generator_gradient
from tinygan.testing.device import count_syncs, standin
from tinygan.testing.strategies import rngs

logits = st.floats(-1e4, 1e4, width=32)


def made(name, real_label=0.9):
    kind = getattr(losses, name)
    return kind(real_label=real_label) if name in LABELLED else kind()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_values_and_gradients_agree_with_scipy_and_with_finite_differences(name, real_label):
    check_loss(made(name, real_label), name, real_label=real_label)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data(), n=st.integers(1, 9), m=st.integers(1, 9), columns=st.integers(1, 3))
def test_pytorch_agrees(name, data, n, m, columns):
    """Values from its own loss functions where it has them, gradients from its automatic differentiation."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    loss = made(name)
    numbers = st.floats(-30, 30)
    r = data.draw(arrays(np.float64, (m if loss.compares else n, columns), elements=numbers))
    f = data.draw(arrays(np.float64, (m, columns), elements=numbers))

    def entropy(s, label):
        return F.binary_cross_entropy_with_logits(s, torch.full_like(s, label))

    def square(s, label):
        return F.mse_loss(s, torch.full_like(s, label)) / 2

    d_loss, g_loss = {
        "Minimax": (lambda r, f: entropy(r, 0.9) + entropy(f, 0.0), lambda r, f: -entropy(f, 0.0)),
        "NonSaturating": (lambda r, f: entropy(r, 0.9) + entropy(f, 0.0), lambda r, f: entropy(f, 1.0)),
        "LeastSquares": (lambda r, f: square(r, 0.9) + square(f, 0.0), lambda r, f: square(f, 1.0)),
        "Wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
        "Hinge": (lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lambda r, f: -f.mean()),
        "Relativistic": (lambda r, f: entropy(r - f, 1.0), lambda r, f: entropy(f - r, 1.0)),
    }[name]
    for theirs, (value, *slopes), wanted in (
        (d_loss, loss.discriminator(r, f), 2),
        (g_loss, loss.generator(f, r), 1),
    ):
        a, b = (torch.tensor(s, requires_grad=True) for s in (r, f))
        expected = theirs(a, b)
        gradients = torch.autograd.grad(expected, (a, b)[-wanted:])
        np.testing.assert_allclose(value, expected.item(), rtol=1e-12, atol=1e-12)
        for slope, gradient in zip(slopes, gradients, strict=True):
            np.testing.assert_allclose(slope, gradient.numpy(), rtol=1e-9, atol=1e-13)


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
    loss = made(name)
    if loss.compares:
        r, f = zip(*zip(r, f, strict=False), strict=True)
    real, fake = (device.put(np.array(s, dtype=np.float32)[:, None]) for s in (r, f))
    d_real, d_fake = loss.discriminator(real, fake)[1:]
    for result, like in ((d_real, real), (d_fake, fake), (loss.generator(fake, real)[1], fake)):
        assert result.shape == like.shape
        assert result.dtype == np.float32
        assert np.isfinite(device.get(result)).all()
    for value in (loss.discriminator(real, fake)[0], loss.generator(fake, real)[0]):
        assert value.dtype == np.float32
        assert value.shape == ()
        assert np.isfinite(float(value))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_are_not_changed(device, name):
    s = device.put(np.array([[0.5], [-2.0]]))
    loss = getattr(losses, name)()
    loss.discriminator(s, s)
    loss.generator(s, s)
    np.testing.assert_array_equal(device.get(s), [[0.5], [-2.0]])


def test_what_the_articles_get_wrong_is_right_here():
    """G's loss falls as D is fooled, and D's falls as it tells real from fake; minus the value does neither."""
    for name in LOSSES:
        loss = getattr(losses, name)()
        low, high, real = np.full((4, 1), -0.5), np.full((4, 1), 0.5), np.zeros((4, 1))
        assert loss.generator(high, real)[0] < loss.generator(low, real)[0], f"{name}: fooling D must lower G's loss"
        assert (loss.generator(low, real)[1] < 0).all(), f"{name}: descending L_G must raise D(G(z))"
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


#: a real logit that says 0.9
CONTENT = {"Minimax": np.log(9.0), "NonSaturating": np.log(9.0), "LeastSquares": 0.9}


@pytest.mark.parametrize("name", LABELLED)
def test_label_smoothing_is_one_sided(name):
    """Real logits are drawn to where D says 0.9; what generated ones are told is untouched, and G's goal is 1."""
    smooth, sharp = getattr(losses, name)(real_label=0.9), getattr(losses, name)()
    r, f = np.array([[CONTENT[name]], [0.1]]), np.array([[0.3], [-2.0]])
    _, d_real, d_fake = smooth.discriminator(r, f)
    assert d_real[0].item() == pytest.approx(0.0, abs=1e-15)
    _, sharp_real, sharp_fake = sharp.discriminator(r, f)
    np.testing.assert_array_equal(d_fake, sharp_fake)
    np.testing.assert_allclose(d_real - sharp_real, 0.1 / 2, rtol=1e-12)
    for a, b in zip(smooth.generator(f), sharp.generator(f), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_labels_of_least_squares_are_where_its_slopes_are_0():
    loss, at = losses.LeastSquares(real_label=0.8), np.array([[0.8], [0.0], [1.0]])
    _, d_real, d_fake = loss.discriminator(at, at)
    slopes = d_real, d_fake, loss.generator(at)[1]
    assert [np.flatnonzero(slope == 0.0).tolist() for slope in slopes] == [[0], [1], [2]]


@pytest.mark.parametrize("name", ["Wasserstein", "Relativistic"])
@given(r=st.floats(-9, 9), f=st.floats(-9, 9), shift=st.floats(-9, 9))
def test_where_there_are_no_labels_only_differences_count(name, r, f, shift):
    loss, real, fake = made(name), np.array([[r]]), np.array([[f]])
    for a, b in zip(loss.discriminator(real, fake), loss.discriminator(real + shift, fake + shift), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_relativistic_pairs_samples_as_they_come():
    """Within a batch, what one fake is told depends on its own partner alone."""
    r, f = np.array([[3.0], [-1.0], [0.0]]), np.array([[-2.0], [1.0], [0.5]])
    other = r.copy()
    other[2] = 5.0
    _, d_fake = losses.Relativistic().generator(f, r)
    _, d_other = losses.Relativistic().generator(f, other)
    np.testing.assert_array_equal(d_fake[:2], d_other[:2])
    assert d_other[2] < d_fake[2], "the more real its partner, the stronger the pull"


def test_relativistic_asks_d_and_g_the_same_question_turned_round(device):
    r, f = (device.put(np.random.default_rng(k).standard_normal((6, 1))) for k in range(2))
    xp, loss = get_xp(r), losses.Relativistic()
    value, _, d_fake = loss.discriminator(f, r)
    assert float(loss.generator(f, r)[0]) == pytest.approx(float(value), rel=1e-14)
    # generator(f, r) pulls f up as discriminator(f, r) pulls up what it takes for real
    assert bool(xp.allclose(loss.generator(f, r)[1], loss.discriminator(f, r)[1], rtol=1e-12))
    assert bool((d_fake > 0).all())


@pytest.mark.parametrize("name", ["Wasserstein", "Hinge", "Relativistic"])
def test_a_label_has_no_meaning_there(name):
    loss = getattr(losses, name)
    assert repr(loss()) == f"{name}()"
    assert not hasattr(loss(), "real_label")
    with pytest.raises(TypeError):
        loss(real_label=0.9)
    assert issubclass(losses.LeastSquares, losses.Labelled)
    assert not issubclass(loss, losses.Labelled)


def test_pairs_that_are_none_are_refused():
    three, four = np.zeros((3, 1)), np.zeros((4, 1))
    loss = losses.Relativistic()
    for call in (lambda: loss.discriminator(four, three), lambda: loss.generator(three, four)):
        with pytest.raises(ShapeError, match=r"equally many; got logits \(4, 1\) of real and \(3, 1\) of generated"):
            call()
    with pytest.raises(ArgumentError, match="Relativistic: G's loss compares with real samples"):
        loss.generator(three)
    with pytest.raises(DTypeError, match="must be alike"):
        loss.discriminator(three, three.astype(np.float32))
    for other in (losses.Wasserstein(), losses.Hinge(), loss):
        with pytest.raises(ShapeError, match="there are no logits"):
            other.discriminator(three[:0], three[:0])
        with pytest.raises(DTypeError, match="floating-point"):
            other.discriminator(three.astype(int), three.astype(int))


# ---- in the game ---------------------------------------------------------------------------------------------------


def players(seed=3, dtype=np.float64, **options):
    """A GAN in float64 with batch normalisation in both networks, and plain descent."""
    rng, f8 = np.random.default_rng(seed), {"dtype": dtype}
    G = Sequential(Dense(3, 5, rng=rng, **f8), BatchNorm(5, **f8), Tanh(), Dense(5, 4, rng=rng, **f8), Tanh())
    D = Sequential(Dense(4, 5, rng=rng, **f8), BatchNorm(5, **f8), LeakyReLU(), Dense(5, 1, rng=rng, **f8))
    return GAN(G, D, noise_dim=3, g_optimizer=SGD(G, 0.5), d_optimizer=SGD(D, 0.5), **options)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_moves_both_networks_along_their_slopes(name):
    """Finite differences of both losses; Relativistic shows D the real samples in G's step too, as in training."""
    check_adversarial_step(players(loss=made(name)), np.tanh(np.random.default_rng(7).standard_normal((6, 4))))


@pytest.mark.parametrize("name", LOSSES)
def test_the_generators_gradient_through_the_discriminator(name):
    gan, rng = players(), np.random.default_rng(0)
    report = check_generator_gradient(
        gan.generator,
        gan.discriminator,
        made(name),
        rng.standard_normal((5, 3)),
        real_logits=rng.standard_normal((5, 1)),
    )
    assert report.comparisons > 50


def test_ds_step_in_pairs_is_the_sum_of_its_pairs():
    """A loop over pairs, each with a pass of its own: without batch normalisation no pair knows of another."""
    rng = np.random.default_rng(1)
    G = Sequential(Dense(3, 4, rng=rng, dtype=np.float64), Tanh())
    D = Sequential(Dense(4, 6, rng=rng, dtype=np.float64), Tanh(), Dense(6, 1, rng=rng, dtype=np.float64))
    gan = GAN(G, D, noise_dim=3, loss=losses.Relativistic(), d_optimizer=SGD(D, 0.1), seed=4)
    before, real = D.copy(), np.tanh(rng.standard_normal((5, 4)))
    twin = GAN(G.copy(), D.copy(), noise_dim=3, seed=4)
    fakes = G.copy().forward(twin.noise(5, rng=twin.rng))
    value, expected = 0.0, np.zeros(D.size)
    for x, fake in zip(real, fakes, strict=True):
        ahead = before(x[None]).item() - before(fake[None]).item()
        value += log1p(np.exp(-ahead)) / 5
        for sample, sign in ((x, -1.0), (fake, 1.0)):
            before.forward(sample[None])
            before.zero_grad()
            before.backward(np.array([[sign * expit(-ahead) / 5]]))
            expected += before.grad
    assert float(gan.step(real).d) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(D.grad, expected, rtol=1e-10, atol=1e-14)


def test_in_gs_step_nothing_is_learned_from_the_real_samples(device):
    """D's gradients and weights stay, and no pass of the real samples is left open."""
    gan = players(loss=losses.Relativistic(), dtype=np.float32).to(device.name)
    D, real = gan.discriminator, device.put(np.zeros((6, 4), dtype=np.float32))
    D.grad[...] = 7.0
    theta = device.get(D.theta).copy()
    gan._generator_turn(real, *ops_of(real).place(gan.draw(6), D.theta).g, None)
    np.testing.assert_array_equal(device.get(D.theta), theta)
    assert (device.get(D.grad) == 7.0).all()
    D.backward(D.forward(real))  # exactly one pass is open


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_makes_the_host_wait(name):
    """Nor do penalties, clipped weights or a schedule."""
    gan = players(loss=made(name), dtype=np.float32, penalties=[R1(1.0), GradientPenalty()], weight_clip=0.5)
    gan.to("standin").d_optimizer.lr = linear(0.1, 0.0, 9)
    real = standin.from_host(np.zeros((6, 4), dtype=np.float32))
    with count_syncs() as syncs:
        gan.step(real)
    assert syncs.count == 0, syncs.what


def test_several_steps_of_d_and_a_last_batch_for_g():
    """G is shown as many real samples as it makes fakes, whatever d_steps."""
    gan = players(loss=losses.Relativistic(), d_steps=3)
    real = np.tanh(np.random.default_rng(2).standard_normal((12, 4)))
    assert np.isfinite([float(value) for value in gan.step(real, watch=require_finite)]).all()


@pytest.mark.parametrize("name", ["Wasserstein", "Hinge", "Relativistic"])
def test_a_critic_that_ends_in_a_sigmoid_is_refused(name):
    """Between 0 and 1 a critic has no room; with Relativistic it would be squashed twice."""
    gan = players()
    D = Sequential(*(layer.copy() for layer in gan.discriminator.layers), Sigmoid())
    with pytest.raises(ArgumentError, match=rf"GAN: D ends in Sigmoid\(\), but {name}\(\) takes logits"):
        GAN(gan.generator, D, noise_dim=3, loss=made(name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Wasserstein", {"weight_clip": 0.1}),
        ("Wasserstein", {"penalties": GradientPenalty(1.0)}),
        ("Hinge", {}),
        ("Relativistic", {"penalties": [R1(0.1), R2(linear(0.2, 0.1, 100))]}),
    ],
)
def test_each_learns_a_distribution(name, options):
    """A Gaussian away from where G starts: its mean and its spread."""
    rng, center = np.random.default_rng(0), np.array([1.5, -1.0])
    G = Sequential(Dense(2, 16, rng=rng), LeakyReLU(), Dense(16, 2, rng=rng))
    D = Sequential(Dense(2, 16, rng=rng), LeakyReLU(), Dense(16, 1, rng=rng))
    adams = {"g_optimizer": Adam(G, 3e-3), "d_optimizer": Adam(D, 3e-3)}
    gan = GAN(G, D, noise_dim=2, loss=made(name), average=0.99, **adams, **options)
    for _ in range(700):
        gan.step((center + 0.5 * rng.standard_normal((64, 2))).astype(np.float32))
    samples = gan.sample(2000)
    assert np.abs(samples.mean(axis=0) - center).max() < 0.35
    assert (samples.std(axis=0) > 0.15).all()
    assert (samples.std(axis=0) < 1.0).all()


# ---- what fits numbers -----------------------------------------------------------------------------------------------


@given(rng=rngs, shape=st.sampled_from(((1, 1), (4, 1), (3, 2, 2))))
def test_losses_of_targets(rng, shape):
    s, t = 3.0 * rng.standard_normal(shape), rng.random(shape)
    bce, mse = losses.BinaryCrossEntropy(), losses.MeanSquaredError()
    p = 1.0 / (1.0 + np.exp(-s))
    terms = [a * np.log(b) + (1.0 - a) * np.log(1.0 - b) for a, b in zip(t.ravel(), p.ravel(), strict=True)]
    assert bce(s, t)[0] == pytest.approx(-np.mean(terms), rel=1e-9)
    assert mse(s, t)[0] == pytest.approx(np.mean([(a - b) ** 2 for a, b in zip(s.ravel(), t.ravel(), strict=True)]))
    for loss in (bce, mse):
        counting.count_and_check_function(lambda y, loss=loss: loss(y, t), s)


def test_binary_cross_entropy_of_sure_logits_is_finite():
    value, gradient = losses.BinaryCrossEntropy()(np.array([[1e4], [-1e4]]), np.array([[0.0], [1.0]]))
    assert value == 1e4
    np.testing.assert_array_equal(gradient, [[0.5], [-0.5]])


def test_targets_that_are_refused():
    y = np.zeros((3, 1), np.float32)
    for loss in (losses.BinaryCrossEntropy(), losses.MeanSquaredError()):
        with pytest.raises(ShapeError, match=r"targets of the shape \(3, 1\), at least one number, got \(3,\)"):
            loss(y, np.zeros(3, np.float32))
        with pytest.raises(DTypeError, match=r"dtype float32, got int64; targets\.astype\('float32'\)"):
            loss(y, np.zeros((3, 1), int))
    with pytest.raises(ArgumentError, match=r"targets must be in \[0, 1\], got 0\.0 to 2\.0"):
        losses.BinaryCrossEntropy()(y, np.array([[0], [1], [2]], np.float32))
