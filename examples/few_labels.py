"""Few labels: does a classifier learn more from digits that a GAN has made of the few labelled ones?

    python examples/few_labels.py                        on MNIST, or on digits that tinygan draws: 15 to 30 minutes
    python examples/few_labels.py --data fashion

A GAN does not know labels, so there is one for each class, trained on the labelled images of that class alone. A
classifier then sees, for as many steps,

    labelled images      each batch moved by a pixel at most, another way every time
    half generated       the same, but every second one drawn by the GAN of its class: it sees the labelled ones half
                         as often

and names the test images, which nobody was trained on. The same is done with more and more labels, and with several
seeds, each of which takes other images. A difference is said to be one if chance alone would make it in 5 of 100 such
comparisons at most (Student's t of the differences). Draws runs/few_labels/few_labels.png: both curves, and what was
generated for each class.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # what lies beside this file, python -I would not look for

from many_runs import count, play_all
from mnist_classifier import classifier, first, fit, probabilities

from tinygan import GAN, losses, models, optim, penalties, plotting
from tinygan.data import ImageData, batches, load
from tinygan.errors import ArgumentError, DataError
from tinygan.runs import flags
from tinygan.runs.commandline import output_folder, run_program

LABELS, SEEDS, STEPS, IMAGES, SHOWN = (5, 20, 100, 500), 3, 1500, 12_800, 8
QUICK = {"data": "digits", "labels": (5, 20), "steps": 20, "seeds": 2}
CLASSES = 10  # of the classifier
ERRORS = (np.inf, 12.71, 4.30, 3.18, 2.78)  # standard errors beyond which a mean of 1, 2, ... numbers is not 0 (5 %)
SAID = {-1: "generated images harm", 0: "no difference can be told", 1: "generated images help"}


def chosen(data, each, seed):
    """``each`` images of every class, drawn by the seed."""
    rng = np.random.default_rng(seed)
    rows = {k: rng.permutation(np.flatnonzero(data.labels == k))[:each] for k in np.unique(data.labels)}
    if short := [str(k) for k, of_class in rows.items() if len(of_class) < each]:
        raise ArgumentError(f"{data.name}: fewer than {each} labelled images of class {', '.join(short)}.")
    return part(data, np.concatenate([*rows.values()]))


def part(data, rows):
    return replace(data, images=data.images[rows], labels=data.labels[rows])


def generated(images, n, steps, seed):
    """n images (n, H, W, 1) by a GAN that has seen ``images`` alone: that of examples/mnist_mlp_gan.py, narrower."""
    shape = images.image_shape
    G, D = models.mlp(shape, noise_dim=32, g_hidden=(128, 256), d_hidden=(256, 128), rng=seed)
    adams = {"g_optimizer": optim.Adam(G, 1e-3, 0.0, 0.99), "d_optimizer": optim.Adam(D, 1e-3, 0.0, 0.99)}
    smooth = [penalties.R1(1.0, every=4)]
    gan = GAN(G, D, noise_dim=32, loss=losses.NonSaturating(), penalties=smooth, average=0.99, seed=seed, **adams)
    batch = min(32, len(images))
    order = batches(len(images), batch, seed=seed)
    for _ in range(steps):
        gan.step(images.batch(next(order)))
        count(1)
    return ImageData.from_floats(gan.sample(n), low=-1.0, high=1.0, name="generated").images


def mixed(labelled, made, n, seed):
    """n images to learn from: labelled ones again and again, every second one generated if there are any."""
    rng = np.random.default_rng(seed)
    own = part(labelled, rng.permutation(np.resize(np.arange(len(labelled)), n)))
    if made is None:
        return own
    others = part(made, rng.permutation(np.resize(np.arange(len(made)), n // 2)))
    both = [np.concatenate([getattr(own, name)[: n - n // 2], getattr(others, name)]) for name in ("images", "labels")]
    return replace(own, images=both[0], labels=both[1])


def play(source, each, seed, steps, n, file):
    """Both classifiers, from the same labels and weights: how many test images each names rightly."""
    train, test = source
    labelled = chosen(train, each, seed)
    classes = np.unique(labelled.labels)
    share = n // 2 // len(classes)
    of_classes = [part(labelled, labelled.labels == k) for k in classes]
    images = [generated(own, share, steps, 100 * seed + k) for k, own in zip(classes, of_classes, strict=True)]
    made = replace(labelled, images=np.concatenate(images), labels=np.repeat(classes, share))
    right = []
    for others in (None, made):
        network = classifier(np.random.default_rng(seed))
        for _ in fit(network, mixed(labelled, others, n, seed), epochs=4, seed=seed, bar=False):
            pass
        right.append((probabilities(network, test).argmax(axis=1) == test.labels).mean())
    np.savez(file, right=right, shown=np.stack([of_class[:SHOWN] for of_class in images]))


def verdict(differences):
    """−1, 0 or 1: what the differences of several seeds say, if anything."""
    n, mean = len(differences), np.mean(differences)
    error = np.std(differences, ddof=1) / np.sqrt(n) if n > 1 else np.inf
    return int(np.sign(mean)) if abs(mean) > ERRORS[min(n, len(ERRORS)) - 1] * error else 0


def draw(labels, right, shown, path):
    with plotting.figure(path, size=(11, 4.5)) as figure:
        curves, *samples = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
        for k, (name, colour) in enumerate((("labelled images", "tab:orange"), ("half generated", "tab:blue"))):
            wrong = 100.0 * (1.0 - right[..., k])
            curves.plot(labels, wrong.mean(axis=1), "o-", color=colour, label=name)
            curves.plot(labels, wrong, ".", color=colour, alpha=0.4)
        curves.set(xscale="log", yscale="log", xlabel="labels of each class", title="test images named wrongly, %")
        curves.set_xticks(labels, map(str, labels), minor=False)
        curves.minorticks_off()
        least, most = 80.0 * (1.0 - right.max()), 125.0 * (1.0 - right.min())
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if least <= tick <= most]
        curves.set_yticks(ticks, map(str, ticks))
        curves.set_ylim(max(least, 0.01), most)
        curves.grid(alpha=0.25)
        curves.legend()
        for axes, each, images in zip(samples, (labels[0], labels[-1]), (shown[0], shown[-1]), strict=True):
            rows = images.reshape(-1, *images.shape[2:]) / 127.5 - 1.0
            axes.imshow(plotting.grid(rows, columns=images.shape[1], scale=1), cmap="gray", interpolation="nearest")
            axes.set(title=f"generated from {each} of each class", xticks=[], yticks=[])
        for axes in (curves, *samples):
            axes.title.set_fontsize(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=flags.path_text, help="digits or fashion, or where MNIST is (default: auto)")
    text = f"of each class (default: {' '.join(map(str, LABELS))})"
    add("--labels", type=flags.count, nargs="+", metavar="N", help=text)
    add("--seeds", type=flags.count, metavar="N", help=f"runs of each (default: {SEEDS})")
    add("--steps", type=flags.count, metavar="N", help=f"of each class's GAN (default: {STEPS})")
    add(
        "--quick", action="store_true", help="the shape of it in seconds: drawn digits, 20 steps, two numbers of labels"
    )
    add("--out", type=flags.path, metavar="FOLDER", default=Path("runs/few_labels"), help="(runs/few_labels)")
    args = parser.parse_args()
    usual = QUICK if args.quick else {"data": "auto", "labels": LABELS, "steps": STEPS, "seeds": SEEDS}
    for name, value in usual.items():
        setattr(args, name, value if getattr(args, name) is None else getattr(args, name))
    labels, n = sorted(set(args.labels)), 640 if args.quick else IMAGES
    if labels[0] < 2:
        parser.error("argument --labels: a GAN cannot learn from one image; expected at least 2")
    source = tuple(load(args.data, split=split, size=28, channels=1) for split in ("train", "test"))
    if any(data.labels is None for data in source):
        raise DataError(f"{source[0].name}: there are no labels to learn; try --data digits.")
    if (most := max(data.labels.max() for data in source)) >= CLASSES:
        raise DataError(
            f"{source[0].name}: the classifier has {CLASSES} classes, 0 to {CLASSES - 1}, but one is {most}."
        )
    if args.quick:
        source = first(source[0], 2000), first(source[1], 1000)
    chosen(source[0], labels[-1], 0)  # refused before anything is trained
    print(source[0].description)
    out = output_folder(args.out)
    files = {(each, seed): out / f"{each}_labels_seed{seed}.npz" for each in labels for seed in range(args.seeds)}
    jobs = [(source, each, seed, args.steps, n, file) for (each, seed), file in files.items()]
    play_all(play, jobs, steps=len(jobs) * args.steps * len(np.unique(source[0].labels)))
    right, shown = np.empty((len(labels), args.seeds, 2)), []
    for i, each in enumerate(labels):
        for seed in range(args.seeds):
            with np.load(files[each, seed]) as kept:
                right[i, seed] = kept["right"]
                shown += [kept["shown"]] if seed == 0 else []
        alone, half = right[i].mean(axis=0)
        differences = right[i, :, 1] - right[i, :, 0]
        each_seed = ", ".join(f"{100 * difference:+.2f}" for difference in differences)
        said = f"{half:.2%} with half generated ({each_seed}): {SAID[verdict(differences)]}"
        print(f"{each:4} labels each: {alone:.2%} right of labelled images, {said}")
    plotting.attempt(out / "few_labels.png", lambda: draw(labels, right, shown, out / "few_labels.png"))
    print(f"The picture is in {out / 'few_labels.png'}")


if __name__ == "__main__":
    run_program(main)
