"""What does the same as a layer of the book, faster on NumPy; see :meth:`tinygan.ops.Ops.links`.

Each of these holds a layer and works with its arrays. What is gained: products are written where they belong, biases
added in place, gradients that nobody asks for skipped, passes over memory made in blocks that stay in cache and are
shared by the cores. ``of_layers(cache)`` gives the layers it stands for, each with its cache, for whoever looks
into a pass.
"""

from __future__ import annotations

from typing import Any

from ... import layers
from ...errors import ShapeError
from ...network import Apart
from ...ops import Array, Window
from . import batchnorm, convolution
from .blocks import accumulate, accumulate_matmul, leaky_relu, leaky_relu_backward, sum_in_order, sum_rows


def faster(layer: Any) -> Any:
    """What does the same as a layer of exactly this class, or as one apart for several batches; else the layer."""
    if isinstance(layer, Apart):
        return FastBatchNorm(layer.layer, layer.batches) if type(layer.layer) is layers.BatchNorm else layer
    return FASTER[type(layer)](layer) if type(layer) in FASTER else layer


class Fast:
    """One layer, and the four questions that a network asks of it (:class:`tinygan.layers.Layer`)."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.size = layer, layer.size

    def of_layers(self, cache: Any) -> list[tuple[Any, Any]]:
        return [(self.layer, cache)]

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        return self.layer.apply(x, train)

    def input_gradient(self, cache: Any, dy: Array, /) -> Array:
        raise NotImplementedError

    def store_gradients(self, cache: Any, dy: Array, /, add: bool = True) -> None:
        """Nothing, for a layer without parameters."""

    def backprop(self, cache: Any, dy: Array, /, add: bool = True) -> Array:
        self.store_gradients(cache, dy, add)
        return self.input_gradient(cache, dy)


class FastDense(Fast):
    """As :class:`tinygan.layers.Dense`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        params = self.layer.params
        y = x @ params["W"]
        if "b" in params:
            y += params["b"]
        return y, x

    def input_gradient(self, x: Array, dy: Array) -> Array:
        W = self.layer.params["W"]
        return dy * W.T if W.shape[1] == 1 else dy @ W.T  # the same; a product over one number is slow in BLAS

    def store_gradients(self, x: Array, dy: Array, add: bool = True) -> None:
        grads = self.layer.grads
        accumulate_matmul(grads["W"], x.T, dy, add=add)
        if "b" in grads:
            accumulate(grads["b"], dy.sum(axis=0), add=add)


class FastConv2D(Fast):
    """As :class:`tinygan.layers.Conv2D`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        params = self.layer.params
        return convolution.convolve(x, params["W"], self.layer.window(x.shape[1:3]), params.get("b")), x

    def input_gradient(self, x: Array, dy: Array) -> Array:
        return convolution.convolve_adjoint(dy, self.layer.params["W"], x.shape[1:3], self.layer.window(x.shape[1:3]))

    def store_gradients(self, x: Array, dy: Array, add: bool = True) -> None:
        self.store(x, dy, dy, self.layer.window(x.shape[1:3]), add)

    def store(self, large: Array, small: Array, dy: Array, window: Window, add: bool) -> None:
        grads = self.layer.grads
        accumulate(grads["W"], convolution.convolve_weights(large, small, window), add=add)
        if "b" in grads:
            accumulate(grads["b"], sum_rows(dy.reshape(-1, dy.shape[-1])), add=add)


class FastConvTranspose2D(FastConv2D):
    """As :class:`tinygan.layers.ConvTranspose2D`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        params, hw = self.layer.params, self.layer.output_shape(x.shape[1:])[:2]
        return convolution.convolve_adjoint(x, params["W"], hw, self.layer.window(hw), params.get("b")), x

    def input_gradient(self, x: Array, dy: Array) -> Array:
        return convolution.convolve(dy, self.layer.params["W"], self.layer.window(dy.shape[1:3]))

    def store_gradients(self, x: Array, dy: Array, add: bool = True) -> None:
        self.store(dy, x, dy, self.layer.window(dy.shape[1:3]), add)


class FastBatchNorm(Fast):
    """As :class:`tinygan.layers.BatchNorm`, of several batches at once.

    The cache is x (batches·M, C), mean and inv_std (batches, C), and M, or None where the statistics were fixed.
    """

    def __init__(self, layer: Any, batches: int = 1) -> None:
        super().__init__(layer)
        self.batches = batches

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        layer, m = self.layer, None
        rows, scale_and_shift = x.reshape(-1, layer.c), (layer.params["gamma"], layer.params["beta"])  # (M, C)
        if train:
            batches = self.batches
            if len(x) % batches:
                raise ShapeError(f"{layer.name}: {len(x)} samples are not {batches} batches of one size.")
            m = layer.check_rows(x[: len(x) // batches])
            mean, squares = batchnorm.moments(rows, batches)
            var = squares / m
            for k in range(batches):
                layer.move_statistics(mean[k], var[k] * (m / (m - 1)))
        else:
            mean, var = layer.running_mean.copy()[None], layer.running_var[None]
        y, inv_std = batchnorm.normalise(rows, mean, var, *scale_and_shift, eps=layer.eps)
        return y.reshape(x.shape), (rows, mean, inv_std, m)

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        x, mean, _, m = cache
        rows = dy.reshape(x.shape)
        return self._dx(cache, rows, None if m is None else batchnorm.backward_sums(x, rows, mean)).reshape(dy.shape)

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        self._store(cache, batchnorm.backward_sums(cache[0], dy.reshape(cache[0].shape), cache[1]), add)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        rows = dy.reshape(cache[0].shape)
        sums = batchnorm.backward_sums(cache[0], rows, cache[1])
        self._store(cache, sums, add)
        return self._dx(cache, rows, None if cache[3] is None else sums).reshape(dy.shape)

    def _store(self, cache: Any, sums: Array, add: bool) -> None:
        """dbeta = Σ dy and dgamma = Σ dy · x̂ of all batches."""
        grads = self.layer.grads
        accumulate(grads["gamma"], sum_in_order(list(sums[1] * cache[2])), add=add)
        accumulate(grads["beta"], sum_in_order(list(sums[0])), add=add)

    def _dx(self, cache: Any, rows: Array, sums: Array | None) -> Array:
        x, mean, inv_std, m = cache
        return batchnorm.backward(x, rows, mean, inv_std, self.layer.params["gamma"], sums, m or 1)


class FastLeakyReLU(Fast):
    """As :class:`tinygan.layers.LeakyReLU`, and with a slope of 0 as :class:`tinygan.layers.ReLU`."""

    @property
    def slope(self) -> float:
        """The layer's, which may be set anew at any time."""
        return getattr(self.layer, "slope", 0.0)

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = leaky_relu(x, self.slope)
        return y, y

    def input_gradient(self, y: Array, dy: Array) -> Array:
        return leaky_relu_backward(y, dy, self.slope)


FASTER = {
    layers.Dense: FastDense,
    layers.Conv2D: FastConv2D,
    layers.ConvTranspose2D: FastConvTranspose2D,
    layers.BatchNorm: FastBatchNorm,
    layers.LeakyReLU: FastLeakyReLU,
    layers.ReLU: FastLeakyReLU,
}
