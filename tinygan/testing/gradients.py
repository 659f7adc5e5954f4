r"""Are the gradients right? The functions here compare every hand-written derivative with finite differences.

A network maps x and its parameters θ to y. Its backward pass, given any dy, claims to return the gradient of the number

    L(x, θ) = Σ_i dy_i y_i(x, θ)          dx = ∂L/∂x = Jᵀ dy,   grads = ∂L/∂θ

That claim can be checked from outside, from values of L alone (:mod:`tinygan.testing.differences`): move one entry, or
along one direction v, and see whether L rises at the rate <gradient, v>. A small array is moved one entry at a time,
which gives its whole Jacobian; a large one along several random directions, and a gradient that is wrong anywhere is
wrong along almost every direction. Several random dy make sure of all outputs.

The two must agree to 1e-6 *of their norm*, ‖backward − differences‖ ≤ 1e-6 · max(‖backward‖, ‖differences‖), for each
array by itself. Per entry would be too strict, since a tiny entry beside large ones drowns in rounding; a tolerance
added to the norm or growing with the size of the array would let small gradients or large layers be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, GradientError, ShapeError
from ..layers.base import Layer
from ..layers.starting import Rng, as_generator, flag
from ..ops import Array, as_array, ops_of, to_numpy
from .comparison import GradientReport, verify
from .trial import keeps_a_trace, numbers, require_initialised, rewinder


def check_gradients(
    layer: Layer,
    x: Array,
    *,
    dy: Array | None = None,
    train: bool = True,
    params: bool = True,
    rng: Rng = 0,
    tolerance: float = 1e-6,
    exhaustive: int = 200,
    directions: int = 8,
) -> GradientReport:
    """Check the backward pass of a layer or a network, dx and the gradient of every parameter.

    Arrays that a layer keeps outside ``params`` are the business of :func:`tinygan.testing.check_layer`.

    Parameters
    ----------
    layer : Layer or Sequential of any dtype and backend. A float64 copy is examined; yours is not changed.
    x : a batch for it, on its backend. Indices, for a layer with ``takes_integers``, stay; only parameters are moved.
    dy : gradient of the output to use; several random ones if None.
    train : the mode of the forward pass. Both are worth a check where they differ.
    params : False to check dx only.
    rng : Generator or seed for dy and the directions.
    tolerance : at most 1e-6; see :mod:`tinygan.testing.gradients`.
    exhaustive : arrays up to this size are moved entry by entry, larger ones along random directions.
    directions : how many of these.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        A gradient is wrong (the message names layer, array and worst entry with both values), or the check cannot
        tell: there is a kink at x, every gradient is zero, something is not finite, ``apply`` returns no pair, or
        equal copies of the layer give different outputs.
    ArgumentError
        The layer's ``__init__`` has not called ``super().__init__()``.

    Notes
    -----
    A check that cannot tell does not pass, with one exception. An array whose gradient is zero both ways, that is below
    rounding, is only listed in ``report.zero``, as long as others are not: it may be a path that was forgotten in
    forward and backward alike, but for a bias right before BatchNorm zero is the true gradient. Where you expect none,
    assert that ``report.zero`` is empty.

    Examples
    --------
    >>> from tinygan.layers import Dense
    >>> x = np.random.default_rng(0).standard_normal((4, 3))
    >>> check_gradients(Dense(3, 2), x).comparisons
    160
    """
    rng, params = as_generator(rng), flag(params, "check_gradients: params")
    claim = LayerClaim(layer, x, train, params)
    y = claim.evaluate(None, claim.x)
    if not np.isfinite(y).all():
        raise GradientError(f"{claim.where}: the output is not finite, so it has no gradient.")
    if not np.array_equal(y, claim.evaluate(None, claim.x)):
        raise GradientError(
            f"{claim.where}: two equal copies give different outputs for one x, so there is no function to "
            "differentiate. Draw random numbers only from a Generator that the layer keeps as an attribute."
        )
    if dy is None:
        dys = rng.standard_normal((min(y.size, 16), y.size))
    else:
        dys = numbers(dy).reshape(1, -1)
        if dys.size != y.size:
            raise GradientError(f"{claim.where}: dy has {dys.size} numbers, the output {y.size}.")
    return verify(claim, dys, rng, tolerance, exhaustive, directions)


def check_function(
    function: Callable[..., tuple[Array, ...]],
    *arrays: Array,
    rng: Rng = 0,
    tolerance: float = 1e-6,
    exhaustive: int = 200,
    directions: int = 8,
) -> GradientReport:
    """Check a function that returns a value and its gradients, such as a loss.

    Parameters
    ----------
    function : ``function(*arrays) -> (value, gradient, ...)``: a scalar, and a gradient for each array in its shape.
    arrays : where to check; they are converted to float64.
    rng, tolerance, exhaustive, directions : as for :func:`check_gradients`.

    Raises
    ------
    GradientError
        As for :func:`check_gradients`.

    Examples
    --------
    >>> from tinygan.losses import NonSaturating
    >>> report = check_function(NonSaturating().discriminator, np.array([[0.5], [-1.0]]), np.array([[2.0], [0.1]]))
    >>> report.comparisons
    4
    """
    return verify(
        _FunctionClaim(function, arrays), np.ones((1, 1)), as_generator(rng), tolerance, exhaustive, directions
    )


def check_generator_gradient(
    generator: Layer, discriminator: Layer, loss: Any, z: Array, *, real_logits: Array | None = None, **options: Any
) -> GradientReport:
    """Check the gradient that a generator learns from: of loss(D(G(z))), through D, for z and every parameter of G.

    Parameters
    ----------
    generator, discriminator : networks with z -> sample -> logits, both in training mode; they are not changed.
    loss : one of :mod:`tinygan.losses`.
    z : (N, noise_dim).
    real_logits : for losses that compare with real samples.
    options : as for :func:`check_gradients`.

    Raises
    ------
    GradientError
        As for :func:`check_gradients`, or ``D.input_gradient`` touched D's gradients.
    """
    for what, layer in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(layer, Layer):
            raise ArgumentError(f"check_generator_gradient: the {what} must be a Layer, got {type(layer).__name__}.")
    if not hasattr(loss, "compares"):
        raise ArgumentError(f"check_generator_gradient: loss must be one of tinygan.losses, got {loss!r:.200}.")
    return check_gradients(_ThroughTheDiscriminator(generator, discriminator, loss, real_logits), z, **options)


# ---- the claims that are checked -----------------------------------------------------------------------------------


class LayerClaim:
    """A layer as a function of its input (key None) and its parameters."""

    def __init__(self, layer: Layer, x: Array, train: bool, params: bool) -> None:
        require_initialised(layer)
        self.where, self.train = layer.name, train
        self.layer, self.put = layer.astype(np.float64), ops_of(x := as_array(x)).from_host
        self.x = np.array(to_numpy(x)) if layer.takes_integers else numbers(x)
        self.points: dict[Hashable, np.ndarray] = {} if layer.takes_integers else {None: self.x}
        if params:
            self.points |= {key: np.array(to_numpy(value)) for key, value in self.layer.params.items()}
        if not self.points:
            raise GradientError(f"{self.where}: integers have no gradient, and there are no parameters to check.")
        self._require_a_pair()
        self.rewind = rewinder(self.layer)
        self.copies = keeps_a_trace(self.layer, lambda: self._forward(self.layer, self.x), self.rewind)

    def _require_a_pair(self) -> None:
        """A bare array of two samples would be unpacked as if it were y and a cache."""
        layer, x = self.layer.copy(), self.put(self.x.copy())
        layer.check_input(x)
        answer = layer.apply(x, self.train)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise GradientError(
                f"{self.where}: apply returns {type(answer).__name__} in place of a pair; end it with "
                "`return y, cache`."
            )

    def _forward(self, layer: Layer, x: np.ndarray) -> Array:
        y = layer.forward(self.put(x.copy()), train=self.train)
        if y.dtype != np.float64:
            raise GradientError(f"{self.where}: the output is {y.dtype} for float64 input and parameters.")
        return y

    def name(self, key: Hashable) -> str:
        return "dx" if key is None else f"grads[{key!r}]"

    def owner(self, key: Hashable) -> str:
        """Which layer of a network the key '1.W' belongs to."""
        owner: Any = self.layer
        path = "" if key is None else str(key)
        while hasattr(owner, "layers") and "." in path:
            position, path = path.split(".", 1)
            owner = owner.layers[int(position)]
        return owner.name

    def evaluate(self, key: Hashable, value: np.ndarray) -> np.ndarray:
        layer = self.layer.copy() if self.copies else self.layer
        moved = key if isinstance(key, str) and key in layer.params else None
        if moved is not None:
            layer.params[moved][...] = self.put(value)
        y = np.array(to_numpy(self._output(layer, key, value))).ravel()
        if moved is not None:  # into what is there now: a wrong layer may have put another array in its place
            layer.params[moved][...] = self.put(self.points[key])
        self.rewind()
        return y

    def _output(self, layer: Layer, key: Hashable, value: np.ndarray) -> Array:
        """What is differentiated, with ``value`` in the place of ``points[key]``; a parameter is there already."""
        return self._forward(layer, value if key is None else self.x)

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        layer = self.layer.copy()
        layer.zero_grad()
        y = self._forward(layer, self.x)
        try:
            dx = layer.backward(self.put(dy.reshape(y.shape).copy()))
        except ShapeError as error:  # a gradient that does not fit its parameter, say
            raise GradientError(str(error)) from error
        return dict([(None, dx), *layer.grads.items()])


class _ThroughTheDiscriminator(Layer):
    """loss(D(G(z))) as one layer: the parameters are G's, the output is a single number."""

    def __init__(self, generator: Layer, discriminator: Layer, loss: Any, real_logits: Array | None) -> None:
        super().__init__()
        self.G, self.D, self.loss, self.real_logits = generator, discriminator, loss, real_logits
        self.params, self.grads = generator.params, generator.grads
        self.buffers = {f"{who}.{key}": b for who in "GD" for key, b in getattr(self, who).buffers.items()}
        self.name = "G through D"

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        fake, g_cache = self.G.apply(x, train)
        logits, d_cache = self.D.apply(fake, train)
        value, d_logits = self.loss.generator(logits, self.real_logits)
        return value.reshape(1), (g_cache, d_cache, d_logits)

    def backprop(self, cache: Any, dy: Array, add: bool = True) -> Array:
        g_cache, d_cache, d_logits = cache
        before = {key: g.copy() for key, g in self.D.grads.items()}
        d_fake = self.D.input_gradient(d_cache, d_logits * dy)
        for key, g in self.D.grads.items():
            if bool((g != before[key]).any()):
                raise GradientError(f"{self.name}: D.input_gradient() has changed the gradient of {key}.")
        return self.G.backprop(g_cache, d_fake, add)

    def check_input(self, x: Array) -> None:
        self.G.check_input(x)
        self.D.output_shape(self.G.output_shape(x.shape[1:]))

    def rngs(self) -> Iterator[tuple[str, np.random.Generator]]:
        yield from ((f"{who}.{key}", rng) for who in "GD" for key, rng in getattr(self, who).rngs())

    def astype(self, dtype: Any) -> Self:
        return type(self)(self.G.astype(dtype), self.D.astype(dtype), self.loss, self.real_logits)

    def copy(self) -> Self:
        return type(self)(self.G.copy(), self.D.copy(), self.loss, self.real_logits)


