"""Images as a notebook shows them: what is known of them in words, above a sheet of small ones.

The sheet is a PNG within the text itself, so it stays in the notebook when the data is gone. It shows an even choice of
the images, in their order.
"""

from __future__ import annotations

import base64
import io
import math
from html import escape

import numpy as np

from .dataset import ImageData
from .pictures import refit

MAX_BYTES = 145_000  #: of the PNG, which as text are a third more
SHEETS = ((64, 64), (36, 64), (36, 48), (16, 48))  #: how many images, and of how many pixels; the last always fits
GAP = 2  #: white pixels between them
SMALL = 32  #: pixels: images that are no larger than this are shown twice as large


def as_html(data: ImageData) -> str:
    """The description and the sheet; if that cannot be made, such as of two channels, the description alone."""
    said = f"<p>{escape(repr(data))}{': ' * bool(data.description)}{escape(data.description)}</p>"
    try:
        png, width = _sheet(data)
    except Exception:  # the words are worth more than a traceback
        return f"<div>\n{said}\n</div>"
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    scale = 2 if max(data.image_shape[:2]) <= SMALL else 1
    style = f"width: {scale * width}px; max-width: none; image-rendering: pixelated"
    return f'<div>\n{said}\n<img src="{source}" alt="some of the images" style="{style}">\n</div>'


def _sheet(data: ImageData) -> tuple[bytes, int]:
    """A PNG file of at most MAX_BYTES, and its width."""
    from PIL import Image

    for count, side in SHEETS:
        picture = _tiled(_some(data, count, side))
        file = io.BytesIO()
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
        if file.tell() <= MAX_BYTES:
            break
    return file.getvalue(), picture.shape[1]


def _some(data: ImageData, count: int, side: int) -> np.ndarray:
    """An even choice of the images, (count, H, W, C), shrunk where they are larger than ``side``."""
    rows = np.unique(np.linspace(0, len(data.images) - 1, count).round().astype(int))
    some = ImageData(np.array(data.images[rows]), name=data.name)
    height, width, _ = data.image_shape
    scale = max(1.0, height / side, width / side)
    return refit(some, size=(max(1, round(height / scale)), max(1, round(width / scale)))).images


def _tiled(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) as one picture (height, width, C), about as many images high as wide."""
    n, h, w, c = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    tiles = np.full((rows * columns, h + GAP, w + GAP, c), 255, np.uint8)
    tiles[:n, :h, :w] = images
    # (rows, columns, h, w, c) -> (rows, h, columns, w, c): pixels of one line side by side
    picture = tiles.reshape(rows, columns, h + GAP, w + GAP, c).transpose(0, 2, 1, 3, 4)
    return picture.reshape(rows * (h + GAP), columns * (w + GAP), c)[:-GAP, :-GAP]
