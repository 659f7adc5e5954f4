"""The adversarial step: who learns from whom, what stays untouched, what is reproducible."""

import json

import numpy as np
import pytest
from support.naive_game import NaiveGame, NaiveNetwork

from tinygan import GAN, Sequential, losses, optim, to_numpy
from tinygan.errors import ArgumentError, NonFiniteError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, Flatten, LeakyReLU, Reshape, Sigmoid, Tanh
from tinygan.ops import ops_of
from tinygan.runs import require_finite
from tinygan.runs.state import load_state, state
from tinygan.testing.device import count_syncs, standin

LOSSES = [losses.Minimax, losses.NonSaturating, losses.LeastSquares]


def small_gan(backend="numpy", *, d_layers=(), seed=0, dtype=np.float32, **options):
    rng = np.random.default_rng(3)
    generator = Sequential(
        Dense(4, 6, rng=rng, dtype=dtype),
        BatchNorm(6, dtype=dtype),
        LeakyReLU(),
        Dense(6, 5, rng=rng, dtype=dtype),
        Tanh(),
    )
    discriminator = Sequential(
        Dense(5, 7, rng=rng, dtype=dtype), *d_layers, LeakyReLU(), Dense(7, 1, rng=rng, dtype=dtype)
    )
    return GAN(generator, discriminator, noise_dim=4, seed=seed, **options).to(backend)


def real_batch(device, n=8, dtype=np.float32):
    return device.put(np.random.default_rng(11).uniform(-1, 1, (n, 5)).astype(dtype))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("d_layers", [(), (BatchNorm(7),)], ids=["plain", "batchnorm"])
def test_a_step_moves_both_networks_and_gives_finite_losses(device, loss, d_layers):
    gan = small_gan(device.name, d_layers=[layer.copy() for layer in d_layers], loss=loss())
    before = to_numpy(gan.generator.theta).copy(), to_numpy(gan.discriminator.theta).copy()
    result = gan.step(real_batch(device))
    assert np.isfinite([float(result.d), float(result.g)]).all()
    assert (to_numpy(gan.generator.theta) != before[0]).any()
    assert (to_numpy(gan.discriminator.theta) != before[1]).any()


