"""What introductory articles on GANs get wrong: nine errors, each at work.

    python examples/what_articles_get_wrong.py

For each error this says what is printed in such articles, what that does, in numbers that are computed on the spot,
and where tinygan does it right. The functions below are the same page, to be read. Takes a few seconds.

Notation: x real samples, z noise, G generator, D discriminator, whose answer s is a logit; σ the logistic function;
mean over a batch. D ascends and G descends

    V(D, G) = mean log σ(D(x)) + mean log(1 − σ(D(G(z))))
"""

import argparse
import ast
from itertools import pairwise
from pathlib import Path

import numpy as np

from tinygan import GAN, Sequential, models
from tinygan.data import digits
from tinygan.errors import ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sigmoid, Tanh
from tinygan.losses import Minimax, NonSaturating
from tinygan.ops import sigmoid
from tinygan.optim import Adam
from tinygan.runs.commandline import run_program


def both_signs():
    """1. "The generator minimises −V, the discriminator minimises V"

    Both signs are the wrong way round. −V is D's loss, so G helps D to catch it; and one of its terms, log σ(D(x)),
    does not depend on G at all. A D that descends V learns to call real samples fake, without end, for V has no
    minimum.

    Right: tinygan/losses/adversarial.py Minimax.discriminator, Minimax.generator, NonSaturating.generator
    """

    class Printed(Minimax):
        compares = True  # its generator looks at real samples

        def discriminator(self, real_logits, fake_logits):
            value, d_real, d_fake = super().discriminator(real_logits, fake_logits)
            return -value, -d_real, -d_fake  # V

        def generator(self, fake_logits, real_logits=None):
            value, _, d_fake = super().discriminator(real_logits, fake_logits)
            return value, d_fake  # −V

    for loss in (Printed(), Minimax(), NonSaturating()):
        x, z, G, D = small_game()
        train_discriminator(D, NonSaturating(), x, G(z))  # a right one, for G to learn from
        before = belief(D, G(z))
        train_generator(G, D, loss, x, z)
        print(f"{loss!r:15} G alone takes σ(D(G(z))) from {before:.3f} to {belief(D, G(z)):.3f}", end="; ")

        x, z, G, D = small_game()
        gan = GAN(G, D, noise_dim=2, loss=loss, g_optimizer=Adam(G, lr=2e-3), d_optimizer=Adam(D, lr=2e-3))
        for _ in range(500):
            losses = gan.step(x)
        print(f"with D, {gan.t} steps: L_D = {losses.d:.2f}, means differ by {distance(gan.sample(500), x):.2f}")


def the_wrong_one_maximises():
    """2. "The maximum over G of the minimum over D of V"

    That is no game, for the minimum does not exist: whatever G does, a D that answers s everywhere takes V as low as it
    likes. The right way round, the best D keeps V at −log 4 = −1.386 or above, and at −log 4 only when G's samples are
    distributed as the real ones.

    Right: tinygan/losses/adversarial.py Minimax
    """
    for s in (0.0, 10.0, 1000.0):
        logits = np.full((1, 1), s)
        print(f"D answers {s:4.0f} everywhere: V = {-Minimax().discriminator(logits, logits)[0]:.3f}")


def one_sigmoid_too_many():
    """3. D ends in a sigmoid, and its output is given to a loss that expects logits

    Such a loss applies σ itself, and σ(σ(s)) lies between 0.5 and 0.731: D cannot say "fake". Its loss has a floor,
    log 2 + log(1 + 1/e) = 1.006, and G's slope is gone where D is sure of a fake.

    Right: tinygan/losses/adversarial.py Loss; tinygan/models/__init__.py mlp, dcgan
    """
    loss, real, fake = NonSaturating(), np.full((1, 1), 10.0), np.full((1, 1), -10.0)
    squash = Sigmoid()
    value = loss.discriminator(squash(real), squash(fake))[0]
    slope = squash.backward(loss.generator(squash.forward(fake))[1]).item()
    print(f"printed: D is right by logits of ±10; its loss is {value:.5f}, and G's slope in s is {slope:.5f}")
    value, slope = loss.discriminator(real, fake)[0], loss.generator(fake)[1].item()
    print(f"ours:    D is right by logits of ±10; its loss is {value:.5f}, and G's slope in s is {slope:.5f}")


