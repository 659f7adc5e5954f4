"""Which module owns an array, and how arrays travel between host and device.

The data decides: a layer asks :func:`get_xp` for the module (``numpy`` or ``cupy``) that owns its input and calls the
functions of that module, so the same lines run on both. Nothing here imports CuPy until somebody asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np

from .errors import BackendError

Array = Any  #: a numpy.ndarray, a cupy.ndarray, or the array of another registered backend


@dataclass(frozen=True)
class Backend:
    """One array library, as the rest of tinygan sees it.

    Attributes
    ----------
    name : what users type: ``"numpy"``, ``"cupy"``.
    xp : the module of functions, ``numpy`` itself or one that follows it.
    array_type : the class of its arrays.
    from_host : copies a NumPy array to the device.
    to_host : copies a device array to NumPy, waiting for it to be finished.
    """

    name: str
    xp: ModuleType | Any
    array_type: type
    from_host: Callable[[np.ndarray], Array]
    to_host: Callable[[Array], np.ndarray]


_backends: dict[str, Backend] = {"numpy": Backend("numpy", np, np.ndarray, np.asarray, np.asarray)}
_by_type: dict[type, Backend] = {np.ndarray: _backends["numpy"]}


def register(backend: Backend) -> Backend:
    """Make another array library known, such as the stand-in device of :mod:`tinygan.testing.device`."""
    _backends[backend.name] = backend
    _by_type[backend.array_type] = backend
    return backend


def backend_of(*arrays: Array) -> Backend:
    """Return the one backend that owns all ``arrays``.

    Raises
    ------
    BackendError
        The arrays belong to different backends, or one is no array at all.
    """
    kinds = set(map(type, arrays))
    if len(kinds) == 1:  # nearly always, and asked a hundred times a step
        return _by_type.get(kinds.pop()) or _backend_of_unseen(arrays[0])
    found = [_by_type.get(type(a)) or _backend_of_unseen(a) for a in arrays]
    if any(b is not found[0] for b in found):
        names = " and ".join(sorted({b.name for b in found}))
        raise BackendError(
            f"{names} arrays are mixed. Move the data with tinygan.backend.to_backend(x, name) "
            f"or the network with network.to(name), so that both live in the same place."
        )
    return found[0]


def get_xp(*arrays: Array) -> Any:
    """Return the module that owns ``arrays``: ``numpy`` for NumPy arrays, ``cupy`` for CuPy arrays."""
    return backend_of(*arrays).xp


def get_backend(name: str | Backend) -> Backend:
    """Return the backend called ``name``, importing and trying it if this is its first use.

    Raises
    ------
    BackendError
        There is none of that name, or it cannot run here; the message says whether the package, the driver or the
        GPU is missing.
    """
    if isinstance(name, Backend):
        return name
    if name not in _backends:
        if name != "cupy":
            known = ", ".join(sorted({*_backends, "cupy"}))
            raise BackendError(f"unknown backend {name!r}; there are: {known}.")
        register(_load_cupy())
    return _backends[name]


def to_backend(x: Array, name: str | Backend) -> Array:
    """Copy ``x`` to the backend called ``name``; an array that is there already is returned as it is."""
    target, source = get_backend(name), backend_of(x)
    return x if target is source else target.from_host(source.to_host(x))


def to_numpy(x: Array) -> np.ndarray:
    """Return ``x`` as a NumPy array, waiting for the device if it lives on one."""
    return backend_of(x).to_host(x)


def _backend_of_unseen(x: object) -> Backend:
    """Find the owner of an array type met for the first time: a subclass, or CuPy's if imported elsewhere."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and "cupy" not in _backends and isinstance(x, getattr(cupy, "ndarray", ())):
        return get_backend("cupy")
    for backend in _backends.values():
        if isinstance(x, backend.array_type):
            return backend
    raise BackendError(f"expected an array, got {type(x).__name__}. Wrap it: numpy.asarray(x, dtype=numpy.float32).")


def _load_cupy() -> Backend:
    """Import CuPy and run one kernel, so that whatever is missing is found now and said in one line."""
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "backend 'cupy' needs the package CuPy. Install it for your CUDA version: "
            f"pip install 'tinygan[cuda12]' or 'tinygan[cuda13]' ({_in_one_line(error)})."
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError, or an OSError where a shared library cannot be loaded
        raise BackendError(
            "backend 'cupy': CuPy is installed but finds no usable NVIDIA driver. Install or update the driver "
            f"(nvidia-smi must work), or use backend 'numpy' ({_in_one_line(error)})."
        ) from error
    if count == 0:
        raise BackendError("backend 'cupy': the driver is there but reports no GPU. Check CUDA_VISIBLE_DEVICES.")
    try:
        float((cupy.arange(4, dtype=cupy.float32) + 1).sum())
    except Exception as error:
        raise BackendError(
            "backend 'cupy': a GPU is there but a kernel does not run on it; most often the CuPy package is for "
            "another CUDA version than the driver's. Try the other of tinygan[cuda12], tinygan[cuda13] "
            f"({_in_one_line(error)})."
        ) from error
    return Backend("cupy", cupy, cupy.ndarray, cupy.asarray, cupy.asnumpy)


def _in_one_line(error: Exception) -> str:
    """CuPy's messages can be pages long, with rulers; the chained exception keeps them whole."""
    return shorten(str(error).replace("==", ""), 200, placeholder=" ...")
