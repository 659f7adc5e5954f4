"""What the values of command-line flags may be, and what they stand for.

First the conversions for argparse, which shows their errors after the name of the flag; then, by their names on a
command line, the parts of a GAN: losses, penalties, optimisers, and how learning rates go on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..augment import Adaptive, Augmentation, Colour, Cutout, Shift
from ..checkpoints import as_path
from ..data.pictures import MAX_SIZE
from ..errors import ArgumentError
from ..losses import Hinge, Labelled, LeastSquares, Loss, Minimax, NonSaturating, Relativistic, Wasserstein
from ..network import Sequential
from ..optim import SGD, Adam, Optimizer, RMSProp
from ..penalties import R1, R2, GradientPenalty, Penalty
from .schedules import Schedule, cosine, linear


def _number(kind: type, what: str, allowed: Callable[[float], bool]) -> Callable[[str], Any]:
    """Return a conversion to int or float that refuses whatever is not ``allowed``."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not allowed(value):  # a NaN never is
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
        return value

    return convert


count = _number(int, "a whole number of at least 1", lambda x: x >= 1)
seed = _number(int, "a whole number of at least 0", lambda x: x >= 0)
byte = _number(int, "a whole number from 0 to 255", lambda x: 0 <= x <= 255)
positive = _number(float, "a positive number", lambda x: 0.0 < x < math.inf)
weight = _number(float, "a number of at least 0", lambda x: 0.0 <= x < math.inf)
fraction = _number(float, "a number in [0, 1)", lambda x: 0.0 <= x < 1.0)
label = _number(float, "a number in (0, 1]", lambda x: 0.0 < x <= 1.0)
at_least_half = _number(float, "a number in [0.5, 1]", lambda x: 0.5 <= x <= 1.0)
part = _number(float, "a number in [0, 1]", lambda x: 0.0 <= x <= 1.0)


def size(unit: int = 1) -> Callable[[str], int | list[int]]:
    """Return the conversion of a height and a width with x between, or one number for both, to multiples of ``unit``.

    What is a square becomes one number, however it was typed."""
    numbers = f"multiples of {unit}" if unit > 1 else "whole numbers"

    def convert(text: str) -> int | list[int]:
        try:
            sides = [int(side) for side in text.split("x")]
        except ValueError:
            sides = []
        if len(sides) not in (1, 2) or any(side % unit or not 1 <= side <= MAX_SIZE for side in sides):
            what = f"a height and a width such as 48x64, or one number for both, {numbers} from {unit} to {MAX_SIZE}"
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
        return sides if sides[0] != sides[-1] else sides[0]

    return convert


def colour(text: str) -> int | list[int]:
    """Convert a grey level, or red, green and blue with commas between."""
    levels = [byte(level) for level in text.split(",")]
    if len(levels) not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected one grey level, or red,green,blue, got {text!r}")
    return levels if len(levels) == 3 else levels[0]