def the_generator_alone():
    """4. G is compiled by itself with cross-entropy, and fitted to labels of 1

    D is not in that formula. G's gradient is the same whatever D has learned, and the best picture is all ones.

    Right: tinygan/gan.py GAN.step; tinygan/testing/gradients.py check_generator_gradient
    """
    loss = NonSaturating()  # mean −log σ: applied to G's outputs it is the printed cross-entropy with labels of 1

    def gradient(sign, through_d):
        _, z, G, D = small_game()
        D.theta[...] *= sign
        y = G.forward(z)
        dy = D.backward(loss.generator(D.forward(y))[1]) if through_d else loss.generator(y)[1]
        G.backward(dy)
        return G.grad

    for who, through_d in (("printed", False), ("ours", True)):
        one, other = gradient(1.0, through_d), gradient(-1.0, through_d)
        change = np.linalg.norm(other - one) / np.linalg.norm(one)
        print(f"{who + ':':8} another D, with all weights negated, changes G's gradient by {change:.0%} of its length")


def sizes_that_do_not_meet():
    """5. Noise (N, 100) goes straight into a transposed convolution; five of stride 2 make 64x64 of 1x1, three of 4x4

    A transposed convolution takes images, (N, H, W, C), so noise needs a Reshape first. And 1·2⁵ = 4·2³ = 32.

    Right: tinygan/layers/shape.py Reshape; tinygan/models/__init__.py dcgan64; tinygan/gan.py GAN
    """

    def doubling(start, levels):
        widths = [4] * levels + [3]
        ups = [ConvTranspose2D(a, b, 4, stride=2) for a, b in pairwise(widths)]
        return Sequential(Dense(100, start * start * 4), Reshape(start, start, 4), *ups)

    noise, (_, D) = np.ones((8, 100), dtype=np.float32), models.dcgan64((64, 64, 3), width=4)
    refused(lambda: ConvTranspose2D(100, 4, 4, stride=2).forward(noise))
    refused(lambda: GAN(doubling(1, levels=5), D, noise_dim=100))
    refused(lambda: GAN(doubling(4, levels=3), D, noise_dim=100))
    print(f"From 4x4, four doublings make {doubling(4, levels=4)(noise).shape}.")


def noise_for_images():
    """6. real_images = uniform random numbers

    The program runs, and its losses look like any. But G can only learn what is there, and in noise no pixel says
    anything about its neighbour.

    Right: tinygan/data/loading.py load, which takes MNIST, a folder of pictures, an array, or draws digits
    """
    data = digits(512)
    drawn = data.batch(np.arange(512))
    uniform = np.random.default_rng(0).uniform(-1, 1, drawn.shape).astype(np.float32)
    for what, real in (("uniform noise", uniform), ("drawn digits", drawn)):
        G, D = models.mlp(noise_dim=16, g_hidden=(32,), d_hidden=(32,))
        fast = {"lr": 3e-3, "beta1": 0.0, "beta2": 0.9}
        gan = GAN(G, D, noise_dim=16, g_optimizer=Adam(G, **fast), d_optimizer=Adam(D, **fast))
        for step in range(400):
            gan.step(real[64 * (step % 8) :][:64])
        alike = f"{neighbours_alike(real):.2f} in the real images, {neighbours_alike(gan.sample(256)):.2f} in G's"
        print(f"{what}: correlation of neighbouring pixels {alike}")


def an_output_without_bounds():
    """7. G ends in LeakyReLU

    That bounds nothing: it passes what is positive as it is, and shrinks what is negative to a fifth. Images in [−1, 1]
    want tanh, images in [0, 1] a sigmoid.

    Right: tinygan/models/__init__.py mlp, dcgan, dcgan64, mlp_conv
    """
    s = np.array([[-10.0, -1.0, 0.0, 1.0, 10.0]])
    for last in (LeakyReLU(0.2), Tanh(), Sigmoid()):
        print(f"{last!r:14} takes {s[0]} to {np.array2string(last(s)[0], precision=2, suppress_small=True)}")


def no_axis_for_channels():
    """8. Images (N, 28, 28) go into a 2-D convolution

    It takes (N, H, W, C). A grey image has one channel, and the axis for it: C = 1.

    Right: tinygan/layers/convolution.py Conv2D
    """
    images = np.zeros((8, 28, 28), dtype=np.float32)
    refused(lambda: Conv2D(1, 4, 5, stride=2).forward(images))
    print(f"images[..., None] goes in, and {Conv2D(1, 4, 5, stride=2)(images[..., None]).shape} comes out")


