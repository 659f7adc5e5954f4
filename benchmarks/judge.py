"""The classifier of examples/mnist_classifier.py, for the benchmarks that need an opinion on digits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygan import data, metrics

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from mnist_classifier import classifier, fit


class Judge(metrics.Digits):
    """Two convolutions and two dense layers, trained with softmax cross-entropy and a falling learning rate.

    ``accuracy`` is the part of ``test`` that it names rightly, ``test_features`` what its last hidden layer says there.
    """

    def __init__(self, train: data.ImageData, test: data.ImageData, *, epochs: int, seed: int = 0) -> None:
        super().__init__(classifier(np.random.default_rng(seed)), "the classifier of the example", 0.0)
        for _ in fit(self.network, train, epochs=epochs, seed=seed):
            pass
        logits, self.test_features = self.look(test.batch(np.arange(len(test))))
        self.accuracy = float((logits.argmax(axis=1) == test.labels).mean())

    def row(self, images: np.ndarray) -> str:
        """The columns share, sure, IS and FD (see mnist_quality.py) for images (N, 28, 28, 1) in [−1, 1]."""
        logits, features = self.look(images)
        p = metrics.softmax(logits)
        share = metrics.class_coverage(p).share
        score = metrics.inception_score(p, splits=1).value
        distance = metrics.frechet_distance(features, self.test_features)
        return f"{share.min():.1%} - {share.max():.1%} | {p.max(axis=1).mean():.3f} | {score:.2f} | {distance:.2f}"
