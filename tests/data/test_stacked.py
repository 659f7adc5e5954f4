"""Stacked digits: each colour is one of the digits, the label says which, and every draw is the Generator's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.data import ImageData, Stacked
from tinygan.data import stacked as stacked_module
from tinygan.data.stacked import channels, modes
from tinygan.errors import ArgumentError, DataError


def numbered(n=20, height=4, width=5, mirror=False):
    """Grey images that can be told apart by their first pixel, (i, 0): the number of the image; labels i mod 10."""
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    return ImageData(images, np.arange(n) % 10, "numbered", "numbered images", mirrored=mirror)


def test_each_colour_is_a_whole_digit():
    digits = numbered()
    drawn = Stacked(digits).draw(50, np.random.default_rng(1), low=0.0, high=255.0)
    assert drawn.shape == (50, 4, 5, 3)
    assert drawn.dtype == np.float32
    for image in drawn:
        for c in range(3):
            source = int(image[0, 0, c])
            np.testing.assert_allclose(image[..., c], digits.images[source, ..., 0], atol=1e-4)


def test_colours_are_drawn_apart_and_evenly():
    drawn = Stacked(numbered()).draw(20_000, np.random.default_rng(0), low=0.0, high=255.0)
    sources = drawn[:, 0, 0].round().astype(int)
    for c in range(3):
        counts = np.bincount(sources[:, c], minlength=20)
        assert abs(counts - 1000).max() < 6 * np.sqrt(1000)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        pairs = np.bincount(sources[:, a] * 20 + sources[:, b], minlength=400)
        assert abs(pairs - 50).max() < 6 * np.sqrt(50)


def test_the_range_is_that_of_a_generator_with_tanh():
    images = np.zeros((2, 2, 2, 1), np.uint8)
    images[1] = 255
    drawn = Stacked(ImageData(images, np.array([0, 1]))).draw(100, np.random.default_rng(0))
    assert set(np.unique(drawn)) == {-1.0, 1.0}


@given(seed=st.integers(0, 2**32), n=st.integers(1, 9))
def test_a_generator_decides_everything(seed, n):
    stacked = Stacked(numbered())
    a, b = (stacked.draw(n, np.random.default_rng(seed)) for _ in range(2))
    assert (a == b).all()
    rng = np.random.default_rng(seed)
    assert (stacked.draw(8, rng) != stacked.draw(8, rng)).any()  # and goes on with the next numbers


@pytest.mark.parametrize("mirror", [False, True])
def test_a_fixed_set_is_what_would_be_drawn(mirror):
    stacked = Stacked(numbered(mirror=mirror))
    data = stacked.fixed(1201, np.random.default_rng(3))
    drawn = stacked.draw(1201, np.random.default_rng(3))
    assert len(data) == 1201
    np.testing.assert_allclose(data.batch(np.arange(1201)), drawn, atol=1e-6)
    assert "numbered" in data.name
    assert "1,201 images of three digits" in data.description


def test_the_label_of_a_fixed_set_is_its_mode():
    data = Stacked(numbered()).fixed(200, np.random.default_rng(0))
    a, b, c = data.images[:, 0, 0].astype(int).T % 10  # the number of an image tells its label
    assert (data.labels == 100 * a + 10 * b + c).all()


def test_taken_apart_and_named_again():
    x = np.random.default_rng(0).random((6, 4, 5, 3))
    parts = channels(x)
    assert parts.shape == (18, 4, 5, 1)
    for i in range(6):
        for c in range(3):
            assert (parts[3 * i + c, ..., 0] == x[i, ..., c]).all()
    assert modes(np.array([[0, 0, 7], [1, 2, 3], [9, 9, 9]])).tolist() == [7, 123, 999]
    every = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), axis=1)
    assert (modes(every) == np.arange(1000)).all()


GREY = np.zeros((3, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    ("digits", "message"),
    [
        (ImageData(GREY, name="bare"), "bare: stacking needs the labels"),
        (ImageData(GREY, np.array([0, 5, 10]), "many"), "many: .* 0 to 9, got 10"),
        (ImageData(GREY.repeat(3, axis=-1), np.zeros(3, int), "colour"), "colour: .* not 3 channels"),
    ],
)
def test_what_cannot_be_stacked_is_refused(digits, message):
    with pytest.raises(DataError, match=message):
        Stacked(digits)


def test_a_set_of_exactly_the_largest_size_is_made(monkeypatch):
    digits = numbered()
    size = 5 * int(np.prod(digits.image_shape[:2])) * 3
    monkeypatch.setattr(stacked_module, "MAX_BYTES", size)
    assert Stacked(digits).fixed(5, np.random.default_rng(0)).images.nbytes == size
    monkeypatch.setattr(stacked_module, "MAX_BYTES", size - 1)
    with pytest.raises(DataError, match="more than 4 GiB"):
        Stacked(digits).fixed(5, np.random.default_rng(0))


def test_numbers_without_meaning_are_refused():
    stacked, rng = Stacked(numbered()), np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="Stacked: n must be a whole number of at least 1, got 0"):
        stacked.draw(0, rng)
    with pytest.raises(DataError, match="more than 4 GiB"):
        stacked.fixed(2**27, rng)
