"""What a classifier minimises."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops import Array, get_xp
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
