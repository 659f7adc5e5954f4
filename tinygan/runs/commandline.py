"""The flags that all examples share, and how their programs begin and end.

An example states its recipe as default values and leaves the rest to :func:`launch`:

    def main(flags):
        images = load(flags.data, **data_options(flags))
        known = class_options(flags, images)  # the classes of the images, with --conditional
        generator, discriminator = models.mlp(images.image_shape, noise_dim=flags.noise_dim, rng=flags.seed, **known)
        gan = make_gan(flags, generator, discriminator, images)
        describe(images, gan)
        return train(gan, images, **training_options(flags, images))

    if __name__ == "__main__":
        launch(main, __doc__, Recipe(name="my_gan", epochs=10, lr=5e-4))
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..augment import before
from ..backends import best_backend, device_of, get_ops, set_precision
from ..data import ImageData, load, steps_per_epoch
from ..data.folder import MARK
from ..errors import ArgumentError, CheckpointError, DataError, TinyGANError
from ..gan import GAN
from ..losses import Labelled
from ..metrics import LEAST, Judge, digits
from ..models import ConditionalGAN
from ..network import Sequential
from ..parallel import ALONE, Group
from ..parallel.console import forgiving_streams, say
from ..parallel.mpi import first_speaks, world
from .feeding import images_of_each_class
from .flags import (
    LOSSES,
    OF_THIS_START,
    ONCE,
    OPTIMIZERS,
    augmentations_of,
    loss_of,
    optimizer_of,
    penalties_of,
)
from .recipe import Recipe, make_parser, recorded_flags
from .record import CHECKPOINT, read_checkpoint
from .stopping import Equilibrium
from .writer import require_free

JUDGED = 5000  # real images that samples are judged beside
DIGITS = ("mnist", "digits")  # names of data whose images the classifier of digits knows


def parse(doc: str | None, *recipes: Recipe, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags; those that are not given are the recipe's or, with --resume, the interrupted run's.

    Of several recipes the first one holds, unless --model names another.

    Raises
    ------
    SystemExit
        A flag is unknown or its value has no meaning; argparse has said so.
    CheckpointError
        There is nothing to resume, it is damaged, or what it records of a flag is nothing that the flag may be.
    """
    names = [recipe.name for recipe in recipes] if len(recipes) > 1 else []
    recipe = _named(recipes, argv) if names else recipes[0]
    parser = make_parser(doc, recipe, names)
    defaults = vars(parser.parse_args([]))
    nothing = argparse.Namespace(**dict.fromkeys(defaults))  # None, which no flag can be given as
    typed = {key: value for key, value in vars(parser.parse_args(argv, nothing)).items() if value is not None}

    defaults |= _of_optimizer(recipe, typed)
    if "resume" in typed:
        recorded = _of_run(typed.get("out", recipe.out), typed)
        defaults |= recorded_flags(make_parser(doc, recipe, names), *recorded)
    flags = argparse.Namespace(**{**defaults, **typed})
    if not (flags.epochs or flags.steps):
        flags.epochs, flags.steps = recipe.epochs, recipe.steps
    _require_sense(parser, flags)
    if flags.backend == "auto":
        ops, why = best_backend()
        say(why, to="stderr")
        flags.backend = ops.name
    flags.low = recipe.low
    return flags


def _named(recipes: Sequence[Recipe], argv: Sequence[str] | None) -> Recipe:
    """The recipe that --model names, if there is one; if not, the parser will say so."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="?")
    name = parser.parse_known_args(argv)[0].model
    return next((recipe for recipe in recipes if recipe.name == name), recipes[0])


def _of_optimizer(recipe: Recipe, typed: dict[str, Any]) -> dict[str, Any]:
    """The defaults that come with an optimiser other than the recipe's."""
    name = typed.get("optimizer", recipe.optimizer)
    return OPTIMIZERS[name] if name != recipe.optimizer else {}


