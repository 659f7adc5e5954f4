"""The flags that all examples share, and how their programs begin and end.

An example states its recipe as default values and leaves the rest to :func:`launch`:

    def main(flags):
        images = load(flags.data, **data_options(flags))
        generator, discriminator = ...  # made for images.image_shape, with flags.noise_dim, flags.width and flags.seed
        gan = GAN(generator, discriminator, **gan_options(flags, generator, discriminator, images)).to(flags.backend)
        describe(images, gan)
        return train(gan, images, **training_options(flags))

    if __name__ == "__main__":
        launch(main, __doc__, Recipe(name="my_gan", epochs=10, lr=5e-4))
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import PRECISIONS, best_backend, device_of, get_backend, set_precision
from .data import ImageData, steps_per_epoch
from .errors import TinyGANError
from .flags import (
    LOSSES,
    ONCE,
    OPTIMIZERS,
    PENALTIES,
    SCHEDULES,
    colour,
    count,
    fraction,
    label,
    loss_of,
    multiple,
    optimizer_of,
    penalties_of,
    positive,
    seed,
    weight,
)
from .gan import GAN
from .losses import Labelled
from .mpi import first_speaks, world
from .network import Sequential
from .parallel import ALONE, Group
from .runs import CHECKPOINT, read_checkpoint

EPILOG = """\
what it writes into the output folder:
  samples.png              a grid of samples from fixed noise; on the way there samples/step_000500.png, ...
  film.gif                 these grids in a row
  losses.png, losses.csv   the loss curves, and both losses of every step
  config.json              all flags, the networks, the versions
  checkpoint.safetensors   all that is needed to go on

