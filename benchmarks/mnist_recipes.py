"""Which recipe gives the best digits in a fixed time? Each of the systems, with other losses, penalties and rates.

    python benchmarks/mnist_recipes.py --data FOLDER_WITH_MNIST                    # mlp: 3 seeds, 250 s of a core each
    python benchmarks/mnist_recipes.py --data FOLDER_WITH_MNIST --system lsgan --seeds 1 --seconds 172

Every run may take the same processor time, on one core of its own: 250 s are about what 3 minutes on two cores do. So a
recipe that costs more per step takes fewer steps. Each is judged twice by the classifier that comes with the package
(mnist_quality.py reports by another): with the averaged weights of G, and with the last. FD (the Fréchet distance of
10,000 samples from the test digits) grows with unreadable digits and with missing variety alike; 0.42 is what real
training digits have (samples of dcgan64 are brought to 28x28 first, which blurs). They are kept in --out, and the same
command goes on from there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mnist_quality import as_digits

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
    """What is varied; Adam has beta1 0 and beta2 0.99, and networks are as ``tinygan.models`` makes them but for
    ``networks``."""

    name: str
    loss: losses.Loss = losses.NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    lr: float = 1e-3
    batch: int = 64
    average: float = 0.998
    networks: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it


OFTEN, SELDOM = (R1(1.0),), (R1(1.0, every=4),)
LSGAN = losses.LeastSquares(), (R1(10.0, every=4),), 2e-3
PAIRS = losses.Relativistic(), (R1(0.3, every=4), R2(0.3, every=4))
MEAN = {"mean": -0.74}  # of MNIST's pixels

RECIPES = {
    "mlp": [
        Recipe("non-saturating, no penalty", batch=128, average=0.999),
        Recipe("+ R1, gamma 1", penalties=OFTEN, batch=128, average=0.999),
        Recipe(
            "relativistic + R1 + R2, gamma 0.3", losses.Relativistic(), (R1(0.3), R2(0.3)), batch=128, average=0.999
        ),
        Recipe("hinge + R1, gamma 1", losses.Hinge(), OFTEN, batch=128, average=0.999),
        Recipe("+ R1, gamma 1, rate 2e-3", penalties=OFTEN, lr=2e-3, batch=128, average=0.999),
        Recipe("+ R1, gamma 1, rate 5e-4", penalties=OFTEN, lr=5e-4, batch=128, average=0.999),
        Recipe("+ R1, gamma 1, in every fourth step: the default", penalties=SELDOM, batch=128, average=0.999),
    ],
    "mlp_conv": [
        Recipe("width 16, R1", penalties=OFTEN, networks={"width": 16}),
        Recipe("width 32, R1", penalties=OFTEN, networks={"width": 32}),
        Recipe("width 16, R1, G 256-512", penalties=OFTEN, networks={"width": 16, "g_hidden": (256, 512)}),
        Recipe("width 16, R1 in every fourth step", penalties=SELDOM, networks={"width": 16}),
        Recipe(
            "that with G 256-512 and a rate of 2e-3: the default",
            penalties=SELDOM,
            lr=2e-3,
            networks={"width": 16, "g_hidden": (256, 512)},
        ),
    ],
    "lsgan": [  # least squares, R1 of 10 in every fourth step, a rate of 2e-3
        Recipe("width 16", *LSGAN, networks={"width": 16, "floor": False}),
        Recipe("that with black as the floor of G", *LSGAN, networks={"width": 16}),
        Recipe("that with width 8", *LSGAN, networks={"width": 8}),
        Recipe("that with G 256-256-256: the default", *LSGAN, networks={"width": 8, "g_hidden": (256, 256, 256)}),
    ],
    "dcgan": [
        Recipe("width 32, R1", penalties=OFTEN, networks={"width": 32}),
        Recipe("width 16, R1", penalties=OFTEN, networks={"width": 16}),
        Recipe("width 16, R1 in every fourth step: the default", penalties=SELDOM, networks={"width": 16}),
    ],
    "dcgan64": [
        Recipe("width 16, R1", penalties=OFTEN, networks={"width": 16}),
        Recipe("width 16, R1 in every fourth step", penalties=SELDOM, networks={"width": 16}),
    ],
    "resnet": [
        Recipe(
            "relativistic, R1 + R2 of 0.3 in every fourth step, rate 3e-3: the default", *PAIRS, 3e-3, 32, networks=MEAN
        ),
        Recipe("that with a rate of 1e-3", *PAIRS, 1e-3, 32, networks=MEAN),
        Recipe("that with a rate of 2e-3", *PAIRS, 2e-3, 32, networks=MEAN),
        Recipe("the default with G's first images grey", *PAIRS, 3e-3, 32),
        Recipe("non-saturating, R1 of 0.3", penalties=(R1(0.3, every=4),), lr=3e-3, batch=32, networks=MEAN),
    ],
}
BUILD = {name: getattr(models, name) for name in RECIPES}
SHAPES = {name: (64, 64, 1) if name == "dcgan64" else (28, 28, 1) for name in RECIPES}
LOW = {name: 0.0 if name in ("mlp_conv", "lsgan") else -1.0 for name in RECIPES}


def play(system: str, index: int, seed: int, digits: str, seconds: float, file: Path) -> None:
    """Train one recipe for so many seconds of this process, and keep what both G's draw from the same noise."""
    recipe, shape, low = RECIPES[system][index], SHAPES[system], LOW[system]
    images = data.refit(data.load(digits), size=shape[:2], channels=1)
    G, D = BUILD[system](shape, rng=seed, **recipe.networks)
    adams = [optim.Adam(network, recipe.lr, beta1=0.0, beta2=0.99) for network in (G, D)]
    options = {"loss": recipe.loss, "penalties": recipe.penalties, "average": recipe.average, "seed": seed}
    gan = GAN(G, D, noise_dim=100, g_optimizer=adams[0], d_optimizer=adams[1], **options)
    order = data.batches(len(images), recipe.batch, seed=seed)
    told, began = 0, time.process_time()
    while (used := time.process_time() - began) < seconds:
        gan.step(images.batch(next(order), low=low))
        if int(used) > told:
            count(int(used) - told)
            told = int(used)
    z = gan.noise(SAMPLES, rng=np.random.default_rng(seed))
    last = np.concatenate([G(z[i : i + 500]) for i in range(0, SAMPLES, 500)])
    drawn = [data.ImageData.from_floats(x.clip(low, 1.0), low=low, high=1.0) for x in (gan.sample(z=z), last)]
    bytes_ = [data.refit(images, size=28, channels=1).images for images in drawn]
    part = file.with_suffix(".part.npz")
    np.savez_compressed(part, averaged=bytes_[0], last=bytes_[1], steps=gan.t)
    os.replace(part, file)


