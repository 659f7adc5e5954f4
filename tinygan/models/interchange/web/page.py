"""The page: operations, weights and images in one file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from os import PathLike
from string import Template
from typing import Any

import numpy as np

from ....checkpoints import as_path, replace_file
from ....errors import ArgumentError, CheckpointError, ShapeError, positive_int, real
from ....network import Sequential
from ....ops import ops_of, to_backend, to_numpy
from ...conditional import classes_of, generate, in_turn
from .lowering import Lowered

SHOWN = 8  # images that are compared
LARGEST = 1 << 24  # weights, 64 MB


def export_page(
    generator: Sequential,
    path: str | PathLike[str],
    input_shape: Sequence[int] | None = None,
    *,
    low: float = -1.0,
    high: float = 1.0,
    title: str = "A generator",
    about: str = "",
    classes: Sequence[str] = (),
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Write a page in which the generator runs: one file of HTML that opens from disk and asks no network.

    One image moves as one drags over it; below, images of fixed noise stand as NumPy made them and as the page does,
    with the largest difference of any pixel.

    Parameters
    ----------
    generator : z (N, noise_dim) -> images (N, H, W, 1) or (N, H, W, 3). Its mode is that of evaluation.
    path : of the file, .html as a rule; it is replaced whole.
    input_shape : (noise_dim,), where the first layer does not say it.
    low, high : the values of black and white.
    title, about : text at the top.
    classes : the names of the classes, of a generator that knows some; their numbers if there are none.
    beside : {"PyTorch": make}, other ways to compute the same, each a function ``make(z, labels)`` that returns images.

    Raises
    ------
    ArgumentError
        A layer has no counterpart in the page, or there are more than 16 million weights.
    ShapeError
        The generator does not make images of noise.
    CheckpointError
        The file cannot be written.
    """
    target = as_path(path, "export_page: path")
    options: dict[str, Any] = {"low": low, "high": high, "title": title, "about": about, "classes": classes}
    text = page(generator, input_shape, **options, beside=beside or {})
    try:
        replace_file(target, text.encode())
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written ({error.strerror or error}).") from error


def page(
    generator: Sequential,
    input_shape: Sequence[int] | None,
    *,
    low: float,
    high: float,
    title: str,
    about: str,
    classes: Sequence[str],
    beside: Mapping[str, Any],
) -> str:
    """What :func:`export_page` writes, of the same arguments."""
    noise, shape = _shapes(generator, input_shape)
    if not -np.inf < real(low) < real(high) < np.inf:
        raise ArgumentError(f"export_page: low must be below high, both finite, got {low!r} and {high!r}.")
    if generator.size > LARGEST:
        raise ArgumentError(f"export_page: {generator.size:,} weights are too many for a page; {LARGEST:,} at most.")
    known = max(classes_of(generator), default=0)
    names = [str(name) for name in classes or range(known)]
    if len(names) != known:
        raise ArgumentError(
            f"export_page: G knows {known} classes, but classes names {len(names)}; give as many or none."
        )
    lowered = Lowered(generator, (noise,))
    z = np.random.default_rng(0).standard_normal((SHOWN, noise), dtype=np.float32)
    labels = in_turn(SHOWN, np.full(known, 1.0 / known)) if known else None
    own = generate(generator, to_backend(z, ops_of(generator.theta)).astype(generator.theta.dtype), labels)
    rows = {"tinygan, NumPy": to_numpy(own), **{name: make(z, labels) for name, make in beside.items()}}
    for name, images in rows.items():
        if np.shape(images) != (SHOWN, *shape) or not np.isfinite(images).all():
            what = f"finite images {(SHOWN, *shape)}"
            raise ShapeError(
                f"export_page: {name}: expected {what}, got {np.shape(images)} of {np.asarray(images).dtype}."
            )
    contents = {
        "operations": lowered.operations,
        "weights": _text(lowered.weights()),
        "shape": list(shape),
        "noise": noise,
        "low": float(low),
        "high": float(high),
        "classes": names,
        "z": _text(z),
        "labels": [] if labels is None else [int(k) for k in labels],
        "rows": {name: _text(images) for name, images in rows.items()},
    }
    others = "".join(f", as {name} did" for name in beside)
    proof = (
        f"{SHOWN} images of the same noise, as tinygan made them with NumPy{others}, and as this page makes them now."
    )
    folder = files(__package__)
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        title=html.escape(str(title)),
        about=html.escape(str(about)),
        aspect=f"{shape[1]} / {shape[0]}",
        noise=noise,
        proof=html.escape(proof),
        contents=json.dumps(contents).replace("<", "\\u003c"),  # no text of a stranger ends the script
        network=(folder / "network.js").read_text("utf-8"),
        page=(folder / "page.js").read_text("utf-8"),
    )


def _shapes(generator: Any, input_shape: Any) -> tuple[int, tuple[int, int, int]]:
    """noise_dim, and (H, W, C) of the images."""
    if not isinstance(generator, Sequential):
        raise ArgumentError(f"export_page: expected a tinygan.Sequential, got {type(generator).__name__}.")
    given = generator.input_shape if input_shape is None else input_shape
    if not isinstance(given, Sequence) or len(given) != 1 or given[0] is None:
        what = "of how many numbers of noise is an image made? Give input_shape=(100,)"
        raise ShapeError(f"export_page: {what}, if it is 100; got {given!r:.100}.")
    given = (positive_int(given[0], "export_page: input_shape: the length of z"),)
    shape = generator.output_shape(given)
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise ShapeError(f"export_page: expected a generator of images (H, W, 1) or (H, W, 3), it makes {shape}.")
    return int(given[0]), (int(shape[0] or 0), int(shape[1] or 0), int(shape[2] or 0))


def _text(a: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(a, dtype="<f4").tobytes()).decode()
