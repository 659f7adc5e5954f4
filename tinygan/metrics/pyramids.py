"""The sliced Wasserstein distance on Laplacian pyramids: texture at every scale, without any network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, NonFiniteError, ShapeError, positive_int
from ..layers.starting import Rng, as_generator
from ..ops import as_array, to_numpy

PATCH = 7  # pixels, each way
FILTER = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # Burt and Adelson's, 1983
DIRECTIONS = 512
AT_ONCE = 16  # directions: as many numbers of each patch are in memory


def sliced_wasserstein(real: Any, fake: Any, *, patches: int = 64, rng: Rng = 0) -> dict[int, float]:
    r"""How far the patches of two sets of images are apart, at each size of a Laplacian pyramid, times 1,000.

    An image is split into bands, each with the detail of one size and the last with what is left; ``patches`` squares
    of 7 x 7 pixels are drawn from each image's band, and each channel of a band's patches is brought to mean 0 and
    deviation 1 over the set. Along a direction u of the space of patches the Wasserstein distance is that of sorted
    numbers, which is averaged over 512 random ones (Rabin et al., 2011; Karras et al., 2018, section 5):

        SWD = mean_u mean_i | sort(P u)_i − sort(Q u)_i |

    **Blind to** where in the image a patch lies, and so to objects larger than the patch of a band; to brightness and
    contrast of each band. (The paper stops at a height of 16; here bands go on while they hold a patch.)
    **How many:** as many images of each set, some thousands; by chance alone it is not 0: compare with two halves of
    the real ones, which also says how large its error is.

    Parameters
    ----------
    real, fake : images (N, H, W, C) in any one range, of 7 pixels at least each way; as many of each.

    Returns
    -------
    dict : the distance by the height of the band, the finest first; their mean is the usual single number.
    """
    a, b = _images(real, "real"), _images(fake, "fake")
    if a.shape != b.shape:
        raise ShapeError(f"sliced_wasserstein: expected as many images of one shape, got {a.shape} and {b.shape}.")
    rng, patches = as_generator(rng), positive_int(patches, "sliced_wasserstein: patches")
    distances = {}
    for p, q in zip(_pyramid(a), _pyramid(b), strict=True):
        n, h, w, c = p.shape
        which = np.repeat(np.arange(n), patches)
        corners = [
            (rng.integers(0, h - PATCH + 1, len(which)), rng.integers(0, w - PATCH + 1, len(which))) for _ in "ab"
        ]
        sets = [_patches(x, which, *corner) for x, corner in zip((p, q), corners, strict=True)]
        u = rng.standard_normal((PATCH * PATCH * c, DIRECTIONS))
        u /= np.sqrt(np.square(u).sum(axis=0))
        total = 0.0
        for k in range(0, DIRECTIONS, AT_ONCE):
            x, y = (np.sort(s @ u[:, k : k + AT_ONCE], axis=0) for s in sets)
            total += abs(x - y).mean(axis=0).sum()
        distances[h] = float(1e3 * total / DIRECTIONS)
    return distances


def _images(x: Any, what: str) -> np.ndarray:
    images = to_numpy(as_array(x))
    if images.ndim != 4 or 0 in images.shape or min(images.shape[1:3]) < PATCH:
        raise ShapeError(
            f"sliced_wasserstein: {what} must be images (N, H, W, C) of {PATCH}x{PATCH} pixels at least, "
            f"got {images.shape}."
        )
    if images.dtype.kind not in "fiu":
        raise DTypeError(f"sliced_wasserstein: {what} must be real numbers, got {images.dtype}.")
    images = images.astype(np.float64)
    if not np.isfinite(images).all():
        raise NonFiniteError(f"sliced_wasserstein: {what} is not finite everywhere.")
    return images


def _pyramid(x: np.ndarray) -> list[np.ndarray]:
    """The bands: x less what is left of it at half the size and brought back; and so on, while a patch fits in."""
    bands = []
    while min(x.shape[1:3]) >= 2 * PATCH:
        half = _blur(x)[:, ::2, ::2]
        bands.append(x - _double(half, x.shape[1:3]))
        x = half
    return [*bands, x]


def _blur(x: np.ndarray) -> np.ndarray:
    """Along both dimensions, mirrored at the edges without repeating them."""
    for axis in (1, 2):
        pads = [(2, 2) if i == axis else (0, 0) for i in range(4)]
        padded, n = np.pad(x, pads, mode="reflect"), x.shape[axis]
        x = sum(f * np.take(padded, range(k, k + n), axis=axis) for k, f in enumerate(FILTER))
    return x


def _double(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Each pixel with zeros to its right and below, blurred, times 4."""
    wide = np.zeros((len(x), *size, x.shape[3]))
    wide[:, ::2, ::2] = x
    return 4.0 * _blur(wide)


def _patches(x: np.ndarray, which: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """(N, 7·7·C), each channel of all patches at mean 0 and deviation 1."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (PATCH, PATCH), axis=(1, 2))  # (N, H', W', C, 7, 7)
    p = windows[which, top, left]  # (N, C, 7, 7)
    p = p - p.mean(axis=(0, 2, 3), keepdims=True)
    deviation = p.std(axis=(0, 2, 3), keepdims=True)
    p /= np.where(deviation > 0.0, deviation, 1.0)
    return p.reshape(len(p), -1)
