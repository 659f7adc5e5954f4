"""The array of the stand-in device: ordinary memory that keeps CuPy's rules, which :mod:`tinygan.testing.device` lists.

Whatever computes goes through ``_evaluate``, and whatever assigns through ``__setitem__``; both ask :data:`recording`,
so that :mod:`tinygan.testing.replay` can write the operations of a training step down and do them again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import cupy_surface as cupy_has
from .syncs import synchronise


class Recorder(Protocol):
    """Who does the work while a training step is recorded: :mod:`tinygan.testing.replay`."""

    def run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Call a NumPy function on the memory of device arrays, and write down that it was called."""

    def refuse_upload(self) -> None:
        """Called where numbers of the host would enter the device."""


recorder: Recorder | None = None  #: set while a step is recorded


class Flags(NamedTuple):
    """Memory layout of an array, as far as CuPy knows it."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class DeviceArray:
    """An array of the stand-in device. Made by the functions of :data:`xp`, or from NumPy by ``standin.from_host``.

    Attributes, methods and operators are those of a NumPy array as far as CuPy has them (see ``cupy_surface.py``).
    """

    __slots__ = ("_host", "base")
    __hash__ = None

    def __init__(self, host: np.ndarray, base: DeviceArray | None = None) -> None:
        self._host, self.base = host, base

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed on a device: use .get() or to_numpy(x).")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> DeviceArray:
        if ufunc.__name__ in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
            inputs = tuple(i[()] if isinstance(i, np.ndarray) else i for i in inputs)  # numpy.float32(2) < x sends 0-d
        if any(isinstance(i, np.generic) for i in inputs) and method == "__call__" and not kwargs:
            return _evaluate(ufunc, inputs)  # numpy.float32(2) * x comes this way
        raise TypeError(_leak(ufunc.__name__, inputs))

    def __array_function__(self, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        raise TypeError(_leak(f"{function.__module__}.{function.__name__}".removeprefix("numpy."), args))

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> DeviceArray:
        sources = [self]
        args = self._host, _unwrap(_full_key(key), sources)  # nothing is computed, so nothing is silenced
        return _wrap(operator.getitem(*args) if recorder is None else recorder.run(operator.getitem, args, {}), sources)

    def __setitem__(self, key: Any, value: Any) -> None:
        key, sources = _unwrap(_full_key(key), []), []
        value = _unwrap(value, sources)
        if isinstance(value, (list, tuple)):
            raise TypeError("a list is no device array: x[...] = takes a number or a device array.")
        into = self._host[key]
        if not np.may_share_memory(into, self._host):  # fancy indexing made a copy
            places = np.arange(self.size).reshape(self.shape)[key]
            if np.ndim(value) > 0 and np.unique(places).size < places.size:
                raise IndexError("assignment through repeated indices: on a GPU it is open which value stays.")
        elif sources and _one_memcpy(into, value) and np.may_share_memory(into, value):
            raise ValueError("assignment between overlapping slices: on a GPU the result is open. Copy it first.")
        _run(operator.setitem, (self._host, key, value), {})

    def get(self) -> np.ndarray:
        """Return a copy as a NumPy array, waiting until the device has finished it."""
        synchronise("get()")
        return self._host.copy()

    def fill(self, value: Any) -> None:
        """Set all elements to a number."""
        if isinstance(value, DeviceArray):
            synchronise("fill() with a device array")  # CuPy asks whether it is zero
        self[...] = value

    @property
    def T(self) -> DeviceArray:
        """The array with its axes reversed, a view."""
        return self.transpose()

    @property
    def flags(self) -> Flags:
        """Memory layout."""
        return Flags(self._host.flags.c_contiguous, self._host.flags.f_contiguous, self.base is None)

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: dict) -> DeviceArray:
        return self.copy()


# ---- between CuPy's rules and NumPy's functions --------------------------------------------------------------------

_NUMBERS = (bool, int, float, complex, np.generic)
_PLAIN = {bool, int, float, str, slice, type(None), type(Ellipsis)}  # kinds of what is no array and holds none
_MIXED = (
    "a NumPy array met a device array: they do not mix. Move it first, with tinygan.to_backend(x, name) "
    "or xp.asarray(x)."
)


def _leak(name: str, args: Any) -> str:
    if any(isinstance(a, np.ndarray) for a in args):
        return f"numpy.{name}: {_MIXED}"
    return f"numpy.{name} was given a device array. Call the function of the array's own module, get_xp(x).{name}."


def _evaluate(function: Callable, args: Any, kwargs: dict | None = None) -> Any:
    """Call a NumPy function on the memory of device arrays, silently, and wrap what it returns."""
    sources: list[DeviceArray] = []
    args = tuple([_unwrap(value, sources) for value in args])
    kwargs = {key: _unwrap(value, sources) for key, value in kwargs.items()} if kwargs else {}
    return _wrap(_run(function, args, kwargs), sources)


def _run(function: Callable, args: tuple, kwargs: dict) -> Any:
    with np.errstate(all="ignore"):
        return function(*args, **kwargs) if recorder is None else recorder.run(function, args, kwargs)


def _unwrap(value: Any, sources: list[DeviceArray]) -> Any:
    """Replace the device arrays in ``value`` by their memory, and list them in ``sources``."""
    kind = type(value)  # asked first of what comes most often: tests call this millions of times
    if kind is DeviceArray:
        sources.append(value)
        return value._host
    if kind in _PLAIN:
        return value
    if isinstance(value, np.ndarray):
        raise TypeError(_MIXED)
    return kind([_unwrap(v, sources) for v in value]) if isinstance(value, (tuple, list)) else value


def _wrap(result: Any, sources: list[DeviceArray]) -> Any:
    """Make device arrays of NumPy's results, 0-d for scalars; ``out`` comes back as itself, a view knows its base."""
    if type(result) is not np.ndarray:
        if isinstance(result, (tuple, list)):
            return type(result)([_wrap(r, sources) for r in result])
        if result is None:
            return None
        result = np.asarray(result)
    host, base = result, None
    if host.dtype.char not in "?bhilqBHILQefdFD":
        raise ValueError(f"Unsupported dtype {host.dtype}: no numbers that a GPU works with.")
    for source in sources:
        if source._host is host:
            return source
        if host.base is not None and (host.base is source._host or host.base is source._host.base):
            base = source if source.base is None else source.base
    return DeviceArray(host, base)


