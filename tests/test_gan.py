"""The adversarial step: who learns from whom, what stays untouched, what is reproducible."""

import json

import numpy as np
import pytest

from tinygan import GAN, Sequential, losses, optim
from tinygan.backend import to_numpy
from tinygan.errors import NonFiniteError
from tinygan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh
from tinygan.testing.device import count_syncs

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


def test_stacked_and_separate_batches_give_the_same_gradients(device):
    """Without BatchNorm in D, one batch of real and fake is the same sum as two; the flag only picks the way."""
    stacked, separate = (small_gan(device.name, dtype=np.float64) for _ in range(2))
    separate.discriminator.layers[0].couples_samples = True
    real = real_batch(device, dtype=np.float64)
    values = [float(gan._discriminator_step(real, check=False)[0]) for gan in (stacked, separate)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    np.testing.assert_allclose(*(to_numpy(g.discriminator.grad) for g in (stacked, separate)), rtol=1e-10, atol=1e-14)


class CouplesWhole(Sequential):
    """Batch normalisation that takes a batch only as a whole, as a layer of a user's own might."""

    parts = None


def test_batch_norm_sees_real_and_generated_samples_apart(device):
    """In one batch of two parts, and in two batches: the same losses, gradients and running statistics."""
    gans = []
    for layer in (BatchNorm(7, dtype=np.float64), CouplesWhole(BatchNorm(7, dtype=np.float64))):
        gan = small_gan(device.name, d_layers=[layer], dtype=np.float64)
        gan.losses = gan.step(real_batch(device, dtype=np.float64))
        gans.append(gan)
    parts, whole = gans
    assert parts.discriminator.parts == 1
    assert whole.discriminator.parts is None
    np.testing.assert_allclose([float(v) for v in parts.losses], [float(v) for v in whole.losses], rtol=1e-9)
    for a, b in (
        (parts.discriminator.grad, whole.discriminator.grad),
        *zip(parts.discriminator.buffers.values(), whole.discriminator.buffers.values(), strict=True),
    ):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-9, atol=1e-12)


def test_generator_step_leaves_the_discriminator_untouched(device):
    gan = small_gan(device.name)
    D = gan.discriminator
    D.grad[...] = 7.0
    theta = to_numpy(D.theta).copy()
    gan._generator_step(real_batch(device), check=False)
    assert (to_numpy(D.grad) == 7.0).all()
    np.testing.assert_array_equal(to_numpy(D.theta), theta)


def test_discriminator_step_leaves_the_generators_parameters_untouched(device):
    gan = small_gan(device.name)
    gan.generator.grad[...] = 7.0
    theta = to_numpy(gan.generator.theta).copy()
    gan._discriminator_step(real_batch(device), check=False)
    assert (to_numpy(gan.generator.grad) == 7.0).all()
    np.testing.assert_array_equal(to_numpy(gan.generator.theta), theta)


def test_the_generators_gradient_comes_through_the_discriminator(device):
    """With other weights in D, the same z must give G another gradient."""
    gradients = []
    for scale in (1.0, -0.5):
        gan = small_gan(device.name)
        gan.discriminator.theta[...] *= scale
        gan._generator_step(real_batch(device), check=False)
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
    here, there = small_gan("numpy", dtype=np.float64), small_gan(device.name, dtype=np.float64)
    real = np.random.default_rng(0).uniform(-1, 1, (8, 5))
    for _ in range(5):
        a, b = here.step(real), there.step(device.put(real))
    assert float(a.d) == pytest.approx(float(b.d), rel=1e-12)
    assert float(a.g) == pytest.approx(float(b.g), rel=1e-12)


def test_a_step_never_waits_for_the_device():
    gan = small_gan("standin", average=0.9, d_steps=2, d_optimizer=None)
    gan.d_optimizer.clip_norm = gan.g_optimizer.clip_norm = 1.0
    from tinygan.testing.device import standin

    real = standin.from_host(np.zeros((8, 5), dtype=np.float32))
    with count_syncs() as syncs:
        gan.step(real)
    assert syncs.count == 0, syncs.what


def test_several_discriminator_steps_share_out_the_batch():
    gan = small_gan(d_steps=3)
    seen = []
    original = gan._discriminator_step
    gan._discriminator_step = lambda real, check: seen.append(real.copy()) or original(real, check)
    real = np.arange(60, dtype=np.float32).reshape(12, 5) / 60
    gan.step(real)
    np.testing.assert_array_equal(np.concatenate(seen), real)
    assert [len(x) for x in seen] == [4, 4, 4]


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
    second.load_state(*first.state())
    for _ in range(3):
        second.step(real_batch(device))
    a, b = whole.state(), second.state()
    assert a[1] == b[1]
    assert {k: v.tobytes() for k, v in a[0].items()} == {k: v.tobytes() for k, v in b[0].items()}


class Poison(LeakyReLU):
    """A layer that turns to NaN in its forward or its backward pass."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def forward(self, x, *, train=True):
        y = super().forward(x, train=train)
        return y * float("nan") if self.where == "forward" else y

    def backward(self, dy):
        dx = super().backward(dy)
        return dx * float("nan") if self.where == "backward" else dx


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
        gan.step(real_batch(device), check=True)
    np.testing.assert_array_equal(to_numpy(gan.discriminator.theta), theta)


def test_nan_in_the_data_is_said_to_be_in_the_data(device):
    gan = small_gan(device.name)
    with pytest.raises(NonFiniteError, match="first in the real samples"):
        gan.step(real_batch(device) * float("nan"), check=True)


def test_in_the_generators_turn_the_message_says_that_d_has_moved_and_nothing_else_changes(device):
    class Broken(losses.NonSaturating):
        def generator(self, fake_logits, real_logits=None):
            value, d_fake = super().generator(fake_logits)
            return value * float("nan"), d_fake

    gan = small_gan(device.name, loss=Broken(), d_layers=[Dropout(0.5, rng=0)])
    theta = to_numpy(gan.generator.theta).copy()
    mask_source = gan.discriminator.layers[1].rng
    with pytest.raises(NonFiniteError, match=r"G's loss is nan .*first in the loss itself.*D has taken this step"):
        gan.step(real_batch(device), check=True)
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

        def forward(self, x, *, train=True):
            return super().forward(x + self.source.standard_normal(x.shape, dtype=x.dtype), train=train)

    a, b = (small_gan(d_layers=[Noisy()]) for _ in range(2))
    real = np.zeros((8, 5), dtype=np.float32)
    a.step(real)
    arrays, metadata = a.state()
    b.load_state(arrays, json.loads(json.dumps(metadata)))
    for gan in (a, b):
        gan.step(real)
    assert a.generator.theta.tobytes() == b.generator.theta.tobytes()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_in_the_generator_is_traced_to_the_generator(device):
    gan = small_gan(device.name)
    gan.generator.layers[3].params["W"][...] = float("inf")
    with pytest.raises(NonFiniteError, match=r"G's layer 3 Dense\(6, 5\) for noise"):
        gan.step(real_batch(device), check=True)


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
