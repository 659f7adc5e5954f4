"""What each command does: a function that adds its flags to a parser, and returns what is then done with them."""

from __future__ import annotations

import argparse
import json
import os
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ContractError, GradientError, TinyGANError
from ..parallel.console import say
from ..runs import flags
from . import examples

Do = Callable[[Namespace], None]


def answer(args: Namespace, text: str, values: Any) -> None:
    """Print the text, or with --json the values."""
    say(json.dumps(values, indent=2) if args.json else text)


def add_json(parser: ArgumentParser) -> None:
    """Add the flag of a command that answers programs too."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, for programs")


# ---- what there is ---------------------------------------------------------------------------------------------------


def systems_command(parser: ArgumentParser) -> Do:
    """List the systems, with the time that their default runs take."""
    add_json(parser)

    def systems(args: Namespace) -> None:
        """Which systems there are, and what they cost."""
        head = "system", "example", "minutes on two cores", "what it is"
        rows = [head, *((s.name, " ".join((f"{s.example}.py", *s.flags)), s.minutes, s.what) for s in examples.SYSTEMS)]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        keys = "name", "example", "flags", "what", "minutes"
        answer(args, "\n".join(lines), [dict(zip(keys, s, strict=True)) for s in examples.SYSTEMS])

    return systems


def examples_command(parser: ArgumentParser) -> Do:
    """List the examples, or copy them."""
    parser.add_argument("what", nargs="?", choices=["copy"], help="copy them into a folder")
    parser.add_argument("folder", nargs="?", type=flags.path, help="where to (default: examples)")
    add_json(parser)

    def show(args: Namespace) -> None:
        """The files of the examples: which there are, or a copy of them."""
        if args.what is None:
            names = examples.names()
            answer(args, "\n".join(f"{name}.py" for name in names), names)
            return
        files = examples.copy(args.folder or Path("examples"))
        answer(args, f"{len(files)} files are in {files[0].parent}.", [str(file) for file in files])

    return show


def info_command(parser: ArgumentParser) -> Do:
    """Say what computes here, and what data is found."""
    add_json(parser)

    def info(args: Namespace) -> None:
        """Versions, BLAS, threads, GPU, caches, and the data that is found: what a report of a fault should have."""
        found = {**_versions(), **_machine(), **_data()}
        width = max(map(len, found))
        answer(args, "\n".join(f"{key.ljust(width)}  {value}" for key, value in found.items()), found)

    return info


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"tinygan": __version__, "Python": platform.python_version()}
    for package in ("numpy", "scipy", "matplotlib", "pillow", "safetensors", "hypothesis", "mpi4py", "cupy"):
        names = ("cupy-cuda12x", "cupy-cuda13x", "cupy") if package == "cupy" else (package,)
        for name in names:
            try:
                found[package] = version(name)
                break
            except PackageNotFoundError:
                found[package] = "not installed"
    return found


def _machine() -> dict[str, str]:
    from threadpoolctl import threadpool_info

    from ..backends import best_backend
    from ..backends.cpu.threads import workers

    blas = [
        f"{x['internal_api']} {x['version']}, {x['num_threads']} threads" for x in threadpool_info() if "version" in x
    ]
    ops, why = best_backend()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "threads": str(workers()),
        "BLAS": "; ".join(sorted(set(blas))) or "unknown",
        "backend": f"{ops.name}: {why}",
    }


def _data() -> dict[str, str]:
    from ..data.files import cache_folder
    from ..data.mnist import SOURCES, where_found

    def said(find: Callable[[], Any]) -> str:
        try:
            return str(find() or "not here yet; fetched when asked for")
        except TinyGANError as error:
            return str(error)

    found = {"cache": said(lambda: cache_folder(None)), "TINYGAN_DATA": os.environ.get("TINYGAN_DATA", "not set")}
    return found | {name: said(partial(where_found, name)) for name in SOURCES}


# ---- layers of one's own ---------------------------------------------------------------------------------------------


def check_command(parser: ArgumentParser) -> Do:
    """Check a layer that somebody wrote."""
    parser.add_argument(
        "layer", metavar="FILE.py:LAYER", help="a layer, or its class with its arguments: mine.py:Scale(3)"
    )
    text = "of a batch, such as 5,28,28,1 (what the layer wants, or 5,4)"
    parser.add_argument("--shape", type=_shape, metavar="N,...", help=text)
    parser.add_argument("--seed", type=flags.seed, metavar="N", default=0, help="of the batch (0)")
    add_json(parser)

    def check(args: Namespace) -> None:
        """Run your file, and check the layer: the contract that layers keep, and every gradient beside finite
        differences in float64."""
        from ..testing import check_layer
        from .own_layer import batch_for, find, guarded, in_its_folder

        try:
            with in_its_folder(args.layer):
                layer, shown = find(args.layer)
                x = batch_for(layer, args.shape, args.seed)
                guarded(lambda: check_layer(layer, x), f"{shown}, for a batch of shape {x.shape}")
        except (ContractError, GradientError) as error:
            if not args.json:
                raise
            answer(args, "", {"layer": shown, "shape": list(x.shape), "right": False, "why": str(error)})
            raise SystemExit(1) from error
        said = f"{shown}: keeps the contract, and all gradients are right, for a batch of shape {x.shape}."
        answer(args, said, {"layer": shown, "shape": list(x.shape), "right": True})

    return check


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"expected sizes of at least 1 such as 5,28,28,1, the batch first, got {text!r}"
        )
    return sizes
