"""Does a GAN find every mode? The benchmark of mode collapse: a ring, a grid, and three digits in one image.

    python examples/mode_coverage.py --data ring                       # 10 seeds
    python examples/mode_coverage.py --data grid
    python examples/mode_coverage.py --ablation --seeds 3              # what each part of the objective does
    python examples/mode_coverage.py --data stacked --digits FOLDER_WITH_MNIST --seeds 1

The data are endless draws from K modes of equal weight:

    ring       8 normals on a circle of radius 1, σ = 0.01
    grid       25 normals at {−4, −2, 0, 2, 4}², σ = 0.05
    stacked    three digits as the colours of one image: 1,000 modes; a classifier names the three digits of a sample

Prints, beside what papers report, the mean over all seeds ± its standard error of

    modes         with at least one sample of high quality: within 3 σ of the centre (98.9 % of real points lie there);
                  of images there is no such measure, and each counts for the mode that it is named as
    high quality  the part of the samples (2,500 points, 26,000 images) that are
    spread        how wide a mode is: the standard deviation of its high-quality samples over σ (0.97 for real points)
    KL            Σ_k p_k log(K p_k), p_k being the part of the samples that lie nearest to mode k, or are named k
    all modes     how many runs have all of them
    collapsed     how many runs end with fewer than half of them

and draws the samples. A run takes 2 minutes of one core for the ring, 4 for the grid and 35 for the digits; each
seed is a process of its own. Runs that have ended are recorded in --out, others saved every minute; the same command
goes on from there.

The objective is R3GAN's (Huang et al., 2024), with logits r = D(x) and f = D(G(z)) in pairs:

    D descends  mean softplus(−(r − f)) + γ/2 mean ‖∇D(x)‖² + γ/2 mean ‖∇D(G(z))‖²
    G descends  mean softplus(−(f − r))

What makes modes as narrow as these: hidden layers of G that saturate (tanh), so that most z fall where G is flat, and
few on the steep steps between; a D that is smooth (SiLU); learning rates that fall to 0; an average of G's weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # what lies beside this file, python -I would not look for

from many_runs import count, play_all
from mnist_classifier import EPOCHS, classifier, fit
from mode_coverage_report import draw, keep, panel, table

from tinygan import GAN, Sequential, checkpoints, models, plotting, to_backend, to_numpy
from tinygan.backends import get_ops
from tinygan.backends.cuda import stepper
from tinygan.data import ImageData, Stacked, load
from tinygan.data import digits as drawn_digits
from tinygan.data.stacked import DIGITS, MODES, channels, modes
from tinygan.errors import DataError, NonFiniteError
from tinygan.layers import Dense, SiLU, Tanh
from tinygan.layers.initializers import glorot_uniform, he_normal
from tinygan.losses import NonSaturating, Relativistic
from tinygan.optim import Adam
from tinygan.parallel.console import say
from tinygan.penalties import R1, R2
from tinygan.runs import require_finite_state, state
from tinygan.runs.commandline import output_folder, run_program
from tinygan.runs.flags import path, path_text
from tinygan.runs.schedules import cosine
from tinygan.runs.writer import Writer

STEPS = {"ring": 30_000, "grid": 60_000, "stacked": 8_000}  # adversarial steps of a run
SAVE_EVERY = 60.0  # seconds
LOSSES = {"non-saturating": NonSaturating(), "relativistic": Relativistic()}
PENALTIES = {"none": [], "r1": [R1], "r1+r2": [R1, R2]}


class Points:
    """Normals of one width around centres (K, 2). The networks see them divided by ``scale``, within about ±1."""

    noise_dim, batch, samples, kept = 2, 256, 2500, 2500
    g_lr, d_lr, gamma = 4e-3, 4e-3, (1.0, 1e-3)

    def __init__(self, centres: np.ndarray, sigma: float) -> None:
        self.centres, self.sigma, self.scale, self.modes = centres, sigma, float(abs(centres).max()), len(centres)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n points (n, 2): a mode is chosen, then a normal step away from its centre."""
        points = self.centres[rng.integers(0, self.modes, n)] + self.sigma * rng.standard_normal((n, 2))
        return (points / self.scale).astype(np.float32)

    def networks(self, rng: np.random.Generator) -> tuple[Sequential, Sequential]:
        def dense(sizes, activation, init):
            layers = [x for a, b in pairwise(sizes) for x in (Dense(a, b, init=init, rng=rng), activation())]
            return Sequential(*layers[:-1])

        width = 64
        return (
            dense((self.noise_dim, width, width, width, 2), Tanh, glorot_uniform),
            dense((2, width, width, width, 1), SiLU, he_normal),
        )

    def measure(self, samples: np.ndarray) -> dict[str, float]:
        """Modes, quality, spread and KL of samples (N, 2), as the networks give them."""
        distance = np.linalg.norm(samples[:, None] * self.scale - self.centres, axis=2)  # (N, K)
        nearest, off = distance.argmin(axis=1), distance.min(axis=1) / self.sigma
        near = off < 3
        return {
            "modes": np.unique(nearest[near]).size,
            "quality": 100 * float(near.mean()),
            "spread": float(np.sqrt((off[near] ** 2).sum() / max(1, 2 * near.sum()))),  # two coordinates
            "kl": reverse_kl(nearest, self.modes),
        }


