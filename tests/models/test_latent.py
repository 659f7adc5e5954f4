"""Walks, inversion, repairs and directions in latent space."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygan import Sequential, latent, layers, models, to_numpy
from tinygan.errors import ArgumentError, NonFiniteError, ShapeError
from tinygan.layers import Dense, Flatten, Reshape, Tanh

SHAPE = (4, 5, 2)


def networks(noise_dim=3, dtype=np.float64, **known):
    G, D = models.mlp(SHAPE, noise_dim=noise_dim, g_hidden=(16,), d_hidden=(8,), rng=1, dtype=dtype, **known)
    return G, D


def noise(n, noise_dim=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, noise_dim))


# ---- ways ------------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 5), dim=st.integers(2, 40), t=st.floats(0.0, 1.0), seed=st.integers(0, 2**32 - 1))
def test_a_way_turns_evenly_from_one_end_to_the_other_at_the_same_length(n, dim, t, seed):
    a, b = np.random.default_rng(seed).standard_normal((2, n, dim))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    z = latent.between(a, b, t)
    angle = np.arccos(np.clip((a * b).sum(axis=1), -1.0, 0.999))
    assume((a * b).sum(axis=1).min() > -0.9999)
    near = (a * b).sum(axis=1) > 0.999  # where the arc is as good as a line
    turned = np.arccos(np.clip((a * z).sum(axis=1), -1.0, 1.0))
    np.testing.assert_allclose(turned[~near], t * angle[~near], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1)[~near], 1.0, atol=1e-9)


def test_a_walk_holds_both_ends_and_keeps_the_dtype():
    a, b = (noise(3, 10, seed).astype(np.float32) for seed in (0, 1))
    z = latent.walk(a, b, 5)
    assert z.shape == (5, 3, 10)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z[0], a, atol=1e-5)
    np.testing.assert_allclose(z[-1], b, atol=1e-5)
    np.testing.assert_allclose(z[2], latent.between(a, b, 0.5))


@given(dim=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_the_direction_of_a_linear_property_is_found_exactly(dim, seed):
    rng = np.random.default_rng(seed)
    d = rng.standard_normal(dim)
    d /= np.linalg.norm(d)
    z = rng.standard_normal((dim + 30, dim))
    np.testing.assert_allclose(latent.direction(z, 3.0 * z @ d - 5.0), d, atol=1e-8)


def test_the_direction_of_a_bent_property_is_its_mean_gradient():
    """Of v = tanh(2 z·d) + (z·e)², with e across d, the second part grows as often as it falls."""
    z, d, e = noise(20_000, 6), np.eye(6)[2], np.eye(6)[4]
    found = latent.direction(z, np.tanh(2.0 * z @ d) + (z @ e) ** 2)
    assert found @ d > 0.999
    assert latent.direction(z.astype(np.float32), z @ d).dtype == np.float32


def test_along_a_direction_only_that_coordinate_changes():
    z, d = noise(4, 6), np.array([0.6, 0.0, 0.8, 0.0, 0.0, 0.0])
    moved = latent.along(z, d, 2.0)
    np.testing.assert_allclose(moved @ d, 2.0)
    across = np.eye(6) - np.outer(d, d)
    np.testing.assert_allclose(moved @ across, z @ across, atol=1e-12)


# ---- from images back to noise ---------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    judged=st.booleans(),
    hidden=st.booleans(),
    way=st.sampled_from([None, "concat", "projection"]),
)
def test_the_gradient_of_the_goal_is_its_slope(seed, judged, hidden, way):
    rng = np.random.default_rng(seed)
    known = {} if way is None else {"classes": 3, "conditional": way}
    G, D = networks(**known)
    for network in (G, D):
        layers.set_labels(network, None if way is None else rng.integers(0, 3, 2))
    x = rng.uniform(-1.0, 1.0, (2, *SHAPE))
    m = rng.integers(0, 2, x.shape).astype(float) if hidden else np.ones_like(x)
    m[:, 0] = 1.0
    goal = latent.Goal(G, x, m, D if judged else None, 0.7)
    z, v, h = rng.standard_normal((2, 3)), rng.standard_normal((2, 3)), 1e-6
    slope = (goal.slope(z + h * v)[0] - goal.slope(z - h * v)[0]) / (2.0 * h)
    np.testing.assert_allclose((goal.slope(z)[1] * v).sum(), slope, rtol=1e-5, atol=1e-7)


def test_the_goal_is_the_equation_of_its_docstring():
    G, D = networks()
    rng = np.random.default_rng(3)
    x, m, z = rng.uniform(-1, 1, (2, *SHAPE)), rng.integers(0, 2, (2, *SHAPE)) * 1.0, rng.standard_normal((2, 3))
    total = 0.0
    for k in range(2):
        made, logit = G(z[k : k + 1])[0], float(D(G(z[k : k + 1]))[0, 0])
        total += (m[k] * (made - x[k]) ** 2).sum() / m[k].sum() + 0.7 * np.log1p(np.exp(-logit))
    np.testing.assert_allclose(latent.Goal(G, x, m, D, 0.7).slope(z)[0], total)


def test_an_image_that_g_made_is_found_again():
    G, _ = networks()
    z = noise(6, seed=9)
    found = latent.invert(G, G(z), noise(200, seed=1), steps=400, lr=0.05)
    assert found.errors.max() < 1e-4
    np.testing.assert_allclose(found.images, G(found.z))
    np.testing.assert_allclose(found.errors, ((found.images - G(z)) ** 2).mean(axis=(1, 2, 3)))


@pytest.mark.parametrize("labels", [None, [2, 0, 1]])
def test_starts_are_the_nearest_guesses_by_plain_loops(labels):
    G, _ = networks(**({} if labels is None else {"classes": 3}))
    G.theta[...] += 0.3 * np.random.default_rng(2).standard_normal(G.theta.shape)  # so that classes differ
    rng = np.random.default_rng(6)
    x, guesses, mask = rng.uniform(-1.0, 1.0, (3, *SHAPE)), noise(40, seed=1), rng.integers(0, 2, (3, *SHAPE)) * 1.0
    found = latent.invert(G, x, guesses, mask=mask, labels=labels, steps=0, restarts=1)
    for k in range(3):
        if labels is not None:
            layers.set_labels(G, np.full(40, labels[k]))
        far = [(mask[k] * (image - x[k]) ** 2).sum() for image in G(guesses)]
        np.testing.assert_array_equal(found.z[k], guesses[int(np.argmin(far))])


def test_more_restarts_never_end_worse_and_images_do_not_disturb_each_other():
    G, _ = networks()
    x, guesses = np.random.default_rng(5).uniform(-1.0, 1.0, (4, *SHAPE)), noise(50, seed=1)
    one, five = (latent.invert(G, x, guesses, restarts=k, steps=60) for k in (1, 5))
    assert (five.errors <= one.errors + 1e-9).all()
    assert (five.errors < one.errors - 1e-6).any()
    alone = latent.invert(G, x[2:3], guesses, restarts=5, steps=60)
    np.testing.assert_allclose(alone.z[0], five.z[2], rtol=1e-6)


def test_what_is_hidden_is_not_looked_at_and_alone_is_filled():
    G, D = networks()
    x, mask = G(noise(3, seed=9)), np.ones((4, 5, 1))
    mask[1:3, 1:3] = 0.0
    other = np.where(mask == 1.0, x, np.nan)  # as missing pixels often are
    guesses, options = noise(80, seed=1), {"steps": 50, "discriminator": D}
    whole = latent.inpaint(G, other, mask, guesses, **options)
    np.testing.assert_array_equal(whole, latent.inpaint(G, x, mask, guesses, **options))
    np.testing.assert_array_equal(whole[:, mask[..., 0] == 1.0], x[:, mask[..., 0] == 1.0])
    start = latent.inpaint(G, other, mask, guesses, steps=0)
    assert np.abs(whole - x).sum() < 0.5 * np.abs(start - x).sum()


def test_a_discriminator_that_is_asked_loudly_is_pleased():
    G, D = networks()
    x, guesses = np.random.default_rng(5).uniform(-1.0, 1.0, (4, *SHAPE)), noise(50, seed=1)
    plain, pleased = (latent.invert(G, x, guesses, discriminator=d, weight=30.0, restarts=1) for d in (None, D))
    assert D(pleased.images).mean() > D(plain.images).mean() + 0.1


@pytest.mark.parametrize("way", ["concat", "projection"])
def test_images_of_a_class_are_looked_for_in_that_class_and_networks_stay_as_they_are(way):
    G, D = networks(classes=3, conditional=way)
    G.theta[...] += 0.3 * np.random.default_rng(2).standard_normal(G.theta.shape)  # so that classes differ
    before = G.theta.copy(), D.theta.copy()
    labels = np.array([2, 0, 2, 1])
    layers.set_labels(G, labels)
    x = G(noise(4, seed=9))
    layers.set_labels(G, np.array([1]))
    found = latent.invert(G, x, noise(200, seed=1), labels=labels, discriminator=D, weight=0.0, steps=300, lr=0.05)
    assert found.errors.max() < 1e-3
    others = latent.invert(G, x, noise(200, seed=1), labels=(labels + 1) % 3, steps=300, lr=0.05)
    assert others.errors.mean() > 3.0 * found.errors.mean()
    np.testing.assert_array_equal(G.layers[0].labels if way == "concat" else G.layers[2].labels, [1])
    assert np.array_equal(before[0], G.theta)
    assert np.array_equal(before[1], D.theta)


@given(n=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_the_relative_error_is_that_of_plain_loops(n, seed):
    x, y = np.random.default_rng(seed).standard_normal((2, n, *SHAPE))
    apart = [((x[i] - x[j]) ** 2).sum() for i in range(n) for j in range(n) if i != j]
    off = [((x[i] - y[i]) ** 2).sum() for i in range(n)]
    assert latent.relative_error(x, y) == pytest.approx(np.mean(off) / np.mean(apart))
    assert latent.relative_error(x, x) == 0.0


def test_arrays_of_a_device_stay_there_and_are_those_of_numpy(device):
    G, D = networks(dtype=np.float32)
    z, mask = noise(60).astype(np.float32), np.ones((4, 5, 1), dtype=np.float32)
    mask[1:3, 1:3] = 0.0
    x, put, options = G(z[:4]), device.put, {"discriminator": D, "steps": 5}
    here = latent.invert(G, x, z[10:], mask=mask, **options)
    whole, d = latent.inpaint(G, x, mask, z[10:], **options), latent.direction(z, z[:, 0])
    G.to(device.name)
    D.to(device.name)
    there = latent.invert(G, put(x), put(z[10:]), mask=put(mask), **options)
    same = [(there.z, here.z), (latent.inpaint(G, put(x), put(mask), put(z[10:]), **options), whole)]
    same += [(latent.along(put(z), latent.direction(put(z), put(z[:, 0])), 2.0), latent.along(z, d, 2.0))]
    same += [(latent.walk(put(z[:3]), put(z[3:6]), 4), latent.walk(z[:3], z[3:6], 4))]
    for found, expected in same:
        assert type(found) is type(put(z))
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-3, atol=1e-4)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_by_name():
    G, _ = networks()
    K, _ = networks(classes=3)
    x, z = G(noise(3)), noise(9)
    refused = [
        (lambda: latent.relative_error(x, x[:2]), ShapeError, "two sets of images of one shape"),
        (lambda: latent.relative_error(x[[0, 0]], x[[0, 0]]), ArgumentError, "all images of x are the same"),
        (lambda: latent.between(z, z[:2], 0.5), ShapeError, "one shape"),
        (lambda: latent.between(z, z, float("nan")), ArgumentError, "between: t must be a finite number"),
        (lambda: latent.walk(z, z, 1), ArgumentError, "walk: steps"),
        (lambda: latent.direction(z, z), ShapeError, "a value for each of 9 rows"),
        (lambda: latent.direction(z[:4], z[:4, 0]), ArgumentError, "4 rows of z do not tell 3 directions apart"),
        (lambda: latent.direction(z, np.ones(9)), ArgumentError, "all values are the same"),
        (lambda: latent.direction(np.full_like(z, np.nan), z[:, 0]), NonFiniteError, "z: some numbers are not finite"),
        (lambda: latent.direction(np.ones((9, 3)), z[:, 0]), ArgumentError, "grow in no direction"),
        (lambda: latent.between(z, -z, 0.5), ArgumentError, "opposite directions"),
        (lambda: latent.along(z, np.ones(3), 1.0), ArgumentError, "unit vector"),
        (lambda: latent.invert(G, (x * 100).astype(np.uint8), z), ShapeError, "got uint8"),
        (lambda: latent.invert(G, x * np.nan, z), NonFiniteError, "visible pixels of x are not finite"),
        (lambda: latent.invert(G, x, z * np.nan), NonFiniteError, "guesses"),
        (lambda: latent.inpaint(G, x, np.full((4, 5, 1), 0.5), z), ArgumentError, "mask must be 1"),
        (lambda: latent.relative_error(x[:1], x[:1]), ArgumentError, "two images at least"),
        (lambda: latent.direction(z, np.full(9, np.inf)), NonFiniteError, "no finite numbers"),
        (lambda: latent.along(z, np.ones(4), 1.0), ShapeError, "expected a direction \\(3,\\)"),
        (lambda: latent.invert(G, x[0], z), ShapeError, "expected images \\(N, H, W, C\\)"),
        (lambda: latent.invert(G, x[:, :2], z), ShapeError, "G makes images \\(4, 5, 2\\), but x holds \\(2, 5, 2\\)"),
        (lambda: latent.invert(G, x, z[:3]), ArgumentError, "at least 4 guesses"),
        (lambda: latent.invert(G, x, z[0]), ShapeError, "guesses: expected noise"),
        (lambda: latent.invert(G, x, z, labels=[1, 1, 1]), ArgumentError, "knows no classes"),
        (lambda: latent.invert(K, x, z, labels=[1]), ShapeError, "a label for each of 3 images"),
        (lambda: latent.invert(K, x, z, labels=[1, 2, 3]), ArgumentError, "there are 3 classes"),
        (lambda: latent.invert(K, x, z), ArgumentError, "which class"),
        (lambda: latent.inpaint(G, x, np.ones((3, 3, 1)), z), ShapeError, "a mask that meets images"),
        (lambda: latent.inpaint(G, x, np.zeros((4, 5, 1)), z), ArgumentError, "some must be visible"),
        (lambda: latent.inpaint(G, x, 2.0 * np.ones((4, 5, 1)), z), ArgumentError, "mask must be 1"),
    ]
    for call, error, match in refused:
        with pytest.raises(error, match=match):
            call()


def test_a_generator_without_normalisation_or_of_rows_does_too():
    G = Sequential(Dense(3, 8, rng=0), Tanh(), Dense(8, 40, rng=1), Reshape(*SHAPE))
    x = G(noise(2, seed=9).astype(np.float32))
    assert latent.invert(G, x, noise(60).astype(np.float32), steps=200).errors.max() < 0.01
    with pytest.raises(ShapeError, match="x holds"):
        latent.invert(Sequential(G, Flatten()), x, noise(60).astype(np.float32))
