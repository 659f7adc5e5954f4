r"""A stand-in for the GPU: arrays in ordinary memory that obey CuPy's rules, for testing without a device.

Code written for NumPy often runs on CuPy until the one line that does not: a leaked ``np.``, a function CuPy lacks, a
``float()`` in the middle of a step that makes the GPU wait. Importing this module registers the backend ``"standin"``,
on which those lines fail, with the reason, on any laptop. To see whether a layer of your own is ready for a GPU::

    from tinygan.testing.device import forbid_syncs, standin
    layer = MyLayer().to("standin")
    x = standin.from_host(numpy.ones((4, 3), dtype="float32"))
    with forbid_syncs():
        layer.backward(layer.forward(x))

As in CuPy, 13 and 14 (rules from its sources; a test compares names and keywords with an installed one):

- No array becomes a NumPy array by itself; ``x.get()`` makes one. NumPy and device arrays do not mix. Numbers do, and a
  ``numpy.float64`` makes float64 of float32.
- :data:`xp` has only functions that CuPy has, with only the keywords that CuPy takes: no ``where=`` or ``initial=``, no
  ``out=`` in einsum. Lists are no arrays, except to ``xp.asarray``.
- Reductions and full indexing give 0-d arrays, never scalars; ``x[0, 0]`` is a view, and ``loss += 1`` works in place.
- Slices, reshapes and transposes are views, and ``view.base`` is the array whose memory they share.
- No warnings on overflow or division by zero. A 0-d integer is no index (there is no ``__index__``).
- What makes the host wait is counted by :func:`count_syncs`: ``get item tolist``, ``float() int() bool()``, printing,
  and whatever has a shape that depends on values (boolean masks, ``nonzero``, ``where(c)``, ``unique``, ...).

Stricter than CuPy, on purpose:

- NumPy functions refuse device arrays. CuPy quietly takes such calls over, so that a leaked ``np.`` would not be seen.
- Indices out of bounds raise (CuPy wraps them), as does assigning several values through repeated indices or between
  overlapping contiguous slices (on a GPU the result is open).
- NumPy arrays are refused as indices and as values of ``x[i] = ...`` always, with a TypeError (CuPy uploads some of
  them, and raises a ValueError for others).
- ``matmul(out=)`` wants a C-contiguous out of the result's dtype (CuPy goes through a copy, and casts).
- What ``broadcast_to`` and ``sliding_window_view`` return is read-only (CuPy lets you write).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..backends.cuda.fused import FusedOps
from ..ops import Array, register
from . import cupy_surface as cupy_has
from .device_array import DeviceArray, device_function, inquiry, upload
from .syncs import count_syncs, forbid_syncs

__all__ = ["DeviceArray", "count_syncs", "forbid_syncs", "standin", "xp"]

# ---- the module of functions ---------------------------------------------------------------------------------------


class _Namespace(SimpleNamespace):
    """Functions and constants by name; what else one asks for, CuPy lacks or ``cupy_surface.py`` does not list."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"CuPy has no {name!r}, or tinygan/testing/cupy_surface.py does not list it yet.")

    def __repr__(self) -> str:
        return f"<the stand-in for CuPy: {len(vars(self))} names>"


def _matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    if out is not None and not (out.flags.c_contiguous and out.dtype == np.result_type(a, b)):
        raise ValueError(f"matmul: out= must be C-contiguous and {np.result_type(a, b)}, got {out.dtype}.")
    return np.matmul(a, b, out=out)


def _module() -> _Namespace:
    lib, linalg = _Namespace(stride_tricks=_Namespace()), _Namespace()
    xp = _Namespace(lib=lib, linalg=linalg, ndarray=DeviceArray, array=upload, asnumpy=DeviceArray.get)
    vars(xp).update({name: getattr(np, name) for name in cupy_has.CONSTANTS.split()})
    vars(xp).update({name: inquiry(getattr(np, name)) for name in cupy_has.INQUIRIES.split()})
    for name in cupy_has.UFUNCS.split():
        ufunc = getattr(np, name)
        function = device_function(ufunc, name, "out dtype casting", arrays=ufunc.nin, numbers=True)
        if name in cupy_has.SCATTERING.split():
            function.at = device_function(ufunc.at, f"{name}.at", "", arrays=1)
        setattr(xp, name, function)
    for arrays, keywords, names in cupy_has.FUNCTIONS:
        for path in names.split():
            *where, name = path.split(".")
            numpys, ours = np, xp
            for part in where:
                numpys, ours = getattr(numpys, part), getattr(ours, part)
            call = _matmul if name == "matmul" else getattr(numpys, name)
            setattr(ours, name, device_function(call, name, keywords, arrays))
    xp.asarray = lambda a, dtype=None: upload(a, dtype, copy=False)
    xp.ascontiguousarray = lambda a, dtype=None: upload(a, dtype, copy=False, order="C")
    return xp


#: The module of functions, as ``cupy`` is for CuPy's arrays.
xp = _module()


class StandinOps(FusedOps):
    """The operations of a GPU, in plain lines, on stand-in arrays."""

    name, xp, array_type, device = "standin", xp, DeviceArray, "a stand-in for a GPU"

    def from_host(self, x: np.ndarray) -> Array:
        return xp.asarray(x)

    def to_host(self, x: Array) -> np.ndarray:
        return x.get()


#: The backend, registered as ``"standin"`` by importing this module.
standin = register(StandinOps())