def drawn(gan, real):
    return ops_of(real).place(gan.draw(len(real) // gan.d_steps), gan.generator.theta)


def generator_turn(gan, real):
    return gan._generator_turn(real, *drawn(gan, real).g, None)


def discriminator_turn(gan, real):
    return gan._discriminator_turn(real, *drawn(gan, real).d[0], None)


# ---- every number that a step changes --------------------------------------------------------------------------------


def identity(y):
    return y


def same_games(loss, *, d_steps, seed=2, clip=None):
    """A GAN in float64, and the same game in plain NumPy."""
    rng, f8 = np.random.default_rng(5), {"dtype": np.float64}
    G = Sequential(Dense(3, 5, rng=rng, **f8), BatchNorm(5, **f8), LeakyReLU(), Dense(5, 4, rng=rng, **f8), Tanh())
    D = Sequential(Dense(4, 6, rng=rng, **f8), BatchNorm(6, **f8), LeakyReLU(), Dense(6, 1, rng=rng, **f8))
    for network in (G, D):
        network.theta[...] += 0.1 * rng.standard_normal(network.size)  # no bias is 0, no scale 1
    rates = {"g_lr": lambda t: 0.3 / (1 + t), "d_lr": lambda t: 0.2 / (1 + t)}
    naive = NaiveGame(
        NaiveNetwork((3, 5, 4), G.theta, np.tanh),
        NaiveNetwork((4, 6, 1), D.theta, identity),
        loss,
        d_steps=d_steps,
        decay=0.25,  # reached in the third step
        clip=clip,
        seed=seed,
        **rates,
    )
    kind = getattr(losses, loss)
    gan = GAN(
        G,
        D,
        noise_dim=3,
        loss=kind(real_label=0.9) if issubclass(kind, losses.Labelled) else kind(),
        g_optimizer=optim.SGD(G, rates["g_lr"]),
        d_optimizer=optim.SGD(D, rates["d_lr"]),
        d_steps=d_steps,
        average=0.25,
        weight_clip=clip,
        seed=seed,
    )
    return gan, naive


def assert_same_game(gan, naive, result, expected):
    def close(ours, theirs, what):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-9, atol=1e-12, err_msg=what)

    close(np.array([float(result.d), float(result.g)]), [float(v.real) for v in expected], "losses")
    networks = {
        "G": (gan.generator, naive.G),
        "D": (gan.discriminator, naive.D),
        "average": (gan.average.network, naive.average),
    }
    for name, (ours, theirs) in networks.items():
        close(ours.theta, theirs.theta, f"{name}'s weights")
        close(ours.buffers["1.running_mean"], theirs.mean, f"{name}'s running means")
        close(ours.buffers["1.running_var"], theirs.var, f"{name}'s running variances")
    close(gan.generator.grad, naive.g_grad, "G's gradient")
    close(gan.discriminator.grad, naive.d_grad, "D's gradient")


@pytest.mark.parametrize("loss", ["Minimax", "NonSaturating", "LeastSquares", "Relativistic"])
@pytest.mark.parametrize("d_steps", [1, 3])
def test_a_step_is_the_algorithm_number_by_number(device, loss, d_steps):
    """Losses, gradients, weights, statistics and averages of four steps, against plain NumPy with complex steps."""
    gan, naive = same_games(loss, d_steps=d_steps)
    gan.to(device.name)
    rng = np.random.default_rng(6)
    for _ in range(4):
        real = np.tanh(rng.standard_normal((5 * d_steps, 4)))
        assert_same_game(gan, naive, gan.step(device.put(real)), naive.step(real))
    z = rng.standard_normal((6, 3))
    samples = to_numpy(gan.sample(z=device.put(z)))  # with the running statistics, not with those of these six
    np.testing.assert_allclose(samples, naive.average(z, train=False), rtol=1e-9, atol=1e-12)


def test_clipped_weights_number_by_number(device):
    gan, naive = same_games("NonSaturating", d_steps=2, clip=0.05)
    gan.to(device.name)
    real = np.tanh(np.random.default_rng(6).standard_normal((10, 4)))
    for _ in range(2):
        assert_same_game(gan, naive, gan.step(device.put(real)), naive.step(real))


def test_after_resuming_each_optimiser_goes_on_at_its_own_step():
    """D has taken three steps for each of G's, and its schedule must know."""
    gan, naive = same_games("NonSaturating", d_steps=3)
    resumed, _ = same_games("NonSaturating", d_steps=3)
    real = np.tanh(np.random.default_rng(6).standard_normal((15, 4)))
    for _ in range(2):
        gan.step(real)
        naive.step(real)
    load_state(resumed, *state(gan))
    assert (resumed.d_optimizer.t, resumed.g_optimizer.t) == (6, 2)
    assert_same_game(resumed, naive, resumed.step(real), naive.step(real))


# ---- who learns from whom --------------------------------------------------------------------------------------------


def test_one_pass_over_both_batches_is_the_sum_of_two(device):
    """Without batch normalisation in D, real and generated samples side by side give what two passes add up to."""
    gan = small_gan(device.name, dtype=np.float64)
    real, D = real_batch(device, dtype=np.float64), gan.discriminator
    draws, G, before = drawn(gan, real), gan.generator.copy(), D.copy()
    value, _ = gan._discriminator_turn(real, *draws.d[0], None)
    (r, of_real), (f, of_fake) = (before.apply(x, True) for x in (real, G.apply(draws.d[0][0], True)[0]))
    expected, d_real, d_fake = gan.loss.discriminator(r, f)
    before.store_gradients(of_real, d_real, add=False)
    before.store_gradients(of_fake, d_fake)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(to_numpy(D.grad), to_numpy(before.grad), rtol=1e-10, atol=1e-14)


class BatchNormOfOnesOwn(BatchNorm):
    """What a user might have derived: no backend knows how to make it faster."""


def test_batch_norm_sees_real_and_generated_samples_apart(device):
    """The same losses, gradients and running statistics, whichever link runs it."""
    gans = []
    for layer in (BatchNorm(7, dtype=np.float64), BatchNormOfOnesOwn(7, dtype=np.float64)):
        gan = small_gan(device.name, d_layers=[layer], dtype=np.float64)
        gan.losses = gan.step(real_batch(device, dtype=np.float64))
        gans.append(gan)
    known, mine = gans
    np.testing.assert_allclose([float(v) for v in known.losses], [float(v) for v in mine.losses], rtol=1e-9)
    for a, b in (
        (known.discriminator.grad, mine.discriminator.grad),
        *zip(known.discriminator.buffers.values(), mine.discriminator.buffers.values(), strict=True),
    ):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-9, atol=1e-12)


