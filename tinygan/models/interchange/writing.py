"""Layers of ours as modules of PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import layers as ours
from ...errors import ArgumentError, ShapeError
from ...layers import Layer
from ...layers.base import Shape, show_shape
from ...network import Sequential
from ...ops import to_numpy
from ..blocks import Add, Concat, Residual
from ..conditional import classes_of
from .order import Order, channels_first, checked_shape, find_blocks, find_torch, joined, same
from .wishes import Asked, agreed, order_wanted, rows_of

#: Layers without weights: what they are there. Beyond its threshold Softplus gives x itself, in float64 the same number
SIMPLE: dict[type[Layer], Callable[[Any, Any], Any]] = {
    ours.LeakyReLU: lambda nn, layer: nn.LeakyReLU(layer.slope),
    ours.ReLU: lambda nn, layer: nn.ReLU(),
    ours.ELU: lambda nn, layer: nn.ELU(layer.alpha),
    ours.Softplus: lambda nn, layer: nn.Softplus(threshold=40.0),
    ours.SiLU: lambda nn, layer: nn.SiLU(),
    ours.Tanh: lambda nn, layer: nn.Tanh(),
    ours.Sigmoid: lambda nn, layer: nn.Sigmoid(),
    ours.Dropout: lambda nn, layer: nn.Dropout(layer.rate),
    ours.MaxPool2D: lambda nn, layer: nn.MaxPool2d(layer.kernel_size, layer.stride),
    ours.AvgPool2D: lambda nn, layer: nn.AvgPool2d(layer.kernel_size, layer.stride),
    ours.Upsample: lambda nn, layer: nn.Upsample(scale_factor=layer.scale, mode=layer.mode),
    ours.PixelShuffle: lambda nn, layer: nn.PixelShuffle(layer.scale),
}


def to_pytorch(network: Sequential, input_shape: Sequence[int] | None = None) -> Any:
    """Return the ``torch.nn.Sequential`` that computes what the network does, in its mode of evaluation.

    Parameters
    ----------
    network : Sequential, on any backend.
    input_shape : of one sample, (F,) or (H, W, C); may be left out where the first layer says it, as Dense does.

    Returns
    -------
    A module whose parts are called by their place, "0", "1", ..., so that its ``state_dict`` has "0.weight" and so on;
    ``module(x)``, or ``module(x, labels)`` with a LongTensor (N,) where layers know the class of each sample. PyTorch
    has no modules for these layers and for blocks: they are of the classes in ``interchange.torch_blocks``, all others
    are its own. ``module.train()`` makes it learn as the network would. Its arrays are copies.

    Notes
    -----
    SpectralNorm is ``torch.nn.utils.parametrizations.spectral_norm``, of dim=0. In evaluation and in training it begins
    with the same numbers, and a batch of training moves u alike. Two things differ as long as u has not settled:
    PyTorch's gradient takes u and v for constants, while the one here is the slope of what is computed; and after
    training PyTorch evaluates with the u and v of the last batch, while the layer here takes one step more.

    Raises
    ------
    ArgumentError
        A layer has no counterpart, such as MinibatchStdDev, or stands where numbers would have to be arranged anew; the
        message names it.
    ShapeError
        The shape is missing, or does not fit.
    BackendError
        PyTorch is not installed.
    """
    if not isinstance(network, Sequential):
        raise ArgumentError(f"to_pytorch: expected a tinygan.Sequential, got {type(network).__name__}.")
    shape = network.input_shape if input_shape is None else checked_shape(input_shape, "to_pytorch")
    shape = () if shape is None and network.takes_integers else shape
    if shape is None or None in shape:
        shown = "" if shape is None else f" {show_shape(shape)}"
        raise ShapeError(f"to_pytorch: the network takes samples{shown} of several sizes; say which: (H, W, C).")
    given = network.output_shape(shape)
    writer = _Writer(find_torch(), network.theta.dtype)
    module = writer.row(network.layers if type(network) is Sequential else (network,), shape, ())
    if writer.order is not None:
        raise ArgumentError(
            f"to_pytorch: the network ends in Flatten of images {show_shape(given)}, whose order differs."
        )
    return module.eval()


class _Writer:
    """What is known on the way through the layers: the order of a row of numbers, where it differs."""

    def __init__(self, torch: Any, dtype: Any) -> None:
        self.torch, self.nn, self.blocks = torch, torch.nn, find_blocks()
        self.dtype = torch.float64 if dtype == np.float64 else torch.float32
        self.order: np.ndarray | None = None

    def row(self, layers: Sequence[Layer], shape: Shape, after: Sequence[Any], kind: Any = None) -> Any:
        """Layers one after the other as a module, of this kind or the plainest that will do."""
        parts: OrderedDict[str, Any] = OrderedDict()
        for i, layer in enumerate(layers):
            modules = self.layer(layer, shape, (*layers[i + 1 :], *after))
            parts |= {str(i) if k == 0 else f"{i}_{name}": module for k, (name, module) in enumerate(modules)}
            shape = layer.output_shape(shape)
        told = any(classes_of(layer) for layer in layers)
        return (kind or (self.blocks.Row if told else self.nn.Sequential))(parts)

    def layer(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> list[tuple[str, Any]]:
        """The module of a layer, and what stands beside it; the first is called by the layer's number."""
        kind = type(layer)
        if kind is Sequential:
            return [("", self.row(layer.layers, shape, rest))]
        if kind in (Residual, Add, Concat):
            return [("", self.block(layer, shape, rest))]
        if kind in SIMPLE and len(shape) in (1, 3):
            return [("", SIMPLE[kind](self.nn, layer))]
        write = getattr(self, f"_{kind.__name__.lower()}", None)
        if write is None or getattr(ours, kind.__name__, None) is not kind:
            raise ArgumentError(f"to_pytorch: {layer.name} has no counterpart in PyTorch that computes the same.")
        if len(shape) not in (1, 3) and kind is not ours.Embedding:
            raise ArgumentError(f"to_pytorch: {layer.name}: samples {show_shape(shape)} are neither rows nor images.")
        made = write(layer, shape, rest)
        return made if isinstance(made, list) else [("", made)]

    def block(self, block: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        """Branches of one input. Those that are added must end in one order, of which x has one already."""
        kind, before, rows = type(block), self.order, rows_of(block)

        def make(asked: Order) -> list[tuple[Any, Order]]:
            made = []
            for layers in rows:
                self.order = before
                end = () if kind is Concat else (Asked(asked),)
                module = self.row(layers, shape, end, self.blocks.Residual if kind is Residual else None)
                made.append((module, self.order))
            return made

        if kind is Concat:
            made = make(None)
            sizes = [branch.output_shape(shape)[-1] for branch in block.layers]
            self.order = joined([order for _, order in made], sizes)
            return self.blocks.Concat([module for module, _ in made])
        found = agreed(make, before if kind is Residual else order_wanted(rest))
        if found is None or (kind is Residual and not same(found[1], before)):
            raise ArgumentError(f"to_pytorch: {block.name}: what it adds would be numbers in several orders.")
        modules, self.order = found
        return modules[0] if kind is Residual else self.blocks.Add(modules)

    def fill(self, module: Any, **arrays: Any) -> Any:
        """The module with these arrays in place of its own."""
        module = module.to(self.dtype)
        with self.torch.no_grad():
            for name, array in arrays.items():
                if array is not None:
                    getattr(module, name).copy_(self.torch.from_numpy(np.ascontiguousarray(to_numpy(array))))
        return module

    def _in_order(self, array: Any) -> np.ndarray:
        array = to_numpy(array)
        return array if self.order is None else array[self.order]

    # ---- layers that learn -------------------------------------------------------------------------------------------

    def _dense(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        W, b = self._in_order(layer.params["W"]), layer.params.get("b")
        self.order = order_wanted(rest)
        b = None if b is None else self._in_order(b)
        W = W if self.order is None else W[:, self.order]
        return self.fill(self.nn.Linear(layer.n_in, layer.n_out, bias=b is not None), weight=W.T, bias=b)

    def _conv2d(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        top, bottom, left, right = layer.window(shape[:2]).pads
        even = top == bottom and left == right
        options = {"stride": layer.stride, "padding": (top, left) if even else 0, "bias": "b" in layer.params}
        conv = self.nn.Conv2d(layer.c_in, layer.c_out, layer.kernel_size, **options)
        W = to_numpy(layer.params["W"]).transpose(3, 2, 0, 1)
        self.fill(conv, weight=W, bias=layer.params.get("b"))
        if even:
            return conv
        return [("", self.nn.Sequential(OrderedDict(pad=self.nn.ZeroPad2d((left, right, top, bottom)), conv=conv)))]

    def _convtranspose2d(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        hw = layer.output_shape(shape)[:2]
        pads, k, s = layer.window(hw).pads, layer.kernel_size, layer.stride
        before = pads[0], pads[2]
        after = [(shape[a] - 1) * s[a] + k[a] - before[a] - hw[a] for a in (0, 1)]  # rows that are cut off at the end
        more = tuple(before[a] - after[a] for a in (0, 1))
        simple = all(0 <= more[a] < max(s[a], 1) for a in (0, 1))
        beyond = more if simple else tuple(max(0, -after[a]) for a in (0, 1))
        options = {
            "stride": s,
            "padding": before if simple else 0,
            "output_padding": beyond,
            "bias": "b" in layer.params,
        }
        conv = self.nn.ConvTranspose2d(layer.c_in, layer.c_out, k, **options)
        W = to_numpy(layer.params["W"]).transpose(3, 2, 0, 1)
        self.fill(conv, weight=W, bias=layer.params.get("b"))
        if simple:
            return conv
        cut = (-before[1], -max(after[1], 0), -before[0], -max(after[0], 0))
        return [("", self.nn.Sequential(OrderedDict(conv=conv, cut=self.nn.ZeroPad2d(cut))))]

    def _batchnorm(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        kind = self.nn.BatchNorm2d if len(shape) == 3 else self.nn.BatchNorm1d
        if len(shape) not in (1, 3):
            raise ArgumentError(f"to_pytorch: {layer.name}: samples {show_shape(shape)} are neither rows nor images.")
        arrays = {"weight": layer.params["gamma"], "bias": layer.params["beta"]}
        arrays |= {"running_mean": layer.running_mean, "running_var": layer.running_var}
        arrays = {key: self._in_order(a) for key, a in arrays.items()}
        return self.fill(kind(layer.c, eps=layer.eps, momentum=1.0 - layer.momentum), **arrays)

    def _layernorm(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        if len(shape) != 1:
            raise ArgumentError(
                f"to_pytorch: {layer.name}: of images, PyTorch's LayerNorm takes other numbers together."
            )
        arrays = {"weight": self._in_order(layer.params["gamma"]), "bias": self._in_order(layer.params["beta"])}
        return self.fill(self.nn.LayerNorm(layer.c, eps=layer.eps), **arrays)

    def _groupnorm(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        if self.order is not None:
            raise ArgumentError(f"to_pytorch: {layer.name}: its groups would be of other numbers, after Flatten.")
        module = self.nn.GroupNorm(layer.groups, layer.c, eps=layer.eps)
        return self.fill(module, weight=layer.params["gamma"], bias=layer.params["beta"])

    def _spectralnorm(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        """There v is this u₀, and u is this v, so long that uᵀ M v is this σ: both modes begin with the same σ."""
        before, W, found = self.order, layer.params["W"], layer.normalise(False)
        [(name, made)] = self.layer(layer.inner(W), shape, rest)
        u, v, sigma, n = (np.asarray(to_numpy(a), np.float64) for a in (found.u0, found.v, found.sigma, found.n))
        length = np.linalg.norm(u)
        if not (found.u.any() and sigma > 1e-12 and n > 1e-12 * length):
            raise ArgumentError(f"to_pytorch: {layer.name}: its W is 0 or close to it, and PyTorch would divide by it.")
        if len(W.shape) == 4:
            u = u.reshape(W.shape[:3]).transpose(2, 0, 1).ravel()
        else:
            u, v = u if before is None else u[before], v if self.order is None else v[self.order]
        part = next(part for part in made.modules() if hasattr(part, "weight"))
        norm = self.torch.nn.utils.parametrizations.spectral_norm(part, dim=0).parametrizations.weight[0]
        self.fill(norm, _u=v * (sigma * length / n), _v=u / length)
        return [(name, made)]

    # ---- layers that know a class ------------------------------------------------------------------------------------

    def _embedding(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        if shape:
            raise ArgumentError(
                f"to_pytorch: {layer.name}: samples {show_shape(shape)}; only one index each, (N,), becomes a row."
            )
        self.order = order_wanted(rest)
        W = to_numpy(layer.params["W"])
        W = W if self.order is None else W[:, self.order]
        return self.fill(self.nn.Embedding(layer.classes, layer.n_out), weight=W)

    def _concatlabels(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        self.order = joined([self.order, None], [shape[-1], layer.classes])
        return self.blocks.ConcatLabels(layer.classes)

    def _conditionalscale(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        weight, bias = (self._in_order(layer.params[key].T).T for key in ("gamma", "beta"))
        return self.fill(self.blocks.ConditionalScale(layer.c, layer.classes), weight=weight, bias=bias)

    def _projection(self, layer: Any, shape: Shape, rest: Sequence[Any]) -> Any:
        W, V = self._in_order(layer.params["W"]), self._in_order(layer.params["V"].T)
        self.order = None
        module = self.blocks.Projection(layer.n_in, layer.classes)
        return self.fill(module, weight=W.T, bias=layer.params["b"], by_class=V.T)

    # ---- layers that do not ------------------------------------------------------------------------------------------

    def _flatten(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        if len(shape) == 3:
            self.order = channels_first(*shape)
        elif len(shape) != 1:
            raise ArgumentError(f"to_pytorch: {layer.name}: samples {show_shape(shape)} are neither rows nor images.")
        return self.nn.Flatten()

    def _reshape(self, layer: Any, shape: Shape, rest: Sequence[Layer]) -> Any:
        if len(shape) != 1 or len(layer.shape) != 3:
            raise ArgumentError(
                f"to_pytorch: {layer.name}: only a row becomes an image there, {show_shape(shape)} is none."
            )
        if not same(self.order, channels_first(*layer.shape)):
            raise ArgumentError(f"to_pytorch: {layer.name}: no Dense stands before it that could give another order.")
        self.order, (h, w, c) = None, layer.shape
        return self.nn.Unflatten(1, (c, h, w))
