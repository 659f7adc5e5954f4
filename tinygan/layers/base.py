"""The protocol that every layer follows, and that networks, optimisers and gradient checks rely on."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeAlias

import numpy as np

from ..errors import BackendError, DTypeError, PassError, ShapeError
from ..ops import Array, Ops, as_array, get_ops, get_xp, ops_of, to_backend
from .shared import Guarded, SharedArrays
from .starting import float_dtype

Shape: TypeAlias = tuple[Any, ...]  # sizes; None is one that is not known


class Layer(Guarded):
    r"""A differentiable function y = f(x; θ), with its derivative written by hand.

    **Who writes a layer** derives from this class and writes two methods, which keep nothing in attributes:

        apply(x, train) -> (y, cache)              y = f(x; θ), and whatever its derivative will need
        gradients(cache, dy) -> (dx, {"W": dW})    ∂L/∂x and ∂L/∂θ for dy = ∂L/∂y, in new memory

    Its ``__init__`` calls ``super().__init__()``, then ``add_param("W", array)`` for each parameter, which is then
    ``self.params["W"]``. State that is not learned (running statistics) goes into ``self.buffers``; write into these
    arrays, do not replace them. Random numbers come from a Generator kept as an attribute, which ``rngs`` finds. Where
    y is not shaped like x, write ``output_shape``. Settings belong in ``__repr__``: by it a saved network is compared
    with the one that loads it. A block made of layers derives from :class:`tinygan.Sequential` instead.

    **Who uses a layer** calls ``y = layer.forward(x)``, then ``dx = layer.backward(dy)``, which adds dW to
    ``layer.grads["W"]``. One backward belongs to one forward: with no forward open, or with two, backward raises
    :class:`~tinygan.errors.PassError` rather than use the values of another pass. ``layer(x)`` looks at an output
    (``train=False``) and opens none; ``forget()`` drops what is open.

    **A network** needs several passes at once, so it calls ``apply`` and keeps each cache in a variable. Of a cache it
    asks one of these; their defaults call ``gradients``, and a layer with a faster way overrides them:

        input_gradient(cache, dy)          dx alone
        store_gradients(cache, dy, add)    dθ alone: added to ``grads``, or written over them
        backprop(cache, dy, add)           both: stores dθ, returns dx

    Attributes
    ----------
    params, grads : dicts of arrays with equal keys and shapes: θ and ∂L/∂θ.
    buffers : dict of arrays that are part of the state but not learned.
    name : what errors call the layer; a network adds the position.
    input_shape : shape of one input sample if the layer's own sizes fix it (None for a size that is free), else None.
    couples_samples : True if a sample's output depends on the rest of its batch, as in batch normalisation, or if
        several samples become one. Where batches were joined for speed, such a layer is shown each by itself.
    takes_integers : True if x holds indices, as for an embedding; dx is then None.
    """

    input_shape: Shape | None = None
    couples_samples = False
    takes_integers = False
    _passes: list[tuple[Any, Array]]

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.name = type(self).__name__
        self._bound = False  # whether a network holds this layer's arrays in its flat vectors
        self.forget()

    # ---- what a layer writes -----------------------------------------------------------------------------------------

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        """Return y = f(x; θ) and what :meth:`gradients` will need; see above."""
        raise NotImplementedError(f"{type(self).__name__} has no apply(x, train), which returns (y, cache)")

    def gradients(self, cache: Any, dy: Array, /) -> tuple[Array, Mapping[str, Array]]:
        """Return ∂L/∂x and {key: ∂L/∂θ} for dy = ∂L/∂y; see above."""
        raise NotImplementedError(f"{type(self).__name__} has no gradients(cache, dy), which returns (dx, {{...}})")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one output sample (without N) for that of one input sample; None is a size not known.
        Raise ShapeError, see :meth:`misfit`, if such samples do not fit the layer."""
        return input_shape

    # ---- what a network asks -----------------------------------------------------------------------------------------

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        """Return ∂L/∂x."""
        return self.gradients(cache, dy)[0]

    def store_gradients(self, cache: Any, dy: Array, add: bool = True) -> None:
        """Add ∂L/∂θ to ``grads``, or write it over them."""
        if self.params:
            self._store(self.gradients(cache, dy)[1], add)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        """Store ∂L/∂θ, and return ∂L/∂x."""
        dx, gradients = self.gradients(cache, dy)
        self._store(gradients, add)
        return dx

    def _store(self, gradients: Mapping[str, Array], add: bool) -> None:
        for key, grad in self.grads.items():
            if key not in gradients or gradients[key].shape != grad.shape or gradients[key].dtype != grad.dtype:
                g = gradients.get(key)
                got = f"only {sorted(gradients)}" if g is None else f"{g.dtype} {g.shape}"
                raise ShapeError(f"{self.name}: gradients() must give {key} as {grad.dtype} {grad.shape}, got {got}.")
            if add:
                grad += gradients[key]
            else:
                grad[...] = gradients[key]

    # ---- what a user calls -------------------------------------------------------------------------------------------

    def forward(self, x: Array, *, train: bool = True) -> Array:
        """Return y = f(x; θ) and open a pass.

        x is a floating array (N, ...), N ≥ 1, of the layer's dtype and backend; it is not changed. Do not write into y
        either: backward may need it, and it may be x itself or a view of it. ``train`` says whether layers that behave
        differently in training (BatchNorm, Dropout) do so.
        """
        self.check_input(x := as_array(x))
        y, cache = self.apply(x, train)
        self._passes = [*self._passes[-1:], (cache, y)]  # at most two are kept: enough to refuse, and no more memory
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx = ∂L/∂x for dy = ∂L/∂y, add ∂L/∂θ to ``grads``, and close the pass.

        PassError says that not exactly one pass is open; ShapeError, DTypeError and BackendError that dy has not the
        shape or the dtype of y, or does not live where y does.
        """
        if len(self._passes) != 1:
            raise PassError(
                f"{self.name}: backward without its forward. Call forward() first; each forward serves one backward."
                if not self._passes
                else f"{self.name}: two or more forward passes are open, and backward cannot know which one dy belongs "
                "to. Call backward() right after its forward(); or look with layer(x), which opens no pass; or drop "
                "them with forget()."
            )
        [(cache, y)], dy = self._passes, as_array(dy)
        if ops_of(dy) is not ops_of(y):
            raise BackendError(
                f"{self.name}: dy is a {ops_of(dy).name} array, but the layer's output was a {ops_of(y).name} one. "
                "Compute dy where the output is, or move it with tinygan.to_backend."
            )
        if dy.shape != y.shape:
            raise ShapeError(f"{self.name}: expected dy of the output's shape {y.shape}, got {dy.shape}.")
        if dy.dtype != y.dtype:
            raise DTypeError(f"{self.name}: expected dy of the output's dtype {y.dtype}, got {dy.dtype}.")
        self.forget()
        return self.backprop(cache, dy)

    def __call__(self, x: Array) -> Array:
        """Evaluate (``train=False``) and remember nothing: for looking, sampling, testing. An open pass stays open."""
        self.check_input(x := as_array(x))
        return self.apply(x, False)[0]

    def forget(self) -> None:
        """Drop all open passes."""
        self._passes = []

    def check_input(self, x: Array) -> None:
        """Refuse what the layer cannot work on, naming the layer, what it expected, what came, and the mend. A network
        calls this only when the shape or dtype of a batch changes, so checks of values belong into apply."""
        self.check_kind(x)
        if x.ndim < (1 if self.takes_integers else 2):
            raise ShapeError(
                f"{self.name}: expected a batch (N, ...), got shape {x.shape}. "
                "A single sample needs a batch axis: x[None]."
            )
        if x.shape[0] == 0:
            raise ShapeError(f"{self.name}: the batch is empty, shape {x.shape}; at least one sample is needed.")
        self.output_shape(x.shape[1:])

    def check_kind(self, x: Array) -> None:
        """Refuse an array that lives elsewhere than the parameters, or holds other numbers."""
        ops = ops_of(x)
        if x.dtype.kind not in ("iu" if self.takes_integers else "f"):
            raise DTypeError(
                f"{self.name}: expected integers, indices, got {x.dtype}."
                if self.takes_integers
                else f"{self.name}: expected floating-point input, got {x.dtype}. Convert it first: "
                "x.astype('float32'), with images scaled to the range that the network expects."
            )
        for key, param in self.params.items():
            if ops_of(param) is not ops:
                backend = ops_of(param).name
                raise BackendError(
                    f"{self.name}: the input is a {ops.name} array, but {key} lives on {backend}. Move the network "
                    f"with network.to({ops.name!r}), or the data with tinygan.to_backend(x, {backend!r})."
                )
            if param.dtype != x.dtype and not self.takes_integers:
                raise DTypeError(
                    f"{self.name}: the input is {x.dtype}, but {key} is {param.dtype}. Convert one of them: "
                    f"x.astype('{param.dtype}') or network.astype('{x.dtype}')."
                )

    def misfit(self, expected: str, input_shape: Shape, mend: str) -> ShapeError:
        """The error for samples that do not fit: ``expected`` in the words of a shape, such as '(N, 784)'."""
        return ShapeError(f"{self.name}: expected input {expected}, got {show_shape(input_shape)}. {mend}")

    # ---- parameters --------------------------------------------------------------------------------------------------

    def add_param(self, key: str, value: Array, shape: tuple[int, ...] | None = None) -> None:
        """Register a parameter and its gradient, zero so far; ``shape`` is what it must have."""
        value = as_array(value)
        if shape is not None and value.shape != shape:
            raise ShapeError(f"{self.name}: init must return an array of shape {shape} for {key}, got {value.shape}.")
        float_dtype(value.dtype, f"{self.name}: {key}")
        self.params[key] = value
        self.grads[key] = get_xp(value).zeros_like(value)

    @property
    def size(self) -> int:
        """Number of learned parameters."""
        return sum(p.size for p in self.params.values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def zero_grad(self) -> None:
        """Set all gradients to zero, ready to be added to."""
        for g in self.grads.values():
            g[...] = 0.0

    def rngs(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The sources of random numbers that the layer keeps as attributes: (name, Generator) of each."""
        return ((key, value) for key, value in vars(self).items() if isinstance(value, np.random.Generator))

    def to(self, backend: str | Ops) -> Self:
        """Move parameters, gradients and buffers to ``"numpy"`` or ``"cupy"``; returns the layer. Drops open passes.
        BackendError says that this backend cannot run here, or that the layer belongs to a network."""
        ops = get_ops(backend)
        if self._bound:
            raise BackendError(f"{self.name} belongs to a network: move the network, network.to({ops.name!r}).")
        self.forget()
        for arrays in (self.params, self.grads, self.buffers):
            arrays.update({key: to_backend(value, ops) for key, value in arrays.items()})
        return self

    def astype(self, dtype: Any) -> Self:
        """Return a copy of the layer whose arrays have ``dtype``: float64 for gradient checks, float32 for speed."""
        new = self.copy()
        new._cast(float_dtype(dtype, self.name))
        return new

    def _cast(self, dtype: Any) -> None:
        for arrays in (self.params, self.grads, self.buffers):
            arrays.update({key: value.astype(dtype) for key, value in arrays.items() if value.dtype.kind == "f"})

    def copy(self) -> Self:
        """Return a copy with memory of its own and no open pass, which belongs to no network."""
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict) -> Self:
        new = object.__new__(type(self))
        memo[id(self)] = new
        for key, value in vars(self).items():
            setattr(new, key, [] if key == "_passes" else copy.deepcopy(value, memo))
        new._bound, new.name = False, type(self).__name__
        return new

    def _bind(self, theta: Array, grad: Array) -> None:
        """Move params and grads into the flat memory ``theta`` and ``grad`` (``size`` numbers each), as views of it;
        the buffers follow them to their backend."""
        ops, start = ops_of(theta), 0
        params: dict[str, Array] = {}
        grads: dict[str, Array] = {}
        for key, value in self.params.items():
            for flat, array, views in ((theta, value, params), (grad, self.grads[key], grads)):
                views[key] = flat[start : start + value.size].reshape(value.shape)
                views[key][...] = to_backend(array, ops)
            start += value.size
        self.params, self.grads = SharedArrays(self.name, params), SharedArrays(self.name, grads)
        self.buffers = SharedArrays(self.name, {key: to_backend(value, ops) for key, value in self.buffers.items()})


def show_shape(shape: Shape) -> str:
    """A per-sample shape as a batch is written: (784,) -> '(N, 784)'; sizes not known are shown as '?'."""
    return "(" + ", ".join(["N", *("?" if s is None else str(s) for s in shape)]) + ")"