def test_generators_turn_leaves_the_discriminator_untouched(device):
    gan = small_gan(device.name)
    D = gan.discriminator
    D.grad[...] = 7.0
    theta = to_numpy(D.theta).copy()
    generator_turn(gan, real_batch(device))
    assert (to_numpy(D.grad) == 7.0).all()
    np.testing.assert_array_equal(to_numpy(D.theta), theta)


def test_discriminators_turn_leaves_the_generators_parameters_untouched(device):
    gan = small_gan(device.name)
    gan.generator.grad[...] = 7.0
    theta = to_numpy(gan.generator.theta).copy()
    discriminator_turn(gan, real_batch(device))
    assert (to_numpy(gan.generator.grad) == 7.0).all()
    np.testing.assert_array_equal(to_numpy(gan.generator.theta), theta)


def test_the_generators_gradient_comes_through_the_discriminator(device):
    """With other weights in D, the same z must give G another gradient."""
    gradients = []
    for scale in (1.0, -0.5):
        gan = small_gan(device.name)
        gan.discriminator.theta[...] *= scale
        generator_turn(gan, real_batch(device))
        gradients.append(to_numpy(gan.generator.grad))
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-3


def test_the_generator_learns_through_the_updated_discriminator(device):
    """D's step comes first: a larger learning rate of D changes what G's first step sees."""
    gradients = []
    for lr in (1e-4, 0.5):
        gan = small_gan(device.name)
        gan.d_optimizer.lr = lr
        gan.step(real_batch(device))
        gradients.append(to_numpy(gan.generator.grad))
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-4


def test_one_seed_gives_the_same_bytes_and_another_seed_others(device):
    def run(seed):
        gan = small_gan(device.name, seed=seed, average=0.9, d_layers=[Dropout(0.3, rng=5)])
        for _ in range(3):
            gan.step(real_batch(device))
        return to_numpy(gan.generator.theta).tobytes(), to_numpy(gan.sample(3)).tobytes()

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_sampling_does_not_change_what_is_learned(device):
    plain, watched = small_gan(device.name, average=0.9), small_gan(device.name, average=0.9)
    for _ in range(3):
        plain.step(real_batch(device))
        watched.step(real_batch(device))
        watched.sample(5)
    assert to_numpy(plain.generator.theta).tobytes() == to_numpy(watched.generator.theta).tobytes()


def test_backends_agree_in_float64(device):
    on_host, on_device = small_gan("numpy", dtype=np.float64), small_gan(device.name, dtype=np.float64)
    real = np.random.default_rng(0).uniform(-1, 1, (8, 5))
    for _ in range(5):
        a, b = on_host.step(real), on_device.step(device.put(real))
    assert float(a.d) == pytest.approx(float(b.d), rel=1e-12)
    assert float(a.g) == pytest.approx(float(b.g), rel=1e-12)


def test_a_step_never_waits_for_the_device():
    gan = small_gan("standin", average=0.9, d_steps=2, d_optimizer=None)
    gan.d_optimizer.clip_norm = gan.g_optimizer.clip_norm = 1.0
    real = standin.from_host(np.zeros((8, 5), dtype=np.float32))
    with count_syncs() as syncs:
        gan.step(real)
    assert syncs.count == 0, syncs.what


def test_several_discriminator_steps_share_out_the_batch():
    gan = small_gan(d_steps=3)
    seen = []
    real = np.arange(60, dtype=np.float32).reshape(12, 5) / 60
    gan.step(real, watch=lambda gan, turn: seen.append(turn))
    assert [turn.player for turn in seen] == ["D", "D", "D", "G"]
    np.testing.assert_array_equal(np.concatenate([turn.real for turn in seen[:3]]), real)
    np.testing.assert_array_equal(seen[3].real, real[8:])
    assert len({turn.z.tobytes() for turn in seen}) == 4, "each turn has a noise of its own"


