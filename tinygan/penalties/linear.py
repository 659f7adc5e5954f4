r"""Rules of the layers that are linear in x and in W: Dense, the convolutions, and these under SpectralNorm.

Such a layer is y = B(x) + b with one bilinear map of x and W. So

    Tangent       u = J v is the layer itself without b, which stays where it is
    Second order  gᵀ J v is linear in W, and x is not in it: it adds what dW is for v in the place of x, g in that of dy

For Dense that is gᵀ u = Σ_nio g[n,o] v[n,i] W[i,o], so dW = vᵀ g. For SpectralNorm, gᵀ J v depends on Ŵ = W/σ alone:
the layer inside finds D for Ŵ, and dW follows from it as in the backward pass (:class:`tinygan.layers.SpectralNorm`).

Joint with a backward pass: for the dy = share · g of the loss, dW is B(x, share · g) = B(share · x, g), and the sum of
both one product, B(v + share · x, g); db = Σ share · g.
"""

from __future__ import annotations

from typing import Any

from ..layers import Conv2D, ConvTranspose2D, Dense, SpectralNorm
from ..ops import Array, ops_of
from .rules import register, rule_of


def _dense_tangent(layer: Any, x: Array, v: Array) -> Array:
    return ops_of(v).matmul(v, layer.params["W"])


def _dense_second_order(layer: Any, x: Array, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
    return None, {"W": ops_of(g).matmul(v.T, g)}


def _dense_joint(layer: Any, x: Array, v: Array, g: Array, share: Array, add: bool) -> None:
    grads, matmul = layer.grads, ops_of(g).matmul
    moved = share * x
    moved += v
    matmul(moved.T, g, grads["W"], add=add)
    if "b" in grads:
        matmul(share.T, g, grads["b"][None], add=add)


def _conv_tangent(layer: Any, x: Array, v: Array) -> Array:
    return ops_of(v).convolve(v, layer.params["W"], layer.window(x.shape[1:3]))


def _conv_weights(layer: Any, v: Array, g: Array) -> Array:
    return ops_of(g).convolve_weights(v, g, layer.window(v.shape[1:3]))


def _transposed_tangent(layer: Any, x: Array, v: Array) -> Array:
    hw = layer.output_shape(x.shape[1:])[:2]
    return ops_of(v).convolve_adjoint(v, layer.params["W"], hw, layer.window(hw))


def _transposed_weights(layer: Any, v: Array, g: Array) -> Array:
    return ops_of(g).convolve_weights(g, v, layer.window(g.shape[1:3]))


def _register_convolution(kind: type, tangent: Any, weights: Any) -> None:
    def second_order(layer: Any, x: Array, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
        return None, {"W": weights(layer, v, g)}

    def joint(layer: Any, x: Array, v: Array, g: Array, share: Array, add: bool) -> None:
        grads = layer.grads
        moved = share[:, :, None, None] * x
        moved += v
        dW = weights(layer, moved, g)
        if add:
            grads["W"] += dW
        else:
            grads["W"][...] = dW
        if "b" in grads:
            of_samples = g.reshape(len(g), -1, g.shape[-1]).sum(axis=1)  # (N, O)
            ops_of(g).matmul(share.T, of_samples, grads["b"][None], add=add)

    register(kind, tangent=tangent, second_order=second_order, joint=joint)


def _spectral_tangent(layer: Any, cache: Any, v: Array) -> Array:
    of_inner, normalised = cache
    inner = layer.inner(normalised.W)
    return rule_of(inner).tangent(inner, of_inner, v)


def _spectral_second_order(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict[str, Array]]:
    of_inner, normalised = cache
    inner = layer.inner(normalised.W)
    _, gradients = rule_of(inner).second_order(inner, of_inner, v, g)
    return None, {"W": normalised.slope(gradients["W"])}


register(Dense, tangent=_dense_tangent, second_order=_dense_second_order, joint=_dense_joint)
_register_convolution(Conv2D, _conv_tangent, _conv_weights)
_register_convolution(ConvTranspose2D, _transposed_tangent, _transposed_weights)
register(SpectralNorm, tangent=_spectral_tangent, second_order=_spectral_second_order)
