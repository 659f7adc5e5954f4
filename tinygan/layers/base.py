"""The protocol that every layer follows, and that networks, optimisers and gradient checks rely on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import Array, Backend, backend_of, get_backend, get_xp, to_backend
from ..errors import BackendError, DTypeError, SecondOrderError, ShapeError
from .passes import GradMode, Passes
from .views import Shape, Views, show_shape


class Layer(Passes):
    r"""A differentiable function y = f(x; θ), with its derivative written by hand.

    Attributes
    ----------
    params, grads : dicts of arrays with equal keys and shapes: θ and ∂L/∂θ.
    buffers : dict of arrays that are part of the state but not learned, such as running statistics.
    name : what errors call the layer; a network adds the position.
    input_shape : shape of one input sample if the layer's own sizes fix it (None for a size that is free), else None.
    couples_samples : True if a sample's output depends on the rest of its batch, as in batch normalisation, or if
        several samples become one, as in :class:`Pack`.
    parts : for such a layer, into how many equal parts that do not see each other a training batch is split; None: it
        cannot be split.

    Notes
    -----
    Write dy for ∂L/∂y. ``backward(dy)`` returns ∂L/∂x and stores ∂L/∂θ in ``grads``. It needs what its forward saw, so
    **one backward belongs to one forward**: each forward opens a *pass*, a backward closes it, and with no pass open,
    or with two, backward raises :class:`~tinygan.errors.PassError` rather than use the values of another pass.
    ``forget()`` drops open passes; ``layer(x)`` looks at an output without opening one; ``take_pass()`` and
    ``restore_pass(p)`` set one aside while another runs.

    A layer of your own derives from this class, fills ``params`` and ``grads``, and writes two methods. In ``forward``,
    ``return self._remember(y, x)`` keeps what backward will need; in ``backward``, ``(x,) = self._recall(dy)`` takes it
    out again. The plain signature ``backward(self, dy)``, which adds to ``grads``, is enough to work in any network.
    Settings of its own belong in a ``__repr__``, by which a saved network is compared with the one that loads it.
    For a gradient penalty it writes two more, ``tangent`` and ``second_order``; without them such a penalty says so.
    A layer made of layers, such as a residual block, derives from :class:`tinygan.Sequential` instead.
    """

    input_shape: Shape | None = None
    couples_samples = False
    parts: int | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls) and any("forward" in vars(b) for b in cls.__mro__[1:] if b is not Layer):
            # What it inherits belongs to another forward, and would be wrong without a word
            for method in ("tangent", "second_order", "second_order_and_backward"):
                if method not in vars(cls):
                    setattr(cls, method, vars(Layer)[method])
            if cls.couples_samples is True and "parts" not in vars(cls):
                cls.parts = None  # whoever writes another forward does not know of parts

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.name = type(self).__name__
        self._bound = False  # whether a network holds this layer's arrays in its flat vectors
        self.forget()

    # ---- what a layer computes -------------------------------------------------------------------------------------

    def forward(self, x: Array, *, train: bool = True) -> Array:
        """Return y = f(x; θ) and open a pass.

        Parameters
        ----------
        x : floating array (N, ...), N ≥ 1, of the layer's dtype and backend; it is not changed.
            Do not write into y either: backward may need it, and it may be x itself or a view of it.
        train : whether layers that behave differently in training (BatchNorm, Dropout) do so.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        """Return dx = ∂L/∂x for dy = ∂L/∂y, store ∂L/∂θ in ``grads``, and close the pass.

        Parameters
        ----------
        dy : array shaped like the forward's y; it is not changed.
        grads : ``"add"`` to what is there (zero it first), ``"write"`` over it, or ``"skip"`` the work altogether.
        need_dx : False if nobody reads dx; then None is returned and its computation saved.

        Raises
        ------
        PassError
            Not exactly one pass is open.
        ShapeError, DTypeError, BackendError
            dy has not the shape or the dtype of y, or does not live where y does.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one output sample (without N) for that of one input sample; None is a size not known.

        Raises
        ------
        ShapeError
            Samples of that shape do not fit the layer.
        """
        return input_shape

    def __call__(self, x: Array) -> Array:
        """Evaluate (``train=False``) and remember nothing: for looking, sampling, testing. An open pass stays open."""
        open_pass = self.take_pass()
        try:
            return self.forward(x, train=False)
        finally:
            self.forget()
            self.restore_pass(open_pass)

    # ---- what gradient penalties need ------------------------------------------------------------------------------

    def tangent(self, v: Array) -> Array:
        """Return u = J v, how fast y changes while x moves along v: J is the Jacobian ∂y/∂x. The open pass stays open.

        Parameters
        ----------
        v : array like the forward's x.

        Raises
        ------
        SecondOrderError
            The layer has no tangent.
        PassError, ShapeError, DTypeError, BackendError
            As for backward.
        """
        raise self._without("tangent(v), which returns J v")

    def second_order(self, v: Array, g: Array) -> Array | None:
        """Differentiate gᵀ J v, a number, once more: v and g are constants, J = ∂y/∂x depends on θ and x.

        Adds ∂(gᵀ J v)/∂θ to ``grads`` and returns ∂(gᵀ J v)/∂x, or None if that is zero for every x: a layer that is
        (piecewise) linear in x has no curvature. The open pass stays open.

        Parameters
        ----------
        v, g : arrays like the forward's x and y.

        Raises
        ------
        SecondOrderError, PassError, ShapeError, DTypeError, BackendError
            As for tangent.
        """
        raise self._without("second_order(v, g), which differentiates gᵀ J v; None if the layer is linear in x")

    def second_order_and_backward(self, v: Array, g: Array, share: Array) -> bool:
        """Add to ``grads`` what ``second_order(v, g)`` and ``backward(share · g)`` would add, if one sum serves both.

        ``share`` has a number for each sample, (N, 1). A layer that is linear in x and in W adds B(v, g) in the one and
        B(x, share · g) in the other, for one bilinear B, and so B(v + share · x, g) in all. Return False if there is no
        such shortcut; nothing has happened then.
        """
        return False

    def _without(self, method: str) -> SecondOrderError:
        return SecondOrderError(
            f"{self.name}: a gradient penalty differentiates D's own gradient, but this layer has no {method}. Write "
            "it (tinygan.layers.base.Layer says what it returns, tinygan.testing.check_second_order whether it is "
            "right), or leave the penalty or the layer out."
        )

    # ---- parameters ------------------------------------------------------------------------------------------------

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

    def to(self, backend: str | Backend) -> Layer:
        """Move parameters, gradients and buffers to ``"numpy"`` or ``"cupy"``; returns the layer. Drops open passes.

        Raises
        ------
        BackendError
            That backend cannot run here, or the layer belongs to a network, which must be moved as a whole.
        """
        backend = get_backend(backend)
        self._refuse_if_bound(backend)
        self.forget()
        for arrays in (self.params, self.grads, self.buffers):
            arrays.update({key: to_backend(value, backend) for key, value in arrays.items()})
        return self

    def astype(self, dtype: Any) -> Layer:
        """Return a copy of the layer whose arrays have ``dtype``: float64 for gradient checks, float32 for speed."""
        new = self.copy()
        new._cast(dtype)
        return new

    def _cast(self, dtype: Any) -> None:
        for arrays in (self.params, self.grads, self.buffers):
            arrays.update({key: value.astype(dtype) for key, value in arrays.items()})

    def rngs(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The sources of random numbers that the layer keeps as attributes: (name, Generator) of each."""
        return ((key, value) for key, value in vars(self).items() if isinstance(value, np.random.Generator))

    def copy(self) -> Layer:
        """Return a copy with memory of its own and no open pass, which belongs to no network."""
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict) -> Layer:
        new = object.__new__(type(self))
        memo[id(self)] = new
        for key, value in vars(self).items():
            setattr(new, key, [] if key == "_passes" else copy.deepcopy(value, memo))
        new._bound, new.name = False, type(self).__name__
        return new

    def _bind(self, theta: Array, grad: Array) -> None:
        """Move params and grads into the flat memory ``theta`` and ``grad`` (``size`` numbers each), as views of it.

        If that memory is on another backend, the layer moves there with all it holds.
        """
        backend, start = backend_of(theta), 0
        views: tuple[dict, dict] = ({}, {})
        for key, value in self.params.items():
            stop = start + value.size
            for flat, arrays, into in ((theta, self.params, views[0]), (grad, self.grads, views[1])):
                into[key] = flat[start:stop].reshape(value.shape)
                into[key][...] = to_backend(arrays[key], backend)
            start = stop
        self.params, self.grads = Views(self.name, views[0]), Views(self.name, views[1])
        self.buffers = Views(self.name, {key: to_backend(value, backend) for key, value in self.buffers.items()})

    def _add_param(self, key: str, value: Array, shape: tuple[int, ...] | None = None) -> None:
        """Register a parameter and its gradient, zero so far."""
        if shape is not None and value.shape != shape:
            raise ShapeError(f"{self.name}: init must return an array of shape {shape} for {key}, got {value.shape}.")
        if value.dtype.kind != "f" or value.dtype.itemsize not in (4, 8):
            raise DTypeError(f"{self.name}: parameters are float32 or float64, got dtype {value.dtype} for {key}.")
        self.params[key] = value
        self.grads[key] = get_xp(value).zeros_like(value)

    def _refuse_if_bound(self, backend: Backend) -> None:
        if self._bound:
            raise BackendError(f"{self.name} belongs to a network: move the network, network.to({backend.name!r}).")

    # ---- what is refused ---------------------------------------------------------------------------------------------

    def _check_input(self, x: Array) -> None:
        """Refuse what the layer cannot work on, naming the layer, what it expected, what came, and the mend."""
        backend = backend_of(x)
        if x.dtype.kind != "f":
            raise DTypeError(
                f"{self.name}: expected floating-point input, got {x.dtype}. Convert it first: x.astype('float32'), "
                "with images scaled to the range that the network expects."
            )
        for key, param in self.params.items():
            if backend_of(param) is not backend:
                there = backend_of(param).name
                raise BackendError(
                    f"{self.name}: the input is a {backend.name} array, but {key} lives on {there}. Move the network "
                    f"with network.to({backend.name!r}), or the data with tinygan.backend.to_backend(x, {there!r})."
                )
            if param.dtype != x.dtype:
                raise DTypeError(
                    f"{self.name}: the input is {x.dtype}, but {key} is {param.dtype}. Convert one of them: "
                    f"x.astype('{param.dtype}') or network.astype('{x.dtype}')."
                )
            break  # a layer's parameters share one dtype and one backend
        if x.ndim < 2:
            raise ShapeError(
                f"{self.name}: expected a batch (N, ...), got shape {x.shape}. "
                "A single sample needs a batch axis: x[None]."
            )
        if x.shape[0] == 0:
            raise ShapeError(f"{self.name}: the batch is empty, shape {x.shape}; at least one sample is needed.")
        self.output_shape(x.shape[1:])

    def _misfit(self, expected: str, input_shape: Shape, mend: str) -> ShapeError:
        """The error for samples that do not fit: ``expected`` in the words of a shape, such as '(N, 784)'."""
        return ShapeError(f"{self.name}: expected input {expected}, got {show_shape(input_shape)}. {mend}")
