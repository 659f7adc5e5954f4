"""Layers that know the class of each sample: how labels enter a conditional GAN (Mirza and Osindero, 2014).

A label is no number that could be moved a little, so nothing is differentiated for it: it is set before a pass, and the
pass keeps it, as Dropout does its mask ::

    set_labels(discriminator, labels)        # (N,) integers, those of the next batches
    logits = discriminator(x)                # (N, ...) samples
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, positive_int
from ..ops import Array, as_array, get_xp, ops_of, to_backend
from .base import Layer, Shape
from .initializers import Initializer, he_normal
from .starting import MAX_NUMBERS, Rng, as_generator, float_dtype, weights


class Conditional(Layer):
    """What layers that know the classes of samples have in common.

    Attributes
    ----------
    classes : how many there are, K.
    labels : the class of each sample, (N,) integers in [0, K); set it before a pass. Of a pass through several batches
        of N, one after the other, each has these labels: sample i has number i mod N.

    Raises
    ------
    ArgumentError
        A pass without labels, or (looked at on the CPU only, where it costs no waiting) a label that is no class.
    ShapeError, DTypeError
        The labels are no row of integers, or the samples are no multiple of them.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = positive_int(classes, f"{self.name}: classes", most=MAX_NUMBERS)
        self._labels: Array | None = None

    @property
    def labels(self) -> Array | None:
        """The class of each sample of the next pass, (N,), or None."""
        return self._labels

    @labels.setter
    def labels(self, labels: Array | None) -> None:
        self._labels = None if labels is None else checked(labels, self.classes, self.name)

    def labels_of(self, x: Array) -> Array:
        """The label of each sample in x, where x lives."""
        if self._labels is None:
            raise ArgumentError(
                f"{self.name}: which class is each sample of? Set the labels before a pass: "
                "tinygan.layers.set_labels(network, labels); a ConditionalGAN does so by itself."
            )
        repeats, left = divmod(len(x), len(self._labels))
        if left or not repeats:
            raise ShapeError(f"{self.name}: {len(x)} samples, but {len(self._labels)} labels; each sample needs one.")
        labels = to_backend(self._labels, ops_of(x))
        return labels if repeats == 1 else get_xp(x).tile(labels, repeats)

    def sum_by_class(self, labels: Array, rows: Array) -> Array:
        """Σ of the rows (N, F) of each class, (K, F); as a product, so that the order of adding is always the same."""
        return ops_of(rows).matmul(one_hot(labels, self.classes, rows.dtype).T, rows)


def one_hot(labels: Array, classes: int, dtype: Any) -> Array:
    """(N, K), 1 in the column that the label says, else 0."""
    return (get_xp(labels).arange(classes) == labels[:, None]).astype(dtype)


def checked(labels: Array, classes: int, name: str) -> Array:
    """Return the labels if they are a row of classes from 0 to ``classes`` − 1."""
    if labels is None:
        raise ArgumentError(
            f"{name}: which class is each sample of? Give labels (N,), integers from 0 to {classes - 1}."
        )
    if isinstance(labels, list | tuple):
        try:
            labels = np.array(labels)
        except ValueError as error:  # rows of several lengths
            raise ArgumentError(f"{name}: labels must be a row of whole numbers, got {labels!r:.200}.") from error
    labels = as_array(labels)
    if labels.ndim != 1 or len(labels) == 0:
        raise ShapeError(f"{name}: expected labels (N,), one for each sample, got shape {labels.shape}.")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected labels that are integers, got {labels.dtype}; labels.astype('int64').")
    if get_xp(labels) is np and not (labels.min() >= 0 and labels.max() < classes):
        raise ArgumentError(
            f"{name}: there are {classes} classes, 0 to {classes - 1}, but the labels go from {labels.min()} to "
            f"{labels.max()}. Make the network for more classes, or number them from 0: "
            "numpy.unique(labels, return_inverse=True)."
        )
    return labels


def set_labels(network: Layer, labels: Array | None) -> None:
    """Tell all layers of ``network`` that ask for it the class of each sample of the next passes; None: no longer.

    Parameters
    ----------
    network : Layer or Sequential.
    labels : (N,) integers, see :class:`Conditional`, which says which ones.
    """
    if not isinstance(network, Layer):
        raise ArgumentError(f"set_labels: expected a network or a layer, got {type(network).__name__}.")
    if isinstance(network, Conditional):
        network.labels = labels
    for layer in getattr(network, "layers", ()):
        set_labels(layer, labels)


class ConcatLabels(Conditional):
    r"""Append K channels that hold the label one-hot: 1 in the channel of the sample's class, 0 in the others.

    Parameters
    ----------
    classes : K.

    Notes
    -----
    Shapes    x (N, ..., C)   labels (N,)   y (N, ..., C + K)
    Forward   y[n, ..., :C] = x[n]      y[n, ..., C + k] = [k = labels[n]], at every pixel
    Backward  dx = dy[..., :C]

    References: Mirza and Osindero, 2014, section 3.2; as maps, Radford et al., 2016 (code).
    """

    def apply(self, x: Array, train: bool) -> tuple[Array, int]:
        c = x.shape[-1]
        y = get_xp(x).empty((*x.shape[:-1], c + self.classes), dtype=x.dtype)
        y[..., :c] = x
        y[..., c:] = each(one_hot(self.labels_of(x), self.classes, x.dtype), x)
        return y, c

    def gradients(self, c: int, dy: Array) -> tuple[Array, dict]:
        return dy[..., :c].copy(), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        *pixels, c = input_shape
        return (*pixels, None if c is None else c + self.classes)

    def __repr__(self) -> str:
        return f"ConcatLabels({self.classes})"


