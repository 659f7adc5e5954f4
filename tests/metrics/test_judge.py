"""A judge of samples: its features, what it says of images whose quality is known, and what it refuses."""

import numpy as np
import pytest

from tinygan import GAN, data, metrics, models
from tinygan.errors import ArgumentError, DataError, DTypeError, NonFiniteError, ShapeError
from tinygan.metrics import features


@pytest.fixture(scope="module")
def drawn():
    """Digits as floats in [−1, 1], and their labels."""
    digits = data.load("digits", split="test")
    return digits.batch(np.arange(1400)), digits.labels[:1400]


@pytest.fixture(scope="module", params=["digits", "random", "pixels"])
def judge(request, drawn):
    extractor = {"digits": metrics.digits(), "random": None, "pixels": metrics.pixels}[request.param]
    images = data.ImageData.from_floats(drawn[0][:700], low=-1.0, high=1.0, name="drawn")
    return metrics.Judge(images, extractor)


def test_worse_images_are_judged_worse(judge, drawn):
    others, labels = drawn[0][700:], drawn[1][700:]
    same = judge(others)
    blurred = others.copy()
    for _ in range(2):
        blurred = (blurred + np.roll(blurred, 1, axis=1) + np.roll(blurred, 1, axis=2)) / 3
    noisy = (others + np.random.default_rng(0).normal(0, 0.5, others.shape)).clip(-1, 1)
    few = others[labels < 3]
    for worse in (blurred, noisy, np.concatenate([few] * 4)[: len(others)]):
        found = judge(worse)
        assert found.frechet > 1.5 * same.frechet
        assert found.kernel.value > same.kernel.value + 2 * same.kernel.error
    assert judge(np.repeat(few, 4, axis=0)[: len(others)]).recall.value < same.recall.value
    assert judge(noisy).precision.value < same.precision.value
    floor = judge.floor(350)
    assert floor.frechet < judge(blurred).frechet
    assert floor.features == same.features


def test_scores_say_by_what_and_repeat_themselves(judge, drawn):
    found = judge(drawn[0][700:900])
    assert judge(drawn[0][700:900]) == found
    assert found.features == judge.name
    assert found.samples == 200
    assert str(found).endswith(f"(200 samples; by {judge.name})")


def test_the_classifier_of_the_package_reads_digits_that_we_draw(drawn):
    judge = metrics.digits()
    images, labels = drawn
    p = judge.probabilities(images)
    np.testing.assert_allclose(judge.probabilities(images[:1]), p[:1], atol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-9)
    assert (p.argmax(axis=1) == labels).mean() > 0.9  # drawn otherwise than those that it learned from
    assert judge.accuracy > 0.99
    assert judge(images[:7]).shape == (7, 128)
    assert features.DIGITS.stat().st_size < 500_000


def test_samples_of_a_gan_are_judged_in_three_lines():
    judge = metrics.Judge(data.load("digits", split="test"), n=200)
    gan = GAN(*models.mlp((28, 28, 1), rng=0), noise_dim=100, seed=0)
    assert judge(gan.sample(100)).frechet > 0.0


def test_random_convolutions_take_images_of_any_size_and_are_fixed_by_their_seed():
    rng = np.random.default_rng(0)
    for shape in ((1, 8, 8, 1), (3, 17, 30, 3), (501, 5, 5, 2)):
        images = rng.uniform(-1, 1, shape).astype(np.float32)
        a, again, other = (metrics.RandomConvolutions(shape[-1], rng=seed)(images) for seed in (0, 0, 1))
        assert a.shape == (len(images), 448)
        np.testing.assert_array_equal(a, again)
        assert abs(a - other).max() > 0.01
    assert metrics.RandomConvolutions(3).name != metrics.RandomConvolutions(3, rng=1).name


def test_samples_are_seen_as_pictures_of_256_levels():
    judge = metrics.Judge(np.zeros((20, 8, 8, 1), np.uint8), metrics.pixels, low=0.0, high=1.0)
    assert judge.as_seen(np.full((20, 8, 8, 1), 1.1)).max() == 1.0  # clipped, and in the range of features
    half = judge.as_seen(np.full((20, 8, 8, 1), 0.5001))
    np.testing.assert_allclose(half, 128 / 255 * 2 - 1, atol=1e-6)


