"""What layers share with errors and networks: shapes in words, and dicts of arrays that must stay where they are."""

from __future__ import annotations

import copy
from typing import Any

from ..backend import Array
from ..errors import ArgumentError

Shape = tuple[int | None, ...]


class Views(dict):
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

    __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse

    def __deepcopy__(self, memo: dict) -> dict:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


def show_shape(shape: Shape) -> str:
    """A per-sample shape as a batch is written: (784,) -> '(N, 784)'; sizes not known are shown as '?'."""
    return "(" + ", ".join(["N", *("?" if s is None else str(s) for s in shape)]) + ")"