interruptions:
  Ctrl-C finishes the step at hand and writes a checkpoint. With --resume a run goes on from its last checkpoint, to the
  very bytes of one that was never interrupted. Flags that are not given again keep their values; --lr, --d-lr,
  --lr-schedule, --clip-norm, --clip-value, the length, the intervals, the backend and its precision may be given anew.
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The name of an example and the default values of its flags, named as the flags are.

    Give one of ``epochs`` and ``steps``. Two things have no flag: ``low`` is the value of black in G's images, -1 with
    tanh and 0 with a sigmoid, and ``size_unit`` what the networks want ``size`` to be a multiple of.
    """

    name: str
    lr: float
    epochs: int | None = None
    steps: int | None = None
    noise_dim: int = 100
    width: int = 64
    loss: str = "nonsaturating"
    real_label: float = 1.0
    penalty: str = "none"
    gamma: float = 10.0
    gp_weight: float = 10.0
    gp_target: float = 1.0
    penalty_every: int = 1
    weight_clip: float | None = None
    batch_size: int = 128
    d_steps: int = 1
    optimizer: str = "adam"
    d_lr: float | None = None
    lr_schedule: str = "constant"
    beta1: float = 0.5
    beta2: float = 0.999
    clip_norm: float | None = None
    clip_value: float | None = None
    average: float = 0.999
    seed: int = 0
    data: str = "auto"
    low: float = -1.0
    size: int | None = None
    size_unit: int = 1
    channels: int | None = None
    fit: str = "crop"
    background: int = 255
    cache: str | None = None
    backend: str = "numpy"
    precision: str = "fp32"
    sample_every: int = 100
    checkpoint_every: int = 500

    @property
    def out(self) -> Path:
        """The output folder."""
        return Path("runs", self.name)


def make_parser(doc: str, recipe: Recipe, models: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of an example whose docstring introduces its help; ``models`` names its recipes, if several."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc.strip(), epilog=EPILOG, formatter_class=layout, allow_abbrev=False)

    def add(flag: str, kind: Callable | list, metavar: str | None, text: str, *, none: str = "none") -> None:
        """Add a flag of the present group: its kind is a conversion, or the list of its values."""
        default = getattr(recipe, flag.removeprefix("--").replace("-", "_"))
        values = {"choices": kind, "type": type(kind[0])} if isinstance(kind, list) else {"type": kind}
        shown = none if default is None else default
        group.add_argument(flag, default=default, metavar=metavar, help=f"{text} ({shown})", **values)

    group = parser.add_argument_group("how long")
    length = group.add_mutually_exclusive_group()
    for flag, text in (("epochs", "visits to every image"), ("steps", "or steps, each of which trains D and G once")):
        own = getattr(recipe, flag)
        length.add_argument(f"--{flag}", type=count, metavar="N", help=f"{text} ({own})" if own else text)

    group = parser.add_argument_group("who plays, and for what")
    if models:
        text = f"the networks; each has defaults of its own, which --model NAME --help shows ({recipe.name})"
        group.add_argument("--model", choices=models, default=recipe.name, help=text)
    add("--noise-dim", count, "N", "length of z, drawn from normal(0, 1)")
    add("--width", count, "N", "channels of D's first convolution, or units of G's first layer where D has none")
    add("--loss", list(LOSSES), None, "what the players minimise")
    add("--real-label", label, "X", "what D shall say of real images, in (0, 1]; 0.9 is label smoothing")

    group = parser.add_argument_group("what keeps D from growing steep")
    add("--penalty", list(PENALTIES), None, "on D's input gradient at real images (r1), fakes (r2), or between (gp)")
    add("--gamma", weight, "X", "weight of r1 and r2, each gamma / 2 times the squared norm")
    add("--gp-weight", weight, "X", "weight of gp, times the squared distance of the norm from its target")
    add("--gp-target", weight, "X", "that target")
    add("--penalty-every", count, "N", "steps from one penalty to the next, which is as many times as strong")
    add("--weight-clip", positive, "X", "limit of D's parameters after each of its steps, up and down")

    group = parser.add_argument_group("how they learn")
    add("--batch-size", count, "N", "real images for each step of D")
    add("--d-steps", count, "N", "steps of D for one of G")
    add("--optimizer", list(OPTIMIZERS), None, "another comes with its own --lr, --d-lr, --beta1 and --beta2")
    add("--lr", positive, "X", "learning rate of G, and of D where --d-lr does not say otherwise")
    add("--d-lr", positive, "X", "learning rate of D, if it is another", none="--lr")
    add("--lr-schedule", list(SCHEDULES), None, "how both go on: linear and cosine fall to 0 at the end")
    add("--beta1", fraction, "X", "memory of the momentum of adam and sgd, in [0, 1)")
    add("--beta2", fraction, "X", "memory of adam and rmsprop for the sizes of gradients, in [0, 1)")
    add("--clip-norm", positive, "X", "length beyond which a network's gradient is scaled down")
    add("--clip-value", positive, "X", "limit of every entry of a gradient, up and down")
    add("--average", fraction, "X", "part that the moving average of G's weights keeps at each step, 0 for no average")
    add("--seed", seed, "N", "of the weights, the noise and the order of the images")

    group = parser.add_argument_group("on what, and where")
    text = (
        "auto (mnist if it can be had, else digits), mnist, fashion, digits, shapes, or a path of yours: a folder of "
    )
    add("--data", str, "WHAT", text + "pictures, an .npy or .npz file, IDX files")
    text = "height and width to bring all images to"
    text += f", a multiple of {recipe.size_unit}" if recipe.size_unit > 1 else ""
    add("--size", multiple(recipe.size_unit), "N", text, none="as they are")
    add("--channels", [1, 3], None, "make all images grey, or give them colours", none="as they are")
    add("--fit", ["crop", "letterbox"], None, "to a new shape, cut the edges off or add some")
    add("--background", colour, "GREY|R,G,B", "of such edges, and behind transparent pictures; 0 to 255")
    group.add_argument("--mirror", action="store_true", help="add the mirror image of every image")
    add("--cache", str, "FOLDER", "for fetched files and decoded pictures", none="the user's cache folder")
    add("--backend", ["numpy", "cupy", "auto"], None, "the CPU, an NVIDIA GPU, or the GPU if one works")
    add("--precision", list(PRECISIONS), None, "of matrix products on a GPU: exact as float32, or coarser and fast")
    add("--out", Path, "FOLDER", "output folder")
    add("--sample-every", count, "N", "steps from one picture to the next")
    add("--checkpoint-every", count, "N", "steps from one checkpoint to the next")
    again = group.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the output folder")
    return parser


def parse(doc: str, *recipes: Recipe, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags; those that are not given are the recipe's or, with --resume, the interrupted run's.

    Of several recipes the first one holds, unless --model names another.

    Raises
    ------
    SystemExit
        A flag is unknown or its value has no meaning; argparse has said so.
    CheckpointError
        There is nothing to resume, or it is damaged.
    """
    names = [recipe.name for recipe in recipes] if len(recipes) > 1 else []
    recipe = _named(recipes, argv) if names else recipes[0]
    parser = make_parser(doc, recipe, names)
    flags = parser.parse_args(argv)
    if flags.optimizer != recipe.optimizer:
        parser.set_defaults(**OPTIMIZERS[flags.optimizer])
        flags = parser.parse_args(argv)
    if flags.resume:
        _, about = read_checkpoint(flags.out / CHECKPOINT)
        kept = {key: value for key, value in {**ONCE, **about["settings"]}.items() if hasattr(flags, key)}
        if flags.epochs or flags.steps:
            kept = {key: value for key, value in kept.items() if key not in ("epochs", "steps")}
        parser.set_defaults(**kept)
        flags = parser.parse_args(argv)
    if not (flags.epochs or flags.steps):
        flags.epochs, flags.steps = recipe.epochs, recipe.steps
    if flags.real_label != 1.0 and not issubclass(LOSSES[flags.loss], Labelled):
        parser.error(f"argument --real-label: --loss {flags.loss} has no labels; give --real-label 1 or another --loss")
    strength = {"none": 0.0, "gp": flags.gp_weight}.get(flags.penalty, flags.gamma)
    if flags.loss == "wasserstein" and strength == 0.0 and flags.weight_clip is None:
        parser.error(
            "argument --loss: the wasserstein loss falls for ever unless D's slope is bounded; give --penalty gp, with "
            "a weight that is not 0, or --weight-clip 0.01 as in the paper"
        )
    if flags.backend == "auto":
        taken, said = best_backend()
        print(said, file=sys.stderr)
        flags.backend = taken.name
    flags.low = recipe.low
    return flags


