"""The second judge of digits: who chose recipes by the classifier in the package must not report by it as well."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygan import Sequential, data, metrics
from tinygan.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, ReLU

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from mnist_classifier import fit

NEIGHBOURS = 5_000  # samples and test digits of which neighbours are looked for


def reader(rng: np.random.Generator) -> Sequential:
    """Images (N, 28, 28, 1) -> logits (N, 10): deeper than the judge in the package, with kernels of 3x3."""
    return Sequential(
        *(Conv2D(1, 32, 3, stride=2, bias=False, rng=rng), BatchNorm(32), ReLU()),  # (N, 14, 14, 32)
        *(Conv2D(32, 64, 3, stride=2, bias=False, rng=rng), BatchNorm(64), ReLU()),  # (N, 7, 7, 64)
        *(Conv2D(64, 64, 3, stride=2, bias=False, rng=rng), BatchNorm(64), ReLU(), Flatten()),  # (N, 4·4·64)
        *(Dense(4 * 4 * 64, 96, bias=False, rng=rng), BatchNorm(96), ReLU(), Dropout(0.3, rng=rng)),
        Dense(96, 10, rng=rng),
    )


class Judge(metrics.Digits):
    """Trained on ``train`` with softmax cross-entropy and a falling learning rate.

    ``accuracy`` is the part of ``test`` that it names rightly, ``test_features`` what its last hidden layer says there.
    """

    def __init__(self, train: data.ImageData, test: data.ImageData, *, epochs: int, seed: int = 1) -> None:
        super().__init__(reader(np.random.default_rng(seed)), "the second judge", 0.0)
        for _ in fit(self.network, train, epochs=epochs, seed=seed):
            pass
        order = np.random.default_rng(0).permutation(len(test))  # the first half is another kind than the second
        logits, self.test_features = self.look(test.batch(order))
        self.accuracy = float((logits.argmax(axis=1) == test.labels[order]).mean())

    def row(self, images: np.ndarray) -> str:
        """The columns share, sure, IS, FD, precision and recall (mnist_quality.py) for images in [−1, 1]."""
        logits, features = self.look(images)
        p = metrics.softmax(logits)
        share = metrics.class_coverage(p).share
        score = metrics.inception_score(p, splits=1).value
        distance = metrics.frechet_distance(features, self.test_features)
        near = metrics.precision_recall(self.test_features[:NEIGHBOURS], features[:NEIGHBOURS])
        parts = f"{p.max(axis=1).mean():.3f} | {score:.2f} | {distance:.2f}"
        return f"{share.min():.1%} - {share.max():.1%} | {parts} | {near.precision.value:.2f} | {near.recall.value:.2f}"
