"""Images that somebody saved with NumPy: a .npy file of images, or a .npz file of images and labels.

Nothing is unpickled, so a file from elsewhere cannot run code; and what its header claims is checked before memory is
set aside.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ..checkpoints import as_path
from ..errors import DataError
from ..ops import to_numpy
from .dataset import MAX_BYTES, ImageData, checked_labels, darkness, half_a_level, shown
from .files import open_file

ROWS = 256  #: images looked at together
LITTLE = 0.1  #: how far beyond black and white resizing may go, of the way from black to white


def read_arrays(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> ImageData:
    """Return the images in a .npy or .npz file.

    Images are (N, H, W) or (N, H, W, C) with C = 1 or 3; uint8, or floats in [0, 1] or [−1, 1], whose smallest value
    tells which. A value may lie half a grey level outside, as rounding leaves it; one from −0.5 to there fits neither
    and is refused. A .npz file holds images as ``images``, or as the only array, and may hold integers (N,) as
    ``labels``; ``description`` says if it does. A .npy file of bytes is memory-mapped and may be larger than memory;
    everything else is read into it.

    Raises
    ------
    DataError
        The file cannot be read, is damaged, needs more than ``max_bytes`` of memory, or holds something else.
    """
    path = as_path(path, "read_arrays")
    with open_file(path) as file:
        start = file.read(6)
        file.seek(0)
        if not (start[:4] == b"PK\x03\x04" or start == b"\x93NUMPY"):
            raise DataError(f"{path}: expected what numpy.save or numpy.savez writes, got another kind of file.")
        try:
            if start == b"\x93NUMPY":
                images, labels, why = _read_npy(path), None, "a .npy file holds nothing but images"
            else:
                images, labels, why = _read_npz(path, file, max_bytes)
        except DataError:
            raise
        except Exception as error:  # unpackers meet foreign bytes with whatever they like
            text = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{path}: not a whole .npy or .npz file ({text[:100]}); save or copy it again.") from error
    images, said = _as_bytes(_arranged(images, path), path, max_bytes)
    text = f"{len(images):,} images of {'x'.join(map(str, images.shape[1:]))} from {path}{said}; "
    text += f"no labels: {why}" if labels is None else "labels: its array 'labels'"
    if labels is not None:
        labels = checked_labels(labels, len(images), f"{path}: its array 'labels'")
    return ImageData(images, labels, path.stem, text + darkness(images))


def from_array(images: Any, name: str = "array") -> ImageData:
    """Return images that are in memory, arranged and scaled as :func:`read_arrays` takes them from a file.

    Raises
    ------
    BackendError, DataError
        It is no array, or holds something else than images.
    """
    images = to_numpy(images)
    images, said = _as_bytes(_arranged(images, Path(name)), Path(name), MAX_BYTES)
    text = f"{len(images):,} images of {'x'.join(map(str, images.shape[1:]))} in memory{said}{darkness(images)}"
    return ImageData(images, None, name, text)


def _read_npy(path: Path) -> np.ndarray:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error) or "Object arrays" in str(error):
            raise DataError(_OBJECTS.format(path)) from error
        raise
    if more := path.stat().st_size - images.offset - images.nbytes:
        raise DataError(
            f"{path}: {more:,} bytes follow its array of shape {images.shape}. If they are another array, "
            "numpy.concatenate makes one of both; else the file is damaged, save or copy it again."
        )
    return images


_OBJECTS = "{}: holds Python objects, which are not loaded as they could run code; save one array of numbers."


def _read_npz(path: Path, packed: BinaryIO, max_bytes: int) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return images, labels, and why there are none; each member's header must agree with what the archive states."""
    with zipfile.ZipFile(packed) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        others = [name for name in members if name != "labels"]
        if "images" not in members and len(others) != 1:
            raise DataError(
                f"{path}: expected an array called 'images', found {_some(list(members)) or 'none'}; "
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
        others = [name for name in members if name not in wanted]
        why = f"no array is called 'labels'{' but ' + _some(others) if others else ''}"
        return arrays[0], arrays[1] if len(arrays) > 1 else None, why


def _some(names: list[str]) -> str:
    return ", ".join(ascii(name)[:40] for name in names[:4]) + (", ..." if len(names) > 4 else "")


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


def _as_bytes(images: np.ndarray, path: Path, max_bytes: int) -> tuple[np.ndarray, str]:
    """Return uint8 images as they are, and floats rounded to the 256 levels of bytes, a few at a time; and what is to
    be said of it."""
    if images.dtype == np.uint8:
        return images, ""
    if images.dtype.kind != "f":
        raise DataError(f"{path}: expected uint8 or floats, got {images.dtype}; {_mend(images)}.")
    if images.size > max_bytes:
        raise DataError(
            f"{path}: {images.size:,} pixel values are more than the {max_bytes:,} that are held in memory; "
            "save them as uint8, which is read piece by piece."
        )
    starts = range(0, len(images), ROWS)
    smallest = float(np.min([images[i : i + ROWS].min() for i in starts]))  # NaN if there is one
    largest = float(np.max([images[i : i + ROWS].max() for i in starts]))
    if np.isnan(smallest):
        _refuse_nan(images, path)
    low = 0.0 if smallest > -half_a_level(0.0, 1.0) else -1.0
    little = half_a_level(low, 1.0)
    if smallest <= low - little or largest >= 1.0 + little or (low < 0.0 and smallest > -0.5):
        raise DataError(
            f"{path}: expected floats in [0, 1] or [-1, 1], got [{shown(smallest)}, {shown(largest)}]; "
            f"{_mend_floats(smallest, largest)}."
        )
    out = np.empty(images.shape, np.uint8)
    for i in starts:
        out[i : i + ROWS] = ImageData.from_floats(images[i : i + ROWS], low=low, high=1.0, name=str(path)).images
    return out, f", of floats with black at {low:g} and white at 1"


def _refuse_nan(images: np.ndarray, path: Path) -> NoReturn:
    """Say which image, counted over all."""
    wrong = [n for n, image in enumerate(images) if not np.isfinite(image).all()]
    pixel = tuple(int(i) for i in np.argwhere(~np.isfinite(images[wrong[0]]))[0])
    raise DataError(
        f"{path}: image {wrong[0]} holds {images[wrong[0]][pixel]} at pixel {pixel}, and {len(wrong):,} images in all "
        "hold values that are not finite; leave such images out, or mend them with numpy.nan_to_num."
    )


def _mend(images: np.ndarray) -> str:
    """How to make bytes of numbers that are neither bytes nor floats, judged by the first thousand images."""
    if images.dtype.kind == "b":
        return "images.astype(numpy.uint8) * 255"
    if images.dtype.kind not in "iu":
        return "numbers are needed"
    usual = {"u": "(images // 257).astype(numpy.uint8) if they go to 65535"}
    hint = usual.get(images.dtype.kind, "images.astype(numpy.uint8) if they go from 0 to 255")
    smallest, largest = int(images[:1000].min()), int(images[:1000].max())
    better = ""
    if smallest < 0:
        better = "shift and scale them to 0 to 255 first"
    elif largest <= 1:
        better = "(images * 255).astype(numpy.uint8)"
    elif largest <= 255:
        better = "images.astype(numpy.uint8)"
    elif largest < 1 << 14:  # of a camera or a scanner
        better = f"(images >> {largest.bit_length() - 8}).astype(numpy.uint8)"
    return f"{hint}; the first thousand images go from {smallest:,} to {largest:,}{better and ', so ' + better}"


def _mend_floats(smallest: float, largest: float) -> str:
    if smallest > -LITTLE * min(largest, 1.0) and largest < 1.0 + LITTLE:
        return "if black is 0 and white 1, numpy.clip(images, 0, 1) cuts off what resizing left beyond them"
    if smallest >= -0.5 and 2.0 < largest < 256.0:
        return "images.astype(numpy.uint8) if they go from 0 to 255, else scale them"
    return (
        "scale them so that black is 0 and white is 1: (images - black) / (white - black), with the numbers that stand "
        "for black and white"
    )
