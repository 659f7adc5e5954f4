"""Training runs: ``training`` is the loop, ``folder`` what a run leaves behind, ``state`` how it comes back to life.

Beside them ``judging`` (scores on the way), ``stopping`` (when they are good enough), ``comparing`` (several runs in
one table), ``trained`` (networks from a finished run), ``schedules``, ``plotting``, ``tracing`` (where a NaN began),
``writer`` (the lock of a folder) and the ``commandline`` of the examples. Imported from here are the book, ``augment``,
``backends``, ``data``, ``metrics``, ``penalties`` and ``parallel``; nothing but ``testing`` and programs stands above.
Every name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import commandline, plotting, schedules, state
    from .comparing import compare
    from .folder import Run, read_checkpoint
    from .stopping import Equilibrium
    from .tracing import require_finite, require_finite_state
    from .trained import Trained, load_trained
    from .training import train

_LOADED_WHEN_USED = {
    "Equilibrium": "stopping",
    "Run": "folder",
    "Trained": "trained",
    "commandline": "",
    "compare": "comparing",
    "load_trained": "trained",
    "plotting": "",
    "read_checkpoint": "folder",
    "require_finite": "tracing",
    "require_finite_state": "tracing",
    "schedules": "",
    "state": "",
    "train": "training",
}

__all__ = [
    "Equilibrium",
    "Run",
    "Trained",
    "commandline",
    "compare",
    "load_trained",
    "plotting",
    "read_checkpoint",
    "require_finite",
    "require_finite_state",
    "schedules",
    "state",
    "train",
]


if not TYPE_CHECKING:  # or a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _LOADED_WHEN_USED:
            raise AttributeError(f"module 'tinygan.runs' has no attribute {name!r}; there are: {', '.join(__all__)}.")
        module = importlib.import_module(f"{__name__}.{_LOADED_WHEN_USED[name] or name}")
        return getattr(module, name) if _LOADED_WHEN_USED[name] else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
