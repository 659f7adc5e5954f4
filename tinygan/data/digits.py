"""The embedded data set: handwritten-looking digits, drawn here, any number of them from a seed.

A digit is one of several pen paths (:mod:`tinygan.data.skeletons`) whose points are shaken, bent, sheared, turned and
stretched, and then inked. Nothing is stored and nothing is fetched; and since we draw them ourselves, everything
about every image is known: see :class:`Factors`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..errors import ArgumentError
from .dataset import ImageData
from .skeletons import POINTS, skeletons

SIZE = 28  #: pixels, both ways
BOX = 20.0  #: the ink fits a square of this many pixels, as in MNIST
CHUNK = 256  #: images drawn together, from one random stream


@dataclass(frozen=True, eq=False)
class Factors:
    """Everything that decides how N digits look.

    Attributes
    ----------
    style : (N,) which skeleton, an index into ``skeletons()``; ``labels`` follows from it.
    slant : (N,) shear to the right, as the tangent of the angle; 0 is upright.
    angle : (N,) rotation in radians, clockwise.
    aspect : (N,) factor on the width.
    bend : (N, 4) quadratic warp: taper, bow, balance, sag; see :func:`draw`.
    thickness : (N,) width of the line in pixels.
    shake : (N, P, 2) displacement of each control point; the digit is 2 high.
    shift : (N, 2) of the whole image, in pixels to the right and down.
    """

    style: np.ndarray
    slant: np.ndarray
    angle: np.ndarray
    aspect: np.ndarray
    bend: np.ndarray
    thickness: np.ndarray
    shake: np.ndarray
    shift: np.ndarray

    def __len__(self) -> int:
        return len(self.style)

    @property
    def labels(self) -> np.ndarray:
        """Which digit each one is, (N,)."""
        return skeletons().digit[self.style]

    def __getitem__(self, rows: slice | np.ndarray) -> Factors:
        return Factors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def random_factors(n: int, *, rng: np.random.Generator) -> Factors:
    """Draw the factors of n digits: labels evenly, styles as common as they are, the rest as people vary."""
    table = skeletons()
    style = np.searchsorted(np.cumsum(table.weight), rng.random(n) * 10, side="right")
    style = np.minimum(style, len(table.digit) - 1)  # in case the last sum is a hair below 10
    aspect = np.exp(np.clip(rng.normal(0.0, 0.2, n), -0.4, 0.5))
    slant = np.clip(rng.normal(0.12, 0.22, n), -0.45, 0.65)
    thickness = np.clip(rng.normal(2.5, 0.8, n), 1.5, 5.0)
    # A thick pen would fill the loops of a digit that is narrow once it fits the box; a 1 has none.
    room = aspect / np.maximum(1.0, 0.6 * aspect + np.abs(slant))
    thickness = np.where(table.digit[style] == 1, thickness, np.minimum(thickness, 1.0 + 2.3 * room))
    return Factors(
        style=style,
        slant=slant,
        angle=rng.normal(0.0, 0.14, n),
        aspect=aspect,
        bend=rng.normal(0.0, (0.18, 0.12, 0.14, 0.09), (n, 4)),
        thickness=thickness,
        shake=rng.normal(0.0, 0.06, (n, table.control.shape[1], 2)),
        shift=rng.uniform(-0.5, 0.5, (n, 2)),
    )


def draw(factors: Factors) -> np.ndarray:
    """Return the picture of every digit, (N, 28, 28, 1) uint8, white ink on black."""
    return np.concatenate([_draw_block(factors[i : i + CHUNK]) for i in range(0, len(factors), CHUNK)])


def digits(n: int, *, seed: int = 0, split: str = "train") -> ImageData:
    """Return n labelled digits, images (n, 28, 28, 1)."""
    if n < 1:
        raise ArgumentError(f"digits: expected n of at least 1, got {n}.")
    images = np.empty((n, SIZE, SIZE, 1), np.uint8)
    labels = np.empty(n, np.int64)
    for chunk, first in enumerate(range(0, n, CHUNK)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split == "test", chunk)))
        factors = random_factors(CHUNK, rng=rng)
        images[first : first + CHUNK] = draw(factors)[: n - first]
        labels[first : first + CHUNK] = factors.labels[: n - first]
    return ImageData(images, labels, "digits", f"{n:,} embedded digits, drawn by tinygan from seed {seed}")


def _draw_block(f: Factors) -> np.ndarray:
    table = skeletons()
    control = table.control[f.style] + f.shake.astype(np.float32)  # (N, P, 2)
    points = table.spline[f.style] @ control  # (N, K, 2)
    u, v = points[..., 0], points[..., 1]  # (N, K) each, in about [-1, 1]

    def col(a: np.ndarray) -> np.ndarray:
        return a.astype(np.float32)[:, None]

    taper, bow, balance, sag = (col(b) for b in f.bend.T)
    x = u * (1 + taper * v) + bow * v * v
    y = v + balance * v * v + sag * u * u
    x = x * col(f.aspect) - col(f.slant) * y
    c, s = np.cos(col(f.angle)), np.sin(col(f.angle))
    x, y = c * x - s * y, s * x + c * y

    # Fit into the box, with room for half the line on every side, and centre the mass.
    thickness = col(f.thickness)
    extent = np.maximum(np.ptp(x, axis=1), np.ptp(y, axis=1))[:, None]
    scale = (BOX - thickness) / extent
    x, y = x * scale, y * scale
    step = np.hypot(np.diff(x), np.diff(y)) * table.joined[f.style]  # (N, K - 1) length of line between samples
    ink = np.zeros_like(x)
    ink[:, :-1] += step / 2
    ink[:, 1:] += step / 2
    total = ink.sum(axis=1, keepdims=True)
    shift = f.shift.astype(np.float32)
    x += SIZE / 2 - (ink * x).sum(axis=1, keepdims=True) / total + shift[:, :1]
    y += SIZE / 2 - (ink * y).sum(axis=1, keepdims=True) / total + shift[:, 1:]

    # A line of Gaussian dots: across it the ink falls as exp(-r²/2σ²), and is 1/2 at r = thickness/2.
    sigma = thickness / np.float32(2 * np.sqrt(2 * np.log(2)))
    rate = (0.5 / sigma**2)[:, None]  # (N, 1, 1)
    pixel = np.arange(SIZE, dtype=np.float32)[:, None]
    gy = np.exp(-rate * (pixel - y[:, None, :]) ** 2)  # (N, 28, K)
    gx = np.exp(-rate * (pixel - x[:, None, :]) ** 2)
    gy *= (ink / (sigma * np.float32(np.sqrt(2 * np.pi))))[:, None, :]
    image = gy @ gx.transpose(0, 2, 1)  # (N, 28, 28)
    # The slope of exp(-r²/2σ²) at its half is thickness/(4σ²) per pixel; make it one grey range per 1.3 pixels.
    gain = np.maximum(4 * sigma**2 / thickness / 1.3, 1.0)[:, None]
    image = np.clip((image - 0.5) * gain + 0.5, 0.0, 1.0) * 255.0 + 0.5
    return image.astype(np.uint8)[..., None]
