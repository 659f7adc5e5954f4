r"""Which library owns an array, and the few operations that layers are made of.

The data decides where things are computed. ``ops_of(x)`` is the :class:`Ops` of the library that x belongs to, and
``ops_of(x).xp`` that library: ``numpy``, or one that follows it. So a layer is written once.

What stands here is what is meant, in plain lines. The folder ``backends`` derives from :class:`Ops`, and does the same
faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .errors import BackendError

#: What layers compute with: NumPy's arrays, or those of a library that follows it. (CuPy ships no types, so to a type
#: checker its arrays are ``Any``, and fit.)
Array: TypeAlias = np.ndarray


class Window(NamedTuple):
    """Where a convolution's kernel stands on an image: the geometry that gather and scatter share.

    A kernel of ``kernel`` = (kh, kw) moves in steps of ``stride`` over the image with zeros around it,
    ``pads`` = (top, bottom, left, right), and stands on ``grid`` = (Ho, Wo) places.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    grid: tuple[int, int]

    def spans(self):
        """For each kernel entry (i, j), the rows and columns of the padded image that it meets on its way."""
        (kh, kw), (sh, sw), (ho, wo) = self.kernel, self.stride, self.grid
        for i in range(kh):
            for j in range(kw):
                yield i, j, slice(i, i + (ho - 1) * sh + 1, sh), slice(j, j + (wo - 1) * sw + 1, sw)


