"""The flags that all examples share, and how their programs begin and end.

An example states its recipe as default values and leaves the rest to :func:`launch`:

    def main(flags):
        images = load(flags.data, **data_options(flags))
        ...
        train(gan, images, **training_options(flags))

    if __name__ == "__main__":
        launch(main, __doc__, Recipe(name="my_gan", epochs=10, lr=5e-4))
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import get_backend
from .errors import BackendError, TinyGANError
from .losses import LeastSquares, Loss, Minimax, NonSaturating
from .runs import CHECKPOINT, read_checkpoint

LOSSES: dict[str, type[Loss]] = {"minimax": Minimax, "nonsaturating": NonSaturating, "leastsquares": LeastSquares}

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
  --clip-norm, the length, the intervals and the backend may be given anew.
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The name of an example and the default values of its flags, named as the flags are."""

    name: str
    epochs: int
    lr: float
    batch_size: int = 128
    loss: str = "nonsaturating"
    real_label: float = 1.0
    beta1: float = 0.5
    beta2: float = 0.999
    clip_norm: float | None = None
    d_steps: int = 1
    average: float = 0.999
    data: str = "auto"
    size: int | None = None
    channels: int | None = None
    fit: str = "crop"
    sample_every: int = 100
    checkpoint_every: int = 500


