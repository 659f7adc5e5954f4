"""Colour images for everybody: small creatures, drawn here, any number of them from a seed.

A creature is a body of one of eight shapes, with a colour, a pattern, two eyes that look somewhere and a mouth that
smiles or not, in front of a background that fades from one colour to another. As we draw them ourselves, everything
about every image is known (:class:`Factors`) and can be set:

    import dataclasses, numpy as np
    factors = random_factors(8, rng=0)
    cheerful = dataclasses.replace(factors, smile=np.ones(8))
    images = draw(cheerful, size=64)                  # (8, 64, 64, 3) uint8

The label is the shape of the body. The same creature can be drawn in any size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..backends.cpu.threads import share_images
from ..errors import ArgumentError, positive_int
from ..errors import seed as check_seed
from ..layers.starting import as_generator, one_of
from .dataset import MAX_BYTES, ImageData
from .outlines import ANGLES, KINDS, outlines

PATTERNS = ("plain", "stripes", "dots")
CHUNK = 64  #: images made from one random stream

_TOGETHER = 1 << 15  # pixels drawn at a time: their layers stay in the cache


@dataclass(frozen=True, eq=False, repr=False)
class Factors:
    """Everything that decides how N creatures look. The picture reaches from −1 to 1, x to the right and y down.

    Attributes
    ----------
    kind : (N,) integers, which of KINDS.
    pattern : (N,) integers, which of PATTERNS.
    size : (N,) radius of the body, about; 1 is half the picture.
    place : (N, 2) of the body's middle, x and y.
    angle : (N,) in radians by which the creature leans, clockwise.
    hue : (N,) colour of the body, from 0 around the circle of colours to 1, which is the same.
    backdrop : (N, 2) hues of the background on either side.
    slope : (N,) direction in which the background changes from the first to the second, in radians; 0 is rightwards.
    gaze : (N, 2) where the pupils are in the eyes, x and y, each −1 to 1.
    eyes : (N,) radius of an eye, where the body's is 1.
    smile : (N,) from −1 for sad to 1 for happy.

    Raises
    ------
    ArgumentError
        The shapes do not belong together, or a kind or pattern does not exist.
    """

    kind: np.ndarray
    pattern: np.ndarray
    size: np.ndarray
    place: np.ndarray
    angle: np.ndarray
    hue: np.ndarray
    backdrop: np.ndarray
    slope: np.ndarray
    gaze: np.ndarray
    eyes: np.ndarray
    smile: np.ndarray

    def __post_init__(self) -> None:
        _check_numbers(self)
        n = len(self.kind)
        for field in fields(self):
            expected = (n, 2) if field.name in ("place", "backdrop", "gaze") else (n,)
            shape = np.shape(getattr(self, field.name))
            if shape != expected:
                raise ArgumentError(f"factors of {n} shapes: expected {field.name} of shape {expected}, got {shape}.")
        for name, names in (("kind", KINDS), ("pattern", PATTERNS)):
            values = np.asarray(getattr(self, name))
            if values.dtype.kind not in "iu" or (n and not 0 <= values.min() <= values.max() < len(names)):
                raise ArgumentError(f"factors: {name} must be integers 0 to {len(names) - 1}, got {values}.")

    def __repr__(self) -> str:
        return f"Factors(of {len(self):,} shapes)"

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: slice | np.ndarray) -> Factors:
        return Factors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def labels(self) -> np.ndarray:
        """Which of KINDS each one is, (N,) int64."""
        return np.asarray(self.kind, np.int64)


def _check_numbers(factors: Factors) -> None:
    """Refuse what is no array of numbers, nor like one; shapes are looked at by whoever knows them."""
    for field in fields(factors):
        try:
            value = np.asarray(getattr(factors, field.name))
        except ValueError as error:  # rows of several lengths
            raise ArgumentError(f"factors: {field.name} is no array ({error}).") from error
        named = field.name in ("kind", "pattern")  # which their own check refuses
        if value.dtype.kind not in ("iufU" if named else "iuf") or (value.ndim == 0 and field.name == "kind"):
            raise ArgumentError(f"factors: expected an array of numbers for {field.name}, got {value!r:.200}.")


def random_factors(n: int, *, rng: np.random.Generator | int) -> Factors:
    """Draw the factors of n creatures, all kinds equally often; the body always lies within the picture."""
    n, rng = positive_int(n, "random_factors: n", most=1 << 24), as_generator(rng)
    kind = rng.integers(len(KINDS), size=n)
    size = rng.uniform(0.48, 0.7, n)
    hue = rng.random(n)
    backdrop = hue + rng.uniform(0.25, 0.75, n)  # never the colour of the body
    return Factors(
        kind=kind,
        pattern=rng.integers(len(PATTERNS), size=n),
        size=size,
        place=rng.uniform(-1.0, 1.0, (n, 2)) * (0.95 - size * outlines().reach[kind])[:, None],
        angle=rng.uniform(-0.35, 0.35, n),
        hue=hue,
        backdrop=np.stack([backdrop, backdrop + rng.uniform(-0.12, 0.12, n)], axis=1) % 1.0,
        slope=rng.uniform(0.0, 2 * np.pi, n),
        gaze=rng.uniform(-1.0, 1.0, (n, 2)),
        eyes=rng.uniform(0.17, 0.26, n),
        smile=rng.uniform(-0.6, 1.0, n),
    )


def shapes(n: int, *, seed: int = 0, split: str = "train", size: int = 64) -> ImageData:
    """Return n labelled creatures, images (n, size, size, 3); the two splits never share a random stream.

    Image i depends on (seed, split, i, size) and on nothing else, and its factors not on the size: ``shapes(1000)``
    begins with ``shapes(10)``.

    Raises
    ------
    ArgumentError
        ``n``, ``seed`` or ``size`` is out of range, or there is no such split.
    """
    n, seed = positive_int(n, "shapes: n"), check_seed(seed, "shapes")
    split = one_of(split, "shapes: expected split 'train' or 'test'", ("train", "test"))
    size = _checked_size(size)
    if n * size * size * 3 > MAX_BYTES:
        raise ArgumentError(
            f"shapes: {n:,} images of {size}x{size}x3 take more than {MAX_BYTES:,} bytes; ask for fewer."
        )
    images = np.empty((n, size, size, 3), np.uint8)
    labels = np.empty(n, np.int64)

    def draw_chunks(start: int, stop: int) -> None:
        for chunk in range(start, stop):
            stream = np.random.SeedSequence(seed, spawn_key=(int(split == "test"), chunk))
            rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, n))
            factors = random_factors(CHUNK, rng=np.random.default_rng(stream))[: n - rows.start]
            images[rows], labels[rows] = draw(factors, size=size), factors.labels

    share_images(draw_chunks, -(-n // CHUNK), images.size)  # on all cores
    return ImageData(images, labels, "shapes", f"{n:,} embedded shapes, drawn by tinygan from seed {seed}", KINDS)


def draw(factors: Factors, *, size: int = 64) -> np.ndarray:
    """Return the picture of every creature, (N, size, size, 3) uint8.

    Notes
    -----
    Every part has a signed distance d, negative inside, in units of the picture; with p pixels across half of it the
    part covers the fraction clip(1/2 − p d, 0, 1) of a pixel, which is what makes its edge smooth. A body is a curve
    r = R(θ) about its middle. Near the edge the distance from it is, to first order,

        d = (r − R(θ)) / √(1 + (R′(θ) / R(θ))²)

    With coverage a_k and colour c_k of layers k from the front to the back, light that reaches layer k has passed all
    before it, so a picture is a matrix product of weights and colours:

        w_k = a_k Π_{j<k} (1 − a_j)        image[i,j] = Σ_k w_k[i,j] c_k
    """
    size = _checked_size(size)
    if not isinstance(factors, Factors):
        raise ArgumentError(f"draw: expected Factors of shapes, got {type(factors).__name__}.")
    images = np.empty((len(factors), size, size, 3), np.uint8)
    step = max(1, _TOGETHER // size**2)
    for first in range(0, len(factors), step):
        part = factors[first : first + step]
        weights = _weights(part, size)  # (N, K, size · size)
        pixels = _palette(part).transpose(0, 2, 1) @ weights  # (N, 3, size · size)
        pixels += 0.5
        np.clip(pixels, 0, 255, out=pixels)
        images[first : first + step] = pixels.reshape(-1, 3, size, size).transpose(0, 2, 3, 1)
    return images


def _palette(f: Factors) -> np.ndarray:
    """Return the colours of all layers of :func:`_weights`, (N, K, 3) from 0 to 255."""
    body, (first, second) = f.hue, np.transpose(f.backdrop)
    colours = [
        _colour(body, 0.5, 0.12),  # pupils
        _colour(body, 0.0, 1.0),  # eyes
        _colour(body, 0.7, 0.2),  # mouth
        _colour(body, 0.05, 1.0),  # gloss
        _colour(body + 0.08, 0.35, 1.0),  # marks
        _colour(body, 0.62, 1.0),  # the body in full light
        _colour(body + 0.03, 0.85, 0.6),  # and out of the light
        _colour(body + 0.03, 0.8, 0.34),  # its edge
        _colour(first, 0.6, 0.3),  # shadow
        _colour(first, 0.25, 1.0),  # background
        _colour(second, 0.5, 0.74),
    ]
    return np.stack(colours, axis=1).astype(np.float32)


def _colour(hue: np.ndarray, saturation: float, value: float) -> np.ndarray:
    """Return hue, saturation and value (Smith, 1978) as red, green and blue, (N, 3) from 0 to 255."""
    ramp = np.abs((hue[:, None] + [0.0, 2 / 3, 1 / 3]) % 1.0 * 6.0 - 3.0) - 1.0
    return 255.0 * value * (1.0 - saturation + saturation * np.clip(ramp, 0.0, 1.0))


def _weights(f: Factors, size: int) -> np.ndarray:
    """Return how much each layer gives to each pixel, (N, K, P) float32 with P = size · size; they sum to 1."""
    middle = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    px, py = np.tile(middle, size), np.repeat(middle, size)  # (P,)
    dx, dy = px - _column(f.place[:, 0]), py - _column(f.place[:, 1])  # (N, P)
    # The creature's own axes: upright, its middle at 0, its radius about 1
    cos, sin = _column(np.cos(f.angle) / f.size), _column(np.sin(f.angle) / f.size)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    sharp = _column(f.size) * (size / 2)  # pixels per unit of these axes

    d, inner = _body(f, x, y)
    body = _cover(d + 0.04, sharp)
    light = (0.85 - 0.2 * x) - 0.35 * y
    light -= 0.4 * inner * inner
    gloss = 0.55 * _cover(_length(x + 0.3, 1.5 * (y + 0.48)) - 0.14, sharp / 3)
    pupils, eyes, mouth = _face(f, x, y, sharp)
    width = _column(f.size)
    fade = 1.0 - (dx / width) ** 2 - ((dy - width) / (0.3 * width)) ** 2  # a shadow on the ground beneath
    background = 0.5 + 0.36 * (_column(np.cos(f.slope)) * px + _column(np.sin(f.slope)) * py)

    covers = [pupils, eyes, mouth, gloss * body, _marks(f, x, y, sharp) * body, np.clip(light, 0.0, 1.0) * body]
    covers += [body, _cover(d - 0.04, sharp), 0.6 * np.clip(fade, 0.0, 1.0), np.clip(background, 0.0, 1.0)]
    weights = np.empty((len(f), len(covers) + 1, size * size), np.float32)
    passed = weights[:, -1]  # light that no layer has stopped so far
    passed[:] = 1.0
    for k, cover in enumerate(covers):
        np.multiply(passed, cover, out=weights[:, k])
        passed -= weights[:, k]
    return weights


def _body(f: Factors, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance from the body's edge, and r / R(θ): 0 in its middle, 1 at the edge."""
    table = outlines()
    r = _length(x, y)
    turn = np.arctan2(y, x)
    turn *= ANGLES / (2 * np.pi)
    low = np.floor(turn)
    turn -= low  # how far it is from one angle of the table to the next
    at = low.astype(np.int32)
    at &= ANGLES - 1
    at += (np.asarray(f.kind, np.int32) * (ANGLES + 1))[:, None]
    edge = table.radius[at]  # R(θ)
    edge += turn * (table.radius[at + 1] - edge)
    return (r - edge) * table.steepness[at], r / edge


