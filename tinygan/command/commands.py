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

import numpy as np

from .. import __version__
from ..data.files import printable
from ..errors import ArgumentError, ContractError, DataError, GradientError, TinyGANError
from ..parallel.console import say
from ..runs import flags
from . import examples

Do = Callable[[Namespace], None]


def answer(args: Namespace, text: str, values: Any) -> None:
    """Print the text, or with --json the values."""
    say(json.dumps(values, indent=2) if args.json else text)


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, for programs")


# ---- what there is ---------------------------------------------------------------------------------------------------


def systems_command(parser: ArgumentParser) -> Do:
    """List the systems, with the time that their default runs take."""
    _add_json(parser)

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
    _add_json(parser)

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
    _add_json(parser)

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


# ---- what is done with runs ------------------------------------------------------------------------------------------


def sample_command(parser: ArgumentParser) -> Do:
    """Make images with the generator of a run."""
    parser.add_argument("run", type=flags.path, help="folder of the run")
    parser.add_argument("-n", type=flags.count, metavar="N", default=64, help="how many (64)")
    parser.add_argument(
        "--label", metavar="CLASS", help="of this class, its number or its name, if the run knows any (all)"
    )
    parser.add_argument("--seed", type=flags.seed, metavar="N", default=0, help="of the noise (0)")
    parser.add_argument("--best", action="store_true", help="with the weights that its judge found best")
    text = "a picture of all (.png), or an array (N, H, W, C) of bytes (.npy, or .npz with the labels) (samples.png)"
    parser.add_argument("--out", type=flags.path, metavar="FILE", default=Path("samples.png"), help=text)
    _add_json(parser)

    def sample(args: Namespace) -> None:
        """Make images with the generator of a run: the same command, the same images."""
        from .. import checkpoints
        from ..data import ImageData
        from ..models.conditional import asked
        from ..runs import plotting
        from ..runs.trained import load_trained

        if args.out.suffix not in (".png", ".npy", ".npz"):
            raise ArgumentError(f"--out: expected a name that ends in .png, .npy or .npz, got {args.out}.")
        run = load_trained(args.run, best=args.best)
        label = None if args.label is None else _class_number(args.label, run)
        images = run.sample(args.n, labels=label, seed=args.seed)
        labels = None if run.shares is None else asked(label, args.n, run.shares, "--label")
        made = ImageData.from_floats(images.clip(run.low, run.high), low=run.low, high=run.high, name=str(args.run))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if args.out.suffix == ".png":
            plotting.save_png(args.out, plotting.grid(made.images))
        else:
            checkpoints.replace_file(args.out, _array_file(made.images, labels, args.out.suffix))
        values = {"file": str(args.out), "images": args.n, "shape": list(run.image_shape), "step": run.step}
        values |= {} if run.shares is None else {"classes": list(run.classes or map(str, range(len(run.shares))))}
        answer(args, f"{args.n} images of {args.run}, step {run.step:,}, are in {args.out}.", values)

    return sample


def _class_number(text: str, run: Any) -> int:
    """The number of a class of the run, from its number or its name."""
    if run.shares is None:
        raise ArgumentError(f"--label {text}: this run knows no classes; train one with --conditional.")
    if text in run.classes:
        return run.classes.index(text)
    if text.isdecimal() and int(text) < len(run.shares):
        return int(text)
    names = f": {', '.join(printable(name) for name in run.classes[:20])}" if run.classes else ""
    raise ArgumentError(f"--label {text}: this run knows {len(run.shares)} classes, 0 to {len(run.shares) - 1}{names}.")


def _array_file(images: np.ndarray, labels: np.ndarray | None, suffix: str) -> bytes:
    from io import BytesIO

    file = BytesIO()
    if suffix == ".npy":
        np.save(file, images, allow_pickle=False)
    elif labels is None:
        np.savez(file, images=images)
    else:
        np.savez(file, images=images, labels=labels)
    return file.getvalue()


