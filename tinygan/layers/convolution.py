"""Convolution and its adjoint, the transposed convolution.

Both layers are three products with the same matrix of columns (see :func:`tinygan.kernels.plain.gather_columns`): with
cols = gather(x), a convolution is ``y = cols W``, its derivatives ``dx = scatter(dy Wᵀ)`` and ``dW = colsᵀ dy``. The
transposed convolution is the middle one read as a forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import positive_int
from ..backend import Array
from ..errors import ArgumentError, ShapeError
from ..initializers import Initializer, Rng, as_generator, he_normal
from ..kernels import (
    Window,
    accumulate_convolve_weights,
    accumulate_matmul,
    bias_leaky_backward,
    convolve,
    convolve_adjoint,
)
from .base import GradMode, Layer, Shape

Pair = int | tuple[int, int]
Padding = str | int | tuple[tuple[int, int], tuple[int, int]]


class _Convolution(Layer):
    """What both layers share: the arguments, and the geometry of the three products.

    The *large* image (N, H, W, A) is a convolution's input and a transposed convolution's output, the *small* one
    (N, Ho, Wo, B) the other; W is (kh, kw, A, B) for both.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: Pair,
        *,
        stride: Pair = 1,
        padding: Padding = "same",
        bias: bool = True,
        init: Initializer = he_normal,
        rng: Rng = 0,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.c_in = positive_int(c_in, f"{self.name}: c_in")
        self.c_out = positive_int(c_out, f"{self.name}: c_out")
        self.input_shape = (None, None, self.c_in)
        self.kernel_size = _pair(kernel_size, f"{self.name}: kernel_size")
        self.stride = _pair(stride, f"{self.name}: stride")
        self.padding = _check_padding(padding, self.name)
        self._init_weights(init, as_generator(rng), dtype)
        if bias:
            self._add_param("b", np.zeros(self.c_out, dtype=dtype))

    def _init_weights(self, init: Initializer, rng: np.random.Generator, dtype: Any) -> None:
        raise NotImplementedError

    def backward(
        self,
        dy: Array,
        *,
        grads: GradMode = "add",
        need_dx: bool = True,
        y: Array | None = None,
        slope: float = 1.0,
    ) -> Array | None:
        """Return dx; with ``y`` and ``slope``, ``dy`` is that behind a leaky ReLU, see :mod:`tinygan.layers.pairs`."""
        (x,) = self._recall(dy, grads)
        db = None if grads == "skip" else self.grads.get("b")
        dy = bias_leaky_backward(dy, y, slope, db, add=grads == "add")
        if grads != "skip":
            self._accumulate_weights(x, dy, add=grads == "add")
        return self._transpose(dy, x.shape) if need_dx else None

    def _accumulate_weights(self, x: Array, dy: Array, *, add: bool) -> None:
        """Write dW, or add it to what is there."""
        raise NotImplementedError

    def _transpose(self, dy: Array, x_shape: Shape) -> Array:
        """Return dx."""
        raise NotImplementedError

    def second_order_and_backward(self, v: Array, g: Array, share: Array) -> bool:
        (x,) = self._peek()
        self.second_order(v + share[:, :, None, None] * x, g)
        if "b" in self.params:
            accumulate_matmul(self.grads["b"][None], share.T, g.reshape(len(g), -1, self.c_out).sum(axis=1), add=True)
        return True

    def _window(self, hw: tuple[int, int]) -> Window:
        return _window(hw, self.kernel_size, self.stride, self.padding)

    def _check_image(self, input_shape: Shape) -> tuple[int | None, int | None]:
        if len(input_shape) != 3:
            mend = "A grey image needs its channel axis, (N, H, W, 1); flat data needs Reshape before the layer."
            raise self._misfit(f"(N, H, W, {self.c_in})", input_shape, mend)
        if input_shape[2] not in (self.c_in, None):
            raise self._misfit(
                f"(N, H, W, {self.c_in})", input_shape, "Channels come last; c_in must be the number of channels."
            )
        return input_shape[0], input_shape[1]

    def __repr__(self) -> str:
        kernel, stride = (str(p[0]) if p[0] == p[1] else str(p) for p in (self.kernel_size, self.stride))
        padding = repr(self.padding)
        bias = "" if "b" in self.params else ", bias=False"
        return f"{type(self).__name__}({self.c_in}, {self.c_out}, {kernel}, stride={stride}, padding={padding}{bias})"