def as_typed(name: str, value: Any) -> str:
    """The value of the flag ``name`` as it stands on a command line: 48x64, or 0,128,255."""
    return ("x" if name == "size" else ",").join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def path(text: str) -> Path:
    """Convert a path, in which ~ stands for a home folder."""
    try:
        return as_path(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def path_text(text: str) -> str:
    """Check what may be a path; it is recorded as it was typed."""
    path(text)
    return text


def changes(text: str) -> str:
    """Convert names of changes with commas between, all or none, to such names in the order in which they are made."""
    names = {"none": [], "all": list(AUGMENTATIONS)}.get(text, text.split(","))
    if wrong := [name for name in names if name not in AUGMENTATIONS]:
        known = ", ".join(AUGMENTATIONS)
        raise argparse.ArgumentTypeError(
            f"expected some of {known}, with commas between, all or none, got {wrong[0]!r}"
        )
    return ",".join(name for name in AUGMENTATIONS if name in names) or "none"


# ---- the parts of a GAN --------------------------------------------------------------------------------------------

LOSSES: dict[str, type[Loss]] = {
    "minimax": Minimax,
    "nonsaturating": NonSaturating,
    "leastsquares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
    "relativistic": Relativistic,
}

PENALTIES: dict[str, list[type[Penalty]]] = {
    "none": [],
    "gp": [GradientPenalty],
    "r1": [R1],
    "r2": [R2],
    "r1+r2": [R1, R2],
}

#: The optimisers, each with the defaults of its flags in a recipe that was made for another one.
OPTIMIZERS: dict[str, dict[str, float | None]] = {
    "adam": {"lr": 2e-4, "d_lr": None, "beta1": 0.5, "beta2": 0.999},
    "rmsprop": {"lr": 1e-4, "d_lr": None, "beta2": 0.9},
    "sgd": {"lr": 1e-2, "d_lr": None, "beta1": 0.0},
}

#: What may be done to the images that D sees, of black at ``low`` and white at 1; what is gone becomes grey.
AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "colour": lambda low, **options: Colour(brightness=(1.0 - low) / 4.0, **options),
    "shift": lambda low, **options: Shift(fill=(low + 1.0) / 2.0, **options),
    "cutout": lambda low, **options: Cutout(fill=(low + 1.0) / 2.0, **options),  # last: what it covers stays grey
}

SCHEDULES: dict[str, Callable[..., Schedule] | None] = {"constant": None, "linear": linear, "cosine": cosine}

JUDGES = ["auto", "digits", "random", "none"]

#: What runs were made with before there were flags for it; they can be resumed whatever a recipe says now.
ONCE: dict[str, Any] = {"penalty": "none", "weight_clip": None, "lr_schedule": "constant", "precision": "fp32"}
ONCE |= {"judge": "none", "augment": "none", "augment_strength": 1.0, "augment_target": None}
ONCE |= {"until_equilibrium": False, "conditional": "none"}

#: How a program was started and where it writes: said on each command line anew, and neither recorded nor resumed.
OF_THIS_START = {"out", "cache", "resume", "overwrite"}


def loss_of(flags: argparse.Namespace, discriminator: Sequential) -> Loss:
    """Return the loss that --loss and --real-label ask for, which moves D's augmentations if --augment-target does."""
    kind = LOSSES[flags.loss]
    loss = kind(real_label=flags.real_label) if issubclass(kind, Labelled) else kind()
    return loss if flags.augment_target is None else Adaptive(loss, discriminator, target=flags.augment_target)


def augmentations_of(flags: argparse.Namespace) -> list[Augmentation]:
    """Return the layers that --augment asks for, each with random numbers that no one else uses."""
    names = [] if flags.augment == "none" else flags.augment.split(",")
    seeds = [np.random.SeedSequence(flags.seed, spawn_key=(5, list(AUGMENTATIONS).index(name))) for name in names]
    strength = flags.augment_strength if flags.augment_target is None else 0.0
    return [
        AUGMENTATIONS[name](flags.low, strength=strength, rng=np.random.default_rng(seed))
        for name, seed in zip(names, seeds, strict=True)
    ]


def penalties_of(flags: argparse.Namespace) -> list[Penalty]:
    """Return the penalties that --penalty asks for."""
    gp, gamma, every = (flags.gp_weight, flags.gp_target), (flags.gamma,), flags.penalty_every
    return [kind(*(gp if kind is GradientPenalty else gamma), every=every) for kind in PENALTIES[flags.penalty]]


def optimizer_of(flags: argparse.Namespace, network: Sequential, lr: float, steps: int) -> Optimizer:
    """Return an optimiser of ``network`` whose learning rate begins at ``lr``, in a run of ``steps``."""
    schedule, clipping = SCHEDULES[flags.lr_schedule], {"clip_norm": flags.clip_norm, "clip_value": flags.clip_value}
    rate = schedule(lr, 0.0, steps) if schedule else lr
    if flags.optimizer == "sgd":
        return SGD(network, rate, momentum=flags.beta1, **clipping)
    if flags.optimizer == "rmsprop":
        return RMSProp(network, rate, rho=flags.beta2, **clipping)
    return Adam(network, rate, flags.beta1, flags.beta2, **clipping)
