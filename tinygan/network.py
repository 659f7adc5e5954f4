"""Layers in a row, over one flat vector of parameters."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoints
from .backend import Array, get_xp, to_numpy
from .errors import ArgumentError, CheckpointError, ShapeError
from .flat import Flat
from .layers import pairs
from .layers.base import GradMode, Layer
from .layers.views import Shape, show_shape


class Sequential(Flat):
    r"""The layers one after the other, y = f_L(... f_2(f_1(x))): a layer itself, with the same protocol.

    Attributes
    ----------
    layers : tuple of Layer.
    theta, grad : flat vectors of all parameters and all gradients. The arrays in every layer's ``params`` and ``grads``
        are views of them, so an optimiser is a few operations on two vectors, whatever the architecture.

    Raises
    ------
    ShapeError
        Two layers do not fit; the message names both and their shapes. What cannot be known yet (the height and width
        of images) is checked in the first forward.

    Notes
    -----
    Forward   a_0 = x,   a_l = f_l(a_{l−1}),   y = a_L
    Backward  g_L = dy,  g_{l−1} = J_lᵀ g_l,   dx = g_0        J_l is the Jacobian of f_l: the chain rule, from the top
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        if not layers:
            raise ArgumentError("Sequential needs at least one layer.")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise ArgumentError(f"Sequential: layer {i} must be a tinygan Layer, got {type(layer).__name__}.")
            if not hasattr(layer, "_bound"):
                raise ArgumentError(f"Sequential: layer {i}, a {type(layer).__name__}, must call super().__init__().")
            if layer.params.keys() != layer.grads.keys():
                raise ArgumentError(
                    f"Sequential: layer {i} {layer!r} has params {sorted(layer.params)} but grads "
                    f"{sorted(layer.grads)}. Each parameter needs a gradient array; _add_param makes both."
                )
            if layer._bound or any(layer is other for other in layers[:i]):
                raise ArgumentError(
                    f"Sequential: layer {i} {layer!r} is part of a network already. Each network owns the memory of "
                    "its layers; give this one a copy: layer.copy()."
                )
        self.layers = layers
        self._assemble()
        self._check_fit()

    def _check_fit(self) -> None:
        shape: Shape | None = None
        for i, layer in enumerate(self.layers):
            given = layer.input_shape if shape is None else shape
            try:
                shape = None if given is None else layer.output_shape(given)
            except ShapeError as error:
                above = f" It follows {self.layers[i - 1].name}, which gives {show_shape(given)}." if i else ""
                raise ShapeError(f"Sequential: the layers do not fit. {error}{above}") from error
        self.input_shape = self.layers[0].input_shape

    def _assemble(self) -> None:
        super()._assemble()
        n = len(self.layers)
        found = {i for i in range(n - 1) if pairs.is_pair(self.layers[i], self.layers[i + 1])}
        self._alone = [(i, False) for i in range(n)]
        self._paired = [(i, i in found) for i in range(n) if i - 1 not in found]

    def _steps(self, a: Array) -> list[tuple[int, bool]]:
        """In what steps an array goes through the layers: the number of each, and whether the next is part of it."""
        return self._paired if pairs.fuses(a) else self._alone

    # ---- the protocol of a layer -----------------------------------------------------------------------------------

    def forward(self, x: Array, *, train: bool = True) -> Array:
        try:
            for i, paired in self._steps(x):
                if paired:
                    x = pairs.forward(self.layers[i], self.layers[i + 1], x, train=train)
                else:
                    x = self.layers[i].forward(x, train=train)
        except BaseException:
            self.forget()  # a half-finished pass must not pair with a later backward
            raise
        return x

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        """Return dx and store the gradients, from the last layer to the first.

        With ``need_dx=False`` the work stops at the lowest layer whose gradients somebody reads; with
        ``grads="skip"`` no parameter's gradient is computed. Otherwise see :meth:`Layer.backward`.
        """
        last = 0  # the lowest layer that has work to do
        if not need_dx:
            last = next((i for i, layer in enumerate(self.layers) if layer.size), len(self.layers))
            last = len(self.layers) - 1 if grads == "skip" else min(last, len(self.layers) - 1)
        try:
            for i, paired in reversed(self._steps(dy)):
                if paired and i >= last:
                    layer, behind = self.layers[i : i + 2]
                    dy = pairs.backward(layer, behind, dy, grads=grads, need_dx=need_dx or i > last)
                elif i + paired >= last:
                    dy = self._backward_of(i + paired, dy, grads, need_dx or i + paired > last)
        finally:
            self.forget()  # of the layers below, which had nothing to do, or of all of them after an error
        return dy if need_dx else None

    def _backward_of(self, i: int, dy: Array, grads: GradMode, need_dx: bool) -> Array | None:
        """Call one layer's backward, with the keywords that it understands; a plain ``backward(dy)`` adds to grads."""
        layer, known = self.layers[i], self._keywords[i]
        options: dict[str, Any] = {}
        if "grads" in known:
            options["grads"] = grads
        if "need_dx" in known:
            options["need_dx"] = need_dx
        if "grads" in known or grads == "add" or not layer.params:
            return layer.backward(dy, **options)
        before = {k: g.copy() for k, g in layer.grads.items()}
        layer.zero_grad()
        dx = layer.backward(dy, **options)
        if grads == "skip":
            for k, g in layer.grads.items():
                g[...] = before[k]
        return dx

    def tangents(self, v: Array) -> list[Array]:
        """Return [v_0, ..., v_L], where v_0 = v and v_l = J_l v_{l−1}. The open pass stays open."""
        found = [v]
        for layer in self.layers:
            found.append(layer.tangent(found[-1]))
        return found

    def tangent(self, v: Array) -> Array:
        return self.tangents(v)[-1]

    def input_gradients(self, g: Array) -> list[Array]:
        """Return [g_0, ..., g_L], where g_L = g and g_{l−1} = J_lᵀ g_l. The open pass stays open, no grads change."""
        found = [g]
        for i in range(len(self.layers) - 1, -1, -1):
            found.append(self._backward_in_open_pass(i, found[-1], "skip", need_dx=True))
        return found[::-1]

    def second_order(
        self,
        v: Array,
        g: Array,
        *,
        dy: Array | None = None,
        gradients: list[Array] | None = None,
        need_dx: bool = True,
    ) -> Array | None:
        r"""Add ∂(gᵀ J v)/∂θ to ``grads`` and return ∂(gᵀ J v)/∂x; None if it is zero for every x, or not needed.

        Parameters
        ----------
        v, g : arrays like the forward's x and y.
        dy : if given, the gradient of a loss, whose backward pass is done along the way: its gradients are added too.
            g must be 1 everywhere then.
        gradients : what ``input_gradients(g)`` gave, if that is at hand.

        Notes
        -----
        gᵀ J v = gᵀ J_L ... J_1 v. Layer l enters it twice: its Jacobian stands between v_{l−1} from below and g_l from
        above, both constants to it; and its output moves the layers above. What those say of their input, h_l, comes
        down by the ordinary backward pass:

            h_L = dy, or 0       h_{l−1} = J_lᵀ h_l + ∂(g_lᵀ J_l v_{l−1})/∂a_{l−1}
            dθ_l += backward of h_l  +  ∂(g_lᵀ J_l v_{l−1})/∂θ_l

        Piecewise linear networks have no second term in h. Without dy that pass is skipped down to the highest curved
        layer; with it, h_{l−1} is g_{l−1} times each sample's dy there, as long as samples do not see each other.
        """
        vs = self.tangents(v)
        gs = self.input_gradients(g) if gradients is None else gradients
        h = dy
        straight = dy is not None and not self.couples_samples and dy.shape[1:] == (1,)  # so far, h_l = dy · g_l
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            if straight and layer.second_order_and_backward(vs[i], gs[i + 1], dy):
                continue
            bend = layer.second_order(vs[i], gs[i + 1])
            if straight and bend is None and not layer.params:
                continue
            if straight:
                h, straight = gs[i + 1] * dy.reshape(-1, *[1] * (gs[i + 1].ndim - 1)), False
            if h is not None:
                h = self._backward_in_open_pass(i, h, "add", need_dx or i > 0)
            h = bend if h is None else h if bend is None else h + bend
        if straight and need_dx:
            h = gs[0] * dy.reshape(-1, *[1] * (gs[0].ndim - 1))
        return h if need_dx else None

    def _backward_in_open_pass(self, i: int, dy: Array, grads: GradMode, need_dx: bool) -> Array | None:
        """One layer's backward, after which its pass is open as before."""
        layer = self.layers[i]
        open_pass = layer.take_pass()
        layer.restore_pass(open_pass)
        dx = self._backward_of(i, dy, grads, need_dx)
        layer.forget()
        layer.restore_pass(open_pass)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    @property
    def couples_samples(self) -> bool:
        return any(layer.couples_samples for layer in self.layers)

    @property
    def parts(self) -> int | None:
        """Into how many parts the layers that couple samples split a training batch; None if one of them cannot."""
        parts = {layer.parts for layer in self.layers if layer.couples_samples}
        return None if None in parts or len(parts) > 1 else max(parts, default=1)

    @parts.setter
    def parts(self, value: int) -> None:
        for layer in self.layers:
            if layer.couples_samples:
                layer.parts = value

    def forget(self) -> None:
        for layer in getattr(self, "layers", ()):
            layer.forget()

    def take_pass(self) -> Any:
        return [layer.take_pass() for layer in self.layers]

    def restore_pass(self, taken: Any) -> None:
        for layer, own in zip(self.layers, taken, strict=True):
            layer.restore_pass(own)

    # ---- saving and loading ----------------------------------------------------------------------------------------

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers as NumPy arrays: ``{"0.W": ..., "1.running_mean": ...}``."""
        return {key: to_numpy(value).copy() for key, value in {**self.params, **self.buffers}.items()}

    def load_state_arrays(self, arrays: dict[str, np.ndarray], *, source: str = "the state") -> None:
        """Copy ``arrays``, as :meth:`state_arrays` gave them, into this network; nothing changes if they do not fit.

        Raises
        ------
        CheckpointError
            A name is missing or too many, or a shape or dtype differs: ``source`` is of another architecture.
        """
        own = {**self.params, **self.buffers}
        checkpoints.require_same(own, arrays, source)
        xp = get_xp(self.theta)
        for key, value in own.items():
            value[...] = xp.asarray(arrays[key])

    def save(self, path: str | Path) -> None:
        """Write parameters and buffers to ``path``, one safetensors file, in one step: whole or not at all."""
        checkpoints.write(path, self.state_arrays(), {"kind": "network", "layers": [repr(x) for x in self.layers]})

    def load(self, path: str | Path) -> Sequential:
        """Read what :meth:`save` wrote into this network, which must have the same layers; returns it.

        Raises
        ------
        CheckpointError
            The file is not there, damaged, foreign, or of another architecture.
        """
        arrays, metadata = checkpoints.read(path)
        if metadata.get("kind") != "network":
            raise CheckpointError(f"{path}: holds a {metadata.get('kind')}, not a network.")
        here, there = [repr(layer) for layer in self.layers], metadata.get("layers", [])
        for i, (own, saved) in enumerate(zip_longest(here, there)):
            if own != saved:
                raise CheckpointError(f"{path} is of another architecture: layer {i} is {saved} there, but {own} here.")
        self.load_state_arrays(arrays, source=str(path))
        return self

    # ---- looking ---------------------------------------------------------------------------------------------------

    def summary(self, input_shape: Shape | None = None) -> str:
        """A table of the layers, their output shapes and parameter counts.

        Parameters
        ----------
        input_shape : of one sample, such as (28, 28, 1); needed only if the first layer's sizes do not fix it.
        """
        shape = self.input_shape if input_shape is None else input_shape
        rows = [("layer", "output", "parameters")]
        for i, layer in enumerate(self.layers):
            shape = layer.input_shape if shape is None else shape
            shape = None if shape is None else layer.output_shape(shape)
            rows.append((f"{i}  {layer!r}", "?" if shape is None else show_shape(shape), f"{layer.size:,}"))
        rows.append(("total", "", f"{self.size:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
