"""The embedded creatures: reproducible, all kinds of them, every factor doing what it says."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan.data import load, shapes
from tinygan.data.outlines import ANGLES, KINDS, outlines
from tinygan.data.shapes import CHUNK, PATTERNS, Factors, draw, random_factors
from tinygan.errors import ArgumentError

shapes_module = sys.modules["tinygan.data.shapes"]  # whose name in the package is the function's


def plain(n=None, **changes):
    """Upright green creatures in the middle, one of every kind (or n circles)."""
    kind = np.arange(len(KINDS)) if n is None else np.zeros(n, int)
    n = len(kind)
    factors = Factors(
        kind=kind,
        pattern=np.zeros(n, int),
        size=np.full(n, 0.6),
        place=np.zeros((n, 2)),
        angle=np.zeros(n),
        hue=np.full(n, 1 / 3),
        backdrop=np.full((n, 2), 0.8),
        slope=np.zeros(n),
        gaze=np.zeros((n, 2)),
        eyes=np.full(n, 0.2),
        smile=np.zeros(n),
    )
    return dataclasses.replace(factors, **changes)


def body(images):
    """Where a green creature in front of violet is, (N, H, W)."""
    return images[..., 1].astype(int) - images[..., 2] > 30


def difference(**changes):
    """Per pixel, how much a circle changes with a factor."""
    return np.abs(draw(plain(1)).astype(int) - draw(plain(1, **changes)))[0].max(axis=-1)


def test_a_seed_gives_the_same_bytes_and_another_seed_others():
    a, b, c = shapes(100, seed=7), shapes(100, seed=7), shapes(100, seed=8)
    assert (a.images == b.images).all()
    assert (a.labels == b.labels).all()
    assert (a.images != c.images).any(axis=(1, 2, 3)).all()


@settings(max_examples=8)
@given(n=st.integers(1, 2 * CHUNK + 1), seed=st.integers(0, 2**32))
def test_fewer_shapes_are_the_beginning_of_more(n, seed):
    few, many = shapes(n, seed=seed, size=16), shapes(2 * CHUNK + 1, seed=seed, size=16)
    assert (few.images == many.images[:n]).all()
    assert (few.labels == many.labels[:n]).all()


def test_train_and_test_share_no_image():
    train, test = shapes(CHUNK), shapes(CHUNK, split="test")
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


def test_labels_are_all_kinds_evenly_and_have_names():
    data = shapes(2048, seed=1, size=8)
    assert data.classes == KINDS
    counts = np.bincount(data.labels, minlength=len(KINDS))
    assert (np.abs(counts - 256) < 5 * np.sqrt(256)).all()
    assert (data.images.dtype, data.image_shape) == (np.uint8, (8, 8, 3))


def test_images_use_the_whole_range_of_colours():
    images = shapes(200, seed=2).images
    assert images.min() < 25
    assert images.max() == 255
    assert (np.abs(images.mean(axis=(0, 1, 2)) - 140) < 40).all()


@pytest.mark.parametrize("size", [8, 33, 128])
def test_a_creature_is_the_same_in_every_size(size):
    factors = random_factors(16, rng=3)
    small, large = draw(factors, size=size) / 255.0, draw(factors, size=4 * size) / 255.0
    shrunk = large.reshape(16, size, 4, size, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - shrunk).mean() < 0.25 / size + 0.005
    np.testing.assert_allclose(small.mean(axis=(1, 2)), large.mean(axis=(1, 2)), atol=0.3 / size)


def test_bodies_lie_within_the_picture_and_stand_out_from_it():
    factors = dataclasses.replace(random_factors(400, rng=4), hue=np.full(400, 1 / 3), backdrop=np.full((400, 2), 0.8))
    inside = body(draw(factors))
    assert not inside[:, [0, -1]].any()
    assert not inside[:, :, [0, -1]].any()
    assert (inside.mean(axis=(1, 2)) > 0.06).all()


def test_all_kinds_have_one_area_and_no_two_one_outline():
    inside = body(draw(plain(), size=128)) | (draw(plain(), size=128).min(axis=-1) > 230)  # body or white of the eyes
    area = inside.mean(axis=(1, 2))
    np.testing.assert_allclose(area, area.mean(), rtol=0.12)
    for a in range(len(KINDS)):
        for b in range(a):
            assert (inside[a] != inside[b]).mean() > 0.01, (KINDS[a], KINDS[b])


def test_the_table_of_outlines_is_closed_and_its_distances_are_true():
    table = outlines()
    radius = table.radius.reshape(len(KINDS), ANGLES + 1)
    np.testing.assert_allclose(np.mean(radius[:, :-1] ** 2, axis=1), 0.75, rtol=1e-5)
    assert (radius[:, 0] == radius[:, -1]).all()
    np.testing.assert_allclose(table.reach, radius.max(axis=1), rtol=1e-6)
    theta = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    fine = np.arange(8 * ANGLES) * (2 * np.pi / (8 * ANGLES))
    for kind in ("circle", "star", "hexagon"):  # a step off the edge, against the nearest point of the curve
        r = radius[KINDS.index(kind), :-1].astype(float)
        curve = np.interp(fine, theta, r, period=2 * np.pi) * np.exp(1j * fine)
        nearest = np.abs((r + 0.01) * np.exp(1j * theta) - curve[:, None]).min(axis=0)
        text = 0.01 * table.steepness.reshape(len(KINDS), -1)[KINDS.index(kind), :-1]
        np.testing.assert_allclose(text, nearest, atol=0.002)


def test_edges_are_smooth():
    """Turned or moved by a little, a picture changes by a little: no pixel flips."""
    assert difference(place=np.array([[0.003, 0.0]])).max() < 40  # a tenth of a pixel
    assert difference(angle=np.array([0.003])).max() < 40
    assert difference(size=np.array([0.603])).max() < 40


def test_place_is_where_the_body_is():
    place = np.array([[-0.25, 0.0], [0.25, 0.0], [0.0, -0.25], [0.0, 0.25]])
    inside = body(draw(plain(4, place=place)))
    middle = np.arange(64) / 32 - 1 + 1 / 64
    x, y = (inside * middle).sum(axis=(1, 2)), (inside * middle[:, None]).sum(axis=(1, 2))
    count = inside.sum(axis=(1, 2))
    np.testing.assert_allclose(x / count, place[:, 0], atol=0.03)
    np.testing.assert_allclose(np.diff((y / count)[2:]), 0.5, atol=0.02)  # eyes are no body, so y is a bit off


def test_size_is_a_radius_and_angle_turns_clockwise():
    inside = body(draw(plain(2, size=np.array([0.3, 0.6])), size=128))
    areas = inside.sum(axis=(1, 2))
    np.testing.assert_allclose(areas[1] / areas[0], 4, rtol=0.1)
    drop = np.full(3, KINDS.index("drop"))
    tips = body(draw(plain(3, kind=drop, angle=np.array([-0.4, 0.0, 0.4]))))[:, :20].sum(axis=1)
    where = (tips * np.arange(64)).sum(axis=1) / tips.sum(axis=1)
    assert where[0] < where[1] - 3
    assert where[1] < where[2] - 3


def test_hues_are_colours():
    hues = np.array([0.0, 1 / 3, 2 / 3, 1.0])
    images = draw(plain(4, hue=hues))[:, 20, 32]  # the forehead
    assert list(images[:3].argmax(axis=-1)) == [0, 1, 2]
    assert (images[0] == images[3]).all()


def test_patterns_are_told_apart():
    plain_one, stripes, dots = draw(plain(3, pattern=np.arange(len(PATTERNS)))).astype(int)
    for a, b in ((plain_one, stripes), (plain_one, dots), (stripes, dots)):
        assert (np.abs(a - b).max(axis=-1) > 40).mean() > 0.03


def test_faces_do_what_they_are_told():
    look = difference(gaze=np.array([[1.0, 0.0]]))
    smile = difference(smile=np.array([1.0]))
    assert set(np.flatnonzero(look.max(axis=1) > 9)) <= set(range(20, 36))  # only at the height of the eyes
    assert set(np.flatnonzero(smile.max(axis=1) > 9)) <= set(range(32, 46))  # only at that of the mouth
    happy, sad = draw(plain(2, smile=np.array([1.0, -1.0])))[..., 1].astype(int)
    rows = np.arange(34, 46)
    corner, middle = (np.argmin(happy[34:46, k]) for k in (28, 31))
    assert rows[corner] < rows[middle]  # corners up
    assert np.argmin(sad[34:46, 28]) > np.argmin(sad[34:46, 31])
    dark = draw(plain(2, gaze=np.array([[-1.0, 0.0], [1.0, 0.0]]))).max(axis=-1)[:, 22:34] < 60
    left, right = (np.nonzero(d)[1].mean() for d in dark)
    assert right - left > 1


def test_the_background_fades_along_its_slope():
    images = draw(plain(2, backdrop=np.array([[0.0, 0.66]] * 2), slope=np.array([0.0, np.pi / 2])))
    reds = images[..., 0].astype(int) - images[..., 2]
    assert abs(reds[0, 0, 0] - reds[0, -1, 0]) < 25
    assert abs(reds[0, 0, 0] - reds[0, 0, -1]) > 60
    assert abs(reds[1, 0, 0] - reds[1, -1, 0]) > 60


def test_drawing_in_any_company_gives_the_same_picture():
    factors = random_factors(40, rng=1)
    together = draw(factors).astype(int)
    for i in (0, 7, 8, 39):
        assert np.abs(together[i] - draw(factors[i : i + 1])[0]).max() <= 1


def test_a_nearest_mean_classifier_tells_kinds_apart_where_little_else_differs():
    factors = random_factors(2000, rng=6)
    centred = dataclasses.replace(factors, place=np.zeros((2000, 2)), hue=np.full(2000, 0.3))
    x = draw(dataclasses.replace(centred, backdrop=np.full((2000, 2), 0.8)), size=32).reshape(2000, -1) / 255.0
    means = np.stack([x[:1000][factors.labels[:1000] == k].mean(axis=0) for k in range(len(KINDS))])
    distance = ((x[1000:, None] - means) ** 2).sum(axis=-1)
    assert (distance.argmin(axis=1) == factors.labels[1000:]).mean() > 0.4


def test_load_knows_them():
    data = load("shapes", split="test", size=16, mirror=True)
    assert (data.image_shape, len(data), data.name) == ((16, 16, 3), 4000, "shapes")
    assert load("shapes", split="test", size=(8, 12), channels=1).image_shape == (8, 12, 1)
    square = load("shapes", split="test", size=(16, 16))
    np.testing.assert_array_equal(square.images, data.images, "drawn as by one number, not shrunk")
    with pytest.raises(ArgumentError, match="size: expected a height and a width"):
        load("shapes", size=(8, 12, 3))


BAD_ARGUMENTS = {
    "none": (lambda: shapes(0), "shapes: n must be a whole number of at least 1, got 0"),
    "seed": (lambda: shapes(5, seed=-1), "the seed must be a whole number of at least 0, got -1"),
    "split": (lambda: shapes(5, split="dev"), "expected split 'train' or 'test', got 'dev'"),
    "too small": (lambda: shapes(5, size=7), "expected a size of 8 to 1024 pixels, got 7"),
    "too many": (lambda: shapes(10**6, size=512), "1,000,000 images of 512x512x3 take more than"),
    "half a pixel": (lambda: draw(plain(), size=64.5), "expected a size of 8 to 1024 pixels, got 64.5"),
    "no such kind": (lambda: plain(1, kind=np.array([8])), r"kind must be integers 0 to 7, got \[8\]"),
    "negative kind": (lambda: plain(1, kind=np.array([-1])), "kind must be integers 0 to 7"),
    "kind by name": (lambda: plain(1, kind=np.array(["star"])), "kind must be integers 0 to 7, got"),
    "no such pattern": (lambda: plain(1, pattern=np.array([3])), "pattern must be integers 0 to 2"),
    "too few hues": (lambda: plain(3, hue=np.zeros(2)), r"of 3 shapes: expected hue of shape \(3,\), got \(2,\)"),
    "one number": (lambda: plain(3, size=0.5), r"expected size of shape \(3,\), got \(\)"),
    "place": (lambda: plain(3, place=np.zeros(3)), r"expected place of shape \(3, 2\), got \(3,\)"),
}


def test_images_of_exactly_the_largest_size_are_made(monkeypatch):
    size = 5 * 8 * 8 * 3
    monkeypatch.setattr(shapes_module, "MAX_BYTES", size)
    assert shapes(5, size=8).images.nbytes == size
    with pytest.raises(ArgumentError, match=f"6 images of 8x8x3 take more than {size:,} bytes"):
        shapes(6, size=8)


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused(case):
    make, message = BAD_ARGUMENTS[case]
    with pytest.raises(ArgumentError, match=message):
        make()
