"""What does the same as a layer of the book in fewer passes over memory; see :meth:`tinygan.ops.Ops.links`.

Each link holds a layer of exactly one class and works with its arrays, by the operations of
:class:`tinygan.backends.cuda.fused.FusedOps`. Its cache is the layer's own; for BatchNorm it is that of
:class:`tinygan.backends.cpu.layers.FastBatchNorm`. A leaky ReLU right behind a Dense, a convolution or a BatchNorm
becomes part of a :class:`Pair`:

    y  = f(a),  a = layer(x)      apply(x, train, slope)               a itself is never written
    da = f'(a) · dy               backprop(cache, dy, add, y, slope)   the sign of y is that of a; da gives dx and dθ
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ... import layers
from ...errors import ShapeError
from ...network import Apart
from ...ops import Array, Window, get_xp, ops_of
from ..cpu.layers import Fast, FastBatchNorm
from .dropout import MaskedDropout

if TYPE_CHECKING:
    from .fused import FusedOps


def links(layers_: Sequence[Any]) -> list[Any]:
    """The links of layers in a row."""
    chain: list[Any] = []
    for layer in layers_:
        link = _link(layer)
        if isinstance(link, FusedLeakyReLU) and chain and isinstance(chain[-1], Fusing):
            chain[-1] = Pair(chain[-1], link)
        else:
            chain.append(link)
    return chain


def _link(layer: Any) -> Any:
    """The link of a layer of exactly this class, or of one apart for several batches; else the layer."""
    if isinstance(layer, Apart):
        return FusedBatchNorm(layer.layer, layer.batches) if type(layer.layer) is layers.BatchNorm else layer
    return FUSED[type(layer)](layer) if type(layer) in FUSED else layer


def _ops(x: Array) -> FusedOps:
    """The operations for x, of a backend whose links these are."""
    return cast("FusedOps", ops_of(x))


class Pair:
    """A link and the leaky ReLU right behind it, each in one pass over memory. The cache is (that of the link, y)."""

    def __init__(self, link: Fusing, behind: FusedLeakyReLU) -> None:
        self.link, self.behind, self.size = link, behind, link.size

    def unfused(self, cache: Any) -> list[tuple[Any, Any]]:
        """Both links by themselves, each with the cache that it would have."""
        return [(self.link, cache[0]), (self.behind, cache[1])]

    def of_layers(self, cache: Any) -> list[tuple[Any, Any]]:
        return [one for link, of_link in self.unfused(cache) for one in link.of_layers(of_link)]

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        y, cache = self.link.apply(x, train, self.behind.slope)
        return y, (cache, y)

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        return self.link.input_gradient(cache[0], dy, cache[1], self.behind.slope)

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        self.link.store_gradients(cache[0], dy, add, cache[1], self.behind.slope)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        return self.link.backprop(cache[0], dy, add, cache[1], self.behind.slope)


class Fusing(Fast):
    """A link that can do a leaky ReLU right behind it along the way, if it is told its slope and, backward, its y."""

    def apply(self, x: Array, train: bool, slope: float = 1.0) -> tuple[Array, Any]:
        raise NotImplementedError

    def input_gradient(self, x: Any, dy: Array, y: Array | None = None, slope: float = 1.0) -> Array:
        return self.dx(x, _ops(dy).bias_leaky_backward(dy, y, slope))

    def store_gradients(self, x: Any, dy: Array, add: bool = True, y: Array | None = None, slope: float = 1.0) -> None:
        self.store(x, self._through(dy, add, y, slope), add)

    def backprop(self, x: Any, dy: Array, add: bool = True, y: Array | None = None, slope: float = 1.0) -> Array:
        da = self._through(dy, add, y, slope)
        self.store(x, da, add)
        return self.dx(x, da)

    def _through(self, dy: Array, add: bool, y: Array | None, slope: float) -> Array:
        """da = f'(a) · dy, whose sum is stored as db."""
        return _ops(dy).bias_leaky_backward(dy, y, slope, self.layer.grads.get("b"), add=add)

    def dx(self, x: Array, da: Array) -> Array:
        """∂L/∂x."""
        raise NotImplementedError

    def store(self, x: Array, da: Array, add: bool) -> None:
        """Store ∂L/∂W."""
        raise NotImplementedError


