"""Pictures of a run: grids of samples, a film of them, and the loss curves.

    from tinygan import plotting

    plotting.save_png("samples.png", plotting.grid(gan.sample(64)))

Pillow and matplotlib are imported when they are first needed. Every file is put in place whole, and holds neither times
nor versions: the same numbers give the same bytes, whatever matplotlib is told by MPLBACKEND, by a matplotlibrc or by
the program that draws. A program for which a picture is not worth an error makes it with :func:`attempt`:

    if plotting.attempt("curve.png", lambda: draw("curve.png")):
        print("Look at curve.png.")
"""

from __future__ import annotations

import importlib
import io
import math
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..checkpoints import as_path, replace_file
from ..data.files import open_file
from ..data.pictures import own_limits
from ..errors import ArgumentError, DataError, ShapeError, positive_int, positive_or_0, real
from ..losses import Loss
from ..ops import Array, to_numpy
from .equilibrium import equilibrium
from .outputs import attempt

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["attempt", "equilibrium", "figure", "grid", "png", "save_film", "save_loss_curves", "save_png"]

COLOURS = {"D": "#1f77b4", "G": "#d95f02", "P": "#59a14f"}  # told apart by most colour-blind people
MAX_SIDE = 2100  # pixels: a grid as large as this is not enlarged
MAX_OPTION = 1024  #: the largest padding and scale of a grid
MAX_FRAMES = 120  # of a film; more are thinned out evenly
MAX_FRAME_SIDE = 1100  # pixels: larger frames are shrunk
MAX_FILM = 45_000_000  # pixels of all frames of a film: about 25 MB, and half a minute, where nothing is alike
MAX_CHOOSING = 40_000  # pixels that choose the colours of a frame
_DRAWING = threading.RLock()  # settings and filters of warnings are the process's: one thread at a time changes them
MAX_READ = 300_000_000  # pixels of a picture that becomes a frame: 900 MB when it is read


