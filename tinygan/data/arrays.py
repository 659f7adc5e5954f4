"""Images that somebody saved with NumPy: a .npy file of images, or a .npz file of images and labels.

Nothing is unpickled, so a file from elsewhere cannot run code; and what its header claims is checked before memory is
set aside.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import as_path
from ..errors import DataError
from ..ops import to_numpy
from .dataset import MAX_BYTES, ImageData

ROWS = 256  #: images looked at together

_DAMAGE: tuple[type[Exception], ...] = (ValueError, TypeError, SyntaxError, EOFError, KeyError, IndexError)
_DAMAGE += (NotImplementedError, RuntimeError, UnicodeError, OverflowError, RecursionError)
_DAMAGE += (zipfile.BadZipFile, zlib.error, tokenize.TokenError)


def read_arrays(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> ImageData:
    """Return the images in a .npy or .npz file.

    Images are (N, H, W) or (N, H, W, C) with C = 1 or 3; uint8, or floats in [0, 1], or in [−1, 1] if any is negative.
    A .npz file holds them as ``images``, or as the only array, and may hold integers (N,) as ``labels``. A .npy file of
    bytes is memory-mapped and may be larger than memory; everything else is read into it.

    Raises
    ------
    DataError
        The file cannot be read, is damaged, needs more than ``max_bytes`` of memory, or holds something else.
    """
    path = as_path(path, "read_arrays: path")
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start[:4] == b"PK\x03\x04":
            images, labels = _read_npz(path, max_bytes)
        elif start == b"\x93NUMPY":
            images, labels = _read_npy(path), None
        else:
            raise DataError(f"{path}: expected what numpy.save or numpy.savez writes, got another kind of file.")
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except _DAMAGE as error:
        text = " ".join(str(error).split())
        raise DataError(f"{path}: not a whole .npy or .npz file ({text[:100]}); save or copy it again.") from error
    images = _as_bytes(_arranged(images, path), path, max_bytes)
    text = f"{len(images):,} images of {'x'.join(map(str, images.shape[1:]))} from {path}"
    return ImageData(images, labels, path.stem, text)


def from_array(images: Any, name: str = "array") -> ImageData:
    """Return images that are in memory, arranged and scaled as :func:`read_arrays` takes them from a file.

    Raises
    ------
    BackendError, DataError
        It is no array, or holds something else than images.
    """
    images = to_numpy(images)
    images = _as_bytes(_arranged(images, Path(name)), Path(name), MAX_BYTES)
    return ImageData(images, None, name, f"{len(images):,} images of {'x'.join(map(str, images.shape[1:]))} in memory")


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error) or "Object arrays" in str(error):
            raise DataError(_OBJECTS.format(path)) from error
        raise


_OBJECTS = "{}: holds Python objects, which are not loaded as they could run code; save one array of numbers."


def _read_npz(path: Path, max_bytes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and labels; each member's header must agree with the size that the archive states."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        others = [name for name in members if name != "labels"]
        if "images" not in members and len(others) != 1:
            raise DataError(
                f"{path}: expected an array called 'images', found {', '.join(map(repr, members)) or 'none'}; "
                "numpy.savez(path, images=..., labels=...) names them."
            )
        wanted = ["images" if "images" in members else others[0], *(["labels"] if "labels" in members else [])]
        arrays = []
        for name in wanted:
            info = members[name]
            if info.file_size > max_bytes:
                raise DataError(
                    f"{path}: {name!r} has {info.file_size:,} bytes, more than the {max_bytes:,} that are unpacked "
                    "into memory; save the images as .npy, which is read piece by piece."
                )
            with archive.open(info) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if dtype.hasobject:
                    raise DataError(_OBJECTS.format(path))
                if file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
                    raise ValueError(f"{name!r} claims to have shape {shape} in {info.file_size:,} bytes")
            with archive.open(info) as file:
                arrays.append(np.lib.format.read_array(file, allow_pickle=False))
        return arrays[0], arrays[1] if len(arrays) > 1 else None


def _arranged(images: np.ndarray, path: Path) -> np.ndarray:
    """Return the images as (N, H, W, C), which takes no copy; or say how to get there."""
    shape = images.shape
    if images.ndim == 3 and shape[-1] not in (1, 3):
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        hint = "reshape them"
        if images.ndim == 4 and shape[1] in (1, 3):
            hint = "the channels come last here: images.transpose(0, 2, 3, 1)"
        elif images.ndim == 4 and shape[-1] == 4:
            hint = "images[..., :3] leaves the fourth channel out"
        elif images.ndim == 3:
            hint = "a single colour image is images[None], a row of narrow grey ones images[..., None]"
        elif images.ndim == 2:
            hint = "rows of pixels need images.reshape(-1, height, width, channels), a single image images[None]"
        raise DataError(f"{path}: expected images (N, H, W) or (N, H, W, C) with C = 1 or 3, got {shape}; {hint}.")
    if images.size == 0:
        raise DataError(f"{path}: the array is empty, its shape is {shape}; at least one image is needed.")
    return images


def _as_bytes(images: np.ndarray, path: Path, max_bytes: int) -> np.ndarray:
    """Return uint8 images as they are, and others rounded to the 256 levels of bytes, a few at a time."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        mends = {
            "u": "(images // 257).astype(numpy.uint8) if they go to 65535",
            "b": "images.astype(numpy.uint8) * 255",
        }
        raise DataError(
            f"{path}: expected uint8 or floats, got {images.dtype}; "
            f"{mends.get(images.dtype.kind, 'images.astype(numpy.uint8) if they go from 0 to 255')}."
        )
    if images.size > max_bytes:
        raise DataError(
            f"{path}: {images.size:,} pixel values are more than the {max_bytes:,} that are held in memory; "
            "save them as uint8, which is read piece by piece."
        )
    starts = range(0, len(images), ROWS)
    smallest = min(float(images[i : i + ROWS].min()) for i in starts)  # NaN and infinity fail below
    largest = max(float(images[i : i + ROWS].max()) for i in starts)
    if smallest < -1.0 or largest > 1.0:
        hint = "images.astype(numpy.uint8) if they go from 0 to 255" if smallest >= 0 else "scale them"
        raise DataError(f"{path}: expected floats in [0, 1] or [-1, 1], got [{smallest:.6g}, {largest:.6g}]; {hint}.")
    low = -1.0 if smallest < 0 else 0.0
    out = np.empty(images.shape, np.uint8)
    for i in starts:
        out[i : i + ROWS] = ImageData.from_floats(images[i : i + ROWS], low=low, high=1.0, name=str(path)).images
    return out
