"""Layers that let a discriminator see several samples at once, so that it notices when they are all alike."""

from __future__ import annotations

from typing import Any

from ..errors import Setting, ShapeError, positive, positive_int
from ..ops import Array, get_xp
from .base import Layer, Shape


class MinibatchStdDev(Layer):
    r"""Append one channel that says how much the samples of the batch differ from each other.

    Parameters
    ----------
    eps : added to each variance, so that its root has a slope where all samples agree.

    Notes
    -----
    Shapes    x (N, ..., C), read as N samples of F features; y (N, ..., C + 1)

    Forward   μ[f] = 1/N Σ_n x[n,f]     σ[f] = √(1/N Σ_n (x[n,f] − μ[f])² + eps)     s = 1/F Σ_f σ[f]
              y[..., :C] = x     y[..., C] = s, the same number at every pixel of every sample
              With ``train=False``, s is that of the batch given: there are no running statistics. Of a
              single sample, s = √eps and says nothing, so D's logits are best compared for batches of one size.

    Backward  ∂s/∂x = x̂ / (N F) with x̂ = (x − μ) / σ, because ∂σ[f]/∂x[n,f] = x̂[n,f] / N; let G = Σ dy[..., C],
              since all of these entries are s:

        dx = dy[..., :C] + G / (N F) · x̂

    References: Karras et al., 2018, section 3; a simpler form of minibatch discrimination (Salimans et al., 2016).
    """

    couples_samples = True

    eps = Setting(positive)

    def __init__(self, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        xp, c = get_xp(x), x.shape[-1]
        rows = x.reshape(len(x), -1)  # (N, F)
        xhat = rows - rows.mean(axis=0)
        std = xp.sqrt((xhat * xhat).mean(axis=0) + self.eps)  # (F,)
        xhat /= std
        y = xp.empty((*x.shape[:-1], c + 1), dtype=x.dtype)
        y[..., :c] = x
        y[..., c] = std.mean()
        return y, (xhat, std)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict]:
        xhat, _ = cache
        dx = dy[..., :-1] + (dy[..., -1].sum() / xhat.size * xhat).reshape(dy[..., :-1].shape)
        return dx, {}

    def output_shape(self, input_shape: Shape) -> Shape:
        *pixels, c = input_shape
        return (*pixels, None if c is None else c + 1)

    def __repr__(self) -> str:
        return "MinibatchStdDev()" if self.eps == 1e-8 else f"MinibatchStdDev(eps={self.eps})"


class Pack(Layer):
    r"""Make one sample of every m in a row, by joining their channels: the discriminator judges m at once.

    One real image looks like another of its mode, but m images that are all of one mode do not look like m real ones,
    so a generator that leaves modes out is found out. Put it first in the discriminator.

    Parameters
    ----------
    m : how many; the size of every batch must be a multiple of it. D gives a logit for each m samples.

    Raises
    ------
    ShapeError
        The samples of a batch are no multiple of m.

    Notes
    -----
    Shapes    x (N, ..., C)   y (N/m, ..., m·C)
    Forward   y[n, ..., k·C + c] = x[n·m + k, ..., c]
    Backward  dx[n·m + k, ..., c] = dy[n, ..., k·C + c]

    A penalty on D's gradient (:mod:`tinygan.penalties`) then takes the norm over the m samples of a pack together: they
    are the input of one logit.

    References: Lin et al., 2018 (PacGAN), section 3.
    """

    couples_samples = True

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = positive_int(m, "Pack: m")

    def apply(self, x: Array, train: bool) -> tuple[Array, Shape]:
        if len(x) % self.m:
            raise ShapeError(
                f"{self.name}: a batch of {len(x)} samples, shape {x.shape}, cannot be split into groups of "
                f"{self.m}. Use a batch size that is a multiple of {self.m}."
            )
        n, c = len(x) // self.m, x.shape[-1]
        beside = get_xp(x).moveaxis(x.reshape(n, self.m, *x.shape[1:]), 1, -2)  # (N/m, ..., m, C)
        return beside.reshape(n, *x.shape[1:-1], self.m * c), x.shape

    def gradients(self, shape: Shape, dy: Array) -> tuple[Array, dict]:
        beside = dy.reshape(*dy.shape[:-1], self.m, shape[-1])  # (N/m, ..., m, C)
        return get_xp(dy).moveaxis(beside, -2, 1).reshape(shape), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        *pixels, c = input_shape
        return (*pixels, None if c is None else self.m * c)

    def __repr__(self) -> str:
        return f"Pack({self.m})"