def grid(
    images: Array,
    *,
    columns: int | None = None,
    low: float = -1.0,
    high: float = 1.0,
    padding: int = 2,
    scale: int | None = None,
) -> np.ndarray:
    """Tile images into one picture.

    Parameters
    ----------
    images : (N, H, W, C) floats, black at ``low`` and white at ``high``, or uint8; C = 1 for grey, 3 for RGB.
    columns : images in a row; by default about as many as there are rows.
    padding : pixels between the images and around them, before they are enlarged.
    scale : each pixel becomes scale x scale pixels; by default 2, and 1 where the picture is large without.

    Returns
    -------
    picture : (height, width) uint8 if C = 1, (height, width, 3) uint8 if C = 3.

    Raises
    ------
    ShapeError, DataError, ArgumentError
        The images have another shape, hold NaN or infinity, or a setting has no meaning.
    """
    images = to_numpy(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise ShapeError(f"grid: expected images (N, H, W, 1) or (N, H, W, 3), got {images.shape}.")
    n, h, w, c = images.shape
    columns = positive_int(math.ceil(math.sqrt(n)) if columns is None else columns, "grid: columns")
    padding = positive_int(padding, "grid: padding", least=0, most=MAX_OPTION)
    rows, columns = math.ceil(n / columns), min(columns, n)
    if scale is None:
        scale = 2 if 2 * max(rows * (h + padding), columns * (w + padding)) <= MAX_SIDE else 1
    scale = positive_int(scale, "grid: scale", most=MAX_OPTION)
    tiles = np.zeros((rows * columns, h + padding, w + padding, c), dtype=np.uint8)
    tiles[:n, padding:, padding:] = _bytes(images, low, high)
    # (rows, columns, h, w, c) -> (rows, h, columns, w, c): pixels of one line side by side
    picture = tiles.reshape(rows, columns, h + padding, w + padding, c).transpose(0, 2, 1, 3, 4)
    picture = picture.reshape(rows * (h + padding), columns * (w + padding), c)
    picture = np.pad(picture, ((0, padding), (0, padding), (0, 0)))
    picture = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    return picture[..., 0] if c == 1 else picture


def images_shown(image_shape: tuple[int, ...]) -> int:
    """How many images of a shape (H, W, C) a run shows: 64, and fewer where so many would be a huge picture."""
    return max(1, min(8, MAX_SIDE // max(image_shape[:2]))) ** 2


def _bytes(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] to 0..255; what lies outside is cut off."""
    if images.dtype == np.uint8:
        return images
    if not -math.inf < real(low) < real(high) < math.inf:
        raise ArgumentError(f"grid: expected low below high, both finite, got low={low!r:.99}, high={high!r:.99}.")
    low, high = real(low), real(high)
    if not np.isfinite(images).all():
        first = int(np.argmax(~np.isfinite(images).all(axis=(1, 2, 3))))
        raise DataError(f"grid: image {first} holds NaN or infinity; there is no colour for that.")
    return np.rint(np.clip((images - low) * (255.0 / (high - low)), 0.0, 255.0)).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """Return ``picture``, uint8 (height, width) or (height, width, 3), as what a PNG file holds."""
    from PIL import Image

    picture = to_numpy(picture)
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or picture.shape[2:] not in ((), (3,))
        or not picture.size
    ):
        raise ShapeError(
            f"save_png: expected uint8 (H, W) or (H, W, 3), got {picture.dtype} {picture.shape}; see grid()."
        )
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="PNG")
    return data.getvalue()


def save_png(path: str | Path, picture: np.ndarray) -> None:
    """Write ``picture``, uint8 (height, width) or (height, width, 3), as a PNG file."""
    replace_file(as_path(path, "save_png: path"), png(picture))


def save_film(
    path: str | Path, frames: Sequence[str | Path | BinaryIO], *, seconds: float = 0.15, hold: float = 2.5
) -> list[str]:
    """Make an endless GIF of picture files of one size.

    Sides of more than MAX_FRAME_SIDE pixels are divided by the least whole number that brings them below.

    Parameters
    ----------
    frames : the files, in order; of more than MAX_FRAMES, or than MAX_FILM pixels allow, an even choice is shown,
        always with the first and the last.
    seconds : how long each is shown.
    hold : how long the last one is shown.

    Returns
    -------
    left_out : for each frame of the choice that cannot be read, or is not as large as the last, a text that says so.

    Raises
    ------
    ArgumentError, DataError
        There are no frames, or the last one cannot be read.
    """
    path = as_path(path, "save_film: path")
    seconds, hold = positive_or_0(seconds, "save_film: seconds"), positive_or_0(hold, "save_film: hold")
    if not isinstance(frames, Sequence) or isinstance(frames, str | bytes):
        raise ArgumentError(f"save_film: frames must be a list of picture files, got {frames!r:.200}.")
    frames = [x if isinstance(x, io.IOBase) else as_path(x, "save_film: each of the frames") for x in frames]
    if not frames:
        raise ArgumentError("save_film: there are no frames; give at least one picture file.")
    pictures: list[Image] = []
    left_out = []
    with own_limits():  # they are there for pictures of strangers; ours may be large
        last = _frame(frames[-1])
        room = max(1, min(MAX_FRAMES, MAX_FILM // math.prod(last.size)))
        for i in np.unique(np.linspace(0, len(frames) - 1, room).round().astype(int))[:-1]:
            try:
                pictures.append(_frame(frames[i], last.size))
            except DataError as error:
                left_out.append(str(error))
    pictures.append(last)
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [round(1000 * hold)]
    data = io.BytesIO()
    pictures[0].save(data, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    replace_file(path, data.getvalue())
    return left_out


def _frame(file: str | Path | BinaryIO, size: tuple[int, int] | None = None) -> Image:
    """A picture as a frame of a film: small enough, of few colours, and of this ``size`` if one is given."""
    from PIL import Image

    try:
        regular = open_file(Path(file)) if isinstance(file, str | Path) else nullcontext(file)  # a pipe would never end
        with regular as opened, Image.open(opened) as picture:
            if math.prod(picture.size) > MAX_READ:
                raise ValueError(f"{picture.size[0]:,} x {picture.size[1]:,} pixels are more than are read")
            plain = picture if picture.mode == "L" else picture.convert("RGB")
            plain = plain.reduce(max(1, math.ceil(max(plain.size) / MAX_FRAME_SIDE)))
            if size and plain.size != size:
                raise ValueError(f"it is {plain.size} pixels large as a frame, and the last one {size}")
            return _of_few_colours(plain)
    except Exception as error:  # decoders meet foreign bytes in their own ways
        which = file if isinstance(file, str | Path) else f"a {type(file).__name__}"
        raise DataError(f"{which}: cannot be a frame of a film ({error}).") from error


def _of_few_colours(picture: Image) -> Image:
    """A grey or RGB picture with a palette: 64 greys, which look like 256 and take half the space, or 256 colours.

    In a large picture, some of the pixels choose them: all would hardly choose better, and take ten times as long."""
    from PIL.Image import Dither, Resampling

    apart = math.ceil(math.sqrt(math.prod(picture.size) / MAX_CHOOSING))
    if picture.mode == "L" or apart == 1:
        return picture.quantize(64 if picture.mode == "L" else 256)
    some = picture.resize((-(-picture.width // apart), -(-picture.height // apart)), Resampling.NEAREST)
    return picture.quantize(palette=some.quantize(256), dither=Dither.NONE)


@contextmanager
def figure(path: str | Path, *, size: tuple[float, float], dpi: int = 100) -> Iterator[Figure]:
    """Yield an empty figure of matplotlib, ``size`` inches wide and high; then write it to ``path`` as a PNG file.

    It is drawn with the settings that matplotlib comes with: no backend is chosen, and nothing that the environment, a
    matplotlibrc or the program has set shows in it, or is changed by it.
    """
    path, data = Path(path), io.BytesIO()
    with _DRAWING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that a font lacks, of what matplotlib itself uses and shall not
        matplotlib = _matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        settings = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
        with matplotlib.rc_context(settings):
            drawing = Figure(figsize=size, dpi=dpi, layout="constrained")
            canvas = FigureCanvasAgg(drawing)
            yield drawing
            canvas.print_png(data, metadata={"Software": None})  # savefig would lay out and draw all of it twice
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data.getvalue())


def _matplotlib() -> Any:
    """The module, also where the environment makes its import fail: Jupyter names its backend to all that it starts."""
    try:
        return importlib.import_module("matplotlib")
    except ImportError:
        raise
    except Exception:
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            del sys.modules[name]  # begun, and never finished
        plain = {"MPLBACKEND": "", "MATPLOTLIBRC": os.devnull}
        before = {name: os.environ[name] for name in plain if name in os.environ}
        os.environ |= plain
        try:
            return importlib.import_module("matplotlib")
        finally:
            for name in plain:
                del os.environ[name]
            os.environ |= before


def save_loss_curves(path: str | Path, losses: np.ndarray, *, loss: Loss | None = None, title: str = "") -> None:
    """Draw both losses over the steps, as they came and smoothed, as a PNG file.

    Parameters
    ----------
    losses : (steps, 2) or (steps, 3), a row for each step: D's loss, G's loss, the penalty on D if there is any, which
        is NaN in steps where it was not due; its curve leaves them out.
    loss : if given, dashed lines show where both losses would lie at :func:`equilibrium`.
    """
    path = as_path(path, "save_loss_curves: path")
    try:
        losses = np.asarray(losses, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"save_loss_curves: expected numbers (steps, 2 or 3), got {losses!r:.200}.") from error
    if losses.ndim != 2 or losses.shape[1] not in (2, 3):
        raise ShapeError(f"save_loss_curves: expected losses (steps, 2) or (steps, 3), got {losses.shape}.")
    steps = np.arange(1, len(losses) + 1)
    levels = (None, None) if loss is None else equilibrium(loss)
    roles = "discriminator", "generator", "penalty"
    with figure(path, size=(8, 4.5), dpi=120) as drawing:
        axes = drawing.add_subplot()
        for values, level, name, role in zip(losses.T, (*levels, None), "DGP", roles, strict=False):
            at = steps[~np.isnan(values)] if name == "P" else steps
            axes.plot(at, values[at - 1], color=COLOURS[name], alpha=0.25, linewidth=0.6)
            axes.plot(*_smoothed(values[at - 1], at), color=COLOURS[name], label=role)
            if level is not None:
                label = f"{role} at equilibrium, {level:.3g}"
                axes.axhline(level, color=COLOURS[name], linestyle="--", linewidth=1.0, label=label)
        finite = losses[np.isfinite(losses)]
        if len(finite):
            # A few wild steps at the start must not flatten the rest
            shown = np.concatenate([np.percentile(finite, [0.5, 99.5]), [x for x in levels if x is not None]])
            margin = 0.08 * (shown.max() - shown.min()) or 1.0
            axes.set_ylim(shown.min() - margin, shown.max() + margin)
        axes.set(xlabel="step", ylabel="loss", title=title)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        drawing.legend(loc="outside lower center", frameon=False, ncols=3)  # below: the curves leave no corner free


def _smoothed(values: np.ndarray, steps: np.ndarray, points: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, medians) of at most ``points`` equal spans; unlike a mean, a median shrugs off a wild step."""
    size = max(1, -(-len(values) // points))
    spans = [slice(start, start + size) for start in range(0, len(values), size)]
    return np.array([steps[span].mean() for span in spans]), np.array([np.median(values[span]) for span in spans])