class ConditionalScale(Conditional):
    r"""Scale and shift each channel as the class of the sample has learned.

    Right after BatchNorm it makes of it the class-conditional batch normalisation (Dumoulin et al., 2017, equation 5;
    Miyato and Koyama, 2018, section 4): statistics of all samples, a scale and a shift for each class.

    Parameters
    ----------
    c : channels, the size of the last axis.
    classes : K.
    dtype : of the parameters.

    Notes
    -----
    Shapes    x, y (N, ..., C)   labels (N,)   gamma, beta (K, C), ones and zeros to begin with

    Forward   y[n] = gamma[k] · x[n] + beta[k],   k = labels[n]

    Backward  dx[n] = gamma[k] · dy[n]
              dgamma[k] = Σ_{n: labels[n] = k} Σ_pixels dy[n] x[n]      dbeta[k] = Σ_{n: labels[n] = k} Σ_pixels dy[n]
    """

    def __init__(self, c: int, classes: int, *, dtype: Any = np.float32) -> None:
        super().__init__(classes)
        self.c = positive_int(c, "ConditionalScale: c", most=MAX_NUMBERS // self.classes)
        self.add_param("gamma", np.ones((self.classes, self.c), dtype=float_dtype(dtype, self.name)))
        self.add_param("beta", np.zeros((self.classes, self.c), dtype=dtype))

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        labels = self.labels_of(x)
        y = each(self.params["gamma"][labels], x) * x
        y += each(self.params["beta"][labels], x)
        return y, (x, labels)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        x, labels = cache
        dgamma, dbeta = (self.sum_by_class(labels, sum_pixels(a)) for a in (dy * x, dy))
        return self.input_gradient(cache, dy), {"gamma": dgamma, "beta": dbeta}

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        return each(self.params["gamma"][cache[1]], dy) * dy

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] not in (self.c, None):
            mend = "Channels come last; c must be the size of the last axis."
            raise self.misfit(f"(N, ..., {self.c})", input_shape, mend)
        return input_shape

    def __repr__(self) -> str:
        return f"ConditionalScale({self.c}, {self.classes})"


class Projection(Conditional):
    r"""The last layer of a projection discriminator: a logit from features and the class that the sample claims.

    The first part says whether a sample looks real, the other whether it looks like its class. (SpectralNorm goes
    around the layers below, but not around this one, which has two matrices.)

    Parameters
    ----------
    n_in : F, the size of a row of features.
    classes : K.
    init : how W and V start (:mod:`tinygan.layers.initializers`); b starts at 0.
    rng : Generator or seed that W and then V are drawn from.
    dtype : of the parameters.

    Notes
    -----
    Shapes    x (N, F)   labels (N,)   W (F, 1)   b (1,)   V (K, F)   y (N, 1)

    Forward   y[n] = Σ_f x[n,f] (W[f] + V[k,f]) + b,   k = labels[n]

    Backward  dx[n,f] = dy[n] (W[f] + V[k,f])      dW = xᵀ dy      db = Σ_n dy[n]
              dV[k,f] = Σ_{n: labels[n] = k} dy[n] x[n,f]

    References: Miyato and Koyama, 2018, equation 3, with φ(x) the features, ψ(φ) = φ W + b, and V of shape (K, F).
    """

    def __init__(
        self,
        n_in: int,
        classes: int,
        *,
        init: Initializer = he_normal,
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(classes)
        self.n_in, rng = positive_int(n_in, "Projection: n_in"), as_generator(rng)
        self.input_shape = (self.n_in,)
        for key, shape in (("W", (self.n_in, 1)), ("V", (self.classes, self.n_in))):
            start = weights("Projection", init, shape, fan_in=self.n_in, fan_out=1, rng=rng, dtype=dtype)
            self.add_param(key, start, shape)
        self.add_param("b", np.zeros(1, dtype=dtype))

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        labels = self.labels_of(x)
        y = ops_of(x).matmul(x, self.params["W"])
        y += self.params["b"]
        y += (x * self.params["V"][labels]).sum(axis=1, keepdims=True)
        return y, (x, labels)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        x, labels = cache
        dV = self.sum_by_class(labels, dy * x)
        return self.input_gradient(cache, dy), {"W": ops_of(x).matmul(x.T, dy), "b": dy.sum(axis=0), "V": dV}

    def input_gradient(self, cache: Any, dy: Array) -> Array:
        return dy * (self.params["W"][:, 0] + self.params["V"][cache[1]])

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise self.misfit(f"(N, {self.n_in})", input_shape, "Put Flatten() before it.")
        if input_shape[0] not in (self.n_in, None):
            raise self.misfit(f"(N, {self.n_in})", input_shape, "n_in must be the size of one row of the input.")
        return (1,)

    def __repr__(self) -> str:
        return f"Projection({self.n_in}, {self.classes})"


def each(rows: Array, x: Array) -> Array:
    """Rows (N, C), one for each sample, in a shape that meets x (N, ..., C) at every pixel."""
    return rows.reshape(len(rows), *[1] * (x.ndim - 2), rows.shape[-1])


def sum_pixels(x: Array) -> Array:
    """(N, ..., C) -> (N, C)."""
    return x if x.ndim == 2 else x.reshape(len(x), -1, x.shape[-1]).sum(axis=1)
