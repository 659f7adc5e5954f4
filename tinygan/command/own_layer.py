"""A layer in a file of somebody's: found, made, and a batch for it."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import as_path
from ..errors import ArgumentError, ShapeError
from ..layers import Layer

GUESSES = (5, 4), (3, 6, 5, 4)  # shapes of a batch that are tried


def find(text: str) -> tuple[Layer, str]:
    """The layer that ``FILE.py:LAYER`` names, and how it is shown. The file is run, as Python would.

    Raises
    ------
    ArgumentError
        There is no such file, or no such layer in it, or it cannot be made.
    """
    file, colon, call = text.rpartition(":")
    if not (colon and file and call):
        raise ArgumentError(
            f"check: expected FILE.py:LAYER, such as mine.py:Scale or 'mine.py:Scale(3)', got {text!r}."
        )
    path = as_path(file, "check")
    if not path.is_file():
        raise ArgumentError(f"{path}: there is no such file.")
    name, args, options = _read(call)
    try:
        names = runpy.run_path(str(path), run_name=path.stem)
    except Exception as error:
        raise ArgumentError(f"{path}: cannot be run, {type(error).__name__}: {error}.") from error
    if name not in names:
        there = [key for key, value in names.items() if _is_layer(value, path)]
        raise ArgumentError(f"{path}: has no {name!r}; layers in it: {', '.join(there) or 'none'}.")
    found = names[name]
    if isinstance(found, Layer):
        return found, name
    try:
        made = found(*args, **options)
    except Exception as error:
        mend = f"Say its arguments, '{file}:{name}(3, 4)'" if not args and not options else "Are these its arguments?"
        raise ArgumentError(f"{path}: {call} could not be made, {type(error).__name__}: {error}. {mend}") from error
    if not isinstance(made, Layer):
        raise ArgumentError(f"{path}: {call} is no tinygan Layer but {type(made).__name__}; derive from Layer.")
    return made, call


def _is_layer(value: Any, path: Path) -> bool:
    return isinstance(value, Layer) or (
        isinstance(value, type) and issubclass(value, Layer) and value.__module__ == path.stem
    )


def _read(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name, the arguments and the options of a call with plain values."""
    try:
        tree: Any = ast.parse(call, mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, [], {}
        options = {str(node.arg): ast.literal_eval(node.value) for node in tree.keywords}
        return tree.func.id, [ast.literal_eval(arg) for arg in tree.args], options
    except (AttributeError, SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ArgumentError(
            f"check: expected a name, or a call with plain values such as Scale(3), got {call!r}."
        ) from error


def batch_for(layer: Layer, shape: tuple[int, ...] | None, seed: int) -> np.ndarray:
    """A batch (N, ...) from normal(0, 1), or of indices: of ``shape``, or what the layer says it wants, or a guess."""
    rng = np.random.default_rng(seed)
    if layer.takes_integers:
        return rng.integers(2, size=shape or (5,))
    wanted = layer.input_shape
    guesses = [shape] if shape else [(5, *(size or 4 for size in wanted))] if wanted else list(GUESSES)
    for guess in guesses:
        try:
            layer.output_shape(guess[1:])
        except ShapeError as error:
            last = error
            continue
        return rng.standard_normal(guess)
    raise ArgumentError(f"check: {last} Say the shape of a batch: --shape 5,28,28,1.")
