"""Does a conditional run make what it is asked for?

    python benchmarks/conditional.py --data FOLDER_WITH_MNIST runs/dcgan runs/mnist_mlp_gan

Each line is a run of digits that was trained with --conditional. *Asked* is how often the classifier of the package
sees the digit that was asked for, in 10,000 samples; *Fréchet* their distance from the test digits and *within* the
mean of those of each digit, both by its features; *CAS* the classification accuracy score: how many of the test digits
a classifier names rightly that has learned from 60,000 generated ones alone (Ravuri and Vinyals, 2019), that of
examples/mnist_classifier.py. The last line is of real training digits in the place of generated ones.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))

from mnist_classifier import classifier, fit, probabilities

from tinygan import data, load_trained, metrics
from tinygan.parallel.console import forgiving_streams

SAMPLES, LEARNED = 10_000, 60_000


def accuracy(train: data.ImageData, test: data.ImageData, epochs: int, seed: int) -> float:
    """How many of the test images a classifier names rightly that has learned from ``train``."""
    network = classifier(np.random.default_rng(seed))
    for _ in fit(network, train, epochs=epochs, seed=seed):
        pass
    return float((probabilities(network, test).argmax(axis=1) == test.labels).mean())


def generated(run, n: int, seed: int, shares: np.ndarray) -> data.ImageData:
    """n digits of a run with the labels that were asked for, as often as the training digits have them."""
    labels = np.random.default_rng(seed).choice(len(shares), size=n, p=shares)
    images = run.sample(n, labels=labels, seed=seed).clip(run.low, run.high)
    made = data.ImageData.from_floats(images, low=run.low, high=run.high, name="generated")
    return replace(data.refit(made, size=28, channels=1), labels=labels)


def looked(images: data.ImageData, eye) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of all images."""
    return eye.look(images.batch(np.arange(len(images))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs that know ten digits")
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--epochs", type=int, default=4, help="of the classifier, 0 for none (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of samples and classifier (default: 0)")
    args = parser.parse_args()
    train, test = (data.load(args.data, split=split) for split in ("train", "test"))
    eye, shares = metrics.digits(), np.bincount(train.labels, minlength=10) / len(train)
    _, real = looked(test, eye)
    print("| run | asked | Fréchet | within, worst | CAS |\n|---|---|---|---|---|")
    last = np.random.default_rng(args.seed).permutation(len(train))[:SAMPLES]
    for folder in [*args.runs, None]:
        run = load_trained(folder) if folder else None
        made = generated(run, LEARNED, args.seed, shares) if run else train
        few = replace(made, images=made.images[last], labels=made.labels[last])
        logits, features = looked(few, eye)
        agreed = metrics.class_agreement(logits.argmax(axis=1), few.labels)
        inside = metrics.frechet_within_classes(features, few.labels, real, test.labels)
        cas = f"{accuracy(made, test, args.epochs, args.seed):.2%}" if args.epochs else ""
        print(
            f"| {folder.name if folder else 'real digits'} | {agreed.value:.2%} ± {agreed.error:.2%} | "
            f"{metrics.frechet_distance(features, real):.2f} | {inside.mean:.2f}, {inside.of_each.max():.2f} | {cas} |",
            flush=True,
        )


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as é
        main()