def two_wrong_names():
    """9. "Transposed convolutions downsample"; "batch regularisation"

    A transposed convolution of stride 2 doubles height and width: it is the adjoint of the convolution that halves
    them. Batch normalisation normalises: each channel has mean 0 and variance 1 over the batch, before gamma and beta.
    It puts no price on weights, as a regulariser does, but makes their scale meaningless: 10 W gives the same output.
    (That a batch's statistics are noisy has a regularising side effect.)

    Right: tinygan/layers/convolution.py ConvTranspose2D; tinygan/layers/batchnorm.py BatchNorm
    """
    rng = np.random.default_rng(0)
    down, up = Conv2D(1, 1, 4, stride=2, dtype=np.float64), ConvTranspose2D(1, 1, 4, stride=2, dtype=np.float64)
    up.params["W"][...] = down.params["W"]
    x, y = rng.standard_normal((1, 8, 8, 1)), rng.standard_normal((1, 4, 4, 1))
    print(f"Conv2D {x.shape} -> {down(x).shape}, ConvTranspose2D {y.shape} -> {up(y).shape}")
    print(f"<Conv2D(x), y> = {(down(x) * y).sum():.12f} = <x, ConvTranspose2D(y)> = {(x * up(y)).sum():.12f}")

    dense, norm = Dense(3, 2, rng=0, dtype=np.float64), BatchNorm(2, dtype=np.float64)
    x = 10 * rng.standard_normal((256, 3))
    once = norm.forward(dense(x))
    dense.params["W"] *= 10
    tenfold = norm.forward(dense(x))
    print(f"BatchNorm: means {once.mean(axis=0).round(3) + 0}, variances {once.var(axis=0).round(3)}")
    print(f"10 W for W: a penalty ‖W‖² grows 100 times, the output moves by at most {np.abs(tenfold - once).max():.0e}")


# ---- what they share -------------------------------------------------------------------------------------------------


def small_game():
    """Real points x and noise z, both (256, 2), a generator and a discriminator; the same ones every time."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((256, 2)) * 0.5 + [2, -1]).astype(np.float32)
    z = rng.standard_normal((256, 2), dtype=np.float32)
    G = Sequential(Dense(2, 32, rng=rng), LeakyReLU(), Dense(32, 2, rng=rng))
    D = Sequential(Dense(2, 32, rng=rng), LeakyReLU(), Dense(32, 1, rng=rng))
    return x, z, G, D


def train_discriminator(D, loss, real, fake, steps=50):
    adam = Adam(D, lr=1e-2)
    for _ in range(steps):
        s = D.forward(np.concatenate([real, fake]))
        _, d_real, d_fake = loss.discriminator(s[: len(real)], s[len(real) :])
        D.zero_grad()
        D.backward(np.concatenate([d_real, d_fake]))
        adam.step()


def train_generator(G, D, loss, real, z, steps=50):
    adam = Adam(G, lr=1e-2)
    for _ in range(steps):
        _, d_fake = loss.generator(D.forward(G.forward(z)), D(real))
        G.zero_grad()
        G.backward(D.backward(d_fake))
        adam.step()


def belief(D, samples):
    """How real D finds the samples on average, σ(D) in (0, 1)."""
    return float(sigmoid(D(samples)).mean())


def distance(a, b):
    """Between the means of two clouds of points."""
    return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


def neighbours_alike(images):
    """Correlation between a pixel and the one to its right."""
    return float(np.corrcoef(images[:, :, :-1].ravel(), images[:, :, 1:].ravel())[0, 1])


def refused(act):
    try:
        act()
    except ShapeError as error:
        print(f"refused: {error}")
    else:
        raise AssertionError("tinygan took what it must refuse")


ERRORS = [
    both_signs,
    the_wrong_one_maximises,
    one_sigmoid_too_many,
    the_generator_alone,
    sizes_that_do_not_meet,
    noise_for_images,
    an_output_without_bounds,
    no_axis_for_channels,
    two_wrong_names,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="nothing to shorten; all small examples take it")
    parser.parse_args()

    source = ast.parse(Path(__file__).read_text("utf-8"))  # python -OO leaves functions without their docstrings
    texts = {node.name: ast.get_docstring(node) for node in source.body if isinstance(node, ast.FunctionDef)}
    for error in ERRORS:
        print(texts[error.__name__], end="\n\n")
        error()
        print("\n")


if __name__ == "__main__":
    run_program(main)
