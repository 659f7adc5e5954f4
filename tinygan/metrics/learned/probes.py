"""What features are worth: do classes that nobody named lie apart in them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import batches, steps_per_epoch
from ...errors import ArgumentError, DTypeError, ShapeError, positive_int, positive_or_0
from ...layers import Dense
from ...layers.starting import Rng, as_generator
from ...losses import SoftmaxCrossEntropy
from ...network import Sequential
from ...ops import as_array, to_numpy
from ...optim import Adam
from ..rows import as_rows, require_alike, squared_distances


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier of features, and how they are brought to one size before."""

    mean: np.ndarray  #: (F,) of the features that it has learned from
    scale: np.ndarray  #: (F,), their standard deviation; 1 where it is 0
    network: Sequential  #: one Dense layer, (N, F) -> logits (N, K)

    def logits(self, f: Any) -> np.ndarray:
        """(N, K)."""
        f = as_rows(f, "LinearProbe", least=1)
        if f.shape[1] != len(self.mean):
            raise ShapeError(f"LinearProbe: expected {len(self.mean)} features a row, got {f.shape[1]}.")
        return self.network(((f - self.mean) / self.scale).astype(np.float32))

    def predict(self, f: Any) -> np.ndarray:
        """The most likely label of each row (N,)."""
        return self.logits(f).argmax(axis=1)

    def accuracy(self, f: Any, labels: Any) -> float:
        """The part of the rows that it names rightly."""
        found = self.predict(f)
        return float((found == _labels(labels, found, "LinearProbe")).mean())


def linear_probe(f: Any, labels: Any, *, l2: float = 1e-3, steps: int | None = None, rng: Rng = 0) -> LinearProbe:
    r"""Train a linear classifier, softmax over W f + b, on features (N, F) of which the labels are known (N,).

    Features are brought to mean 0 and deviation 1 first, W starts at 0. Adam descends −mean log p(label) + l2/2 Σ W²,
    in batches of 50; ``steps=None``: 30 times through the rows, and for 2,000 steps at least. Its rate falls from
    0.1 / √F to 0: a step moves all F weights of a logit, so that the logit moves by as much, however many there are.
    """
    f = as_rows(f, "linear_probe")
    labels, l2, rng = _labels(labels, f, "linear_probe"), positive_or_0(l2, "linear_probe: l2"), as_generator(rng)
    mean, scale = f.mean(axis=0), f.std(axis=0)
    scale = np.where(scale > 1e-6 * scale.max(), scale, 1.0)  # what never changes stays 0
    x, size = ((f - mean) / scale).astype(np.float32), min(50, len(f))
    network, loss = Sequential(Dense(f.shape[1], int(labels.max()) + 1, rng=rng)), SoftmaxCrossEntropy()
    network.theta[...] = 0.0
    n = max(2000, 30 * steps_per_epoch(len(f), size)) if steps is None else positive_int(steps, "linear_probe: steps")
    adam = Adam(network, lr=lambda t: 0.1 * f.shape[1] ** -0.5 * (1.0 - t / n), beta1=0.9)
    order = batches(len(f), size, seed=int(rng.integers(2**31)))
    for _ in range(n):
        rows = next(order)
        logits, taken = network.apply(x[rows], True)
        network.store_gradients(taken, loss(logits, labels[rows])[1], add=False)
        network.grads["0.W"][...] += l2 * network.params["0.W"]
        adam.step()
    return LinearProbe(mean, scale, network)


def neighbour_accuracy(f: Any, labels: Any, g: Any, labels_of_g: Any) -> float:
    """The part of the rows g whose nearest row of f (1-NN) has their label."""
    f, g = as_rows(f, "neighbour_accuracy", least=1), as_rows(g, "neighbour_accuracy", least=1)
    require_alike(f, g, "neighbour_accuracy")
    labels, wanted = _labels(labels, f, "neighbour_accuracy"), _labels(labels_of_g, g, "neighbour_accuracy")
    nearest = np.concatenate([d.argmin(axis=1) for _, d in squared_distances(g, f)])
    return float((labels[nearest] == wanted).mean())


