"""How a GAN applies penalties: the step that D takes, when they are due, and which may use the pass of the loss."""

import numpy as np
import pytest

from tinygan import GAN, Sequential, losses, optim
from tinygan.errors import ArgumentError
from tinygan.layers import BatchNorm, Dense, LayerNorm, LeakyReLU, SiLU, Tanh
from tinygan.penalties import R1, R2, GradientPenalty, register

numbers = np.random.default_rng(0).standard_normal


def gan(*, D=None, **options):
    G = Sequential(Dense(2, 4, rng=1, dtype=np.float64), Tanh(), Dense(4, 3, rng=2, dtype=np.float64))
    if D is None:
        D = Sequential(Dense(3, 5, rng=1, dtype=np.float64), SiLU(), Dense(5, 1, rng=2, dtype=np.float64))
    return GAN(G, D, noise_dim=2, d_optimizer=optim.SGD(D, 0.1), g_optimizer=optim.SGD(G, 0.1), **options)


def deep(*between):
    """A critic of several layers, some of ``between`` twice."""
    f = {"dtype": np.float64}
    first, second = ([layer.copy() for layer in between] for _ in range(2))
    return Sequential(Dense(3, 5, rng=1, **f), *first, Dense(5, 5, rng=2, **f), *second, Dense(5, 1, rng=3, **f))


@pytest.mark.parametrize(
    "D",
    [
        deep(LeakyReLU()),
        deep(SiLU()),
        deep(LayerNorm(5, dtype=np.float64), LeakyReLU()),
        deep(BatchNorm(5, dtype=np.float64), LeakyReLU()),
        Sequential(deep(Tanh()), LeakyReLU()),
    ],
    ids=["linear in pieces", "smooth", "LayerNorm", "BatchNorm", "network in network"],
)
def test_d_descends_its_loss_and_its_penalties(D):
    """R1 with R2 use the pass of the loss; done one by one, with passes of their own, they give the same step."""
    real = numbers((6, 3))
    with_, without = gan(D=D.copy(), penalties=[R2(3.0), R1(2.0)]), gan(D=D.copy())
    z = without.noise(6, rng=np.random.default_rng(np.random.SeedSequence(0).spawn(2)[0]))
    fake = without.generator.copy().forward(z)
    D = with_.discriminator.copy()
    D.zero_grad()
    value = R1(2.0)(D, real, fake, np.random.default_rng(0)) + R2(3.0)(D, real, fake, np.random.default_rng(0))
    before = with_.discriminator.theta.copy()
    losses_, plain = with_.step(real), without.step(real)
    assert losses_.penalty == pytest.approx(float(value))
    assert losses_.d == pytest.approx(float(plain.d))
    assert plain.penalty == 0.0
    moved = with_.discriminator.theta - without.discriminator.theta
    np.testing.assert_allclose(moved, -0.1 * D.grad, rtol=1e-9, atol=1e-13)
    assert (with_.discriminator.theta != before).any()


def test_lazy_penalties_come_in_every_kth_step():
    game = gan(penalties=R1(2.0, every=3))
    due = [game.step(numbers((4, 3))).penalty != 0.0 for _ in range(7)]
    assert due == [True, False, False, True, False, False, True]


def test_a_schedule_of_the_weight_is_asked_for_the_step():
    asked = []

    def falling(t):
        asked.append(t)
        return 1.0 / (t + 1)

    game = gan(penalties=R1(falling))
    values = [float(game.step(numbers((4, 3))).penalty) for _ in range(3)]
    assert asked == [0, 1, 2]
    assert all(v > 0 for v in values)
    with pytest.raises(ArgumentError, match=r"R1: gamma: .* gives -1.0 at step 0"):
        gan(penalties=R1(lambda t: -1.0)).step(numbers((4, 3)))


