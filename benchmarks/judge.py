"""The classifier of examples/mnist_classifier.py, for the benchmarks that need an opinion on digits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygan import data

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from mnist_classifier import classifier, fit


class Judge:
    """Two convolutions and two dense layers, trained with softmax cross-entropy and a falling learning rate.

    ``accuracy`` is the part of ``test`` that it names rightly, ``test_features`` what its last hidden layer says there.
    """

    def __init__(self, train: data.ImageData, test: data.ImageData, *, epochs: int, seed: int = 0) -> None:
        self.network = classifier(np.random.default_rng(seed))
        for _ in fit(self.network, train, epochs=epochs, seed=seed):
            pass
        logits, self.test_features = self.look(test.batch(np.arange(len(test))))
        self.accuracy = float((logits.argmax(axis=1) == test.labels).mean())

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, 10) and features (N, 128) of images (N, 28, 28, 1) in [−1, 1]."""
        *hidden, head = self.network.layers
        features = []
        for i in range(0, len(images), 500):
            x = images[i : i + 500]
            for layer in hidden:
                x = layer(x)
            features.append(x)
        features = np.concatenate(features)
        return head(features), features

    def row(self, images: np.ndarray) -> str:
        """The columns share, sure, IS and FD (see mnist_quality.py) for images (N, 28, 28, 1) in [−1, 1]."""
        logits, features = self.look(images)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        share = np.bincount(p.argmax(axis=1), minlength=10) / len(p)
        marginal = p.mean(axis=0)
        score = np.exp((p * (np.log(p + 1e-12) - np.log(marginal + 1e-12))).sum(axis=1).mean())
        distance = frechet_distance(features, self.test_features)
        return f"{share.min():.1%} - {share.max():.1%} | {p.max(axis=1).mean():.3f} | {score:.2f} | {distance:.2f}"


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|μ_a − μ_b|² + tr(A + B − 2 (A B)^½) for the Gaussians with the means and covariances of the rows of a and b.

    (A B)^½ has the trace of (A^½ B A^½)^½, whose matrix is symmetric.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    A, B = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(A)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ B @ root).clip(0)).sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * cross)