class FusedDense(Fusing):
    """As :class:`tinygan.layers.Dense`."""

    def apply(self, x: Array, train: bool, slope: float = 1.0) -> tuple[Array, Array]:
        ops, params = _ops(x), self.layer.params
        return ops.bias_leaky(ops.matmul(x, params["W"]), params.get("b"), slope), x

    def dx(self, x: Array, da: Array) -> Array:
        W = self.layer.params["W"]
        return da * W.T if W.shape[1] == 1 else _ops(da).matmul(da, W.T)  # the same; a product over one number is slow

    def store(self, x: Array, da: Array, add: bool) -> None:
        _ops(da).matmul(x.T, da, self.layer.grads["W"], add=add)


class FusedConv2D(Fusing):
    """As :class:`tinygan.layers.Conv2D`."""

    def apply(self, x: Array, train: bool, slope: float = 1.0) -> tuple[Array, Array]:
        params, window = self.layer.params, self.layer.window(x.shape[1:3])
        return _ops(x).convolve(x, params["W"], window, params.get("b"), slope), x

    def dx(self, x: Array, da: Array) -> Array:
        hw = x.shape[1:3]
        return _ops(da).convolve_adjoint(da, self.layer.params["W"], hw, self.layer.window(hw))

    def store(self, x: Array, da: Array, add: bool) -> None:
        self._store(x, da, self.layer.window(x.shape[1:3]), add)

    def _store(self, large: Array, small: Array, window: Window, add: bool) -> None:
        _ops(large).convolve_weights(large, small, window, self.layer.grads["W"], add=add)


class FusedConvTranspose2D(FusedConv2D):
    """As :class:`tinygan.layers.ConvTranspose2D`."""

    def apply(self, x: Array, train: bool, slope: float = 1.0) -> tuple[Array, Array]:
        params, hw = self.layer.params, self.layer.output_shape(x.shape[1:])[:2]
        return _ops(x).convolve_adjoint(x, params["W"], hw, self.layer.window(hw), params.get("b"), slope), x

    def dx(self, x: Array, da: Array) -> Array:
        return _ops(da).convolve(da, self.layer.params["W"], self.layer.window(da.shape[1:3]))

    def store(self, x: Array, da: Array, add: bool) -> None:
        self._store(da, x, self.layer.window(da.shape[1:3]), add)


