"""A classifier of digits made of tinygan's own layers, for the benchmarks that need an opinion."""

from __future__ import annotations

import numpy as np
from tqdm import trange

from tinygan import Sequential, data, losses, optim
from tinygan.layers import BatchNorm, Dense, Dropout, Flatten, LeakyReLU

BATCH = 128


class Judge:
    """784-512-256-10 with BatchNorm and Dropout, trained with softmax cross-entropy and a falling learning rate.

    ``accuracy`` is the part of ``test`` that it names rightly, ``test_features`` what its last hidden layer says there.
    """

    def __init__(self, train: data.ImageData, test: data.ImageData, *, epochs: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.features = Sequential(
            *(Flatten(), Dense(784, 512, rng=rng), BatchNorm(512), LeakyReLU(), Dropout(0.3, rng=rng)),
            *(Dense(512, 256, rng=rng), BatchNorm(256), LeakyReLU()),
        )
        self.head = Sequential(Dense(256, 10, rng=rng))
        self._fit(train, epochs, seed)
        logits, self.test_features = self.look(test.batch(np.arange(len(test))))
        self.accuracy = float((logits.argmax(axis=1) == test.labels).mean())

    def _fit(self, train: data.ImageData, epochs: int, seed: int) -> None:
        loss, networks = losses.SoftmaxCrossEntropy(), (self.features, self.head)
        optimizers = [optim.Adam(network, beta1=0.9) for network in networks]
        last = epochs * data.steps_per_epoch(len(train), BATCH)
        order = data.batches(len(train), BATCH, seed=seed)
        for step in trange(last, desc="the judge learns", unit="step", leave=False):
            rows = next(order)
            logits = self.head.forward(self.features.forward(train.batch(rows)))
            _, dlogits = loss(logits, train.labels[rows])
            self.features.backward(self.head.backward(dlogits, grads="write"), grads="write", need_dx=False)
            for optimizer in optimizers:
                optimizer.lr = 2e-3 * (1.0 - step / last)
                optimizer.step()

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, 10) and features (N, 256) of images (N, 28, 28, 1) in [−1, 1]."""
        features = np.concatenate([self.features(images[i : i + 500]) for i in range(0, len(images), 500)])
        return self.head(features), features

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
