"""The sliced Wasserstein distance: its pyramid beside loops, sorted projections, and answers known beforehand."""

import numpy as np
import pytest

from tinygan import metrics
from tinygan.errors import NonFiniteError, ShapeError
from tinygan.metrics import pyramids


def blurred_by_loops(x):
    h, w = x.shape[1:3]
    y = np.zeros_like(x)

    def mirror(i, size):
        return -i if i < 0 else 2 * size - 2 - i if i >= size else i

    for p in range(h):
        for q in range(w):
            for i, f in enumerate(pyramids.FILTER):
                for j, g in enumerate(pyramids.FILTER):
                    y[:, p, q] += f * g * x[:, mirror(p + i - 2, h), mirror(q + j - 2, w)]
    return y


@pytest.mark.parametrize("size", [(14, 14), (15, 17), (28, 16)])
def test_bands_beside_loops_and_added_up(size):
    x = np.random.default_rng(0).standard_normal((2, *size, 2))
    np.testing.assert_allclose(pyramids._blur(x), blurred_by_loops(x), atol=1e-12)
    first, *rest = pyramids._pyramid(x)
    wide = np.zeros_like(x)
    half = blurred_by_loops(x)[:, ::2, ::2]
    wide[:, ::2, ::2] = half
    np.testing.assert_allclose(first, x - 4 * blurred_by_loops(wide), atol=1e-12)
    while len(rest) > 1:  # all but the last added to what is left of them gives the image at half the size
        rest[-2:] = [rest[-2] + pyramids._double(rest[-1], rest[-2].shape[1:3])]
    np.testing.assert_allclose(rest[0], half, atol=1e-12)


def test_a_constant_image_has_detail_nowhere():
    assert all(abs(band).max() < 1e-12 for band in pyramids._pyramid(np.ones((1, 32, 32, 1)))[:-1])


def test_the_whole_distance_by_loops():
    """With the same draws: patches one by one, each channel at mean 0 and deviation 1, directions one by one."""
    draw = np.random.default_rng(4)
    a, b = draw.standard_normal((2, 3, 8, 9, 2))
    found = metrics.sliced_wasserstein(a, b, patches=5, rng=11)
    rng, which = np.random.default_rng(11), np.repeat(np.arange(3), 5)
    corners = [(rng.integers(0, 2, 15), rng.integers(0, 3, 15)) for _ in range(2)]
    sets = []
    for x, (top, left) in zip((a, b), corners, strict=True):
        patches = np.array([x[n, i : i + 7, j : j + 7] for n, i, j in zip(which, top, left, strict=True)])
        for c in range(2):
            patches[..., c] = (patches[..., c] - patches[..., c].mean()) / patches[..., c].std()
        sets.append(patches.transpose(0, 3, 1, 2).reshape(15, -1))
    directions = rng.standard_normal((98, 512)).T
    apart = [abs(np.sort(sets[0] @ u) - np.sort(sets[1] @ u)).mean() / np.sqrt(u @ u) for u in directions]
    assert found == {8: pytest.approx(1000 * np.mean(apart), rel=1e-9)}


def test_answers_known_beforehand():
    rng = np.random.default_rng(2)
    base = rng.standard_normal((120, 28, 28, 1))
    real, other = (pyramids._blur(x) for x in (base[:60], base[60:]))
    same = metrics.sliced_wasserstein(real, other)
    assert list(same) == [28, 14, 7]
    blurred = metrics.sliced_wasserstein(real, pyramids._blur(other))
    assert blurred[28] > 2 * same[28]
    assert metrics.sliced_wasserstein(real, other) == same
    brighter = metrics.sliced_wasserstein(real, 2.0 * other + 0.5)  # it is blind to that, and says so
    assert brighter == {size: pytest.approx(d, rel=1e-9) for size, d in same.items()}
    assert max(metrics.sliced_wasserstein(real, real).values()) < max(same.values())


def test_colours_and_images_that_are_not_square():
    rng = np.random.default_rng(3)
    a, b = rng.uniform(-1, 1, (2, 10, 16, 30, 3)).astype(np.float32)
    assert list(metrics.sliced_wasserstein(a, b)) == [16, 8]


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((2, 6, 9, 1)), np.zeros((2, 6, 9, 1)), ShapeError, "7x7 pixels at least"),
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), ShapeError, r"\(N, H, W, C\)"),
        (np.zeros((2, 8, 8, 1)), np.zeros((3, 8, 8, 1)), ShapeError, "as many images of one shape"),
        (np.zeros((2, 8, 8, 1)), np.full((2, 8, 8, 1), np.inf), NonFiniteError, "fake is not finite"),
    ],
)
def test_what_has_no_pyramid_is_refused(a, b, error, message):
    with pytest.raises(error, match=message):
        metrics.sliced_wasserstein(a, b)
