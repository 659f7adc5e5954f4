"""Which recipe gives the best digits in a fixed time? The MLP GAN, with other losses and penalties, over several seeds.

    python benchmarks/mnist_recipes.py --data FOLDER_WITH_MNIST              # 3 seeds, 250 s of a core for each run

Every run may take the same processor time, on one core of its own: 250 s are about what 3 minutes on two cores do. So a
recipe that costs more per step takes fewer steps. Each is judged twice by the classifier of judge.py: with the
averaged weights of G, and with the last. FD (the Fréchet distance) grows with unreadable digits and with missing
variety alike; 0.3 is what real digits have. Samples are kept in --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from judge import Judge

from tinygan import GAN, data, losses, metrics, models, optim
from tinygan.errors import TinyGANError
from tinygan.parallel.console import forgiving_streams
from tinygan.penalties import R1, R2, Penalty
from tinygan.runs.flags import count as at_least_1
from tinygan.runs.flags import positive

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))
from many_runs import count, play_all

SAMPLES = 10_000


class Recipe(NamedTuple):
    """What is varied; the rest is as in examples/mnist_mlp_gan.py, whose recipe the second one is."""

    name: str
    loss: losses.Loss = losses.NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    lr: float = 1e-3


RECIPES = [
    Recipe("non-saturating, no penalty"),
    Recipe("+ R1, gamma 1: the default", penalties=(R1(1.0),)),
    Recipe("relativistic + R1 + R2, gamma 0.3", losses.Relativistic(), (R1(0.3), R2(0.3))),
    Recipe("hinge + R1, gamma 1", losses.Hinge(), (R1(1.0),)),
    Recipe("+ R1, gamma 1, rate 2e-3", penalties=(R1(1.0),), lr=2e-3),
    Recipe("+ R1, gamma 1, rate 5e-4", penalties=(R1(1.0),), lr=5e-4),
]


def play(index: int, seed: int, digits: str, seconds: float, file: Path) -> None:
    """Train one recipe for so many seconds of this process, and keep what both G's draw from the same noise."""
    recipe, images = RECIPES[index], data.load(digits)
    G, D = models.mlp(rng=seed)
    adams = [optim.Adam(network, recipe.lr, beta1=0.0, beta2=0.99) for network in (G, D)]
    options = {"loss": recipe.loss, "penalties": recipe.penalties, "average": 0.999, "seed": seed}
    gan = GAN(G, D, noise_dim=100, g_optimizer=adams[0], d_optimizer=adams[1], **options)
    order = data.batches(len(images), 128, seed=seed)
    told, began = 0, time.process_time()
    while (used := time.process_time() - began) < seconds:
        gan.step(images.batch(next(order)))
        if int(used) > told:
            count(int(used) - told)
            told = int(used)
    z = gan.noise(SAMPLES, rng=np.random.default_rng(seed))
    last = np.concatenate([G(z[i : i + 500]) for i in range(0, SAMPLES, 500)])
    bytes_ = [((x + 1.0) * 127.5).round().astype(np.uint8) for x in (gan.sample(z=z), last)]
    part = file.with_suffix(".part.npz")
    np.savez_compressed(part, averaged=bytes_[0], last=bytes_[1], steps=gan.t)
    os.replace(part, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--seeds", type=at_least_1, metavar="N", default=3, help="runs of each recipe (default: 3)")
    text = "of a core, for each run (default: 250)"
    parser.add_argument("--seconds", type=positive, metavar="X", default=250.0, help=text)
    text = f"only so many of the {len(RECIPES)}, from the first"
    parser.add_argument("--recipes", type=at_least_1, metavar="N", default=len(RECIPES), help=text)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_recipes"), help="output folder")
    args = parser.parse_args()
    if args.recipes > len(RECIPES):
        parser.error(f"argument --recipes: there are {len(RECIPES)}, got {args.recipes}")

    digits = [data.load(args.data, split=split) for split in ("train", "test")]  # refused before anything is trained
    args.out.mkdir(parents=True, exist_ok=True)
    files = {
        (index, seed): args.out / f"{index}_{args.seconds:g}s_seed{seed}.npz"
        for seed in range(args.seeds)
        for index in range(args.recipes)
    }
    jobs = [(*key, args.data, args.seconds, file) for key, file in files.items() if not file.exists()]
    if jobs:
        play_all(play, jobs, steps=int(args.seconds * len(jobs)))
    judge = Judge(*digits, epochs=4)
    print(f"The judge names {judge.accuracy:.2%} of the test digits. {SAMPLES:,} samples of each run.\n")
    heads = "recipe|steps|FD, averaged|rarest digit|FD, last weights|rarest digit"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 6}|")
    for index in range(args.recipes):
        cells, steps = [], []
        for kind in ("averaged", "last"):
            distances, rarest = [], []
            for seed in range(args.seeds):
                with np.load(files[index, seed]) as kept:
                    samples = kept[kind].astype(np.float32) / 127.5 - 1.0
                    steps.append(int(kept["steps"]))
                logits, features = judge.look(samples)
                distances.append(metrics.frechet_distance(features, judge.test_features))
                rarest.append(np.bincount(logits.argmax(axis=1), minlength=10).min() / SAMPLES)
            each = ", ".join(f"{d:.2f}" for d in distances)
            cells += [f"**{statistics.mean(distances):.2f}** ({each})", f"{min(rarest):.1%}"]
        print(f"| {RECIPES[index].name} | {min(steps):,} - {max(steps):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    try:
        with forgiving_streams():  # a console may lack letters such as ×
            main()
    except (TinyGANError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on with the runs that are missing")
