"""What the nearest neighbours of real and generated samples say: is each like the others, and is it a copy?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError, positive_int
from ..ops import as_array, to_numpy
from .estimate import Estimate, mean_of, share
from .features import extracted
from .rows import as_rows, require_alike, squared_distances

TIE = 1.0 + 1e-8  # what is as far as a radius, but for rounding, lies within it


class PrecisionRecall(NamedTuple):
    """What :func:`precision_recall` finds."""

    precision: Estimate  #: the part of the generated samples that are like real ones
    recall: Estimate  #: the part of the real samples that the generated ones are like


class DensityCoverage(NamedTuple):
    """What :func:`density_coverage` finds."""

    density: Estimate  #: how many real neighbourhoods a generated sample lies in, over k; may exceed 1
    coverage: Estimate  #: the part of the real neighbourhoods that hold a generated sample


class Neighbours(NamedTuple):
    """What :func:`nearest_neighbours` finds."""

    indices: np.ndarray  #: (N, k), into the real samples, the nearest first
    distances: np.ndarray  #: (N, k)


def precision_recall(real: Any, fake: Any, *, k: int = 3) -> PrecisionRecall:
    r"""How much of each set lies within the other one (Kynkäänniemi et al., 2019).

    A set's ground is the union of balls around its samples, each as wide as the distance to the k-th nearest other
    sample of the set. Precision is the part of ``fake`` on the ground of ``real``, recall the reverse:

        precision = mean_j [ min_i |f_j − r_i| / radius(r_i) ≤ 1 ]

    **Blind to** how often each place is hit, and one lonely sample makes a ball of its own that is much too wide. **How
    many:** both rise with the number of samples; compare at one N, some thousands. The errors are those of a part of N
    samples with the balls as they are.

    Parameters
    ----------
    real, fake : features (N, F) each, with more than k rows.
    """
    real, fake, k = _two_sets(real, fake, k, "precision_recall")
    return neighbourhoods(real, fake, ks=(k, k))[0]


def density_coverage(real: Any, fake: Any, *, k: int = 5) -> DensityCoverage:
    r"""As :func:`precision_recall`, with balls around real samples alone, and counted (Naeem et al., 2020):

        density = mean_j #{i : |f_j − r_i| ≤ radius(r_i)} / k        coverage = mean_i [ some f_j within radius(r_i) ]

    A lonely real sample weighs little here. For two sets of one size and source the density is 1 and the coverage about
    1 − 2^−k in the mean. **Blind to** copies of training samples, which both praise. **How many:** as many of each,
    some thousands. The errors are those of means over N samples, with the balls as they are.
    """
    real, fake, k = _two_sets(real, fake, k, "density_coverage")
    return neighbourhoods(real, fake, ks=(k, k))[1]


def neighbourhoods(
    real: np.ndarray, fake: np.ndarray, *, ks: tuple[int, int] = (3, 5), radii: np.ndarray | None = None
) -> tuple[PrecisionRecall, DensityCoverage]:
    """Both of the above from one pass over all distances between the sets, with k = ``ks``. ``radii`` are those of
    ``real``, as :func:`squared_radii` gives them, where they are known already."""
    of_real = TIE * (squared_radii(real, ks) if radii is None else radii)
    of_fake = TIE * squared_radii(fake, ks[:1])[0]
    precise, counts = np.empty(len(fake), dtype=bool), np.empty(len(fake))
    recalled, covered = np.zeros((2, len(real)), dtype=bool)
    for rows, d in squared_distances(fake, real):
        precise[rows] = (d <= of_real[0]).any(axis=1)
        recalled |= (d <= of_fake[rows, None]).any(axis=0)
        inside = d <= of_real[1]
        counts[rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
    density = DensityCoverage(mean_of(counts / ks[1]), share(covered))
    return PrecisionRecall(share(precise), share(recalled)), density


def squared_radii(x: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    """(len(ks), N): to the k-th nearest other row, squared."""
    radii = np.empty((len(ks), len(x)))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(rows.start, rows.stop)] = -1.0  # itself comes first, whatever rounding says
        radii[:, rows] = np.partition(d, ks, axis=1)[:, list(ks)].T
    return radii


def nearest_neighbours(
    samples: Any, real: Any, *, k: int = 1, features: Callable[[Any], Any] | None = None
) -> Neighbours:
    """Find the k real samples that each generated one is nearest to: is it a copy?

        d(x, y) = ‖φ(x) − φ(y)‖,        the k least of each x among all real y

    with φ the features, or nothing. Samples of a G that copies are nearer to training images than real images that
    nobody was trained on are: compare the distances of both sets (Theis et al., 2016, arXiv 1511.01844, section 4.2).

    **Blind to** whether samples are any good, and to copies that are changed: see below. **How many:** any number of
    samples, but all the training images. There is no error: each answer is of one sample.

    Parameters
    ----------
    samples, real : arrays (N, ...) of one shape but for N, compared by all their numbers, such as pixels; or by what
        ``features``, an extractor of this module or any function of such an array, makes of them, (N, F).

    A copy shifted by a pixel is far away by pixels and near by features, and a new sample of a common kind may be near
    by features: look at both, and at the pictures.
    """
    samples, real = (to_numpy(as_array(x)) for x in (samples, real))
    if samples.ndim == 0 or samples.shape[1:] != real.shape[1:] or not (len(samples) and len(real)):
        what = "arrays (N, ...) of one shape but for N, none of them empty"
        raise ShapeError(f"nearest_neighbours: expected {what}, got {samples.shape} and {real.shape}.")
    samples, real = (x.reshape(len(x), -1) if features is None else extracted(features, x) for x in (samples, real))
    samples, real = as_rows(samples, "nearest_neighbours", least=1), as_rows(real, "nearest_neighbours", least=1)
    require_alike(samples, real, "nearest_neighbours")
    k = positive_int(k, "nearest_neighbours: k", most=len(real))
    index, distance = np.empty((len(samples), k), dtype=np.intp), np.empty((len(samples), k))
    for rows, d in squared_distances(samples, real):
        nearest = np.argpartition(d, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(d, nearest, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        index[rows] = np.take_along_axis(nearest, order, axis=1)
        distance[rows] = np.sqrt(np.take_along_axis(near, order, axis=1))
    return Neighbours(index, distance)


def _two_sets(real: Any, fake: Any, k: int, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    real, fake, k = as_rows(real, name), as_rows(fake, name), positive_int(k, f"{name}: k")
    require_alike(real, fake, name)
    if min(len(real), len(fake)) <= k:
        raise ArgumentError(f"{name}: k = {k} neighbours need more rows than that, got {len(real)} and {len(fake)}.")
    return real, fake, k
