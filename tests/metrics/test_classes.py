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


def test_agreement_is_a_part_with_the_error_of_one():
    asked = np.array([0, 1, 2, 1])
    assert metrics.class_agreement(np.array([0, 1, 1, 1]), asked) == (0.75, pytest.approx(np.sqrt(0.75 * 0.25 / 4)))
    assert metrics.class_agreement(np.eye(3)[asked], asked) == (1.0, 0.0)
    with pytest.raises(ShapeError, match="4 samples, but 3 classes that were asked for"):
        metrics.class_agreement(asked, asked[:3])
    with pytest.raises(DTypeError, match="asked: expected whole numbers"):
        metrics.class_agreement(asked, asked.astype(float))


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_distances_within_classes_are_those_of_the_parts(seed, classes, features):
    rng = np.random.default_rng(seed)
    sets = []
    for n in (7 * classes, 9 * classes):
        labels = rng.permutation(np.arange(n) % classes)
        sets += [rng.standard_normal((n, features)) + labels[:, None], labels]
    a, of_a, b, of_b = sets
    found = metrics.frechet_within_classes(*sets)
    parts = [metrics.frechet_distance(a[of_a == k], b[of_b == k]) for k in range(classes)]
    np.testing.assert_allclose(found.of_each, parts)
    assert found.mean == pytest.approx(np.mean(parts))


def test_what_is_of_all_classes_but_not_of_each_is_told():
    """Samples of both classes with their labels exchanged are like the real ones as a whole, and of neither class."""
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    real, fake = (rng.standard_normal((4000, 2)) + 6.0 * labels[:, None] for _ in range(2))
    assert metrics.frechet_distance(real, fake) < 0.1
    assert metrics.frechet_within_classes(real, labels, fake, labels).mean < 0.1
    assert metrics.frechet_within_classes(real, labels, fake, 1 - labels).mean == pytest.approx(72.0, rel=0.1)
    with pytest.raises(ArgumentError, match="in one of the sets class 1 is missing"):
        metrics.frechet_within_classes(real, labels, fake, 0 * labels)
    with pytest.raises(ShapeError, match="b has 4000 rows, but 3 labels"):
        metrics.frechet_within_classes(real, labels, fake, labels[:3])
