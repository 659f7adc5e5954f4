"""Spectral normalisation: a layer whose weights are divided by their largest singular value."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..ops import Array, get_xp, ops_of, to_backend
from .base import Layer, Shape
from .convolution import Conv2D, ConvTranspose2D
from .dense import Dense
from .starting import Rng, as_generator

WARM_UP = 20  # iterations at construction; from then on one for each training batch follows W, which moves slowly


class SpectralNorm(Layer):
    r"""The layer inside, computing with W/σ in the place of W; σ is close to W's largest singular value.

    Parameters
    ----------
    layer : Dense, Conv2D or ConvTranspose2D that belongs to no network. It is copied, with its weights.
    rng : Generator or seed that u starts from; WARM_UP iterations follow at once.

    Attributes
    ----------
    params : W, as it is learned, not normalised; and b if the layer inside has one, which is never divided.
    buffers : u (R,), the left singular vector as far as it is known.

    Raises
    ------
    ArgumentError
        ``layer`` is of another kind, or part of a network already.

    Notes
    -----
    Shapes    M (R, K) is W with all axes but the last in one, R = I and K = O for Dense, R = kh·kw·C and K = O for
              Conv2D; for ConvTranspose2D it is the matrix of the Conv2D that it is the adjoint of. Its singular values
              are those of the map from one patch to one pixel, not of the convolution of a whole image.

    Forward   One step of the power iteration, from the vector u₀ that the batch before has left in the buffer u:

        a = Mᵀ u₀     n = ‖a‖     v = a / n                                   (u₀ need not have length 1)
        b = M v       σ = ‖b‖     û = b / σ     u ← û
        y = the layer's forward with Ŵ = W / σ

              With ``train=False`` the numbers are the same and only u stays as it was. σ ≤ the largest singular value,
              and equal once u has converged. Where n or σ is 0, as for W = 0, 1 takes its place and u is kept.

    Backward  Let D = ∂L/∂Ŵ be what the layer's own backward finds, as a matrix (R, K), M̂ = M/σ, and <A, B> the sum of
              all products of entries. W reaches Ŵ = W/σ directly and through σ, and σ = ûᵀ M v both through this M
              and through v; what moves û does not count, because it keeps length 1 and so moves across M v:

        dσ = ûᵀ dM v + ûᵀ M dv      dv = (1 − v vᵀ) dMᵀ u₀ / n      vᵀ Mᵀ û = σ
           = <S, dM>,               S = û vᵀ + σ/n · u₀ (M̂ᵀ û − v)ᵀ
        dM = (D − <D, M̂> S) / σ

              The second term of S, of rank one as the first, vanishes once u has converged, for then M̂ᵀ û = v. Miyato
              et al. (2018, equation 12) have only the first. With both, dM is the slope of what was computed, at any u.

    References: Miyato et al., 2018, algorithm 1.
    """

    never_zero = ("u",)  # it would stay 0, and nothing be normalised

    def __init__(self, layer: Dense | Conv2D | ConvTranspose2D, *, rng: Rng = 0) -> None:
        super().__init__()
        if type(layer) not in (Dense, Conv2D, ConvTranspose2D):  # a class of yours may use W otherwise
            what = repr(layer) if isinstance(layer, Layer) else type(layer).__name__
            raise ArgumentError(
                f"SpectralNorm: expected a Dense, Conv2D or ConvTranspose2D, whose W it can divide, got {what}. "
                "Wrap each of these layers by itself."
            )
        if layer._bound:
            raise ArgumentError(
                f"SpectralNorm: {layer.name} is part of a network already. Wrap the layer before the network is built, "
                "or give a copy: layer.copy()."
            )
        self._inner = layer.copy()
        for key, value in self._inner.params.items():
            self.add_param(key, value)
        self._inner.params, self._inner.grads = {}, {}  # it gets others for each pass
        self.input_shape = layer.input_shape
        W = self.params["W"]
        u = as_generator(rng).standard_normal(W.size // W.shape[-1]).astype(W.dtype)
        self.buffers["u"] = to_backend(u, ops_of(W))
        for _ in range(WARM_UP):
            self.normalise(train=True)

    def apply(self, x: Array, train: bool) -> tuple[Array, Any]:
        normalised = self.normalise(train)
        y, cache = self.inner(normalised.W).apply(x, train)
        return y, (cache, normalised)

    def normalise(self, train: bool) -> Normalised:
        """One step of the power iteration, and Ŵ."""
        W, u0 = self.params["W"], self.buffers["u"].copy()
        M, ops = W.reshape(-1, W.shape[-1]), ops_of(W)  # (R, K)
        a = ops.matmul(M.T, u0)
        n = _norm(a)
        v = a / n
        b = ops.matmul(M, v)
        sigma = _norm(b)
        u = b / sigma
        if train:
            self.buffers["u"][...] = ops.xp.where(ops.xp.any(u), u, u0)
        return Normalised(W / sigma, sigma, n, u0, v, u)

    def gradients(self, cache: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        of_inner, normalised = cache
        dx, gradients = self.inner(normalised.W).gradients(of_inner, dy)
        return dx, {**gradients, "W": normalised.slope(gradients["W"])}

    def inner(self, W: Array) -> Layer:
        """The layer inside with the weights ``W``, which shares all its other arrays and settings with this one."""
        inner = copy.copy(self._inner)
        inner.name, inner.params = self.name, {**self.params, "W": W}
        return inner

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.inner(self.params["W"]).output_shape(input_shape)

    def __repr__(self) -> str:
        return f"SpectralNorm({self.inner(self.params['W'])!r})"


class Normalised(NamedTuple):
    """Ŵ = W/σ, and what the slope of σ is made of."""

    W: Array  #: Ŵ, shaped like W
    sigma: Array  #: 0-d, as n
    n: Array
    u0: Array  #: (R,)
    v: Array  #: (K,)
    u: Array  #: û (R,)

    def slope(self, D: Array) -> Array:
        """dW for D = ∂L/∂Ŵ (shaped like W)."""
        W, sigma, n, u0, v, u = self
        ops, M = ops_of(D), W.reshape(-1, W.shape[-1])  # M̂ (R, K)
        D = D.reshape(M.shape)
        along = (D * M).sum()  # <D, M̂>
        D = D - ops.xp.outer(along * u, v)
        D -= ops.xp.outer((along * sigma / n) * u0, ops.matmul(M.T, u) - v)
        D /= sigma
        return D.reshape(W.shape)


def _norm(a: Array) -> Array:
    """‖a‖, or 1 if that is 0, without looking at the number, for which whoever computes it elsewhere would wait."""
    xp = get_xp(a)
    norm = xp.linalg.norm(a)
    return xp.where(norm > 0.0, norm, norm.dtype.type(1.0))