class Ops:
    """The operations of one array library.

    Attributes
    ----------
    name : what users type: ``"numpy"``, ``"cupy"``.
    xp : the module of functions, ``numpy`` itself or one that follows it.
    array_type : the class of its arrays.
    device : what computes, for people: ``"the CPU"``.
    """

    name, xp, array_type, device = "numpy", np, np.ndarray, "the CPU"

    def from_host(self, x: np.ndarray) -> Array:
        """Copy a NumPy array to where this library computes; one that is there already is returned as it is."""
        return x

    def to_host(self, x: Array) -> np.ndarray:
        """The reverse, waiting until x is computed."""
        return x

    # ---- convolution is a matrix product with columns of the image ---------------------------------------------------

    def gather_columns(self, x: Array, window: Window) -> Array:
        """Lay out what the kernel sees at every place: x (N, H, W, C) -> columns (N·Ho·Wo, kh·kw·C).

            columns[(n,p,q), (i,j,c)] = x̄[n, p·sh + i, q·sw + j, c]          x̄: x with zeros around it

        (also called im2col: Chellapilla et al., 2006, section 2).
        """
        n, h, w, c = x.shape
        (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
        padded = self.xp.zeros((n, h + top + bottom, w + left + right, c), dtype=x.dtype)
        padded[:, top : top + h, left : left + w, :] = x
        columns = self.xp.empty((n, ho, wo, kh, kw, c), dtype=x.dtype)
        for i, j, down, across in window.spans():
            columns[:, :, :, i, j, :] = padded[:, down, across, :]
        return columns.reshape(n * ho * wo, kh * kw * c)

    def scatter_columns(self, columns: Array, image_shape: tuple[int, int, int, int], window: Window) -> Array:
        """The adjoint of :meth:`gather_columns` (col2im): every entry is added back to the pixel it was read from.

        columns (N·Ho·Wo, kh·kw·C) -> image (N, H, W, C); what was read from the zeros around the image is dropped.
        """
        n, h, w, c = image_shape
        (kh, kw), (ho, wo), (top, bottom, left, right) = window.kernel, window.grid, window.pads
        columns = columns.reshape(n, ho, wo, kh, kw, c)
        padded = self.xp.zeros((n, h + top + bottom, w + left + right, c), dtype=columns.dtype)
        for i, j, down, across in window.spans():
            padded[:, down, across, :] += columns[:, :, :, i, j, :]
        return padded[:, top : top + h, left : left + w, :]

    def convolve(self, x: Array, W: Array, window: Window) -> Array:
        """y (N, Ho, Wo, B) = columns of x (N, H, W, A) times W (kh, kw, A, B)."""
        y = self.gather_columns(x, window) @ W.reshape(-1, W.shape[3])
        return y.reshape(len(x), *window.grid, W.shape[3])

    def convolve_adjoint(self, y: Array, W: Array, hw: tuple[int, int], window: Window) -> Array:
        """The transpose of the linear map x -> :meth:`convolve`, y (N, Ho, Wo, B) -> images (N, *hw, A)."""
        columns = y.reshape(-1, W.shape[3]) @ W.reshape(-1, W.shape[3]).T  # (N·Ho·Wo, kh·kw·A)
        return self.scatter_columns(columns, (len(y), *hw, W.shape[2]), window)

    def convolve_weights(self, x: Array, y: Array, window: Window) -> Array:
        """∂<y, convolve(x, W)>/∂W (kh, kw, A, B): columns of x, transposed, times y."""
        dW = self.gather_columns(x, window).T @ y.reshape(-1, y.shape[3])
        return dW.reshape(*window.kernel, x.shape[3], y.shape[3])

    # ---- where a backend has a better way ----------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None, *, add: bool = False) -> Array:
        """Return a @ b for a (M, K) and b (K, N) or (K,); write it into ``out``, or add it to what is there."""
        if not add:
            return self.xp.matmul(a, b, out=out) if out is not None else a @ b
        out += a @ b
        return out

    def links(self, layers: Sequence[Any]) -> list[Any]:
        """Return links: objects that compute what these layers do, one after the other, as fast as this backend can.
        Each answers apply, input_gradient, store_gradients, backprop and size; a fast one knows its layers, too."""
        return list(layers)

    def loss(self, loss: Any) -> Any:
        """Return what computes the same as this loss."""
        return loss

    def update(self, optimizer: Any, numbers: Any, *arrays: Array) -> None:
        """Let an optimiser take its step: ``optimizer.update(numbers, *arrays)``."""
        optimizer.update(numbers, *arrays)

    def mix(self, average: Array, new: Array, part: float | Array) -> None:
        """average ← average + part · (new − average)."""
        average += part * (new - average)

    def place(self, numbers: Any, like: Array) -> Any:
        """Bring what the host has decided, arrays and numbers in (nested) tuples, to where ``like`` is."""
        return numbers


_by_type: dict[type, Ops] = {}
_by_name: dict[str, Ops] = {}
LOADERS: dict[str, Callable[[], Ops]] = {}  #: backends that are loaded when first asked for by name


def register(ops: Ops) -> Ops:
    """Make the operations of an array library known, or replace those of the same name."""
    _by_type[ops.array_type] = _by_name[ops.name] = ops
    return ops


register(Ops())


def in_use(name: str) -> bool:
    """Whether the backend called ``name`` has been loaded."""
    return name in _by_name


def ops_of(*arrays: Array) -> Ops:
    """Return the operations of the one library that owns all ``arrays``; BackendError if they belong to several, or one
    is no array at all."""
    if len(set(map(type, arrays))) == 1:  # nearly always, and asked a hundred times a step
        return _by_type.get(type(arrays[0])) or _of_unseen(arrays[0])
    owners = [_by_type.get(type(a)) or _of_unseen(a) for a in arrays]
    if any(ops is not owners[0] for ops in owners):
        names = " and ".join(sorted({ops.name for ops in owners}))
        raise BackendError(
            f"{names} arrays are mixed. Move the data with tinygan.to_backend(x, name) or the network with "
            "network.to(name), so that both live in the same place."
        )
    return owners[0]


def get_xp(*arrays: Array) -> Any:
    """Return the module that owns ``arrays``: ``numpy`` for NumPy arrays, ``cupy`` for CuPy arrays."""
    known = _by_type.get(type(arrays[0])) if len(arrays) == 1 else None
    return (known or ops_of(*arrays)).xp


def get_ops(name: str | Ops) -> Ops:
    """Return the operations of the library called ``name``, loading it if this is its first use. BackendError says that
    there is none of that name, or what is missing for it to run here."""
    if isinstance(name, Ops):
        return name
    if not isinstance(name, str) or name not in _by_name:
        if not isinstance(name, str) or name not in LOADERS:
            known = ", ".join(sorted({*_by_name, *LOADERS} - {"auto"}))
            raise BackendError(f"unknown backend {name!r}; there are: {known}, or 'auto' for the best of them.")
        return LOADERS[name]()
    return _by_name[name]


def to_backend(x: Array, name: str | Ops) -> Array:
    """Copy ``x`` to the backend called ``name``; an array that is there already is returned as it is."""
    target, x = get_ops(name), as_array(x)
    return x if target is ops_of(x) else target.from_host(ops_of(x).to_host(x))


def to_numpy(x: Array) -> np.ndarray:
    """Return ``x`` as a NumPy array, waiting for the device if it lives on one."""
    return ops_of(x := as_array(x)).to_host(x)


def as_array(x: Any) -> Array:
    """Return ``x`` as a plain array of its library, with which all computes: what a memory map or another subclass of
    NumPy's holds, or a data frame, or a tensor on the CPU. BackendError if it holds none, or has masked values."""
    plain = type(x) in _by_type or isinstance(x, type | np.generic) or type(x).__module__.split(".")[0] in LOADERS
    if not plain and hasattr(x, "__array__"):
        if np.ma.is_masked(x):
            raise BackendError("the array has masked values, which have no meaning here. Fill them: x.filled(0.0).")
        try:
            x = np.asarray(x)
        except Exception as error:  # a tensor on a GPU, say
            raise BackendError(f"{type(x).__name__} gives no NumPy array ({error}). Convert it first.") from error
    ops_of(x)  # refuses what is no array
    return x


def _of_unseen(x: object) -> Ops:
    """The owner of an array of a library that is loaded elsewhere; what is like an array must become one first."""
    module = type(x).__module__.split(".")[0]
    if module in LOADERS:
        return get_ops(module)
    raise BackendError(f"expected an array, got {type(x).__name__}. Wrap it: numpy.asarray(x, dtype=numpy.float32).")


# ---- two functions of which losses and activations are made ----------------------------------------------------------


def sigmoid(s: Array) -> Array:
    """Logistic function σ(s) = 1 / (1 + e^−s), accurate relative to its size at both ends.

    Written as e^min(s,0) / (1 + e^−|s|): no exponent is positive, so nothing overflows, and for very negative s the
    result is e^s rather than a difference that rounds to 0.
    """
    xp = get_xp(s)
    return xp.exp(xp.minimum(s, 0.0)) / (1.0 + xp.exp(-abs(s)))


def softplus(s: Array) -> Array:
    """log(1 + e^s), the smooth max(s, 0), as max(s, 0) + log(1 + e^−|s|): no exponent is positive."""
    xp = get_xp(s)
    return xp.maximum(s, 0.0) + xp.log1p(xp.exp(-abs(s)))
