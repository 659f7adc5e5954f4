"""Errors of introductory articles: what is printed there must fail here, and what tinygan does instead must not.

In the order of ``examples/what_articles_get_wrong.py``, whose code only the last two tests use, to hold it to what it
says.
"""

import re
import runpy
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from tinygan import GAN, Sequential, models
from tinygan.data import digits
from tinygan.errors import ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sigmoid, Tanh
from tinygan.losses import LeastSquares, Minimax, NonSaturating
from tinygan.optim import SGD, Adam
from tinygan.testing import check_function, check_generator_gradient, check_gradients

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "what_articles_get_wrong.py"


def sigma(s):
    return 1 / (1 + np.exp(-s))


def value(r, f):
    """V as everybody defines it, of logits of real and of generated samples."""
    return np.log(sigma(r)).mean() + np.log(1 - sigma(f)).mean()


def value_slopes(r, f):
    """∂V/∂r and ∂V/∂f."""
    return (1 - sigma(r)) / r.size, -sigma(f) / f.size


def logits(seed=0, n=6):
    return tuple(np.random.default_rng(seed).normal(0, 2, (2, n, 1)))


def networks(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    options = {"rng": rng, "dtype": dtype}
    G = Sequential(Dense(3, 16, **options), LeakyReLU(), Dense(16, 2, **options))
    D = Sequential(Dense(2, 16, **options), LeakyReLU(), Dense(16, 1, **options))
    return G, D, rng.normal((2, -1), 0.5, (128, 2)).astype(dtype), rng.standard_normal((128, 3)).astype(dtype)


def descend(network, slope, *, steps=100, lr=1e-2):
    adam = Adam(network, lr=lr)
    for _ in range(steps):
        network.zero_grad()
        slope()
        adam.step()


# ---- 1 and 2: the signs ----------------------------------------------------------------------------------------------


def test_the_slopes_of_v_are_right():
    check_function(lambda r, f: (value(r, f), *value_slopes(r, f)), *logits())


def train_d(slopes):
    """σ(D(x)) and σ(D(G(z))) after D alone has gone against the slopes(r, f)."""
    G, D, x, z = networks()
    samples = np.concatenate([x, G(z)])

    def slope():
        s = D.forward(samples)
        D.backward(np.concatenate(slopes(s[:128], s[128:])))

    descend(D, slope)
    return sigma(np.clip(D(x), -50, 50)).mean(), sigma(np.clip(D(G(z)), -50, 50)).mean()


def test_a_discriminator_that_minimises_v_calls_real_samples_fake():
    real, fake = train_d(value_slopes)  # as printed
    assert real < 0.01
    assert real < fake
    for loss in (Minimax(), NonSaturating()):
        real, fake = train_d(lambda r, f, loss=loss: loss.discriminator(r, f)[1:])
        assert real > 0.7
        assert fake < 0.3


def train_g(slope_of):
    """σ(D(G(z))) under a D that knows real from generated, before and after G alone has gone against slope_of(f)."""
    G, D, x, z = networks()
    samples = np.concatenate([x, G(z)])

    def d_slope():
        s = D.forward(samples)
        D.backward(np.concatenate(Minimax().discriminator(s[:128], s[128:])[1:]))

    def g_slope():
        G.backward(D.backward(slope_of(D.forward(G.forward(z)))))

    descend(D, d_slope, steps=40)
    before = sigma(D(G(z))).mean()
    descend(G, g_slope)
    return before, sigma(np.clip(D(G(z)), -50, 50)).mean()


def test_a_generator_that_minimises_minus_v_gives_itself_up():
    before, after = train_g(lambda f: -value_slopes(f, f)[1])  # as printed
    assert after < before / 5
    for loss in (Minimax(), NonSaturating()):
        before, after = train_g(lambda f, loss=loss: loss.generator(f)[1])
        assert after > 0.6 > 0.3 > before


def test_the_first_term_of_v_tells_the_generator_nothing():
    """Printed in L_G, it changes the loss with every batch of real samples, and G's slope never."""
    r, f = logits()
    other = r + 1
    assert abs(value(r, f) - value(other, f)) > 0.1
    np.testing.assert_array_equal(value_slopes(r, f)[1], value_slopes(other, f)[1])
    for loss in (Minimax(), NonSaturating(), LeastSquares()):
        assert not loss.compares
        for mine, again in zip(loss.generator(f, r), loss.generator(f, other), strict=True):
            np.testing.assert_array_equal(mine, again)


def test_d_ascends_v_and_g_descends_it():
    r, f = logits()
    loss, d_real, d_fake = Minimax().discriminator(r, f)
    assert loss == pytest.approx(-value(r, f))
    np.testing.assert_allclose([d_real, d_fake], np.negative(value_slopes(r, f)), rtol=1e-9)
    loss, d_fake = Minimax().generator(f)
    assert loss == pytest.approx(value(r, f) - np.log(sigma(r)).mean())
    np.testing.assert_allclose(d_fake, value_slopes(r, f)[1], rtol=1e-9)
    assert (NonSaturating().generator(f)[1] < 0).all()  # the same direction, another length


def test_v_has_a_maximum_over_d_and_no_minimum():
    """For two distributions p and q on five places: at best V = −log 4 + 2 JS(p, q); at worst there is no bound."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), 2)

    def v(s):
        return p @ np.log(sigma(s)) + q @ np.log(1 - sigma(s))

    js = (p @ np.log(2 * p / (p + q)) + q @ np.log(2 * q / (p + q))) / 2
    best = np.log(p / q)  # D's best logit, σ(best) = p / (p + q)
    assert v(best) == pytest.approx(2 * js - np.log(4))
    assert all(v(best + rng.normal(0, 1, 5)) < v(best) for _ in range(20))
    for s in (10.0, 1e3, 1e6):  # one answer for everything, so it does not matter what G does
        loss, *_ = Minimax().discriminator(np.full((1, 1), s), np.full((1, 1), s))
        assert -loss <= -s


# ---- 3: a sigmoid too many -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["printed", "ours"])
def test_a_sigmoid_in_d_puts_a_floor_under_its_loss_and_takes_gs_gradient(where):
    squash = Sigmoid() if where == "printed" else None
    for size in (5.0, 20.0, 30.0):  # D is right about everything, ever more surely
        real, fake = np.full((4, 1), size), np.full((4, 1), -size)
        d_loss = NonSaturating().discriminator(*([squash(real), squash(fake)] if squash else [real, fake]))[0]
        _, slope = NonSaturating().generator(squash.forward(fake) if squash else fake)
        slope = np.abs(squash.backward(slope) if squash else slope).sum()
        if squash:
            assert d_loss > np.log(2) + np.log1p(np.exp(-1))  # 1.006
            assert slope < np.exp(-size)
            assert sigma(squash(fake)).min() >= 0.5
        else:
            assert d_loss < 3 * np.exp(-size)
            assert slope > 0.99


@pytest.mark.parametrize("make", [models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64])
def test_no_discriminator_of_ours_ends_in_a_sigmoid(make):
    assert isinstance(make()[1].layers[-1], Dense)


# ---- 4: the generator alone ------------------------------------------------------------------------------------------


def generator_update(sign, alone):
    """G's parameters after one step; ``alone``: cross-entropy of its outputs with ones, as printed."""
    G, D, x, z = networks()
    D.theta[...] *= sign
    if alone:
        G.backward(NonSaturating().generator(G.forward(z))[1])
        SGD(G, lr=0.1).step()
    else:
        gan = GAN(G, D, noise_dim=3, g_optimizer=SGD(G, lr=0.1))
        gan._generator_turn(x, *gan.draw(len(x)).g, None)
    return G.theta


def test_a_generator_compiled_alone_never_hears_of_the_discriminator():
    np.testing.assert_array_equal(generator_update(1.0, alone=True), generator_update(-1.0, alone=True))
    assert np.abs(generator_update(1.0, alone=False) - generator_update(-1.0, alone=False)).max() > 1e-2


def test_a_generator_compiled_alone_learns_to_paint_everything_white():
    G, _, _, z = networks()
    descend(G, lambda: G.backward(NonSaturating().generator(G.forward(z))[1]))
    assert sigma(G(z)).min() > 0.95


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating(), LeastSquares()], ids=repr)
def test_our_generators_gradient_is_that_of_the_loss_after_d(loss):
    G, D, _, z = networks()
    report = check_generator_gradient(G, D, loss, z[:4])
    assert not report.zero


