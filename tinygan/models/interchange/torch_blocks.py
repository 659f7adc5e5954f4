"""The modules that PyTorch has no ordinary ones for, so short that they can be copied beside a ``state_dict``.

    y = module(x)              # a block
    y = module(x, labels)      # with layers in it that know the class of each sample: labels (N,), a LongTensor

A part of a class of this file is given the labels as well, any other part x alone. Importing this file imports PyTorch:
:func:`tinygan.models.interchange.order.find_blocks` does so when somebody asks.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Row(nn.Sequential):
    """The parts one after the other."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for part in self:
            x = _call(part, x, labels)
        return x


class Residual(Row):
    """y = x + f(x), of which the parts in a row are f."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x + super().forward(x, labels)


class Add(nn.ModuleList):
    """The sum of what the parts make of one input."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return reduce(torch.add, [_call(part, x, labels) for part in self])


class Concat(nn.ModuleList):
    """The channels of what the parts make of one input, one after the other."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.cat([_call(part, x, labels) for part in self], dim=1)


class ConcatLabels(nn.Module):
    """x (N, C, ...), and after its channels the label one-hot: (N, C + K, ...)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        rows = _of_each(torch.eye(self.classes, dtype=x.dtype, device=x.device), x, labels)
        return torch.cat([x, rows.expand(len(x), -1, *x.shape[2:])], dim=1)

    def extra_repr(self) -> str:
        return f"classes={self.classes}"


class ConditionalScale(nn.Module):
    """A scale and a shift of each channel for each class: weight, bias (K, C)."""

    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(classes, c)), nn.Parameter(torch.zeros(classes, c))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return _of_each(self.weight, x, labels) * x + _of_each(self.bias, x, labels)

    def extra_repr(self) -> str:
        return "classes={}, c={}".format(*self.weight.shape)


class Projection(nn.Module):
    """A logit from rows of features and the class: weight (1, F), bias (1,), by_class (K, F)."""

    def __init__(self, n_in: int, classes: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(1, n_in)), nn.Parameter(torch.zeros(1))
        self.by_class = nn.Parameter(torch.zeros(classes, n_in))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        own = (x * _of_each(self.by_class, x, labels)).sum(1, keepdim=True)
        return F.linear(x, self.weight, self.bias) + own

    def extra_repr(self) -> str:
        return "classes={}, n_in={}".format(*self.by_class.shape)


TOLD = Row, Add, Concat, ConcatLabels, ConditionalScale, Projection


def _call(part: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    return part(x, labels) if isinstance(part, TOLD) else part(x)


def _of_each(table: Tensor, x: Tensor, labels: Tensor | None) -> Tensor:
    """The row of a table (K, C) that each sample's label names, so that it meets x (N, C) or (N, C, H, W)."""
    if labels is None:
        raise ValueError("Which class is each sample of? Call module(x, labels), with a LongTensor of shape (N,).")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"Expected labels of shape ({len(x)},), one for each sample, got {tuple(labels.shape)}.")
    rows = F.embedding(labels, table)  # unlike table[labels], it refuses labels below 0
    return rows[..., None, None] if x.ndim == 4 else rows