@pytest.mark.parametrize("loss", [losses.NonSaturating(), losses.LeastSquares(), losses.Minimax()])
def test_any_loss_with_any_penalty_and_several_steps_of_d(loss):
    for penalty in (R1(), R2(), GradientPenalty()):
        game = gan(loss=loss, penalties=penalty, d_steps=2)
        assert np.isfinite(float(game.step(numbers((8, 3))).penalty))


def test_weights_are_clipped_after_ds_step_and_only_ds():
    game = gan(weight_clip=0.05)
    game.step(numbers((4, 3)))
    assert np.abs(game.discriminator.theta).max() == 0.05
    assert np.abs(game.generator.theta).max() > 0.05


def test_what_is_no_penalty_and_no_bound():
    for wrong in ([R1], R1, None, 5):
        with pytest.raises(ArgumentError, match="penalties must be objects such as"):
            gan(penalties=wrong)
    with pytest.raises(ArgumentError, match="weight_clip must be positive"):
        gan(weight_clip=0.0)


# ---- of one's own ----------------------------------------------------------------------------------------------------


class Shaken(R1):
    """Looks near the real samples, and so is not one that uses the pass of the loss."""

    def points(self, real, fake, drawn):
        return real + 0.1


class Nearby:
    """The points of Shaken, for any penalty that stands behind it."""

    def points(self, real, fake, drawn):
        return real + 0.1


class Mixed(Nearby, R1):
    pass


def shaken_by_hand():
    penalty = R1(2.0)
    penalty.points = lambda real, fake, drawn: real + 0.1
    return penalty


class WithinTanh(Dense):
    """Another forward, with both orders of its own, on a layer that has a shortcut for its own forward."""

    def apply(self, x, train):
        return super().apply(np.tanh(x), train)

    def gradients(self, tanh_x, dy):
        dx, gradients = super().gradients(tanh_x, dy)
        return dx * (1.0 - tanh_x**2), gradients


def tangent_within_tanh(layer, tanh_x, v):
    return (v * (1.0 - tanh_x**2)) @ layer.params["W"]


def second_order_within_tanh(layer, tanh_x, v, g):
    slope = 1.0 - tanh_x**2
    return (g @ layer.params["W"].T) * v * slope * -2.0 * tanh_x, {"W": (v * slope).T @ g}


register(WithinTanh, tangent=tangent_within_tanh, second_order=second_order_within_tanh)


@pytest.mark.parametrize(
    "penalties",
    [
        [R1(2.0), R2(3.0)],
        [R2(3.0), R1(2.0)],
        [Shaken(2.0), R2(3.0)],
        [Mixed(2.0), R2(3.0)],
        [R2(3.0), shaken_by_hand()],
        [R1(2.0), R1(1.0)],
    ],
    ids=["R1 + R2", "R2 + R1", "points of its own", "points of a mixin", "points of one object", "R1 twice"],
)
@pytest.mark.parametrize("kind", [Dense, WithinTanh])
def test_classes_of_ones_own_do_not_inherit_a_shortcut(kind, penalties):
    D = Sequential(
        Dense(3, 4, rng=1, dtype=np.float64), kind(4, 4, rng=2, dtype=np.float64), Dense(4, 1, rng=3, dtype=np.float64)
    )
    game, real = gan(D=D, penalties=penalties), numbers((5, 3))
    z = game.noise(5, rng=np.random.default_rng(np.random.SeedSequence(0).spawn(2)[0]))
    fake, slow, before = game.generator.copy().forward(z), D.copy(), D.theta.copy()
    logits, judged = slow.apply(np.concatenate([real, fake]), True)
    slow.store_gradients(judged, np.concatenate(game.loss.discriminator(logits[:5], logits[5:])[1:]), add=False)
    for penalty in penalties:
        penalty(slow, real, fake, 0)
    game.step(real)
    np.testing.assert_allclose(D.theta, before - 0.1 * slow.grad, rtol=1e-9, atol=1e-12)
