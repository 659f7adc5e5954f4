"""The Inception Score and the coverage of classes: by loops, at their ends, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import metrics
from tinygan.errors import ArgumentError, DTypeError, ShapeError


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 4), st.integers(2, 5))
def test_inception_score_beside_loops(seed, classes, splits, each):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.3), splits * each)
    scores = []
    for part in np.split(p, splits):
        q = [sum(row[k] for row in part) / each for k in range(classes)]
        kl = [sum(row[k] * np.log(row[k] / q[k]) for k in range(classes) if row[k] > 0) for row in part]
        scores.append(np.exp(sum(kl) / each))
    found = metrics.inception_score(p, splits=splits)
    assert found.value == pytest.approx(np.mean(scores), rel=1e-9)
    if splits > 1:
        assert found.error == pytest.approx(np.std(scores, ddof=1) / np.sqrt(splits), rel=1e-6, abs=1e-12)


def test_inception_score_at_its_ends():
    sure = np.tile(np.eye(10), (20, 1))
    assert metrics.inception_score(sure) == (pytest.approx(10.0), pytest.approx(0.0, abs=1e-12))
    assert metrics.inception_score(np.full((50, 10), 0.1)).value == pytest.approx(1.0)
    assert metrics.inception_score(sure[:, :1] * 0 + [[1.0, 0.0]]).value == pytest.approx(1.0)  # one class alone


def test_classes_are_counted_and_compared():
    found = metrics.class_coverage(np.array([0, 0, 1, 3]), 4)
    assert found.share.tolist() == [0.5, 0.25, 0.0, 0.25]
    assert found.covered == 3
    assert found.reverse_kl == pytest.approx(0.5 * np.log(2.0))
    even = metrics.class_coverage(np.eye(4)[[0, 1, 2, 3]])
    assert (even.covered, even.reverse_kl) == (4, pytest.approx(0.0))
    beside = metrics.class_coverage(np.array([0, 0, 1, 3]), 4, real=np.array([0, 0, 1, 3]))
    assert beside.reverse_kl == pytest.approx(0.0)
    assert metrics.class_coverage(np.array([0, 2]), 3, real=np.array([0, 1])).reverse_kl == np.inf


def test_chance_alone_makes_the_divergence_that_is_said():
    rng = np.random.default_rng(0)
    kl = [metrics.class_coverage(rng.integers(0, 100, 2000), 100).reverse_kl for _ in range(50)]
    assert np.mean(kl) == pytest.approx(99 / 4000, rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: metrics.inception_score(np.full((20, 3), 0.5)),
            ArgumentError,
            "rows of numbers from 0 on that sum to 1",
        ),
        (lambda: metrics.inception_score(np.eye(3)), ArgumentError, "3 samples are too few for splits = 10"),
        (lambda: metrics.class_coverage(np.array([0, 1])), ArgumentError, "say how many classes there are"),
        (lambda: metrics.class_coverage(np.array([0, 7]), 4), ArgumentError, "expected classes 0 to 3, got 0 to 7"),
        (lambda: metrics.class_coverage(np.array([0.5]), 4), DTypeError, "whole numbers, got float64"),
        (lambda: metrics.class_coverage(np.eye(3), 4), ShapeError, r"probabilities of 4 classes, got \(3, 3\)"),
        (lambda: metrics.class_coverage(np.eye(3), np.ones(3)), ArgumentError, "classes must be a whole number"),
        (lambda: metrics.class_coverage(np.zeros((0,), int), 4), ShapeError, r"got \(0,\)"),
    ],
)
def test_what_says_nothing_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
