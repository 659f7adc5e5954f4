"""What an example states of itself, and the parser of its command line: every flag with its default and its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from ..backends.loading import PRECISIONS
from ..errors import CheckpointError
from ..models.knowledge import WAYS
from .flags import (
    JUDGES,
    LOSSES,
    OF_THIS_START,
    OPTIMIZERS,
    PENALTIES,
    SCHEDULES,
    as_typed,
    at_least_half,
    changes,
    colour,
    count,
    fraction,
    label,
    part,
    path,
    path_text,
    positive,
    seed,
    size,
    weight,
)

EPILOG = """\
what it writes into the output folder:
  samples.png              a grid of samples from fixed noise; on the way there samples/step_000500.png, ...
  real.png                 as many real images, in the same places, as the networks are shown them
  film.gif                 these grids in a row
  losses.png, losses.csv   the loss curves, and both losses of every step
  metrics.png, metrics.csv how good the samples are; best.safetensors, G's weights when they were best
  config.json              all flags, the networks, the versions
  checkpoint.safetensors   all that is needed to go on

interruptions:
  Ctrl-C finishes the step at hand and writes a checkpoint. With --resume a run goes on from its last checkpoint, to the
  very bytes of one that was never interrupted. Flags that are not given again keep their values; --lr, --d-lr,
  --lr-schedule, --clip-norm, --clip-value, the length, --until-equilibrium with its --patience and --told-apart, the
  intervals, the backend and its precision may be given anew.
  Where files are written, --out and --cache, is never taken from a checkpoint.
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The name of an example and the default values of its flags, named as the flags are.

    Give one of ``epochs`` and ``steps``. Two things have no flag: ``low`` is the value of black in G's images, -1 with
    tanh and 0 with a sigmoid, and ``size_unit`` what the networks want height and width to be multiples of.
    """

    name: str
    lr: float
    epochs: int | None = None
    steps: int | None = None
    noise_dim: int = 100
    width: int = 64
    conditional: str = "none"
    loss: str = "nonsaturating"
    real_label: float = 1.0
    penalty: str = "none"
    gamma: float = 10.0
    gp_weight: float = 10.0
    gp_target: float = 1.0
    penalty_every: int = 1
    weight_clip: float | None = None
    augment: str = "none"
    augment_strength: float = 1.0
    augment_target: float | None = None
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
    size: int | tuple[int, int] | None = None
    size_unit: int = 1
    channels: int | None = None
    fit: str = "crop"
    background: int = 255
    cache: str | None = None
    backend: str = "numpy"
    precision: str = "fp32"
    sample_every: int = 100
    checkpoint_every: int = 500
    judge: str = "auto"
    judge_every: int = 500
    until_equilibrium: bool = False
    patience: int = 4
    told_apart: float = 0.75

    @property
    def out(self) -> Path:
        """The output folder."""
        return Path("runs", self.name)


def make_parser(doc: str | None, recipe: Recipe, models: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of an example; ``models`` names its recipes, if several.

    The docstring of the example introduces its help; under ``python -OO`` there is none.
    """
    parser = argparse.ArgumentParser(
        description=(doc or "").strip(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def add(flag: str, kind: Callable | list, metavar: str | None, text: str, *, none: str = "none") -> None:
        """Add a flag of the present group: its kind is a conversion, or the list of its values."""
        name = flag.removeprefix("--").replace("-", "_")
        default = getattr(recipe, name)
        values: dict[str, Any] = {"choices": kind, "type": type(kind[0])} if isinstance(kind, list) else {"type": kind}
        shown = none if default is None else as_typed(name, default)
        group.add_argument(flag, default=default, metavar=metavar, help=f"{text} ({shown})", **values)

    group = parser.add_argument_group("how long")
    length = group.add_mutually_exclusive_group()
    for flag, text in (("epochs", "visits to every image"), ("steps", "or steps, each of which trains D and G once")):
        default = getattr(recipe, flag)
        length.add_argument(f"--{flag}", type=count, metavar="N", help=f"{text} ({default})" if default else text)

    group = parser.add_argument_group("who plays, and for what")
    if models:
        text = f"the networks; each has defaults of its own, which --model NAME --help shows ({recipe.name})"
        group.add_argument("--model", choices=models, default=recipe.name, help=text)
    add("--noise-dim", count, "N", "length of z, drawn from normal(0, 1)")
    add("--width", count, "N", "channels of D's first convolution, or units of G's first layer where D has none")
    text = "the class of each image goes with it, beside the input (concat) or in both networks' layers (projection)"
    add("--conditional", ["none", *WAYS], None, text)
    add("--loss", list(LOSSES), None, "what the players minimise")
    add("--real-label", label, "X", "what D shall say of real images, in (0, 1]; 0.9 is label smoothing")

    group = parser.add_argument_group("what keeps D from growing steep")
    add("--penalty", list(PENALTIES), None, "on D's input gradient at real images (r1), fakes (r2), or between (gp)")
    add("--gamma", weight, "X", "weight of r1 and r2, each gamma / 2 times the squared norm")
    add("--gp-weight", weight, "X", "weight of gp, times the squared distance of the norm from its target")
    add("--gp-target", weight, "X", "that target")
    add("--penalty-every", count, "N", "steps from one penalty to the next, which is as many times as strong")
    add("--weight-clip", positive, "X", "limit of D's parameters after each of its steps, up and down")

    group = parser.add_argument_group("what keeps D from learning a few images by heart")
    add(
        "--augment",
        changes,
        "A,B",
        "what is done to all images that D sees: colour, shift, cutout, all or none (in one process)",
    )
    add("--augment-strength", part, "X", "the part of the images that is changed, each by itself")
    text = "let that part follow D instead, so that D knows this part of the real images, in [0, 1]: 0.6, say"
    add("--augment-target", part, "X", text)

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
    add("--data", path_text, "WHAT", text + "pictures, an .npy or .npz file, IDX files")
    text = "height x width to bring all images to, or one number for both"
    text += f"; multiples of {recipe.size_unit}" if recipe.size_unit > 1 else ""
    add("--size", size(recipe.size_unit), "N|HxW", text, none="as they are")
    add("--channels", [1, 3], None, "make all images grey, or give them colours", none="as they are")
    add("--fit", ["crop", "letterbox"], None, "to a new shape, cut the edges off or add some")
    add("--background", colour, "GREY|R,G,B", "of such edges, and behind transparent pictures; 0 to 255")
    group.add_argument("--mirror", action="store_true", help="add the mirror image of every image")
    add("--cache", path_text, "FOLDER", "for fetched files and decoded pictures", none="the user's cache folder")
    add("--backend", ["numpy", "cupy", "auto"], None, "the CPU, an NVIDIA GPU, or the GPU if one works")
    add("--precision", list(PRECISIONS), None, "of matrix products on a GPU: exact as float32, or coarser and fast")
    add("--out", path, "FOLDER", "output folder")
    add("--sample-every", count, "N", "steps from one picture to the next")
    add("--checkpoint-every", count, "N", "steps from one checkpoint to the next")
    text = "what samples are judged by: digits (a classifier), random (convolutions), auto (digits if these are), none"
    add("--judge", JUDGES, None, text)
    add("--judge-every", count, "N", "steps from one time that they are judged to the next")
    text = "end before the last step where samples get no better and D cannot tell"
    action = argparse.BooleanOptionalAction
    group.add_argument("--until-equilibrium", action=action, default=recipe.until_equilibrium, help=text)
    add("--patience", count, "N", "times of judging in a row at which they are then no better")
    add(
        "--told-apart",
        at_least_half,
        "X",
        "pairs of real images and samples of which D may then still know which is which",
    )
    again = group.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the output folder")
    return parser


def recorded_flags(parser: argparse.ArgumentParser, recorded: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return those of the ``recorded`` values that are flags, held to what the flags may be as if they were typed.

    Raises
    ------
    CheckpointError
        A value is nothing that its flag may be, such as a loss of a later version. ``source`` is the file named.
    """

    def refuse(message: str) -> NoReturn:
        raise CheckpointError(
            f"{source}: what it records of the run's flags cannot be taken: {message}. Give the flag again, or resume "
            "with the version of tinygan that the run was made with."
        )

    parser.error = refuse  # type: ignore[method-assign]  # which is how argparse says what is wrong
    defaults = vars(parser.parse_args([]))
    flags = {key: recorded[key] for key in defaults if key in recorded and key not in OF_THIS_START}
    may_be_none = {field.name for field in fields(Recipe) if field.default is None}
    line = []
    for key, value in flags.items():
        flag = f"--{key.replace('_', '-')}"
        if key == "backend" and isinstance(value, str):
            line.append(f"{flag}=auto")  # it may be one that was registered; whoever looks it up refuses what is none
        elif isinstance(value, bool) and isinstance(defaults[key], bool):
            line += [flag] if value else []
        elif value is not None or key not in may_be_none:
            line.append(f"{flag}={as_typed(key, value)}")
    parsed = vars(parser.parse_args(line, argparse.Namespace(**dict.fromkeys(flags))))
    for key, value in flags.items():
        if value is not False and parsed[key] != value and key != "backend":
            refuse(f"argument --{key.replace('_', '-')}: expected it as it is written there, got {value!r:.80}")
    return flags