def test_a_watcher_sees_each_gradient_before_the_weights_move(device):
    gan, seen = small_gan(device.name, d_steps=2), []

    def watch(watched, turn):
        network = gan.discriminator if turn.player == "D" else gan.generator
        assert watched is gan
        seen.append((turn.player, float(turn.loss), to_numpy(network.theta).copy(), to_numpy(network.grad).copy()))

    before = {"D": to_numpy(gan.discriminator.theta).copy(), "G": to_numpy(gan.generator.theta).copy()}
    result = gan.step(real_batch(device), watch=watch)
    assert [player for player, *_ in seen] == ["D", "D", "G"]
    for player, k in (("D", 0), ("G", 2)):
        np.testing.assert_array_equal(seen[k][2], before[player])
        assert seen[k][3].any()
    assert (seen[1][2] != before["D"]).any()
    assert (seen[1][1], seen[2][1]) == (float(result.d), float(result.g))


def test_what_is_decided_can_be_computed_again(device):
    """``play`` knows nothing but real samples and draws: no random number, no count of steps."""
    first, second = (small_gan(device.name, average=0.9, d_steps=2) for _ in range(2))
    real = real_batch(device)
    draws = drawn(first, real)
    second.rng = second.d_optimizer.numbers = second.average.part = None
    for gan in (first, second):
        gan.play(real, draws)
    for a, b in ((first.generator, second.generator), (first.discriminator, second.discriminator)):
        assert to_numpy(a.theta).tobytes() == to_numpy(b.theta).tobytes()


def test_penalties_are_drawn_for_each_turn_and_know_the_step():
    """None says that none is due; what was drawn is what the gradient is made with."""

    class Recorder:
        def __init__(self):
            self.asked, self.given = [], []

        def draw(self, n, rng, t):
            self.asked.append((n, t))
            return (0.5, rng.standard_normal(2)) if t == 1 else None

        def store_gradients(self, D, x, logits, judged, d_logits, drawn):
            self.given.append((x.shape, drawn))
            D.store_gradients(judged, d_logits, add=False)
            D.grad[...] += drawn[0]
            return 2.0

    recorder = Recorder()
    gan = small_gan(penalties=recorder, d_steps=2)
    real = np.zeros((8, 5), dtype=np.float32)
    assert [gan.step(real).penalty for _ in range(3)] == [0.0, 2.0, 0.0]
    assert gan.t == 3
    assert recorder.asked == [(4, t) for t in (0, 0, 1, 1, 2, 2)]
    assert [shape for shape, _ in recorder.given] == [(8, 5)] * 2  # real and fake
    assert not np.array_equal(*(drawn[1] for _, drawn in recorder.given))


# ---- what is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [[Sigmoid()], [Sigmoid(), Reshape(1)], [Sequential(Sigmoid()), Flatten()], [Sigmoid(), Dropout(0.5)]],
    ids=str,
)
def test_least_squares_takes_a_discriminator_that_ends_in_a_sigmoid(end):
    """Its labels are numbers that a sigmoid can give; every other loss applies σ itself, or needs room."""
    G, D = Sequential(Dense(2, 3)), Sequential(Dense(3, 1), *end)
    gan = GAN(G, D, noise_dim=2, loss=losses.LeastSquares())
    assert np.isfinite([float(v) for v in gan.step(np.ones((4, 3), dtype=np.float32))]).all()
    for loss in (None, losses.Minimax(), losses.NonSaturating(), losses.Wasserstein(), losses.Hinge()):
        with pytest.raises(ArgumentError, match=r"D ends in Sigmoid\(\), but \w+\(\) takes logits"):
            GAN(G, D, noise_dim=2, loss=loss)


def test_one_sample_a_turn_is_enough():
    gan = GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 1)), noise_dim=2, d_steps=3)
    assert np.isfinite(float(gan.step(np.ones((3, 3), dtype=np.float32)).d))
    with pytest.raises(ShapeError, match="4 real samples cannot be shared out over d_steps = 3"):
        gan.step(np.ones((4, 3), dtype=np.float32))


def test_penalties_may_come_alone_or_in_a_list():
    from tinygan.penalties import R1, R2

    r1, r2 = R1(1.0), R2(1.0)
    assert small_gan().penalties == ()
    assert small_gan().penalty is None
    assert small_gan(penalties=r1).penalties == (r1,)
    assert small_gan(penalties=(r1, r2)).penalties == (r1, r2)
    gan = small_gan()
    gan.penalties = [r1]  # set later, they are paid as well
    assert gan.penalty is r1
    for what in (Dense(3, 1), R1, [r1, R1]):  # a layer, and classes for objects of them
        with pytest.raises(ArgumentError, match="must be objects such as"):
            gan.penalties = what


