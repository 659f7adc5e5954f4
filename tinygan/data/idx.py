"""The IDX format of MNIST: a header of a few bytes, then the array; often inside gzip.

    0, 0, type, d        four bytes; type 8 means unsigned bytes, d is the number of dimensions
    n_1, ..., n_d        sizes, 32-bit integers, most significant byte first
    n_1 × ... × n_d      the values, the last index running fastest

A file from elsewhere may claim anything, so every claim is checked against what is there before memory is set aside.

References
----------
LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from ..checkpoints import as_path
from ..errors import DataError
from .files import open_file

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_KINDS = {1: "labels (1 dimension)", 3: "grey images (3 dimensions)"}
PIECE = 1 << 20  #: bytes read at a time, as gzip makes as many in memory of its own first
_DEFLATE_LIMIT = 1032  # deflate cannot shrink anything by more than this factor (zlib's technical notes)


def read_idx(path: str | os.PathLike[str], *, ndim: int | None = None, max_bytes: int = 2**30) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzip-compressed; its content tells which, not its name.

    Parameters
    ----------
    path : the file.
    ndim : the number of dimensions it must have: 3 for images (N, H, W), 1 for labels (N,); None for any.
    max_bytes : the largest array that is accepted. A compressed file is unpacked no further than its header says.

    Returns
    -------
    The array, uint8, writable.

    Raises
    ------
    DataError
        The file cannot be read, is no IDX file, holds something else than expected, or is longer or shorter than
        its header says.
    """
    path = as_path(path, "read_idx")
    with open_file(path) as raw:
        stored = os.fstat(raw.fileno()).st_size
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return _read_array(raw, path, ndim, max_bytes, stored, packed=False)
        try:
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                return _read_array(unpacked, path, ndim, max_bytes, stored, packed=True)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: the gzip file is damaged or cut short ({error}); fetch or copy it again."
            ) from error


def _read_array(
    file: BufferedIOBase, path: Path, ndim: int | None, max_bytes: int, stored: int, *, packed: bool
) -> np.ndarray:
    """Check the header, then read what it promises, no byte more and no byte less."""
    magic = file.read(4)
    if len(magic) < 4:
        raise DataError(f"{path}: expected an IDX file, got {len(magic)} bytes in all; fetch or copy it again.")
    if magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        hint = "it looks like a web page, so the download went wrong" if magic[:1] == b"<" else "this is another format"
        raise DataError(
            f"{path}: expected an IDX file, which starts with 00 00 08, got {magic.hex(' ')}; {hint}. "
            "Fetch the file again, or give the path of an IDX file."
        )
    if _TYPES[magic[2]] != "uint8":
        raise DataError(
            f"{path}: expected unsigned bytes (type 08), got {_TYPES[magic[2]]} (type {magic[2]:02x}); "
            "images and labels must be stored as unsigned bytes."
        )
    if ndim is not None and magic[3] != ndim:
        raise DataError(
            f"{path}: expected {_KINDS.get(ndim, f'{ndim} dimensions')}, got "
            f"{_KINDS.get(magic[3], f'{magic[3]} dimensions')}; are image and label files swapped or misnamed?"
        )
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path}: the file ends inside its header; fetch or copy it again.")
    shape = struct.unpack(f">{magic[3]}I", header)
    size, header_size = math.prod(shape), 4 + len(header)  # Python integers: nothing overflows
    if size == 0:
        raise DataError(f"{path}: the header says shape {shape}, which holds nothing; at least one value is needed.")
    if size > max_bytes:
        raise DataError(
            f"{path}: the header says shape {shape}, {size:,} bytes, more than the limit of {max_bytes:,}; "
            "if that is right, raise max_bytes of tinygan.data.idx.read_idx."
        )
    most = stored * _DEFLATE_LIMIT if packed else stored
    if header_size + size > most:
        raise DataError(
            f"{path}: cut short: the header says shape {shape}, {header_size + size:,} bytes, "
            f"but the file of {stored:,} bytes cannot hold them; fetch or copy it again."
        )
    array = np.empty(size, np.uint8)
    filled = 0
    while filled < size and (got := file.readinto(array.data[filled : filled + PIECE])):
        filled += got
    if filled < size:
        raise DataError(
            f"{path}: cut short: the header says shape {shape}, {size:,} bytes, got {filled:,}; fetch or copy it again."
        )
    if file.read(1):
        raise DataError(
            f"{path}: longer than its header says: bytes follow the {size:,} of shape {shape}; "
            "the header is wrong or the file is damaged, fetch or copy it again."
        )
    return array.reshape(shape)