def make_parser(doc: str, recipe: Recipe) -> argparse.ArgumentParser:
    """Return the parser of an example whose docstring ``doc`` introduces its help."""
    parser = argparse.ArgumentParser(
        description=doc.strip(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    group = parser.add_argument_group("how long")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_count, metavar="N", help=f"visits to every image ({recipe.epochs})")
    length.add_argument("--steps", type=_count, metavar="N", help="or steps, each of which trains D and G once")

    group = parser.add_argument_group("how to learn")

    def add(flag: str, kind: Callable, metavar: str, text: str) -> None:
        default = getattr(recipe, flag.removeprefix("--").replace("-", "_"))
        shown = "none" if default is None else default
        group.add_argument(flag, type=kind, metavar=metavar, default=default, help=f"{text} ({shown})")

    add("--batch-size", _count, "N", "real images for each step of D")
    add("--lr", _positive, "X", "learning rate of Adam for both networks")
    group.add_argument("--d-lr", type=_positive, metavar="X", help="learning rate of D, if it shall be another (--lr)")
    add("--beta1", _fraction, "X", "memory of Adam's momentum, in [0, 1)")
    add("--beta2", _fraction, "X", "memory of Adam's sizes of gradients, in [0, 1)")
    group.add_argument(
        "--loss", choices=list(LOSSES), default=recipe.loss, help=f"what the players minimise ({recipe.loss})"
    )
    add("--real-label", _label, "X", "what D shall say of real images, in (0, 1]; 0.9 is label smoothing")
    add("--clip-norm", _positive, "X", "length beyond which a network's gradient is scaled down")
    add("--d-steps", _count, "N", "steps of D for one of G")
    add("--average", _fraction, "X", "part that the moving average of G's weights keeps at each step, 0 for no average")
    group.add_argument(
        "--seed", type=_seed, metavar="N", default=0, help="of the weights, the noise and the order of the images (0)"
    )

    group = parser.add_argument_group("on what, and where")
    add(
        "--data",
        str,
        "WHAT",
        "auto (mnist if it can be had, else digits), mnist, fashion, digits, shapes, or a path of yours: a folder of "
        "pictures, an .npy or .npz file, IDX files",
    )
    as_it_is = "as they are"
    group.add_argument(
        "--size",
        type=_count,
        metavar="N",
        default=recipe.size,
        help=f"height and width to bring all images to ({recipe.size or as_it_is})",
    )
    group.add_argument(
        "--channels",
        type=int,
        choices=[1, 3],
        default=recipe.channels,
        help=f"make all images grey, or give them colours ({recipe.channels or as_it_is})",
    )
    group.add_argument(
        "--fit",
        choices=["crop", "letterbox"],
        default=recipe.fit,
        help=f"to a new shape, cut the edges off or add some ({recipe.fit})",
    )
    group.add_argument("--mirror", action="store_true", help="add the mirror image of every image")
    group.add_argument(
        "--backend",
        choices=["numpy", "cupy", "auto"],
        default="numpy",
        help="the CPU, an NVIDIA GPU, or the GPU if one works (numpy)",
    )
    out = Path("runs", recipe.name)
    group.add_argument("--out", type=Path, metavar="FOLDER", default=out, help=f"output folder ({out})")
    add("--sample-every", _count, "N", "steps from one picture to the next")
    add("--checkpoint-every", _count, "N", "steps from one checkpoint to the next")
    again = group.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the output folder")
    return parser


def parse(parser: argparse.ArgumentParser, recipe: Recipe, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags; with --resume, those that are not given are the interrupted run's.

    Raises
    ------
    SystemExit
        A flag is unknown or its value has no meaning; argparse has said so.
    CheckpointError
        There is nothing to resume, or it is damaged.
    """
    flags = parser.parse_args(argv)
    if flags.resume:
        _, about = read_checkpoint(flags.out / CHECKPOINT)
        kept = {key: value for key, value in about["settings"].items() if hasattr(flags, key)}
        if flags.epochs or flags.steps:
            kept = {key: value for key, value in kept.items() if key not in ("epochs", "steps")}
        parser.set_defaults(**kept)
        flags = parser.parse_args(argv)
    if not (flags.epochs or flags.steps):
        flags.epochs = recipe.epochs
    if flags.backend == "auto":
        flags.backend = _best_backend()
    return flags


def data_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.data.load` that the flags decide."""
    return {key: getattr(flags, key) for key in ("size", "channels", "fit", "mirror")}


def training_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Return those keyword arguments of :func:`tinygan.training.train` that the flags decide."""
    passed = ["out", "epochs", "steps", "batch_size", "seed", "sample_every", "checkpoint_every", "resume", "overwrite"]
    # Where a run lies, and how it was started, is nothing that belongs to the run
    settings = {key: value for key, value in vars(flags).items() if key not in ("out", "resume", "overwrite")}
    return {**{key: getattr(flags, key) for key in passed}, "settings": settings}


def launch(
    main: Callable[[argparse.Namespace], object], doc: str, recipe: Recipe, argv: Sequence[str] | None = None
) -> None:
    """Parse the command line and call ``main(flags)``; whatever is wrong comes out as one line, and an exit code.

    The code is 2 for a bad command line, 1 for any other error that tinygan or the operating system reports, and 130
    after Ctrl-C.
    """
    try:
        main(parse(make_parser(doc, recipe), recipe, argv))
    except (TinyGANError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _best_backend() -> str:
    try:
        return get_backend("cupy").name
    except BackendError as error:
        print(f"backend auto: the CPU, since {error}", file=sys.stderr)
        return "numpy"


def _number(text: str, kind: type, what: str, allowed: Callable[[float], bool]) -> Any:
    """Convert ``text``, or raise the error that argparse shows after the name of the flag."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not allowed(value):  # a NaN never is
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value


def _count(text: str) -> int:
    return _number(text, int, "a whole number of at least 1", lambda x: x >= 1)


def _seed(text: str) -> int:
    return _number(text, int, "a whole number of at least 0", lambda x: x >= 0)


def _positive(text: str) -> float:
    return _number(text, float, "a positive number", lambda x: 0.0 < x < math.inf)


def _fraction(text: str) -> float:
    return _number(text, float, "a number in [0, 1)", lambda x: 0.0 <= x < 1.0)


def _label(text: str) -> float:
    return _number(text, float, "a number in (0, 1]", lambda x: 0.0 < x <= 1.0)
