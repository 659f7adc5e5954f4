"""What layers are made of on a GPU, in the few lines that show what it is; any array library can run them.

On a GPU, adding a bias, normalising and a leaky ReLU cost the time to read an array and to write it, and little else.
So here a leaky ReLU right behind a product, a convolution or a normalisation is part of it: ``slope`` is that of the
leaky ReLU, 0 for a ReLU and 1 for none. :class:`tinygan.backends.cuda.CudaOps` does the same with kernels of its own,
and the stand-in for a GPU (:mod:`tinygan.testing.device`) as it stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops import Array, Ops, Window
from ...ops import sigmoid as plain_sigmoid
from ..cpu import batchnorm
from . import layers
from .placing import lay_out


class FusedOps(Ops):
    """The operations of :class:`tinygan.ops.Ops`, and those that the fused links are made of.

    Attributes
    ----------
    tf32 : whether products of float32 can be taken in TF32.
    free_memory : a function that returns how many bytes new arrays may take, or None if nobody knows.
    """

    tf32: bool = False
    free_memory: Callable[[], int] | None = None

    def links(self, layers_: Sequence[Any]) -> list[Any]:
        return layers.links(layers_)

    def place(self, numbers: Any, like: Array) -> Any:
        """One host buffer, one copy, and views of it: 0-d ones for numbers. None stays None."""
        layout = lay_out(numbers, like.dtype)
        host = np.empty(layout.nbytes, dtype=np.uint8)
        layout.write(numbers, host)
        return layout.unpack(self.from_host(host))

    # ---- products: never by the operator @, which no captured step may contain on a GPU ------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None, *, add: bool = False) -> Array:
        if not add:
            return self.xp.matmul(a, b) if out is None else self.xp.matmul(a, b, out=out)
        out += self.xp.matmul(a, b)
        return out

    def convolve(self, x: Array, W: Array, window: Window, b: Array | None = None, slope: float = 1.0) -> Array:
        """y (N, Ho, Wo, B) = columns of x (N, H, W, A) times W (kh, kw, A, B); then :meth:`bias_leaky` with b (B,)."""
        y = self.matmul(self.gather_columns(x, window), W.reshape(-1, W.shape[3]))
        return self.bias_leaky(y, b, slope).reshape(len(x), *window.grid, W.shape[3])

    def convolve_adjoint(
        self, y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None, slope: float = 1.0
    ) -> Array:
        """The transpose of the linear map :meth:`convolve`, y (N, Ho, Wo, B) -> images (N, *hw, A); then
        :meth:`bias_leaky` with b (A,)."""
        columns = self.matmul(y.reshape(-1, W.shape[3]), W.reshape(-1, W.shape[3]).T)  # (N·Ho·Wo, kh·kw·A)
        return self.bias_leaky(self.scatter_columns(columns, (len(y), *hw, W.shape[2]), window), b, slope)

    def convolve_weights(
        self, x: Array, y: Array, window: Window, out: Array | None = None, *, add: bool = False
    ) -> Array:
        """∂<y, convolve(x, W)>/∂W (kh, kw, A, B): columns of x, transposed, times y; into ``out``, or added to it."""
        shape = (*window.kernel, x.shape[3], y.shape[3])
        dW = self.xp.empty(shape, dtype=x.dtype) if out is None else out
        flat = dW.reshape(-1, y.shape[3])
        self.matmul(self.gather_columns(x, window).T, y.reshape(-1, y.shape[3]), flat, add=add)
        return dW

    # ---- rows of channels, and number by number ----------------------------------------------------------------------

    def bias_leaky(self, y: Array, b: Array | None, slope: float = 1.0) -> Array:
        """Add b (C,) to y (..., C), if there is one; apply leaky ReLU, if slope is not 1; all in place. Return y."""
        if b is not None:
            y += b
        if slope != 1.0:
            self.xp.maximum(y, slope * y, out=y)
        return y

    def bias_leaky_backward(
        self, dy: Array, y: Any, slope: float, db: Array | None = None, *, add: bool = False
    ) -> Array:
        """Return d = dy · (1 if y > 0 else slope), and store its sum over all but the last axis in db (C,), if given.

        With a slope of 1, d is dy itself, and y is not looked at.
        """
        d = dy if slope == 1.0 else self.leaky_relu_backward(y, dy, slope)
        if db is not None:
            total = d.reshape(-1, len(db)).sum(axis=0)
            db[...] = db + total if add else total
        return d

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """y = max(x, slope · x), which is x where x > 0 and slope · x elsewhere, because slope < 1."""
        return self.xp.maximum(x, slope * x)

    def leaky_relu_backward(self, y: Array, dy: Array, slope: float) -> Array:
        """dx = dy · (1 if y > 0 else slope)."""
        return self.xp.where(y > 0, dy, slope * dy)

    def sigmoid(self, x: Array) -> Array:
        """y = σ(x)."""
        return plain_sigmoid(x)

    def sigmoid_backward(self, y: Array, dy: Array) -> Array:
        """dx = dy · y · (1 − y)."""
        return dy * y * (1.0 - y)

    def tanh_backward(self, y: Array, dy: Array) -> Array:
        """dx = dy · (1 − y²)."""
        return dy * (1.0 - y * y)

    # ---- batch normalisation of rows (batches·M, C), each batch with statistics of its own ---------------------------

    def normalise_batches(
        self,
        x: Array,
        batches: int,
        gamma: Array,
        beta: Array,
        *,
        eps: float,
        slope: float,
        running: tuple[Array, Array],
        momentum: float,
    ) -> tuple[Array, Array, Array]:
        """Return y = f(gamma · (x − mean) · inv_std + beta), mean and inv_std (batches, C) of a training batch.

        ``running`` = (mean, var) are moved towards the mean and the unbiased variance of each batch in turn.
        """
        (mean, squares), m = batchnorm.moments(x, batches), len(x) // batches
        for k in range(batches):
            for old, new in zip(running, (mean[k], squares[k] / (m - 1)), strict=True):
                old *= momentum
                old += (1.0 - momentum) * new
        y, inv_std = batchnorm.normalise(x, mean, squares / m, gamma, beta, eps=eps)
        return self.bias_leaky(y, None, slope), mean, inv_std

    def normalise_fixed(
        self, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array]:
        """The same with statistics (1, C) that do not depend on x: y and inv_std."""
        y, inv_std = batchnorm.normalise(x, mean, var, gamma, beta, eps=eps)
        return self.bias_leaky(y, None, slope), inv_std

    def normalise_backward(
        self,
        x: Array,
        dy: Array,
        mean: Array,
        inv_std: Array,
        gamma: Array,
        beta: Array,
        m: int | None,
        *,
        slope: float,
        store: tuple[Array, Array, bool] | None = None,
        input_too: bool = True,
    ) -> Array | None:
        """Return dx, if it is needed, and store the gradients in ``store`` = (dgamma, dbeta, add), if it is given.

        The sign that f looks at is computed again from x. ``m`` is the number of rows in each batch that the statistics
        are of, or None if they were fixed: then dx = gamma/σ · d alone.
        """
        batches, c = mean.shape
        if slope != 1.0:
            z = (x.reshape(batches, -1, c) - mean[:, None]) * (inv_std * gamma)[:, None] + beta
            dy = self.leaky_relu_backward(z.reshape(x.shape), dy, slope)
        sums = batchnorm.backward_sums(x, dy, mean)
        if store:
            dgamma, dbeta, add = store
            for grad, new in ((dgamma, (sums[1] * inv_std).sum(axis=0)), (dbeta, sums[0].sum(axis=0))):
                grad[...] = grad + new if add else new
        if not input_too:
            return None
        return batchnorm.backward(x, dy, mean, inv_std, gamma, None if m is None else sums, m or 1)
