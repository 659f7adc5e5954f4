"""What a classifier, or a network that fits numbers, minimises."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import Array, get_xp, sigmoid, softplus
from .adversarial import check_logits


class SoftmaxCrossEntropy:
    r"""How surprised a classifier is by the right answer; for judging samples, not for the game itself.

    Notes
    -----
    Shapes    s (N, K) logits   labels (N,) integers in [0, K)

    Value     L = −mean_n log p[n, labels[n]],    p[n,k] = e^s[n,k] / Σ_j e^s[n,j]
    Gradient  ∂L/∂s[n,k] = (p[n,k] − [k = labels[n]]) / N
    The largest logit of a row is subtracted first, which changes no p and keeps every exponent at or below 0.
    """

    def __call__(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Return (L, ∂L/∂s).

        Raises
        ------
        ShapeError, ArgumentError
            Labels do not fit the logits, or (looked at on the CPU only, where it costs no waiting) are not in [0, K).
        """
        check_logits(self, logits)
        xp = get_xp(logits, labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
            raise ShapeError(
                "SoftmaxCrossEntropy: expected logits (N, K) and integer labels (N,), "
                f"got {logits.shape} and {labels.dtype} {labels.shape}."
            )
        n, k = logits.shape
        if xp is np and not (labels.min() >= 0 and labels.max() < k):
            raise ArgumentError(
                f"SoftmaxCrossEntropy: labels must be in [0, {k}), got {labels.min()} to {labels.max()}."
            )
        right = xp.arange(k)[None, :] == labels[:, None]  # (N, K), one True a row
        s = logits - logits.max(axis=1, keepdims=True)
        p = xp.exp(s)
        total = p.sum(axis=1, keepdims=True)
        value = xp.mean(xp.log(total)) - xp.sum(s * right) / n
        p /= total
        p -= right
        p /= n
        return value, p


class BinaryCrossEntropy:
    r"""How surprised a classifier of two classes is, or of several that do not exclude each other; from logits.

    Notes
    -----
    Shapes    s (N, ...) logits   t (N, ...) targets in [0, 1], of the logits' shape and dtype; M numbers in all

    Value     L = −1/M Σ t log σ(s) + (1 − t) log(1 − σ(s)) = 1/M Σ softplus(s) − t s
    Gradient  ∂L/∂s = (σ(s) − t) / M
    """

    def __call__(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        """Return (L, ∂L/∂s).

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            Targets do not fit the logits, or (looked at on the CPU only, where it costs no waiting) are not in [0, 1].
        """
        xp = _require_alike(self, logits, targets)
        if xp is np and not (targets.min() >= 0.0 and targets.max() <= 1.0):
            got = f"{targets.min()} to {targets.max()}"
            raise ArgumentError(f"BinaryCrossEntropy: targets must be in [0, 1], got {got}.")
        value = xp.mean(softplus(logits) - targets * logits)
        return value, (sigmoid(logits) - targets) / logits.size


class MeanSquaredError:
    r"""How far numbers are from those that they should be.

    Notes
    -----
    Shapes    y, t (N, ...), of one shape and dtype; M numbers in all
    Value     L = 1/M Σ (y − t)²
    Gradient  ∂L/∂y = 2 (y − t) / M
    """

    def __call__(self, y: Array, targets: Array) -> tuple[Array, Array]:
        """Return (L, ∂L/∂y); ShapeError or DTypeError if the targets do not fit."""
        xp = _require_alike(self, y, targets)
        off = y - targets
        return xp.mean(off * off), off * (2.0 / off.size)


def _require_alike(loss: object, y: Array, targets: Array) -> Any:
    """The library of both arrays, which must be alike."""
    xp, name = get_xp(y, targets), type(loss).__name__
    if y.shape != targets.shape or y.size == 0:
        raise ShapeError(f"{name}: expected targets of the shape {y.shape}, at least one number, got {targets.shape}.")
    if y.dtype.kind != "f" or y.dtype != targets.dtype:
        mend = f"targets.astype('{y.dtype}')" if y.dtype.kind == "f" else "floats are needed"
        raise DTypeError(f"{name}: expected targets of the dtype {y.dtype}, got {targets.dtype}; {mend}.")
    return xp
