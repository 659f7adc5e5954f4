"""The embedded digits: how fast they are drawn, and how much of MNIST a classifier learns from nothing else.

python benchmarks/embedded_digits.py --data FOLDER_WITH_MNIST      # about two minutes
"""

from __future__ import annotations

import argparse
import statistics
import time

from judge import Judge

from tinygan import data
from tinygan.parallel.console import forgiving_streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--epochs", type=int, default=5, help="of the classifier's training (default: 5)")
    args = parser.parse_args()

    rates = []
    for seed in range(3):
        start = time.perf_counter()
        drawn = data.digits(60_000, seed=seed)
        rates.append(len(drawn) / (time.perf_counter() - start))
    print(f"drawing: {statistics.median(rates):,.0f} images/s (median of three times 60,000)")

    mnist = data.load(args.data, split="test")
    judge = Judge(drawn, mnist, epochs=args.epochs)
    print(f"a classifier that has seen no other digit names {judge.accuracy:.1%} of {len(mnist):,} MNIST test digits")


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
