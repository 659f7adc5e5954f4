"""Real images, features of them, and what there is to say of samples beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..data import ImageData
from ..data.arrays import from_array
from ..data.dataset import check_range
from ..errors import ArgumentError, DataError, DTypeError, NonFiniteError, ShapeError, positive_int
from ..ops import as_array, to_numpy
from .distances import Moments, frechet_distance, kernel_distance
from .estimate import Estimate
from .features import PIECE, Digits, Features, RandomConvolutions, extracted, named
from .neighbours import neighbourhoods, squared_radii

SAMPLES = 10_000
FAR = 10.0  # ranges: what is further from the middle comes from no generator of such images
LEAST = 20  # real images, and samples: of fewer there is nothing to say
KS = (3, 5)  # neighbours that make the ground of precision and recall, and of density and coverage
NEIGHBOURS = 5_000  # of each set, of which neighbours are looked for: the time grows with the square


class Scores(NamedTuple):
    """What a judge says of samples; a smaller distance is better, of the others more is."""

    frechet: float  #: :func:`~tinygan.metrics.frechet_distance`
    kernel: Estimate  #: :func:`~tinygan.metrics.kernel_distance`
    precision: Estimate  #: :func:`~tinygan.metrics.precision_recall`
    recall: Estimate
    density: Estimate  #: :func:`~tinygan.metrics.density_coverage`
    coverage: Estimate
    samples: int  #: how many were judged; neighbours are looked for among as many real images, 5,000 at most
    features: str  #: by which: scores by others do not compare

    def __lt__(self, other: object) -> bool:  # a tuple would compare whatever comes first, by any features
        raise ArgumentError("Scores: one may be better by one measure and worse by another; compare a.frechet, say.")

    def __gt__(self, other: object) -> bool:
        return self.__lt__(other)

    def __str__(self) -> str:
        return (
            f"Fréchet {self.frechet:.3g}, kernel {self.kernel}, precision {self.precision.value:.2f}, recall "
            f"{self.recall.value:.2f}, density {self.density.value:.2f}, coverage {self.coverage.value:.2f} "
            f"({self.samples:,} samples; by {self.features})"
        )


class Judge:
    """Knows real images, and says how far samples are from them.

        judge = metrics.Judge(data.load("mnist", split="test"), features=metrics.digits())
        print(judge(gan.sample(10_000)))

    Parameters
    ----------
    real : images, as :func:`tinygan.data.load` gives them, or an array as :func:`tinygan.train` takes. Best such that
        the generator has not seen: against its own training images, a copy would be the best of samples.
    features : what images are compared by (:mod:`tinygan.metrics.features`); None: random convolutions.
    n : how many of the real images to compare with, drawn from all of them, the same ones every time. (The first ones
        may be of another kind than the last: of MNIST's test digits the first half was written more neatly.)
    low, high : black and white in the samples.

    Notes
    -----
    ``rows`` are the indices of those real images. Samples are rounded to the 256 levels of pictures, as the real ones
    are. Where a score needs random numbers, they are the same for each call.
    """

    def __init__(
        self,
        real: ImageData | Any,
        features: Features | None = None,
        *,
        n: int = SAMPLES,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        if isinstance(real, str):
            raise ArgumentError(f"Judge: expected images; tinygan.data.load({real!r:.80}, split='test') reads them.")
        data = real if isinstance(real, ImageData) else from_array(real)
        (self.low, self.high), self.shape = check_range(low, high), data.image_shape
        self.features: Features = RandomConvolutions(self.shape[2]) if features is None else features
        self.name, self.data = named(self.features), data
        self.n = min(positive_int(n, "Judge: n", least=LEAST), len(data))
        if self.n < LEAST:
            raise ArgumentError(f"Judge: {data.name} has {self.n} images; to judge beside, {LEAST} are the least.")
        self.rows = np.random.default_rng(0).permutation(len(data))[: self.n]
        seen = (extracted(self.features, data.batch(self.rows[rows])) for rows in _pieces(self.n))
        self.real = np.concatenate(list(seen))
        self.moments = Moments(self.real)
        self._radii: dict[int, np.ndarray] = {}  # of so many real images
        self._floors: dict[int, Scores] = {}

    def __call__(self, samples: Any) -> Scores:
        """Judge samples (N, H, W, C), floats; ShapeError, DTypeError, DataError or NonFiniteError if they are none."""
        x = self._checked(samples)
        fake = np.concatenate([extracted(self.features, self.as_seen(x[rows])) for rows in _pieces(len(x))])
        m = min(self.n, len(fake), NEIGHBOURS)
        if m not in self._radii:
            self._radii[m] = squared_radii(self.real[:m], KS)
        return self._scores(self.real, self.moments, self._radii[m], fake)

    def floor(self, samples: int) -> Scores:
        """What it says of so many real images, or half of those that it knows, beside the others."""
        samples = min(positive_int(samples, "Judge.floor: samples", least=LEAST // 2), self.n // 2)
        if samples not in self._floors:
            others, fake = self.real[:-samples], self.real[-samples:]
            radii = squared_radii(others[: min(samples, NEIGHBOURS)], KS)
            self._floors[samples] = self._scores(others, Moments(others), radii, fake)
        return self._floors[samples]

    def probabilities(self, samples: Any) -> np.ndarray:
        """What the classifier of digits says of samples, (N, 10)."""
        if not isinstance(self.features, Digits):
            raise ArgumentError(f"Judge: {self.name} are features and no classes; judge by metrics.digits().")
        return self.features.probabilities(self.as_seen(self._checked(samples, least=1)))

    def _checked(self, samples: Any, *, least: int = LEAST) -> np.ndarray:
        if isinstance(samples, ImageData):
            raise DTypeError("Judge: expected samples, floats; of ImageData, images.batch(range(n), low=, high=).")
        x = to_numpy(as_array(samples))
        if x.shape[1:] != self.shape or len(x) < least:
            what = f"{least} samples or more of {self.shape}, as {self.data.name} has"
            raise ShapeError(f"Judge: expected {what}, got {x.shape}.")
        if x.dtype.kind != "f":
            mend = "of bytes, tinygan.data.ImageData(images).batch(range(n), low=, high=)"
            raise DTypeError(f"Judge: expected samples as G makes them, floats, got {x.dtype}; {mend}.")
        if count := int((~np.isfinite(x).reshape(len(x), -1).all(axis=1)).sum()):
            why = "such a G has diverged: train it again with a smaller learning rate, or take earlier weights"
            raise NonFiniteError(f"Judge: {count} of {len(x)} samples are not finite; {why}.")
        if (beyond := abs(x - (self.low + self.high) / 2).max()) > FAR * (self.high - self.low):
            range_ = f"[{self.low:g}, {self.high:g}], or a little beyond"
            raise DataError(f"Judge: expected samples in {range_}, got values {beyond:g} from its middle.")
        return x

    def as_seen(self, x: np.ndarray) -> np.ndarray:
        """Samples as images in [−1, 1] of 256 levels."""
        low, high = self.low, self.high
        images = ImageData.from_floats(x.clip(low, high), low=low, high=high, name="samples")
        return images.batch(np.arange(len(images)))

    def _scores(self, real: np.ndarray, moments: Moments, radii: np.ndarray, fake: np.ndarray) -> Scores:
        m = radii.shape[1]
        of_parts = neighbourhoods(real[:m], fake[:m], ks=KS, radii=radii)
        frechet, kernel = frechet_distance(moments, fake), kernel_distance(real, fake)
        return Scores(frechet, kernel, *of_parts[0], *of_parts[1], len(fake), self.name)


def _pieces(n: int) -> list[np.ndarray]:
    """The rows of a few images at a time."""
    return [np.arange(i, min(i + PIECE, n)) for i in range(0, n, PIECE)]
