"""The embedded data set: handwritten-looking digits, drawn here, any number of them from a seed.

A digit is one of several pen paths (:mod:`tinygan.data.skeletons`) whose points are shaken, bent, stretched, sheared
and turned, and then inked. Nothing is stored and nothing is fetched; and as we draw them ourselves, everything about
every image is known (:class:`Factors`) and can be set:

    import dataclasses, numpy as np
    factors = random_factors(8, rng=0)
    slanting = dataclasses.replace(factors, slant=np.linspace(-0.5, 0.8, 8))
    images = draw(slanting)                           # (8, 28, 28, 1) uint8

Size and place in the picture follow MNIST: the ink fits a box of 20 x 20 pixels, its centre of mass is the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..backends.cpu.threads import share_images
from ..errors import ArgumentError, positive_int
from ..errors import seed as check_seed
from ..layers.starting import as_generator, one_of
from .dataset import MAX_BYTES, ImageData
from .skeletons import skeletons

SIZE = 28  #: height and width of a picture, in pixels
BOX = 20.0  #: height and width that the ink fits into
CHUNK = 256  #: images made together: one random stream, and arrays that stay in the cache

_SIGMAS_PER_WIDTH = 0.5 / np.sqrt(2 * np.log(2))  # a Gaussian whose full width at half its height is 1


@dataclass(frozen=True, eq=False, repr=False)
class Factors:
    """Everything that decides how N digits look.

    Attributes
    ----------
    style : (N,) integers, which of the skeletons; ``labels`` follows from it.
    aspect : (N,) factor on the width.
    slant : (N,) shear, positive leans to the right: the tangent of the angle to the upright.
    angle : (N,) rotation in radians, clockwise.
    bend : (N, 4) smooth warp: taper, bow, balance and sag, see :func:`draw`; 0 is straight.
    shake : (N, P, 2) displacement of every control point in x and y, where a digit is 2 high.
    thickness : (N,) width of the line in pixels.
    shift : (N, 2) of the finished picture, in pixels to the right and down.

    Raises
    ------
    ArgumentError
        The shapes do not belong together, or a style does not exist.
    """

    style: np.ndarray
    aspect: np.ndarray
    slant: np.ndarray
    angle: np.ndarray
    bend: np.ndarray
    shake: np.ndarray
    thickness: np.ndarray
    shift: np.ndarray

    def __post_init__(self) -> None:
        _check_numbers(self)
        n, styles = len(self.style), len(skeletons().digit)
        tails = {"bend": (4,), "shake": skeletons().control.shape[1:], "shift": (2,)}
        for field in fields(self):
            shape, expected = np.shape(getattr(self, field.name)), (n, *tails.get(field.name, ()))
            if shape != expected:
                raise ArgumentError(f"factors of {n} digits: expected {field.name} of shape {expected}, got {shape}.")
        if n and not 0 <= np.min(self.style) <= np.max(self.style) < styles:
            raise ArgumentError(f"factors: there are styles 0 to {styles - 1}, got {self.style}.")

    def __repr__(self) -> str:
        return f"Factors(of {len(self):,} digits)"

    def __len__(self) -> int:
        return len(self.style)

    def __getitem__(self, rows: slice | np.ndarray) -> Factors:
        return Factors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def labels(self) -> np.ndarray:
        """Which digit each one is, (N,) int64."""
        return skeletons().digit[self.style]


def _check_numbers(factors: Factors) -> None:
    """Refuse what is no array of numbers, nor like one; shapes are looked at by whoever knows them."""
    for field in fields(factors):
        try:
            value = np.asarray(getattr(factors, field.name))
        except ValueError as error:  # rows of several lengths
            raise ArgumentError(f"factors: {field.name} is no array ({error}).") from error
        if value.dtype.kind not in "iuf" or (value.ndim == 0 and field.name == "style"):
            raise ArgumentError(f"factors: expected an array of numbers for {field.name}, got {value!r:.200}.")


def random_factors(n: int, *, rng: np.random.Generator | int) -> Factors:
    """Draw the factors of n digits: labels evenly, styles as common as they are, the rest as people's hands differ."""
    n, rng = positive_int(n, "random_factors: n", most=1 << 24), as_generator(rng)
    table = skeletons()
    style = np.searchsorted(np.cumsum(table.weight), rng.random(n) * 10, side="right")
    style = np.minimum(style, len(table.digit) - 1)  # in case the last sum is a hair below 10
    aspect = np.exp(np.clip(rng.normal(0.0, 0.2, n), -0.4, 0.5))
    slant = np.clip(rng.normal(0.12, 0.22, n), -0.45, 0.65)
    thickness = np.clip(rng.normal(2.5, 0.8, n), 1.5, 5.0)
    # A thick pen would fill the loops of a digit that is narrow once it fits the box; a 1 has none, and is scaled up.
    room = aspect / np.maximum(1.0, 0.6 * aspect + np.abs(slant))
    thickness = np.where(table.digit[style] == 1, 1.2 * thickness, np.minimum(thickness, 1.0 + 2.2 * room))
    return Factors(
        style=style,
        aspect=aspect,
        slant=slant,
        angle=rng.normal(0.0, 0.14, n),
        bend=rng.normal(0.0, (0.18, 0.12, 0.14, 0.09), (n, 4)),
        shake=rng.normal(0.0, 0.06, (n, *table.control.shape[1:])),
        thickness=thickness,
        shift=rng.uniform(-0.5, 0.5, (n, 2)),
    )