def _full_key(key: Any) -> tuple:
    """Return an index as a tuple with an ellipsis, which makes NumPy return arrays and never scalars."""
    key, whole = key if isinstance(key, tuple) else (key,), False
    for k in key:
        if k is Ellipsis:
            whole = True
        elif type(k) is DeviceArray and k.dtype == bool:
            synchronise("indexing with a boolean mask")
    return key if whole else (*key, Ellipsis)


def _one_memcpy(into: np.ndarray, value: np.ndarray) -> bool:
    """Whether CuPy copies with a single memcpy, which must not overlap; a copy onto itself it skips."""
    same = (into.shape, into.strides, into.dtype) == (value.shape, value.strides, value.dtype)
    return same and into.flags.c_contiguous and into.ctypes.data != value.ctypes.data


def upload(a: Any, dtype: Any = None, copy: bool = True, order: str = "K") -> DeviceArray:
    """Copy a number, a nested list of numbers or device arrays, or a NumPy array to the device."""
    if isinstance(a, DeviceArray):
        return a.astype(a.dtype if dtype is None else dtype, order=order, copy=copy)
    if recorder is not None:
        recorder.refuse_upload()
    if isinstance(a, np.ndarray):
        return _wrap(np.array(a, dtype, order="F" if a.flags.f_contiguous and order == "K" else "C"), [])
    return _wrap(np.array(_unwrap(a, []), dtype), [])


def device_function(call: Callable, name: str, keywords: str, arrays: int = 0, numbers: bool = False) -> Callable:
    """Make ``call`` work on device arrays: ``arrays`` leading ones (or ``numbers``) and no ``keywords`` but these."""
    allowed, kinds = keywords.split(), (DeviceArray, *_NUMBERS) if numbers else DeviceArray
    waits = name in cupy_has.SYNCHRONISING.split()

    def function(*args: Any, **kwargs: Any) -> Any:
        if unknown := kwargs.keys() - allowed:
            raise TypeError(f"{name}: CuPy takes no {', '.join(sorted(unknown))}=. It takes: {keywords or 'none'}.")
        for a in args[0] if arrays == cupy_has.EACH else args[:arrays]:
            if not isinstance(a, kinds):
                mixed = f" {_MIXED}" if isinstance(a, np.ndarray) else ""
                raise TypeError(f"{name}: expected a device array, got {type(a).__name__}.{mixed}")
        if waits or (name == "where" and len(args) == 1):
            synchronise(name)
        return _evaluate(call, args, kwargs)

    return function


def inquiry(function: Callable) -> Callable:
    """Make a question about arrays, which the host answers without waiting, work on device arrays."""
    return lambda *args: function(*_unwrap(args, []))


_OPERANDS = (DeviceArray, np.ndarray, *_NUMBERS)


def _operator(function: Callable, *, swapped: bool = False) -> Callable:
    def method(self: DeviceArray, *others: Any) -> Any:
        for other in others:
            if not isinstance(other, _OPERANDS):
                return NotImplemented
        return _evaluate(function, (*others, self) if swapped else (self, *others))

    return method


def _waiting(name: str, convert: Callable) -> Callable:
    def method(self: DeviceArray, *args: Any) -> Any:
        synchronise(name)
        return convert(self._host, *args)

    return method


for _name in ["shape", "ndim", "size", "dtype", "strides", "nbytes", "itemsize"]:
    setattr(DeviceArray, _name, property(operator.attrgetter(f"_host.{_name}")))
for _name, _convert in {"item": np.ndarray.item, "tolist": np.ndarray.tolist}.items():
    setattr(DeviceArray, _name, _waiting(f"{_name}()", _convert))
for _convert in (float, int, bool, str, repr, format):
    setattr(DeviceArray, f"__{_convert.__name__}__", _waiting(f"{_convert.__name__}()", _convert))
for _keywords, _names in cupy_has.METHODS:
    for _name in _names.split():
        setattr(DeviceArray, _name, device_function(getattr(np.ndarray, _name), _name, _keywords, arrays=1))
for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"]:
    setattr(DeviceArray, f"__{_name}__", _operator(getattr(operator, f"__{_name}__")))
    setattr(DeviceArray, f"__r{_name}__", _operator(getattr(operator, f"__{_name}__"), swapped=True))
    setattr(DeviceArray, f"__i{_name}__", _operator(getattr(operator, f"__i{_name}__")))
for _name in ["eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "matmul"]:  # no __imatmul__ in CuPy
    setattr(DeviceArray, f"__{_name}__", _operator(getattr(operator, _name)))
