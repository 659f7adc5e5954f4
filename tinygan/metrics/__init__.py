"""How good are the samples? The measures of the field, and a judge that applies them.

    judge = metrics.Judge(data.load("mnist", split="test"), features=metrics.digits())
    print(judge(gan.sample(10_000)))

Each measure says in its docstring what it computes, whose it is, what it is blind to, and how many samples it needs:
``distances`` of features as wholes, ``neighbours`` for each sample, ``classes`` with a classifier, ``pyramids`` without
any network. ``features`` are what samples are compared by; a score means nothing without saying which. NumPy on the
host does all of it, but for ``players``, what G and D say of each other. Of tinygan, the book, ``augment`` and ``data``
are imported here; ``runs`` uses this.
"""

from .classes import (
    ClassCoverage,
    WithinClasses,
    class_agreement,
    class_coverage,
    frechet_within_classes,
    inception_score,
    softmax,
)
from .distances import Moments, frechet_distance, kernel_distance
from .estimate import Estimate
from .features import Digits, RandomConvolutions, digit_network, digits, pixels
from .judge import LEAST, Judge, Scores
from .neighbours import (
    DensityCoverage,
    Neighbours,
    PrecisionRecall,
    density_coverage,
    nearest_neighbours,
    precision_recall,
)
from .players import DualityGap, duality_gap, told_apart
from .pyramids import sliced_wasserstein

__all__ = [
    "LEAST",
    "ClassCoverage",
    "DensityCoverage",
    "Digits",
    "DualityGap",
    "Estimate",
    "Judge",
    "Moments",
    "Neighbours",
    "PrecisionRecall",
    "RandomConvolutions",
    "Scores",
    "WithinClasses",
    "class_agreement",
    "class_coverage",
    "density_coverage",
    "digit_network",
    "digits",
    "duality_gap",
    "frechet_distance",
    "frechet_within_classes",
    "inception_score",
    "kernel_distance",
    "nearest_neighbours",
    "pixels",
    "precision_recall",
    "sliced_wasserstein",
    "softmax",
    "told_apart",
]
