"""Penalties on D's input gradient: exact for any D, where they look, what they say, and how a GAN applies them."""

import counting
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygan import GAN, Sequential, losses, models, optim
from tinygan.errors import ArgumentError, SecondOrderError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, LayerNorm, LeakyReLU, SiLU, Tanh
from tinygan.penalties import R1, R2, GradientPenalty, Penalty, penalise
from tinygan.testing import strategies

numbers = np.random.default_rng(0).standard_normal

#: Each with where it looks, and its value from the norms.
PENALTIES = {
    "R1": (R1(3.0), "real", lambda r: 1.5 * np.mean(r**2)),
    "R2": (R2(0.7), "fake", lambda r: 0.35 * np.mean(r**2)),
    "two-sided": (GradientPenalty(), "between", lambda r: 10.0 * np.mean((r - 1.0) ** 2)),
    "one-sided": (
        GradientPenalty(2.0, target=0.4, one_sided=True),
        "between",
        lambda r: 2.0 * np.mean(np.maximum(r - 0.4, 0.0) ** 2),
    ),
    "zero-centred": (GradientPenalty(4.0, target=0.0), "between", lambda r: 4.0 * np.mean(r**2)),
    "lazy": (R1(1.0, every=16), "real", lambda r: 8.0 * np.mean(r**2)),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


def critic(*hidden, noise_dim=3):
    return Sequential(*hidden, Dense(4, 1, rng=9, dtype=np.float64))


@st.composite
def critics(draw):
    """A random network under a last layer that gives one logit, and two batches for it."""
    case = draw(strategies.networks())
    rng = draw(strategies.rngs)
    shape = case.layer.output_shape(case.x.shape[1:])
    head = [strategies.Flatten()] if len(shape) > 1 else []
    D = Sequential(
        *(layer.copy() for layer in case.layer.layers), *head, Dense(int(np.prod(shape)), 1, rng=rng, dtype=np.float64)
    )
    real, fake = case.x, rng.standard_normal(case.x.shape)
    z = D.copy()
    s = z.forward(real)
    z.zero_grad()
    assume(np.abs(z.backward(np.ones_like(s))).max() > 1e-3)
    return D, real, fake


@every_penalty
@settings(max_examples=40)
@given(case=critics())
def test_every_penalty_on_random_critics(name, case):
    penalty, where, value = PENALTIES[name]
    counting.check_penalty(penalty, *case, where=where, value=value)


@every_penalty
def test_every_penalty_on_a_convolutional_critic(name):
    penalty, where, value = PENALTIES[name]
    rng = np.random.default_rng(1)
    _, D = models.dcgan((8, 8, 1), width=2, dtype=np.float64, rng=1)
    D.theta[...] += 0.2 * rng.standard_normal(D.size)
    real, fake = rng.standard_normal((2, 3, 8, 8, 1))
    s = D.forward(real)
    norms = np.linalg.norm(D.input_gradients(np.ones_like(s))[0].reshape(3, -1), axis=1)
    D.forget()
    D.layers[-1].params["W"][...] *= 0.8 / np.median(norms)  # so that norms lie on both sides of the targets
    counting.check_penalty(penalty, D, real, fake, where=where, value=value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dead_critic_has_a_norm_of_zero_and_no_gradient_without_nan(device, dtype):
    D = Sequential(Dense(3, 4, dtype=dtype), LeakyReLU(), Dense(4, 1, dtype=dtype))
    D.theta[...] = 0.0
    D = D.to(device.name)
    D.zero_grad()
    x = device.put(np.ones((4, 3), dtype))
    assert float(GradientPenalty()(D, x, 0.5 * x, np.random.default_rng(0))) == 10.0
    assert float(R1()(D, x, x, np.random.default_rng(0))) == 0.0
    assert not device.get(D.grad).any()


# ---- several at once -------------------------------------------------------------------------------------------------


def smooth_critic(*, norm=None, dtype=np.float64):
    layers = [Dense(3, 5, rng=1, dtype=dtype), SiLU(), *([norm] if norm else []), Dense(5, 1, rng=2, dtype=dtype)]
    return Sequential(*layers)


@pytest.mark.parametrize("norm", [None, LayerNorm(5, dtype=np.float64), BatchNorm(5, dtype=np.float64)])
def test_together_they_are_what_they_are_in_turn(device, norm):
    real, fake = numbers((2, 6, 3))
    D = smooth_critic(norm=norm and norm.copy()).to(device.name)
    put = device.put(real), device.put(fake)
    several = [R1(2.0), R2(3.0, every=2), GradientPenalty(one_sided=True)]
    D.zero_grad()
    together = float(penalise(several, D, *put, np.random.default_rng(1)))
    grad = device.get(D.grad).copy()
    D.zero_grad()
    rng = np.random.default_rng(1)
    in_turn = sum(float(penalty(D, *put, rng)) for penalty in several)
    assert together == pytest.approx(in_turn, rel=1e-12)
    np.testing.assert_allclose(grad, device.get(D.grad), rtol=1e-9, atol=1e-12)


def test_batch_norm_sees_real_and_generated_samples_apart_and_keeps_its_parts():
    D = smooth_critic(norm=BatchNorm(5, dtype=np.float64))
    penalise([R1(), R2()], D, *numbers((2, 6, 3)), np.random.default_rng(0))
    assert D.parts == 1
    assert D.layers[2].running_mean.any()


def test_no_pass_stays_open_and_dropout_keeps_its_mask_within_a_penalty():
    D = Sequential(Dense(3, 4, rng=1, dtype=np.float64), Dropout(0.5, rng=3), Dense(4, 1, rng=2, dtype=np.float64))
    counting.check_penalty(R1(2.0), D, *numbers((2, 5, 3)), where="real", value=lambda r: np.mean(r**2))
    R1()(D, *numbers((2, 5, 3)), np.random.default_rng(0))
    D.forward(numbers((2, 3)))
    D.backward(np.ones((2, 1)))  # would be refused with another pass open


# ---- in a GAN --------------------------------------------------------------------------------------------------------


def gan(*, D=None, **options):
    G = Sequential(Dense(2, 4, rng=1, dtype=np.float64), Tanh(), Dense(4, 3, rng=2, dtype=np.float64))
    D = smooth_critic() if D is None else D
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


class Few(R1):
    def points(self, real, fake, rng):
        return real[:2]

    def __repr__(self):
        return "Few()"


class Doubled(Sequential):
    def forward(self, x, *, train=True):
        return 2.0 * super().forward(x, train=train)


class Shaken(R1):
    """Looks near the real samples, and so is not one that uses the pass of the loss."""

    def points(self, real, fake, rng):
        return real + 0.1


class WithinTanh(Dense):
    """Another forward, with both orders of its own, on a layer that has a shortcut for its own forward."""

    def forward(self, x, *, train=True):
        return super().forward(np.tanh(x), train=train)

    def backward(self, dy, *, grads="add", need_dx=True):
        (tanh_x,) = self._peek()
        return super().backward(dy, grads=grads, need_dx=True) * (1.0 - tanh_x**2)

    def tangent(self, v):
        (tanh_x,) = self._peek()
        return (v * (1.0 - tanh_x**2)) @ self.params["W"]

    def second_order(self, v, g):
        (tanh_x,) = self._peek()
        slope = 1.0 - tanh_x**2
        self.grads["W"] += (v * slope).T @ g
        return (g @ self.params["W"].T) * v * slope * -2.0 * tanh_x


@pytest.mark.parametrize("penalties", [[R1(2.0), R2(3.0)], [Shaken(2.0), R2(3.0)]], ids=["R1 + R2", "of its own"])
@pytest.mark.parametrize("kind", [Dense, WithinTanh])
def test_classes_of_ones_own_do_not_inherit_a_shortcut(kind, penalties):
    D = Sequential(
        Dense(3, 4, rng=1, dtype=np.float64), kind(4, 4, rng=2, dtype=np.float64), Dense(4, 1, rng=3, dtype=np.float64)
    )
    game, real = gan(D=D, penalties=penalties), numbers((5, 3))
    z = game.noise(5, rng=np.random.default_rng(np.random.SeedSequence(0).spawn(2)[0]))
    fake, slow, before = game.generator.copy().forward(z), D.copy(), D.theta.copy()
    logits = slow.forward(np.concatenate([real, fake]))
    slow.backward(np.concatenate(game.loss.discriminator(logits[:5], logits[5:])[1:]), grads="write")
    for penalty in penalties:
        penalty(slow, real, fake, 0)
    game.step(real)
    np.testing.assert_allclose(D.theta, before - 0.1 * slow.grad, rtol=1e-9, atol=1e-12)


def test_a_penalty_knows_how_it_is_written_wherever_it_lies():
    assert repr(R1(falling)) == "R1(gamma=falling)"
    assert repr(Shaken(2.0)) == "Shaken(gamma=2.0)"


def falling(t):
    return 1.0 / (t + 1)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_what_is_refused():
    x = numbers((4, 3))
    with pytest.raises(ArgumentError, match="R1: gamma must be a finite number of at least 0"):
        R1(-1.0)
    with pytest.raises(ArgumentError, match="GradientPenalty: weight"):
        GradientPenalty(float("nan"))
    with pytest.raises(ArgumentError, match="GradientPenalty: target"):
        GradientPenalty(target=-1.0)
    with pytest.raises(ArgumentError, match="R2: every must be a whole number"):
        R2(every=0)
    with pytest.raises(ArgumentError, match="penalties must be objects such as"):
        gan(penalties=[R1])
    for wrong in (R1, None, 5):
        with pytest.raises(ArgumentError, match="penalties must be objects such as"):
            gan(penalties=wrong)
    with pytest.raises(ArgumentError, match=r"D must be a tinygan\.Sequential, got Dense"):
        R1()(Dense(3, 1, dtype=np.float64), x, x, 0)
    with pytest.raises(ShapeError, match=r"one logit for a sample, \(N, 1\), but gives \(4, 2\)"):
        R1()(Sequential(Dense(3, 2, dtype=np.float64)), x, x, 0)
    with pytest.raises(ShapeError, match=r"Few\(\): its points are \(2, 3\), but the samples \(4, 3\)"):
        penalise([Few(), R1()], smooth_critic(), x, x, np.random.default_rng(0))
    with pytest.raises(SecondOrderError, match=r"D is a Doubled with a forward of its own.*Sequential\(D\)"):
        R1()(Doubled(Dense(3, 1, dtype=np.float64)), x, x, 0)
    with pytest.raises(ArgumentError, match="weight_clip must be positive"):
        gan(weight_clip=0.0)
    with pytest.raises(ShapeError, match=r"R1\(gamma=10.0\): real samples \(4, 3\) and generated ones \(2, 3\)"):
        R1()(smooth_critic(), x, x[:2], np.random.default_rng(0))

    class Own(Tanh):
        def forward(self, x, *, train=True):
            return super().forward(2.0 * x, train=train)

    D = Sequential(Dense(3, 4, dtype=np.float64), Own(), Dense(4, 1, dtype=np.float64))
    with pytest.raises(SecondOrderError, match="layer 1 Own"):
        R1()(D, x, x, np.random.default_rng(0))
    D.forward(x)
    D.backward(np.ones((4, 1)))  # the failed penalty has left no pass open


def test_a_penalty_of_ones_own():
    class AtTheMean(Penalty):
        """p(q) = q² at the mean of the real and the generated sample."""

        def points(self, real, fake, rng):
            return 0.5 * (real + fake)

        def of_squares(self, q, t):
            return q**2, 2.0 * q

    D = smooth_critic()
    D.zero_grad()
    real, fake = numbers((2, 4, 3))
    AtTheMean()(D, real, fake, np.random.default_rng(0))
    by_hand = D.grad.copy()
    copy, e = D.copy(), 1e-6
    for i in (0, 7, len(D.theta) - 2):
        values = []
        for sign in (1, -1):
            copy.theta[...] = D.theta
            copy.theta[i] += sign * e
            values.append(float(AtTheMean()(copy, real, fake, np.random.default_rng(0))))
        assert by_hand[i] == pytest.approx((values[0] - values[1]) / (2 * e), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("penalty", [R1(), R2(2.0, every=4), GradientPenalty(), GradientPenalty(one_sided=True)])
def test_how_they_are_written(penalty):
    assert repr(eval(repr(penalty))) == repr(penalty)
