"""What has D learned, that nobody told it? Linear classifiers on its features, and how well G's images cover others.

    python benchmarks/features.py --data FOLDER_WITH_MNIST runs/dcgan_0 runs/dcgan_1 runs/dcgan_2

The runs are one system from several seeds. First table: how many of the test images a linear classifier names rightly
that has 100, 1,000 or all labels, the same number of each class, on the pixels, on 100 principal components of them, on
the hidden layers of a D that has learned nothing, and on those of the run: what its last layer is given, and all hidden
layers, each brought to 4x4 by the largest in each field (Radford et al., 2016, section 5.1). Second table: each hidden
layer alone, brought to 4x4, by a linear classifier with 1,000 labels, by the nearest of 10,000 neighbours, and by
k-means of 20 clusters in 30 principal components, of which each counts for its commonest label. Means and standard
deviations over the runs, of which each draws other labels.

Last line: how far the nearest images that G can make (tinygan.latent.invert) are from 200 test images, as a part of the
squared distance between two of them, and of the distance.
"""

from __future__ import annotations

import argparse
import runpy
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import data, features, latent, load_trained
from tinygan.errors import DataError
from tinygan.parallel.console import forgiving_streams
from tinygan.runs.trained import Trained

FEW = (100, 1000)
NEIGHBOURS, CLUSTERED, INVERTED = 10_000, 5_000, 200
untrained = runpy.run_path(str(Path(__file__).resolve().parent.parent / "examples" / "explore_run.py"))["untrained"]


def chosen(labels: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """n rows, as many of each class, drawn by the seed; None: all of them."""
    if n is None:
        return np.arange(len(labels))
    rng, classes = np.random.default_rng(seed), np.unique(labels)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: n // len(classes)] for k in classes])


def views_of(run: Trained, x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What linear classifiers learn from, of training images x and test images y."""
    D, flat = run.discriminator, (x.reshape(len(x), -1), y.reshape(len(y), -1))
    new, every = untrained(D), {"layers": "all", "pool": 4}
    axes = features.principal_axes(flat[0], 100)
    return {
        "pixels": flat,
        "100 principal components": (axes.project(flat[0]), axes.project(flat[1])),
        "D before training, last layer": both(features.HiddenFeatures(new), x, y),
        "D before training, all layers": both(features.HiddenFeatures(new, **every), x, y),
        "D, last layer": both(features.HiddenFeatures(D), x, y),
        "D, all layers": both(features.HiddenFeatures(D, **every), x, y),
    }


def both(of: features.HiddenFeatures, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return of.fit_transform(x), of.transform(y)


def by_each_layer(run: Trained, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Any:
    """(name, [linear, nearest neighbour, k-means]) of each hidden layer of D; a and b are the labels of x and y."""
    rng = np.random.default_rng(seed)
    known, near, some = chosen(a, 1000, seed), rng.permutation(len(x))[:NEIGHBOURS], rng.permutation(len(y))[:CLUSTERED]
    for i in features.hidden_layers(run.discriminator):
        f, g = both(features.HiddenFeatures(run.discriminator, layers=[i], pool=4), x, y)
        points = features.principal_axes(g[some], min(30, g.shape[1])).project(g[some])
        clusters = features.k_means(points, 2 * (int(a.max()) + 1), rng=seed)
        yield (
            f"{i} {run.discriminator.layers[i]!r}, {g.shape[1]} numbers",
            [
                features.linear_probe(f[known], a[known]).accuracy(g, b),
                features.neighbour_accuracy(f[near], a[near], g, b),
                features.cluster_accuracy(clusters, b[some]),
            ],
        )


def found_again(run: Trained, y: np.ndarray, labels: np.ndarray, seed: int) -> list[float]:
    """How far the images of G that are nearest to some test images are from these, squared and not."""
    rows = np.random.default_rng(seed).permutation(len(y))[:INVERTED]
    x, told = y[rows], None if run.shares is None else labels[rows]
    images = latent.invert(run.generator, x, run.noise(2000, seed=seed), labels=told).images
    apart = np.linalg.norm((x[:, None] - x).reshape(len(x), len(x), -1), axis=2)
    far = np.linalg.norm((x - images).reshape(len(x), -1), axis=1).mean() / (apart.sum() / (len(x) * (len(x) - 1)))
    return [latent.relative_error(x, images), float(far)]


def shown(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1%}" if len(values) > 1 else ""
    return f"{np.mean(values):.1%}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs of one system")
    parser.add_argument("--data", default="mnist", help="labelled images that they learned from (default: mnist)")
    parser.add_argument("--test", help="those to test with (default: those that --data keeps for tests)")
    args = parser.parse_args()
    tables: list[dict[str, list[list[float]]]] = [defaultdict(list), defaultdict(list)]
    again: list[list[float]] = []
    for seed, folder in enumerate(args.runs):
        run = load_trained(folder)
        height, width, channels = run.image_shape
        like: dict[str, Any] = {"size": (height, width), "channels": channels}
        train = data.load(args.data, split="train", **like)
        test = data.load(args.test, **like) if args.test else data.load(args.data, split="test", **like)
        if train.labels is None or test.labels is None:
            raise DataError(f"{args.data}: has no labels, which features are judged by.")
        shades = {"low": run.low, "high": run.high}
        x, y = (images.batch(np.arange(len(images)), **shades) for images in (train, test))
        for name, (f, g) in views_of(run, x, y).items():
            rows = [chosen(train.labels, n, seed) for n in (*FEW, None)]
            probes = [features.linear_probe(f[known], train.labels[known], rng=seed) for known in rows]
            tables[0][name].append([probe.accuracy(g, test.labels) for probe in probes])
        for name, values in by_each_layer(run, x, y, train.labels, test.labels, seed):
            tables[1][name].append(values)
        again.append(found_again(run, y, test.labels, seed))
    print(f"{len(train):,} images to learn from, {len(test):,} to test with; {len(args.runs)} runs\n")
    heads = "a linear classifier on|100 labels|1,000|all", "layer of D|linear, 1,000 labels|nearest neighbour|k-means"
    for head, table in zip(heads, tables, strict=True):
        print(f"| {head.replace('|', ' | ')} |\n{'|---' * 4}|")
        for name, values in table.items():
            print(f"| {name} | {' | '.join(shown(list(column)) for column in zip(*values, strict=True))} |")
        print()
    squared, plain = (shown(list(column)) for column in zip(*again, strict=True))
    print(f"{INVERTED} test images are found again up to {squared} of the squared distance of two, {plain} of it.")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ±
        main()
