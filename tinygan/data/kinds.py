"""What pictures are called, what they begin with, and which of them are read: what Pillow decodes in bounded time and
memory, by code that starts no other program."""

from __future__ import annotations

import mimetypes
import os
import re
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
    *(".3fr", ".dcr", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".rwl", ".srf", ".x3f", ".gpr", ".bay"),
    *(".dcm", ".fits", ".fit", ".pct", ".pict", ".pcd", ".dcx", ".djvu", ".blp", ".msp", ".fli", ".flc"),
)
#: What files are called that look like pictures
LOOKS = (*SUFFIXES, *NOT_READ)


#: What tells a picture for sure, so that even one that is called like a kind that is not read may be read
SURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|....ftypavi[fs]", re.DOTALL)

_GAP = rb"(?:\s|#[^\n]*\n)+"  # in the header of a PPM file: spaces and remarks

#: What other pictures begin with, read or not; where that may as well begin a text, with more of the header
PROBABLE = re.compile(
    rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+"  # TIFF, and most of cameras' own kinds
    rb"|BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00{3}"  # BMP, with a size that its second header may have
    rb"|P[1-6]" + _GAP + rb"\d+" + _GAP + rb"\d+\s|P[Ff]\s+\d+\s+\d+\s+-?[\d.]+\s|P7\n(?:#[^\n]*\n)*WIDTH \d"
    rb"|\xff\x4f\xff\x51|\x00\x00\x00\x0c(?:jP  |JXL )\r\n\x87\n|\xff\x0a[^\x00\n]"  # JPEG 2000, JPEG XL
    rb"|....ftyp(?:mif1|msf1|hei[cxms]|hev[cxms]|crx )"  # HEIC, AVIF that calls itself so, Canon
    rb"|\n[\x00\x02\x03\x05]\x01[\x01\x02\x04\x08]|\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]|qoif"  # PCX, SGI, QOI
    rb"|8BPS\x00[\x01\x02]|DDS \x7c\x00|\x76\x2f\x31\x01|#\?RADIANCE|gimp xcf |FUJIFILMCCD-RAW|IIU\x00|II\xbc\x01"
    rb"|BPG\xfb|<svg[ >\n]",
    re.DOTALL,
)

_SAYS_NOTHING = (None, "application/octet-stream", "application/x-trash")  # of .bin, .bak: anything may be called so


def begins_like_a_picture(path: str | os.PathLike[str], *, surely: bool = False) -> bool:
    """Whether a regular file of any name begins as pictures do, by the first half kilobyte; ``surely`` if only a kind
    that is read begins so. One that is called like a text, a film or the like does not.

    Raises
    ------
    OSError
        It cannot be read.
    """
    kind, _ = mimetypes.guess_type(f"x{os.path.splitext(path)[1]}", strict=False)
    if kind not in _SAYS_NOTHING and not kind.startswith("image/"):
        return False
    with open(path, "rb") as file:
        start = file.read(512)
    return bool(SURE.match(start) or (not surely and PROBABLE.match(start)))


def without_metadata(path: Path, largest: int = 256 << 20) -> bytes | None:
    """Return a PNG, JPEG, TIFF or JPEG 2000 file without texts, profiles and the like, or None if it is none of them.

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
        if data[4:8] == b"jP  ":
            return _bare_jp2(data)
    except (struct.error, IndexError, ValueError):
        pass
    return None


def _bare_png(data: bytes) -> bytes:
    out, at = [data[:8]], 8
    least, most = {0: (2, 256), 2: (6, 256), 3: (0, 256)}.get(data[25], (1, 0))  # bytes in tRNS, by the kind of colour
    while at + 12 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        end = at + 12 + size
        kind = data[at + 4 : at + 8]
        whole = data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
        extra = kind == b"eXIf" or (kind == b"tRNS" and least <= size <= most)
        if (extra and whole) or kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
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


def _bare_jp2(data: bytes) -> bytes:
    """Only the header of the pixels, wherever it is, and the pixels, which go from ff 4f ff 51 to ff d9."""
    at = data.index(b"jp2h") - 4
    header = data[at : at + struct.unpack_from(">I", data, at)[0]]
    start = data[:12] + struct.pack(">I", 20) + b"ftypjp2 \0\0\0\0jp2 "
    pixels = data[data.index(b"\xff\x4f\xff\x51") : data.rindex(b"\xff\xd9") + 2]
    return start + header + struct.pack(">I", 8 + len(pixels)) + b"jp2c" + pixels


_TIFF_PIXELS = {254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_TIFF_PIXELS |= {332, 334, 338, 339, 347, 529, 530, 531, 532}
