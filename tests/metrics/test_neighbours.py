"""Precision, recall, density, coverage and nearest neighbours, beside loops over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import metrics
from tinygan.errors import ArgumentError, ShapeError
from tinygan.metrics import rows


def radius(x, i, k):
    return sorted(np.sqrt(np.sum((x[i] - other) ** 2)) for j, other in enumerate(x) if j != i)[k - 1]


def distance(p, q):
    return np.sqrt(np.sum((p - q) ** 2))


@given(st.integers(0, 10**6), st.integers(5, 12), st.integers(5, 12), st.integers(1, 4), st.integers(1, 4))
def test_beside_loops(seed, n, m, f, k):
    rng = np.random.default_rng(seed)
    real, fake = rng.standard_normal((n, f)), 0.8 * rng.standard_normal((m, f)) + 0.3
    of_real, of_fake = [radius(real, i, k) for i in range(n)], [radius(fake, j, k) for j in range(m)]
    inside = np.array([[distance(q, p) <= of_real[i] for i, p in enumerate(real)] for q in fake])
    back = np.array([[distance(p, q) <= of_fake[j] for j, q in enumerate(fake)] for p in real])
    found, others = metrics.precision_recall(real, fake, k=k), metrics.density_coverage(real, fake, k=k)
    assert found.precision.value == pytest.approx(inside.any(axis=1).mean())
    assert found.recall.value == pytest.approx(back.any(axis=1).mean())
    assert others.density.value == pytest.approx(inside.sum() / (k * m))
    assert others.coverage.value == pytest.approx(inside.any(axis=0).mean())


@given(st.integers(0, 10**6), st.integers(3, 9), st.integers(1, 3))
def test_nearest_neighbours_beside_sorting(seed, n, k):
    rng = np.random.default_rng(seed)
    samples, real = rng.standard_normal((4, 3, 2)), rng.standard_normal((n, 3, 2))
    found = metrics.nearest_neighbours(samples, real, k=k)
    for i, sample in enumerate(samples):
        all_of_them = sorted((distance(sample, other), j) for j, other in enumerate(real))[:k]
        assert [j for _, j in all_of_them] == found.indices[i].tolist()
        np.testing.assert_allclose(found.distances[i], [d for d, _ in all_of_them], rtol=1e-7, atol=1e-7)


def test_copies_are_at_0_and_what_is_as_far_as_a_radius_lies_within(monkeypatch):
    """Sets with copies, as a collapsed generator makes them: beside loops over all pairs."""
    rng = np.random.default_rng(3)
    few = rng.standard_normal((12, 3)) + 100.0
    real, fake = np.repeat(few, 6, axis=0), np.concatenate([few[:7], few[:3], rng.standard_normal((4, 3)) + 100.0])
    for k in (3, 5, 7):
        of_real, of_fake = [radius(real, i, k) for i in range(72)], [radius(fake, j, k) for j in range(14)]
        inside = np.array([[distance(q, p) <= of_real[i] for i, p in enumerate(real)] for q in fake])
        back = np.array([[distance(p, q) <= of_fake[j] for j, q in enumerate(fake)] for p in real])
        found, others = metrics.precision_recall(real, fake, k=k), metrics.density_coverage(real, fake, k=k)
        assert (found.precision.value, found.recall.value) == (inside.any(axis=1).mean(), back.any(axis=1).mean())
        assert others.density.value == pytest.approx(inside.sum() / (k * 14))
        assert others.coverage.value == inside.any(axis=0).mean()
    pixels = rng.uniform(0, 255, (30, 784))
    near = pixels[[3, 8]] + np.array([[0.0], [1e-5]]) * rng.standard_normal((2, 784))
    exact = np.sqrt(np.square(near - pixels[[3, 8]]).sum(axis=1))
    for pairs in (rows.PAIRS, 40):
        monkeypatch.setattr(rows, "PAIRS", pairs)
        found = metrics.nearest_neighbours(near, pixels)
        assert found.indices[:, 0].tolist() == [3, 8]
        np.testing.assert_allclose(found.distances[:, 0], exact, rtol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((60, 3)), rng.standard_normal((50, 3))
    whole = metrics.precision_recall(real, fake), metrics.density_coverage(real, fake)
    monkeypatch.setattr(rows, "PAIRS", 70)
    assert (metrics.precision_recall(real, fake), metrics.density_coverage(real, fake)) == whole


def test_answers_known_beforehand():
    rng = np.random.default_rng(1)
    real, other = rng.standard_normal((2, 600, 8))
    same, density = metrics.precision_recall(real, other), metrics.density_coverage(real, other)
    assert same.precision.value > 0.7 < same.recall.value
    assert density.density.value == pytest.approx(1.0, abs=0.15)
    assert density.coverage.value == pytest.approx(1 - 2**-5, abs=0.04)
    half = other[other[:, 0] > 0.0]
    assert metrics.density_coverage(real, half).coverage.value < 0.75  # a half is missing
    assert metrics.precision_recall(real, half).recall.value < 0.75
    narrow = metrics.precision_recall(real, 0.1 * other)
    assert narrow.precision.value > 0.98
    assert narrow.recall.value < 0.1
    noise = metrics.precision_recall(real, 5.0 + other)
    assert noise.precision.value < 0.02


def test_a_copy_is_found_by_pixels_and_a_shifted_one_by_features():
    rng = np.random.default_rng(2)
    real = rng.uniform(-1, 1, (30, 12, 12, 1)).astype(np.float32)
    copies = real[[7, 3]]
    found = metrics.nearest_neighbours(copies, real)
    assert found.indices[:, 0].tolist() == [7, 3]
    assert found.distances.max() < 1e-6
    shifted = np.roll(copies, 1, axis=2)
    by_features = metrics.nearest_neighbours(shifted, real, features=lambda x: np.sort(x.reshape(len(x), -1)))
    assert by_features.indices[:, 0].tolist() == [7, 3]
    assert by_features.distances.max() < 1e-6 < metrics.nearest_neighbours(shifted, real).distances.min()


@pytest.mark.parametrize("of", [metrics.precision_recall, metrics.density_coverage])
def test_as_many_neighbours_as_rows_are_refused(of):
    with pytest.raises(ArgumentError, match="k = 5 neighbours need more rows than that, got 5 and 9"):
        of(np.zeros((5, 2)), np.zeros((9, 2)), k=5)
    with pytest.raises(ArgumentError, match="k must be a whole number of at least 1"):
        of(np.zeros((5, 2)), np.zeros((9, 2)), k=0)


@pytest.mark.parametrize(("a", "b"), [((5, 4, 6), (7, 6, 4)), ((0, 4), (3, 4)), ((), (3, 4)), ((3, 4), (0, 4))])
def test_arrays_of_different_shapes_have_no_neighbours(a, b):
    with pytest.raises(ShapeError, match="of one shape but for N, none of them empty"):
        metrics.nearest_neighbours(np.zeros(a), np.zeros(b))


def test_more_neighbours_than_there_are():
    with pytest.raises(ArgumentError, match="k must be at most 3"):
        metrics.nearest_neighbours(np.zeros((5, 2)), np.zeros((3, 2)), k=4)