# ---- 5: sizes --------------------------------------------------------------------------------------------------------


def doubling(start, levels):
    """z (N, 100) -> images of start · 2^levels."""
    ups = [ConvTranspose2D(2, 2, 4, stride=2) for _ in range(levels - 1)]
    return Sequential(Dense(100, start * start * 2), Reshape(start, start, 2), *ups, ConvTranspose2D(2, 3, 4, stride=2))


def test_noise_without_a_shape_is_refused_with_the_remedy():
    with pytest.raises(ShapeError, match=r"expected input \(N, H, W, 100\), got \(N, 100\).*Reshape before the layer"):
        ConvTranspose2D(100, 2, 4, stride=2).forward(np.ones((4, 100), dtype=np.float32))
    mended = Sequential(Reshape(1, 1, 100), ConvTranspose2D(100, 2, 4, stride=2))
    assert mended(np.ones((4, 100), dtype=np.float32)).shape == (4, 2, 2, 2)


@pytest.mark.parametrize(("start", "levels", "size"), [(1, 5, 32), (4, 3, 32), (1, 6, 64), (4, 4, 64)])
def test_so_many_doublings_make_so_large_images(start, levels, size):
    """Five from 1x1 and three from 4x4, as printed, make 32x32; a D for 64x64 is refused before anything is trained."""
    G, (_, D) = doubling(start, levels), models.dcgan64((64, 64, 3), width=2)
    assert G.output_shape((100,)) == (size, size, 3)
    if size == 64:
        assert GAN(G, D, noise_dim=100).sample_shape == (64, 64, 3)
    else:
        with pytest.raises(ShapeError, match=r"G's samples \(N, 32, 32, 3\) do not fit D"):
            GAN(G, D, noise_dim=100)