class Conv2D(_Convolution):
    r"""Two-dimensional convolution (cross-correlation, as everywhere in deep learning) of channels-last images.

    Parameters
    ----------
    c_in, c_out : channels of x and of y.
    kernel_size, stride : int or (vertical, horizontal).
    padding : zeros around the image. ``"same"`` in TensorFlow's meaning: Ho = ⌈H / stride⌉, an odd row or column of the
        padding goes to the bottom and the right; ``"valid"``: none; an int: as many on every side; or
        ((top, bottom), (left, right)).
    bias : whether b is added; before BatchNorm, which subtracts it again with the mean, it would only cost time.
    init, rng, dtype : as for Dense.

    Notes
    -----
    Shapes    x (N, H, W, C)   W (kh, kw, C, O)   b (O,)   y (N, Ho, Wo, O),  Ho = ⌊(H + top + bottom − kh) / sh⌋ + 1

    Forward   y[n,p,q,o] = Σ_ijc x̄[n, p·sh+i, q·sw+j, c] W[i,j,c,o] + b[o]       x̄: x with zeros around it

    Backward  Each x̄[n,u,v,c] is met by every (p,i) with p·sh+i = u and (q,j) with q·sw+j = v:

        dx̄[n,u,v,c] = Σ dy[n,p,q,o] W[i,j,c,o]      over those places and o;  dx is dx̄ without its margin
        dW[i,j,c,o] = Σ_npq x̄[n, p·sh+i, q·sw+j, c] dy[n,p,q,o]
        db[o]       = Σ_npq dy[n,p,q,o]

    Tangent       u[n,p,q,o] = Σ_ijc v̄[n, p·sh+i, q·sw+j, c] W[i,j,c,o]       y is linear in x, but for b
    Second order  gᵀ u is linear in W: it adds what dW is for v in the place of x and g in that of dy

    References: Dumoulin and Visin, 2016, "A guide to convolution arithmetic for deep learning", sections 2 and 4.
    """

    def _init_weights(self, init: Initializer, rng: np.random.Generator, dtype: Any) -> None:
        kh, kw = self.kernel_size
        fan_in, fan_out = kh * kw * self.c_in, kh * kw * self.c_out
        shape = (kh, kw, self.c_in, self.c_out)
        self._add_param("W", init(shape, fan_in=fan_in, fan_out=fan_out, rng=rng, dtype=dtype), shape)

    def forward(self, x: Array, *, train: bool = True, slope: float = 1.0) -> Array:
        """Return y; with ``slope``, of a leaky ReLU right behind, as :mod:`tinygan.layers.pairs` asks for it."""
        self._check_input(x)
        y = convolve(x, self.params["W"], self._window(x.shape[1:3]), self.params.get("b"), slope)
        return self._remember(y, x)

    def _accumulate_weights(self, x: Array, dy: Array, *, add: bool) -> None:
        accumulate_convolve_weights(self.grads["W"], x, dy, self._window(x.shape[1:3]), add=add)

    def _transpose(self, dy: Array, x_shape: Shape) -> Array:
        return convolve_adjoint(dy, self.params["W"], x_shape[1:3], self._window(x_shape[1:3]))

    def tangent(self, v: Array) -> Array:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        return convolve(v, self.params["W"], self._window(x.shape[1:3]))

    def second_order(self, v: Array, g: Array) -> None:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        self._require_like(g, "g")
        self._accumulate_weights(v, g, add=True)

    def output_shape(self, input_shape: Shape) -> Shape:
        h, w = self._check_image(input_shape)
        grid = tuple(
            None if size is None else _places(size, k, s, _pads_along(self.padding, size, k, s, axis))
            for axis, (size, k, s) in enumerate(zip((h, w), self.kernel_size, self.stride, strict=True))
        )
        if any(size is not None and size < 1 for size in grid):
            raise ShapeError(
                f"{self.name}: a kernel of {self.kernel_size} with padding {self.padding!r} has no place on images of "
                f"{show_hw(h, w)}. Use larger images, a smaller kernel or more padding."
            )
        return (*grid, self.c_out)


