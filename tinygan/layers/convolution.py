"""Convolution and its adjoint, the transposed convolution.

Both layers are three products with the same matrix of columns (:meth:`tinygan.ops.Ops.gather_columns`, im2col): with
cols = gather(x), a convolution is ``y = cols W``, its derivatives ``dx = scatter(dy Wᵀ)`` and ``dW = colsᵀ dy``. They
are ``convolve``, ``convolve_adjoint`` and ``convolve_weights`` of :class:`tinygan.ops.Ops`. The transposed convolution
is the middle one read as a forward pass.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError, positive_int
from ..ops import Array, Window, ops_of
from .base import Layer, Shape
from .initializers import Initializer, he_normal
from .starting import Padding, Pair, Rng, check_padding, flag, pair, weights


class Conv2D(Layer):
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

    References: Dumoulin and Visin, 2016, "A guide to convolution arithmetic for deep learning", sections 2 and 4.
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
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.c_in, self.c_out = positive_int(c_in, f"{self.name}: c_in"), positive_int(c_out, f"{self.name}: c_out")
        self.input_shape = (None, None, self.c_in)
        self.kernel_size, self.stride = pair(kernel_size, self.name, "kernel_size"), pair(stride, self.name, "stride")
        self.padding = check_padding(padding, self.name)
        shape, fan_in, fan_out = self._weights_shape(), self._fan_in(), self.c_out * prod(self.kernel_size)
        W = weights(self.name, init, shape, fan_in=fan_in, fan_out=fan_out, rng=rng, dtype=dtype)
        self.add_param("W", W, shape)
        if flag(bias, f"{self.name}: bias"):
            self.add_param("b", np.zeros(self.c_out, dtype=dtype))

    def _weights_shape(self) -> tuple[int, ...]:
        return (*self.kernel_size, self.c_in, self.c_out)

    def _fan_in(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1] * self.c_in

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        W, b, window = self.params["W"], self.params.get("b"), self.window(x.shape[1:3])
        y = ops_of(x).convolve(x, W, window)
        return (y if b is None else y + b), x

    def gradients(self, x: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        ops, W, window = ops_of(x), self.params["W"], self.window(x.shape[1:3])
        dx = ops.convolve_adjoint(dy, W, x.shape[1:3], window)
        dW = ops.convolve_weights(x, dy, window)
        return dx, {"W": dW, "b": dy.sum(axis=(0, 1, 2))}

    def window(self, hw: tuple[int, int]) -> Window:
        """Where the kernel stands on (large) images of this size."""
        pads = [_pads_along(self.padding, hw[a], self.kernel_size[a], self.stride[a], a) for a in (0, 1)]
        grid = [(hw[a] + sum(pads[a]) - self.kernel_size[a]) // self.stride[a] + 1 for a in (0, 1)]
        return Window(self.kernel_size, self.stride, (*pads[0], *pads[1]), (grid[0], grid[1]))

    def output_shape(self, input_shape: Shape) -> Shape:
        hw = self._check_image(input_shape)
        grid = [None if hw[a] is None else self.window((hw[a], hw[a])).grid[a] for a in (0, 1)]
        return (*self._require_places(grid, hw, "Use larger images, a smaller kernel or more padding."), self.c_out)

    def _check_image(self, input_shape: Shape) -> tuple[Any, Any]:
        if len(input_shape) != 3:
            mend = "A grey image needs its channel axis, (N, H, W, 1); flat data needs Reshape before the layer."
            raise self.misfit(f"(N, H, W, {self.c_in})", input_shape, mend)
        if input_shape[2] not in (self.c_in, None):
            raise self.misfit(
                f"(N, H, W, {self.c_in})", input_shape, "Channels come last; c_in must be the number of channels."
            )
        return input_shape[0], input_shape[1]

    def _require_places(self, grid: list[int | None], hw: tuple, mend: str) -> list[int | None]:
        if any(size is not None and size < 1 for size in grid):
            raise ShapeError(
                f"{self.name}: a kernel of {self.kernel_size} with stride {self.stride} and padding {self.padding!r} "
                f"leaves no output of images of {'x'.join('?' if s is None else str(s) for s in hw)}. {mend}"
            )
        return grid

    def __repr__(self) -> str:
        kernel, stride = (str(p[0]) if p[0] == p[1] else str(p) for p in (self.kernel_size, self.stride))
        bias = "" if "b" in self.params else ", bias=False"
        shown = f"{self.c_in}, {self.c_out}, {kernel}, stride={stride}, padding={self.padding!r}{bias}"
        return f"{type(self).__name__}({shown})"


class ConvTranspose2D(Conv2D):
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

    References: Dumoulin and Visin, 2016, section 4; Radford et al., 2016 (DCGAN), where it replaces upsampling.
    """

    def _weights_shape(self) -> tuple[int, ...]:
        return (*self.kernel_size, self.c_out, self.c_in)

    def _fan_in(self) -> int:  # an output pixel is met by about kh·kw / (sh·sw) kernel entries of each input channel
        (kh, kw), (sh, sw) = self.kernel_size, self.stride
        return max(1, kh * kw // (sh * sw)) * self.c_in

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        W, b, hw = self.params["W"], self.params.get("b"), self.output_shape(x.shape[1:])[:2]
        y = ops_of(x).convolve_adjoint(x, W, hw, self.window(hw))
        return (y if b is None else y + b), x

    def gradients(self, x: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        ops, W, window = ops_of(x), self.params["W"], self.window(dy.shape[1:3])
        dx = ops.convolve(dy, W, window)
        dW = ops.convolve_weights(dy, x, window)
        return dx, {"W": dW, "b": dy.sum(axis=(0, 1, 2))}

    def output_shape(self, input_shape: Shape) -> Shape:
        hw = self._check_image(input_shape)
        large: list[int | None] = []
        for axis, (size, k, s) in enumerate(zip(hw, self.kernel_size, self.stride, strict=True)):
            if size is None or self.padding == "same":
                large.append(None if size is None else size * s)
            else:
                large.append((size - 1) * s + k - sum(_pads_along(self.padding, 0, k, s, axis)))
        return (*self._require_places(large, hw, "Use less padding."), self.c_out)


def _pads_along(padding: Padding, size: int, k: int, s: int, axis: int) -> tuple[int, int]:
    """Zeros before and after an image of ``size`` along one axis (0 vertical, 1 horizontal)."""
    if padding == "same":
        total = max((-(-size // s) - 1) * s + k - size, 0)  # what ⌈size / s⌉ places need beyond the image
        return total // 2, total - total // 2
    if padding == "valid":
        return 0, 0
    return (padding, padding) if isinstance(padding, int) else padding[axis]  # type: ignore[return-value]
