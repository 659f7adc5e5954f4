"""One picture, whatever it holds, to bytes of the one shape that a network takes.

A picture's header is read first, and decides how much memory may follow it; then the picture is decoded, cropped or
framed, and shrunk with an anti-aliasing filter. Pillow does the decoding, and only for the formats in :mod:`.kinds`.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from ..backends.cpu.threads import share_out
from ..errors import ArgumentError, DataError, positive_int
from ..layers.starting import one_of
from .dataset import MAX_BYTES, ImageData
from .kinds import BY_NAME, COST, FORMATS, without_metadata

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TILE = 4_000_000  #: pixels of a tile of a TIFF that is smaller itself
MAX_SIZE = 8192  #: pixels, each way, of what pictures are brought to
MAX_PIXELS = 50_000_000  #: of one decoded picture: Pillow spends 200 MB on it, and twice that if it is transparent

_SWITCHED = threading.Lock()  # held while Pillow's limit, which all threads share, is off


@dataclass(frozen=True)
class Form:
    """The shape that all pictures are brought to, and how.

    Attributes
    ----------
    size : (height, width) in pixels; one number means a square.
    channels : 1 for grey, 3 for colour.
    fit : ``"crop"`` keeps the largest part from the middle that has the wanted proportions; ``"letterbox"`` keeps all,
        and fills what is left over with ``background``.
    background : a grey level or (red, green, blue), 0 to 255; it also stands behind transparent pictures.

    Raises
    ------
    ArgumentError
        A value has no meaning.
    """

    size: int | tuple[int, int] = 64
    channels: int = 3
    fit: str = "crop"
    background: int | tuple[int, int, int] = 255

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _whole_numbers(self.size, 2, "size", "a height and a width", 1, MAX_SIZE))
        object.__setattr__(self, "background", _whole_numbers(self.background, 3, "background", "a colour", 0, 255))
        object.__setattr__(
            self, "channels", one_of(self.channels, "channels: expected 1 for grey or 3 for colour", (1, 3))
        )
        object.__setattr__(self, "fit", one_of(self.fit, "fit: expected 'crop' or 'letterbox'", ("crop", "letterbox")))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of the arrays."""
        height, width = cast(tuple[int, int], self.size)  # by now it is one
        return height, width, self.channels


class TooLarge(DataError):
    """A picture has more pixels than may be decoded."""


class Unsuitable(DataError):
    """A picture is whole, but nobody can tell what is black and white in it, or what its colours are."""


class Picture(NamedTuple):
    """What :func:`read_picture` makes of a file."""

    pixels: np.ndarray  #: (H, W, C) uint8
    enlarged: bool  #: whether it was smaller
    frames: bool  #: whether the file holds others besides this one: an animation, or pages