# ---- 6: noise for images ---------------------------------------------------------------------------------------------


def neighbours_alike(images):
    return np.corrcoef(images[:, :, :-1].ravel(), images[:, :, 1:].ravel())[0, 1]


def test_a_gan_fed_with_noise_learns_noise():
    drawn = digits(512, seed=1).batch(np.arange(512))
    uniform = np.random.default_rng(1).uniform(-1, 1, drawn.shape).astype(np.float32)
    learned = []
    for real in (uniform, drawn):
        G, D = models.mlp(noise_dim=16, g_hidden=(32,), d_hidden=(32,), rng=1)
        adam = {"lr": 3e-3, "beta1": 0.0, "beta2": 0.9}
        gan = GAN(G, D, noise_dim=16, g_optimizer=Adam(G, **adam), d_optimizer=Adam(D, **adam), seed=1)
        for step in range(400):
            gan.step(real[64 * (step % 8) :][:64])
        learned.append(neighbours_alike(gan.sample(256)))
    assert abs(learned[0]) < 0.1
    assert learned[1] > 0.3


# ---- 7: bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [models.mlp, models.dcgan, models.dcgan64])
def test_tanh_keeps_images_in_range_and_leaky_relu_does_not(make):
    G, _ = make((32, 32, 3), **({} if make is models.mlp else {"width": 2}))
    printed = Sequential(*[LeakyReLU() if isinstance(x, Tanh) else x.copy() for x in G.layers])
    for network in (G, printed):
        last = next(x for x in reversed(network.layers) if x.params)
        last.params["W"][...] *= 1000  # as if trained hard to please D
    z = np.random.default_rng(0).standard_normal((4, 100), dtype=np.float32)
    assert np.abs(G.forward(z)).max() <= 1
    assert np.abs(printed.forward(z)).max() > 10


