"""What a trained GAN is good for: walks between images, repairs, and features for other tasks.

    python examples/explore_run.py runs/dcgan

takes both networks of a finished run of any example, and images like those they learned from. In about a minute on two
cores it writes into runs/dcgan/explored:

  walk.png, walk.gif   From a noise vector a to another one, b, at an angle of ω, on the arc between them, since G knows
                       no noise that is much shorter: z(t) = [sin((1 − t) ω) a + sin(t ω) b] / sin ω (White, 2016)
  inpainting.png       Images with a hole; below, the hole filled; below, the truth. The filling is from the image G(z)
                       that fits the visible pixels (m = 1) of x and that D takes for real (Yeh et al., 2017). The
                       networks stay as they are; gradient descent, through D and G, is on the noise:
                       L(z) = Σ m (G(z) − x)² / Σ m + λ softplus(−D(G(z)))
  features.png         What D's last hidden layer says of labelled images: its two principal components. D has
                       learned without labels (Radford et al., 2016, section 5), but in a run of --conditional.

and prints how well a linear classifier and k-means tell the labels from these features, from those of a D that has
learned nothing, and from raw pixels.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import trange

from tinygan import GAN, Sequential, losses, models, optim, plotting
from tinygan.data import ImageData, batches, digits, load, steps_per_epoch
from tinygan.errors import DataError
from tinygan.layers import Dense, set_labels
from tinygan.runs.commandline import output_folder, run_program
from tinygan.runs.flags import path, path_text
from tinygan.runs.record import CHECKPOINT
from tinygan.runs.trained import Trained, load_trained
from tinygan.runs.training import train

USUAL = Path("runs/dcgan")
LAMBDA = 0.003  # what D's opinion of a repair weighs, beside the error in the visible pixels
GUESSES, STEPS = 2000, 300  # noise vectors from which the start of a repair is chosen; steps of gradient descent
LABELLED = 4000  # images whose features are looked at: the first half is learned from, the second judged


def outputs(layers, x: np.ndarray) -> np.ndarray:
    """What the layers make of x one after the other, a few hundred samples at a time."""
    pieces = np.split(x, range(500, len(x), 500))
    for layer in layers:
        pieces = [layer(piece) for piece in pieces]
    return np.concatenate(pieces)


# ---- walks ---------------------------------------------------------------------------------------------------------


def between(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """The noise (N, noise_dim) at t in [0, 1] on the arc from each row of a to that of b."""
    cos = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    w = np.arccos(np.clip(cos, -0.999, 0.999))[:, None]
    return (np.sin((1.0 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


def made_of(run: Trained, z: np.ndarray) -> np.ndarray:
    """G(z), one row after the other of another class where the run knows classes."""
    return run.sample(z=z, labels=None if run.shares is None else np.arange(len(z)) % len(run.shares))


def draw_walks(run: Trained, out: Path) -> None:
    shades = {"low": run.low, "high": run.high}
    a, b = np.split(run.noise(16), 2)  # eight walks, a row each
    steps = [made_of(run, between(a, b, t)) for t in np.linspace(0.0, 1.0, 12).tolist()]  # 12 x (8, H, W, C)
    images = np.stack(steps, axis=1).reshape(-1, *run.image_shape)
    still, film = out / "walk.png", out / "walk.gif"
    plotting.attempt(still, lambda: plotting.save_png(still, plotting.grid(images, columns=12, **shades)))

    stations = np.split(run.noise(4 * 25, seed=1), 4)  # of 25 round trips
    frames = []
    for start, end in zip(stations, stations[1:] + stations[:1], strict=True):
        for t in np.linspace(0.0, 1.0, 16, endpoint=False).tolist():
            frames.append(plotting.grid(made_of(run, between(start, end, t)), **shades))
    plotting.attempt(film, lambda: save_walk(film, frames))


def save_walk(path: Path, frames: list[np.ndarray]) -> None:
    files = [BytesIO(plotting.png(frame)) for frame in frames]
    plotting.save_film(path, files, seconds=0.1, hold=0.1)


# ---- filling in missing parts ----------------------------------------------------------------------------------------


def fill_in(
    run: Trained,
    x: np.ndarray,
    m: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    guesses: int = GUESSES,
    steps: int = STEPS,
) -> np.ndarray:
    """Return x (N, H, W, C) with other pixels where m (H, W, 1) is 0: those that G finds likely beside the rest, and of
    these classes (N,) if the run knows any."""
    G, D, n = run.generator, run.discriminator, len(x)
    z = run.noise(max(guesses, 0 if run.shares is None else len(run.shares)), seed=2)
    drawn = made_of(run, z)
    start = []
    for k, image in enumerate(x):
        own = slice(None) if labels is None else slice(int(labels[k]), None, len(run.shares))  # see made_of
        start.append(z[own][np.argmin((m * (drawn[own] - image) ** 2).sum(axis=(1, 2, 3)))])
    for network in (G, D):
        set_labels(network, labels)
    # A dense layer makes its weights of the unit matrix: so z becomes what an optimiser learns
    codes = Sequential(Dense(n, run.noise_dim, bias=False, init=lambda shape, **_: np.array(start), dtype=x.dtype))
    unit, adam = np.eye(n, dtype=x.dtype), optim.Adam(codes, lr=0.03, beta1=0.9)
    visible = float(m.sum()) * x.shape[3]
    for _ in trange(steps, desc="filling in", unit=" steps", leave=False):
        fake, made = G.apply(codes.forward(unit), False)
        logits, judged = D.apply(fake, False)
        _, dlogits = losses.NonSaturating().generator(logits)
        dfake = D.input_gradient(judged, dlogits * (LAMBDA * n))  # times n: that loss is a mean, L is of one image
        dfake = dfake + (2.0 / visible) * m * (fake - x)
        codes.zero_grad()
        codes.backward(G.input_gradient(made, dfake))
        adam.step()
    return m * x + (1.0 - m) * G(codes(unit))


def draw_repairs(run: Trained, images: ImageData, out: Path, **effort: int) -> None:
    shades, (h, w, _) = {"low": run.low, "high": run.high}, run.image_shape
    rows = np.linspace(0, len(images) - 1, 12).astype(int)
    x, labels = images.batch(rows, **shades), None if run.shares is None else images.labels[rows]
    m = np.ones((h, w, 1), dtype=x.dtype)
    m[h * 3 // 10 : h * 7 // 10, w * 3 // 10 : w * 7 // 10] = 0.0
    filled, masked = fill_in(run, x, m, labels, **effort), m * x + (1.0 - m) * (run.low + run.high) / 2
    picture, path = np.concatenate([masked, filled, x]), out / "inpainting.png"
    plotting.attempt(path, lambda: plotting.save_png(path, plotting.grid(picture, columns=len(x), **shades)))
    mean = images.batch(np.arange(min(1000, len(images))), **shades).mean(axis=0)
    off = [np.abs(y - x)[:, m[..., 0] == 0.0].mean() / (run.high - run.low) for y in (filled, mean)]
    print("pixels in holes are off by {:.0%} of white, and by {:.0%} if the mean image fills them".format(*off))


# ---- features --------------------------------------------------------------------------------------------------------


def untrained(D: Sequential) -> Sequential:
    """A copy of D as before training: weights normal with variance 2 / fan_in; no shifts, no scales."""
    new, rng = D.copy(), np.random.default_rng(3)
    for key, p in {**new.params, **new.buffers}.items():
        if key.endswith("W"):
            p[...] = rng.standard_normal(p.shape) * (2.0 * p.shape[-1] / p.size) ** 0.5
        else:
            p[...] = key.endswith(("gamma", "running_var"))
    return new


def linear_accuracy(f: np.ndarray, labels: np.ndarray, *, epochs: int = 30) -> float:
    """The part of the second half of (f, labels) that a linear classifier names rightly, having learned the first."""
    half, loss = len(f) // 2, losses.SoftmaxCrossEntropy()
    network = Sequential(Dense(f.shape[1], int(labels.max()) + 1, dtype=f.dtype))
    adam, order = optim.Adam(network, lr=1e-3, beta1=0.9), batches(half, 50, seed=0)
    for _ in range(epochs * steps_per_epoch(half, 50)):
        rows = next(order)
        logits, taken = network.apply(f[rows], True)
        network.store_gradients(taken, loss(logits, labels[rows])[1], add=False)
        adam.step()
    return float((network(f[half:]).argmax(axis=1) == labels[half:]).mean())


def principal(f: np.ndarray, k: int) -> np.ndarray:
    """The k coordinates (N, k) in which the rows of f vary most, from the eigenvectors of f fᵀ, which is only N x N."""
    f = f - f.mean(axis=0)
    values, vectors = np.linalg.eigh(f @ f.T)
    return vectors[:, : -k - 1 : -1] * np.sqrt(values[: -k - 1 : -1].clip(0))


def cluster_accuracy(f: np.ndarray, labels: np.ndarray, *, rounds: int = 50) -> float:
    """The part of images that have the commonest label of their cluster; k-means makes two clusters for each label."""
    centres = f[: 2 * (int(labels.max()) + 1)]
    for _ in range(rounds):
        nearest = ((f[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)  # (N,)
        centres = np.stack([f[nearest == j].mean(axis=0) if (nearest == j).any() else c for j, c in enumerate(centres)])
    return sum(np.bincount(labels[nearest == j]).max(initial=0) for j in range(len(centres))) / len(f)


def draw_features(run: Trained, images: ImageData, out: Path, *, labelled: int = LABELLED) -> None:
    rows = np.random.default_rng(4).permutation(len(images))[:labelled]
    x, labels, half = images.batch(rows, low=run.low, high=run.high), images.labels[rows], len(rows) // 2
    one = None if run.shares is None else np.zeros(1, int)
    set_labels(run.discriminator, one)  # the same class for all: it tells nothing of them
    views = {
        "raw pixels": x.reshape(len(x), -1),
        "D before training": outputs(untrained(run.discriminator).layers[:-1], x),
        "D after training": outputs(run.discriminator.layers[:-1], x),
    }
    clouds = {}
    for name, f in views.items():
        f = (f - f[:half].mean(axis=0)) / (f[:half].std(axis=0) + 1e-3)
        points = principal(f[:half], 30)
        line, means = linear_accuracy(f, labels), cluster_accuracy(points, labels[:half])
        print(f"{name + ':':<20}linear classifier {line:.1%}, k-means {means:.1%}")
        clouds[f"{name}: {line:.1%}"] = points[:, :2]
    path = out / "features.png"
    plotting.attempt(path, lambda: draw_clouds(path, clouds, labels[:half]))


def draw_clouds(path: Path, clouds: dict[str, np.ndarray], labels: np.ndarray) -> None:
    """Points (N, 2) in the colours of their labels, beside each other with their titles."""
    with plotting.figure(path, size=(15, 5), dpi=80) as figure:
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
    draw_repairs(run, images, out, **({"guesses": 100, "steps": 20} if args.quick else {}))
    if images.labels is None or len(images) < 200:
        print("there are too few labelled images to judge features with")
    else:
        draw_features(run, images, out, labelled=400 if args.quick else LABELLED)
    print(f"Look at {out}.")


if __name__ == "__main__":
    run_program(main)
