"""What the two players say of each other: how far D can tell, and what each could still gain."""

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from tinygan import GAN, Sequential, augment, losses, models
from tinygan.data import ImageData
from tinygan.errors import ArgumentError, NonFiniteError, ShapeError
from tinygan.layers import BatchNorm, Dense, Flatten, LeakyReLU, Reshape, Tanh
from tinygan.metrics import duality_gap, players, told_apart

logits = st.lists(st.integers(-4, 4), min_size=1, max_size=12).map(lambda row: np.array(row, np.float32)[:, None])


@given(real=logits, fake=logits)
def test_told_apart_is_a_count_of_pairs(real, fake):
    pairs = [1.0 if r > f else 0.5 if r == f else 0.0 for r in real[:, 0] for f in fake[:, 0]]
    found = told_apart(real, fake)
    assert found.value == pytest.approx(np.mean(pairs), abs=1e-12)
    u = mannwhitneyu(real[:, 0], fake[:, 0]).statistic
    assert found.value == pytest.approx(u / (len(real) * len(fake)), abs=1e-12)
    assert told_apart(fake, real).value == pytest.approx(1.0 - found.value, abs=1e-12)
    assert 0.0 <= found.error <= 0.5


def test_its_error_is_that_of_chance():
    rng = np.random.default_rng(0)
    n, m = 40, 60
    assert told_apart(np.arange(40.0)[:, None], np.arange(40.0)[:, None]).error == pytest.approx((81 / 19200) ** 0.5)
    found = [told_apart(rng.exponential(1.0, (n, 1)) * 2.0, rng.exponential(1.0, (m, 1))) for _ in range(2000)]
    values, errors = zip(*found, strict=True)
    assert np.mean(values) == pytest.approx(2 / 3, abs=0.005)  # of exponentials it is r / (r + 1)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.06)


def test_told_apart_refuses_what_are_no_logits():
    with pytest.raises(NonFiniteError, match="told_apart"):
        told_apart(np.array([[np.nan]]), np.ones((2, 1)))
    with pytest.raises(ShapeError, match="told_apart"):
        told_apart(np.ones(3), np.ones((2, 1)))


# ---- the duality gap -------------------------------------------------------------------------------------------------


def game(loss=None, seed=0):
    G = Sequential(Dense(4, 8, rng=seed), BatchNorm(8), LeakyReLU(0.2), Dense(8, 9, rng=seed), Tanh(), Reshape(3, 3, 1))
    D = Sequential(Flatten(), Dense(9, 8, rng=seed), LeakyReLU(0.2), Dense(8, 1, rng=seed))
    return GAN(G, D, noise_dim=4, loss=loss, seed=seed)


def images(n=200, seed=0):
    return ImageData(np.random.default_rng(seed).integers(60, 200, (n, 3, 3, 1), dtype=np.uint8))


@pytest.mark.parametrize("loss", [losses.NonSaturating(), losses.LeastSquares(), losses.Hinge()], ids=repr)
def test_each_copy_gains_what_its_player_wants_and_the_game_is_not_changed(loss):
    gan = game(loss)
    before = [gan.generator.theta.copy(), gan.discriminator.theta.copy(), gan.rng.bit_generator.state]
    found = duality_gap(gan, images(), images(seed=1), steps=150, lr=2e-3, samples=200)
    assert found.worst_d > found.value > found.worst_g
    assert found.gap == found.worst_d - found.worst_g
    assert found == duality_gap(gan, images(), images(seed=1), steps=150, lr=2e-3, samples=200)
    np.testing.assert_array_equal(gan.generator.theta, before[0])
    np.testing.assert_array_equal(gan.discriminator.theta, before[1])
    assert gan.rng.bit_generator.state == before[2]


