"""What a trained GAN is good for: walks between images, repairs, directions, and features for other tasks.

    python examples/explore_run.py runs/dcgan

takes both networks of a finished run of any example, and images like those they learned from. In a minute or two on two
cores it writes into runs/dcgan/explored:

  walk.png, walk.gif   From one noise vector to another on the arc between them, since G knows no noise that is much
                       shorter than what it has learned from (White, 2016)
  inversion.png        Images that G has not seen; below, the nearest that it can make, found by gradient descent on the
                       noise through G
  inpainting.png       Images with a hole; below, the hole filled; below, the truth. The filling is from the image G(z)
                       that fits the visible pixels and that D takes for real (Yeh et al., 2017)
  directions.png       Ways in which one property of images grows: brightness, slant, and where images have labels, how
                       much D's features speak for each of them
  features.png         What D's hidden layers say of labelled images: two principal components. D has learned without
                       labels (Radford et al., 2016, section 5), but in a run of --conditional.

and prints how well a linear classifier, the nearest neighbour and k-means tell the labels from these features, from
those of a D that has learned nothing, and from raw pixels. All of it is in tinygan.latent and tinygan.features.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np

from tinygan import GAN, Sequential, features, latent, models, plotting
from tinygan.data import ImageData, digits, load
from tinygan.errors import DataError
from tinygan.layers import MinibatchStdDev, Pack
from tinygan.runs.commandline import output_folder, run_program
from tinygan.runs.flags import path, path_text
from tinygan.runs.record import CHECKPOINT
from tinygan.runs.trained import Trained, load_trained
from tinygan.runs.training import train

USUAL = Path("runs/dcgan")
GUESSES, STEPS = 2000, 300  # noise vectors from which starts are chosen; steps of gradient descent
LABELLED = 4000  # images whose features are looked at: the first half is learned from, the second judged
MEASURED = 3000  # generated images that a direction is found from
AMOUNTS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def shades(run: Trained) -> dict[str, float]:
    return {"low": run.low, "high": run.high}


def keep(path: Path, images: np.ndarray, columns: int, run: Trained) -> None:
    plotting.attempt(path, lambda: plotting.save_png(path, plotting.grid(images, columns=columns, **shades(run))))


# ---- walks ---------------------------------------------------------------------------------------------------------


def made_of(run: Trained, z: np.ndarray) -> np.ndarray:
    """G(z), one row after the other of another class where the run knows classes."""
    return run.sample(z=z, labels=None if run.shares is None else np.arange(len(z)) % len(run.shares))


def draw_walks(run: Trained, out: Path) -> None:
    walks = latent.walk(*np.split(run.noise(16), 2), 12)  # (12, 8, noise_dim): eight of them, a row each
    images = np.stack([made_of(run, z) for z in walks], axis=1).reshape(-1, *run.image_shape)
    keep(out / "walk.png", images, 12, run)

    stations = np.split(run.noise(4 * 25, seed=1), 4)  # of 25 round trips
    frames = []
    for start, end in zip(stations, stations[1:] + stations[:1], strict=True):
        for z in latent.walk(start, end, 17)[:-1]:
            frames.append(plotting.grid(made_of(run, z), **shades(run)))
    film = out / "walk.gif"
    plotting.attempt(film, lambda: save_walk(film, frames))


def save_walk(path: Path, frames: list[np.ndarray]) -> None:
    files = [BytesIO(plotting.png(frame)) for frame in frames]
    plotting.save_film(path, files, seconds=0.1, hold=0.1)


# ---- images back to noise --------------------------------------------------------------------------------------------


def labels_of(run: Trained, images: ImageData, rows: np.ndarray) -> np.ndarray | None:
    """The labels that networks are told: those of the images, if the run knows any."""
    return None if run.shares is None else images.labels[rows]


def draw_inversion(run: Trained, images: ImageData, out: Path, *, guesses: int = GUESSES, steps: int = STEPS) -> None:
    rows = np.unique(np.linspace(0, len(images) - 1, 24).astype(int))
    x, options = images.batch(rows, **shades(run)), {"labels": labels_of(run, images, rows), "steps": steps}
    found = latent.invert(run.generator, x, run.noise(guesses, seed=2), **options)
    halves = np.split(np.stack([x, found.images], axis=1), 2 if len(x) % 2 == 0 else 1)  # pairs of rows
    keep(out / "inversion.png", np.concatenate([h[:, k] for h in halves for k in (0, 1)]), len(halves[0]), run)
    if len(x) < 2:
        return
    part = latent.relative_error(x, found.images)
    print(f"images are found again up to {part:.1%} of the squared difference between two of them")


def draw_repairs(run: Trained, images: ImageData, out: Path, *, guesses: int = GUESSES, steps: int = STEPS) -> None:
    rows, (h, w, _) = np.linspace(0, len(images) - 1, 12).astype(int), run.image_shape
    x, options = images.batch(rows, **shades(run)), {"labels": labels_of(run, images, rows), "steps": steps}
    m = np.ones((h, w, 1), dtype=x.dtype)
    m[h * 3 // 10 : h * 7 // 10, w * 3 // 10 : w * 7 // 10] = 0.0
    options["discriminator"] = run.discriminator
    filled = latent.inpaint(run.generator, x, m, run.noise(guesses, seed=2), **options)
    masked = m * x + (1.0 - m) * (run.low + run.high) / 2
    keep(out / "inpainting.png", np.concatenate([masked, filled, x]), len(x), run)
    mean = images.batch(np.arange(min(1000, len(images))), **shades(run)).mean(axis=0)
    off = [np.abs(y - x)[:, m[..., 0] == 0.0].mean() / (run.high - run.low) for y in (filled, mean)]
    print("pixels in holes are off by {:.0%} of white, and by {:.0%} if the mean image fills them".format(*off))


# ---- directions ------------------------------------------------------------------------------------------------------


def slant(x: np.ndarray) -> np.ndarray:
    """How far each image (N, H, W, C) leans to the right, from its moments; the corner is taken for the background."""
    ink = np.abs(x - x[:, :1, :1]).sum(axis=3) + 1e-6  # (N, H, W)
    v, u = (a - (a * ink).sum(axis=(1, 2), keepdims=True) / ink.sum(axis=(1, 2), keepdims=True) for a in grid_of(x))
    return -(ink * u * v).sum(axis=(1, 2)) / (ink * v * v).sum(axis=(1, 2))


def grid_of(x: np.ndarray) -> np.ndarray:
    """The row and the column of each pixel, each (1, H, W)."""
    return np.mgrid[: x.shape[1], : x.shape[2]].astype(np.float64)[:, None]


def draw_directions(run: Trained, images: ImageData, out: Path, *, measured: int = MEASURED) -> None:
    z = run.noise(max(measured, run.noise_dim + 50), seed=5)
    made = run.sample(z=z, labels=None if run.shares is None else 0)
    properties = {"brightness": made.mean(axis=(1, 2, 3)), "slant": slant(made)}
    if run.image_shape[2] == 3:
        properties["warmth"] = (made[..., 0] - made[..., 2]).mean(axis=(1, 2))
    if run.shares is None and images.labels is not None and len(images) >= 200 and sees_one(run.discriminator):
        rows, seen = some_of(images, LABELLED // 2), features.HiddenFeatures(run.discriminator)
        probe = features.linear_probe(seen(images.batch(rows, **shades(run))), images.labels[rows])
        names = images.classes or range(len(probe.network.params["0.b"]))
        properties |= dict(zip(map(str, names), probe.logits(seen(made)).T, strict=False))
    ways = {name: latent.direction(z, values) for name, values in properties.items() if np.ptp(values) > 0.0}
    one = run.noise(1, seed=6)
    steps = np.concatenate([latent.along(one, d, amount) for d in ways.values() for amount in AMOUNTS])
    keep(out / "directions.png", run.sample(z=steps, labels=None if run.shares is None else 0), len(AMOUNTS), run)
    print(f"directions.png: a row each for {', '.join(ways)}; left less of it, right more")


# ---- features --------------------------------------------------------------------------------------------------------


def sees_one(D: Sequential) -> bool:
    """Whether D judges each image by itself: else there are no features of one."""
    return not any(isinstance(layer, Pack | MinibatchStdDev) for layer in D.layers)


def some_of(images: ImageData, n: int) -> np.ndarray:
    return np.random.default_rng(4).permutation(len(images))[:n]


def untrained(D: Sequential) -> Sequential:
    """A copy of D as before training: weights normal with variance 2 / fan_in; no shifts, no scales."""
    new, rng = D.copy(), np.random.default_rng(3)
    for key, p in {**new.params, **new.buffers}.items():
        if key.endswith("W"):
            p[...] = rng.standard_normal(p.shape) * (2.0 * p.shape[-1] / p.size) ** 0.5
        elif not key.endswith("u"):  # of SpectralNorm, which finds its own
            p[...] = key.endswith(("gamma", "running_var"))
    return new


def draw_features(run: Trained, images: ImageData, out: Path, *, labelled: int = LABELLED) -> None:
    rows = some_of(images, labelled)
    x, labels, half = images.batch(rows, **shades(run)), images.labels[rows], len(rows) // 2
    D, new, every = run.discriminator, untrained(run.discriminator), {"layers": "all", "pool": 4}
    views = {
        "raw pixels": x.reshape(len(x), -1),
        "D before training": features.HiddenFeatures(new)(x),
        "D after training": features.HiddenFeatures(D)(x),
        "all its layers": features.HiddenFeatures(D, **every)(x),
    }
    clouds, classes = {}, int(labels.max()) + 1
    for name, f in views.items():
        f = (f - f[:half].mean(axis=0)) / np.maximum(f[:half].std(axis=0), 1e-3)
        line = features.linear_probe(f[:half], labels[:half]).accuracy(f[half:], labels[half:])
        near = features.neighbour_accuracy(f[:half], labels[:half], f[half:], labels[half:])
        points = features.principal_axes(f[:half], min(30, f.shape[1], half - 1)).project(f[:half])
        means = features.cluster_accuracy(features.k_means(points, min(2 * classes, half)), labels[:half])
        print(f"{name + ':':<20}linear classifier {line:.1%}, nearest neighbour {near:.1%}, k-means {means:.1%}")
        clouds[f"{name}: {line:.1%}"] = points[:, :2]
    path = out / "features.png"
    plotting.attempt(path, lambda: draw_clouds(path, clouds, labels[:half]))


def draw_clouds(path: Path, clouds: dict[str, np.ndarray], labels: np.ndarray) -> None:
    """Points (N, 2) in the colours of their labels, beside each other with their titles."""
    with plotting.figure(path, size=(5 * len(clouds), 5), dpi=80) as figure:
        for ax, (title, points) in zip(figure.subplots(1, len(clouds)), clouds.items(), strict=True):
            dots = ax.scatter(*points.T, c=labels, s=4, cmap="tab10")
            ax.set(title=title, xticks=[], yticks=[])
        figure.legend(*dots.legend_elements(num=None), loc="outside right center", frameon=False)


def toy_run(data: str | None) -> Path:
    """A run of a few steps, to see that everything works."""
    folder, seen = Path("runs/explore_run"), load(data, size=28, channels=1) if data else digits(600)
    print(f"there is no run in {USUAL}: a toy is trained in {folder}, on {seen.description}")
    G, D = models.dcgan((28, 28, 1), noise_dim=8, width=4)
    settings = {"data": data or "digits"}
    return train(GAN(G, D, noise_dim=8), seen, out=folder, steps=40, overwrite=True, settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=path, help=f"folder of a run (default: {USUAL})")
    parser.add_argument("--data", type=path_text, help="images to look at (default: what the run learned from)")
    parser.add_argument("--out", type=path, help="output folder (default: explored, in the folder of the run)")
    parser.add_argument("--quick", action="store_true", help="less effort; if there is no run, a toy comes first")
    args = parser.parse_args()
    folder = args.run or USUAL
    if args.quick and args.run is None and not (USUAL / CHECKPOINT).exists():
        folder = toy_run(args.data)

    run = load_trained(folder)
    height, width, channels = run.image_shape
    data = args.data or run.settings.get("data")
    if data is None:
        raise DataError(f"{folder}: does not record what it learned from ({run.data}); say it: --data.")
    form = {key: run.settings[key] for key in ("fit", "background") if key in run.settings}
    images = load(data, split="test", size=(height, width), channels=channels, **form)
    if args.data is None and images.name != run.data:
        raise DataError(
            f"{folder}: learned from {run.data}, but {data!r} is {images.name} now; say which images: --data."
        )
    print(f"{folder} after {run.step:,} steps; {images.description}")
    out = output_folder(args.out or folder / "explored")
    draw_walks(run, out)
    if run.shares is not None and (images.labels is None or images.labels.max() >= len(run.shares)):
        raise DataError(f"{folder} knows {len(run.shares)} classes; give images with labels of them: --data.")
    effort = {"guesses": 100, "steps": 20} if args.quick else {}
    draw_inversion(run, images, out, **effort)
    draw_repairs(run, images, out, **effort)
    draw_directions(run, images, out, measured=200 if args.quick else MEASURED)
    if not sees_one(run.discriminator):
        print("D judges several images together: there are no features of one")
    elif images.labels is None or len(images) < 200:
        print("there are too few labelled images to judge features with")
    else:
        draw_features(run, images, out, labelled=400 if args.quick else LABELLED)
    print(f"Look at {out}.")


if __name__ == "__main__":
    run_program(main)
