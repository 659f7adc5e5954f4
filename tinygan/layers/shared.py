"""The arrays of a layer inside a network, guarded: they are views of the network's flat vectors, and must stay."""

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