def test_a_loss_is_an_object_with_the_methods_of_one():
    gan = small_gan()
    for what in (losses.Hinge, Dense(3, 1), "hinge"):
        with pytest.raises(ArgumentError, match="loss must be an object such as"):
            gan.loss = what


# ---- the average, and samples ----------------------------------------------------------------------------------------


def test_average_is_sampled_and_leaves_training_alone():
    with_average, without = small_gan(average=0.99), small_gan()
    real = np.random.default_rng(1).uniform(-1, 1, (8, 5)).astype(np.float32)
    for _ in range(4):
        with_average.step(real)
        without.step(real)
    np.testing.assert_array_equal(with_average.generator.theta, without.generator.theta)
    z = without.noise(4, rng=np.random.default_rng(0))
    assert np.abs(with_average.sample(z=z) - without.sample(z=z)).max() > 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_state_continues_to_the_same_bytes(device, loss):
    def build():
        return small_gan(device.name, average=0.9, loss=loss(), d_layers=[BatchNorm(7), Dropout(0.2, rng=1)])

    whole, first, second = build(), build(), build()
    for _ in range(5):
        whole.step(real_batch(device))
    for _ in range(2):
        first.step(real_batch(device))
    load_state(second, *state(first))
    for _ in range(3):
        second.step(real_batch(device))
    a, b = state(whole), state(second)
    assert a[1] == b[1]
    assert {k: v.tobytes() for k, v in a[0].items()} == {k: v.tobytes() for k, v in b[0].items()}