def k_means(f: Any, k: int, *, rounds: int = 50, rng: Rng = 0) -> np.ndarray:
    """Which of k clusters each row (N,) belongs to: Lloyd's rounds, until nothing changes, from centres that are drawn
    far from each other (k-means++: Arthur and Vassilvitskii, 2007)."""
    f, k = as_rows(f, "k_means"), positive_int(k, "k_means: k")
    rounds, rng = positive_int(rounds, "k_means: rounds"), as_generator(rng)
    if k > len(f):
        raise ArgumentError(f"k_means: k = {k} clusters of {len(f)} rows; give more rows.")
    chosen = [int(rng.integers(len(f)))]
    near = _distances(f, f[chosen])[:, 0]
    for _ in range(k - 1):
        total = near.sum()
        chosen.append(int(rng.choice(len(f), p=near / total if total > 0.0 else None)))
        near = np.minimum(near, _distances(f, f[chosen[-1:]])[:, 0])
    centres, assigned = f[chosen].astype(np.float64), np.full(len(f), -1)
    for _ in range(rounds):
        before, assigned = assigned, _distances(f, centres).argmin(axis=1)
        if np.array_equal(before, assigned):
            break
        for j in np.unique(assigned):
            centres[j] = f[assigned == j].mean(axis=0)
    return assigned


def cluster_accuracy(clusters: Any, labels: Any) -> float:
    """The part of the rows that have the commonest label of their cluster (N,)."""
    clusters = _labels(clusters, None, "cluster_accuracy: clusters")
    labels = _labels(labels, clusters, "cluster_accuracy")
    return float(
        sum(np.unique(labels[clusters == j], return_counts=True)[1].max() for j in np.unique(clusters)) / len(labels)
    )


@dataclass(frozen=True, eq=False)
class Axes:
    """Where features vary most."""

    mean: np.ndarray  #: (F,)
    axes: np.ndarray  #: (F, k), unit vectors at right angles, the widest first

    def project(self, f: Any) -> np.ndarray:
        """The k coordinates (N, k) of rows."""
        f = as_rows(f, "Axes", least=1)
        if f.shape[1] != len(self.mean):
            raise ShapeError(f"Axes: expected {len(self.mean)} features a row, got {f.shape[1]}.")
        return (f - self.mean) @ self.axes


def principal_axes(f: Any, k: int) -> Axes:
    """The k directions in which rows (N, F) vary most: with x = f − mean, the first eigenvectors of xᵀ x, or where that
    is large, F > N, the same as singular vectors of x."""
    f, k = as_rows(f, "principal_axes"), positive_int(k, "principal_axes: k")
    if k > min(f.shape[1], len(f) - 1):
        raise ArgumentError(f"principal_axes: k = {k}, but {len(f)} rows of {f.shape[1]} numbers have fewer axes.")
    mean = f.mean(axis=0)
    x = (f - mean).astype(np.float64)
    if f.shape[1] <= len(f):
        axes = np.linalg.eigh(x.T @ x)[1][:, : -k - 1 : -1]
    else:
        axes = np.linalg.svd(x, full_matrices=False)[2][:k].T
    return Axes(mean, axes.astype(f.dtype if f.dtype.kind == "f" else np.float64))


def _distances(f: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.concatenate([d for _, d in squared_distances(f, centres)])


def _labels(labels: Any, rows: np.ndarray | None, name: str) -> np.ndarray:
    """(N,), one for each of the rows, if any are given."""
    if labels is None:
        raise ArgumentError(f"{name}: there are no labels; give one for each row, whole numbers from 0.")
    try:
        found = to_numpy(as_array(np.asarray(labels) if isinstance(labels, list | tuple) else labels))
    except ValueError as error:  # rows of several lengths
        raise ShapeError(f"{name}: expected labels (N,), whole numbers, got {labels!r:.100}.") from error
    if found.ndim != 1 or len(found) != (len(found) if rows is None else len(rows)) or not len(found):
        what = "labels (N,)" if rows is None else f"a label for each of {len(rows)} rows, ({len(rows)},)"
        raise ShapeError(f"{name}: expected {what}, got {found.shape}.")
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected labels that are integers, got {found.dtype}; labels.astype('int64').")
    if found.min() < 0:
        raise ArgumentError(f"{name}: labels are counted from 0, got {found.min()}.")
    return found
