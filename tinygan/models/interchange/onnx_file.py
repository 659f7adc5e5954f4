"""Layers of ours as a graph of ONNX, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from ... import layers as ours
from ...checkpoints import as_path, replace_file
from ...errors import ArgumentError, BackendError, CheckpointError, ShapeError
from ...layers import Layer
from ...layers.base import Shape, show_shape
from ...network import Sequential
from ...ops import to_numpy
from ..blocks import Add, Concat, Residual
from ..conditional import classes_of
from .order import Order, channels_first, checked_shape, joined, same
from .wishes import Asked, agreed, order_wanted, rows_of

OPSET = 17
SIMPLE = {  # layers that are one operation, and its attributes
    ours.ReLU: ("Relu", ()),
    ours.Softplus: ("Softplus", ()),
    ours.Tanh: ("Tanh", ()),
    ours.Sigmoid: ("Sigmoid", ()),
    ours.LeakyReLU: ("LeakyRelu", (("alpha", "slope"),)),
    ours.ELU: ("Elu", (("alpha", "alpha"),)),
}


def export_onnx(network: Sequential, path: str | PathLike[str], input_shape: Sequence[int] | None = None) -> None:
    """Write what the network computes, in its mode of evaluation, into an ONNX file (opset 17).

    The input is called ``x`` and the output ``y``, both float32 (programs that run ONNX have few operations in float64)
    and with any number of samples; images are (N, C, H, W) there. A
    network that knows classes has a second input, ``labels`` (N,) int64.

    Parameters
    ----------
    network : Sequential, on any backend; blocks of branches are fine.
    path : of the file, .onnx as a rule; it is replaced whole.
    input_shape : of one sample as it is here, (F,) or (H, W, C); may be left out where the first layer says it.

    Raises
    ------
    ArgumentError
        A layer has no meaning for one sample by itself, such as MinibatchStdDev, or is of a class of yours.
    ShapeError
        The shape is missing, or does not fit.
    BackendError
        The package ``onnx`` is not installed: pip install 'tinygan[export]'.
    CheckpointError
        The file cannot be written.
    """
    target = as_path(path, "export_onnx: path")
    data = as_bytes(network, input_shape)
    try:
        replace_file(target, data)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written ({error.strerror or error}).") from error


def as_bytes(network: Sequential, input_shape: Sequence[int] | None = None) -> bytes:
    """What :func:`export_onnx` writes."""
    try:
        import onnx
        from onnx import checker, helper
    except ImportError as error:
        raise BackendError(f"export_onnx: onnx is not here ({error}); pip install 'tinygan[export]'") from error
    if not isinstance(network, Sequential):
        raise ArgumentError(f"export_onnx: expected a tinygan.Sequential, got {type(network).__name__}.")
    if network.takes_integers:
        raise ArgumentError("export_onnx: a network that begins with indices has no counterpart here.")
    shape = network.input_shape if input_shape is None else checked_shape(input_shape, "export_onnx")
    if shape is None or None in shape:
        shown = "" if shape is None else f" {show_shape(shape)}"
        raise ShapeError(f"export_onnx: the network takes samples{shown} of several sizes; say which: (H, W, C).")
    given = network.output_shape(shape)
    graph = _Graph(helper)
    y, order = graph.layer(network, "x", shape, None, ())
    if order is not None:
        raise ArgumentError("export_onnx: the network ends in Flatten of images, whose order differs there.")
    graph.node("Identity", [y], "y")
    kind = onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", kind, ["N", *_there(shape)])]
    if classes_of(network):
        inputs.append(helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, ["N"]))
    outputs = [helper.make_tensor_value_info("y", kind, ["N", *_there(given)])]
    made = helper.make_graph(graph.nodes, "tinygan", inputs, outputs, graph.arrays)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tinygan")
    model.ir_version = 9  # which goes with this opset, and which older programs read
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _there(shape: Shape) -> list[Any]:
    return [shape[2], shape[0], shape[1]] if len(shape) == 3 else list(shape)


class _Graph:
    """The operations and arrays so far."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []

    def node(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        name = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def array(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"array_{len(self.arrays)}"
        a = to_numpy(value) if hasattr(value, "dtype") else np.array(value)
        a = a.astype(np.float32) if a.dtype.kind == "f" else a.astype(np.int64)
        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(a), name))
        return name

    # ---- what is made of layers --------------------------------------------------------------------------------------

    def row(
        self, layers: Sequence[Layer], x: str, shape: Shape, order: Order, after: Sequence[Any]
    ) -> tuple[str, Order]:
        """The name of what the layers make of x, and the order of its numbers; ``after`` is what comes after them."""
        for i, layer in enumerate(layers):
            x, order = self.layer(layer, x, shape, order, (*layers[i + 1 :], *after))
            shape = layer.output_shape(shape)
        return x, order

    def layer(self, layer: Any, x: str, shape: Shape, order: Order, rest: Sequence[Any]) -> tuple[str, Order]:
        kind = type(layer)
        if len(shape) not in (1, 3):
            raise ArgumentError(f"export_onnx: {layer.name}: samples {show_shape(shape)} are neither rows nor images.")
        if kind is Sequential:
            return self.row(layer.layers, x, shape, order, rest)
        if kind in (Residual, Add, Concat):
            return self.block(layer, x, shape, order, rest)
        if kind in SIMPLE:
            op, names = SIMPLE[kind]
            numbers: dict[str, Any] = {name: float(getattr(layer, of)) for name, of in names}
            return self.node(op, [x], **numbers), order
        if kind is ours.SpectralNorm:
            return self.layer(layer.inner(layer.normalise(False).W), x, shape, order, rest)
        write = getattr(self, f"_{kind.__name__.lower()}", None)
        if write is None or getattr(ours, kind.__name__, None) is not kind:
            raise ArgumentError(f"export_onnx: {layer.name} has no counterpart there that computes the same.")
        return write(layer, x, shape, order, rest)

    def block(self, block: Any, x: str, shape: Shape, order: Order, rest: Sequence[Any]) -> tuple[str, Order]:
        """Branches of one input. Those that are added must end in one order, of which x has one already."""
        kind, nodes, arrays = type(block), len(self.nodes), len(self.arrays)

        def make(asked: Order) -> list[tuple[str, Order]]:
            del self.nodes[nodes:], self.arrays[arrays:]  # those of an attempt before
            end = () if kind is Concat else (Asked(asked),)
            return [self.row(layers, x, shape, order, end) for layers in rows_of(block)]

        if kind is Concat:
            made, sizes = make(None), [branch.output_shape(shape)[-1] for branch in block.layers]
            return self.node("Concat", [name for name, _ in made], axis=1), joined([of for _, of in made], sizes)
        found = agreed(make, order if kind is Residual else order_wanted(rest))
        if found is None or (kind is Residual and not same(found[1], order)):
            raise ArgumentError(f"export_onnx: {block.name}: what it adds would be numbers in several orders.")
        names, order = found
        return self.node("Sum", [x, *names] if kind is Residual else names), order

    def over_channels(self, array: Any, shape: Shape, order: Order) -> str:
        """An array (C,) so that it meets each channel of a sample of this shape."""
        a = to_numpy(array)
        return self.array(a.reshape(-1, 1, 1) if len(shape) == 3 else a if order is None else a[order])

    def by_label(self, table: Any, shape: Shape, order: Order) -> str:
        """The row of a table (K, C) that each sample's label names, so that it meets its channels."""
        a = to_numpy(table)
        rows = self.node("Gather", [self.array(a if order is None else a[:, order]), "labels"], axis=0)
        if len(shape) != 3:
            return rows
        return self.node("Unsqueeze", [rows, self.array([2, 3])])

    # ---- layers ------------------------------------------------------------------------------------------------------

    def _dense(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        W, b, wanted = to_numpy(layer.params["W"]), layer.params.get("b"), order_wanted(rest)
        W = W if order is None else W[order]
        W = W if wanted is None else W[:, wanted]
        y = self.node("MatMul", [x, self.array(W)])
        return (y if b is None else self.node("Add", [y, self.over_channels(b, (None,), wanted)])), wanted

    def _conv2d(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        top, bottom, left, right = layer.window(shape[:2]).pads
        inputs = [x, self.array(to_numpy(layer.params["W"]).transpose(3, 2, 0, 1))]
        inputs += [self.array(layer.params["b"])] if "b" in layer.params else []
        return self.node("Conv", inputs, strides=list(layer.stride), pads=[top, left, bottom, right]), None

    def _convtranspose2d(self, layer: Any, x: str, shape: Any, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        hw, k, s = layer.output_shape(shape)[:2], layer.kernel_size, layer.stride
        top, _, left, _ = layer.window(hw).pads
        after = [(shape[a] - 1) * s[a] + k[a] - (top, left)[a] - hw[a] for a in (0, 1)]
        inputs = [x, self.array(to_numpy(layer.params["W"]).transpose(3, 2, 0, 1))]
        inputs += [self.array(layer.params["b"])] if "b" in layer.params else []
        pads = [top, left, *(max(a, 0) for a in after)]
        beyond = [max(-a, 0) for a in after]
        return self.node("ConvTranspose", inputs, strides=list(s), pads=pads, output_padding=beyond), None

    def _batchnorm(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        arrays = layer.params["gamma"], layer.params["beta"], layer.running_mean, layer.running_var
        rows = [to_numpy(a) if order is None else to_numpy(a)[order] for a in arrays]
        return self.node("BatchNormalization", [x, *map(self.array, rows)], epsilon=layer.eps), order

    def _layernorm(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        rows = [to_numpy(layer.params[key]) for key in ("gamma", "beta")]
        names = [self.array(a if order is None else a[order]) for a in rows]
        if len(shape) == 1:
            return self.node("LayerNormalization", [x, *names], axis=-1, epsilon=layer.eps), order
        last = self.node("Transpose", [x], perm=[0, 2, 3, 1])
        y = self.node("LayerNormalization", [last, *names], axis=-1, epsilon=layer.eps)
        return self.node("Transpose", [y], perm=[0, 3, 1, 2]), None

    def _groupnorm(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        if order is not None:
            raise ArgumentError(f"export_onnx: {layer.name}: its groups would be of other numbers, after Flatten.")
        k = layer.groups
        groups = self.node("Reshape", [x, self.array([0, k, -1])])
        one, zero = self.array(np.ones(k)), self.array(np.zeros(k))
        xhat = self.node("InstanceNormalization", [groups, one, zero], epsilon=layer.eps)
        xhat = self.node("Reshape", [xhat, self.array([-1, *_there(shape)])])
        scaled = self.node("Mul", [xhat, self.over_channels(layer.params["gamma"], shape, None)])
        return self.node("Add", [scaled, self.over_channels(layer.params["beta"], shape, None)]), None

    def _silu(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        return self.node("Mul", [x, self.node("Sigmoid", [x])]), order

    def _dropout(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        return x, order

    def _flatten(self, layer: Any, x: str, shape: Any, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        if len(shape) not in (1, 3):
            raise ArgumentError(f"export_onnx: {layer.name}: samples {show_shape(shape)} are neither rows nor images.")
        return self.node("Flatten", [x], axis=1), channels_first(*shape) if len(shape) == 3 else order

    def _reshape(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        if len(shape) != 1 or len(layer.shape) != 3 or not same(order, channels_first(*layer.shape)):
            raise ArgumentError(f"export_onnx: {layer.name}: only a row that a Dense gives becomes an image there.")
        return self.node("Reshape", [x, self.array([-1, *_there(layer.shape)])]), None

    def _maxpool2d(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        options: dict[str, Any] = {"kernel_shape": list(layer.kernel_size), "strides": list(layer.stride)}
        return self.node("MaxPool" if isinstance(layer, ours.MaxPool2D) else "AveragePool", [x], **options), None

    _avgpool2d = _maxpool2d

    def _upsample(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        scales = self.array(np.array([1.0, 1.0, layer.scale, layer.scale]))
        if layer.mode == "nearest":
            options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
        else:
            options = {"coordinate_transformation_mode": "half_pixel", "mode": "linear"}
        return self.node("Resize", [x, "", scales], **options), None

    def _pixelshuffle(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        return self.node("DepthToSpace", [x], blocksize=layer.scale, mode="CRD"), None

    def _concatlabels(self, layer: Any, x: str, shape: Any, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        k = layer.classes
        rows = self.by_label(np.eye(k), shape, None)
        if len(shape) == 3:
            h, w, _ = shape
            rows = self.node("Expand", [rows, self.array([1, k, h, w])])
        elif order is not None:
            order = np.concatenate([order, len(order) + np.arange(k)])
        return self.node("Concat", [x, rows], axis=1), order

    def _conditionalscale(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        scaled = self.node("Mul", [x, self.by_label(layer.params["gamma"], shape, order)])
        return self.node("Add", [scaled, self.by_label(layer.params["beta"], shape, order)]), order

    def _projection(self, layer: Any, x: str, shape: Shape, order: Any, rest: Sequence[Layer]) -> tuple[str, Any]:
        W = to_numpy(layer.params["W"])[:, 0]
        table = W + to_numpy(layer.params["V"])  # of each class, all that its features are weighed with
        products = self.node("Mul", [x, self.by_label(table, shape, order)])
        y = self.node("ReduceSum", [products, self.array([1])], keepdims=1)
        return self.node("Add", [y, self.array(layer.params["b"])]), None
