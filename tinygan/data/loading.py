"""One name or path for whatever images there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoints import as_path
from ..errors import ArgumentError, DataError
from ..layers.starting import flag, one_of
from .arrays import from_array, read_arrays
from .dataset import ImageData
from .digits import digits
from .files import kind_of, open_file
from .folder import load_folder
from .kinds import LOOKS, begins_like_a_picture
from .mnist import SOURCES, Unavailable, holds_idx, load_idx_file, load_idx_folder, load_public
from .pictures import Form, refit
from .shapes import shapes

_COUNT = {  # of images that we draw ourselves; as many digits as MNIST has
    "digits": {"train": 60_000, "test": 10_000},
    "shapes": {"train": 10_000, "test": 2_000},
}


#: What archives begin with, or are called where that says nothing; a .gz file alone may hold IDX
ARCHIVES = (b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd")
ARCHIVED = (".tar", ".tar.gz", ".tgz", ".npy.gz", ".npz.gz")


def at_once(work: Callable[[], ImageData]) -> ImageData:
    """Do ``work`` now: nobody else fetches the same."""
    return work()


def load(
    name: Any = "auto",
    *,
    split: str = "train",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    background: int | tuple[int, int, int] = 255,
    mirror: bool = False,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
    in_turn: Callable[[Callable[[], ImageData]], ImageData] = at_once,
) -> ImageData:
    """Return an image set, whatever it takes.

    Parameters
    ----------
    name : one of

        - ``"auto"``: MNIST if it can be had, else the embedded digits; ``description`` says which and why. A
          damaged file in a folder of yours is an error all the same.
        - ``"mnist"``, ``"fashion"``: that one or an error. Looked for in the folder that the environment variable
          TINYGAN_DATA names (the IDX files of MNIST themselves, or a folder ``mnist`` or ``fashion`` of them), then
          in the cache, then fetched once from its mirrors.
        - ``"digits"``, ``"shapes"``: grey digits and colourful creatures that tinygan draws from ``seed``.
        - the path of a folder with IDX files named as MNIST's, plain or .gz, or of one IDX file of images; labels are
          read if they lie beside them.
        - the path of a folder of pictures, see :func:`load_folder`.
        - the path of a .npy or .npz file, see :func:`read_arrays`.
        - an array of images in memory, arranged and scaled as such a file would hold them.
    split : ``"train"`` or ``"test"``; pictures and files given by their path are what they are.
    size : (height, width) that the images shall have, or one number for both; by default as they are, and 64 for a
        folder of pictures.
    channels : 1 for grey, 3 for colour; by default as they are.
    fit, background : how pictures are brought to ``size``, see :class:`tinygan.data.pictures.Form`.
    mirror : add the mirror image of every image.
    cache : folder for fetched files and for what is made of a folder of pictures; by default the user's cache
        directory.
    seed : of digits and shapes; nothing else here is random.
    in_turn : calls what fetches files or decodes pictures, and returns what that returns. Where several processes load
        the same, ``tinygan.parallel.mpi.world().in_turn`` lets the first of them work and the others find its files.

    Raises
    ------
    DataError
        The data cannot be had or is damaged; the message says what was tried and how to mend it.
    ArgumentError
        A setting has no meaning.
    """
    split, mirror = one_of(split, "split: expected 'train' or 'test'", ("train", "test")), flag(mirror, "mirror")
    if not callable(in_turn):
        raise ArgumentError(f"load: in_turn must be a function, got {type(in_turn).__name__}.")
    if channels is not None:
        channels = one_of(channels, "channels: expected 1 for grey or 3 for colour", (1, 3))
    if hasattr(name, "__array__") and not isinstance(name, str):
        data = from_array(name)
    elif not isinstance(name, str | os.PathLike):
        raise ArgumentError(
            f"load: expected a path, the name of a data set or an array of images, got {type(name).__name__}; "
            "numpy.stack(images) makes an array of a list of images."
        )
    elif name in ("auto", *_COUNT, *SOURCES):
        data = _named(name, split, cache, seed, size, in_turn)
    elif (what := kind_of(path := as_path(name, "load"))) == "folder" and not holds_idx(path):
        data = in_turn(
            lambda: load_folder(
                path, size=64 if size is None else size, channels=channels, fit=fit, background=background, cache=cache
            )
        )
    elif what:
        data = _from_path(path, split)
    else:
        names = ", ".join(map(repr, ("auto", *_COUNT, *SOURCES)))
        raise DataError(
            f"data {os.fspath(name)!r}: neither a name ({names}) nor a file or folder that exists; check the spelling."
        )
    data = refit(data, size=size, channels=channels, fit=fit, background=background)
    return data.with_mirror_images() if mirror else data


def _named(
    name: str,
    split: str,
    cache: str | os.PathLike[str] | None,
    seed: int,
    size: Any,
    in_turn: Callable[[Callable[[], ImageData]], ImageData],
) -> ImageData:
    if name == "digits":
        return digits(_COUNT[name][split], seed=seed, split=split)
    if name == "shapes":
        if isinstance(size, tuple | list):  # a square, of which that is then cut; no larger than fits into memory
            size = min(max(*Form(tuple(size)).shape[:2], 8), 256)
        return shapes(_COUNT[name][split], seed=seed, split=split, size=64 if size is None else size)
    if name != "auto":
        return in_turn(lambda: load_public(name, split, cache))
    try:
        return in_turn(lambda: load_public("mnist", split, cache))
    except Unavailable as error:
        drawn = _named("digits", split, cache, seed, size, in_turn)
        return replace(drawn, description=f"{drawn.description}, since {error.brief}")


def _from_path(path: Path, split: str) -> ImageData:
    """Load what a file holds, by its first bytes, or a folder of IDX files."""
    if path.is_dir():
        return load_idx_folder(path, split, name=path.name, title=path.name)
    with open_file(path) as file:
        start = file.read(6)
    if path.suffix.lower() in (".npy", ".npz") or start == b"\x93NUMPY":
        return read_arrays(path)
    if start.startswith(ARCHIVES) or path.name.lower().endswith(ARCHIVED):
        raise DataError(
            f"{path}: this is an archive; unpack it and give the folder or the file that was in it. What numpy.savez "
            "wrote must be called .npz."
        )
    if path.name.lower().endswith(LOOKS) or begins_like_a_picture(path):
        raise DataError(f"{path}: this is one picture; give the folder that holds the pictures.")
    return load_idx_file(path)
