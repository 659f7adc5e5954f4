"""Spectral normalisation: a layer whose weights are divided by their largest singular value."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from ..backend import Array, backend_of, get_xp, to_backend
from ..errors import ArgumentError
from ..initializers import Rng, as_generator
from ..kernels import accumulate
from ..kernels.products import dot, matmul
from .base import GradMode, Layer, Shape
from .convolution import Conv2D, ConvTranspose2D
from .dense import Dense

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

    Tangent   u = J v is the layer's own, with Ŵ: y is linear in x, but for b
    Second order   gᵀ J v depends on Ŵ alone: D is what the layer's own second_order finds, and dM follows as above

    References: Miyato et al., 2018, algorithm 1.
    """

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
            self._add_param(key, value)
        self._inner.params, self._inner.grads = {}, {}  # it gets others for each pass
        self.input_shape = layer.input_shape
        W = self.params["W"]
        u = as_generator(rng).standard_normal(W.size // W.shape[-1]).astype(W.dtype)
        self.buffers["u"] = to_backend(u, backend_of(W))
        for _ in range(WARM_UP):
            self._normalise(train=True)

    def forward(self, x: Array, *, train: bool = True) -> Array:
        self._check_input(x)
        normalised = self._normalise(train)
        inner = self._with(normalised.W)
        y = inner.forward(x, train=train)
        return self._remember(y, inner.take_pass(), normalised)

    def _normalise(self, train: bool) -> _Normalised:
        W, u0 = self.params["W"], self.buffers["u"].copy()
        M, xp = W.reshape(-1, W.shape[-1]), get_xp(W)  # (R, K)
        a = matmul(M.T, u0)
        n = _norm(a)
        v = a / n
        b = matmul(M, v)
        sigma = _norm(b)
        u = b / sigma
        if train:
            self.buffers["u"][...] = xp.where(xp.any(u), u, u0)
        return _Normalised(W / sigma, sigma, n, u0, v, u)

    def backward(self, dy: Array, *, grads: GradMode = "add", need_dx: bool = True) -> Array | None:
        inner_pass, normalised = self._recall(dy, grads)
        inner = self._with(normalised.W, inner_pass, learns=grads != "skip")
        dx = inner.backward(dy, grads="skip" if grads == "skip" else "write", need_dx=need_dx)
        if grads != "skip":
            accumulate(self.grads["W"], normalised.slope(inner.grads["W"]), add=grads == "add")
            if "b" in self.grads:
                accumulate(self.grads["b"], inner.grads["b"], add=grads == "add")
        return dx

    def tangent(self, v: Array) -> Array:
        inner_pass, normalised = self._peek()
        return self._with(normalised.W, inner_pass).tangent(v)

    def second_order(self, v: Array, g: Array) -> None:
        inner_pass, normalised = self._peek()
        inner = self._with(normalised.W, inner_pass, learns=True)
        inner.second_order(v, g)
        self.grads["W"] += normalised.slope(inner.grads["W"])

    def _with(self, W: Array, open_pass: Any = (), *, learns: bool = False) -> Layer:
        """The layer inside with the weights ``W``, this pass open, and gradients of its own, zero, if it learns."""
        inner = copy.copy(self._inner)  # shared: its settings. Not shared: what is set here
        inner.name, inner.params = self.name, {**self.params, "W": W}
        inner.grads = {key: get_xp(p).zeros_like(p) for key, p in inner.params.items()} if learns else {}
        inner.forget()
        inner.restore_pass(open_pass)
        return inner

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._with(self.params["W"]).output_shape(input_shape)

    def __repr__(self) -> str:
        return f"SpectralNorm({self._with(self.params['W'])!r})"


class _Normalised(NamedTuple):
    """Ŵ = W/σ, and what the slope of σ is made of."""

    W: Array  #: Ŵ, shaped like W
    sigma: Array  #: 0-d, as n
    n: Array
    u0: Array  #: (R,)
    v: Array  #: (K,)
    u: Array  #: û (R,)

    def slope(self, D: Array) -> Array:
        """dW for D = ∂L/∂Ŵ (shaped like W), in the memory of D."""
        W, sigma, n, u0, v, u = self
        xp, M = get_xp(D), W.reshape(-1, W.shape[-1])  # M̂ (R, K)
        D = D.reshape(M.shape)
        along = dot(D, M)  # <D, M̂>
        D -= xp.outer(along * u, v)
        D -= xp.outer((along * sigma / n) * u0, matmul(M.T, u) - v)
        D /= sigma
        return D.reshape(W.shape)


def _norm(a: Array) -> Array:
    """‖a‖, or 1 if that is 0, without looking at the number, for which a device would have to wait."""
    norm = get_xp(a).linalg.norm(a)
    return get_xp(a).where(norm > 0.0, norm, norm.dtype.type(1.0))
