"""A layer in a file of somebody's: found, made, and a batch for it."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import as_path
from ..errors import ArgumentError, TinyGANError
from ..layers import Layer
from ..parallel.console import console

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
    names = guarded(lambda: runpy.run_path(str(path), run_name=path.stem), f"{path}: cannot be run")
    if name not in names:
        there = [key for key, value in names.items() if _is_layer(value, path)]
        raise ArgumentError(f"{path}: has no {name!r}; layers in it: {', '.join(there) or 'none'}.")
    found = names[name]
    if isinstance(found, Layer):
        return found, name
    mend = f"Say its arguments, '{file}:{name}(3, 4)'." if not args and not options else "Are these its arguments?"
    made = guarded(lambda: found(*args, **options), f"{path}: {call} could not be made", mend)
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
        return rng.integers(getattr(layer, "classes", 2), size=shape or (5,))
    if shape is not None:
        return rng.standard_normal(shape)
    wanted = layer.input_shape
    last = ""
    for guess in [(5, *(size or 4 for size in wanted))] if wanted else GUESSES:
        x = rng.standard_normal(guess)
        try:
            guarded(lambda x=x: layer.astype(np.float64).forward(x), f"a batch of shape {guess}")  # type: ignore[misc]
        except TinyGANError as error:
            last = str(error)
            continue
        return x
    raise ArgumentError(
        f"check: which samples does the layer take? {last} Say the shape of a batch: --shape 5,28,28,1."
    )


def guarded(work: Callable[[], Any], what: str, mend: str = "") -> Any:
    """Do the work, which is somebody's; whatever it raises but errors of ours, an exit included, is an ArgumentError of
    one line."""
    try:
        return work()
    except TinyGANError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": .")
        raise ArgumentError(f"{what}, {said}. {mend}".rstrip()) from error


@contextmanager
def in_its_folder(text: str) -> Iterator[None]:
    """Let a file import what lies beside it, as Python does, and print to stderr, where no answer is read."""
    folder = str(Path(text.rpartition(":")[0] or ".").resolve().parent)
    sys.path.insert(0, folder)
    try:
        with redirect_stdout(console("stderr")):
            yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
