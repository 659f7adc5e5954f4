"""Layers in a row, over one flat vector of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from .errors import ArgumentError, DTypeError, ShapeError
from .layers.base import Layer, Shape, show_shape
from .layers.shared import SharedArrays
from .layers.starting import float_dtype
from .layers.stored import Stored
from .layers.table import Summarised
from .ops import Array, Ops, get_ops, get_xp, ops_of, to_backend

Pass = list[tuple[Any, Any]]  # what a forward pass leaves: each link, and the cache that its derivative needs


class Sequential(Stored, Summarised, Layer):
    r"""The layers one after the other, y = f_L(... f_2(f_1(x))): a layer itself, with the same protocol.

    Attributes
    ----------
    layers : tuple of Layer; ``len(network)``, ``network[i]`` and ``for layer in network`` look into it.
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

    A pass calls *links*: each layer is its own, unless the backend has a faster one (:meth:`tinygan.ops.Ops.links`).

    A block of your own derives from this class. Where it adds its input, as a residual block does, ``apply(x, train,
    batches=1)`` adds x to what ``super().apply`` gives; ``input_gradient`` and ``backprop`` add dy to what theirs give.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            raise ArgumentError("Sequential takes the layers one by one; write Sequential(*layers), with a star.")
        if not layers:
            raise ArgumentError("Sequential needs at least one layer.")
        first = {id(layer): i for i, layer in reversed([*enumerate(layers)])}
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                made = f"; write {layer.__name__}(...)" if isinstance(layer, type) else f", got {type(layer).__name__}"
                raise ArgumentError(f"Sequential: layer {i} must be a tinygan Layer{made}.")
            if not hasattr(layer, "_bound"):
                raise ArgumentError(f"Sequential: layer {i}, a {type(layer).__name__}, must call super().__init__().")
            if layer.params.keys() != layer.grads.keys():
                raise ArgumentError(
                    f"Sequential: layer {i} {layer!r} has params {sorted(layer.params)} but grads "
                    f"{sorted(layer.grads)}. Each parameter needs a gradient array; add_param makes both."
                )
            if layer._bound or first[id(layer)] != i:
                raise ArgumentError(
                    f"Sequential: layer {i} {layer!r} is part of a network already. Each network owns the memory of "
                    "its layers; give this one a copy: layer.copy()."
                )
        self.layers = layers
        self.relink()
        self._assemble()
        self._check_fit()

    def _assemble(self) -> None:
        """Name the layers by their position, and lay their arrays out in flat vectors."""
        self._name_layers("")
        arrays = [p for layer in self.layers for p in layer.params.values()]
        dtypes = sorted({str(p.dtype) for p in arrays})
        if len(dtypes) > 1:
            raise DTypeError(
                f"{type(self).__name__}: the layers hold {' and '.join(dtypes)} parameters; give all the same dtype."
            )
        xp = get_xp(*arrays) if arrays else np
        size, dtype = sum(p.size for p in arrays), float_dtype(dtypes[0] if dtypes else "float32", self.name)
        self._bind(xp.empty(size, dtype=dtype), xp.empty(size, dtype=dtype))

    def _bind(self, theta: Array, grad: Array) -> None:
        start = 0
        for layer in self.layers:
            stop = start + layer.size
            layer._bind(theta[start:stop], grad[start:stop])
            layer._bound, start = True, stop
        self._theta, self._grad = theta, grad
        for kind in ("params", "grads", "buffers"):  # with the layer's position before each key: '0.W'
            pairs = ((i, getattr(layer, kind).items()) for i, layer in enumerate(self.layers))
            arrays = {f"{i}.{key}": value for i, items in pairs for key, value in items}
            setattr(self, kind, SharedArrays(type(self).__name__, arrays))
        self._links.clear()
        self._seen: Any = None

    def _name_layers(self, above: str) -> None:
        if above.count(".") == 100:
            raise ArgumentError("Sequential: more than 100 networks lie within each other; put their layers in a row.")
        for i, layer in enumerate(self.layers):
            layer.name = f"layer {above}{i} {layer!r}"
            if isinstance(layer, Sequential):
                layer._name_layers(f"{above}{i}.")

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

    # ---- the passes --------------------------------------------------------------------------------------------------

    def apply(self, x: Array, train: bool, batches: int = 1) -> tuple[Array, Pass]:
        """Return y and the pass. Of several ``batches`` of one size, one after the other in x, layers that couple
        samples see each by itself."""
        caches = []
        for link in self.links(x, batches):
            x, cache = link.apply(x, train)
            caches.append((link, cache))
        return x, caches

    def links(self, x: Array, batches: int = 1) -> list[Any]:
        """The links that run the layers when x holds so many batches; made once, and kept."""
        if (key := (ops_of(x), batches)) not in self._links:
            self._links[key] = self._make_links(*key)
        return self._links[key]

    def relink(self, make: Callable[[Ops, int], list[Any]] | None = None) -> None:
        """Let ``make(ops, batches)`` choose the links from now on; None: each backend does so for its arrays."""
        self._links: dict[tuple[Ops, int], list[Any]] = {}
        self._make_links = make or self._links_of_layers

    def _links_of_layers(self, ops: Ops, batches: int) -> list[Any]:
        return ops.links([Apart(a, batches) if a.couples_samples and batches > 1 else a for a in self.layers])

    def input_gradient(self, cache: Pass, dy: Array) -> Array:
        for link, link_cache in reversed(cache):
            dy = link.input_gradient(link_cache, dy)
        return dy

    def backprop(self, cache: Pass, dy: Array, add: bool = True) -> Array:
        for link, link_cache in reversed(cache):
            dy = link.backprop(link_cache, dy, add)
        return dy

    def store_gradients(self, cache: Pass, dy: Array, add: bool = True) -> None:
        """As :meth:`backprop`, down to the lowest layer that has parameters: nobody asks for dx."""
        lowest = next((i for i, (link, _) in enumerate(cache) if link.size), len(cache))
        for link, link_cache in reversed(cache[lowest + 1 :]):
            dy = link.backprop(link_cache, dy, add)
        if lowest < len(cache):
            link, link_cache = cache[lowest]
            link.store_gradients(link_cache, dy, add)

    def check_input(self, x: Array) -> None:
        seen = type(x), x.dtype, x.shape[1:], len(x) > 0 if x.ndim else False
        if seen != self._seen:  # a batch like the last one is let through at once
            self.layers[0].check_input(x)
            if not self.layers[0].takes_integers:
                for layer in self.layers:
                    layer.check_kind(x)
            self.output_shape(x.shape[1:])
            self._seen = seen

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    @property
    def couples_samples(self) -> bool:  # type: ignore[override]
        return any(layer.couples_samples for layer in self.layers)

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        return self.layers[0].takes_integers

    # ---- parameters --------------------------------------------------------------------------------------------------

    @property
    def theta(self) -> Array:
        """Flat vector of all parameters; write into it, ``theta[...] = value``."""
        return self._theta

    @theta.setter
    def theta(self, value: Array) -> None:
        self._require_same(value, self._theta, "theta")

    @property
    def grad(self) -> Array:
        """Flat vector of all gradients; write into it, ``grad[...] = value``."""
        return self._grad

    @grad.setter
    def grad(self, value: Array) -> None:
        self._require_same(value, self._grad, "grad")

    def _require_same(self, value: Array, present: Array, name: str) -> None:
        if value is not present:  # theta *= 2 comes here with the very same array
            raise ArgumentError(
                f"{type(self).__name__}: the layers hold views of {name}, and would not see a new array in its place. "
                f"Write into it: network.{name}[...] = value."
            )

    @property
    def size(self) -> int:
        return self._theta.size

    def zero_grad(self) -> None:
        self.grad[...] = 0.0

    def rngs(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The sources of random numbers of all layers, such as Dropout's: (position and name, Generator) of each."""
        yield from super().rngs()
        for i, layer in enumerate(self.layers):
            yield from ((f"{i}.{key}", rng) for key, rng in layer.rngs())

    def to(self, backend: str | Ops) -> Self:
        ops = get_ops(backend)
        if self._bound:
            return super().to(ops)  # which refuses
        self.forget()
        self._bind(to_backend(self.theta, ops), to_backend(self.grad, ops))
        return self

    def _cast(self, dtype: Any) -> None:
        for layer in self.layers:
            vars(layer).update(params=dict(layer.params), grads=dict(layer.grads), buffers=dict(layer.buffers))
            layer._cast(dtype)
        self._assemble()

    def __deepcopy__(self, memo: dict) -> Self:
        new = object.__new__(type(self))
        memo[id(self)] = new
        new.__setstate__({key: copy.deepcopy(value, memo) for key, value in self.__getstate__().items()})
        return new

    def __getstate__(self) -> dict[str, Any]:
        made = {"_theta", "_grad", "_links", "_make_links", "_seen", "_passes", "params", "grads", "buffers"}
        return {key: value for key, value in vars(self).items() if key not in made}  # they are made again

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, name=type(self).__name__, _bound=False)
        self.forget()
        self.relink()
        self._assemble()

    # ---- looking -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: Any) -> Any:
        return self.layers[i]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"


