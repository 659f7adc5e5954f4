r"""What a penalty needs of a layer: how its output moves along v, and how that changes. Looked up by exact class.

For a layer y = f(x; θ) with the Jacobian J = ∂y/∂x, a rule is two pure functions:

    tangent(layer, cache, v) -> u                               u = J v
    second_order(layer, cache, v, g) -> (dx, {key: dparam})     the gradient of the number gᵀ J v, v and g constant

v is an array like x, g one like y, and ``cache`` what ``layer.apply`` has returned beside y. dx = ∂(gᵀ J v)/∂x is None
where that is zero for every x: a layer that is (piecewise) linear in x has no curvature. Parameters that gᵀ J v does
not depend on, such as a bias, are left out. All of it is in new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError, SecondOrderError
from ..ops import Array

Tangent = Callable[[Any, Any, Array], Array]
SecondOrder = Callable[[Any, Any, Array, Array], tuple[Array | None, Mapping[str, Array]]]
Joint = Callable[[Any, Any, Array, Array, Array, bool], None]


def _transposed(layer: Any, cache: Any, v: Array) -> Array:
    return layer.input_gradient(cache, v)


@dataclass(frozen=True)
class Rule:
    """What is registered for one class of layers; see :func:`register`."""

    second_order: SecondOrder
    tangent: Tangent = _transposed
    joint: Joint | None = None
    symmetric: bool = False

    def add(self, layer: Any, cache: Any, v: Array, g: Array) -> Array | None:
        """Add ∂(gᵀ J v)/∂θ to the layer's ``grads``; return dx."""
        dx, gradients = self.second_order(layer, cache, v, g)
        for key, value in gradients.items():
            layer.grads[key] += value
        return dx


RULES: dict[type, Rule] = {}


def register(
    kind: type,
    *,
    tangent: Tangent | None = None,
    second_order: SecondOrder | None = None,
    symmetric: bool = False,
    joint: Joint | None = None,
    like: type | None = None,
) -> None:
    """Say how penalties differentiate through a class of layers, or replace what was said before.

    Parameters
    ----------
    kind : the class. A class derived from it inherits nothing: it may compute something else.
    tangent, second_order : the two functions of :mod:`tinygan.penalties.rules`, which
        :func:`tinygan.testing.check_second_order` checks.
    symmetric : True in the place of a tangent, if J is its own transpose, as that of a function number by number: then
        J v is what the layer's backward pass makes of v.
    joint : a shortcut, if one sum serves for ``second_order(v, g)`` and for the backward pass of ``share · g``, where
        ``share`` has a number for each sample, (N, 1). ``joint(layer, cache, v, g, share, add)`` adds both to
        ``layer.grads``, or writes them over what is there. A layer that is linear in x and in W has B(v, g) in the one
        and B(x, share · g) in the other, for one bilinear B, and so B(v + share · x, g) in all.
    like : in the place of these, a class that computes the same, such as the one that ``kind`` is derived from.

    Examples
    --------
    >>> from tinygan.layers import Layer
    >>> class Square(Layer):
    ...     def apply(self, x, train):
    ...         return x * x, x
    ...     def gradients(self, x, dy):
    ...         return 2.0 * x * dy, {}
    >>> register(
    ...     Square,
    ...     tangent=lambda layer, x, v: 2.0 * x * v,  # or symmetric=True
    ...     second_order=lambda layer, x, v, g: (2.0 * v * g, {}),
    ... )
    """
    if not isinstance(kind, type):
        raise ArgumentError(f"register: expected a class of layers, got {kind!r}; write type(layer).")
    if like is not None:
        if not isinstance(like, type) or like not in RULES:
            raise ArgumentError(f"register: nothing is registered for {like!r}, which {kind.__name__} shall be like.")
        RULES[kind] = RULES[like]
    elif not callable(second_order) or callable(tangent) == symmetric:
        raise ArgumentError(
            f"register: {kind.__name__} needs two functions, tangent= and second_order= (or symmetric=True for the "
            "first of them), or like=."
        )
    else:
        RULES[kind] = Rule(second_order, tangent or _transposed, joint, symmetric)


def rule_of(layer: Any) -> Rule:
    """The rule for layers of exactly this class.

    Raises
    ------
    SecondOrderError
        There is none.
    """
    if type(layer) not in RULES:
        kind = type(layer)
        base = next((base.__name__ for base in kind.__mro__[1:] if base in RULES), None)
        inherited = f" (or like={base}, if it computes the same as that)" if base else ""
        raise SecondOrderError(
            f"{getattr(layer, 'name', kind.__name__)}: a gradient penalty differentiates D's own gradient, but how, "
            f"nobody has said for the class {kind.__name__}. Say it with tinygan.penalties.register({kind.__name__}, "
            f"tangent=..., second_order=...){inherited}; its docstring says what they return, "
            "tinygan.testing.check_second_order whether they are right. Or leave the penalty or the layer out."
        )
    return RULES[type(layer)]
