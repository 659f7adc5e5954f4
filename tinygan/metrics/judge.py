"""Real images, features of them, and what there is to say of samples beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..data import ImageData
from ..data.arrays import from_array
from ..errors import ArgumentError, ShapeError, positive_int
from ..ops import as_array, to_numpy
from .distances import Moments, frechet_distance, kernel_distance
from .estimate import Estimate
from .features import Digits, Features, RandomConvolutions, extracted, named
from .neighbours import neighbourhoods, squared_radii

SAMPLES = 10_000
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
    samples: int  #: how many were judged, against as many real images at most
    features: str  #: by which: scores by others do not compare

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
    n : how many of the real images to compare with, the first ones.
    low, high : black and white in the samples.

    Notes
    -----
    Samples are rounded to the 256 levels of pictures, as the real ones are. Where a score needs random numbers, they
    are the same for each call.
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
        data = real if isinstance(real, ImageData) else from_array(real)
        self.low, self.high, self.shape = low, high, data.image_shape
        self.features: Features = RandomConvolutions(self.shape[2]) if features is None else features
        self.name, self.data = named(self.features), data
        self.n = min(positive_int(n, "Judge: n", least=LEAST), len(data))
        if self.n < LEAST:
            raise ArgumentError(f"Judge: {data.name} has {self.n} images; to judge beside, {LEAST} are the least.")
        self.real = extracted(self.features, data.batch(np.arange(self.n)))
        self.moments = Moments(self.real)
        self.radii = squared_radii(self.real[:NEIGHBOURS], KS)
        self._floor: Scores | None = None

    def __call__(self, samples: Any) -> Scores:
        """Judge samples (N, H, W, C). ShapeError, or NonFiniteError, if they are none."""
        fake = extracted(self.features, self.as_seen(samples))
        return self._scores(self.real, self.moments, self.radii, fake)

    def floor(self) -> Scores:
        """What it says of real images: of the second half of those it knows, beside the first."""
        if self._floor is None:
            half = self.n // 2
            first, second = self.real[:half], self.real[half : 2 * half]
            self._floor = self._scores(first, Moments(first), squared_radii(first[:NEIGHBOURS], KS), second)
        return self._floor

    def probabilities(self, samples: Any) -> np.ndarray:
        """What the classifier of digits says of samples, (N, 10)."""
        if not isinstance(self.features, Digits):
            raise ArgumentError(f"Judge: {self.name} are features and no classes; judge by metrics.digits().")
        return self.features.probabilities(self.as_seen(samples))

    def as_seen(self, samples: Any) -> np.ndarray:
        """Samples as images in [−1, 1] of 256 levels, on the host."""
        x = to_numpy(as_array(samples))
        if x.shape[1:] != self.shape or len(x) < LEAST:
            what = f"{LEAST} samples or more of {self.shape}, as {self.data.name} has"
            raise ShapeError(f"Judge: expected {what}, got {x.shape}.")
        low, high = self.low, self.high
        images = ImageData.from_floats(x.clip(low, high), low=low, high=high, name="samples")
        return images.batch(np.arange(len(images)))

    def _scores(self, real: np.ndarray, moments: Moments, radii: np.ndarray, fake: np.ndarray) -> Scores:
        of_parts = neighbourhoods(real[:NEIGHBOURS], fake[:NEIGHBOURS], ks=KS, radii=radii)
        frechet, kernel = frechet_distance(moments, fake), kernel_distance(real, fake)
        return Scores(frechet, kernel, *of_parts[0], *of_parts[1], len(fake), self.name)