class Poison(LeakyReLU):
    """A layer that turns to NaN in its forward or its backward pass."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return (y * float("nan") if self.where == "forward" else y), cache

    def gradients(self, cache, dy):
        dx, of_params = super().gradients(cache, dy)
        return (dx * float("nan") if self.where == "backward" else dx), of_params


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("forward", r"step 1: D's loss is nan .*first in the output of D's layer 1 LeakyReLU\(0.2\) for real samples"),
        ("backward", r"step 1: D's loss .*first in the gradient of \w of D's layer 0 Dense\(5, 7\)"),
    ],
)
def test_what_is_not_finite_is_traced_to_its_layer_before_any_update(device, where, message):
    gan = small_gan(device.name, d_layers=[Poison(where)])
    theta = to_numpy(gan.discriminator.theta).copy()
    with pytest.raises(NonFiniteError, match=message):
        gan.step(real_batch(device), watch=require_finite)
    np.testing.assert_array_equal(to_numpy(gan.discriminator.theta), theta)


def test_nan_in_the_data_is_said_to_be_in_the_data(device):
    gan = small_gan(device.name)
    with pytest.raises(NonFiniteError, match="first in the real samples"):
        gan.step(real_batch(device) * float("nan"), watch=require_finite)


def test_in_the_generators_turn_the_message_says_that_d_has_moved_and_nothing_else_changes(device):
    class Broken(losses.NonSaturating):
        def generator(self, fake_logits, real_logits=None):
            value, d_fake = super().generator(fake_logits)
            return value * float("nan"), d_fake

    gan = small_gan(device.name, loss=Broken(), d_layers=[Dropout(0.5, rng=0)])
    theta = to_numpy(gan.generator.theta).copy()
    mask_source = gan.discriminator.layers[1].rng
    with pytest.raises(NonFiniteError, match=r"G's loss is nan .*first in the loss itself.*D has taken this step"):
        gan.step(real_batch(device), watch=require_finite)
    np.testing.assert_array_equal(to_numpy(gan.generator.theta), theta)
    twin = small_gan(device.name, d_layers=[Dropout(0.5, rng=0)])
    twin.step(real_batch(device))
    assert mask_source.bit_generator.state == twin.discriminator.layers[1].rng.bit_generator.state
    for key, value in gan.generator.buffers.items():
        np.testing.assert_array_equal(to_numpy(value), to_numpy(twin.generator.buffers[key]))


def test_a_step_that_breaks_off_does_not_spoil_the_next(device):
    class Once(losses.NonSaturating):
        armed = True

        def generator(self, fake_logits, real_logits=None):
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return super().generator(fake_logits)

    gan = small_gan(device.name, loss=Once())
    with pytest.raises(KeyboardInterrupt):
        gan.step(real_batch(device))
    gan.step(real_batch(device))


def test_a_loss_that_compares_is_given_the_real_logits(device):
    seen = []

    class Comparing(losses.NonSaturating):
        compares = True

        def generator(self, fake_logits, real_logits=None):
            seen.append(real_logits)
            return super().generator(fake_logits)

    gan, plain = (small_gan(device.name, loss=loss) for loss in (Comparing(), None))
    real = real_batch(device)
    gan.step(real)
    plain.step(real)
    np.testing.assert_array_equal(to_numpy(seen[0]), to_numpy(gan.discriminator(real)))
    np.testing.assert_array_equal(to_numpy(gan.generator.theta), to_numpy(plain.generator.theta))


def test_every_kind_of_generator_is_saved():
    """A layer may call its source what it likes, and use another bit generator."""

    class Noisy(LeakyReLU):
        def __init__(self):
            super().__init__()
            self.source = np.random.Generator(np.random.MT19937(4))

        def apply(self, x, train):
            return super().apply(x + self.source.standard_normal(x.shape, dtype=x.dtype), train)

    a, b = (small_gan(d_layers=[Noisy()]) for _ in range(2))
    real = np.zeros((8, 5), dtype=np.float32)
    a.step(real)
    arrays, metadata = state(a)
    load_state(b, arrays, json.loads(json.dumps(metadata)))
    for gan in (a, b):
        gan.step(real)
    assert a.generator.theta.tobytes() == b.generator.theta.tobytes()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_in_the_generator_is_traced_to_the_generator(device):
    gan = small_gan(device.name)
    gan.generator.layers[3].params["W"][...] = float("inf")
    with pytest.raises(NonFiniteError, match=r"G's layer 3 Dense\(6, 5\) for noise"):
        gan.step(real_batch(device), watch=require_finite)


def test_training_learns_a_distribution():
    """A two-dimensional Gaussian far from where G starts: after training, samples have its mean and spread."""
    rng = np.random.default_rng(0)
    generator = Sequential(Dense(2, 32, rng=rng), LeakyReLU(), Dense(32, 2, rng=rng))
    discriminator = Sequential(Dense(2, 32, rng=rng), LeakyReLU(), Dense(32, 1, rng=rng))
    gan = GAN(
        generator,
        discriminator,
        noise_dim=2,
        g_optimizer=optim.Adam(generator, 2e-3),
        d_optimizer=optim.Adam(discriminator, 2e-3),
        average=0.99,
    )
    center = np.array([2.0, -1.0])
    for _ in range(800):
        gan.step((center + 0.5 * rng.standard_normal((64, 2))).astype(np.float32))
    samples = gan.sample(2000)
    assert np.abs(samples.mean(axis=0) - center).max() < 0.3
    assert (samples.std(axis=0) > 0.2).all()
    assert (samples.std(axis=0) < 0.9).all()


def test_more_samples_than_are_made_at_a_time():
    gan = small_gan()
    z = np.random.default_rng(0).standard_normal((1003, gan.noise_dim)).astype(gan.generator.theta.dtype)
    samples = gan.sample(z=z)
    assert len(samples) == 1003
    np.testing.assert_allclose(samples, gan.generator(z), rtol=1e-5, atol=1e-6)


def test_the_number_of_samples_may_be_said_twice():
    gan, z = small_gan(), np.zeros((3, 4), dtype=np.float32)
    assert len(gan.sample(3, z=z)) == 3
    with pytest.raises(ArgumentError, match="n = 2, but z has 3 rows"):
        gan.sample(2, z=z)


def test_a_discriminator_may_have_nothing_to_learn():
    """Its last layer is then one that only arranges numbers, and no sigmoid."""
    gan = GAN(Sequential(Dense(2, 1)), Sequential(Flatten()), noise_dim=2)
    assert np.isfinite(float(gan.step(np.ones((3, 1), dtype=np.float32)).g))


@pytest.mark.parametrize("d_steps", [1, 2])
def test_no_sample_is_refused_and_one_a_turn_is_not(d_steps):
    gan = GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 1)), noise_dim=2, d_steps=d_steps)
    with pytest.raises(ShapeError, match="0 real samples"):
        gan.step(np.ones((0, 3), dtype=np.float32))
    assert gan.step(np.ones((d_steps, 3), dtype=np.float32)).d.shape == ()
