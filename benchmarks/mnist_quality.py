"""How good are the digits? A classifier made of tinygan's own layers judges 10,000 samples of each recipe.

    python benchmarks/mnist_quality.py --data FOLDER_WITH_MNIST                   # the recipes below, ten epochs each
    python benchmarks/mnist_quality.py --data FOLDER_WITH_MNIST --run runs/mnist_mlp_gan     # a run that is there

The classifier (784-512-256-10, BatchNorm, Dropout) is trained on MNIST's training digits. Of the samples it says
- share: how often each digit is named (real digits: about 10 % each); ``rarest`` is the least of the ten,
- sure: the mean of its largest probability, high where samples look like digits,
- IS: the Inception Score with this classifier in Inception's place, exp of the mean KL(p(y|x) || p(y)); 10 at best
  (Salimans et al., 2016),
- FD: the Fréchet distance between its features (the 256 of the last hidden layer) of the samples and of the 10,000 test
  digits (Heusel et al., 2017, with this classifier in Inception's place): it grows with unreadable digits and with
  missing variety alike. Real training digits against the test digits show what 0 looks like in practice.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm, trange

from tinygan import GAN, Sequential, checkpoints, data, losses, models, optim
from tinygan.layers import BatchNorm, Dense, Dropout, Flatten, LeakyReLU

SAMPLES = 10_000


class Recipe(NamedTuple):
    """What is varied from row to row."""

    name: str
    batch_norm: bool = True
    lr: float = 5e-4
    average: float = 0.999
    loss: losses.Loss = losses.NonSaturating()
    beta1: float = 0.5


RECIPES = [
    Recipe("plain: no BatchNorm, 2e-4, no average", batch_norm=False, lr=2e-4, average=0.0),
    Recipe("BatchNorm in G, 2e-4, no average", lr=2e-4, average=0.0),
    Recipe("BatchNorm in G, 2e-4, average", lr=2e-4),
    Recipe("BatchNorm in G, 5e-4, average"),
    Recipe("BatchNorm in G, 1e-3, average", lr=1e-3),
    Recipe("BatchNorm in G, 5e-4, average, labels 0.9", loss=losses.NonSaturating(real_label=0.9)),
    Recipe("BatchNorm in G, 5e-4, average, least squares", loss=losses.LeastSquares()),
]


class Judge:
    """A classifier of digits and the statistics of its features."""

    def __init__(self, train: data.ImageData, test: data.ImageData, *, epochs: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.features = Sequential(
            *(Flatten(), Dense(784, 512, rng=rng), BatchNorm(512), LeakyReLU(), Dropout(0.3, rng=rng)),
            *(Dense(512, 256, rng=rng), BatchNorm(256), LeakyReLU()),
        )
        self.head = Sequential(Dense(256, 10, rng=rng))
        self.fit(train, epochs, rng)
        logits, features = self.look(test.batch(np.arange(len(test))))
        self.accuracy = float((logits.argmax(axis=1) == test.labels).mean())
        self.test_features = features

    def fit(self, train: data.ImageData, epochs: int, rng: np.random.Generator) -> None:
        loss = losses.SoftmaxCrossEntropy()
        optimizers = [optim.Adam(net, 1e-3, beta1=0.9) for net in (self.features, self.head)]
        steps = len(train) // 128
        for epoch in trange(epochs, desc="judge", unit="epoch", leave=False):
            for optimizer in optimizers:
                optimizer.lr = 1e-3 * (1 - epoch / epochs)
            order = rng.permutation(len(train))
            for k in range(steps):
                index = order[k * 128 : (k + 1) * 128]
                logits = self.head.forward(self.features.forward(train.batch(index)))
                _, dlogits = loss(logits, train.labels[index])
                self.features.backward(self.head.backward(dlogits, grads="write"), grads="write", need_dx=False)
                for optimizer in optimizers:
                    optimizer.step()

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.concatenate([self.features(images[i : i + 500]) for i in range(0, len(images), 500)])
        return self.head(features), features

    def row(self, images: np.ndarray) -> str:
        """One row of the table for images (N, 28, 28, 1) in [−1, 1]."""
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


def train(recipe: Recipe, images: data.ImageData, *, epochs: int, seed: int) -> tuple[np.ndarray, float]:
    """Train one recipe; return its samples and how many seconds the training took."""
    rng = np.random.default_rng(seed)
    generator, discriminator = models.mlp(batch_norm=recipe.batch_norm, rng=rng)
    gan = GAN(
        generator,
        discriminator,
        noise_dim=100,
        loss=recipe.loss,
        g_optimizer=optim.Adam(generator, recipe.lr, recipe.beta1),
        d_optimizer=optim.Adam(discriminator, recipe.lr, recipe.beta1),
        average=recipe.average,
        seed=seed,
    )
    steps = len(images) // 128
    start = time.perf_counter()
    for _ in trange(epochs, desc=recipe.name, unit="epoch", leave=False):
        order = rng.permutation(len(images))
        for k in range(steps):
            gan.step(images.batch(order[k * 128 : (k + 1) * 128]))
    return gan.sample(SAMPLES), time.perf_counter() - start


def samples_of_run(folder: Path) -> np.ndarray:
    """10,000 samples of the averaged generator in a run's checkpoint."""
    path = folder / "checkpoint.safetensors"
    arrays, _ = checkpoints.read(path)
    prefix = "average." if any(key.startswith("average.") for key in arrays) else "generator."
    generator, _ = models.mlp()
    own = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
    generator.load_state_arrays(own, source=str(path))
    z = np.random.default_rng(0).standard_normal((SAMPLES, 100), dtype=np.float32)
    return np.concatenate([generator(z[i : i + 500]) for i in range(0, SAMPLES, 500)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--epochs", type=int, default=10, help="for each recipe (default: 10)")
    parser.add_argument("--judge-epochs", type=int, default=10, help="for the classifier (default: 10)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each recipe (default: 1)")
    parser.add_argument("--only", help="only the recipes whose name contains this")
    parser.add_argument("--run", type=Path, help="judge this run's checkpoint and train nothing")
    args = parser.parse_args()

    train_digits, test_digits = (data.load(args.data, split=split) for split in ("train", "test"))
    judge = Judge(train_digits, test_digits, epochs=args.judge_epochs, seed=0)
    print(f"The judge names {judge.accuracy:.2%} of the test digits. {SAMPLES:,} samples a row.\n")
    print("| recipe | share of each digit | sure | IS | FD | seconds |\n|---|---|---|---|---|---|")
    print(f"| real training digits | {judge.row(train_digits.batch(np.arange(SAMPLES)))} | |")
    if args.run:
        print(f"| {args.run.name} | {judge.row(samples_of_run(args.run))} | |")
        return
    for recipe in RECIPES:
        for seed in range(args.seeds) if args.only is None or args.only in recipe.name else ():
            samples, seconds = train(recipe, train_digits, epochs=args.epochs, seed=seed)
            tqdm.write(f"| {recipe.name} | {judge.row(samples)} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