def test_perfect_samples_are_judged_as_real_images_are():
    """At one number of images: coverage and Fréchet's bias depend on it."""
    images = np.random.default_rng(3).integers(0, 256, (4400, 4, 4, 1), dtype=np.uint8)
    judge = metrics.Judge(images[:400], metrics.pixels)
    floor, found = judge.floor(100), [judge(images[i : i + 100] / 127.5 - 1.0) for i in range(400, 4400, 100)]
    for score, of_real in zip(found[0][2:6], floor[2:6], strict=True):
        assert abs(score.value - of_real.value) < 4 * np.hypot(score.error, of_real.error)
    distances = [scores.frechet for scores in found]  # as many draws show how far chance goes
    assert abs(floor.frechet - np.mean(distances)) < 3 * np.std(distances)
    assert judge.floor(1000) == judge.floor(200)


def test_a_function_of_ones_own_judges_too():
    def mean_of_rows(images):
        return images.mean(axis=2).reshape(len(images), -1)

    judge = metrics.Judge(np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8), mean_of_rows)
    assert "mean_of_rows" in judge.name
    assert judge(np.full((20, 8, 8, 1), -1.0)).precision.value == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda j: j(np.zeros((25, 9, 9, 1))), ShapeError, r"samples or more of \(8, 8, 1\)"),
        (lambda j: j(np.zeros((19, 8, 8, 1))), ShapeError, "20 samples or more"),
        (lambda j: j(np.zeros((25, 8, 8, 1), np.uint8)), DTypeError, "as G makes them, floats, got uint8"),
        (lambda j: j(np.full((25, 8, 8, 1), np.nan)), NonFiniteError, "25 of 25 samples are not finite"),
        (
            lambda j: j(np.full((25, 8, 8, 1), 255.0)),
            DataError,
            r"\[-1, 1\], or a little beyond, got values 255 from",
        ),
        (lambda j: metrics.Judge(j.data, low=1.0, high=-1.0), ArgumentError, "low"),
        (lambda j: j.probabilities(np.zeros((5, 8, 8, 1))), ArgumentError, r"judge by metrics.digits\(\)"),
        (lambda j: metrics.digits()(np.zeros((5, 8, 8, 1))), ShapeError, r"expected images \(N, 28, 28, 1\)"),
        (lambda j: metrics.Judge(j.data, lambda x: x), ShapeError, r"expected \(N, F\) for"),
        (
            lambda j: metrics.Judge(np.zeros((19, 8, 8, 1), np.uint8)),
            ArgumentError,
            "has 19 images; to judge beside, 20",
        ),
        (lambda j: metrics.Judge(j.data, "pixels"), ArgumentError, "features must be a function"),
        (
            lambda j: metrics.Judge(j.data, metrics.digits),
            ArgumentError,
            r"what metrics.digits\(\) gives, got the function",
        ),
        (lambda j: metrics.Judge(j.data, metrics.RandomConvolutions), ArgumentError, r"RandomConvolutions\(channels\)"),
        (lambda j: metrics.Judge("digits"), ArgumentError, r"tinygan.data.load\('digits', split='test'\) reads them"),
        (lambda j: j(j.data), DTypeError, r"of ImageData, images.batch\(range\(n\), low=, high=\)"),
        (lambda j: j.floor(20) < j.floor(20), ArgumentError, "compare a.frechet"),
        (lambda j: max(j.floor(20), j.floor(20)), ArgumentError, "compare a.frechet"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, error, message):
    judge = metrics.Judge(np.zeros((20, 8, 8, 1), np.uint8), metrics.pixels)
    with pytest.raises(error, match=message):
        call(judge)


def test_random_convolutions_refuse_what_are_no_numbers():
    with pytest.raises(ArgumentError, match="RandomConvolutions: channels must be a whole number of at least 1"):
        metrics.RandomConvolutions("3")
    with pytest.raises(ArgumentError, match="RandomConvolutions: the seed must be a whole number"):
        metrics.RandomConvolutions(3, rng=-1)


def test_the_images_to_compare_with_are_drawn_from_all():
    """The first ones may be of another kind than the last."""
    dark, bright = np.full((500, 4, 4, 1), 20, np.uint8), np.full((500, 4, 4, 1), 230, np.uint8)
    judge = metrics.Judge(np.concatenate([dark, bright]), metrics.pixels, n=200)
    assert 70 < (judge.rows < 500).sum() < 130
    assert len({*judge.rows}) == judge.n == 200
    np.testing.assert_array_equal(judge.real, metrics.pixels(judge.data.batch(judge.rows)))
    assert (metrics.Judge(judge.data, metrics.pixels, n=200).rows == judge.rows).all()
