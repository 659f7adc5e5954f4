"""Distances of features beside SciPy's root, closed forms, sums written out, and answers known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from tinygan import metrics
from tinygan.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from tinygan.metrics import distances


def features(rng, n, f):
    """Not Gaussian, not centred, of correlated columns."""
    return np.exp(0.3 * rng.standard_normal((n, f)) @ rng.standard_normal((f, f))) + rng.standard_normal(f)


def by_scipy(a, b):
    """As published: with the root of a product that is not symmetric."""
    A, B = np.cov(a.T), np.cov(b.T)
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(A + B - 2 * sqrtm(np.atleast_2d(A @ B)).real)


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(20, 60), st.integers(20, 60))
def test_frechet_is_that_of_scipy(seed, f, n, m):
    rng = np.random.default_rng(seed)
    a, b = features(rng, n, f), features(rng, m, f)
    expected = by_scipy(a, b)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_frechet_of_known_gaussians_is_the_closed_form():
    """Of covariances that commute: |μ_a − μ_b|² + Σ (σ_a − σ_b)². The rows have these moments exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    a, b = white * [1, 2, 3, 0, 1] + 1.0, white * [2, 2, 1, 1, 0]
    assert metrics.frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4 + 1 + 1, rel=1e-9)


def test_singular_sets_have_an_answer():
    """More features than rows: the roots of SciPy are then complex; by hand with the rows themselves."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((5, 40)), rng.standard_normal((7, 40))
    A, B = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    cross = np.linalg.svd(A @ B.T, compute_uv=False).sum()  # the same sum of singular values
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.square(A).sum() + np.square(B).sum() - 2 * cross
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-5)
    assert metrics.frechet_distance(np.ones((3, 2)), np.ones((4, 2))) == 0.0


@given(st.integers(0, 10**6), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_moments_piece_by_piece_are_those_of_the_whole(seed, sizes):
    x = 1e3 + features(np.random.default_rng(seed), sum(sizes) + 1, 4)
    moments, start = metrics.Moments(x[:1]), 1
    for size in sizes:
        moments.add(x[start : start + size].astype(np.float64))
        start += size
    assert moments.n == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-8, atol=1e-9)


def test_the_covariance_is_the_one_without_bias():
    """Dividing by N passes unnoticed where N is large; at 5 rows it does not."""
    a, b = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), np.array([[0.0], [2.0], [4.0], [6.0], [8.0]])
    expected = 4.0 + (np.sqrt(10.0) - np.sqrt(2.5)) ** 2
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def kernel_by_loops(x, y):
    def k(p, q):
        return (sum(s * t for s, t in zip(p, q, strict=True)) / len(p) + 1.0) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(p, q) for p in x for q in y) / (n * m)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 8))
def test_kernel_distance_is_the_sum_written_out(seed, f, n):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, f)), rng.standard_normal((n, f)) + 0.5
    found = metrics.kernel_distance(a, b, subsets=1, size=n)
    assert found.value == pytest.approx(kernel_by_loops(a.tolist(), b.tolist()), rel=1e-9, abs=1e-12)
    assert np.isnan(found.error)


@pytest.mark.parametrize(("shift", "most"), [(0.0, 4.0), (0.5, 2.0)])
def test_kernel_distance_has_no_bias_at_any_number_and_the_error_that_it_says(shift, most):
    rng, means = np.random.default_rng(2), []
    for n in (40, 200, 1000):
        sets = [rng.standard_normal((2, n, 8)) + shift * np.eye(2)[1][:, None, None] for _ in range(40)]
        found = [metrics.kernel_distance(a, b, subsets=20, rng=i) for i, (a, b) in enumerate(sets)]
        values = np.array([estimate.value for estimate in found])
        means.append((values.mean(), values.std(ddof=1) / np.sqrt(len(values))))
        assert 0.5 < np.mean([estimate.error for estimate in found]) / values.std(ddof=1) < most
    (last, _), truth = means[-1], 0.0
    for mean, error in means:
        assert abs(mean - (last if shift else truth)) < 4 * np.hypot(error, means[-1][1])
    assert np.isnan(metrics.kernel_distance(*sets[0], size=600).error)


def test_kernel_distance_grows_with_the_difference_and_repeats_itself():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((500, 6))
    near, far = (metrics.kernel_distance(a, a[::-1] + shift, size=200) for shift in (0.1, 1.0))
    assert far.value > near.value + 10 * far.error
    assert metrics.kernel_distance(a, a + 1.0) == metrics.kernel_distance(a, a + 1.0)
    assert metrics.kernel_distance(a, a + 1.0, size=100, rng=1) != metrics.kernel_distance(a, a + 1.0, size=100)


def test_long_sets_are_taken_in_in_pieces(monkeypatch):
    x = 5.0 + features(np.random.default_rng(4), 70, 3)
    monkeypatch.setattr(distances, "ROWS", 16)
    moments = metrics.Moments(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-9)


def test_kernel_distance_of_sets_of_different_sizes():
    a, b = np.random.default_rng(5).standard_normal((2, 6, 3))
    found = metrics.kernel_distance(a, b[:4], subsets=1, size=4, rng=7)
    rng = np.random.default_rng(7)
    chosen = [s[rng.choice(len(s), 4, replace=False)].tolist() for s in (a, b[:4])]
    assert found.value == pytest.approx(kernel_by_loops(*chosen), rel=1e-9)


@pytest.mark.parametrize("distance", [metrics.frechet_distance, metrics.kernel_distance, metrics.precision_recall])
@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((3, 2, 2)), np.zeros((3, 2)), ShapeError, r"expected features \(N, F\), got \(3, 2, 2\)"),
        (np.zeros((3, 2)), np.zeros((3, 4)), ShapeError, "2 features a row against 4"),
        (np.zeros((1, 2)), np.zeros((3, 2)), ArgumentError, "2 rows of features at least, got 1"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), NonFiniteError, "not finite"),
        (np.full((3, 2), 1e200), np.zeros((3, 2)), NonFiniteError, "beyond 1e\\+30"),
        (np.zeros((3, 2), complex), np.zeros((3, 2)), DTypeError, "real numbers, got complex128"),
    ],
)
def test_what_cannot_be_compared_is_refused(distance, a, b, error, message):
    with pytest.raises(error, match=message):
        distance(a, b)
    with pytest.raises(error):
        distance(b, a)
