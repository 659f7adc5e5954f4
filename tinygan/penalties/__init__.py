r"""Penalties on the gradient of D's logits with respect to its input, differentiated exactly, by hand.

``penalty`` says what they are, ``gradient`` and ``derivative`` how they are differentiated, in four passes through D,
and the other files what each layer adds: a *rule*, registered for its exact class (:func:`register`). A layer of the
book knows nothing of it. The book and ``backends`` are imported here; ``parallel``, ``runs`` and ``testing`` use this.
"""

from . import activations, arrangement, conditional, linear, normalization  # noqa: F401  (they register the rules of layers)
from .penalty import R1, R2, GradientPenalty, Penalty, Sum
from .rules import register

__all__ = ["R1", "R2", "GradientPenalty", "Penalty", "Sum", "register"]