def evaluate_command(parser: ArgumentParser) -> Do:
    """Judge runs, in one table."""
    parser.add_argument(
        "runs", type=flags.path, nargs="+", metavar="RUN", help="folders of runs of one shape of images"
    )
    text = "real images to compare with (what the first run learned from, its test images where there are such)"
    parser.add_argument("--data", type=flags.path_text, metavar="WHAT", help=text)
    parser.add_argument(
        "--cache", type=flags.path_text, metavar="FOLDER", help="for fetched files and decoded pictures"
    )
    text = "what images are compared by: digits (a classifier), random (convolutions), auto (digits if these are)"
    parser.add_argument("--judge", choices=["auto", "digits", "random"], default="auto", help=text)
    parser.add_argument("--samples", type=flags.count, metavar="N", default=5000, help="of each run (5000)")
    parser.add_argument("--seed", type=flags.seed, metavar="N", default=0, help="of the noise (0)")
    _add_json(parser)

    def evaluate(args: Namespace) -> None:
        """Judge the last and the best weights of runs, and real images beside them, all by one judge."""
        from ..data import load
        from ..metrics import Judge, digits
        from ..runs.commandline import DIGITS
        from ..runs.comparing import compare
        from ..runs.trained import load_trained

        first = load_trained(args.runs[0])
        height, width, channels = first.image_shape
        options: dict[str, Any] = {key: first.settings[key] for key in ("fit", "background") if key in first.settings}
        name = args.data or first.settings.get("data")
        if name is None:
            raise DataError(f"{args.runs[0]}: does not record what it learned from ({first.data}); say it: --data.")
        options |= {"size": (height, width), "channels": channels, "cache": args.cache}
        real = load(str(name), split="test", **options)
        if args.data is None and real.name != first.data:
            why = f"learned from {first.data}, but {name!r} is {real.name} now"
            raise DataError(f"{args.runs[0]}: {why} ({real.description}). Say what to compare with: --data.")
        known = real.name in DIGITS and real.image_shape == (28, 28, 1)
        by_digits = args.judge == "digits" or (args.judge == "auto" and known)
        judge = Judge(real, digits() if by_digits else None, low=first.low, high=first.high)
        found = compare(args.runs, judge, samples=args.samples, seed=args.seed)
        rows = [
            {"run": run, "weights": weights, "step": step, **_plain(scores._asdict()), "beside": real.description}
            for run, weights, step, scores in found.rows
        ]
        answer(args, f"{found}\n\nBeside {real.description}.", rows)

    return evaluate


def _plain(value: Any) -> Any:
    """Estimates as [value, error], for JSON."""
    return {key: list(x) if isinstance(x, tuple) else x for key, x in value.items()}


def explore_command(parser: ArgumentParser) -> Do:
    """Walk through latent space, fill holes in images, look at D's features."""
    parser.add_argument("run", type=flags.path, help="folder of the run")
    parser.add_argument(
        "--data", type=flags.path_text, metavar="WHAT", help="images to look at (those it learned from)"
    )
    parser.add_argument("--out", type=flags.path, metavar="FOLDER", help="output folder (explored, in that of the run)")
    parser.add_argument("--quick", action="store_true", help="less effort")

    def explore(args: Namespace) -> None:
        """Walks between images, repairs, and features of D, into pictures: examples/explore_run.py on this run."""
        more = [x for key in ("data", "out") if (value := getattr(args, key)) for x in (f"--{key}", str(value))]
        more += ["--quick"] if args.quick else []
        examples.run("explore_run", [str(args.run), *more], program="tinygan explore")

    return explore


# ---- layers of one's own ---------------------------------------------------------------------------------------------


def check_command(parser: ArgumentParser) -> Do:
    """Check a layer that somebody wrote."""
    parser.add_argument(
        "layer", metavar="FILE.py:LAYER", help="a layer, or its class with its arguments: mine.py:Scale(3)"
    )
    text = "of a batch, such as 5,28,28,1 (what the layer wants, or 5,4)"
    parser.add_argument("--shape", type=_shape, metavar="N,...", help=text)
    parser.add_argument("--seed", type=flags.seed, metavar="N", default=0, help="of the batch (0)")
    _add_json(parser)

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