def _checksum(recipe: Recipe, digits: str) -> str:
    """Of all that a recipe says, so that samples of another one are not taken for its own."""
    return f"{zlib.crc32(repr((recipe, digits)).encode()):08x}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="where MNIST is, as in the examples (default: mnist)")
    parser.add_argument("--seeds", type=at_least_1, metavar="N", default=3, help="runs of each recipe (default: 3)")
    text = "of a core, for each run (default: 250)"
    parser.add_argument("--seconds", type=positive, metavar="X", default=250.0, help=text)
    parser.add_argument("--system", choices=list(RECIPES), default="mlp", help="whose recipes (default: mlp)")
    parser.add_argument("--recipes", type=at_least_1, metavar="N", help="only so many of them, from the first")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_recipes"), help="output folder")
    args = parser.parse_args()
    recipes = RECIPES[args.system][: args.recipes]
    if args.recipes and args.recipes > len(recipes):
        parser.error(f"argument --recipes: of {args.system} there are {len(recipes)}, got {args.recipes}")

    _, test = (data.load(args.data, split=split) for split in ("train", "test"))  # refused before anything is trained
    args.out.mkdir(parents=True, exist_ok=True)
    files = {
        (index, seed): args.out / f"{args.system}_{_checksum(recipe, args.data)}_{args.seconds:g}s_seed{seed}.npz"
        for seed in range(args.seeds)
        for index, recipe in enumerate(recipes)
    }
    jobs = [(args.system, *key, args.data, args.seconds, file) for key, file in files.items() if not file.exists()]
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that begin from here on, were it only one
    if jobs:
        play_all(play, jobs, steps=int(args.seconds * len(jobs)))
    judge = metrics.digits()
    _, test_features = judge.look(as_digits(test))
    print(f"{args.system}, {SAMPLES:,} samples of each run, by {judge.name}.\n")
    heads = "recipe|steps|FD, averaged|rarest digit|FD, last weights|rarest digit"
    print(f"| {heads.replace('|', ' | ')} |\n{'|---' * 6}|")
    for index, recipe in enumerate(recipes):
        cells, steps = [], []
        for kind in ("averaged", "last"):
            distances, rarest = [], []
            for seed in range(args.seeds):
                with np.load(files[index, seed]) as kept:
                    samples = kept[kind].astype(np.float32) / 127.5 - 1.0
                    steps.append(int(kept["steps"]))
                logits, features = judge.look(samples)
                distances.append(metrics.frechet_distance(features, test_features))
                rarest.append(np.bincount(logits.argmax(axis=1), minlength=10).min() / SAMPLES)
            each = ", ".join(f"{d:.2f}" for d in distances)
            cells += [f"**{statistics.mean(distances):.2f}** ({each})", f"{min(rarest):.1%}"]
        print(f"| {recipe.name} | {min(steps):,} - {max(steps):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    try:
        with forgiving_streams():  # a console may lack letters such as ×
            main()
    except (TinyGANError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on with the runs that are missing")
