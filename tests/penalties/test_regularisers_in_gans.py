"""SpectralNorm, MinibatchStdDev and Pack in the game: whole steps with every loss and penalty."""

import numpy as np
import pytest
from support import counting

from tinygan import GAN, Sequential, losses, optim
from tinygan.errors import ShapeError
from tinygan.layers import BatchNorm, Dense, LeakyReLU, MinibatchStdDev, Pack, Softplus, SpectralNorm, Tanh
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs import state
from tinygan.runs.tracing import require_finite

numbers = np.random.default_rng(0).standard_normal
f8 = {"dtype": np.float64}

LOSSES = [
    losses.Minimax(),
    losses.NonSaturating(),
    losses.LeastSquares(),
    losses.Wasserstein(),
    losses.Hinge(),
    losses.Relativistic(),
]


def critic(name, seed=0):
    """D for samples (N, 3), of one kind."""
    rng = np.random.default_rng(seed)

    def dense(n_in, n_out):
        return Dense(n_in, n_out, rng=rng, **f8)

    if name == "pack":
        return Sequential(Pack(2), dense(6, 5), LeakyReLU(), dense(5, 1))
    if name == "std":
        return Sequential(dense(3, 5), LeakyReLU(), MinibatchStdDev(), dense(6, 1))
    if name == "spectral":
        return Sequential(SpectralNorm(dense(3, 5), rng=rng), LeakyReLU(), SpectralNorm(dense(5, 1), rng=rng))
    return Sequential(
        Pack(2),
        SpectralNorm(dense(6, 5), rng=rng),
        BatchNorm(5, **f8),
        Softplus(),
        MinibatchStdDev(),
        SpectralNorm(dense(6, 1), rng=rng),
    )


def gan(D, device=None, **options):
    G = Sequential(Dense(2, 4, rng=1, **f8), Tanh(), Dense(4, 3, rng=2, **f8))
    options = {"d_optimizer": optim.SGD(D, 0.1), "g_optimizer": optim.SGD(G, 0.1), **options}
    return GAN(G, D, noise_dim=2, **options).to(device.name if device else "numpy")


critics = pytest.mark.parametrize("name", ["pack", "std", "spectral", "all"])


@critics
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_whole_step_with_every_loss_and_penalty(device, name, loss):
    game = gan(critic(name), device, loss=loss, penalties=[R1(1.0), R2(1.0), GradientPenalty()], d_steps=2, average=0.9)
    before = device.get(game.discriminator.theta).copy(), device.get(game.generator.theta).copy()
    for _ in range(2):
        result = game.step(device.put(numbers((16, 3))), watch=require_finite)
    assert np.isfinite([float(v) for v in result]).all()
    assert (device.get(game.discriminator.theta) != before[0]).any()
    assert (device.get(game.generator.theta) != before[1]).any()


@pytest.mark.parametrize("name", ["pack", "std"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_real_and_generated_samples_do_not_mix(name, loss):
    """Layer by layer in one pass, or as a network in the network that sees the batches one by one: the same."""
    games = []
    for D in (critic(name), Sequential(critic(name))):
        game = gan(D, loss=loss, penalties=[R1(1.0), GradientPenalty()])
        games.append((game, game.step(np.random.default_rng(5).standard_normal((8, 3)))))
    (joined, actual), (whole, expected) = games
    np.testing.assert_allclose([float(v) for v in actual], [float(v) for v in expected], rtol=1e-9)
    np.testing.assert_allclose(joined.discriminator.grad, whole.discriminator.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(joined.generator.grad, whole.generator.grad, rtol=1e-9, atol=1e-12)


@critics
@pytest.mark.parametrize(
    ("penalty", "where", "value"),
    [
        (R1(3.0), "real", lambda r: 1.5 * np.mean(r**2)),
        (GradientPenalty(), "between", lambda r: 10.0 * np.mean((r - 1.0) ** 2)),
    ],
    ids=["R1", "GP"],
)
def test_penalties_are_exact_through_them(name, penalty, where, value):
    rng = np.random.default_rng(3)
    counting.check_penalty(penalty, critic(name), *rng.standard_normal((2, 8, 3)), where=where, value=value)


def test_generators_learn_through_them():
    G = Sequential(Dense(2, 4, rng=1, **f8), Tanh(), Dense(4, 3, rng=2, **f8))
    for name in ("pack", "std", "spectral", "all"):
        counting.check_generator_gradient(G, critic(name), losses.NonSaturating(), numbers((8, 2)))


def test_a_resumed_run_is_the_same_run():
    """u is part of the state: without it the first resumed step would differ."""
    game, real = gan(critic("all"), penalties=R1(1.0)), numbers((5, 8, 3))
    for batch in real[:2]:
        game.step(batch)
    arrays, metadata = state.state(game)
    resumed = gan(critic("all", seed=9), penalties=R1(1.0))
    state.load_state(resumed, arrays, metadata)
    for batch in real[2:]:
        assert [float(v) for v in game.step(batch)] == [float(v) for v in resumed.step(batch)]
    np.testing.assert_array_equal(game.discriminator.theta, resumed.discriminator.theta)


def test_a_batch_that_cannot_be_packed_says_so_in_the_step():
    with pytest.raises(ShapeError, match=r"layer 0 Pack\(2\): a batch of 7 samples.*multiple of 2"):
        gan(critic("pack")).step(numbers((7, 3)))


def test_packing_notices_a_generator_that_makes_one_sample_only():
    """Alone, each fake is as real as can be; side by side, two that are alike are not. Without Pack, D cannot tell."""
    rng = np.random.default_rng(0)
    real = np.sign(rng.standard_normal((2000, 1)))  # two modes, ±1
    fake = np.repeat(np.sign(rng.standard_normal((1000, 1))), 2, axis=0)  # both as often, but two in a row alike

    def learned(*head):
        c = 2 if head else 1
        D = Sequential(*head, Dense(c, 16, rng=1, **f8), LeakyReLU(), Dense(16, 1, rng=2, **f8))
        loss, adam = losses.NonSaturating(), optim.Adam(D, 0.02)
        for _ in range(60):
            logits, judged = D.apply(np.concatenate([real, fake]), True)
            half = len(logits) // 2
            value, *slopes = loss.discriminator(logits[:half], logits[half:])
            D.store_gradients(judged, np.concatenate(slopes), add=False)
            adam.step()
        return float(value)

    assert learned() > 1.3  # 2 log 2 = 1.386: it can only guess
    assert learned(Pack(2)) < 1.1