class FusedBatchNorm(Fusing):
    """As :class:`tinygan.layers.BatchNorm`, of several batches at once.

    The cache is x (batches·M, C), mean and inv_std (batches, C), and M, or None where the statistics were fixed. The
    sign of what a leaky ReLU behind has seen is computed again from it.
    """

    def __init__(self, layer: Any, batches: int = 1) -> None:
        super().__init__(layer)
        self.batches = batches

    def of_layers(self, cache: Any) -> list[tuple[Any, Any]]:
        return [(FastBatchNorm(self.layer, self.batches), cache)]

    def apply(self, x: Array, train: bool, slope: float = 1.0) -> tuple[Array, Any]:
        layer, ops, m = self.layer, _ops(x), None
        rows, scale_shift = x.reshape(-1, layer.c), (layer.params["gamma"], layer.params["beta"])  # (M, C)
        if train:
            if len(x) % self.batches:
                raise ShapeError(f"{layer.name}: {len(x)} samples are not {self.batches} batches of one size.")
            m = layer.check_rows(x[: len(x) // self.batches])
            how = {"eps": layer.eps, "slope": slope, "momentum": layer.momentum}
            running = layer.running_mean, layer.running_var
            y, mean, inv_std = ops.normalise_batches(rows, self.batches, *scale_shift, running=running, **how)
        else:
            mean, var = layer.running_mean.copy()[None], layer.running_var[None]
            y, inv_std = ops.normalise_fixed(rows, mean, var, *scale_shift, eps=layer.eps, slope=slope)
        return y.reshape(x.shape), (rows, mean, inv_std, m)

    def input_gradient(self, cache: Any, dy: Array, y: Array | None = None, slope: float = 1.0) -> Array:
        return self._backward(cache, dy, slope)

    def store_gradients(
        self, cache: Any, dy: Array, add: bool = True, y: Array | None = None, slope: float = 1.0
    ) -> None:
        self._backward(cache, dy, slope, store=self._grads(add), input_too=False)

    def backprop(self, cache: Any, dy: Array, add: bool = True, y: Array | None = None, slope: float = 1.0) -> Array:
        return self._backward(cache, dy, slope, store=self._grads(add))

    def _grads(self, add: bool) -> tuple[Array, Array, bool]:
        return self.layer.grads["gamma"], self.layer.grads["beta"], add

    def _backward(self, cache: Any, dy: Array, slope: float, **how: Any) -> Any:
        (x, mean, inv_std, m), params = cache, self.layer.params
        scale_shift = params["gamma"], params["beta"]
        dx = _ops(dy).normalise_backward(x, dy.reshape(x.shape), mean, inv_std, *scale_shift, m, slope=slope, **how)
        return dx if dx is None else dx.reshape(dy.shape)


class FusedSpectralNorm(Fast):
    """As :class:`tinygan.layers.SpectralNorm`, by the link of the layer inside."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        normalised = self.layer.normalise(train)
        y, cache = self._inside(normalised).apply(x, train)
        return y, (cache, normalised)

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        return self._inside(cache[1]).input_gradient(cache[0], dy)

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        link = self._inside(cache[1])
        link.store_gradients(cache[0], dy, add=False)
        self._store(link.layer.grads, cache[1], add)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        link = self._inside(cache[1])
        dx = link.backprop(cache[0], dy, add=False)
        self._store(link.layer.grads, cache[1], add)
        return dx

    def _inside(self, normalised: Any) -> Any:
        """The link of the layer inside with the weights Ŵ, and memory of its own for gradients."""
        inner = self.layer.inner(normalised.W)
        inner.grads = {key: get_xp(grad).empty_like(grad) for key, grad in self.layer.grads.items()}
        return FUSED[type(inner)](inner)

    def _store(self, grads: dict[str, Array], normalised: Any, add: bool) -> None:
        self.layer._store({**grads, "W": normalised.slope(grads["W"])}, add)


class FusedLeakyReLU(Fast):
    """As :class:`tinygan.layers.LeakyReLU`, and with a slope of 0 as :class:`tinygan.layers.ReLU`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = _ops(x).leaky_relu(x, self.slope)
        return y, y

    def input_gradient(self, y: Array, dy: Array) -> Array:
        return _ops(dy).leaky_relu_backward(y, dy, self.slope)

    @property
    def slope(self) -> float:
        return getattr(self.layer, "slope", 0.0)


class FusedTanh(Fast):
    """As :class:`tinygan.layers.Tanh`."""

    def input_gradient(self, y: Array, dy: Array) -> Array:
        return _ops(dy).tanh_backward(y, dy)


class FusedSigmoid(Fast):
    """As :class:`tinygan.layers.Sigmoid`."""

    def apply(self, x: Array, train: bool) -> tuple[Array, Array]:
        y = _ops(x).sigmoid(x)
        return y, y

    def input_gradient(self, y: Array, dy: Array) -> Array:
        return _ops(dy).sigmoid_backward(y, dy)


FUSED = {
    layers.Dense: FusedDense,
    layers.Conv2D: FusedConv2D,
    layers.ConvTranspose2D: FusedConvTranspose2D,
    layers.BatchNorm: FusedBatchNorm,
    layers.SpectralNorm: FusedSpectralNorm,
    layers.LeakyReLU: FusedLeakyReLU,
    layers.ReLU: FusedLeakyReLU,
    layers.Tanh: FusedTanh,
    layers.Sigmoid: FusedSigmoid,
    layers.Dropout: MaskedDropout,
}
