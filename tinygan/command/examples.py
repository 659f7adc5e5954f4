"""The examples: files that lie beside the package in a clone, and in it where it was installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from ..checkpoints import as_path
from ..errors import ArgumentError, DataError

PACKAGE = Path(__file__).resolve().parent.parent
PLACES = PACKAGE / "examples", PACKAGE.parent / "examples"


class System(NamedTuple):
    """One of the six systems, and the example that trains it."""

    name: str
    example: str
    flags: tuple[str, ...]
    what: str
    minutes: str  #: of its default run, on two cores


#: In the order in which they were invented
SYSTEMS = [
    System("mlp", "mnist_mlp_gan", (), "dense layers, for digits", "4 to 6"),
    System("mlp_conv", "mnist_conv_gan", (), "a dense generator against convolutions, for digits", "4 to 6"),
    System("lsgan", "mnist_lsgan", (), "a dense generator against deep convolutions, by least squares", "4"),
    System("dcgan", "dcgan", (), "convolutions 5x5, for digits and small pictures", "8 to 10"),
    System("dcgan64", "dcgan", ("--model", "dcgan64"), "convolutions 4x4, for pictures of 64x64 in colour", "9"),
    System("resnet", "resnet", (), "residual blocks without normalisation, for digits and small pictures", "10"),
]


def folder() -> Path:
    """Where the examples are; DataError if this installation has none."""
    for place in PLACES:
        if (place / "mnist_mlp_gan.py").is_file():
            return place
    raise DataError(
        "this installation of tinygan has no examples; install it anew: pip install --force-reinstall tinygan"
    )


def names() -> list[str]:
    """Of all examples, without .py."""
    return sorted(path.stem for path in folder().glob("*.py"))


def run(name: str, argv: list[str], *, program: str) -> None:
    """Run an example as ``python examples/NAME.py ARGV`` would; ``program`` is what its help calls it."""
    path, before = folder() / f"{name}.py", sys.argv
    code = compile(path.read_bytes(), str(path), "exec")
    sys.argv = [program, *argv]  # which runpy would replace by the path
    try:
        exec(code, {"__name__": "__main__", "__file__": str(path)})
    finally:
        sys.argv = before


def copy(into: str | Path) -> list[Path]:
    """Copy all examples into a folder, made if it is not there; ArgumentError if a file of theirs is there already."""
    target = as_path(into, "examples copy")
    files = sorted(folder().glob("*.py"))
    if there := [file.name for file in files if (target / file.name).exists()]:
        raise ArgumentError(f"{target}: holds {there[0]} already, which is kept; copy into another folder.")
    target.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(file, target / file.name)) for file in files]