class _FunctionClaim:
    """A function that returns its value and the gradients for its arguments, which are numbered."""

    def __init__(self, function: Callable, arrays: tuple[Array, ...]) -> None:
        self.function, self.where = function, getattr(function, "__qualname__", repr(function))
        self.puts = [ops_of(a).from_host for a in arrays]
        self.points: dict[Hashable, np.ndarray] = {
            i: np.array(to_numpy(a), dtype=np.float64) for i, a in enumerate(arrays)
        }

    def name(self, key: Hashable) -> str:
        return f"the gradient of argument {key}"

    def owner(self, key: Hashable) -> str:
        return self.where

    def _call(self, key: Hashable, value: np.ndarray) -> tuple[Array, ...]:
        values = (self.points | {key: value}).values()
        return self.function(*(put(v.copy()) for put, v in zip(self.puts, values, strict=True)))

    def evaluate(self, key: Hashable, value: np.ndarray) -> np.ndarray:
        result = self._call(key, value)[0]
        if np.ndim(result) != 0:
            raise GradientError(f"{self.where}: the value must be a scalar, got shape {result.shape}.")
        return np.array([float(result)])

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        _, *grads = self._call(0, self.points[0])
        return {key: None if g is None else g * float(dy[0]) for key, g in enumerate(grads)}