class StackedDigits:
    """Three digits in each image, and a classifier that names them, kept in ``folder`` once it has learned."""

    modes, noise_dim, batch, samples, kept = MODES, 100, 64, 26_000, 64
    g_lr, d_lr, gamma = 1e-3, 1e-3, (1.0, 0.1)

    def __init__(self, digits: str, model: str, width: int, folder: Path, quick: bool) -> None:
        data = single_digits(digits, quick)
        if quick:
            data = ImageData(data.images[:1280], data.labels[:1280], data.name, data.description)
            self.samples = 500
        self.stacked, self.model, self.width = Stacked(data), model, width
        self.draw = self.stacked.draw
        self.judge = classifier(np.random.default_rng(0))
        file = folder / f"judge_{data.name}{len(data)}_{checksum(data)}.safetensors"
        if file.exists():
            self.judge.load(file)
        else:
            for _ in fit(self.judge, data, epochs=1 if quick else EPOCHS, seed=0):
                pass
            self.judge.save(file)

    def networks(self, rng: np.random.Generator) -> tuple[Sequential, Sequential]:
        sizes = {"noise_dim": self.noise_dim, "width": self.width}
        if self.model == "resnet":
            some = self.draw(1000, np.random.default_rng(0))
            return models.resnet(self.stacked.image_shape, mean=float(some.mean()), rng=rng, **sizes)
        return models.dcgan(self.stacked.image_shape, rng=rng, **sizes)

    def measure(self, samples: np.ndarray) -> dict[str, float]:
        """Modes and KL of images (N, 28, 28, 3)."""
        digits = channels(samples)  # (3 N, 28, 28, 1)
        s = np.concatenate([self.judge(digits[i : i + 500]) for i in range(0, len(digits), 500)])
        named = modes(s.argmax(axis=1).reshape(-1, 3))
        return {"modes": np.unique(named).size, "kl": reverse_kl(named, self.modes)}


def single_digits(name: str, quick: bool) -> ImageData:
    data = drawn_digits(1280) if quick and name == "digits" else load(name, size=28, channels=1)
    classes = 0 if data.labels is None else np.unique(data.labels).size
    if classes != DIGITS or data.labels.max() >= DIGITS:  # fewer would leave modes that no G can find
        raise DataError(f"{data.name}: stacking needs digits with labels 0 to 9, found {classes} kinds; see --digits.")
    return data


def checksum(data: ImageData) -> str:
    """What tells image sets apart, whatever their names: "auto" is not the same everywhere, and folders change."""
    return f"{zlib.crc32(np.ascontiguousarray(data.images)):08x}"


def reverse_kl(mode: np.ndarray, k: int) -> float:
    """KL(p ‖ uniform) in nats, where p_k is the part of ``mode`` (N,) that is k."""
    p = np.bincount(mode, minlength=k) / len(mode)
    p = p[p > 0]
    return float((p * np.log(p * k)).sum())


ANGLES, LINE = 2 * np.pi * np.arange(8) / 8, np.arange(-4.0, 5.0, 2.0)
POINTS = {
    "ring": Points(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.01),
    "grid": Points(np.stack(np.meshgrid(LINE, LINE), axis=-1).reshape(-1, 2), 0.05),
}