def _named(recipes: Sequence[Recipe], argv: Sequence[str] | None) -> Recipe:
    """The recipe that --model names, if there is one; if not, the parser will say so."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="?")
    name = parser.parse_known_args(argv)[0].model
    return next((recipe for recipe in recipes if recipe.name == name), recipes[0])


def data_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.data.load` that the flags decide."""
    return {key: getattr(flags, key) for key in ("size", "channels", "fit", "background", "mirror", "cache")}


def gan_options(
    flags: argparse.Namespace, generator: Sequential, discriminator: Sequential, images: ImageData
) -> dict[str, Any]:
    """Return those keyword arguments of :class:`tinygan.GAN` that the flags decide, for training on ``images``."""
    steps = flags.steps or flags.epochs * steps_per_epoch(len(images), flags.batch_size * flags.d_steps)
    return {
        "noise_dim": flags.noise_dim,
        "loss": loss_of(flags),
        "g_optimizer": optimizer_of(flags, generator, flags.lr, steps),
        "d_optimizer": optimizer_of(flags, discriminator, flags.d_lr or flags.lr, steps * flags.d_steps),
        "d_steps": flags.d_steps,
        "penalties": penalties_of(flags),
        "weight_clip": flags.weight_clip,
        "average": flags.average,
        "seed": flags.seed,
    }


def training_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.training.train` that the flags decide."""
    where = ["out", "resume", "overwrite"]  # and how it was started: nothing that belongs to the run
    passed = [*where, "epochs", "steps", "batch_size", "seed", "low", "sample_every", "checkpoint_every"]
    settings = {key: value for key, value in vars(flags).items() if key not in where}
    return {**{key: getattr(flags, key) for key in passed}, "settings": settings}


def describe(images: ImageData, gan: GAN) -> None:
    """Print what is learned from, what computes, and the two networks layer by layer."""
    tables = gan.generator.summary(), gan.discriminator.summary(images.image_shape)
    where = device_of(gan.generator.theta) + (f", in {n} processes" if (n := world().size) > 1 else "")
    print("{}\non {}\n\nG\n{}\n\nD\n{}\n".format(images.description, where, *tables))


def launch(
    main: Callable[[argparse.Namespace], Path | None], doc: str, *recipes: Recipe, argv: Sequence[str] | None = None
) -> None:
    """Parse the command line, call ``main(flags)``, and say what lies in the folder that it returns.

    Several recipes are several models of one example: ``--model`` takes their names, and ``flags.model`` is the one
    that was taken. Whatever is wrong comes out as one line, and an exit code.

    The code is 2 for a bad command line, 1 for any other error that tinygan or the operating system reports, and 130
    after Ctrl-C. Of several processes that mpiexec started (:mod:`tinygan.mpi`) the first speaks for all.
    """
    group = ALONE
    try:
        group = world()
        with first_speaks(group):
            flags = parse(doc, *recipes, argv=argv)
            set_precision(flags.precision, get_backend(flags.backend))  # refused now, not after the data is read
            folder = main(flags)
            if folder is not None:
                print(f"Look at {folder / 'samples.png'}, {folder / 'film.gif'} and {folder / 'losses.png'}.")
    except (TinyGANError, OSError) as error:
        _end(group, f"error: {error}", 1)
    except MemoryError as error:
        _end(group, f"error: not enough memory ({error}). Use a smaller --width, --size or --batch-size.", 1)
    except KeyboardInterrupt:
        _end(group, "interrupted", 130)


def _end(group: Group, message: str, code: int) -> None:
    group.end(lambda: print(message, file=sys.stderr))
    sys.exit(code)
