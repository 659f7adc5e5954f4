"""Which command is meant, and the help that says what there is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from .. import __version__
from .examples import SYSTEMS


class Command(NamedTuple):
    """A command: what it is called with, what it is for, and the file beside this whose function does it."""

    usage: str
    help: str
    module: str = "commands"


COMMANDS = {
    "train": Command("[SYSTEM] [FLAGS]", "train a system; without a name, a GAN that learns to write digits"),
    "systems": Command("", "which systems there are, and what they cost"),
    "sample": Command("RUN", "make images with the generator of a run", "run_commands"),
    "evaluate": Command("RUN [RUN ...]", "judge runs, in one table", "run_commands"),
    "explore": Command("RUN", "walks, repairs and features of a run", "run_commands"),
    "export": Command("RUN", "the networks of a run for ONNX, PyTorch or NumPy", "run_commands"),
    "check": Command("FILE.py:LAYER", "are the gradients of a layer of yours right, and does it keep the contract?"),
    "examples": Command("[copy FOLDER]", "the files that one reads: which there are, or a copy of them"),
    "info": Command("", "versions, BLAS, threads, GPU, caches, and the data that is found"),
}


def overview() -> str:
    """The help of ``tinygan`` itself."""
    lines = [f"  tinygan {f'{name} {command.usage}'.ljust(24)}  {command.help}" for name, command in COMMANDS.items()]
    systems = ", ".join(system.name for system in SYSTEMS)
    return "\n".join(
        [
            "usage: tinygan COMMAND ...",
            "",
            "Generative adversarial networks from scratch on NumPy and CuPy.",
            "",
            *lines,
            "",
            f"Systems are {systems}. tinygan COMMAND --help says more of each,",
            "tinygan train SYSTEM --help names all flags of a run. Exit codes: 0, 1 for an error, 2 for a bad command",
            "line, 130 after Ctrl-C.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    try:
        _dispatch(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # before the command has begun
        _say("interrupted", sys.stderr)
        raise SystemExit(130) from None


def _dispatch(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        _say(overview())
        return
    if argv[0] in ("-V", "--version"):
        _say(f"tinygan {__version__}")
        return
    name, *rest = argv
    if name not in COMMANDS:
        bad_usage(f"there is no command {name!r}; there are: {', '.join(COMMANDS)}")
    if name == "train":  # the example does all of it, and its own errors
        train(rest)
        return
    from ..runs.commandline import run_program

    commands = import_module(f".{COMMANDS[name].module}", __package__)
    parser = argparse.ArgumentParser(prog=f"tinygan {name}", allow_abbrev=False)
    do: Callable[[Any], None] = getattr(commands, f"{name}_command")(parser)
    parser.description = do.__doc__ if parser.description is None else parser.description
    args = parser.parse_args(rest)
    run_program(lambda: do(args))


def train(argv: list[str]) -> None:
    """Run the example of a system."""
    from ..runs.commandline import run_program
    from . import examples

    system = SYSTEMS[0]
    if argv and not argv[0].startswith("-"):
        known = {system.name: system for system in SYSTEMS}
        if argv[0] not in known:
            bad_usage(f"train: there is no system {argv[0]!r}; there are: {', '.join(known)}")
        system, argv = known[argv[0]], argv[1:]
    run_program(lambda: examples.run(system.example, [*system.flags, *argv], program=f"tinygan train {system.name}"))


def bad_usage(message: str) -> None:
    """End as argparse does."""
    _say(f"tinygan: error: {message}. tinygan --help says more.", sys.stderr)
    raise SystemExit(2)


def _say(text: str, stream: Any = None) -> None:
    """Print what is said before a command has begun, without the console of ``parallel``, which is slow to import."""
    try:
        print(text, file=stream, flush=True)
    except OSError:  # a full disk, a closed pipe: nobody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
