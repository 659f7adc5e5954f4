"""Random changes in front of D: what they do, by a loop over pixels; their adjoints; how strong they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import GAN, Sequential, augment, load_trained, losses, models, plotting, train
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import Dense, Flatten
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs.equilibrium import equilibrium
from tinygan.runs.state import load_state, state
from tinygan.testing import check_gradients, check_layer, check_penalty, check_second_order

SHIFTS = st.builds(augment.Shift, st.sampled_from([0.0, 0.2, 0.5, 0.9]), fill=st.sampled_from([0.0, -1.0]))
CUTOUTS = st.builds(augment.Cutout, st.sampled_from([0.0, 0.3, 0.5, 0.9]), fill=st.sampled_from([0.0, 0.5]))
part = st.sampled_from([0.0, 0.4, 1.0])
COLOURS = st.builds(augment.Colour, part, part, part)


@st.composite
def cases(draw):
    """A layer, and images of any size, grey or in colours."""
    layer, rng = draw(st.one_of(SHIFTS, CUTOUTS, COLOURS)), np.random.default_rng(draw(st.integers(0, 99)))
    layer.rng = rng
    layer.buffers["strength"][...] = draw(st.sampled_from([0.5, 1.0]))
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 3])))
    return layer, rng.standard_normal(shape)


@settings(max_examples=100)
@given(case=cases())
def test_gradients_tangent_and_contract(case):
    layer, x = case
    check_layer(layer, x, gradients=False)
    _, numbers = layer.copy().apply(x, True)
    if numbers is not None and not layer.change(np.ones_like(x), numbers, linear=True).any():  # nothing is left
        return
    check_gradients(layer, x)
    check_second_order(layer, x)


@settings(max_examples=60)
@given(case=cases())
def test_the_way_back_is_the_transpose(case):
    layer, x = case
    numbers = layer.draw(x.shape, np.ones(len(x), bool))
    dy = np.random.default_rng(1).standard_normal(x.shape)
    there, back = layer.change(x, numbers, linear=True), layer.adjoint(dy, numbers)
    np.testing.assert_allclose((there * dy).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


# ---- what they do: each pixel by itself ------------------------------------------------------------------------------


def shifted(x, layer, numbers):
    y = np.full_like(x, layer.fill)
    for n, i, j in np.ndindex(x.shape[:3]):
        a, b = i - numbers[0][n], j - numbers[1][n]
        if 0 <= a < x.shape[1] and 0 <= b < x.shape[2]:
            y[n, i, j] = x[n, a, b]
    return y


def covered(x, layer, numbers):
    y = x.copy()
    for n, i, j in np.ndindex(x.shape[:3]):
        if not numbers[n, i, j, 0]:
            y[n, i, j] = layer.fill
    return y


def coloured(x, layer, numbers):
    y = np.empty_like(x)
    for n, (b, f, g) in enumerate(numbers.T):
        u = x[n] + b
        v = np.empty_like(u)
        for i, j in np.ndindex(u.shape[:2]):
            p = sum(u[i, j]) / len(u[i, j])
            v[i, j] = [p + f * (value - p) for value in u[i, j]]
        q = v.sum() / v.size
        y[n] = q + g * (v - q)
    return y


@settings(max_examples=60)
@given(case=cases())
def test_forward_is_a_loop_over_pixels(case):
    layer, x = case
    twin = layer.copy()
    y = layer.forward(x)
    changed = twin.rng.random(len(x)) < twin.buffers["strength"][0]
    if not changed.any():
        np.testing.assert_array_equal(y, x)
        return
    slow = {augment.Shift: shifted, augment.Cutout: covered, augment.Colour: coloured}[type(layer)]
    expected = slow(x, layer, twin.draw(x.shape, changed))
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(y[~changed], x[~changed], atol=1e-12)
    np.testing.assert_array_equal(layer(x), x)  # in evaluation nothing is changed


def test_how_far_they_go():
    shift = augment.Shift(0.25, rng=0)
    s = shift.draw((4000, 8, 12, 1), np.ones(4000, bool))
    assert set(s[0]) == set(range(-2, 3))
    assert set(s[1]) == set(range(-3, 4))
    m = augment.Cutout(0.5, rng=0).draw((4000, 8, 12, 1), np.ones(4000, bool))
    hidden = (~m).sum(axis=(1, 2, 3))
    assert hidden.max() == 24
    assert hidden.min() == 2 * 3
    assert 0.05 < (~m)[:, 0, 0, 0].mean() < 0.25 < (~m)[:, 4, 6, 0].mean()
    b, f, g = augment.Colour(rng=0).draw((4000, 8, 12, 1), np.ones(4000, bool))
    assert -0.5 <= b.min() < -0.45
    assert 0.45 < b.max() <= 0.5
    assert 0.0 <= f.min() < 0.05
    assert 1.95 < f.max() <= 2.0
    assert 0.5 <= g.min() < 0.55
    assert 1.45 < g.max() <= 1.5


def test_grey_images_have_no_saturation():
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 1))
    np.testing.assert_allclose(augment.Colour(0.0, 1.0, 0.0, rng=1).forward(x), x, atol=1e-12)


def test_the_strength_is_the_part_that_is_changed():
    x = np.random.default_rng(0).standard_normal((4000, 4, 4, 1)).astype(np.float32)
    y = augment.Colour(strength=0.3, rng=1).forward(x)
    assert y.dtype == np.float32
    assert 0.27 < np.mean([not np.allclose(a, b) for a, b in zip(x, y, strict=True)]) < 0.33
    assert augment.Shift(strength=0.0, rng=1).forward(x) is x


def test_the_same_changes_on_every_backend(device):
    x = np.random.default_rng(0).standard_normal((5, 6, 7, 3)).astype(np.float32)
    for layer in (augment.Shift(rng=1), augment.Cutout(fill=0.5, rng=1), augment.Colour(rng=1)):
        twin, dy = layer.copy().to(device.name), x[::-1].copy()
        np.testing.assert_allclose(device.get(twin.forward(device.put(x))), layer.forward(x), atol=1e-6)
        np.testing.assert_allclose(device.get(twin.backward(device.put(dy))), layer.backward(dy), atol=1e-6)


# ---- in front of D ---------------------------------------------------------------------------------------------------

LAYERS = augment.Shift(rng=1), augment.Cutout(rng=2), augment.Colour(rng=3)


def test_penalties_go_through_them():
    rng = np.random.default_rng(0)
    D = augment.before(Sequential(Flatten(), Dense(48, 1, rng=0, dtype=np.float64)), *LAYERS)
    real, fake = rng.standard_normal((2, 3, 4, 4, 3))
    for penalty, where, value in (
        (R1(2.0), "real", lambda r: np.mean(r**2)),
        (R2(2.0), "fake", lambda r: np.mean(r**2)),
        (GradientPenalty(1.0), "between", lambda r: np.mean((r - 1.0) ** 2)),
    ):
        assert check_penalty(penalty, D, real, fake, where=where, value=value).comparisons > 0


def game(strength=1.0, loss=None, adaptive=False, **options):
    G, D = models.mlp((8, 8, 1), g_hidden=(16,), d_hidden=(16,), noise_dim=4, rng=0)
    D = augment.before(D, *(type(a)(strength=strength, rng=k) for k, a in enumerate(LAYERS)))
    loss = losses.NonSaturating() if loss is None else loss
    loss = augment.Adaptive(loss, D, **options) if adaptive else loss
    return GAN(G, D, noise_dim=4, loss=loss, penalties=[R1(1.0)], seed=0)


def real(n=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 8, 8, 1)).astype(np.float32)


def test_a_gan_learns_behind_them_and_samples_are_not_changed():
    gan, plain = game(), game(strength=0.0)
    for k in range(3):
        gan.step(real(seed=k))
        plain.step(real(seed=k))
    assert np.isfinite(gan.sample(5)).all()
    assert not np.array_equal(gan.discriminator.theta, plain.discriminator.theta)
    np.testing.assert_array_equal(
        gan.discriminator(real()), Sequential(*(a.copy() for a in gan.discriminator.layers[3:]))(real())
    )


def test_before_makes_copies():
    _, D = models.mlp((8, 8, 1), d_hidden=(16,), rng=0)
    changed = augment.before(D, *LAYERS)
    np.testing.assert_array_equal(changed.theta, D.theta)
    changed.theta += 1.0
    assert not np.array_equal(changed.theta, D.theta)


def test_their_random_numbers_and_strength_are_part_of_the_state(tmp_path):
    D, other = game(strength=0.5).discriminator, game(strength=1.0).discriminator
    for _ in range(2):
        D.apply(real(), True)
    D.save(tmp_path / "d.safetensors")
    other.load(tmp_path / "d.safetensors")
    assert other.layers[0].buffers["strength"][0] == 0.5


# ---- as much as D needs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [losses.NonSaturating(), losses.LeastSquares(), losses.Relativistic()], ids=repr)
def test_strength_grows_while_d_knows_the_real_images_and_falls_when_it_does_not(loss):
    gan = game(strength=0.0, loss=loss, adaptive=True, images=160)
    adaptive, one = gan.loss, np.ones((16, 1), np.float32)
    for k in range(3):
        assert adaptive.strength == pytest.approx(0.1 * k)
        value, *slopes = adaptive.discriminator(one, -one)
        expected = loss.discriminator(one, -one)
        assert value == expected[0]
        assert all(np.array_equal(a, b) for a, b in zip(slopes, expected[1:], strict=True))
    mixed = np.where(np.arange(16) % 2, 1.0, -1.0).astype(np.float32)[:, None]
    for expected in (0.2, 0.1, 0.0, 0.0):
        adaptive.discriminator(mixed, mixed)
        assert adaptive.strength == pytest.approx(expected, abs=1e-6)
    for _ in range(12):
        adaptive.discriminator(one, -one)
    assert [layer.buffers["strength"][0] for layer in adaptive.layers] == [1.0] * 3
    before = adaptive.strength
    adaptive.generator(-one, one)
    assert adaptive.strength == before


def test_the_target_may_be_reached_exactly():
    gan = game(strength=0.5, adaptive=True, target=0.5, images=160)
    real_logits = np.array([1, 1, 1, -1], np.float32)[:, None]  # r = 0.5 about the middle 0
    gan.loss.discriminator(real_logits, -real_logits)
    assert gan.loss.strength == 0.5


def test_an_adaptive_game_goes_on_where_it_was():
    gan, other = (game(strength=0.5, adaptive=True, images=100) for _ in range(2))
    for k in range(4):
        gan.step(real(seed=k))
    assert gan.loss.strength != 0.5
    load_state(other, *state(gan))
    assert other.loss.strength == gan.loss.strength
    for k in range(2):
        gan.step(real(seed=k))
        other.step(real(seed=k))
    np.testing.assert_array_equal(other.discriminator.theta, gan.discriminator.theta)
    assert "Adaptive(NonSaturating()" in repr(gan)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_refusals():
    for make, says in (
        (lambda: augment.Shift(1.0), r"Shift: ratio must be in \[0, 1\)"),
        (lambda: augment.Shift(fill=np.nan), "Shift: fill must be a finite number"),
        (lambda: augment.Cutout(-0.1), r"Cutout: ratio must be in \[0, 1\)"),
        (lambda: augment.Colour(-1.0), "Colour: brightness must be a finite number of at least 0"),
        (lambda: augment.Colour(contrast=2.0), r"Colour: contrast must be in \[0, 1\]"),
        (lambda: augment.Shift(strength=1.5), r"Shift: strength must be in \[0, 1\]"),
        (lambda: augment.before(models.mlp()[1], Dense(2, 2)), "expected layers such as augment.Shift"),
        (lambda: augment.Adaptive(losses.NonSaturating, game().discriminator), "expected a loss such as"),
        (lambda: augment.Adaptive(losses.NonSaturating(), models.mlp()[1]), "none of augment's layers"),
        (lambda: game(adaptive=True, target=2.0), r"Adaptive: target must be in \[0, 1\]"),
        (lambda: game(adaptive=True, images=0), "Adaptive: images must be a whole number"),
    ):
        with pytest.raises(ArgumentError, match=says):
            make()
    with pytest.raises(ShapeError, match="put it before the layer Flatten"):
        augment.Shift().forward(np.ones((2, 784), np.float32))


def test_a_class_of_yours_needs_three_methods():
    class Nothing(augment.Augmentation):
        pass

    with pytest.raises(NotImplementedError, match="has no draw"):
        Nothing().forward(real())


# ---- what looks at a game moves nothing in it ------------------------------------------------------------------------


def test_drawing_the_loss_curves_leaves_the_strength(tmp_path):
    gan = game(strength=0.5, adaptive=True)
    plotting.save_loss_curves(tmp_path / "losses.png", np.ones((4, 3)), loss=gan.loss)
    assert gan.loss.strength == 0.5
    assert equilibrium(gan.loss) == equilibrium(losses.NonSaturating())


def test_logits_that_are_not_finite_leave_the_strength():
    gan, one = game(strength=0.5, adaptive=True), np.ones((4, 1), np.float32)
    gan.loss.discriminator(np.full((4, 1), np.nan, np.float32), one)
    assert gan.loss.strength == 0.5


def test_before_keeps_what_a_block_computes_and_takes_its_dtype():
    class Twice(Sequential):
        def apply(self, x, train, **options):
            y, cache = super().apply(x, train, **options)
            return 2.0 * y, cache

    D = Twice(Flatten(), Dense(64, 1, rng=0, dtype=np.float64))
    x = np.random.default_rng(0).standard_normal((3, 8, 8, 1))
    changed = augment.before(D, augment.Shift())
    np.testing.assert_array_equal(changed(x), D(x))
    assert changed.layers[0].buffers["strength"].dtype == np.float64
    for wrong in (5, game()):
        with pytest.raises(ArgumentError, match="expected a discriminator, a Sequential"):
            augment.before(wrong, augment.Shift())


@pytest.mark.parametrize("mixed", [False, True])
def test_a_run_in_float64_is_loaded_again(tmp_path, mixed):
    G, D = models.mlp((8, 8, 1), g_hidden=(8,), d_hidden=(8,), noise_dim=4, dtype=np.float64)
    D = Sequential(augment.Shift(rng=0), *(a.copy() for a in D.layers)) if mixed else augment.before(D, augment.Shift())
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    train(GAN(G, D, noise_dim=4), images, out=tmp_path / "run", steps=2, batch_size=4, progress=False)
    np.testing.assert_array_equal(load_trained(tmp_path / "run").discriminator.theta, D.theta)
