"""Modules of PyTorch as layers of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import layers as ours
from ...errors import ArgumentError, ShapeError, TinyGANError
from ...layers import Layer
from ...layers.base import Shape
from ...network import Sequential
from .order import channels_first, checked_shape, find_torch, same

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


def from_pytorch(module: Any, input_shape: Sequence[int] | None = None) -> Sequential:
    """Return the network that computes what a ``torch.nn.Sequential`` does, and learns as it would.

    Parameters
    ----------
    module : nn.Sequential of modules that have a counterpart here, other nn.Sequential within it included.
    input_shape : of one sample as it is here, (F,) or (H, W, C); needed where images become rows.

    Notes
    -----
    All parameters learn here, also those that are frozen there (``requires_grad=False``).

    Raises
    ------
    ArgumentError
        A module has no counterpart, or one of its settings has not, such as ``dilation=2``; the message names both.
    ShapeError
        The shape is missing, or does not fit.
    BackendError
        PyTorch is not installed.
    """
    torch, shape = find_torch(), checked_shape(input_shape, "from_pytorch")
    if not _is_row(module, torch.nn):
        what = type(module).__name__
        raise ArgumentError(f"from_pytorch: expected a torch.nn.Sequential with no forward of its own, got {what}.")
    modules = list(_unpacked(module, torch.nn, ""))
    seen: set[int] = set()
    for name, part in modules:
        if set(map(id, part.parameters())) & seen:
            raise ArgumentError(
                f"from_pytorch: {name} {type(part).__name__}: shares weights with another, which has no counterpart."
            )
        seen |= set(map(id, part.parameters()))
    reader = _Reader(torch.nn, shape, list(module.parameters()))
    for k, (name, part) in enumerate(modules):
        reader.read(name, part, [other for _, other in modules[k + 1 :]])
    if reader.pads is not None:
        raise ArgumentError(f"from_pytorch: {modules[-1][0]}: a padding without a convolution has no counterpart.")
    if reader.order is not None:
        raise ArgumentError("from_pytorch: the module ends in Flatten of images, whose order differs.")
    network = Sequential(*reader.layers)
    if shape is not None:
        network.output_shape(shape)
    return network


def _is_row(module: Any, nn: Any) -> bool:
    """Whether it does nothing but to call its parts one after the other."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not _hooks(module)


def _hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _unpacked(module: Any, nn: Any, above: str) -> Any:
    """(name, module) of all that stands in a row."""
    for name, part in module._modules.items():  # named_children would leave out what stands twice
        if part is None or (type(part) is nn.Identity and not _hooks(part)):
            continue
        if _is_row(part, nn):
            yield from _unpacked(part, nn, f"{above}{name}.")
        else:
            yield f"{above}{name}", part


class _Reader:
    """The layers so far, the shape of a sample behind them, and how its numbers are arranged there."""

    def __init__(self, nn: Any, shape: Shape | None, parameters: list[Any]) -> None:
        self.nn, self.shape, self.parameters = nn, shape, parameters
        self.layers: list[Layer] = []
        self.order: np.ndarray | None = None
        self.pads: tuple[int, int, int, int] | None = None  # of a ZeroPad2d: left, right, top, bottom
        self.cut = False  # whether the next ZeroPad2d has been taken into account already

    def read(self, name: str, part: Any, rest: Sequence[Any]) -> None:
        where = f"from_pytorch: {name} {' '.join(str(part).split()):.120}"  # in one line
        kind = type(part).__name__
        read = self._simple if kind in SIMPLE else getattr(self, f"_{kind}".lower(), None)
        if read is None or type(part) is not getattr(self.nn, type(part).__name__, None):
            raise ArgumentError(f"{where}: has no counterpart here that computes the same.")
        if self.pads is not None and type(part) is not self.nn.Conv2d:
            raise ArgumentError(f"{where}: a padding before it has no counterpart here, only one before a Conv2d has.")
        computed = [key for key in ("weight", "bias") if hasattr(part, key) and key not in part._parameters]
        if _hooks(part) or computed:
            what = f"its {computed[0]} is computed, as by weight_norm" if computed else "it has hooks"
            raise ArgumentError(f"{where}: {what}, which has no counterpart here.")
        try:
            layer = read(where, part, rest)
        except TinyGANError as error:
            said = str(error)
            raise error if said.startswith("from_pytorch") else ArgumentError(f"{where}: {said}") from error
        if layer is not None:
            self.layers.append(layer)
            if self.shape is None:
                self.shape = layer.input_shape
            self.shape = None if self.shape is None else layer.output_shape(self.shape)

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

    def filled(self, layer: Layer, **arrays: Any) -> Layer:
        for key, array in arrays.items():
            (layer.params if key in layer.params else layer.buffers)[key][...] = array
        return layer

    def _placed(self, array: np.ndarray) -> np.ndarray:
        """Rows in the order that they have here."""
        if self.order is None:
            return array
        there = np.empty_like(array)
        there[self.order] = array
        return there

    # ---- modules that learn ------------------------------------------------------------------------------------------

    def _linear(self, where: str, part: Any, rest: Sequence[Any]) -> Layer:
        if self.shape is not None and len(self.shape) != 1:
            raise ArgumentError(f"{where}: of images, it would be applied to each row of pixels.")
        W = self._placed(self.array(part.weight).T)
        self.order = self._order_wanted(rest)
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
        W = self.array(part.weight).transpose(2, 3, 1, 0)
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
        W = self.array(part.weight).transpose(2, 3, 1, 0)
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

    def _order_wanted(self, rest: Sequence[Any]) -> np.ndarray | None:
        nn = self.nn
        keep = (nn.LeakyReLU, nn.ReLU, nn.ELU, nn.Softplus, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.BatchNorm1d)
        for part in rest:
            if isinstance(part, nn.Unflatten) and len(part.unflattened_size) == 3 and min(part.unflattened_size) > 0:
                c, h, w = part.unflattened_size
                return channels_first(h, w, c)
            if not isinstance(part, (*keep, nn.LayerNorm)):
                break
        return None
