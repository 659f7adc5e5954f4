"""Train the classifier of digits that comes with tinygan, and write it into the package, in half precision.

    python benchmarks/digit_judge.py --data FOLDER_WITH_MNIST     # about three minutes on two cores

The same command gives the same file on one machine. Its accuracy on MNIST's test digits, as it is stored, is printed
and kept in the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tinygan import checkpoints, data, metrics
from tinygan.metrics.features import DIGITS
from tinygan.parallel.console import forgiving_streams

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from mnist_classifier import fit

NAME = "tinygan's classifier of digits, 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--epochs", type=int, default=12, help="times that it sees each digit (default: 12)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DIGITS, help="the file to write (default: the package's own)")
    args = parser.parse_args()

    train, test = (data.load(args.data, split=split) for split in ("train", "test"))
    network = metrics.digit_network(np.random.default_rng(args.seed))
    for epoch, loss in enumerate(fit(network, train, epochs=args.epochs, seed=args.seed)):
        print(f"epoch {epoch + 1}: loss {loss:.4f}", flush=True)
    arrays = {name: array.astype(np.float16) for name, array in network.state_arrays().items()}
    network.load_state_arrays({name: array.astype(np.float32) for name, array in arrays.items()})
    right = (
        metrics.Digits(network, NAME, 0.0).probabilities(test.batch(np.arange(len(test)))).argmax(axis=1) == test.labels
    )
    checkpoints.write(args.out, arrays, {"name": NAME, "accuracy": float(right.mean())})
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, names {right.mean():.2%} of {test.name}'s test digits")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
