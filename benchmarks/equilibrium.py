"""Where would --until-equilibrium have ended runs that went on to their budget, and how large is the duality gap?

    python benchmarks/equilibrium.py --data FOLDER_WITH_MNIST runs/mnist_mlp_gan runs/dcgan

Each line is a judged run of digits. *Ends at* is the first time of judging at which the rule of tinygan.runs.stopping
holds, with the Fréchet distance there, at the end and at its best, by the judge of that run; *told apart* is what D
could tell at the end. *Gap* is that of tinygan.metrics.duality_gap at the end, with 200 steps for each copy, and how
long it took; beside it the values of V from which it comes.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from tinygan import GAN, data, load_trained, metrics
from tinygan.parallel.console import forgiving_streams
from tinygan.runs import Equilibrium
from tinygan.runs.flags import LOSSES, at_least_half, count


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    """The columns of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def ends_at(scores: dict[str, np.ndarray], rule: Equilibrium) -> int | None:
    """The place in the scores of the first time at which the rule holds."""
    columns = [scores[key] for key in ("kernel", "kernel_error", "told_apart")]
    return next((i for i in range(len(columns[0])) if rule.reached(*(c[: i + 1] for c in columns))), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs on digits that were judged")
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--patience", type=count, default=4, help="of the rule (default: 4)")
    parser.add_argument("--told-apart", type=at_least_half, default=0.75, help="of the rule (default: 0.75)")
    args = parser.parse_args()
    rule = Equilibrium(args.patience, args.told_apart)
    digits = [data.load(args.data, split=split) for split in ("train", "test")]
    heads = "run|steps|ends at|Fréchet there|at the end|at its best|told apart|gap|V, worst D, worst G|s"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 10}|")
    for folder in args.runs:
        scores, run = scores_of(folder), load_trained(folder)
        at, frechet = ends_at(scores, rule), scores["frechet"]
        best = int(frechet.argmin())
        there = ("never", "") if at is None else (f"{scores['step'][at]:,.0f}", f"{frechet[at]:.2f}")
        h, w, c = run.image_shape
        train, held_out = (data.refit(images, size=(h, w), channels=c) for images in digits)
        gan = GAN(run.generator, run.discriminator, noise_dim=run.noise_dim, loss=LOSSES[run.settings["loss"]]())
        began = time.perf_counter()
        found = metrics.duality_gap(gan, train, held_out, low=run.low, high=run.high)
        took = time.perf_counter() - began
        values = ", ".join(f"{value:.2f}" for value in found[1:])
        print(
            f"| {folder.name} | {run.step:,} | {there[0]} | {there[1]} | {frechet[-1]:.2f} | {frechet[best]:.2f} at "
            f"{scores['step'][best]:,.0f} | {scores['told_apart'][-1]:.2f} | {found.gap:.2f} | {values} | {took:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
