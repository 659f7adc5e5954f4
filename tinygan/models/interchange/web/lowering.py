"""Layers of ours as operations of ``network.js``, in its order of axes, which is ours: channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import layers as ours
from ....errors import ArgumentError
from ....layers import Layer
from ....layers.base import Shape
from ....network import Sequential
from ....ops import to_numpy
from ...blocks import Add, Concat, Residual

Operation = dict[str, Any]
CURVES = {  # activations, and the attribute that is their number
    ours.ReLU: ("relu", None),
    ours.LeakyReLU: ("leaky", "slope"),
    ours.ELU: ("elu", "alpha"),
    ours.SiLU: ("silu", None),
    ours.Softplus: ("softplus", None),
    ours.Tanh: ("tanh", None),
    ours.Sigmoid: ("sigmoid", None),
}
JOINS = {Residual: "residual", Add: "add", Concat: "concat"}
SAME = (ours.Dropout, ours.Flatten)  # do nothing to a sample whose channels come last


class Lowered:
    """The operations of a network on one sample, and the arrays they read, end to end.

    Attributes
    ----------
    operations : each a dictionary with its name in "op"; arrays are named by where they begin in the weights.
    """

    def __init__(self, network: Sequential, shape: Shape) -> None:
        self._arrays: list[np.ndarray] = []
        self._size = 0
        self.operations = self._layer(network, shape)

    def weights(self) -> np.ndarray:
        """(S,), float32."""
        return np.concatenate(self._arrays) if self._arrays else np.empty(0, np.float32)

    def _array(self, a: Any) -> int:
        flat = to_numpy(a).astype(np.float32).ravel()
        self._arrays.append(flat)
        self._size += flat.size
        return self._size - flat.size

    def _network(self, network: Sequential, shape: Shape) -> list[Operation]:
        found = []
        for layer in network.layers:
            found += self._layer(layer, shape)
            shape = layer.output_shape(shape)
        return found

    def _layer(self, layer: Any, shape: Any) -> list[Operation]:
        kind = type(layer)
        if kind in SAME:
            return [{"op": "shape", "shape": list(layer.output_shape(shape))}]
        if kind is Sequential:
            return self._network(layer, shape)
        if kind in CURVES:
            name, number = CURVES[kind]
            return [{"op": "curve", "kind": name, "a": float(getattr(layer, number)) if number else 0.0}]
        if kind in JOINS:
            branches = (
                [self._network(layer, shape)]
                if kind is Residual
                else [self._network(branch, shape) for branch in layer.layers]
            )
            return [{"op": "branches", "join": JOINS[kind], "branches": branches}]
        if kind is ours.SpectralNorm:
            return self._layer(layer.inner(layer.normalise(False).W), shape)
        lower = getattr(self, f"_{kind.__name__.lower()}", None)
        if lower is None or getattr(ours, kind.__name__, None) is not kind:
            raise ArgumentError(f"export_page: {layer.name} has no counterpart in the page that computes the same.")
        return [lower(layer, shape)]

    def _affine(self, layer: Layer) -> Operation:
        return {"W": self._array(layer.params["W"]), "b": self._array(layer.params["b"]) if "b" in layer.params else -1}

    def _dense(self, layer: Any, shape: Any) -> Operation:
        return {"op": "dense", "inputs": layer.n_in, "outputs": layer.n_out, **self._affine(layer)}

    def _conv2d(self, layer: Any, shape: Any) -> Operation:
        top, _, left, _ = layer.window(shape[:2]).pads
        return {"op": "conv", "pads": [top, left], **self._of_kernel(layer, shape)}

    def _convtranspose2d(self, layer: Any, shape: Any) -> Operation:
        top, _, left, _ = layer.window(layer.output_shape(shape)[:2]).pads
        return {"op": "convTranspose", "pads": [top, left], **self._of_kernel(layer, shape)}

    def _of_kernel(self, layer: Any, shape: Any) -> Operation:
        sizes = {"kernel": list(layer.kernel_size), "stride": list(layer.stride)}
        return {**sizes, "shape": list(layer.output_shape(shape)), **self._affine(layer)}

    def _batchnorm(self, layer: Any, shape: Any) -> Operation:
        gamma, beta, mean, var = (
            to_numpy(a).astype(np.float64)
            for a in (layer.params["gamma"], layer.params["beta"], layer.running_mean, layer.running_var)
        )
        scale = gamma / np.sqrt(var + layer.eps)
        return {"op": "scale", "gamma": self._array(scale), "beta": self._array(beta - scale * mean), "classes": 0}

    def _conditionalscale(self, layer: Any, shape: Any) -> Operation:
        tables = {key: self._array(layer.params[key]) for key in ("gamma", "beta")}
        return {"op": "scale", **tables, "classes": layer.classes}

    def _concatlabels(self, layer: Any, shape: Any) -> Operation:
        return {"op": "labels", "classes": layer.classes}

    def _reshape(self, layer: Any, shape: Any) -> Operation:
        return {"op": "shape", "shape": list(layer.output_shape(shape))}

    def _upsample(self, layer: Any, shape: Any) -> Operation:
        return {"op": "upsample", "scale": layer.scale, "mode": layer.mode}

    def _pixelshuffle(self, layer: Any, shape: Any) -> Operation:
        return {"op": "pixelShuffle", "scale": layer.scale}
