"""A convolutional network learns to read digits: the same layers without a game.

    python examples/mnist_classifier.py

trains on MNIST, or on digits that tinygan draws itself where MNIST cannot be had, for about half a minute on two cores.
Prints how many of the 10,000 test digits it names rightly, after each epoch, and draws those that it gets wrong, the
worst first, in runs/mnist_classifier/mistakes.png.

An image x with label k gets logits s, one for each digit; softmax makes probabilities p of them. The network descends
the cross-entropy, which is how surprised it is by the label:

    L = −mean log p_k,      p_j = e^s_j / Σ_i e^s_i,      ∂L/∂s_j = (p_j − [j = k]) / N
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinygan import Sequential, losses, optim, plotting, to_backend, to_numpy
from tinygan.backends import ops_of
from tinygan.data import ImageData, batches, digits, load, steps_per_epoch
from tinygan.errors import DataError
from tinygan.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, LeakyReLU
from tinygan.runs.commandline import output_folder, run_program
from tinygan.runs.flags import count, path, path_text, seed

EPOCHS, BATCH, LR = 4, 128, 3e-3
SHIFT = 1  # pixels at most, another one for each batch: what has moved is a new digit to learn from


def classifier(rng: np.random.Generator) -> Sequential:
    """Images (N, 28, 28, 1) -> logits (N, 10). The layer below the last gives 128 features of each image."""
    return Sequential(
        *(Conv2D(1, 16, 5, stride=2, bias=False, rng=rng), BatchNorm(16), LeakyReLU()),  # (N, 14, 14, 16)
        *(Conv2D(16, 32, 5, stride=2, bias=False, rng=rng), BatchNorm(32), LeakyReLU(), Flatten()),  # (N, 7·7·32)
        *(Dense(7 * 7 * 32, 128, bias=False, rng=rng), BatchNorm(128), LeakyReLU(), Dropout(0.3, rng=rng)),
        Dense(128, 10, rng=rng),
    )


def fit(network: Sequential, digits: ImageData, *, epochs: int, seed: int, bar: bool = True) -> Iterator[float]:
    """Train ``network`` on labelled images, with a bar for each epoch; yield the mean loss of each."""
    rng, cross_entropy = np.random.default_rng(seed), losses.SoftmaxCrossEntropy()
    adam = optim.Adam(network, LR, beta1=0.9)  # there is no opponent: momentum helps
    per_epoch, backend = steps_per_epoch(len(digits), BATCH), ops_of(network.theta)
    order = batches(len(digits), BATCH, seed=seed)
    for epoch in range(epochs):
        seen = []
        name = f"epoch {epoch + 1}/{epochs}"
        for step in tqdm(range(per_epoch), desc=name, unit=" steps", leave=False, disable=not bar):
            rows = next(order)
            x = np.roll(digits.batch(rows), rng.integers(-SHIFT, SHIFT + 1, size=2), axis=(1, 2))
            x, labels = (to_backend(a, backend) for a in (x, digits.labels[rows]))
            logits, taken = network.apply(x, True)
            loss, dlogits = cross_entropy(logits, labels)
            network.store_gradients(taken, dlogits, add=False)
            adam.lr = LR * (1.0 - (epoch + step / per_epoch) / epochs)  # falls to 0, so that the weights come to rest
            adam.step()
            seen.append(loss)  # read at the end of the epoch: until then a GPU need not wait
        yield sum(map(float, seen)) / per_epoch


def first(data: ImageData, n: int) -> ImageData:
    """The first n of labelled images."""
    return replace(data, images=data.images[:n], labels=data.labels[:n])


def probabilities(network: Sequential, digits: ImageData) -> np.ndarray:
    """What ``network`` says of all images (N, 10): the probability of each digit."""
    rows, backend = np.arange(len(digits)), ops_of(network.theta)
    images = (to_backend(digits.batch(rows[i : i + 500]), backend) for i in range(0, len(rows), 500))
    s = np.concatenate([to_numpy(network(x)) for x in images])
    p = np.exp(s - s.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def draw_mistakes(path: Path, digits: ImageData, p: np.ndarray, most: int = 60) -> None:
    """The digits with another name than their label; the less the label was believed, the earlier."""
    named = p.argmax(axis=1)
    wrong = np.flatnonzero(named != digits.labels)
    wrong = wrong[np.argsort(p[wrong, digits.labels[wrong]])][:most]
    output_folder(path.parent)
    with plotting.figure(path, size=(12, 8), dpi=80) as figure:
        for ax in (axes := figure.subplots(6, 10)).flat:
            ax.set_axis_off()
        for ax, i in zip(axes.flat, wrong, strict=False):
            ax.imshow(digits.images[i, ..., 0], cmap="gray")
            ax.set_title(f"label {digits.labels[i]}, read as {named[i]}", fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=path_text, help="digits or fashion, or where MNIST is (default: auto)")
    parser.add_argument("--epochs", type=count, default=EPOCHS, help=f"visits to every digit (default: {EPOCHS})")
    parser.add_argument("--seed", type=seed, default=0, help="fixes weights and order (default: 0)")
    parser.add_argument("--backend", default="numpy", help="numpy, cupy (a GPU), or auto (default: numpy)")
    parser.add_argument("--out", type=path, default=Path("runs/mnist_classifier"), help="output folder")
    parser.add_argument("--quick", action="store_true", help="1,280 digits, drawn unless --data says otherwise")
    args = parser.parse_args()

    if args.quick and args.data is None:
        train, test = digits(1280), digits(2000, split="test")
    else:
        train, test = (load(args.data or "auto", split=split, size=28, channels=1) for split in ("train", "test"))
    if train.labels is None or test.labels is None:
        raise DataError(f"{train.name}: there are no labels to learn; try --data digits.")
    if len(train) == len(test) and np.array_equal(train.images[:100], test.images[:100]):
        raise DataError(f"{train.name}: there are no images apart to be tested with; give digits, fashion or MNIST.")
    if args.quick:
        train, test = first(train, 1280), first(test, 2000)
    print(train.description)
    network = classifier(np.random.default_rng(args.seed)).to(args.backend)
    print(f"\n{network.summary((28, 28, 1))}\n")

    began = time.perf_counter()
    for epoch, loss in enumerate(fit(network, train, epochs=args.epochs, seed=args.seed), start=1):
        p = probabilities(network, test)
        right = (p.argmax(axis=1) == test.labels).mean()
        seconds = time.perf_counter() - began
        print(f"epoch {epoch}/{args.epochs}  loss {loss:.4f}  {right:.2%} of the test digits right  {seconds:.0f} s")
    mistakes = args.out / "mistakes.png"
    if plotting.attempt(mistakes, lambda: draw_mistakes(mistakes, test, p)):
        print(f"Those it got wrong are in {mistakes}, with their label and what each was read as.")


if __name__ == "__main__":
    run_program(main)
