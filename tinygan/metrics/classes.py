"""What a classifier's opinion of the samples says: are they sure cases, and is every class there?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, positive_int
from ..ops import as_array, to_numpy
from .distances import frechet_distance
from .estimate import Estimate, mean_of, share
from .rows import as_rows


class ClassCoverage(NamedTuple):
    """What :func:`class_coverage` finds."""

    share: np.ndarray  #: (K,), the part of the samples that belongs to each class; sums to 1
    covered: int  #: classes with any sample
    reverse_kl: float  #: KL(p_samples ‖ p_real) in nats; 0 at best


class WithinClasses(NamedTuple):
    """What :func:`frechet_within_classes` finds."""

    mean: float
    of_each: np.ndarray  #: the distance within each class that there is, in the order of their numbers


def softmax(logits: np.ndarray) -> np.ndarray:
    """e^s_j / Σ_i e^s_i of each row of logits s (N, K), in float64; ShapeError or NonFiniteError if they are none."""
    logits = as_rows(logits, "softmax", least=1)
    p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def inception_score(probabilities: Any, *, splits: int = 10) -> Estimate:
    r"""How sure a classifier is of each sample, and how evenly the samples spread over its classes:

        IS = exp( mean_n KL(p(y|x_n) ‖ p(y)) ),        p(y) = mean_n p(y|x_n)

    in each of ``splits`` parts of the samples, in their order; the mean of these and its standard error, of which
    published tables give the deviation instead (Salimans et al., 2016, section 4). From 1 to the number of classes;
    real samples do not reach that number, since the classifier is not sure of all of them.

    **Blind to** everything within a class: one perfect image of each has the best score, and to what real images look
    like. **How many:** some thousands a part; with few samples of each class in a part it comes out too low.

    Parameters
    ----------
    probabilities : (N, K), rows that sum to 1: such as softmax gives.
    """
    p, splits = _probabilities(probabilities, "inception_score"), positive_int(splits, "inception_score: splits")
    if len(p) < splits:
        raise ArgumentError(f"inception_score: {len(p)} samples are too few for splits = {splits} parts.")
    scores = []
    for i in range(splits):
        part = p[len(p) * i // splits : len(p) * (i + 1) // splits]
        marginal = part.mean(axis=0)
        scores.append(np.exp(_kl(part, marginal).mean()))
    return mean_of(np.array(scores))


def class_coverage(labels: Any, classes: int | None = None, *, real: Any = None) -> ClassCoverage:
    r"""Which classes, or modes, the samples belong to, and how far their shares are from the real ones:

        reverse KL = Σ_k p_k log(p_k / q_k),        p: of the samples, q: of the real ones

    (Metz et al., 2017, for the 1,000 classes of stacked digits.)

    **Blind to** the quality of the samples: a classifier puts noise into a class, too. **How many:** by chance alone
    the divergence is about (K − 1) / 2N for N samples (Wilks, 1938), and as much again for N real ones; a class is
    missed for want of samples where N q_k is not above 5 or so. That is its error, too.

    Parameters
    ----------
    labels : the class of each sample, (N,) whole numbers from 0 to K − 1; or probabilities (N, K), of which each row's
        largest counts.
    classes : K; may be left out with probabilities.
    real : the same of real samples; or None, where every class is as frequent as the others. A class without a real
        sample makes the divergence infinite if there are samples in it.
    """
    counts = _counts(labels, classes, "class_coverage: labels")
    p, K = counts / counts.sum(), len(counts)
    q = np.full(K, 1 / K)
    if real is not None:
        of_real = _counts(real, K, "class_coverage: real")
        q = of_real / of_real.sum()
    return ClassCoverage(p, int((counts > 0).sum()), float(_kl(p[None], q)[0]))


def class_agreement(labels: Any, asked: Any) -> Estimate:
    r"""How often samples are of the class that was asked for, as a classifier sees it:

        A = mean_n [labels[n] = asked[n]],        error √(A (1 − A) / N)

    **Blind to** everything but the class: one image of each would do. Of real images it is the classifier's accuracy,
    which is the most that one can ask for. **How many:** a thousand, for half a per cent.

    Parameters
    ----------
    labels : the class of each sample, (N,) whole numbers; or probabilities (N, K), of which each row's largest counts.
    asked : (N,) whole numbers, what the generator was told.
    """
    found, wanted = _labels(labels, "class_agreement: labels"), _labels(asked, "class_agreement: asked")
    if found.shape != wanted.shape:
        raise ShapeError(f"class_agreement: {len(found)} samples, but {len(wanted)} classes that were asked for.")
    return share(found == wanted)


def frechet_within_classes(a: Any, labels_a: Any, b: Any, labels_b: Any) -> WithinClasses:
    r"""Fréchet's distance of two sets of features within each class, and the mean of these:

        D = 1/K Σ_k d²(a of class k, b of class k)

    (Miyato and Koyama, 2018, section 5, with Inception's features the *intra FID*.) Beside the distance of all samples
    it tells whether the variety is that of each class, or only that of all together.

    **Blind to** what :func:`frechet_distance` is blind to. **How many:** its bias grows with the fewer samples of a
    class; compare at one number, and beside that of real images.

    Parameters
    ----------
    a, b : features (N, F).
    labels_a, labels_b : the class of each row, (N,) whole numbers, or probabilities (N, K).

    Raises
    ------
    ArgumentError
        A class of one set is missing in the other, or has one row only.
    """
    sets = []
    for rows, labels, name in ((a, labels_a, "a"), (b, labels_b, "b")):
        x, of = as_rows(rows, f"frechet_within_classes: {name}"), _labels(labels, f"frechet_within_classes: {name}")
        if len(x) != len(of):
            raise ShapeError(f"frechet_within_classes: {name} has {len(x)} rows, but {len(of)} labels.")
        sets.append((x, of))
    classes, others = (np.unique(of) for _, of in sets)
    if not np.array_equal(classes, others):
        apart = ", ".join(map(str, np.setxor1d(classes, others)[:5]))
        raise ArgumentError(f"frechet_within_classes: in one of the sets class {apart} is missing.")
    distances = np.array([frechet_distance(*(x[of == k] for x, of in sets)) for k in classes])
    return WithinClasses(float(distances.mean()), distances)


def _labels(x: Any, name: str) -> np.ndarray:
    """The classes (N,), or of probabilities (N, K) the largest of each row."""
    labels = to_numpy(as_array(x))
    if labels.ndim == 2:
        return _probabilities(labels, name).argmax(axis=1)
    if labels.ndim != 1 or len(labels) == 0:
        raise ShapeError(f"{name}: expected (N,) classes or (N, K) probabilities, got {labels.shape}.")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected whole numbers, got {labels.dtype}.")
    return labels


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ_k p_k log(p_k / q_k) of each row of p; 0 log 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0.0, p * (np.log(p) - np.log(q)), 0.0).sum(axis=1)


def _probabilities(x: Any, name: str) -> np.ndarray:
    if (shape := np.shape(to_numpy(as_array(x)))) and len(shape) > 2:
        what = "expected probabilities (N, K), as metrics.digits().probabilities(images) gives them"
        raise ShapeError(f"{name}: {what}, got {shape}.")
    p = as_rows(x, name, least=1).astype(np.float64)
    if (p < 0.0).any() or abs(p.sum(axis=1) - 1.0).max() > 1e-3:
        raise ArgumentError(
            f"{name}: expected probabilities, rows of numbers from 0 on that sum to 1. Of logits, softmax."
        )
    return p


def _counts(x: Any, classes: int | None, name: str) -> np.ndarray:
    shape = to_numpy(as_array(x)).shape
    classes = None if classes is None else positive_int(classes, "class_coverage: classes")
    if len(shape) == 2:
        if classes not in (None, shape[1]):
            raise ShapeError(f"{name}: expected probabilities of {classes} classes, got {shape}.")
        classes = shape[1]
    labels = _labels(x, name)
    if classes is None:
        raise ArgumentError(f"{name}: say how many classes there are, such as classes=10: the labels may miss some.")
    if labels.min() < 0 or labels.max() >= classes:
        raise ArgumentError(f"{name}: expected classes 0 to {classes - 1}, got {labels.min()} to {labels.max()}.")
    return np.bincount(labels, minlength=classes)
