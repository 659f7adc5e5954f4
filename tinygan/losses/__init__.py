"""Losses, each with its derivative: ``adversarial`` is the game as first stated, and belongs to the book.

``critics`` play for other values, ``classification`` is for judging samples. Only ``errors`` and ``ops`` are imported
here.
"""

from .adversarial import Labelled, LeastSquares, Loss, Minimax, NonSaturating
from .classification import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from .critics import Hinge, Relativistic, Wasserstein

__all__ = ["Labelled", "LeastSquares", "Loss", "Minimax", "NonSaturating"]
__all__ += ["Hinge", "Relativistic", "Wasserstein"]
__all__ += ["BinaryCrossEntropy", "MeanSquaredError", "SoftmaxCrossEntropy"]