def _of_run(folder: Path, typed: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """The flags of the run that shall go on, as far as they are not typed anew, and the file that records them."""
    _, about = read_checkpoint(folder / CHECKPOINT)
    left = typed.keys() | ({"epochs", "steps"} if {"epochs", "steps"} & typed.keys() else set())
    settings = {**ONCE, **about["settings"]}
    own = settings["augment_strength"]  # is in the state of D's layers, which are loaded
    if settings["augment"] != "none" and typed.get("augment_strength", own) != own:
        why = f"a run that goes on keeps its own --augment-strength, {own}, got {typed['augment_strength']}"
        raise CheckpointError(f"{folder / CHECKPOINT}: {why}. Leave the flag out, or begin a run of another --out.")
    own = settings["conditional"]
    if typed.get("conditional", own) != own:
        why = f"a run that goes on keeps its own --conditional, {own}, got {typed['conditional']}"
        raise CheckpointError(f"{folder / CHECKPOINT}: {why}. Leave the flag out, or begin a run of another --out.")
    return {key: value for key, value in settings.items() if key not in left}, folder / CHECKPOINT


def _require_sense(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    """Refuse flags that have no meaning together, as argparse refuses others."""
    if flags.real_label != 1.0 and not issubclass(LOSSES[flags.loss], Labelled):
        parser.error(f"argument --real-label: --loss {flags.loss} has no labels; give --real-label 1 or another --loss")
    if flags.augment_strength != 1.0 and (flags.augment == "none" or flags.augment_target is not None):
        why = "--augment-target decides it" if flags.augment_target is not None else "there is nothing to be changed"
        parser.error(f"argument --augment-strength: {why}")
    if flags.augment_target is not None and flags.augment == "none":
        parser.error("argument --augment-target: there is nothing to make stronger; give --augment all, say")
    if flags.until_equilibrium and flags.judge == "none":
        parser.error(
            "argument --until-equilibrium: how good samples are a judge must say, but this run has --judge none"
        )
    strength = {"none": 0.0, "gp": flags.gp_weight}.get(flags.penalty, flags.gamma)
    if flags.loss == "wasserstein" and strength == 0.0 and flags.weight_clip is None:
        parser.error(
            "argument --loss: the wasserstein loss falls for ever unless D's slope is bounded; give --penalty gp, with "
            "a weight that is not 0, or --weight-clip 0.01 as in the paper"
        )


def data_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.data.load` that the flags decide, and how it was started."""
    passed = "size", "channels", "fit", "background", "mirror", "cache"
    return {**{key: getattr(flags, key) for key in passed}, "in_turn": world().in_turn}


def class_options(flags: argparse.Namespace, images: ImageData) -> dict[str, Any]:
    """Return those keyword arguments of :mod:`tinygan.models` that --conditional decides: none of them without it.

    Raises
    ------
    DataError
        The images have no labels.
    """
    if flags.conditional == "none":
        return {}
    if images.labels is None:
        mend = "Lay pictures into a folder for each class, or leave the flag out"
        raise DataError(f"--conditional {flags.conditional}: the data has no labels ({images.description}). {mend}.")
    return {"classes": len(images_of_each_class(images)), "conditional": flags.conditional}


def augmented(flags: argparse.Namespace, discriminator: Sequential) -> Sequential:
    """Return the discriminator, or one that sees what --augment makes of its images (:mod:`tinygan.augment`)."""
    layers = augmentations_of(flags)
    return before(discriminator, *layers) if layers else discriminator


def make_gan(flags: argparse.Namespace, generator: Sequential, discriminator: Sequential, images: ImageData) -> GAN:
    """Return the GAN of two networks that the flags ask for, where they say: its loss, penalties and optimisers, what D
    sees of its images (--augment), and whether it knows classes (--conditional)."""
    discriminator = augmented(flags, discriminator)
    kind = GAN if flags.conditional == "none" else ConditionalGAN
    options = gan_options(flags, generator, discriminator, images)
    return kind(generator, discriminator, **options).to(flags.backend)


def gan_options(
    flags: argparse.Namespace, generator: Sequential, discriminator: Sequential, images: ImageData
) -> dict[str, Any]:
    """Return those keyword arguments of :class:`tinygan.GAN` that the flags decide, for training on ``images``."""
    steps = flags.steps or flags.epochs * steps_per_epoch(len(images), flags.batch_size * flags.d_steps)
    known = {} if flags.conditional == "none" else {"shares": images_of_each_class(images)}
    return {
        **known,
        "noise_dim": flags.noise_dim,
        "loss": loss_of(flags, discriminator),
        "g_optimizer": optimizer_of(flags, generator, flags.lr, steps),
        "d_optimizer": optimizer_of(flags, discriminator, flags.d_lr or flags.lr, steps * flags.d_steps),
        "d_steps": flags.d_steps,
        "penalties": penalties_of(flags),
        "weight_clip": flags.weight_clip,
        "average": flags.average,
        "seed": flags.seed,
    }


def training_options(flags: argparse.Namespace, images: ImageData) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.train` that the flags decide, for training on ``images``."""
    passed = ["out", "resume", "overwrite", "epochs", "steps", "batch_size", "seed", "low"]
    passed += ["sample_every", "checkpoint_every", "judge_every"]
    settings = {key: value for key, value in vars(flags).items() if key not in OF_THIS_START}
    until = Equilibrium(flags.patience, flags.told_apart) if flags.until_equilibrium else None
    options = {**{key: getattr(flags, key) for key in passed}, "settings": settings, "until": until}
    return {**options, "judge": _judge(flags, images)}


def _judge(flags: argparse.Namespace, images: ImageData) -> Judge | None:
    """The judge that --judge asks for."""
    if flags.judge == "none" or (flags.judge == "auto" and len(images) < LEAST and not flags.until_equilibrium):
        return None
    by_digits = flags.judge == "digits" or (images.name in DIGITS and images.image_shape == (28, 28, 1))
    by_digits = by_digits and flags.judge != "random"
    return Judge(_held_out(flags, images), digits() if by_digits else None, n=JUDGED, low=flags.low)


def _held_out(flags: argparse.Namespace, images: ImageData) -> ImageData:
    """The images that the data set keeps for tests; where none can be had, those that are trained on."""
    name = images.name if flags.data == "auto" else flags.data
    kept = name in ("mnist", "fashion", "digits", "shapes") or any(Path(name).glob("t10k-images*"))
    if flags.until_equilibrium and not kept:
        what = "D must be asked about real images that it has not seen, and of this data none are kept for tests"
        raise ArgumentError(
            f"--until-equilibrium: {what}. In Python, train(..., judge=, until=) takes images of yours."
        )
    beside = "Samples are judged beside the images that are trained on, of which copies would be best."
    if not kept:
        say(f"Of this data no images are kept for tests. {beside}")
        return images
    try:
        return load(name, split="test", **data_options(flags))
    except DataError as error:
        say(f"{error} {beside}", to="stderr")
        return images


def describe(images: ImageData, gan: GAN) -> None:
    """Print what is learned from, what computes, and the two networks layer by layer."""
    tables = gan.generator.summary(), gan.discriminator.summary(images.image_shape)
    where = device_of(gan.generator.theta) + (f", in {n} processes" if (n := world().size) > 1 else "")
    say("{}\non {}\n\nG\n{}\n\nD\n{}\n".format(images.description, where, *tables))


def launch(
    main: Callable[[argparse.Namespace], Path | None],
    doc: str | None,
    *recipes: Recipe,
    argv: Sequence[str] | None = None,
) -> None:
    """Parse the command line, call ``main(flags)``, and say what lies in the folder that it returns.

    Several recipes are several models of one example: ``--model`` takes their names, and ``flags.model`` is the one
    that was taken. It ends as :func:`run_program` says. Of several processes that mpiexec started
    (:mod:`tinygan.parallel.mpi`) the first speaks for all.
    """

    def program() -> None:
        with first_speaks(world()):
            flags = parse(doc, *recipes, argv=argv)
            world().first(lambda: require_free(flags.out))
            set_precision(flags.precision, get_ops(flags.backend))  # refused now, not after the data is read
            folder = main(flags)
            if folder is not None:
                files = [folder / name for name in ("samples.png", "film.gif", "losses.png")]
                say(f"Look at {', '.join(str(file) for file in files if file.exists()) or folder}.")

    run_program(program, world)


def run_program(main: Callable[[], None], processes: Callable[[], Group] = lambda: ALONE) -> None:
    """Call ``main()`` as a program: whatever is wrong comes out as one line, and an exit code.

    The code is 2 for a bad command line, 1 for any other error that tinygan or the operating system reports, and 130
    after Ctrl-C. A console that is closed, broken, or short of letters changes nothing of this.
    """
    group = ALONE
    with forgiving_streams():
        try:
            group = processes()
            main()
        except (TinyGANError, OSError) as error:
            _end(group, f"error: {error}", 1)
        except MemoryError as error:
            _end(group, f"error: not enough memory ({error}). Use a smaller --width, --size or --batch-size.", 1)
        except KeyboardInterrupt:
            _end(group, "interrupted", 130)


def output_folder(folder: Path) -> Path:
    """Return the folder, made if it is not there; what is drawn in one that we made is never taken for data."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / MARK).touch()
    return folder


def _end(group: Group, message: str, code: int) -> None:
    group.end(lambda: say(message, to="stderr"))
    ending = SystemExit(message)
    ending.code = code  # which Python does not print, as it would the message
    raise ending