def digits(n: int, *, seed: int = 0, split: str = "train") -> ImageData:
    """Return n labelled digits, images (n, 28, 28, 1); the two splits never share a random stream.

    Image i depends on (seed, split, i) and on nothing else: ``digits(1000)`` begins with ``digits(10)``. (Its chunk,
    i // CHUNK, has a random stream of its own and is always made whole.)

    Raises
    ------
    ArgumentError
        ``n`` or ``seed`` is out of range, or there is no such split.
    """
    n, seed = positive_int(n, "digits: n", most=MAX_BYTES // SIZE**2), check_seed(seed, "digits")
    split = one_of(split, "digits: expected split 'train' or 'test'", ("train", "test"))
    images = np.empty((n, SIZE, SIZE, 1), np.uint8)
    labels = np.empty(n, np.int64)

    def draw_chunks(start: int, stop: int) -> None:
        for chunk in range(start, stop):
            stream = np.random.SeedSequence(seed, spawn_key=(int(split == "test"), chunk))
            rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, n))
            factors = random_factors(CHUNK, rng=np.random.default_rng(stream))
            images[rows], labels[rows] = draw(factors)[: n - rows.start], factors.labels[: n - rows.start]

    share_images(draw_chunks, -(-n // CHUNK), images.size)  # on all cores
    return ImageData(images, labels, "digits", f"{n:,} embedded digits, drawn by tinygan from seed {seed}")


def draw(factors: Factors) -> np.ndarray:
    """Return the picture of every digit, (N, 28, 28, 1) uint8, white ink on black.

    Notes
    -----
    With u to the right and v down, both in about [-1, 1], the samples of a path move in this order:

        shake    (u, v) = spline (control + shake)
        bend     x = u (1 + taper v) + bow v²        y = v + balance v² + sag u²
        aspect   x = aspect x
        slant    x = x − slant y
        angle    rotation of (x, y)

    then they are scaled to the box and centred. Sample k, at (x_k, y_k), stands for l_k pixels of line and leaves a
    Gaussian dot of ink; the dots add up to a line whose profile is 1 in the middle and 1/2 at half the thickness:

        ink[i,j] = Σ_k  l_k / (σ √2π)  exp(−(i − y_k)²/2σ²)  exp(−(j − x_k)²/2σ²)

    which is one matrix product, as each dot is a column times a row. Grey is a ramp through ink = 1/2, steep enough
    that a thick line is white with an edge of about one pixel.
    """
    if not isinstance(factors, Factors):
        raise ArgumentError(f"draw: expected Factors of digits, got {type(factors).__name__}.")
    images = np.empty((len(factors), SIZE, SIZE, 1), np.uint8)
    for first in range(0, len(factors), CHUNK):
        rows = slice(first, first + CHUNK)
        images[rows, :, :, 0] = _ink(*_place(factors[rows]))
    return images


def _place(f: Factors) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and l of every sample in pixels, (N, K) each, and the thickness, (N, 1)."""
    table = skeletons()
    points = table.spline[f.style] @ (table.control[f.style] + f.shake.astype(np.float32))  # (N, K, 2)
    u, v = points[..., 0], points[..., 1]
    taper, bow, balance, sag = (_column(b) for b in np.transpose(f.bend))
    x = u * (1 + taper * v) + bow * v * v
    y = v + balance * v * v + sag * u * u
    x = _column(f.aspect) * x - _column(f.slant) * y
    c, s = np.cos(_column(f.angle)), np.sin(_column(f.angle))
    x, y = c * x - s * y, s * x + c * y

    thickness = _column(f.thickness)
    scale = (BOX - thickness) / np.maximum(np.ptp(x, axis=1), np.ptp(y, axis=1))[:, None]
    x, y = scale * x, scale * y
    step = np.hypot(np.diff(x), np.diff(y)) * table.joined[f.style]  # (N, K - 1), 0 where the pen is lifted
    length = np.zeros_like(x)
    length[:, :-1] += step / 2  # each sample takes half the way to either neighbour
    length[:, 1:] += step / 2
    mass = length / length.sum(axis=1, keepdims=True)
    x += SIZE / 2 + _column(f.shift[:, 0]) - (mass * x).sum(axis=1, keepdims=True)
    y += SIZE / 2 + _column(f.shift[:, 1]) - (mass * y).sum(axis=1, keepdims=True)
    return x, y, length, thickness


def _ink(x: np.ndarray, y: np.ndarray, length: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Return the pictures, (N, 28, 28) float32 in [0, 256): cut to integers they are the bytes."""
    sigma = np.float32(_SIGMAS_PER_WIDTH) * thickness  # (N, 1)
    rate = (-0.5 / sigma**2)[:, None]  # (N, 1, 1)
    pixel = np.arange(SIZE, dtype=np.float32)[:, None]
    down = np.exp(rate * (pixel - y[:, None, :]) ** 2)  # (N, 28, K)
    across = np.exp(rate * (pixel - x[:, None, :]) ** 2)
    down *= (length / (sigma * np.float32(np.sqrt(2 * np.pi))))[:, None, :]
    image = down @ across.transpose(0, 2, 1)  # (N, 28, 28)
    # At half its height the profile falls by thickness/4σ² per pixel; below 1 the ramp would not reach black.
    ramp = np.maximum(0.77 * 4 * sigma**2 / thickness, 1.0)[:, None]
    image -= 0.5
    image *= ramp
    image += 0.5
    np.clip(image, 0.0, 1.0, out=image)
    image *= 255.0
    image += 0.5
    return image


def _column(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float32)[:, None]
