"""What each module of PyTorch is here: one method for each kind, called by its name in small letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import layers as ours
from ...errors import ArgumentError, ShapeError
from ...layers import Layer
from ...layers.base import Shape
from .order import Order, channels_first, joined, placed, same

#: Modules without weights of which every setting has a counterpart
SIMPLE: dict[str, Callable[[Any], Layer]] = {
    "LeakyReLU": lambda part: ours.LeakyReLU(part.negative_slope),
    "ReLU": lambda part: ours.ReLU(),
    "ELU": lambda part: ours.ELU(part.alpha),
    "SiLU": lambda part: ours.SiLU(),
    "Tanh": lambda part: ours.Tanh(),
    "Sigmoid": lambda part: ours.Sigmoid(),
    "Dropout": lambda part: ours.Dropout(part.p),
    "PixelShuffle": lambda part: ours.PixelShuffle(part.upscale_factor),
}


class Modules:
    """What is known on the way through a row of modules: the layers so far, the shape of a sample behind them, and how
    its numbers are arranged there."""

    def __init__(self, nn: Any, shape: Shape | None, parameters: list[Any]) -> None:
        self.nn, self.shape, self.parameters = nn, shape, parameters
        self.layers: list[Layer] = []
        self.order: Order = None
        self.pads: tuple[int, int, int, int] | None = None  # of a ZeroPad2d: left, right, top, bottom
        self.cut = False  # whether the next ZeroPad2d has been taken into account already

    def order_wanted(self, rest: Sequence[Any]) -> Order:
        """In which order the modules after a Linear need its numbers."""
        raise NotImplementedError

    def require(self, where: str, part: Any, **wanted: Any) -> None:
        """Refuse settings that have no counterpart."""
        for key, value in wanted.items():
            found = getattr(part, key)
            if found != value and found not in ((value, value), (value,)):
                raise ArgumentError(f"{where}: {key}={found} has no counterpart here; {key}={value} has.")

    @staticmethod
    def array(tensor: Any) -> np.ndarray:
        if str(tensor.dtype) not in ("torch.float32", "torch.float64") or tensor.is_meta:
            raise ArgumentError(
                f"weights are float32 or float64 here, got {tensor.dtype} on {tensor.device}; module.float()."
            )
        return np.array(tensor.detach().cpu().numpy())

    def weight(self, part: Any) -> np.ndarray:
        """The weight that is learned, of which another may be computed."""
        return self.array(part.parametrizations.weight.original if hasattr(part, "parametrizations") else part.weight)

    def filled(self, layer: Layer, **arrays: Any) -> Layer:
        for key, array in arrays.items():
            (layer.params if key in layer.params else layer.buffers)[key][...] = array
        return layer

    def _placed(self, array: np.ndarray) -> np.ndarray:
        """Rows in the order that they have here."""
        return placed(array, self.order)

    # ---- modules that learn ------------------------------------------------------------------------------------------

    def _linear(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        if self.shape is not None and len(self.shape) != 1:
            raise ArgumentError(f"{where}: of images, it would be applied to each row of pixels.")
        W = self._placed(self.weight(part).T)
        self.order = self.order_wanted(rest)
        arrays = {"W": self._placed(W.T).T}
        if part.bias is not None:
            arrays["b"] = self._placed(self.array(part.bias))
        layer = ours.Dense(part.in_features, part.out_features, bias=part.bias is not None, rng=0, dtype=W.dtype)
        return self.filled(layer, **arrays)

    def _conv2d(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, dilation=1, groups=1, padding_mode="zeros")
        (kh, kw), padding = part.kernel_size, part.padding
        if padding == "same":
            totals = kh - 1, kw - 1
            pads = tuple((total // 2, total - total // 2) for total in totals)
        else:
            py, px = (0, 0) if padding == "valid" else padding
            pads = (py, py), (px, px)
        if self.pads is not None:
            left, right, top, bottom = self.pads
            if min(self.pads) < 0:
                raise ArgumentError(f"{where}: a padding below 0 before it has no counterpart here.")
            pads, self.pads = ((pads[0][0] + top, pads[0][1] + bottom), (pads[1][0] + left, pads[1][1] + right)), None
        W = self.weight(part).transpose(2, 3, 1, 0)
        options = {"stride": part.stride, "padding": pads, "bias": part.bias is not None, "rng": 0, "dtype": W.dtype}
        layer = ours.Conv2D(part.in_channels, part.out_channels, part.kernel_size, **options)
        return self.filled(layer, W=W, **({} if part.bias is None else {"b": self.array(part.bias)}))

    def _convtranspose2d(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, dilation=1, groups=1, padding_mode="zeros")
        after = [p - more for p, more in zip(part.padding, part.output_padding, strict=True)]
        if rest and type(rest[0]) is self.nn.ZeroPad2d and max(cut := rest[0].padding) <= 0:
            (top, left), (bottom, right) = part.padding, after
            self.cut = True
            pads: Any = (top - cut[2], bottom - cut[3]), (left - cut[0], right - cut[1])
        else:
            pads = (part.padding[0], after[0]), (part.padding[1], after[1])
        if all(
            before == max(k - s, 0) // 2 and k - before - after == s
            for (before, after), k, s in zip(pads, part.kernel_size, part.stride, strict=True)
        ):
            pads = "same"
        elif min(min(pair) for pair in pads) < 0:
            raise ArgumentError(f"{where}: output_padding={part.output_padding} has no counterpart here.")
        W = self.weight(part).transpose(2, 3, 1, 0)
        options = {"stride": part.stride, "padding": pads, "bias": part.bias is not None, "rng": 0, "dtype": W.dtype}
        layer = ours.ConvTranspose2D(part.in_channels, part.out_channels, part.kernel_size, **options)
        return self.filled(layer, W=W, **({} if part.bias is None else {"b": self.array(part.bias)}))

    def _zeropad2d(self, where: str, part: Any, rest: Sequence[Any]) -> None:
        if not self.cut:
            self.pads = part.padding
        self.cut = False

    def _batchnorm1d(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, affine=True, track_running_stats=True)
        if part.bias is None:
            raise ArgumentError(f"{where}: bias=False has no counterpart here.")
        if part.momentum is None:
            raise ArgumentError(f"{where}: momentum=None, a mean of all batches, has no counterpart here.")
        layer = ours.BatchNorm(
            part.num_features, eps=part.eps, momentum=1.0 - part.momentum, dtype=self.array(part.weight).dtype
        )
        arrays = {"gamma": part.weight, "beta": part.bias}
        arrays |= {"running_mean": part.running_mean, "running_var": part.running_var}
        return self.filled(layer, **{key: self._placed(self.array(tensor)) for key, tensor in arrays.items()})

    _batchnorm2d = _batchnorm1d

    def _layernorm(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, elementwise_affine=True)
        if len(part.normalized_shape) != 1 or self.shape is None or len(self.shape) != 1 or part.bias is None:
            raise ArgumentError(f"{where}: only that of rows, (N, F), with weight and bias, has a counterpart here.")
        weight, bias = (self._placed(self.array(tensor)) for tensor in (part.weight, part.bias))
        layer = ours.LayerNorm(part.normalized_shape[0], eps=part.eps, dtype=weight.dtype)
        return self.filled(layer, gamma=weight, beta=bias)

    def _groupnorm(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, affine=True)
        if part.bias is None:
            raise ArgumentError(f"{where}: bias=False has no counterpart here.")
        if self.order is not None:
            raise ArgumentError(f"{where}: its groups would be of other numbers, after Flatten.")
        weight = self.array(part.weight)
        layer = ours.GroupNorm(part.num_groups, part.num_channels, eps=part.eps, dtype=weight.dtype)
        return self.filled(layer, gamma=weight, beta=self.array(part.bias))

    # ---- weights that are computed -----------------------------------------------------------------------------------

    def is_spectral(self, part: Any) -> bool:
        """Whether its weight alone is computed, and by a spectral norm alone."""
        made, kinds = getattr(part, "parametrizations", {}), (self.nn.Linear, self.nn.Conv2d, self.nn.ConvTranspose2d)
        norm = self.nn.utils.parametrizations._SpectralNorm
        return isinstance(part, kinds) and [*made] == ["weight"] and [type(one) for one in made["weight"]] == [norm]

    def spectral(self, where: str, part: Any, inner: Any, before: Order) -> Layer:
        """The layer with its spectral norm: u here is v there, with which the next step of training begins."""
        norm, M = part.parametrizations.weight[0], self.weight(part)
        self.require(where, norm, dim=0, n_power_iterations=1)
        layer, u, v = ours.SpectralNorm(inner), self.array(norm._v), self.array(norm._u)
        sigma = float(v @ M.reshape(len(v), -1) @ u)
        u = u.reshape(M.shape[1:]).transpose(1, 2, 0).ravel() if M.ndim == 4 else placed(u, before)
        found = self.filled(layer, u=u).normalise(False)  # type: ignore[attr-defined]
        if not (found.u.any() and min(found.n, found.sigma) > norm.eps):
            raise ArgumentError(f"{where}: its weight is 0 or close to it, and eps={norm.eps} would divide it there.")
        if not abs(sigma - found.sigma) <= (1e-12 if M.dtype == np.float64 else 1e-5) * found.sigma:
            raise ArgumentError(
                f"{where}: in evaluation it divides by {sigma:.9g}, as its last step left u and v; SpectralNorm takes "
                f"one step more, to {found.sigma:.9g}. Let them settle: module.train(), then ask it for its weight a "
                "thousand times, of which each is a step."
            )
        return layer

    # ---- modules that know a class -----------------------------------------------------------------------------------

    def _embedding(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, padding_idx=None, max_norm=None, scale_grad_by_freq=False)
        if self.shape not in (None, ()) or self.layers:
            raise ArgumentError(f"{where}: only at the beginning, of one index for each sample, it has a counterpart.")
        self.shape, self.order = (), self.order_wanted(rest)
        W = self._placed(self.array(part.weight).T).T
        return self.filled(ours.Embedding(part.num_embeddings, part.embedding_dim, rng=0, dtype=W.dtype), W=W)

    def _concatlabels(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        if self.order is not None:
            self.order = joined([self.order, None], [len(self.order), part.classes])
        return ours.ConcatLabels(part.classes)

    def _conditionalscale(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        gamma, beta = (self._placed(self.array(tensor).T).T for tensor in (part.weight, part.bias))
        classes, c = gamma.shape
        return self.filled(ours.ConditionalScale(c, classes, dtype=gamma.dtype), gamma=gamma, beta=beta)

    def _projection(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        W, V = (self._placed(self.array(tensor).T) for tensor in (part.weight, part.by_class))
        self.order, (n_in, classes) = None, V.shape
        layer = ours.Projection(n_in, classes, rng=0, dtype=W.dtype)
        return self.filled(layer, W=W, V=V.T, b=self.array(part.bias))

    # ---- modules that do not -----------------------------------------------------------------------------------------

    def _flatten(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, start_dim=1, end_dim=-1)
        if self.shape is None or None in self.shape:
            raise ShapeError(f"{where}: of what size are the images that become rows? Give input_shape=(H, W, C).")
        self.order = channels_first(*self.shape) if len(self.shape) == 3 else self.order
        return ours.Flatten()

    def _unflatten(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, dim=1)
        if len(part.unflattened_size) != 3 or min(part.unflattened_size) < 1:
            raise ArgumentError(f"{where}: only (C, H, W), all of them given, has a counterpart here.")
        c, h, w = part.unflattened_size
        if not same(self.order, channels_first(h, w, c)):
            raise ArgumentError(f"{where}: no Linear stands before it that could give another order.")
        self.order = None
        return ours.Reshape(h, w, c)

    def _simple(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        return SIMPLE[type(part).__name__](part)

    def _softplus(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, beta=1)
        double = any(str(p.dtype) == "torch.float64" for p in self.parameters) or not self.parameters
        if part.threshold < (37.0 if double else 17.0):
            why = "beyond it the module gives x itself, which is another number"
            raise ArgumentError(
                f"{where}: threshold={part.threshold}: {why}; nn.Softplus(threshold=40) has a counterpart."
            )
        return ours.Softplus()

    def _pool(self, where: str, part: Any, kind: Any) -> Layer:
        self.require(where, part, padding=0, ceil_mode=False)
        return kind(part.kernel_size, stride=part.stride)

    def _maxpool2d(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, dilation=1, return_indices=False)
        return self._pool(where, part, ours.MaxPool2D)

    def _avgpool2d(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        self.require(where, part, divisor_override=None)
        return self._pool(where, part, ours.AvgPool2D)

    def _upsample(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        scale, mode = part.scale_factor, part.mode
        if part.align_corners or mode not in ("nearest", "bilinear") or scale is None or np.ndim(scale) or scale % 1:
            raise ArgumentError(
                f"{where}: only a whole scale_factor, nearest or bilinear without align_corners, has one."
            )
        return ours.Upsample(int(scale), mode=mode)
