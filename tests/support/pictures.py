"""Pictures for tests: good ones, damaged ones, and one that is not as small as it looks."""

import struct
import zlib

import numpy as np
from PIL import Image

from tinygan.data import load_folder

RED, BLUE = (200, 30, 40), (10, 20, 220)


def picture(folder, name="a.png", size=(8, 8), colour=RED, mode="RGB", **options):
    """Save a picture of one colour; ``size`` is (width, height)."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def one(folder, **options):
    """The only image of a folder."""
    data = load_folder(folder, **{"size": 8, **options})
    assert len(data) == 1
    return data.images[0]


def cut(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def bomb(path, width, height):
    """A PNG file of a few bytes that claims to be huge."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b""))
