"""What pictures are called, what they begin with, and which of them are read: what Pillow decodes in bounded time and
memory, by code that starts no other program."""

from __future__ import annotations

import mimetypes
import os
import struct
import zlib
from pathlib import Path

#: Pillow's names of the formats that are read, and what such files are called
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),  # several JPEGs in one, as telephones make them
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "PCX": (".pcx",),
    "SGI": (".bw", ".rgb", ".rgba", ".sgi"),
    "QOI": (".qoi",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
COST = {"JPEG2000": 8, "QOI": 16}  #: pixels of others for one of these, in time and memory
BY_NAME = {"TGA"}  #: formats that begin with nothing of their own: only a file called so is taken for one

#: Suffixes of pictures that are not read: there is no decoder, or one that runs programs, is slow, or takes a thumbnail
NOT_READ = (
    *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".bpg", ".flif", ".svg", ".svgz", ".ai", ".eps", ".wmf", ".emf"),
    *(".psd", ".psb", ".xcf", ".kra", ".ora", ".exr", ".hdr", ".dds", ".ico", ".cur", ".icns", ".xbm", ".xpm", ".ras"),
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".raw", ".srw"),
    *(".dcm", ".fits", ".fit", ".pct", ".pict", ".pcd", ".dcx", ".djvu", ".blp", ".msp", ".fli", ".flc"),
)
#: What files are called that look like pictures
LOOKS = (*SUFFIXES, *NOT_READ)


def begins_like_a_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file of any name holds a PNG, JPEG, GIF, WebP or AVIF; one that is called like a text does not.

    Raises
    ------
    OSError
        It cannot be read.
    """
    kind, _ = mimetypes.guess_type(f"x{os.path.splitext(path)[1]}", strict=False)
    if kind and not kind.startswith("image/"):
        return False
    with open(path, "rb") as file:
        start = file.read(12)
    known = start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"))
    return known or (start[:4] == b"RIFF" and start[8:] == b"WEBP") or start[4:] in (b"ftypavif", b"ftypavis")


def without_metadata(path: Path, largest: int = 256 << 20) -> bytes | None:
    """Return a PNG, JPEG or TIFF file without texts, profiles and the like, or None if it is none of them.

    What says where the camera's top was stays; the pixels are not touched.
    """
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        return None
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _bare_png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _bare_jpeg(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _bare_tiff(data)
    except (struct.error, IndexError):
        pass
    return None


def _bare_png(data: bytes) -> bytes:
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        kind = data[at + 4 : at + 8]
        turned = kind == b"eXIf" and data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
        if turned or kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            out.append(data[at:end])
        at = end
    return b"".join(out)


def _bare_jpeg(data: bytes) -> bytes:
    out, at = [data[:2]], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:  # up to the pixels
        end = at + 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
        turned = data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0"
        colours = data[at + 1] == 0xEE and end - at >= 16  # Adobe's, which says whether CMYK is upside down
        if turned or colours or not (0xE0 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE):
            out.append(data[at:end])
        at = end
    return b"".join([*out, data[at:]])


def _bare_tiff(data: bytes) -> bytes:
    """Only the first page, and of its tags those that the pixels depend on."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, start)[0]
    entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] in _TIFF_PIXELS]
    page = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    return data[:start] + page + data[start + len(page) :]


_TIFF_PIXELS = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_TIFF_PIXELS |= {332, 334, 338, 339, 347, 529, 530, 531, 532}
