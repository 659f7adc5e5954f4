"""Layers that let a discriminator see several samples at once, so that it notices when they are all alike."""

from __future__ import annotations

from ..arguments import positive, positive_int
from ..backend import Array, get_xp
from ..errors import ShapeError
from ..kernels.products import sum_of_products
from .base import Layer, Shape
from .standardized import along


class _AcrossSamples(Layer):
    """What both layers share: a training batch in equal parts that do not see each other."""

    couples_samples = True

    def _parts_of(self, x: Array, train: bool, multiple: int = 1) -> int:
        """Into how many parts the batch x is split, each with a multiple of so many samples."""
        parts = (self.parts or 1) if train else 1
        if len(x) % (parts * multiple):
            each = f" in {parts} equal parts" if parts > 1 else ""
            raise ShapeError(
                f"{self.name}: a batch of {len(x)} samples, shape {x.shape}, cannot be split{each} into groups of "
                f"{multiple}. Use a batch size that is a multiple of {parts * multiple}."
            )
        return parts


class MinibatchStdDev(_AcrossSamples):
    r"""Append one channel that says how much the samples of the batch differ from each other.

    Parameters
    ----------
    eps : added to each variance, so that its root has a slope where all samples agree.

    Attributes
    ----------
    parts : into how many equal parts, one after the other, a training batch is split that are measured each on its own
        (1); real and generated images pass through a discriminator at once, and do not mix. A class of yours with
        another ``forward`` has parts = None, if it does not say otherwise.

    Notes
    -----
    Shapes    x (N, ..., C), read as M samples of F features in each part; y (N, ..., C + 1); s one number for each part

    Forward   μ[f] = 1/M Σ_m x[m,f]     σ[f] = √(1/M Σ_m (x[m,f] − μ[f])² + eps)     s = 1/F Σ_f σ[f]
              y[..., :C] = x     y[..., C] = s, the same number at every pixel of every sample of the part
              With ``train=False``, s is that of the batch given, as one part: there are no running statistics. Of a
              single sample, s = √eps and says nothing, so D's logits are best compared for batches of one size.

    Backward  ∂s/∂x = x̂ / (M F) with x̂ = (x − μ) / σ, because ∂σ[f]/∂x[m,f] = x̂[m,f] / M; let G = Σ dy[..., C] of
              the part, since all of these entries are s:

        dx = dy[..., :C] + G / (M F) · x̂

    Tangent   u[..., :C] = v     u[..., C] = 1/(M F) Σ_mf x̂ v
    Second order   with G = Σ g[..., C] and t as in equation (1) of :mod:`tinygan.layers.standardized`, down each
              feature: ∂(Σ_m x̂ v)/∂x = t, as given there for s, M times; and so ∂(gᵀ J v)/∂x = G / (M F) · t

    References: Karras et al., 2018, section 3; a simpler form of minibatch discrimination (Salimans et al., 2016).
    """

    parts = 1

    def __init__(self, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = positive(eps, "MinibatchStdDev: eps")

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        xp, c, parts = get_xp(x), x.shape[-1], self._parts_of(x, train)
        rows = x.reshape(parts, len(x) // parts, -1)  # (P, M, F)
        xhat = rows - rows.mean(axis=1, keepdims=True)
        std = xp.sqrt(sum_of_products("pmf,pmf->pf", xhat, xhat) / rows.shape[1] + self.eps)[:, None]  # (P, 1, F)
        xhat /= std
        y = xp.empty((*x.shape[:-1], c + 1), dtype=x.dtype)
        y[..., :c] = x
        _last_channel(y, parts)[...] = std.mean(axis=2, keepdims=True)
        return self._remember(y, xhat, std, x.shape)

    def backward(self, dy: Array) -> Array:
        xhat, _, shape = self._recall(dy)
        dx = (_mean_of_last(dy, xhat) * xhat).reshape(shape)
        dx += dy[..., :-1]
        return dx

    def tangent(self, v: Array) -> Array:
        xhat, _, shape = self._peek()
        self._require_like(v, "v", shape)
        xp, (parts, m, f) = get_xp(v), xhat.shape
        u = xp.empty((*shape[:-1], shape[-1] + 1), dtype=v.dtype)
        u[..., :-1] = v
        along_s = sum_of_products("pmf,pmf->p", xhat, v.reshape(xhat.shape)) / (m * f)
        _last_channel(u, parts)[...] = along_s[:, None, None]
        return u

    def second_order(self, v: Array, g: Array) -> Array:
        xhat, std, shape = self._peek()
        self._require_like(v, "v", shape)
        self._require_like(g, "g")
        t = along(xhat, 1.0 / std, v.reshape(xhat.shape), axis=1)
        t *= _mean_of_last(g, xhat)
        return t.reshape(shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        *pixels, c = input_shape
        return (*pixels, None if c is None else c + 1)

    def __repr__(self) -> str:
        return "MinibatchStdDev()" if self.eps == 1e-8 else f"MinibatchStdDev(eps={self.eps})"


def _last_channel(y: Array, parts: int) -> Array:
    """The last channel of y (N, ..., C) by parts, (P, M, pixels): a view if y is compact, so it can be written to."""
    return y.reshape(parts, len(y) // parts, -1, y.shape[-1])[..., -1]


def _mean_of_last(dy: Array, xhat: Array) -> Array:
    """G / (M F) of each part, (P, 1, 1)."""
    parts, m, f = xhat.shape
    return _last_channel(dy, parts).sum(axis=(1, 2), keepdims=True) / (m * f)


class Pack(_AcrossSamples):
    r"""Make one sample of every m in a row, by joining their channels: the discriminator judges m at once.

    One real image looks like another of its mode, but m images that are all of one mode do not look like m real ones,
    so a generator that leaves modes out is found out. Put it first in the discriminator.

    Parameters
    ----------
    m : how many; the size of every batch must be a multiple of it. D gives a logit for each m samples.

    Attributes
    ----------
    parts : into how many equal parts a training batch is split that must not share a pack (1).

    Raises
    ------
    ShapeError
        The samples of a batch, or of one of its parts, are no multiple of m.

    Notes
    -----
    Shapes    x (N, ..., C)   y (N/m, ..., m·C)
    Forward   y[n, ..., k·C + c] = x[n·m + k, ..., c]
    Backward  dx[n·m + k, ..., c] = dy[n, ..., k·C + c]
    Tangent   u[n, ..., k·C + c] = v[n·m + k, ..., c]; no second order

    A penalty on D's gradient (:mod:`tinygan.penalties`) then takes the norm over the m samples of a pack together: they
    are the input of one logit.

    References: Lin et al., 2018 (PacGAN), section 3.
    """

    parts = 1

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = positive_int(m, "Pack: m")

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        self._parts_of(x, train, self.m)
        return self._remember(self._pack(x), x.shape)

    def _pack(self, x: Array) -> Array:
        n, c = len(x) // self.m, x.shape[-1]
        beside = get_xp(x).moveaxis(x.reshape(n, self.m, *x.shape[1:]), 1, -2)  # (N/m, ..., m, C)
        return beside.reshape(n, *x.shape[1:-1], self.m * c)

    def backward(self, dy: Array) -> Array:
        (shape,) = self._recall(dy)
        beside = dy.reshape(*dy.shape[:-1], self.m, shape[-1])  # (N/m, ..., m, C)
        return get_xp(dy).moveaxis(beside, -2, 1).reshape(shape)

    def tangent(self, v: Array) -> Array:
        (shape,) = self._peek()
        self._require_like(v, "v", shape)
        return self._pack(v)

    def second_order(self, v: Array, g: Array) -> None:
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        *pixels, c = input_shape
        return (*pixels, None if c is None else self.m * c)

    def __repr__(self) -> str:
        return f"Pack({self.m})"
