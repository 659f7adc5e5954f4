"""What a user may write, as a type checker sees it: ``mypy --strict`` and ``pyright`` accept this file."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import tinygan
from tinygan import GAN, Sequential, data, initializers, load_trained, losses, models, penalties, schedules, train
from tinygan.gan import Losses, Turn
from tinygan.layers import BatchNorm, Conv2D, Dense, Flatten, Layer, LeakyReLU, SpectralNorm
from tinygan.network import Pass
from tinygan.ops import Array
from tinygan.optim import Adam, Optimizer
from tinygan.penalties import R1, R2, GradientPenalty, Penalty
from tinygan.runs import require_finite
from tinygan.testing import (
    GradientReport,
    check_function,
    check_generator_gradient,
    check_gradients,
    check_layer,
    check_penalty,
    check_second_order,
)


class Scale(Layer):
    """y = s x, with one s for each of c channels; the cache is x, and called so."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.add_param("s", np.ones(c, dtype=np.float32))

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        return self.params["s"] * x, x

    def gradients(self, x: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        return self.params["s"] * dy, {"s": (x * dy).sum(axis=0)}


def scale_second_order(layer: Scale, x: Array, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
    return None, {"s": (v * g).sum(axis=0)}


penalties.register(Scale, symmetric=True, second_order=scale_second_order)


class Residual(Sequential):
    """x + what the layers make of it."""

    def apply(self, x: Array, train: bool, batches: int = 1) -> tuple[Array, Pass]:
        y, passed = super().apply(x, train, batches)
        return x + y, passed

    def input_gradient(self, cache: Pass, dy: Array) -> Array:
        dx: Array = dy + super().input_gradient(cache, dy)
        return dx

    def backprop(self, cache: Pass, dy: Array, add: bool = True) -> Array:
        dx: Array = dy + super().backprop(cache, dy, add)
        return dx


class Signs(Optimizer):
    """Each number moves by the sign of its mean gradient."""

    state_names = ("mean",)

    def update(self, lr: float, theta: Array, g: Array, mean: Array) -> None:
        mean += 0.1 * (g - mean)
        theta -= lr * np.sign(mean)


class Quartic(Penalty):
    """mean ‖g‖⁴ at real samples."""

    def points(self, real: Array, fake: Array, drawn: Any) -> Array:
        return real

    def of_squares(self, q: Array, nothing: Any) -> tuple[Array, Array]:
        return q * q, 2.0 * q


class Squares(losses.Loss):
    """D says 1 of real samples, 0 of others."""

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        r, f = real_logits - 1.0, fake_logits
        return (r * r).mean() + (f * f).mean(), 2.0 * r / r.size, 2.0 * f / f.size

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        f = fake_logits - 1.0
        return (f * f).mean(), 2.0 * f / f.size


def layers_by_themselves(rng: np.random.Generator) -> None:
    network = Sequential(
        Dense(2, 8, rng=rng, init=initializers.he_normal),
        LeakyReLU(),
        Scale(8),
        Residual(Dense(8, 8, rng=1), BatchNorm(8)),
        SpectralNorm(Dense(8, 1, rng=rng)),
    )
    x = rng.standard_normal((4, 2)).astype(np.float32)
    y: Array = network.forward(x, train=True)
    dx: Array = network.backward(np.ones_like(y))
    print(dx.shape, len(network), [repr(layer) for layer in network], network[0].size, network.output_shape((2,)))
    report: GradientReport = check_gradients(network, x, directions=4)
    print(report.largest_error, report.comparisons, check_second_order(Scale(2), x).zero)
    check_layer(Scale(2), x)
    check_function(Squares().discriminator, x[:, :1], x[:, 1:])
    copy: Sequential = network.astype(np.float64).copy()
    print(copy.summary(), tinygan.to_backend(copy.theta, "numpy").dtype, tinygan.get_xp(x).__name__)


def a_game(rng: np.random.Generator) -> None:
    generator, discriminator = models.mlp((4, 4, 1), noise_dim=3, g_hidden=(8,), d_hidden=[8], rng=0)
    gan = GAN(
        generator,
        discriminator,
        noise_dim=3,
        loss=Squares(),
        g_optimizer=Signs(generator, schedules.linear(1e-3, 0.0, 100)),
        d_optimizer=Adam(discriminator, lr=lambda t: 1e-3 / (t + 1), clip_norm=1.0),
        penalties=[R1(1.0), R2(schedules.cosine(1.0, 0.1, 10), every=2), Quartic()],
        average=0.9,
    )
    real = rng.uniform(-1.0, 1.0, (6, 4, 4, 1)).astype(np.float32)

    def watch(gan: GAN, turn: Turn) -> None:
        require_finite(gan, turn)
        print(gan.t, turn.player, float(turn.loss))

    measured: Losses = gan.step(real, watch=watch)
    print(float(measured.d), float(measured.g), gan.sample(3).shape, gan.to("numpy").noise(2).dtype)
    z = gan.noise(4, rng=rng)
    fake: Array = gan.sample(z=z)
    check_generator_gradient(generator, discriminator, losses.NonSaturating(), z)
    check_penalty(GradientPenalty(), discriminator, real[:4], fake, where="between", value=between)
    value: Array = (R1() + Quartic())(discriminator, real[:4], fake, 0)
    print(float(value), repr(R1() + R2()))


def between(norms: np.ndarray[Any, Any]) -> float:
    return float(10.0 * ((norms - 1.0) ** 2).mean())


def a_run(folder: Path, rng: np.random.Generator) -> None:
    np.save(folder / "pictures.npy", rng.integers(0, 256, (16, 8, 8, 3)).astype(np.uint8))
    images = data.load(folder / "pictures.npy", size=(8, 8), channels=3, mirror=True)
    order: Iterator[np.ndarray[Any, Any]] = data.batches(len(images), 4, seed=0)
    print(images.description, images.image_shape, images.batch(next(order), low=0.0).max())
    generator, discriminator = models.dcgan(images.image_shape, noise_dim=4, width=2, rng=0)
    gan = GAN(generator, discriminator, noise_dim=4, loss=losses.Hinge(), seed=1)
    where = train(gan, images, out=folder / "run", steps=2, batch_size=4, settings={"why": "types"}, progress=False)
    trained = load_trained(where, classes=[Residual, Scale])
    print(trained.generator(trained.noise(2)).shape)
    generator.save(folder / "generator.safetensors")
    same: Sequential = generator.copy().load(folder / "generator.safetensors")
    print(np.array_equal(same.theta, generator.theta), tinygan.to_numpy(same.grad).sum())
    critic = Sequential(Conv2D(3, 4, 3, stride=2, rng=0), LeakyReLU(0.2), Flatten(), Dense(64, 1, rng=1))
    print(critic(images.batch(np.arange(2))).shape, tinygan.__version__)


def main() -> None:
    rng = np.random.default_rng(0)
    layers_by_themselves(rng)
    a_game(rng)
    with TemporaryDirectory() as folder:
        a_run(Path(folder), rng)


if __name__ == "__main__":
    main()
