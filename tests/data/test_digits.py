"""The embedded digits: reproducible, balanced, centred, legible to a classifier that never saw their factors."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan.data import Factors, digits, draw, random_factors
from tinygan.data.digits import BOX, CHUNK, SIZE
from tinygan.data.skeletons import POINTS, STYLES, skeletons
from tinygan.errors import ArgumentError


def plain(n=None, **changes):
    """Upright digits of medium thickness, one of every style (or n of style 0), in the middle."""
    count = len(skeletons().digit) if n is None else n
    factors = Factors(
        style=np.arange(count) if n is None else np.zeros(n, int),
        aspect=np.ones(count),
        slant=np.zeros(count),
        angle=np.zeros(count),
        bend=np.zeros((count, 4)),
        shake=np.zeros((count, *skeletons().control.shape[1:])),
        thickness=np.full(count, 2.4),
        shift=np.zeros((count, 2)),
    )
    return dataclasses.replace(factors, **changes)


def moments(images):
    """Centres of mass (x, y) and the spread matrices (N, 2, 2) of images (N, 28, 28, 1)."""
    ink = images[..., 0] / images.sum(axis=(1, 2, 3), dtype=np.float64)[:, None, None]
    at = np.stack(np.broadcast_arrays(np.arange(SIZE), np.arange(SIZE)[:, None]), axis=-1)  # (28, 28, 2)
    centre = np.einsum("nij,ijc->nc", ink, at)
    away = at - centre[:, None, None]
    return centre, np.einsum("nij,nijc,nijd->ncd", ink, away, away)


def test_a_seed_gives_the_same_bytes_and_another_seed_others():
    a, b, c = digits(300, seed=7), digits(300, seed=7), digits(300, seed=8)
    assert (a.images == b.images).all()
    assert (a.labels == b.labels).all()
    assert (a.images != c.images).any(axis=(1, 2, 3)).all()


@settings(max_examples=8)
@given(n=st.integers(1, 2 * CHUNK + 1), seed=st.integers(0, 2**32))
def test_fewer_digits_are_the_beginning_of_more(n, seed):
    few, many = digits(n, seed=seed), digits(2 * CHUNK + 1, seed=seed)
    assert (few.images == many.images[:n]).all()
    assert (few.labels == many.labels[:n]).all()


def test_train_and_test_share_no_image():
    train, test = digits(CHUNK, seed=0), digits(CHUNK, seed=0, split="test")
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


def test_labels_are_all_ten_digits_evenly():
    data = digits(4096, seed=0)
    assert data.images.shape == (4096, SIZE, SIZE, 1)
    assert data.images.dtype == np.uint8
    counts = np.bincount(data.labels, minlength=10)
    assert len(counts) == 10
    assert (np.abs(counts - 409.6) < 5 * np.sqrt(409.6)).all()


def test_every_style_is_used_as_often_as_it_says():
    table = skeletons()
    counts = np.bincount(random_factors(20_000, rng=0).style, minlength=len(table.digit))
    expected = 20_000 * table.weight / 10
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_pictures_look_like_mnist_to_a_statistician():
    """Black ground, white plateaus, few greys, and the centre of mass in the middle, give or take half a pixel."""
    images = digits(2048, seed=3).images
    assert (images.max(axis=(1, 2, 3)) >= 230).all()
    assert (images == 0).mean() > 0.7
    assert 0.1 < images.mean() / 255 < 0.17
    assert (np.abs(moments(images)[0] - SIZE / 2) < 1.0).all()


def test_the_ink_fits_the_box():
    images = draw(plain(thickness=np.linspace(1.5, 4.0, len(plain()))))
    for image in images[..., 0]:
        rows, columns = np.flatnonzero(image.max(axis=1) > 127), np.flatnonzero(image.max(axis=0) > 127)
        longest = max(np.ptp(rows), np.ptp(columns)) + 1
        assert BOX - 3 <= longest <= BOX + 1


def test_anti_aliasing_moves_a_line_by_less_than_a_pixel():
    shift = np.stack([np.linspace(0, 1, 11), np.zeros(11)], axis=1)
    centre, _ = moments(draw(plain(11, shift=shift)))
    np.testing.assert_allclose(centre[:, 0] - centre[0, 0], shift[:, 0], atol=0.05)


def test_thickness_is_in_pixels():
    one = int(np.flatnonzero(skeletons().digit == 1)[0])  # a bare upright line
    thickness = np.linspace(1.8, 4.5, 10)
    images = draw(plain(10, style=np.full(10, one), thickness=thickness))
    across = images[:, 14, :, 0].sum(axis=1) / 255  # ink in a row through the middle
    np.testing.assert_allclose(across, thickness, atol=0.2)


def test_each_factor_does_what_it_says():
    _, upright = moments(draw(plain()))
    _, slanted = moments(draw(plain(slant=np.full(len(plain()), 0.5))))
    assert (slanted[:, 0, 1] < upright[:, 0, 1]).all()  # the top goes right
    _, wide = moments(draw(plain(aspect=np.full(len(plain()), 1.5))))
    ratio = np.sqrt((wide[:, 0, 0] / wide[:, 1, 1]) / (upright[:, 0, 0] / upright[:, 1, 1]))
    assert (ratio[skeletons().digit != 1] > 1.25).all()
    one = int(np.flatnonzero(skeletons().digit == 1)[0])
    _, spread = moments(draw(plain(1, style=np.array([one]), angle=np.array([np.pi / 2]))))
    assert spread[0, 0, 0] > 20 * spread[0, 1, 1]  # lying down
    bow = np.zeros((1, 4))
    bow[0, 1] = 0.3
    assert not (draw(plain(1, bend=bow)) == draw(plain(1))).all()


def test_drawing_in_any_company_gives_the_same_picture():
    factors = random_factors(CHUNK + 9, rng=1)
    together = draw(factors).astype(int)
    alone = np.concatenate([draw(factors[i : i + 1]) for i in (0, 5, CHUNK - 1, CHUNK, CHUNK + 8)]).astype(int)
    assert np.abs(together[[0, 5, CHUNK - 1, CHUNK, CHUNK + 8]] - alone).max() <= 1  # BLAS may round another way


def test_no_line_falls_apart_into_dots():
    """Along the middle of the thinnest lines the ink is even: no sample stands out."""
    one = int(np.flatnonzero(skeletons().digit == 1)[0])
    line = draw(plain(1, style=np.array([one]), thickness=np.array([1.5])))[0, 6:22, :, 0].max(axis=1)
    assert np.ptp(line.astype(int)) <= 8


def test_a_nearest_mean_classifier_reads_them():
    """Ten mean images of half the digits name most of the other half; a network names nearly all."""
    data = digits(4000, seed=11)
    x = data.images.reshape(4000, -1) / 255.0
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[:2000][data.labels[:2000] == d].mean(axis=0) for d in range(10)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert ((x[2000:] @ means.T).argmax(axis=1) == data.labels[2000:]).mean() > 0.8


def test_splines_pass_through_their_points_and_spread_evenly():
    table = skeletons()
    assert table.spline.shape[1] == POINTS
    np.testing.assert_allclose(table.spline.sum(axis=2), 1.0, atol=1e-5)  # moving all points moves the curve
    path = table.spline @ table.control  # (S, K, 2)
    step = np.linalg.norm(np.diff(path, axis=1), axis=2)
    for s in range(len(table.digit)):
        used = step[s][table.joined[s] > 0]
        assert used.max() < 2.5 * np.median(used)
    ends = [line.split("/") for d in range(10) for _, line in STYLES[d]]
    assert [(t == 0).sum() for t in table.joined] == [len(runs) - 1 for runs in ends]


def test_there_are_several_styles_of_every_digit():
    assert sorted(STYLES) == list(range(10))
    assert min(len(styles) for styles in STYLES.values()) >= 3
    np.testing.assert_allclose(np.bincount(skeletons().digit, skeletons().weight), 1.0)


BAD_ARGUMENTS = {
    "none": (lambda: digits(0), "digits: n must be a whole number of at least 1, got 0"),
    "seed": (lambda: digits(5, seed=-1), "the seed must be a whole number of at least 0, got -1"),
    "split": (lambda: digits(5, split="dev"), "expected split 'train' or 'test', got 'dev'"),
    "no such style": (lambda: plain(2, style=np.array([0, 99])), r"there are styles 0 to \d+, got \[ 0 99\]"),
    "negative style": (lambda: plain(1, style=np.array([-1])), "there are styles 0 to"),
    "too few slants": (lambda: plain(3, slant=np.zeros(2)), r"of 3 digits: expected slant of shape \(3,\), got \(2,\)"),
    "one number": (lambda: plain(3, thickness=2.0), r"expected thickness of shape \(3,\), got \(\)"),
    "bend": (lambda: plain(3, bend=np.zeros((3, 2))), r"expected bend of shape \(3, 4\), got \(3, 2\)"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused(case):
    make, message = BAD_ARGUMENTS[case]
    with pytest.raises(ArgumentError, match=message):
        make()
