r"""Rules of what works number by number: the activations, and Dropout with the mask of its pass.

For y = f(x) in every place by itself, the Jacobian J is diagonal and its own transpose, so that J v (the tangent) and
Jᵀ dy (the backward pass) are one formula, f'(x) times what came. The derivative of gᵀ J v = Σ g f'(x) v with respect to
x is f''(x) · v · g, in every place by itself again:

| layer           | f''(x) from what its forward keeps                  |
|-----------------|-----------------------------------------------------|
| LeakyReLU, ReLU | 0: linear in pieces                                 |
| ELU             | 0 where x > 0, else y + alpha, because it is α e^x  |
| Softplus        | σ(x) (1 − σ(x)) = (1 − e^−y) e^−y                   |
| SiLU            | σ (1 − σ) (2 + x (1 − 2σ))                          |
| Tanh            | −2 y (1 − y²)                                       |
| Sigmoid         | y (1 − y) (1 − 2y)                                  |
| Dropout         | 0: y = x · m, and u = v · m with the same mask      |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..layers import ELU, Dropout, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from ..ops import Array, get_xp
from .rules import register

Curvature = Callable[[Any, Any, Array, Array], Array]  #: f''(x) · v · g, in new memory


def _slope_times(layer: Any, cache: Any, v: Array) -> Array:
    return layer.input_gradient(cache, v)  # f'(x) · v


def _linear_in_pieces(layer: Any, cache: Any, v: Array, g: Array) -> tuple[None, dict]:
    return None, {}


def _elu(layer: Any, y: Array, v: Array, g: Array) -> Array:
    h = y + layer.alpha
    h *= y <= 0
    h *= v
    h *= g
    return h


def _softplus(layer: Any, y: Array, v: Array, g: Array) -> Array:
    h = get_xp(y).exp(-y)
    h *= _slope_times(layer, y, v)
    h *= g
    return h


def _silu(layer: Any, cache: tuple[Array, Array], v: Array, g: Array) -> Array:
    x, s = cache
    h = 1.0 - 2.0 * s
    h *= x
    h += 2.0
    h *= s
    h *= 1.0 - s
    h *= v
    h *= g
    return h


def _tanh(layer: Any, y: Array, v: Array, g: Array) -> Array:
    h = _slope_times(layer, y, v)
    h *= y
    h *= g
    h *= -2.0
    return h


def _sigmoid(layer: Any, y: Array, v: Array, g: Array) -> Array:
    h = _slope_times(layer, y, v)
    h *= 1.0 - 2.0 * y
    h *= g
    return h


def _register_curved(kind: type, curvature: Curvature) -> None:
    def second_order(layer: Any, cache: Any, v: Array, g: Array) -> tuple[Array, dict]:
        return curvature(layer, cache, v, g), {}

    register(kind, symmetric=True, second_order=second_order)


for straight in (LeakyReLU, ReLU, Dropout):
    register(straight, symmetric=True, second_order=_linear_in_pieces)
_register_curved(ELU, _elu)
_register_curved(Softplus, _softplus)
_register_curved(SiLU, _silu)
_register_curved(Tanh, _tanh)
_register_curved(Sigmoid, _sigmoid)
