"""How good are the digits? A classifier made of tinygan's own layers judges 10,000 samples of each recipe.

    python benchmarks/mnist_quality.py --data FOLDER_WITH_MNIST                   # the recipes below, five epochs each
    python benchmarks/mnist_quality.py --data FOLDER_WITH_MNIST --run runs/mnist_mlp_gan runs/dcgan    # runs there are

The classifier, judge.py, is trained on MNIST's training digits; it is another one than that of the package, by which
recipes are chosen. Of the samples it says
- share: how often each digit is named (real digits: about 10 % each); ``rarest`` is the least of the ten,
- sure: the mean of its largest probability, high where samples look like digits,
- IS: the Inception Score with this classifier in Inception's place, exp of the mean KL(p(y|x) || p(y)); 10 at best
  (Salimans et al., 2016),
- FD: the Fréchet distance between its features (the 96 of the last hidden layer) of the samples and of the 10,000 test
  digits (Heusel et al., 2017, with this classifier in Inception's place): it grows with unreadable digits and with
  missing variety alike. Real training digits against the test digits show what 0 looks like in practice,
- precision and recall (Kynkäänniemi et al., 2019): samples among the real digits, and real digits among the samples.

Samples are rounded to the 256 levels of pictures; those of other sizes or with colours are made grey and 28x28. Real
digits, brought to such a size and back, show what that alone changes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from judge import Judge
from tqdm import tqdm, trange

from tinygan import GAN, data, losses, models, optim
from tinygan.parallel.console import forgiving_streams
from tinygan.runs.trained import load_trained

SAMPLES = 10_000


class Recipe(NamedTuple):
    """What is varied from row to row; the default values are the default run's, but for its penalty."""

    name: str
    batch_norm: bool = True
    lr: float = 1e-3
    beta1: float = 0.0
    beta2: float = 0.99
    average: float = 0.999
    loss: losses.Loss = losses.NonSaturating()


RECIPES = [
    Recipe("plain: no BatchNorm, 2e-4, betas 0.5 0.999, no average", False, 2e-4, 0.5, 0.999, 0.0),
    Recipe("+ average", False, 2e-4, 0.5, 0.999),
    Recipe("+ BatchNorm in G", True, 2e-4, 0.5, 0.999),
    Recipe("+ learning rate 1e-3", True, 1e-3, 0.5, 0.999),
    Recipe("+ beta1 0", True, 1e-3, 0.0, 0.999),
    Recipe("+ beta2 0.99"),
    Recipe("that without average", average=0.0),
    Recipe("that without BatchNorm", batch_norm=False),
    Recipe("that with real_label 0.9", loss=losses.NonSaturating(real_label=0.9)),
    Recipe("that with least squares", loss=losses.LeastSquares()),
]


def train(recipe: Recipe, images: data.ImageData, *, epochs: int, seed: int) -> tuple[np.ndarray, float]:
    """Train one recipe; return its samples and how many seconds the training took."""
    rng = np.random.default_rng(seed)
    generator, discriminator = models.mlp(batch_norm=recipe.batch_norm, rng=rng)
    gan = GAN(
        generator,
        discriminator,
        noise_dim=100,
        loss=recipe.loss,
        g_optimizer=optim.Adam(generator, recipe.lr, recipe.beta1, recipe.beta2),
        d_optimizer=optim.Adam(discriminator, recipe.lr, recipe.beta1, recipe.beta2),
        average=recipe.average,
        seed=seed,
    )
    order = data.batches(len(images), 128, seed=seed)
    start = time.perf_counter()
    for _ in trange(epochs * data.steps_per_epoch(len(images), 128), desc=recipe.name, unit="step", leave=False):
        gan.step(images.batch(next(order)))
    return gan.sample(SAMPLES), time.perf_counter() - start


def samples_of_run(folder: Path) -> tuple[np.ndarray, tuple[int, int, int]]:
    """10,000 samples of a run, as the judge wants them, and the shape they were made in."""
    run = load_trained(folder)
    images = run.sample(SAMPLES)
    images = data.ImageData.from_floats(images.clip(run.low, run.high), low=run.low, high=run.high, name=str(folder))
    return as_digits(images), run.image_shape


def as_digits(images: data.ImageData) -> np.ndarray:
    """Images of any size, grey or in colours, as (N, 28, 28, 1) in [−1, 1]."""
    return data.refit(images, size=28, channels=1).batch(np.arange(len(images)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--epochs", type=int, default=5, help="for each recipe (default: 5)")
    parser.add_argument("--judge-epochs", type=int, default=4, help="for the classifier (default: 4)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each recipe (default: 1)")
    parser.add_argument("--only", help="only the recipes whose name contains this")
    parser.add_argument("--run", type=Path, nargs="+", help="judge the checkpoints of these runs, and train nothing")
    args = parser.parse_args()

    train_digits, test_digits = (data.load(args.data, split=split) for split in ("train", "test"))
    judge = Judge(train_digits, test_digits, epochs=args.judge_epochs)
    print(f"The judge names {judge.accuracy:.2%} of the test digits. {SAMPLES:,} samples a row.\n")
    heads = "recipe|share of each digit|sure|IS|FD|precision|recall|seconds"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 8}|")
    print(f"| real training digits | {judge.row(train_digits.batch(np.arange(SAMPLES)))} | |")
    for folder in args.run or ():
        samples, shape = samples_of_run(folder)
        if shape != train_digits.image_shape:
            digits = data.refit(data.ImageData(train_digits.images[:SAMPLES]), size=shape[:2], channels=shape[2])
            print(f"| real training digits, as {shape} and back | {judge.row(as_digits(digits))} | |")
        print(f"| {folder.name} | {judge.row(samples)} | |")
    if args.run:
        return
    for recipe in RECIPES:
        for seed in range(args.seeds) if args.only is None or args.only in recipe.name else ():
            samples, seconds = train(recipe, train_digits, epochs=args.epochs, seed=seed)
            tqdm.write(f"| {recipe.name} | {judge.row(samples)} | {seconds:.0f} |")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
