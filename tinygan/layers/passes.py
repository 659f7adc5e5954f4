"""One backward for one forward: the book that a layer keeps of its open passes."""

from __future__ import annotations

from typing import Any, Literal

from ..backend import Array, backend_of
from ..errors import ArgumentError, BackendError, DTypeError, PassError, ShapeError

GradMode = Literal["add", "write", "skip"]


class Passes:
    """A forward opens a pass with ``_remember``; its backward closes it with ``_recall``, a tangent only ``_peek``s."""

    name: str

    def _remember(self, y: Array, *cache: Any) -> Array:
        """Open a pass that keeps ``cache`` for backward; return ``y``."""
        self._passes.append((type(y), y.dtype, y.shape, cache))
        del self._passes[:-2]  # two open passes are an error already; do not hold the memory of more
        return y

    def _recall(self, dy: Array, grads: GradMode = "add") -> tuple[Any, ...]:
        """Close the one open pass and return its cache, after checking that ``dy`` belongs to it."""
        if grads not in ("add", "write", "skip"):
            raise ArgumentError(f"{self.name}: grads must be 'add', 'write' or 'skip', got {grads!r}.")
        cache = self._peek()
        self._require_like(dy, "dy")
        self.forget()
        return cache

    def _peek(self) -> tuple[Any, ...]:
        """Return the cache of the one open pass, which stays open."""
        if len(self._passes) != 1:
            raise PassError(
                f"{self.name}: backward without its forward. Call forward() first; each forward serves one backward."
                if not self._passes
                else f"{self.name}: two or more forward passes are open, and backward cannot know which one dy belongs "
                "to. Call backward() right after its forward(); or look with layer(x), which opens no pass; or drop a "
                "pass with forget(); or set one aside with take_pass() and restore_pass()."
            )
        return self._passes[0][3]

    def _require_like(self, a: Array, what: str, shape: tuple[int, ...] | None = None) -> None:
        """Refuse an array that does not fit the open pass: shaped like its y, or, if given, like its x, ``shape``."""
        kind, dtype, y_shape, _ = self._passes[0]
        side = "output" if shape is None else "input"
        shape = y_shape if shape is None else shape
        if not isinstance(a, kind):
            raise BackendError(
                f"{self.name}: {what} is a {backend_of(a).name} array, but the layer's output was a {kind.__module__} "
                f"one. Compute {what} where the output is, or move it with tinygan.backend.to_backend."
            )
        if a.shape != shape:
            raise ShapeError(f"{self.name}: expected {what} of the {side}'s shape {shape}, got {a.shape}.")
        if a.dtype != dtype:
            raise DTypeError(f"{self.name}: expected {what} of the {side}'s dtype {dtype}, got {a.dtype}.")

    def forget(self) -> None:
        """Drop all open passes."""
        self._passes: list[tuple] = []

    def take_pass(self) -> Any:
        """Set the open pass aside, to be given back with :meth:`restore_pass`; the layer is free for another."""
        taken, self._passes = self._passes, []
        return taken

    def restore_pass(self, taken: Any) -> None:
        """Open the pass again that :meth:`take_pass` took away."""
        self._passes = self._passes + list(taken)