def _face(f: Factors, x: np.ndarray, y: np.ndarray, sharp: np.ndarray) -> list[np.ndarray]:
    """Return what pupils, eyes and mouth cover."""
    eye, middle = _column(f.eyes), _column(outlines().face[f.kind])
    ex, ey = np.abs(x) - 1.25 * eye, y - (middle - 0.6 * eye)  # from the middle of the nearer eye
    look_x, look_y = (0.38 * eye * _column(gaze) for gaze in np.transpose(f.gaze))
    pupils = _cover(_length(ex - np.sign(x) * look_x, ey - look_y) - 0.52 * eye, sharp)
    along = np.clip(x, -0.24, 0.24)
    curve = middle + 0.36 + 0.18 * _column(f.smile) * (0.5 - (along / 0.24) ** 2)
    mouth = _cover(_length(x - along, y - curve) - 0.05, sharp)
    return [pupils, _cover(_length(ex, ey) - eye, sharp), mouth]


def _marks(f: Factors, x: np.ndarray, y: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Return what the pattern covers: where a wave over x, over y, or the sum of both is high."""
    across, down, level = (_column(np.take(row, f.pattern)) for row in ([0, 0, 1], [0, 1, 1], [1, 0.1, 0.9]))
    wave = across * np.cos(9.0 * x) + down * np.cos(9.0 * y) - level
    return 0.6 * _cover(wave, -sharp / 9.0)


def _cover(distance: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Return how much of each pixel lies at negative distance; ``sharp`` is in pixels per unit of distance."""
    out = distance * -sharp
    out += 0.5
    return np.clip(out, 0.0, 1.0, out=out)


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = x * x
    out += y * y
    return np.sqrt(out, out=out)  # three passes, and faster than numpy.hypot


def _checked_size(size: Any) -> int:
    try:
        return positive_int(size, "size", least=8, most=1024)
    except ArgumentError:
        raise ArgumentError(f"shapes: expected a size of 8 to 1024 pixels, got {size!r:.200}.") from None


def _column(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float32)[:, None]