def test_in_equilibrium_it_is_near_0():
    """G's images are about as bright and as dark as the real ones, and D says 0 of all: nobody gains much."""
    bright = np.where(np.arange(400) % 2, 64, 191).astype(np.uint8)
    data = ImageData(np.repeat(bright, 9).reshape(400, 3, 3, 1))

    def played(shift):
        gan = game()
        G, D = gan.generator, gan.discriminator
        G.theta[...], D.theta[...] = 0.0, 0.0
        G.layers[0].params["W"][0, 0] = 1.0  # z₀, which BatchNorm and the leaky ReLU let pass
        G.layers[1].params["gamma"][...] = 1.0
        G.layers[3].params["W"][0] = 0.6
        G.layers[3].params["b"][...] = shift
        D.layers[1].params["W"][...] = np.random.default_rng(0).normal(0.0, 0.3, (9, 8))
        return duality_gap(gan, data, data, steps=100, lr=1e-3, samples=400)

    assert played(0.0).value == pytest.approx(-2.0 * np.log(2.0), abs=1e-6)
    assert played(0.0).gap < 0.5 * played(1.5).gap


def test_the_gradient_of_g_is_that_of_v():
    gan = game()
    G, D = gan.generator.astype("float64"), gan.discriminator.astype("float64")
    real, z = images(20).batch(np.arange(20), dtype=np.float64), np.random.default_rng(1).standard_normal((20, 4))
    frozen = G.copy()

    def value(theta):
        frozen.theta[...] = theta
        fake, _ = frozen.apply(z, train=True)
        return -float(gan.loss.discriminator(D(real), D(fake))[0])

    players._g_gradient(G, D, gan.loss, real, z)
    v = np.random.default_rng(2).standard_normal(G.size)
    slope = (value(G.theta + 1e-6 * v) - value(G.theta - 1e-6 * v)) / 2e-6
    assert G.grad @ v == pytest.approx(slope, rel=1e-5)
    players._d_gradient(D, gan.loss, real, G(z))
    v = np.random.default_rng(3).standard_normal(D.size)
    at = [D.copy(), D.copy()]
    at[0].theta += 1e-6 * v
    at[1].theta -= 1e-6 * v
    up, down = (players._value(G, d, gan.loss, real, z) for d in at)
    assert -(D.grad @ v) == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_an_adaptive_strength_stays_as_it_is():
    G, D = models.mlp((4, 4, 1), g_hidden=(8,), d_hidden=(8,), noise_dim=4)
    D = augment.before(D, augment.Shift(strength=0.4, rng=0))
    gan = GAN(G, D, noise_dim=4, loss=augment.Adaptive(losses.NonSaturating(), D))
    data = ImageData(np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8))
    state = D.layers[0].rng.bit_generator.state
    duality_gap(gan, data, data, steps=3)
    assert gan.loss.strength == np.float32(0.4)
    assert D.layers[0].rng.bit_generator.state == state


def test_what_is_refused():
    for options, error, says in (
        ({"steps": 0}, ArgumentError, "duality_gap: steps must be"),
        ({"lr": -1.0}, ArgumentError, "duality_gap: lr must be"),
        ({"train": np.zeros((3, 3, 3, 1))}, ArgumentError, "train must be what tinygan.data.load gives"),
        ({"held_out": ImageData(np.zeros((3, 5, 5, 1), np.uint8))}, ShapeError, r"held_out has images of \(5, 5, 1\)"),
    ):
        with pytest.raises(error, match=says):
            duality_gap(game(), **{"train": images(), "held_out": images(), **options})
    with pytest.raises(ArgumentError, match=r"duality_gap: expected a tinygan.GAN"):
        duality_gap(5, images(), images())
    with pytest.raises(ShapeError, match=r"told_apart: expected logits \(N, 1\), got \(4, 3\)"):
        told_apart(np.ones((4, 3)), np.ones((4, 1)))


def test_a_few_real_images_are_shown_as_often_as_generated_ones():
    class Sizes(losses.NonSaturating):
        seen: ClassVar[set] = set()

        def discriminator(self, real_logits, fake_logits):
            self.seen.add((len(real_logits), len(fake_logits)))
            return super().discriminator(real_logits, fake_logits)

    duality_gap(game(Sizes()), images(50), images(30), steps=2, batch_size=64, samples=100)
    assert Sizes.seen == {(64, 64), (30, 30)}


def test_a_clipped_d_stays_clipped_in_its_copy():
    gan = game(losses.Wasserstein())
    gan.weight_clip = 0.01
    gan.discriminator.theta.clip(-0.01, 0.01, out=gan.discriminator.theta)
    assert duality_gap(gan, images(), images(seed=1), steps=50, lr=1e-2).worst_d < 0.01
