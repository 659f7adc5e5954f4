"""GANs that know classes: the step by hand, samples of the class that is asked for, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import GAN, Sequential, layers, losses, models, optim, to_numpy
from tinygan.errors import ArgumentError, DTypeError, ShapeError
from tinygan.layers import set_labels
from tinygan.layers.conditional import Conditional
from tinygan.models import ConditionalGAN
from tinygan.models.conditional import in_turn, shares_of
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.testing import check_generator_gradient, check_gradients, check_penalty

SYSTEMS = [models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64, models.resnet]
SMALL = {"mlp": {"g_hidden": (6, 8), "d_hidden": (7, 6)}, "mlp_conv": {"g_hidden": (6,)}, "lsgan": {"g_hidden": (6,)}}

every_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda f: f.__name__)
both_ways = pytest.mark.parametrize("way", ["concat", "projection"])


def pair(system, way, *, classes=3, shape=(8, 8, 1), dtype=np.float64, **options):
    small = SMALL.get(system.__name__, {})
    width = {} if system is models.mlp else {"width": 2}
    options = {"noise_dim": 4, **small, **width, **options}
    return system(shape, classes=classes, conditional=way, rng=0, dtype=dtype, **options)


def alive(network):
    """With weights away from where they start, so that each class has its own."""
    network.theta[...] += 0.2 * np.random.default_rng(5).standard_normal(network.theta.shape)
    return network


@every_system
@both_ways
def test_networks_of_every_system_know_the_class(system, way):
    (G, D), rng = pair(system, way), np.random.default_rng(1)
    z, x = rng.standard_normal((6, 4)), rng.standard_normal((6, 8, 8, 1))
    for network, batch in ((alive(G), z), (alive(D), x)):
        seen = []
        for k in range(3):
            set_labels(network, np.full(6, k))
            seen.append(network(batch))
        assert seen[0].shape == seen[1].shape
        assert not np.allclose(seen[0], seen[1])
        assert not np.allclose(seen[1], seen[2])


@every_system
@both_ways
def test_gradients_of_every_system(system, way):
    (G, D), rng = pair(system, way), np.random.default_rng(2)
    z, labels = rng.standard_normal((4, 4)), np.array([0, 2, 1, 2])
    set_labels(alive(G), labels)
    set_labels(alive(D), labels)
    options = {"exhaustive": 4, "directions": 2}
    check_gradients(D, rng.standard_normal((4, 8, 8, 1)), **options)
    check_generator_gradient(G, D, losses.NonSaturating(), z, **options)


PENALTIES = {
    "real": (R1(2.0), lambda r: np.mean(r**2)),
    "fake": (R2(1.0), lambda r: 0.5 * np.mean(r**2)),
    "between": (GradientPenalty(3.0), lambda r: 3.0 * np.mean((r - 1.0) ** 2)),
}


def critic(way):
    """D of the MLP with labels for four samples; real and generated ones."""
    D, rng = alive(pair(models.mlp, way)[1]), np.random.default_rng(3)
    set_labels(D, np.array([1, 0, 2, 2]))
    return D, *rng.standard_normal((2, 4, 8, 8, 1))


@both_ways
@pytest.mark.parametrize("where", PENALTIES)
def test_penalties_at_fixed_labels(way, where):
    penalty, value = PENALTIES[where]
    check_penalty(penalty, *critic(way), where=where, value=value, exhaustive=6, directions=3)


@both_ways
def test_several_penalties_at_once_are_each_by_itself(way):
    D, real, fake = critic(way)
    terms = [penalty for penalty, _ in PENALTIES.values()]
    D.zero_grad()
    together = sum(terms[1:], terms[0])(D, real, fake, 0)
    grad = D.grad.copy()
    D.zero_grad()
    apart = sum(term(D, real, fake, 0) for term in terms)
    np.testing.assert_allclose(together, apart, rtol=1e-10)
    np.testing.assert_allclose(grad, D.grad, rtol=1e-9, atol=1e-12)


def test_systems_that_are_told_of_no_classes_know_none():
    for system in SYSTEMS:
        small = {"noise_dim": 4, **SMALL.get(system.__name__, {})}
        G, D = system((8, 8, 1), rng=0, **small)
        assert not any(isinstance(layer, Conditional) for layer in (*G.layers, *D.layers))


# ---- the step --------------------------------------------------------------------------------------------------------


def game(way="projection", *, classes=3, **options):
    G, D = pair(models.mlp, way, classes=classes)
    options = {"g_optimizer": optim.SGD(G, 0.05), "d_optimizer": optim.SGD(D, 0.05), **options}
    return ConditionalGAN(G, D, noise_dim=4, **options)


@both_ways
@settings(max_examples=25)
@given(d_steps=st.integers(1, 2), n=st.integers(2, 4), seed=st.integers(0, 99))
def test_a_step_is_that_of_a_gan_with_the_labels_of_its_samples(way, d_steps, n, seed):
    """Against the step written out: D of real and generated samples each by itself, all with the real labels."""
    gan = game(way, d_steps=d_steps, seed=seed)
    G, D = (alive(network).copy() for network in (gan.generator, gan.discriminator))
    rng, loss = np.random.default_rng(seed), gan.loss
    real, labels = rng.standard_normal((n * d_steps, 8, 8, 1)), rng.integers(3, size=n * d_steps)
    noise = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    for k in range(d_steps):
        of = labels[k * n : (k + 1) * n]
        set_labels(G, of)
        set_labels(D, of)
        fake = G.apply(noise.standard_normal((n, 4)), True)[0]
        D.zero_grad()
        passes = [D.apply(x, True) for x in (real[k * n : (k + 1) * n], fake)]
        d_loss, *d_logits = loss.discriminator(*(logits for logits, _ in passes))
        for (_, cache), d in zip(passes, d_logits, strict=True):
            D.store_gradients(cache, d)
        D.theta[...] -= 0.05 * D.grad
    fake, made = G.apply(noise.standard_normal((n, 4)), True)
    logits, judged = D.apply(fake, True)
    g_loss, d_fake = loss.generator(logits, None)
    G.store_gradients(made, D.input_gradient(judged, d_fake), add=False)
    G.theta[...] -= 0.05 * G.grad

    found = gan.step(real, labels)
    np.testing.assert_allclose([found.d, found.g], [d_loss, g_loss], rtol=1e-9)
    np.testing.assert_allclose(gan.discriminator.theta, D.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gan.generator.theta, G.theta, rtol=1e-9, atol=1e-12)


def test_labels_of_any_integer_dtype_and_backend_make_the_same_step(device):
    thetas = []
    for labels in (np.array([0, 1, 2, 2]), np.array([0, 1, 2, 2], np.uint8), device.put(np.array([0, 1, 2, 2]))):
        gan = game(penalties=[R1(1.0)])
        gan.step(np.random.default_rng(0).standard_normal((4, 8, 8, 1)), labels)
        thetas.append(gan.generator.theta.copy())
    assert thetas[0].tobytes() == thetas[1].tobytes() == thetas[2].tobytes()


def test_labels_on_a_device_are_looked_at_too(device):
    gan = game()
    with pytest.raises(ArgumentError, match="3 classes, 0 to 2, but the labels go from 0 to 3"):
        gan.step(np.zeros((4, 8, 8, 1)), device.put(np.arange(4)))
    with pytest.raises(ArgumentError, match="3 classes, 0 to 2"):
        gan.sample(labels=device.put(np.array([3])))
    assert gan.sample(labels=device.put(np.array([2, 0]))).shape == (2, 8, 8, 1)


def test_no_labels_of_a_step_or_a_look_are_left():
    gan = game()
    gan.step(np.zeros((4, 8, 8, 1)), [0, 1, 2, 2])
    for look in (lambda: gan.generator(np.zeros((8, 4))), lambda: gan.discriminator(np.zeros((8, 8, 8, 1)))):
        with pytest.raises(ArgumentError, match="which class is each sample of"):
            look()
    set_labels(gan.generator, np.array([1, 2]))
    before = gan.generator(np.ones((2, 4)))
    gan.sample(5)
    np.testing.assert_array_equal(gan.generator(np.ones((2, 4))), before)


def test_a_step_on_every_backend(device):
    real, labels = np.random.default_rng(0).standard_normal((4, 8, 8, 1)), np.array([0, 1, 2, 2])
    on_host = game(average=0.9, penalties=[GradientPenalty(1.0)])
    there = game(average=0.9, penalties=[GradientPenalty(1.0)]).to(device.name)
    for _ in range(3):
        on_host.step(real, labels)
        there.step(device.put(real), labels)
    np.testing.assert_allclose(to_numpy(there.generator.theta), on_host.generator.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(to_numpy(there.sample(5)), on_host.sample(5), rtol=1e-9, atol=1e-12)


def test_d_that_compares_is_shown_pairs_of_one_class():
    gan = game("concat", loss=losses.Relativistic())
    gan.step(np.random.default_rng(0).standard_normal((4, 8, 8, 1)), np.array([0, 1, 2, 2]))
    assert np.isfinite(gan.generator.theta).all()


def test_it_learns_which_point_belongs_to_which_class():
    """Three points, a class for each: after some hundred steps G gives the point that is asked for."""
    rng, points = np.random.default_rng(0), np.array([[-2.0, 0.0], [2.0, 1.0], [0.0, 2.0]])
    K, dtype = 3, {"dtype": np.float64, "rng": 1}
    G = Sequential(
        layers.ConcatLabels(K), layers.Dense(2 + K, 16, **dtype), layers.LeakyReLU(), layers.Dense(16, 2, **dtype)
    )
    D = Sequential(layers.Dense(2, 16, **dtype), layers.LeakyReLU(), layers.Projection(16, K, **dtype))
    adams = {"g_optimizer": optim.Adam(G, 5e-3, 0.0, 0.9), "d_optimizer": optim.Adam(D, 5e-3, 0.0, 0.9)}
    gan = ConditionalGAN(G, D, noise_dim=2, penalties=[R1(1.0)], average=0.98, **adams)
    for _ in range(600):
        labels = rng.integers(K, size=32)
        gan.step(points[labels] + 0.1 * rng.standard_normal((32, 2)), labels)
    for k in range(K):
        samples = gan.sample(200, labels=k)
        nearest = np.linalg.norm(samples[:, None] - points, axis=2).argmin(axis=1)
        assert (nearest == k).mean() > 0.95


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_samples_of_one_class_of_each_and_of_all():
    gan = game()
    alive(gan.generator)
    z = gan.noise(700, rng=np.random.default_rng(0))  # more than are made at a time
    labels = np.random.default_rng(1).integers(3, size=700)
    mixed = gan.sample(z=z, labels=labels)
    for k in range(3):
        np.testing.assert_allclose(mixed[labels == k], gan.sample(z=z, labels=k)[labels == k], rtol=1e-12)
    np.testing.assert_array_equal(gan.sample(z=z), gan.sample(z=z, labels=gan.labels(700)))
    assert len(gan.sample(labels=[0, 1])) == 2
    assert gan.sample(3, labels=np.int64(2)).shape == (3, 8, 8, 1)
    assert np.bincount(gan.labels(700), minlength=3).tolist() == pytest.approx([233, 233, 233], abs=2)


@given(n=st.integers(1, 300), weights=st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any))
def test_classes_come_as_often_as_their_shares(n, weights):
    shares = shares_of(weights, len(weights))
    counts = np.bincount(in_turn(n, shares), minlength=len(weights))
    assert counts.shape == shares.shape
    assert np.all(abs(counts - n * shares) <= 3.0)
    assert not counts[shares == 0.0].any()


def test_looking_changes_nothing():
    a, b = game(average=0.9, seed=3), game(average=0.9, seed=3)
    real, labels = np.random.default_rng(0).standard_normal((4, 8, 8, 1)), np.array([0, 1, 2, 2])
    for gan in (a, b):
        for _ in range(2):
            gan.step(real, labels)
            if gan is a:
                gan.sample(3, labels=1)
    assert a.generator.theta.tobytes() == b.generator.theta.tobytes()


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_labels_that_are_refused():
    gan, real = game(), np.zeros((4, 8, 8, 1))
    before = gan.rng.bit_generator.state
    for labels, error, says in (
        (np.array([0, 1, 2]), ShapeError, "4 real samples, but 3 labels; each needs one"),
        (np.array([0, 1, 2, 3]), ArgumentError, "3 classes, 0 to 2, but the labels go from 0 to 3"),
        (np.array([0, 1, 2, -1]), ArgumentError, "from -1 to 2"),
        (np.eye(3)[[0, 1, 2, 2]], ShapeError, r"expected labels \(N,\), one for each sample, got shape \(4, 3\)"),
        (np.array([0.0, 1.0, 2.0, 2.0]), DTypeError, "labels that are integers, got float64"),
    ):
        with pytest.raises(error, match=says):
            gan.step(real, labels)
    for missing in ((), (None,)):
        with pytest.raises(
            ArgumentError, match=r"which class is each sample of\? Give labels \(N,\), integers from 0 to 2"
        ):
            gan.step(real, *missing)
    with pytest.raises(ArgumentError, match="labels must be a row of whole numbers"):
        gan.step(real, [[0, 1], [2]])
    with pytest.raises(ArgumentError, match=r"which classes are the real samples of\? step\(real, labels\) says it"):
        gan.draw(4)
    assert gan.t == 0
    assert gan.rng.bit_generator.state == before
    for labels, error, says in (
        (3, ArgumentError, "there are 3 classes, 0 to 2, got 3"),
        (-1, ArgumentError, "labels must be a whole number"),
        (1.5, ArgumentError, "labels must be a whole number"),
        (np.array([0, 1]), ShapeError, "4 samples, but 2 labels; give each one, or one to all"),
    ):
        with pytest.raises(error, match=says):
            gan.sample(4, labels=labels)
    with pytest.raises(ArgumentError, match="n = 3, but z has 2 rows"):
        gan.sample(3, z=np.zeros((2, 4)))


def test_networks_that_are_refused():
    plain = pair(models.mlp, "concat", classes=None)
    known, other = pair(models.mlp, "concat"), pair(models.mlp, "concat", classes=4)
    for (G, _), (_, D), says in (
        (plain, known, r"G of none and D of \[3\]"),
        (known, plain, r"G of \[3\] and D of none"),
        (known, other, r"G of \[3\] and D of \[4\]"),
    ):
        with pytest.raises(ArgumentError, match=says):
            ConditionalGAN(G, D, noise_dim=4)
    D = Sequential(
        layers.Pack(2), layers.ConcatLabels(3), layers.Flatten(), layers.Dense(8 * 8 * 5, 1, dtype=np.float64)
    )
    with pytest.raises(ArgumentError, match="D packs several samples into one"):
        ConditionalGAN(known[0], D, noise_dim=4)
    for shares in ([1.0, 2.0], [0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [1.0, np.nan, 1.0], "half", 3):
        with pytest.raises(ArgumentError, match="shares must be 3 numbers of at least 0"):
            ConditionalGAN(*known, noise_dim=4, shares=shares)
    with pytest.raises(ArgumentError, match=r"mlp: conditional: expected 'concat' or 'projection', got 'both'"):
        models.mlp((4, 4, 1), classes=3, conditional="both")
    with pytest.raises(ArgumentError, match=r"batch_norm=False: G learns of the class in BatchNorm"):
        models.lsgan((4, 4, 1), classes=3, batch_norm=False)
    with pytest.raises(ArgumentError, match="dcgan: classes must be a whole number"):
        models.dcgan((8, 8, 1), classes=0)


def test_a_plain_gan_says_that_its_layers_ask_for_labels():
    G, D = pair(models.mlp, "projection")
    with pytest.raises(ArgumentError, match=r"which class is each sample of.*a ConditionalGAN does so by itself"):
        GAN(G, D, noise_dim=4).step(np.zeros((4, 8, 8, 1)))
