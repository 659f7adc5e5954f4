"""What is guarded of a layer inside a network: its arrays, which are views of the network's flat vectors, and what they
and the layers around it were made for."""

from __future__ import annotations

import copy
from typing import Any

from ..errors import ArgumentError
from ..ops import Array


class SharedArrays(dict):
    """The params, grads or buffers of a layer inside a network, which shares these very arrays: they must stay."""

    def __init__(self, owner: str, arrays: dict[str, Array]) -> None:
        super().__init__(arrays)
        self._owner = owner

    def __setitem__(self, key: str, value: Array) -> None:
        if value is not self.get(key):
            self._refuse(key)

    def _refuse(self, key: Any = "name", *_: Any, **__: Any) -> None:
        raise ArgumentError(
            f"{self._owner}: {key!r} is memory that the network shares (params and grads are views of its flat "
            f"vectors); no optimiser or checkpoint would see a new array there. Write into it: [{key!r}][...] = value."
        )

    __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict) -> dict:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


#: What the arrays of a layer, and what lies around it in a network, are made for.
SIZES = {"c", "c_in", "c_out", "n_in", "n_out", "m", "kernel_size", "stride", "padding", "shape", "input_shape"}


class Guarded:
    """A layer whose arrays and sizes stay once it is part of a network, and a network whose layers stay."""

    def __setattr__(self, name: str, value: Any) -> None:
        known = vars(self)
        if name in known and value is not known[name]:
            own = name in ("params", "grads", "buffers", "layers") and not isinstance(value, SharedArrays)
            if (own and "_theta" in known) or ((own or name in SIZES) and known.get("_bound")):
                raise ArgumentError(
                    f"{known['name']}: {name} stays as it is, since a network was made for it; make the layer and the "
                    "network anew."
                )
        super().__setattr__(name, value)
