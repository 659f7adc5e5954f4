"""The commands that are about runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files import printable
from ..errors import ArgumentError, DataError
from ..runs import flags
from . import examples
from .commands import Do, add_json, answer


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
    add_json(parser)

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
    add_json(parser)

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


def export_command(parser: ArgumentParser) -> Do:
    """Write a network of a run for other tools."""
    parser.add_argument("run", type=flags.path, help="folder of the run")
    text = "onnx: a graph; pytorch: the state_dict of what interchange.to_pytorch gives, in safetensors; npz: arrays; "
    text += "html: a page in which the generator runs"
    parser.add_argument("--to", choices=["onnx", "pytorch", "npz", "html"], required=True, help=text)
    parser.add_argument(
        "--network", choices=["generator", "discriminator"], default="generator", help="which (generator)"
    )
    parser.add_argument("--best", action="store_true", help="with the weights that its judge found best")
    parser.add_argument(
        "--out", type=flags.path, metavar="FILE", help="(NETWORK.onnx, .safetensors, .npz or .html, here)"
    )
    add_json(parser)

    def export(args: Namespace) -> None:
        """Write a network of a run for other tools: what they compute with it is the same."""
        from io import BytesIO

        from .. import checkpoints
        from ..models import interchange
        from ..models.interchange import onnx_file
        from ..runs.trained import load_trained

        run = load_trained(args.run, best=args.best)
        network = getattr(run, args.network)
        shape = (run.noise_dim,) if args.network == "generator" else run.image_shape
        suffix = {"onnx": ".onnx", "pytorch": ".safetensors", "npz": ".npz", "html": ".html"}[args.to]
        out = args.out or Path(args.network + suffix)
        if out.suffix != suffix:
            raise ArgumentError(f"--out: for --to {args.to} expected a name that ends in {suffix}, got {out}.")
        if args.to == "onnx":
            data = onnx_file.as_bytes(network, shape)
        elif args.to == "pytorch":
            from safetensors.numpy import save

            state = interchange.to_pytorch(network, shape).state_dict()
            data = save({key: tensor.numpy() for key, tensor in state.items()})
        elif args.to == "html":
            data = _page_of(run, args)
        else:
            file = BytesIO()
            np.savez(file, **network.state_arrays())
            data = file.getvalue()
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.replace_file(out, data)
        values = {"file": str(out), "network": args.network, "sample": list(shape), "step": run.step}
        answer(args, f"The {args.network} of {args.run}, step {run.step:,}, is in {out}.", values)

    return export


def _page_of(run: Any, args: Namespace) -> bytes:
    """The page of a run's generator, beside what PyTorch and onnxruntime make of it if they are installed."""
    from ..models.interchange.web import elsewhere, page

    if args.network != "generator":
        raise ArgumentError("--network: a page shows images, which the generator makes; leave the flag out.")
    beside = elsewhere(run.generator, run.noise_dim)
    about = f"It has learned from {run.data}, {run.step:,} steps, and makes images of {run.image_shape[0]} x "
    about += f"{run.image_shape[1]} pixels (height x width)."
    classes = [printable(name) for name in run.classes]
    shades = {"low": run.low, "high": run.high}
    text = page(
        run.generator,
        (run.noise_dim,),
        title=args.run.resolve().name,
        about=about,
        classes=classes,
        beside=beside,
        **shades,
    )
    return text.encode()