def read_picture(path: Path, form: Form, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture in ``path`` as bytes (H, W, C), and what else is known of it.

    Upright as its EXIF tag says; of an animation or several pages, the first; of 16 bits, the upper 8. Metadata that
    Pillow fails on are left out. Call it within :func:`own_limits`.

    Raises
    ------
    TooLarge
        More than ``max_pixels`` would have to be in memory. A JPEG counts with what is left when its decoder shrinks
        it, unless it is progressive: then all of it is in memory at once. A pixel of a costly format (:data:`COST`)
        counts as several.
    Unsuitable
        Its pixels are no colours or grey levels, such as floats.
    Exception
        Anything, from Pillow, if the file is damaged or no picture: decoders meet foreign bytes in their own ways.
    """
    try:
        return _read(path, path.suffix, form, max_pixels)
    except (TooLarge, Unsuitable):
        raise
    except Exception as error:
        bare = None if getattr(error, "errno", None) else without_metadata(path)
        if bare is None:
            raise
        try:
            return _read(io.BytesIO(bare), path.suffix, form, max_pixels)
        except (TooLarge, Unsuitable):
            raise
        except Exception:  # that of the whole file says more
            raise error from None


def _read(file: Path | BinaryIO, suffix: str, form: Form, max_pixels: int) -> Picture:
    from PIL import Image

    with Image.open(file, formats=_formats(suffix.lower())) as image:
        width, height = image.size
        enough = 2 * max(form.shape[:2])  # twice what is needed: the filter below shrinks better than the decoder
        image.draft("L" if form.channels == 1 else None, (enough, enough))  # does nothing unless it is a JPEG
        pixels = width * height if "progressive" in image.info else math.prod(image.size)
        allowed = max_pixels // COST.get(str(image.format), 1)
        if pixels > allowed:
            which = "" if allowed == max_pixels else f" of {image.format}, {allowed:,},"
            raise TooLarge(f"{width:,} x {height:,} pixels are more than max_pixels={max_pixels:,}{which} allows")
        tags = getattr(image, "tag_v2", {})  # of TIFF, whose tiles may be larger than the picture
        if (tile := math.prod(tags.get(tag, 1) for tag in (322, 323))) > max(pixels, MAX_TILE):
            raise TooLarge(f"a tile of {tile:,} pixels is more than a picture of {width:,} x {height:,} needs")
        if tags.get(254, 0) == 1 and (330 in tags or getattr(image, "is_animated", False)):  # as in cameras' own kinds
            raise Unsuitable("its first page is a small copy of the picture: save it as PNG or JPEG")
        frames = image.format != "MPO" and getattr(image, "is_animated", False)
        image.load()
        turn = _orientation(image)
        small = _fitted(_plain(image), form, turn)
    if turn >= 5:
        width, height = height, width
    enlarged = height < form.shape[0] or width < form.shape[1]
    return Picture(np.asarray(small).reshape(form.shape), enlarged, bool(frames))


@cache
def _formats(suffix: str) -> list[str]:
    """The formats that a file with this suffix is tried as, of those that this Pillow has."""
    from PIL import Image

    Image.init()
    return [
        name for name, suffixes in FORMATS.items() if name in Image.OPEN and (name not in BY_NAME or suffix in suffixes)
    ]


def reason(error: Exception) -> str:
    """Why a picture cannot be read, in a few words."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no PNG, JPEG, GIF, WebP or BMP image, nor another that is read"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 90 else f"{text[:87]}..."


@contextmanager
def own_limits() -> Iterator[None]:
    """Switch off Pillow's limit on pixels and its warnings: ours is lower, and knows how far a JPEG will be shrunk."""
    from PIL import Image

    with _SWITCHED, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def refit(
    data: ImageData,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    background: int | tuple[int, int, int] = 255,
) -> ImageData:
    """Return ``data`` with images of another size or number of channels, as :class:`Form` says; None keeps either.

    Raises
    ------
    DataError
        The images have channels other than 1 or 3, or the new ones take more memory than MAX_BYTES.
    ArgumentError
        A setting has no meaning.
    """
    if not isinstance(data, ImageData):
        raise ArgumentError(f"refit: expected ImageData, got {type(data).__name__}.")
    height, width, c = data.image_shape
    if c not in (1, 3):
        raise DataError(f"{data.name}: only grey or colour images can be resized, these have {c} channels.")
    form = Form(1 if size is None else size, c if channels is None else channels, fit, background)
    if form.channels == c and (size is None or form.shape[:2] == (height, width)):
        return data
    if size is None:
        form = replace(form, size=(height, width))
    n = len(data.images)
    if n * math.prod(form.shape) > MAX_BYTES:
        raise DataError(
            f"{data.name}: {n:,} images of {form.shape} take more than {MAX_BYTES:,} bytes; "
            "resize them beforehand into a .npy file, which need not fit into memory."
        )
    from PIL import Image

    images = np.empty((n, *form.shape), np.uint8)

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            image = Image.fromarray(data.images[i, ..., 0] if c == 1 else data.images[i])
            images[i] = np.asarray(_fitted(image, form)).reshape(form.shape)

    share_out(work, n, least=500)
    shape = "x".join(map(str, form.shape))
    return replace(data, images=images, description=f"{data.description}, brought to {shape}")


def _orientation(image: Image) -> int:
    """The EXIF tag that says how the camera was held, 1 to 8; damaged EXIF is no reason to lose a picture."""
    try:
        value = image.getexif().get(0x0112, 1)
        return int(value) if value in range(1, 9) else 1
    except Exception:
        return 1


def _plain(image: Image) -> Image:
    """Convert to 8 bits per channel: grey (L), colour (RGB), or colour with transparency (RGBA)."""
    from PIL import Image

    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise Unsuitable("its numbers have 32 bits, and nothing says which is white: save it with 8 or 16 bits")
    if image.mode == "LAB":
        raise Unsuitable("its colours are in the Lab space: save it in RGB")
    if image.mode in ("P", "PA") and not image.getpalette():
        raise Unsuitable("its pixels are numbers of colours, and the list of colours is missing")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow keeps in 16 or 32
        tags = getattr(image, "tag_v2", {})  # of TIFF, of which Pillow leaves us two: bits, and whether 0 is white
        levels = np.clip(np.asarray(image) >> (4 if tags.get(258) == (12,) else 8), 0, 255).astype(np.uint8)
        grey = Image.fromarray(255 - levels if tags.get(262) == 0 else levels)
        if not isinstance(clear := image.info.get("transparency"), int):  # the one level that is
            return grey
        grey.putalpha(Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8)))
        return grey.convert("RGBA")
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if transparent and image.mode != "RGBA":
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA"):
        return image  # convert() would copy it
    return image.convert("L" if image.mode == "1" else "RGB")


def _fitted(image: Image, form: Form, orientation: int = 1) -> Image:
    """Crop or frame a picture, resize it, lay it on the background, and turn it upright, in this order."""
    from PIL.Image import Resampling, Transpose, new

    # What is cut off or added is the same on both sides, so a picture may be turned when it is small
    height, width = form.shape[:2] if orientation < 5 else form.shape[1::-1]
    w, h = image.size
    if form.fit == "crop":
        scale = min(w / width, h / height)  # pixels there for one here
        cut_w, cut_h = min(w, scale * width), min(h, scale * height)
        inner, box = (width, height), ((w - cut_w) / 2, (h - cut_h) / 2, (w + cut_w) / 2, (h + cut_h) / 2)
    else:
        scale = max(w / width, h / height)
        inner, box = (max(1, round(w / scale)), max(1, round(h / scale))), (0, 0, w, h)
    image = image.resize(inner, Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if image.mode == "RGBA" or inner != (width, height):
        canvas = new("RGB", (width, height), form.background)
        corner = ((width - inner[0]) // 2, (height - inner[1]) // 2)
        canvas.paste(image, corner, mask=image if image.mode == "RGBA" else None)
        image = canvas
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    if orientation in turns:
        image = image.transpose(turns[orientation])
    return image.convert("L" if form.channels == 1 else "RGB")


def _whole_numbers(value: Any, count: int, name: str, what: str, least: int, most: int) -> tuple[int, ...]:
    """Return ``count`` whole numbers; a single one stands for all of them."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    try:
        if len(values) == count:
            return tuple(positive_int(v, name, least=least, most=most) for v in values)
    except ArgumentError:
        pass
    raise ArgumentError(f"{name}: expected {what}, whole numbers from {least} to {most}, got {value!r}.")
