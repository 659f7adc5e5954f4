"""Gradients of PyTorch's modules, checked as those of layers here are.

``torch.autograd.gradcheck`` compares with one difference of a fixed width, and takes what is off by up to 1e-5: beside
a kink, of a ReLU or a maximum, it says that a right gradient is wrong, and of a small one that a wrong one is right.
Here every difference has a bound of its own error, and a kink is found and said (:mod:`tinygan.testing.differences`).
What is most worth a check is what is written by hand there: ``torch.autograd.Function``.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, BackendError, GradientError
from ..layers.base import Layer, Shape
from ..layers.starting import Rng
from ..ops import Array
from .comparison import GradientReport
from .gradients import check_gradients


def check_torch(module: Any, x: Any, *, train: bool = True, rng: Rng = 0, **options: Any) -> GradientReport:
    """Check the gradients that autograd finds of a module, for its input and every parameter.

    Parameters
    ----------
    module : torch.nn.Module of one tensor, that gives one. A float64 copy on the CPU is examined; yours is not changed.
    x : a batch for it, a tensor or an array, arranged as the module takes it.
    train : the mode of the module. One that draws random numbers, as Dropout does, is checked with ``train=False``.
    rng, options : as for :func:`tinygan.testing.check_gradients`.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        A gradient is wrong (the message names array and worst entry with both values), or the check cannot tell.
    ArgumentError
        It is no module.
    BackendError
        PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"check_torch: PyTorch is not here ({error}); pip install torch") from error
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"check_torch: expected a torch.nn.Module, got {type(module).__name__}.")
    t = x.detach().cpu() if isinstance(x, torch.Tensor) else torch.as_tensor(np.asarray(x))
    if not t.is_floating_point():
        raise ArgumentError(f"check_torch: {t.dtype} cannot be moved a little; check the module behind the embedding.")
    if lazy := [n for n, p in module.named_parameters() if isinstance(p, torch.nn.parameter.UninitializedParameter)]:
        raise ArgumentError(f"check_torch: {lazy[0]} has no size yet; let the module see a batch first.")
    try:
        return check_gradients(_Module(module), t.double().numpy(), train=train, rng=rng, **options)
    except GradientError as error:
        if "two equal copies give different outputs" in str(error):
            said = "it draws random numbers, so there is no function to differentiate; train=False may leave them out"
            raise GradientError(f"{type(module).__name__}: {said}.") from error
        raise


class _Module(Layer):
    """A module as a layer: its parameters and buffers are views of the module's own memory."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.name = type(module).__name__
        try:
            self.module = copy.deepcopy(module).cpu().double()
        except Exception as error:  # modules raise what they like
            raise ArgumentError(f"check_torch: {self.name} cannot be copied: {error!s:.200}") from error
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue  # nobody asks for its gradient
            self.params[name] = parameter.detach().numpy()
            self.grads[name] = np.zeros_like(self.params[name])
        for name, buffer in self.module.named_buffers():
            self.buffers[name] = buffer.detach().numpy()

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        import torch

        t = torch.from_numpy(np.array(x)).requires_grad_()
        with torch.enable_grad():
            y = self.module.train(train)(t.clone())  # which a module may write into
        if not isinstance(y, torch.Tensor):
            raise ArgumentError(f"check_torch: {self.name} must give one tensor, got {type(y).__name__}.")
        return y.detach().numpy().copy(), (t, y)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        import torch

        (t, y), parameters = cache, dict(self.module.named_parameters())
        inputs: dict[Any, Any] = {None: t, **{name: parameters[name] for name in self.params}}
        found: Any = [None] * len(inputs)
        if y.requires_grad:  # or everything is cut off from it
            given = torch.from_numpy(np.array(dy))
            found = torch.autograd.grad(y, list(inputs.values()), given, retain_graph=True, allow_unused=True)
        arrays = {
            name: np.zeros(tuple(like.shape)) if gradient is None else gradient.numpy().copy()
            for (name, like), gradient in zip(inputs.items(), found, strict=True)
        }
        return arrays.pop(None), arrays

    def check_input(self, x: Array) -> None:
        """The module itself knows what it takes."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def astype(self, dtype: Any) -> Self:
        return type(self)(self.module)

    def copy(self) -> Self:
        return type(self)(self.module)
