"""Penalties on D's input gradient: exact for any D, where they look, and what they say."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import counting

from tinygan import Sequential, models
from tinygan.errors import ArgumentError, SecondOrderError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, LayerNorm, LeakyReLU, SiLU, Tanh
from tinygan.penalties import R1, R2, GradientPenalty, Penalty, Sum
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
    s, passed = D.apply(real, True)
    norms = np.linalg.norm(D.input_gradient(passed, np.ones_like(s)).reshape(3, -1), axis=1)
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
    together = float((several[0] + several[1] + several[2])(D, *put, np.random.default_rng(1)))
    grad = device.get(D.grad).copy()
    D.zero_grad()
    rng = np.random.default_rng(1)
    in_turn = sum(float(penalty(D, *put, rng)) for penalty in several)
    assert together == pytest.approx(in_turn, rel=1e-12)
    np.testing.assert_allclose(grad, device.get(D.grad), rtol=1e-9, atol=1e-12)


def test_batch_norm_sees_real_and_generated_samples_apart():
    """Its running statistics have moved twice, towards each of them."""
    D, other = (smooth_critic(norm=BatchNorm(5, dtype=np.float64)) for _ in range(2))
    real, fake = numbers((2, 6, 3))
    (R1() + R2())(D, real, fake + 3.0, np.random.default_rng(0))
    other.apply(real, True)
    other.apply(fake + 3.0, True)
    np.testing.assert_allclose(D.layers[2].running_mean, other.layers[2].running_mean, rtol=1e-12)
    np.testing.assert_allclose(D.layers[2].running_var, other.layers[2].running_var, rtol=1e-12)


def test_sums_know_how_they_are_written_and_which_of_them_are_due():
    both = R1(2.0) + (R2(1.0, every=3) + GradientPenalty(one_sided=True, every=3))
    assert repr(both) == (
        "R1(gamma=2.0) + R2(gamma=1.0, every=3) + GradientPenalty(weight=10.0, target=1.0, one_sided=True, every=3)"
    )
    rng = np.random.default_rng(0)
    one, two, (weight, epsilon) = both.draw(5, rng, 3)
    assert (one, two, weight) == (1.0, 0.5, 10.0)
    np.testing.assert_array_equal(epsilon, np.random.default_rng(0).random(5))
    assert both.draw(5, rng, 4) == (1.0, None, None)
    assert (R1(every=2) + R2(every=3)).draw(5, rng, 1) is None
    assert R1(every=2).draw(5, rng, 1) is None
    with pytest.raises(TypeError):
        R1() + 1.0


def test_a_share_is_a_factor_of_the_penalty_and_its_gradient_alone():
    D, (real, fake), dy = smooth_critic(), numbers((2, 6, 3)), numbers((12, 1))
    x = np.concatenate([real, fake])
    for penalty in (R1(2.0), R1(2.0) + R2(1.0), R1(1.0) + GradientPenalty()):
        actual = []
        for share in (0.0, 1.0, 0.25):
            logits, judged = D.apply(x, True, 2)
            drawn = penalty.draw(6, np.random.default_rng(0), 0)
            value = penalty.store_gradients(D, x, logits, judged, dy, drawn, share=share)
            actual.append((float(value), D.grad.copy()))
        (nothing, of_loss), (value, grad), (quarter, part) = actual
        assert (nothing, quarter) == (0.0, pytest.approx(0.25 * value, rel=1e-12))
        np.testing.assert_allclose(part - of_loss, 0.25 * (grad - of_loss), rtol=1e-9, atol=1e-12)
        D.store_gradients(judged, dy, add=False)
        np.testing.assert_allclose(of_loss, D.grad, rtol=1e-12, atol=1e-14)


def test_no_pass_stays_open_and_dropout_keeps_its_mask_within_a_penalty():
    D = Sequential(Dense(3, 4, rng=1, dtype=np.float64), Dropout(0.5, rng=3), Dense(4, 1, rng=2, dtype=np.float64))
    counting.check_penalty(R1(2.0), D, *numbers((2, 5, 3)), where="real", value=lambda r: np.mean(r**2))
    R1()(D, *numbers((2, 5, 3)), np.random.default_rng(0))
    D.forward(numbers((2, 3)))
    D.backward(np.ones((2, 1)))  # would be refused with another pass open


# ---- how they are written --------------------------------------------------------------------------------------------


class Own(R1):
    pass


def test_a_penalty_knows_how_it_is_written_wherever_it_lies():
    assert repr(R1(falling)) == "R1(gamma=falling)"
    assert repr(Own(2.0)) == "Own(gamma=2.0)"


def falling(t):
    return 1.0 / (t + 1)


@pytest.mark.parametrize("penalty", [R1(), R2(2.0, every=4), GradientPenalty(), GradientPenalty(one_sided=True)])
def test_how_they_are_written(penalty):
    assert repr(eval(repr(penalty))) == repr(penalty)


# ---- bad input -------------------------------------------------------------------------------------------------------


class Few(R1):
    def points(self, real, fake, drawn):
        return real[:2]

    def __repr__(self):
        return "Few()"


class Doubled(Sequential):
    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return 2.0 * y, passed


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
    with pytest.raises(ArgumentError, match=r"D must be a tinygan\.Sequential, got Dense"):
        R1()(Dense(3, 1, dtype=np.float64), x, x, 0)
    with pytest.raises(ShapeError, match=r"one logit for a sample, \(N, 1\), but gives \(4, 2\)"):
        R1()(Sequential(Dense(3, 2, dtype=np.float64)), x, x, 0)
    with pytest.raises(ArgumentError, match="Sum: at least one penalty is needed"):
        Sum()
    with pytest.raises(ShapeError, match=r"Few\(\): its points are \(2, 3\), but the samples \(4, 3\)"):
        (Few() + R1())(smooth_critic(), x, x, np.random.default_rng(0))
    with pytest.raises(
        SecondOrderError,
        match=r"D is a Doubled, a class that may compute something else.*like=Sequential.*Sequential\(D\)",
    ):
        R1()(Doubled(Dense(3, 1, dtype=np.float64)), x, x, 0)
    with pytest.raises(ShapeError, match=r"R1\(gamma=10.0\): real samples \(4, 3\) and generated ones \(2, 3\)"):
        R1()(smooth_critic(), x, x[:2], np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"layer 0 Dense\(3, 5\): expected input \(N, 3\), got \(N, 2\)"):
        R1()(smooth_critic(), x[:, :2], x[:, :2], np.random.default_rng(0))

    class Own(Tanh):
        def apply(self, x, train):
            return super().apply(2.0 * x, train)

    D = Sequential(Dense(3, 4, dtype=np.float64), Own(), Dense(4, 1, dtype=np.float64))
    D.grad[...] = 3.0
    with pytest.raises(SecondOrderError, match="layer 1 Own"):
        R1()(D, x, x, np.random.default_rng(0))
    assert (D.grad == 3.0).all()
    D.forward(x)
    D.backward(np.ones((4, 1)))  # the failed penalty has left no pass open


def test_a_penalty_of_ones_own():
    class AtTheMean(Penalty):
        """p(q) = q² at the mean of the real and the generated sample."""

        def points(self, real, fake, drawn):
            return 0.5 * (real + fake)

        def of_squares(self, q, drawn):
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
