"""Layers that make images smaller or larger without weights."""

from __future__ import annotations

from typing import Any

from ..errors import positive_int
from ..ops import Array, Window, get_xp, ops_of
from .base import Layer, Shape
from .starting import Pair, one_of, pair

MODES = ("nearest", "bilinear")


class _OfImages(Layer):
    """What takes images (N, H, W, C) of any size has in common."""

    def _check_image(self, input_shape: Shape) -> tuple[Any, Any, Any]:
        if len(input_shape) != 3:
            mend = "A grey image needs its channel axis, (N, H, W, 1); flat data needs Reshape before the layer."
            raise self.misfit("(N, H, W, C)", input_shape, mend)
        h, w, c = input_shape
        return h, w, c


class _Pool(_OfImages):
    def __init__(self, kernel_size: Pair, *, stride: Pair | None = None) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, self.name, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, self.name, "stride")

    def window(self, hw: tuple[int, int]) -> Window:
        """Where the kernel stands on images of this size."""
        grid = [(hw[a] - self.kernel_size[a]) // self.stride[a] + 1 for a in (0, 1)]
        return Window(self.kernel_size, self.stride, (0, 0, 0, 0), (grid[0], grid[1]))

    def columns(self, x: Array) -> tuple[Array, Window]:
        """What the kernel sees at every place, (N·Ho·Wo, kh·kw, C)."""
        window, (kh, kw) = self.window(x.shape[1:3]), self.kernel_size
        return ops_of(x).gather_columns(x, window).reshape(-1, kh * kw, x.shape[3]), window

    def back(self, columns: Array, x_shape: Any) -> Array:
        """The adjoint: every entry of the columns is added to the pixel it was read from."""
        flat = columns.reshape(len(columns), -1)
        return ops_of(columns).scatter_columns(flat, x_shape, self.window(x_shape[1:3]))

    def output_shape(self, input_shape: Shape) -> Shape:
        hw = self._check_image(input_shape)[:2]
        places = [
            None if s is None else (s - k) // t + 1 for s, k, t in zip(hw, self.kernel_size, self.stride, strict=True)
        ]
        if any(n is not None and n < 1 for n in places):
            least = f"(N, {self.kernel_size[0]} or more, {self.kernel_size[1]} or more, C)"
            raise self.misfit(
                least, input_shape, "The kernel has no place on it: use larger images or a smaller kernel."
            )
        return (*places, input_shape[2])

    def __repr__(self) -> str:
        def shown(size: tuple[int, int]) -> str:
            return str(size[0] if size[0] == size[1] else size)

        stride = "" if self.stride == self.kernel_size else f", stride={shown(self.stride)}"
        return f"{type(self).__name__}({shown(self.kernel_size)}{stride})"


class MaxPool2D(_Pool):
    r"""The largest number of each channel under a kernel that moves over the image.

    Parameters
    ----------
    kernel_size, stride : int or (vertical, horizontal); a stride of None is the kernel's size, so that no two places
        overlap. There is no padding: rows and columns that fill no kernel are left out.

    Notes
    -----
    Shapes    x (N, H, W, C)   y (N, Ho, Wo, C),  Ho = ⌊(H − kh) / sh⌋ + 1

    Forward   y[n,p,q,c] = max_ij x[n, p·sh+i, q·sw+j, c]

    Backward  Only the largest reaches y, and all of dy goes to it: with (i*, j*) where it was, the first of equal ones,

        dx[n,u,v,c] = Σ dy[n,p,q,c]      over the places with p·sh+i* = u and q·sw+j* = v
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        columns, window = self.columns(x)
        where = columns.argmax(axis=1)[:, None, :]  # (N·Ho·Wo, 1, C)
        y = get_xp(x).take_along_axis(columns, where, axis=1)
        return y.reshape(len(x), *window.grid, x.shape[3]), (where, x.shape)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict]:
        where, x_shape = cache
        kh, kw = self.kernel_size
        chosen = get_xp(dy).arange(kh * kw)[None, :, None] == where  # (N·Ho·Wo, kh·kw, C)
        return self.back(chosen * dy.reshape(-1, 1, x_shape[3]), x_shape), {}


class AvgPool2D(_Pool):
    r"""The mean of each channel under a kernel that moves over the image.

    Parameters
    ----------
    kernel_size, stride : as for :class:`MaxPool2D`.

    Notes
    -----
    Shapes    x (N, H, W, C)   y (N, Ho, Wo, C),  Ho = ⌊(H − kh) / sh⌋ + 1
    Forward   y[n,p,q,c] = 1/(kh kw) Σ_ij x[n, p·sh+i, q·sw+j, c]
    Backward  dx[n,u,v,c] = 1/(kh kw) Σ dy[n,p,q,c]      over all places whose kernel meets (u, v)
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        columns, window = self.columns(x)
        return columns.mean(axis=1).reshape(len(x), *window.grid, x.shape[3]), x.shape

    def gradients(self, x_shape: Any, dy: Array) -> tuple[Array, dict]:
        kh, kw = self.kernel_size
        each = dy.reshape(-1, 1, x_shape[3]) / (kh * kw)
        return self.back(get_xp(dy).repeat(each, kh * kw, axis=1), x_shape), {}


class Upsample(_OfImages):
    r"""Images ``scale`` times as high and as wide.

    Parameters
    ----------
    scale : whole number.
    mode : ``"nearest"``: each pixel becomes scale x scale of them; ``"bilinear"``: between the middles of pixels the
        numbers go over into each other in straight lines, and beyond the outermost ones they stay.

    Notes
    -----
    Shapes    x (N, H, W, C)   y (N, s·H, s·W, C),  s = scale; down and across one after the other, of which down:

    Forward   y[s·h + p] = x[h]                                            nearest, p = 0, ..., s − 1
              y[s·h + p] = (1 − |t|) x[h] + |t| x[h ± 1]                   bilinear, t = (p + ½)/s − ½; h − 1 if t < 0,
              else h + 1, and at the edges h itself

    Backward  dx[h] = Σ_p dy[s·h + p]                                      nearest
              dx[h] = Σ_p (1 − |t|) dy[s·h + p] + |t| dy[s·(h ∓ 1) + p]    bilinear: what h gave to its neighbours, too
    """

    def __init__(self, scale: int = 2, *, mode: str = "nearest") -> None:
        super().__init__()
        self.scale = positive_int(scale, "Upsample: scale", most=64)
        self.mode = one_of(mode, f"Upsample: mode: expected {' or '.join(map(repr, MODES))}", MODES)

    def apply(self, x: Array, train: bool) -> tuple[Array, Shape]:
        if self.mode == "nearest":
            return get_xp(x).repeat(get_xp(x).repeat(x, self.scale, axis=1), self.scale, axis=2), x.shape
        return self._stretched(self._stretched(x, 1), 2), x.shape

    def gradients(self, x_shape: Any, dy: Array) -> tuple[Array, dict]:
        if self.mode == "nearest":
            n, h, w, c = x_shape
            return dy.reshape(n, h, self.scale, w, self.scale, c).sum(axis=(2, 4)), {}
        return self._back(self._back(dy, 2), 1), {}

    def _stretched(self, x: Array, axis: int) -> Array:
        x = get_xp(x).swapaxes(x, 0, axis)
        y = get_xp(x).empty((self.scale * len(x), *x.shape[1:]), dtype=x.dtype)
        for p, t in self._phases():
            neighbour = get_xp(x).concatenate([x[:1], x[:-1]] if t < 0.0 else [x[1:], x[-1:]])
            y[p :: self.scale] = (1.0 - abs(t)) * x + abs(t) * neighbour
        return get_xp(x).ascontiguousarray(get_xp(x).swapaxes(y, 0, axis))

    def _back(self, dy: Array, axis: int) -> Array:
        dy = get_xp(dy).swapaxes(dy, 0, axis)
        dx = get_xp(dy).zeros((len(dy) // self.scale, *dy.shape[1:]), dtype=dy.dtype)
        for p, t in self._phases():
            d = dy[p :: self.scale]
            dx += (1.0 - abs(t)) * d
            if t < 0.0:
                dx[:-1] += abs(t) * d[1:]
                dx[:1] += abs(t) * d[:1]
            else:
                dx[1:] += abs(t) * d[:-1]
                dx[-1:] += abs(t) * d[-1:]
        return get_xp(dy).ascontiguousarray(get_xp(dy).swapaxes(dx, 0, axis))

    def _phases(self) -> list[tuple[int, float]]:
        return [(p, (p + 0.5) / self.scale - 0.5) for p in range(self.scale)]

    def output_shape(self, input_shape: Shape) -> Shape:
        h, w, c = self._check_image(input_shape)
        return (*(None if size is None else self.scale * size for size in (h, w)), c)

    def __repr__(self) -> str:
        return f"Upsample({self.scale}{'' if self.mode == 'nearest' else f', mode={self.mode!r}'})"


class PixelShuffle(_OfImages):
    r"""Images ``scale`` times as high and as wide, each pixel made of scale² channels: depth to space.

    Parameters
    ----------
    scale : whole number r; the channels must be a multiple of r².

    Notes
    -----
    Shapes    x (N, H, W, r²·C)   y (N, r·H, r·W, C)
    Forward   y[n, r·p + i, r·q + j, c] = x[n, p, q, c·r² + i·r + j]
    Backward  dx is dy arranged as x was

    References: Shi et al., 2016, equation 4.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = positive_int(scale, "PixelShuffle: scale", most=64)

    def apply(self, x: Array, train: bool) -> tuple[Array, Shape]:
        (n, h, w, c), r = x.shape, self.scale
        parts = x.reshape(n, h, w, c // r**2, r, r).transpose(0, 1, 4, 2, 5, 3)  # (N, H, i, W, j, C)
        return parts.reshape(n, h * r, w * r, c // r**2), x.shape

    def gradients(self, x_shape: Any, dy: Array) -> tuple[Array, dict]:
        (n, h, w, c), r = x_shape, self.scale
        parts = dy.reshape(n, h, r, w, r, c // r**2).transpose(0, 1, 3, 5, 2, 4)  # (N, H, W, C, i, j)
        return parts.reshape(x_shape), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        h, w, c = self._check_image(input_shape)
        r = self.scale
        if c is not None and c % r**2:
            mend = f"Each pixel of y is made of scale² = {r**2} channels."
            raise self.misfit(f"(N, H, W, a multiple of {r**2})", input_shape, mend)
        return (*(None if size is None else r * size for size in (h, w)), None if c is None else c // r**2)

    def __repr__(self) -> str:
        return f"PixelShuffle({self.scale})"
