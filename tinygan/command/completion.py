"""What a shell may complete: one parser of all commands and flags, for shtab.

    pip install shtab
    shtab --shell=bash tinygan.command.completion.parser > ~/.local/share/bash-completion/completions/tinygan

For zsh, ``--shell=zsh`` writes a file ``_tinygan`` for a folder of ``$fpath``; tcsh is the third that it knows.
"""

from __future__ import annotations

import argparse
import runpy
from importlib import import_module

from ..runs.recipe import Recipe, make_parser
from . import examples
from .main import COMMANDS


def parser() -> argparse.ArgumentParser:
    """All of the program as one parser, which is made for its flags and parses nothing."""
    whole = argparse.ArgumentParser(prog="tinygan")
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        of_command = commands.add_parser(name, help=command.help)
        if name == "train":
            systems = of_command.add_subparsers()
            for system in examples.SYSTEMS:
                names = runpy.run_path(str(examples.folder() / f"{system.example}.py"))
                recipes = [value for value in names.values() if isinstance(value, Recipe)]
                recipe = next((recipe for recipe in recipes if recipe.name == system.name), recipes[0])
                parents = [make_parser("", recipe)]
                systems.add_parser(system.name, help=system.what, parents=parents, conflict_handler="resolve")
        else:
            getattr(import_module(f".{command.module}", __package__), f"{name}_command")(of_command)
    return whole