class Apart:
    """A layer that couples samples, shown ``batches`` equal parts of its input one by one."""

    def __init__(self, layer: Layer, batches: int) -> None:
        self.layer, self.batches, self.size = layer, batches, layer.size

    def apply(self, x: Array, train: bool) -> tuple[Array, list[Any]]:
        if len(x) % self.batches:
            raise ShapeError(f"{self.layer.name}: {len(x)} samples are not {self.batches} batches of one size.")
        ys, caches = zip(*(self.layer.apply(batch, train) for batch in self.split(x)), strict=True)
        return get_xp(x).concatenate(ys), list(caches)

    def input_gradient(self, caches: list[Any], dy: Array) -> Array:
        pairs = zip(caches, self.split(dy), strict=True)
        return get_xp(dy).concatenate([self.layer.input_gradient(cache, batch) for cache, batch in pairs])

    def store_gradients(self, caches: list[Any], dy: Array, add: bool = True) -> None:
        for k, (cache, batch) in enumerate(zip(caches, self.split(dy), strict=True)):
            self.layer.store_gradients(cache, batch, add or k > 0)

    def backprop(self, caches: list[Any], dy: Array, add: bool = True) -> Array:
        pairs = enumerate(zip(caches, self.split(dy), strict=True))
        return get_xp(dy).concatenate([self.layer.backprop(cache, batch, add or k > 0) for k, (cache, batch) in pairs])

    def split(self, a: Array) -> list[Array]:
        """The batches in a, as views."""
        n = len(a) // self.batches
        return [a[k * n : (k + 1) * n] for k in range(self.batches)]