# ---- one run, in a process of its own --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What fixes a run."""

    data: str
    loss: str
    penalty: str
    steps: int
    seed: int
    digits: str = "auto"
    width: int = 32
    backend: str = "numpy"
    quick: bool = False
    checksum: str = ""  # of the digits
    model: str = "dcgan"  # of the images

    @property
    def rates(self) -> dict[str, float | tuple[float, float]]:
        """What the data set decides, and a reader of the record must know."""
        kind = POINTS.get(self.data, StackedDigits)
        return {"g_lr": kind.g_lr, "d_lr": kind.d_lr, "gamma": kind.gamma}

    def path(self, out: Path, suffix: str) -> Path:
        """The file of this run, whose name has all that the run depends on."""
        rates = f"lr{self.rates['g_lr']:g}-{self.rates['d_lr']:g}", "gamma{:g}-{:g}".format(*self.rates["gamma"])
        backend = [] if self.backend == "numpy" else [self.backend]
        images = [f"{Path(self.digits).name}-{self.checksum}", self.width] if self.data == "stacked" else []
        images += [self.model] if images and self.model != "dcgan" else []
        quick = ["quick"] if self.quick else []
        kind = [self.data, self.loss, self.penalty, *rates, *images, *backend]
        parts = [*kind, self.steps, *quick, f"seed{self.seed}"]
        return out / ("_".join(map(str, parts)) + suffix)

    def task(self, out: Path) -> Points | StackedDigits:
        return POINTS.get(self.data) or StackedDigits(self.digits, self.model, self.width, out, self.quick)


def prepare(task: Points | StackedDigits, job: Job) -> GAN:
    first, last = task.gamma

    def gamma(t: int) -> float:
        """As even a fall as a ratio can have: coarse features of D first, then ever finer ones."""
        return first * (last / first) ** (t / job.steps)

    G, D = task.networks(np.random.default_rng(job.seed))
    gan = GAN(
        G,
        D,
        noise_dim=task.noise_dim,
        loss=LOSSES[job.loss],
        penalties=[penalty(gamma) for penalty in PENALTIES[job.penalty]],
        g_optimizer=Adam(G, cosine(task.g_lr, 0.0, job.steps), beta1=0.0, beta2=0.99),
        d_optimizer=Adam(D, cosine(task.d_lr, 0.0, job.steps), beta1=0.0, beta2=0.99),
        average=0.999,
        seed=job.seed,
    )
    return gan.to(job.backend)


def is_finite(gan: GAN) -> bool:
    """Whether a run is worth saving: what is not finite any more is not resumed either."""
    try:
        require_finite_state(gan)
    except NonFiniteError:
        return False
    return True


def play(job: Job, out: Path) -> None:
    """Train from where the run was last saved to its end; leave what was measured, and samples, in ``out``."""
    task = job.task(out)
    gan, saved = prepare(task, job), job.path(out, ".safetensors")
    rng = np.random.default_rng(np.random.SeedSequence(job.seed, spawn_key=(4,)))  # of the data
    take, seconds = stepper(gan), 0.0
    if checkpoints.exists(saved):
        arrays, about = checkpoints.read(saved)
        state.load_state(gan, arrays, about["gan"], source=str(saved))
        rng.bit_generator.state, seconds = about["data"], about["seconds"]
        count(gan.t)
    began = last = time.perf_counter()
    with np.errstate(all="ignore"):  # a run may end in numbers that are not finite; that is one of the results
        for step in range(gan.t + 1, job.steps + 1):
            take(to_backend(task.draw(task.batch, rng), job.backend))
            count(1)
            if (now := time.perf_counter()) - last > SAVE_EVERY and step < job.steps and is_finite(gan):
                arrays, about = state.state(gan)
                about = {"gan": about, "data": rng.bit_generator.state, "seconds": seconds + now - began}
                checkpoints.write(saved, arrays, about)
                last = now
        seconds += time.perf_counter() - began
        samples = to_numpy(gan.sample(task.samples))
        measured = task.measure(samples)
    record = {**asdict(job), **job.rates, **measured, "of": task.modes, "collapsed": measured["modes"] < task.modes / 2}
    record |= {"seconds": round(seconds, 1), "real": task.measure(task.draw(task.samples, rng))}
    keep(samples[: task.kept], record, job.path(out, ".npy"), job.path(out, ".json"))
    saved.unlink(missing_ok=True)


