"""Does a layer keep the contract? Every rule of :data:`tinygan.testing.contract.RULES`, tried on copies of it."""

from __future__ import annotations

from ..errors import ArgumentError, ContractError, GradientError
from ..layers.base import Layer
from ..layers.initializers import Rng
from ..layers.starting import flag
from ..ops import Array
from . import etiquette, mathematics, remembering
from .trial import Rule, Trial

#: The contract, in the order in which it is checked: first whether the layer is right, then how it behaves.
RULES = [r for part in (mathematics, etiquette, remembering) for r in vars(part).values() if isinstance(r, Rule)]


def check_layer(layer: Layer, x: Array, *, gradients: bool = True, rng: Rng = 0) -> None:
    """Check that a layer, or a whole network, keeps the contract that the rest of tinygan relies on.

    The mathematics is judged first, and what the layer may do with others' arrays afterwards.

    Parameters
    ----------
    layer : any Layer; copies of it are examined, in float32 and float64.
    x : a batch for it, best of two samples or more, on its backend; indices for a layer with ``takes_integers``.
    gradients : False to leave out the slowest rule, that the gradients are right in both modes.
    rng : Generator or seed for what is drawn.

    Raises
    ------
    ContractError
        A rule is broken: the message says which, what was found, why it matters and how to mend it.
    GradientError
        A gradient is wrong, see :func:`tinygan.testing.check_gradients`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygan.layers import Dense
    >>> check_layer(Dense(3, 2), np.ones((4, 3)))
    """
    if not isinstance(layer, Layer):
        raise ArgumentError(f"check_layer: expected a tinygan Layer, got {type(layer).__name__}. Derive from Layer.")
    gradients = flag(gradients, "check_layer: gradients")
    trial = Trial(layer, x, rng)
    for rule in RULES:
        if rule is mathematics.gradients_are_right and not gradients:
            continue
        try:
            problem = next(rule.check(trial), None)
        except GradientError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__} was raised: {error}"
        if problem:
            raise ContractError(f"{layer.name}: {rule.what}. Found: {problem}. Why: {rule.why} Mend: {rule.mend}")
