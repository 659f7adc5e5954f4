"""Few images: D learns them by heart, unless it never sees one of them twice in the same way.

    python examples/few_images.py                        500 creatures that tinygan draws
    python examples/few_images.py --data my_pictures     pictures of yours, one in five of them held out

trains three GANs on the same few images, with D shown

    as they are      the images themselves
    changed          each shifted, covered in part and coloured anew, every time (tinygan.augment)
    as much as D     the same, but only so many of them that D knows three real images in five
     needs

and says of each, as it goes on: the Fréchet distance from real pictures that nobody was trained on; how far D tells its
own images from those (the part of them with a higher logit than a held-out one: 50 % if it has learned nothing by
heart); and how many samples lie closer to an image of the training set than 95 % of held-out pictures do, of which 5 %
mean nothing and much more means copies. Draws runs/few_images/few_images.png: the curves, and samples of each
run above the training images that they are nearest to.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # what lies beside this file, python -I would not look for

from many_runs import count, play_all

from tinygan import GAN, augment, losses, metrics, models, optim, penalties, plotting
from tinygan.data import ImageData, batches, load
from tinygan.errors import ArgumentError
from tinygan.runs import flags
from tinygan.runs.commandline import output_folder, run_program

RUNS = ["as they are", "changed", "as much as D needs"]
IMAGES, HELD_OUT, STEPS, BATCH, LOOKS, SHOWN = 500, 2000, 2000, 32, 8, 8
COLOURS = ["tab:orange", "tab:blue", "tab:green"]


def read(data, size, images):
    """The images to train on, and those that are held out."""
    if data == "shapes":
        train, held_out = load(data, size=size), load(data, split="test", size=size)
        return train.images[:images], held_out.images[:HELD_OUT]
    found = load(data, size=size)
    order = np.random.default_rng(0).permutation(len(found.images))
    train, held_out = np.split(order, [len(order) * 4 // 5])
    if min(len(train), len(held_out)) < metrics.LEAST:
        raise ArgumentError(f"{data}: {len(order)} pictures; of fewer than {5 * metrics.LEAST} too few are held out.")
    return found.images[train[:images]], found.images[held_out[:HELD_OUT]]


def player(name, shape, *, width, seed):
    """The GAN of a run: that of examples/dcgan.py, held smooth by R1."""
    G, D = models.dcgan(shape, width=width, rng=seed)
    loss = losses.NonSaturating()
    if name != "as they are":
        strength = {"changed": 1.0, "as much as D needs": 0.0}[name]
        changes = augment.Colour, augment.Shift, augment.Cutout
        D = augment.before(D, *(kind(strength=strength, rng=seed + k) for k, kind in enumerate(changes)))
        loss = augment.Adaptive(loss, D) if strength == 0.0 else loss
    adams = {"g_optimizer": optim.Adam(G, 1e-3, 0.0, 0.99), "d_optimizer": optim.Adam(D, 1e-3, 0.0, 0.99)}
    return GAN(G, D, noise_dim=100, loss=loss, penalties=[penalties.R1(1.0)], average=0.995, seed=seed, **adams)


def play(name, source, steps, width, seed, file):
    """Train one run, look at it LOOKS times, and leave what was seen in a file."""
    train, held_out = (ImageData(images) for images in source)
    judge = metrics.Judge(held_out, metrics.RandomConvolutions(train.image_shape[2]))
    gan = player(name, train.image_shape, width=width, seed=seed)
    order, seen, z = batches(len(train), BATCH, seed=seed), [], gan.noise(len(held_out))
    looks = {steps * (k + 1) // LOOKS for k in range(LOOKS)}
    for step in range(1, steps + 1):
        gan.step(train.batch(next(order)))
        count(1)
        if step in looks:
            samples = gan.sample(z=z)
            scores = judge(samples)
            strength = getattr(gan.loss, "strength", float(name == "changed"))
            known = by_heart(gan.discriminator, train, held_out)
            seen.append([step, scores.frechet, known, copies(samples, train, held_out, judge), strength])
    shown = samples[:SHOWN]
    nearest = metrics.nearest_neighbours(shown, train.batch(np.arange(len(train))), features=judge.features)
    floor = judge.floor(min(len(held_out), HELD_OUT) // 2).frechet
    np.savez(file, seen=seen, samples=shown, nearest=train.batch(nearest.indices[:, 0]), floor=floor)


def by_heart(D, train, held_out):
    """The part of pairs in which D gives its own image a higher logit than a held-out one."""
    own, others = (D(images.batch(np.arange(min(500, len(images)))))[:, 0] for images in (train, held_out))
    return float((own[:, None] > others).mean() + 0.5 * (own[:, None] == others).mean())


def copies(samples, train, held_out, judge):
    """The part of the samples that are closer to a training image than 95 % of the held-out ones."""
    own, others = (images.batch(np.arange(len(images))) for images in (train, held_out))
    far = metrics.nearest_neighbours(others, own, features=judge.features).distances[:, 0]
    of_samples = metrics.nearest_neighbours(judge.as_seen(samples), own, features=judge.features).distances[:, 0]
    return float((of_samples < np.quantile(far, 0.05)).mean())


def draw(results, path):
    with plotting.figure(path, size=(9, 9)) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7))
        titles = "Fréchet distance from held-out pictures", "D knows its own images", "samples closer than 95 %"
        for k, (axes, title) in enumerate(zip(above.subplots(1, 3), titles, strict=True)):
            for (name, result), colour in zip(results.items(), COLOURS, strict=True):
                seen = result["seen"]
                axes.plot(seen[:, 0], seen[:, k + 1], "o-", ms=3, color=colour, label=name)
            level = (result["floor"], 0.5, 0.05)[k]
            axes.axhline(level, color="0.5", ls="--", lw=0.8, label="real pictures, half as many" if k == 0 else None)
            axes.set(title=title, xlabel="step", yscale="log" if k == 0 else "linear")
            axes.title.set_fontsize(9)
            axes.grid(alpha=0.25)
            if k == 0:
                axes.legend(fontsize=7)
        for (name, result), axes in zip(results.items(), below.subplots(3, 1), strict=True):
            rows = np.concatenate([result["samples"], result["nearest"]]).clip(-1.0, 1.0)
            picture = plotting.grid(rows, columns=SHOWN, scale=1)
            axes.imshow(picture, cmap="gray", interpolation="nearest")
            axes.set(title=f"{name}: samples, and below each the training image it is nearest to", xticks=[], yticks=[])
            axes.title.set_fontsize(9)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shapes", help="shapes, or a folder of pictures (default: shapes)")
    add = parser.add_argument
    add("--images", type=flags.count, metavar="N", default=IMAGES, help=f"to train on (default: {IMAGES})")
    text = "height x width, or one number for both; multiples of 4 (default: 32)"
    add("--size", type=flags.size(4), metavar="N|HxW", default=32, help=text)
    add("--width", type=flags.count, metavar="N", default=24, help="channels of the largest images (default: 24)")
    add("--steps", type=flags.count, metavar="N", default=STEPS, help=f"of each run (default: {STEPS})")
    add("--seed", type=flags.seed, metavar="N", default=0, help="of weights, noise and changes (default: 0)")
    add("--quick", action="store_true", help="the shape of it in seconds: 40 steps on 100 images, narrow networks")
    add("--out", type=flags.path, metavar="FOLDER", default=Path("runs/few_images"), help="(runs/few_images)")
    args = parser.parse_args()
    if args.quick:
        args.images, args.width, args.steps = 100, 4, 40
    if args.steps < LOOKS:
        parser.error(f"argument --steps: expected at least {LOOKS}, one for each look, got {args.steps}")

    source = read(args.data, args.size, args.images)
    if args.quick:
        source = source[0], source[1][:200]
    if len(source[0]) < BATCH:
        raise ArgumentError(f"{len(source[0])} images to train on are fewer than a batch, {BATCH}.")
    out = output_folder(args.out)
    files = {name: out / f"{name.replace(' ', '_')}.npz" for name in RUNS}
    jobs = [(name, source, args.steps, args.width, args.seed, file) for name, file in files.items()]
    play_all(play, jobs, steps=len(jobs) * args.steps)
    results = {}
    for name, file in files.items():
        with np.load(file) as kept:
            results[name] = dict(kept)
        step, frechet, known, copied, strength = results[name]["seen"][-1]
        said = f"Fréchet {frechet:5.2f} (half as many real ones: {results[name]['floor']:.2f})"
        said += f", D knows {known:.0%} of its own, {copied:.0%} of the samples are close"
        print(f"{name:20} step {step:,.0f}: {said}, {strength:.0%} of the images changed")
    plotting.attempt(out / "few_images.png", lambda: draw(results, out / "few_images.png"))
    print(f"The picture is in {out / 'few_images.png'}")


if __name__ == "__main__":
    run_program(main)