# ---- 8: the channel axis ---------------------------------------------------------------------------------------------


def test_images_without_channels_are_refused_with_the_remedy():
    images = np.zeros((4, 28, 28), dtype=np.float32)
    with pytest.raises(ShapeError, match=r"got \(N, 28, 28\).*needs its channel axis, \(N, H, W, 1\)"):
        Conv2D(1, 2, 5).forward(images)
    with pytest.raises(ShapeError, match=r"got \(N, 28, 28\).*needs its channel axis"):
        Conv2D(28, 2, 5).forward(images)  # that 28 fits is an accident
    assert Conv2D(1, 2, 5)(images[..., None]).shape == (4, 28, 28, 2)


# ---- 9: names --------------------------------------------------------------------------------------------------------


def test_a_transposed_convolution_upsamples():
    """It is no inverse but the adjoint of the convolution that downsamples: <conv(x), y> = <x, convT(y)>."""
    rng = np.random.default_rng(0)
    down = Conv2D(3, 2, 4, stride=2, dtype=np.float64)
    up = ConvTranspose2D(2, 3, 4, stride=2, dtype=np.float64)
    up.params["W"][...] = down.params["W"]
    x, y = rng.standard_normal((2, 8, 8, 3)), rng.standard_normal((2, 4, 4, 2))
    assert down(x).shape == y.shape
    assert up(y).shape == x.shape
    assert np.vdot(down(x), y) == pytest.approx(np.vdot(x, up(y)), rel=1e-12)
    assert np.abs(up(down(x)) - x).max() > 0.1


def test_batch_normalisation_normalises_and_does_not_regularise():
    """Mean 0, variance 1; and while a penalty ‖W‖² pulls W towards 0, here the slope along W is 0."""
    rng = np.random.default_rng(0)
    net = Sequential(Dense(3, 2, rng=0, dtype=np.float64), BatchNorm(2, eps=1e-12, dtype=np.float64))
    x, dy, W = rng.normal(3, 5, (64, 3)), rng.standard_normal((64, 2)), net.layers[0].params["W"]
    y = net.forward(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-9)

    net.backward(dy)
    dW = net.layers[0].grads["W"]
    assert np.linalg.norm(dW) > 1e-3
    assert abs(np.vdot(dW, W)) < 1e-9 * np.linalg.norm(dW) * np.linalg.norm(W)  # of ‖W‖² it would be 2 ‖W‖²
    W *= 10
    np.testing.assert_allclose(net.forward(x), y, atol=1e-9)
    net.forget()
    check_gradients(net, x[:8])


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_names_nine_errors_and_code_that_exists():
    page = runpy.run_path(str(EXAMPLE))
    docs = [error.__doc__ for error in page["ERRORS"]]
    assert [int(re.match(r"(\d)\. ", doc)[1]) for doc in docs] == list(range(1, 10))
    for doc in docs:
        places = doc.split("Right: ")[1].strip().split("; ")
        for path, names in (place.split(" ", 1) for place in places):
            module = __import__(path.removesuffix(".py").replace("/", "."), fromlist=["_"])
            assert Path(module.__file__) == ROOT / path
            for name in re.match(r"[\w.]+(?:, [A-Za-z_.]+(?=,|$|;))*", names)[0].split(", "):
                reduce(getattr, name.split("."), module)


def test_the_page_prints_what_it_computes(tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--quick"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert ended.returncode == 0, ended.stderr
    out = ended.stdout
    assert re.search(r"Printed\(\) +G alone takes σ\(D\(G\(z\)\)\) from 0\.0\d+ to 0\.000; .* L_D = -\d\d\d", out)
    assert re.search(r"NonSaturating\(\) +G alone takes σ\(D\(G\(z\)\)\) from 0\.0\d+ to 0\.9", out)
    assert "V = -1.386" in out
    assert "its loss is 1.006" in out
    assert "G's gradient by 0% of its length" in out
    assert out.count("refused: ") == 4
    assert list(tmp_path.iterdir()) == []
