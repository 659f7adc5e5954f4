"""Pictures: every pixel in its place, files that a viewer opens, and the levels that loss curves are held to."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinygan import losses, plotting
from tinygan.errors import ArgumentError, DataError, ShapeError


@given(
    n=st.integers(1, 12),
    h=st.integers(1, 5),
    w=st.integers(1, 5),
    c=st.sampled_from([1, 3]),
    columns=st.integers(1, 6),
    padding=st.integers(0, 3),
    scale=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_every_image_lies_in_its_place(n, h, w, c, columns, padding, scale, seed):
    images = np.random.default_rng(seed).integers(1, 256, (n, h, w, c), dtype=np.uint8)
    picture = plotting.grid(images, columns=columns, padding=padding, scale=scale)
    assert picture.dtype == np.uint8
    picture = picture.reshape(*picture.shape[:2], c)
    small = picture[::scale, ::scale]
    np.testing.assert_array_equal(small.repeat(scale, axis=0).repeat(scale, axis=1), picture)
    for i, image in enumerate(images):
        row, column = divmod(i, min(columns, n))
        top, left = padding + row * (h + padding), padding + column * (w + padding)
        np.testing.assert_array_equal(small[top : top + h, left : left + w], image)
    assert np.count_nonzero(small) == images.size  # all else is black


def test_the_ends_of_the_range_are_black_and_white(device):
    values = np.array([-1.0, 0.0, 1.0, -7.0, 7.0], dtype=np.float32).reshape(1, 1, 5, 1)
    picture = plotting.grid(device.put(values), padding=0, scale=1)
    np.testing.assert_array_equal(picture, [[0, 128, 255, 0, 255]])
    picture = plotting.grid(device.put(values), low=0.0, high=2.0, padding=0, scale=1)
    np.testing.assert_array_equal(picture, [[0, 0, 128, 0, 255]])


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (np.zeros((4, 28, 28)), {}, ShapeError, r"expected images \(N, H, W, 1\)"),
        (np.zeros((4, 28, 28, 2)), {}, ShapeError, r"got \(4, 28, 28, 2\)"),
        (np.zeros((0, 28, 28, 1)), {}, ShapeError, r"got \(0, 28, 28, 1\)"),
        (np.full((2, 3, 3, 1), np.nan), {}, DataError, "image 0 holds NaN or infinity"),
        (np.zeros((2, 3, 3, 1)), {"columns": 0}, ArgumentError, "columns must be at least 1"),
        (np.zeros((2, 3, 3, 1)), {"padding": -1}, ArgumentError, "padding must be at least 0"),
        (np.zeros((2, 3, 3, 1)), {"scale": 0}, ArgumentError, "scale must be at least 1"),
        (np.zeros((2, 3, 3, 1)), {"low": 1.0, "high": 1.0}, ArgumentError, "expected low below high"),
    ],
)
def test_what_is_no_picture_is_refused(images, options, error, message):
    with pytest.raises(error, match=message):
        plotting.grid(images, **options)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_film(tmp_path, channels):
    rng = np.random.default_rng(0)
    frames = []
    for i in range(4):
        picture = plotting.grid(rng.uniform(-1, 1, (4, 5, 5, channels)), scale=1)
        frames.append(tmp_path / f"{i}.png")
        plotting.save_png(frames[-1], picture)
        with Image.open(frames[-1]) as file:
            np.testing.assert_array_equal(np.asarray(file), picture)
    plotting.save_film(tmp_path / "film.gif", frames, seconds=0.1, hold=2.0)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4
        assert film.info["loop"] == 0
        durations = []
        for i in range(4):
            film.seek(i)
            durations.append(film.info["duration"])
    assert durations == [100, 100, 100, 2000]
    assert {p.suffix for p in tmp_path.iterdir()} == {".png", ".gif"}  # nothing unfinished lies about


def test_a_long_film_is_thinned_out_and_keeps_its_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "MAX_FRAMES", 5)
    frames = []
    for i in range(23):
        frames.append(tmp_path / f"{i}.png")
        plotting.save_png(frames[-1], np.full((4, 4), 10 * i, dtype=np.uint8))
    plotting.save_film(tmp_path / "film.gif", frames)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 5
        ends = []
        for i in (0, 4):
            film.seek(i)
            ends.append(np.asarray(film.convert("L"))[0, 0])
    assert ends == [0, 220]


def test_a_film_of_nothing_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="there are no frames"):
        plotting.save_film(tmp_path / "film.gif", [])


@pytest.mark.parametrize("steps", [0, 1, 2, 300])
def test_loss_curves_of_any_length_and_the_same_bytes_twice(tmp_path, steps):
    values = np.random.default_rng(0).random((steps, 2))
    for name in "ab":
        plotting.save_loss_curves(tmp_path / name, values, loss=losses.NonSaturating())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as picture:
        assert picture.size == (960, 540)


def test_loss_curves_show_a_run_that_went_wrong(tmp_path):
    plotting.save_loss_curves(tmp_path / "a", np.array([[1.0, 2.0], [1e30, 3.0], [np.nan, np.inf]]))


def test_the_smoothed_curve_is_the_median_of_each_span():
    values = np.array([1.0, 2.0, 900.0, 4.0, 5.0, 6.0])
    steps, medians = plotting._smoothed(values, np.arange(1, 7), points=2)
    np.testing.assert_array_equal(steps, [2, 5])
    np.testing.assert_array_equal(medians, [2, 5])
    steps, medians = plotting._smoothed(values, np.arange(1, 7))
    np.testing.assert_array_equal(steps, [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(medians, values)


@pytest.mark.parametrize(
    ("loss", "d", "g"),
    [
        (losses.NonSaturating(), 2 * math.log(2), math.log(2)),
        (losses.Minimax(), 2 * math.log(2), -math.log(2)),
        (losses.LeastSquares(), 1 / 4, 1 / 8),
        (losses.Relativistic(), math.log(2), math.log(2)),
        # D says t / 2 of everything: L_D = −t log(t/2) − (2 − t) log(1 − t/2)
        (
            losses.NonSaturating(real_label=0.9),
            -0.9 * math.log(0.45) - 1.1 * math.log(0.55),
            -math.log(0.45),
        ),
    ],
)
def test_equilibrium_is_what_theory_says(loss, d, g):
    assert plotting.equilibrium(loss) == pytest.approx((d, g), rel=1e-9)


@pytest.mark.parametrize(("loss", "d"), [(losses.Wasserstein(), 0.0), (losses.Hinge(), 2.0)])
def test_a_critic_that_has_a_choice_leaves_gs_loss_open(tmp_path, loss, d):
    assert plotting.equilibrium(loss) == (pytest.approx(d, abs=1e-12), None)
    plotting.save_loss_curves(tmp_path / "a", np.random.default_rng(0).random((30, 2)), loss=loss)


def curves(monkeypatch, *args, **options):
    """The curves that save_loss_curves draws, {label: (x, y)}."""
    from matplotlib.axes import Axes

    drawn, plot = {}, Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **k: drawn.update({k.get("label"): a}) or plot(self, *a, **k))
    plotting.save_loss_curves(*args, **options)
    return drawn


def test_the_penalty_is_drawn_where_it_was_due(tmp_path, monkeypatch):
    """Every third step here; the smoothed curve of all steps would lie at 0."""
    values = np.random.default_rng(0).random((12, 3))
    values[np.arange(12) % 3 > 0, 2] = np.nan
    values[3, 2] = 0.0  # due, and nothing to pay
    drawn = curves(monkeypatch, tmp_path / "a", values, loss=losses.Relativistic())
    assert set(drawn) == {None, "discriminator", "generator", "penalty"}
    steps, heights = drawn["penalty"]
    np.testing.assert_array_equal(steps, [1, 4, 7, 10])
    np.testing.assert_array_equal(heights, values[::3, 2])
    plotting.save_loss_curves(tmp_path / "b", values, loss=losses.Relativistic())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert set(curves(monkeypatch, tmp_path / "c", values[:, :2])) == {None, "discriminator", "generator"}


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_a_penalty_of_any_length(tmp_path, steps):
    values = np.zeros((steps, 3))
    values[:, 2] = np.nan  # the penalty is never due
    plotting.save_loss_curves(tmp_path / "a", values, loss=losses.Hinge())
    plotting.save_loss_curves(tmp_path / "b", values + 1.0, loss=losses.Hinge())
    assert (tmp_path / "a").exists()
