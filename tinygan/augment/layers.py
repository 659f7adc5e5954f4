r"""Shift, Cutout and Colour: images (N, H, W, C), each changed by random numbers of its own, in training alone.

Once the random numbers are drawn, each is y = A x + c with a linear map A. So its backward pass is dx = Aᵀ dy, its
tangent A v, and nothing bends: penalties go through it exactly.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from ..errors import ArgumentError, Setting, fraction, positive_or_0, real
from ..layers.base import Layer, Shape
from ..layers.starting import Rng, as_generator
from ..network import Sequential
from ..ops import Array, get_xp, ops_of, to_numpy
from ..penalties import register


def _colour(value: Any, what: str) -> float:
    if not isfinite(colour := real(value)):
        raise ArgumentError(f"{what} must be a finite number, got {value!r:.200}.")
    return colour


class Augmentation(Layer):
    r"""What the three share: a part of the images is changed, ``strength``, and the others are left alone.

    A class of yours writes three methods; with them and ``register(Yours, like=Shift)`` it is a layer like these:

        draw(shape, changed) -> numbers     of a batch; ``changed`` (N,) says which images to change
        change(x, numbers) -> A x + c       with ``linear=True`` without c
        adjoint(dy, numbers) -> Aᵀ dy

    Attributes
    ----------
    buffers["strength"] : (1,), the probability in [0, 1] that an image is changed. :class:`~tinygan.augment.Adaptive`
        moves it; it is saved with the network.
    """

    rng = Setting(lambda rng, what: as_generator(rng))

    def __init__(self, *, strength: float = 1.0, rng: Rng = None) -> None:
        super().__init__()
        self.rng = as_generator(rng)
        self.buffers["strength"] = np.array([fraction(strength, f"{self.name}: strength", closed="[]")], np.float32)

    def draw(self, shape: tuple[int, ...], changed: np.ndarray) -> Any:
        """Random numbers for a batch of this shape (N, H, W, C), by NumPy whatever x is."""
        raise NotImplementedError(f"{type(self).__name__} has no draw(shape, changed)")

    def change(self, x: Array, numbers: Any, *, linear: bool = False) -> Array:
        """A x + c, or A x."""
        raise NotImplementedError(f"{type(self).__name__} has no change(x, numbers, linear)")

    def adjoint(self, dy: Array, numbers: Any) -> Array:
        """Aᵀ dy."""
        raise NotImplementedError(f"{type(self).__name__} has no adjoint(dy, numbers)")

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        if not train:
            return x, None
        strength = float(to_numpy(self.buffers["strength"])[0])
        changed = self.rng.random(len(x)) < strength
        if not changed.any():
            return x, None
        numbers = self.draw(x.shape, changed)
        return self.change(x, numbers), numbers

    def gradients(self, numbers: Any, dy: Array) -> tuple[Array, dict]:
        return (dy if numbers is None else self.adjoint(dy, numbers)), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3:
            raise self.misfit("(N, H, W, C)", input_shape, "Only images are changed; put it before the layer Flatten.")
        return input_shape


class Shift(Augmentation):
    r"""Move each image by up to ``ratio`` of its height and width, by whole pixels; what comes in is ``fill``.

    Parameters
    ----------
    ratio : in [0, 1); 1/8 as in the paper.
    fill : the colour of what comes in: the middle of the range of pixels, 0 for images in [−1, 1].
    strength : the part of the images that is changed.
    rng : Generator or seed.

    Notes
    -----
    Forward   y[n, i, j] = x[n, i − s_n, j − t_n], or fill where that lies outside of x
    Backward  dx[n, i, j] = dy[n, i + s_n, j + t_n], or 0 where that lies outside: the shift back
    with s_n uniform in {−S, ..., S}, S = ⌊ratio · H + ½⌋, and t_n the same of W. (Zhao et al., 2020.)
    """

    ratio, fill = Setting(fraction), Setting(_colour)

    def __init__(self, ratio: float = 0.125, *, fill: float = 0.0, strength: float = 1.0, rng: Rng = None) -> None:
        super().__init__(strength=strength, rng=rng)
        self.ratio, self.fill = ratio, fill

    def draw(self, shape: tuple[int, ...], changed: np.ndarray) -> np.ndarray:
        most = [int(self.ratio * size + 0.5) for size in shape[1:3]]
        return np.stack([self.rng.integers(-m, m + 1, len(changed)) * changed for m in most])

    def change(self, x: Array, numbers: np.ndarray, *, linear: bool = False) -> Array:
        return _shifted(x, numbers, 0.0 if linear else self.fill)

    def adjoint(self, dy: Array, numbers: np.ndarray) -> Array:
        return _shifted(dy, -numbers, 0.0)

    def __repr__(self) -> str:
        return f"Shift({self.ratio}, fill={self.fill})"


class Cutout(Augmentation):
    r"""Cover a rectangle of each image, of ``ratio`` of its height and width, with ``fill``.

    Parameters
    ----------
    ratio : in [0, 1); 1/2 as in the paper. The rectangle's middle is any pixel, so part of it may lie outside.
    fill : its colour: the middle of the range of pixels, 0 for images in [−1, 1].
    strength : the part of the images that is changed.
    rng : Generator or seed.

    Notes
    -----
    Forward   y = x · m + fill · (1 − m)          m[n, i, j] = 0 inside of the rectangle, 1 elsewhere
    Backward  dx = dy · m
    (DeVries and Taylor, 2017, arXiv 1708.04552; Zhao et al., 2020.)
    """

    ratio, fill = Setting(fraction), Setting(_colour)

    def __init__(self, ratio: float = 0.5, *, fill: float = 0.0, strength: float = 1.0, rng: Rng = None) -> None:
        super().__init__(strength=strength, rng=rng)
        self.ratio, self.fill = ratio, fill

    def draw(self, shape: tuple[int, ...], changed: np.ndarray) -> np.ndarray:
        inside = []
        for size in shape[1:3]:
            length = int(self.ratio * size + 0.5)
            first = self.rng.integers(0, size, (len(changed), 1)) - length // 2
            pixels = np.arange(size)
            inside.append((pixels >= first) & (pixels < first + length))
        rows, columns = inside
        return ~(rows[:, :, None] & columns[:, None, :] & changed[:, None, None])[..., None]  # m (N, H, W, 1)

    def change(self, x: Array, numbers: np.ndarray, *, linear: bool = False) -> Array:
        m = ops_of(x).from_host(numbers.astype(x.dtype))
        return x * m if linear or self.fill == 0.0 else x * m + (1.0 - m) * x.dtype.type(self.fill)

    def adjoint(self, dy: Array, numbers: np.ndarray) -> Array:
        return self.change(dy, numbers, linear=True)  # A is diagonal

    def __repr__(self) -> str:
        return f"Cutout({self.ratio}, fill={self.fill})"


class Colour(Augmentation):
    r"""Change the brightness, the saturation and the contrast of each image.

    Parameters
    ----------
    brightness : the most that is added or taken away; 1/2 as in the paper, for images in [−1, 1].
    saturation, contrast : how far the factors lie from 1, in [0, 1]: 1 and 1/2 as in the paper.
    strength : the part of the images that is changed.
    rng : Generator or seed.

    Notes
    -----
    Forward   u = x + b_n
              v = p + f_n (u − p)     p[n, i, j] the mean of u over the channels
              y = q + g_n (v − q)     q[n] the mean of v over the whole image
    Backward  dv = q' + g_n (dy − q'),  dx = p' + f_n (dv − p')     with the same means, of dy and of dv
    A mean as a matrix is its own transpose, so each of the two steps back is the step forward. b_n is uniform in
    [−brightness, brightness], f_n in 1 ± saturation, g_n in 1 ± contrast. Of grey images f_n changes nothing.
    (Zhao et al., 2020.)
    """

    brightness = Setting(positive_or_0)
    saturation, contrast = Setting(fraction, closed="[]"), Setting(fraction, closed="[]")

    def __init__(
        self,
        brightness: float = 0.5,
        saturation: float = 1.0,
        contrast: float = 0.5,
        *,
        strength: float = 1.0,
        rng: Rng = None,
    ) -> None:
        super().__init__(strength=strength, rng=rng)
        self.brightness, self.saturation, self.contrast = brightness, saturation, contrast

    def draw(self, shape: tuple[int, ...], changed: np.ndarray) -> np.ndarray:
        u = self.rng.uniform(-1.0, 1.0, (3, len(changed))) * changed
        return u * np.array([[self.brightness], [self.saturation], [self.contrast]]) + [[0.0], [1.0], [1.0]]

    def change(self, x: Array, numbers: np.ndarray, *, linear: bool = False) -> Array:
        b, f, g = ops_of(x).from_host(numbers.astype(x.dtype)[..., None, None, None])
        u = x if linear else x + b
        return _scaled(_scaled(u, f, (3,)), g, (1, 2, 3))

    def adjoint(self, dy: Array, numbers: np.ndarray) -> Array:
        _, f, g = ops_of(dy).from_host(numbers.astype(dy.dtype)[..., None, None, None])
        return _scaled(_scaled(dy, g, (1, 2, 3)), f, (3,))

    def __repr__(self) -> str:
        return f"Colour({self.brightness}, {self.saturation}, {self.contrast})"


def before(discriminator: Sequential, *layers: Augmentation) -> Sequential:
    """A discriminator that is shown what ``layers`` make of its images: copies of theirs and of its own layers."""
    if wrong := [layer for layer in layers if not isinstance(layer, Augmentation)]:
        raise ArgumentError(f"augment.before: expected layers such as augment.Shift(), got {wrong[0]!r:.200}.")
    if not isinstance(discriminator, Sequential):
        raise ArgumentError(f"augment.before: expected a discriminator, a Sequential, got {discriminator!r:.200}.")
    own = discriminator.layers if type(discriminator) is Sequential else [discriminator]  # a block stays what it is
    changes = (layer.astype(discriminator.theta.dtype) for layer in layers)
    return Sequential(*changes, *(layer.copy() for layer in own))


def _shifted(x: Array, shifts: np.ndarray, fill: float) -> Array:
    """y[n, i, j] = x[n, i − s_n, j − t_n] for ``shifts`` (2, N) of rows and columns, or ``fill``."""
    xp, (n, h, w, c), (high, wide) = get_xp(x), x.shape, abs(shifts).max(axis=1)
    padded = xp.full((n, h + 2 * high, w + 2 * wide, c), fill, dtype=x.dtype)
    padded[:, high : high + h, wide : wide + w] = x
    rows = np.arange(high, high + h) - shifts[0][:, None]  # (N, H)
    columns = np.arange(wide, wide + w) - shifts[1][:, None]
    flat = (np.arange(n)[:, None, None] * padded.shape[1] + rows[:, :, None]) * padded.shape[2] + columns[:, None, :]
    return padded.reshape(-1, c)[ops_of(x).from_host(flat)]


def _scaled(x: Array, factor: Array, axes: tuple[int, ...]) -> Array:
    """Each image moved away from its mean over these axes, or towards it."""
    return factor * x + (1.0 - factor) * x.mean(axis=axes, keepdims=True)


def _tangent(layer: Augmentation, numbers: Any, v: Array) -> Array:
    return v.copy() if numbers is None else layer.change(v, numbers, linear=True)


def _nothing_bends(layer: Any, numbers: Any, v: Array, g: Array) -> tuple[None, dict]:
    return None, {}


for kind in (Shift, Cutout, Colour):
    register(kind, tangent=_tangent, second_order=_nothing_bends)