class ConvTranspose2D(_Convolution):
    r"""Transposed convolution: exactly the adjoint of ``Conv2D(c_out, c_in, ...)`` with the same W. It upsamples.

    Parameters
    ----------
    c_in, c_out : channels of x and of y.
    kernel_size, stride, padding, bias : those of the Conv2D that it is the adjoint of; of all the image sizes that this
        Conv2D takes to x's, y has H·stride for ``"same"`` and the smallest otherwise.
    init, rng, dtype : as for Dense.

    Notes
    -----
    Shapes    x (N, H, W, C)   W (kh, kw, O, C)   b (O,)   y (N, Ho, Wo, O)
              Ho = H·sh for "same", else (H − 1)·sh + kh − top − bottom

    Forward   ȳ[n,u,v,o] = Σ x[n,p,q,c] W[i,j,o,c] over all p·sh+i = u, q·sw+j = v and c;  y = ȳ without its margin, + b

    Backward  The adjoint of an adjoint is the map itself, so dx is a convolution (dȳ: dy with zeros around it):

        dx[n,p,q,c] = Σ_ijo dȳ[n, p·sh+i, q·sw+j, o] W[i,j,o,c]
        dW[i,j,o,c] = Σ_npq dȳ[n, p·sh+i, q·sw+j, o] x[n,p,q,c]
        db[o]       = Σ_nuv dy[n,u,v,o]

    Tangent, second order   as for Conv2D: the layer itself without b, and dW of v and g

    References: Dumoulin and Visin, 2016, section 4; Radford et al., 2016 (DCGAN), where it replaces upsampling.
    """

    def _init_weights(self, init: Initializer, rng: np.random.Generator, dtype: Any) -> None:
        (kh, kw), (sh, sw) = self.kernel_size, self.stride
        # An output pixel is met by about kh·kw / (sh·sw) kernel entries of each input channel.
        fan_in, fan_out = max(1, kh * kw // (sh * sw)) * self.c_in, kh * kw * self.c_out
        shape = (kh, kw, self.c_out, self.c_in)
        self._add_param("W", init(shape, fan_in=fan_in, fan_out=fan_out, rng=rng, dtype=dtype), shape)

    def forward(self, x: Array, *, train: bool = True, slope: float = 1.0) -> Array:
        """Return y; with ``slope``, of a leaky ReLU right behind, as :mod:`tinygan.layers.pairs` asks for it."""
        self._check_input(x)
        hw = self.output_shape(x.shape[1:])[:2]
        y = convolve_adjoint(x, self.params["W"], hw, self._window(hw), self.params.get("b"), slope)
        return self._remember(y, x)

    def _accumulate_weights(self, x: Array, dy: Array, *, add: bool) -> None:
        accumulate_convolve_weights(self.grads["W"], dy, x, self._window(dy.shape[1:3]), add=add)

    def _transpose(self, dy: Array, x_shape: Shape) -> Array:
        return convolve(dy, self.params["W"], self._window(dy.shape[1:3]))

    def tangent(self, v: Array) -> Array:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        hw = self.output_shape(x.shape[1:])[:2]
        return convolve_adjoint(v, self.params["W"], hw, self._window(hw))

    def second_order(self, v: Array, g: Array) -> None:
        (x,) = self._peek()
        self._require_like(v, "v", x.shape)
        self._require_like(g, "g")
        self._accumulate_weights(v, g, add=True)

    def output_shape(self, input_shape: Shape) -> Shape:
        h, w = self._check_image(input_shape)
        hw = []
        for axis, (size, k, s) in enumerate(zip((h, w), self.kernel_size, self.stride, strict=True)):
            if size is None:
                hw.append(None)
            elif self.padding == "same":
                hw.append(size * s)
            else:
                hw.append((size - 1) * s + k - sum(_pads_along(self.padding, 0, k, s, axis)))
        if any(size is not None and size < 1 for size in hw):
            raise ShapeError(
                f"{self.name}: padding {self.padding!r} leaves no output of images of {show_hw(h, w)} "
                f"(kernel_size {self.kernel_size}, stride {self.stride}). Use less padding."
            )
        return (*hw, self.c_out)


def show_hw(h: int | None, w: int | None) -> str:
    """An image size in words: '28x28'."""
    return f"{'?' if h is None else h}x{'?' if w is None else w}"


def _pads_along(padding: Padding, size: int, k: int, s: int, axis: int) -> tuple[int, int]:
    """Zeros before and after an image of ``size`` along one axis (0 vertical, 1 horizontal)."""
    if padding == "same":
        total = max((-(-size // s) - 1) * s + k - size, 0)  # what ⌈size / s⌉ places need beyond the image
        return total // 2, total - total // 2
    if padding == "valid":
        return 0, 0
    return (padding, padding) if isinstance(padding, int) else padding[axis]


def _places(size: int, k: int, s: int, pads: tuple[int, int]) -> int:
    """On how many places a kernel of k can stand."""
    return (size + sum(pads) - k) // s + 1


def _window(hw: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> Window:
    pads = [_pads_along(padding, hw[a], kernel[a], stride[a], a) for a in (0, 1)]
    grid = tuple(_places(hw[a], kernel[a], stride[a], pads[a]) for a in (0, 1))
    return Window(kernel, stride, (*pads[0], *pads[1]), grid)


def _pair(value: Any, what: str) -> tuple[int, int]:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ArgumentError(f"{what} must be an int or a pair (vertical, horizontal), got {value!r}.")
        return positive_int(value[0], what), positive_int(value[1], what)
    value = positive_int(value, what)
    return value, value


def _check_padding(padding: Any, name: str) -> Padding:
    expected = (
        f"{name}: padding must be 'same', 'valid', an int >= 0 or ((top, bottom), (left, right)), got {padding!r}."
    )
    if isinstance(padding, str):
        if padding in ("same", "valid"):
            return padding
        raise ArgumentError(expected)
    try:
        if np.ndim(padding) == 0:
            return positive_int(padding, "padding", least=0)
        (top, bottom), (left, right) = padding
        sizes = [positive_int(p, "padding", least=0) for p in (top, bottom, left, right)]
    except (TypeError, ValueError) as error:
        raise ArgumentError(expected) from error
    return (sizes[0], sizes[1]), (sizes[2], sizes[3])