# ---- all of them -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what --quick makes smaller is so where it is not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["ring", "grid", "stacked"], help="(default: ring)")
    parser.add_argument("--loss", choices=LOSSES, help="(default: relativistic)")
    parser.add_argument("--penalty", choices=PENALTIES, help="on D's gradient (default: r1+r2)")
    parser.add_argument("--ablation", action="store_true", help="all losses with all penalties, on ring and grid")
    parser.add_argument("--seeds", type=int, help="how many runs, from seed 0 (default: 10)")
    parser.add_argument("--steps", type=int, help=f"adversarial steps of each (default: {STEPS})")
    parser.add_argument("--digits", type=path_text, default="auto", help="what is stacked, such as a folder with MNIST")
    parser.add_argument("--model", choices=["dcgan", "resnet"], default="dcgan", help="of the images (default: dcgan)")
    parser.add_argument("--width", type=int, help="channels of the images' networks (default: 32)")
    parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], default="numpy", help="cupy: a GPU")
    parser.add_argument("--out", type=path, default=Path("runs/mode_coverage"), help="output folder")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 20 steps, width 4, to see that everything works")
    args = parser.parse_args(arguments)
    for flag, usual in (("data", "ring"), ("loss", "relativistic"), ("penalty", "r1+r2")):
        if getattr(args, flag) is None:
            setattr(args, flag, usual)
        elif args.ablation:
            parser.error(f"--ablation goes through losses and penalties on ring and grid; leave --{flag} out")
    for flag, usual, quick in (("seeds", 10, 2), ("steps", None, 20), ("width", 32, 4)):
        if getattr(args, flag) is None:
            setattr(args, flag, quick if args.quick else usual)
        elif getattr(args, flag) < 1:
            parser.error("--seeds, --steps, --width: at least 1")
    return args


def planned(args: argparse.Namespace) -> list[Job]:
    """All runs that the command line asks for."""
    sets = list(POINTS) if args.ablation else [args.data]
    kinds = list(product(LOSSES, PENALTIES)) if args.ablation else [(args.loss, args.penalty)]
    backend = get_ops("auto").name if args.backend == "auto" else args.backend
    fixed = (args.digits, args.width, backend, args.quick)
    of_digits = checksum(single_digits(args.digits, args.quick)) if "stacked" in sets else ""
    return [
        Job(data, *kind, args.steps or STEPS[data], seed, *fixed, of_digits, args.model)
        for data, kind, seed in product(sets, kinds, range(args.seeds))
    ]


def main() -> None:
    args = parse()
    jobs = planned(args)
    with Writer(output_folder(args.out)) as writer:
        writer.hold()
        try:
            play_and_report(args, jobs)
        except KeyboardInterrupt:
            say("the same command goes on from what is saved", to="stderr")
            raise


def play_and_report(args: argparse.Namespace, jobs: list[Job]) -> None:
    if missing := [job for job in jobs if not job.path(args.out, ".json").exists()]:
        get_ops(missing[0].backend)  # refused here, in one line, if it cannot run
        missing[0].task(args.out)  # the classifier is made before several runs look for it
        play_all(play, [(job, args.out) for job in missing], steps=sum(job.steps for job in missing))
    records = {job: json.loads(job.path(args.out, ".json").read_text()) for job in jobs}
    for data in dict.fromkeys(job.data for job in jobs):
        print(table([records[job] for job in jobs if job.data == data]), end="\n\n")
    path = args.out / ("ablation.png" if args.ablation else f"{args.data}_{args.loss}_{args.penalty}.png")
    shown = [job for job in jobs if job.seed == 0] if args.ablation else jobs
    across = len(PENALTIES) if args.ablation else 5
    panels = [
        panel(np.load(job.path(args.out, ".npy")), POINTS.get(job.data), records[job], title)
        for job in shown
        for title in [f"{job.loss}, {job.penalty}" if args.ablation else f"seed {job.seed}"]
    ]
    if plotting.attempt(path, lambda: draw([panels[i : i + across] for i in range(0, len(panels), across)], path)):
        print(f"The picture is in {path}")


if __name__ == "__main__":
    run_program(main)
