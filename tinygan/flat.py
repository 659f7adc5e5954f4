"""A layer made of layers, whose arrays lie one after the other in two flat vectors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from .backend import Array, Backend, get_backend, get_xp, to_backend
from .errors import ArgumentError, DTypeError
from .layers.base import Layer
from .layers.views import Views


class Flat(Layer):
    """What :class:`tinygan.Sequential` is made on: ``self.layers``, with all their parameters and gradients in memory
    of one piece. What the layers compute together is for the class that derives from this one.

    ``_assemble()`` is called once ``self.layers`` is there, and again whenever the layers hold new arrays.
    """

    layers: tuple[Layer, ...]

    def _assemble(self) -> None:
        """Name the layers by their position, and lay their arrays out in flat vectors."""
        self._name_layers("")
        self._keywords = [  # which keyword arguments each layer's backward understands
            {"grads", "need_dx"} & inspect.signature(layer.backward).parameters.keys() for layer in self.layers
        ]
        arrays = [p for layer in self.layers for p in layer.params.values()]
        dtypes = sorted({str(p.dtype) for p in arrays})
        if len(dtypes) > 1:
            raise DTypeError(
                f"{type(self).__name__}: the layers hold {' and '.join(dtypes)} parameters; give all the same dtype."
            )
        xp = get_xp(*arrays) if arrays else np
        size, dtype = sum(p.size for p in arrays), arrays[0].dtype if arrays else np.float32
        self._bind(xp.empty(size, dtype=dtype), xp.empty(size, dtype=dtype))

    def _bind(self, theta: Array, grad: Array) -> None:
        start = 0
        for layer in self.layers:
            stop = start + layer.size
            layer._bind(theta[start:stop], grad[start:stop])
            layer._bound = True
            start = stop
        self._theta, self._grad = theta, grad
        self._collect()

    def _name_layers(self, above: str) -> None:
        for i, layer in enumerate(self.layers):
            layer.name = f"layer {above}{i} {layer!r}"
            if isinstance(layer, Flat):
                layer._name_layers(f"{above}{i}.")

    def _collect(self) -> None:
        """Gather the layers' dicts into this network's, with the layer's position before each key: '0.W'."""
        for kind in ("params", "grads", "buffers"):
            pairs = ((i, getattr(layer, kind).items()) for i, layer in enumerate(self.layers))
            arrays = {f"{i}.{key}": value for i, items in pairs for key, value in items}
            setattr(self, kind, Views(type(self).__name__, arrays))

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

    def _require_same(self, value: Array, own: Array, name: str) -> None:
        if value is not own:  # theta *= 2 comes here with the very same array
            raise ArgumentError(
                f"{type(self).__name__}: the layers hold views of {name}, and would not see a new array in its place. "
                f"Write into it: network.{name}[...] = value."
            )

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    def zero_grad(self) -> None:
        self.grad[...] = 0.0

    def to(self, backend: str | Backend) -> Flat:
        backend = get_backend(backend)
        self._refuse_if_bound(backend)
        self.forget()
        self._bind(to_backend(self.theta, backend), to_backend(self.grad, backend))
        return self

    def _cast(self, dtype: Any) -> None:
        for layer in self.layers:
            layer.params, layer.grads, layer.buffers = dict(layer.params), dict(layer.grads), dict(layer.buffers)
            layer._cast(dtype)
        self._assemble()

    def __deepcopy__(self, memo: dict) -> Flat:
        new = super().__deepcopy__(memo)
        new._assemble()
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_theta", "_grad")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._assemble()

    def rngs(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The sources of random numbers of all layers, such as Dropout's: (position and name, Generator) of each."""
        yield from super().rngs()
        for i, layer in enumerate(self.layers):
            yield from ((f"{i}.{key}", rng) for key, rng in layer.rngs())
