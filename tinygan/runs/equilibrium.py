"""Where both losses lie when G's samples are as the real ones, which the loss curves show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..augment import Adaptive
from ..errors import ArgumentError
from ..losses import Loss


def equilibrium(loss: Loss) -> tuple[float, float | None]:
    r"""Return (L_D, L_G) where G's samples are as the real ones and D answers as well as it then can.

    D cannot tell the two apart, so it gives every sample the same logit s, one that minimises L_D(s, s); that is where
    ∂L_D/∂r + ∂L_D/∂f = 0, a sum that grows with s for a convex loss and is found by bisection. For
    :class:`~tinygan.losses.NonSaturating` s = 0, L_D = 2 log 2 ≈ 1.386 and L_G = log 2 ≈ 0.693.

    A critic may have a choice: any s from −1 to 1 with :class:`~tinygan.losses.Hinge`, any at all with
    :class:`~tinygan.losses.Wasserstein` and :class:`~tinygan.losses.Relativistic`. L_G is None if it depends on that s.
    """
    if not isinstance(loss, Loss):
        raise ArgumentError(f"expected one of tinygan.losses, got {loss!r:.200}.")
    plain = Adaptive.plain(loss)  # looking moves nothing

    def at(s: float) -> tuple[Any, ...]:
        logit = np.full((1, 1), s)
        return plain.discriminator(logit, logit), plain.generator(logit, logit)

    def edge(beyond: Callable[[float], bool]) -> float:
        """Where the slope of L_D(s, s) begins to lie beyond 0."""
        lower, upper = -50.0, 50.0
        for _ in range(60):
            s = (lower + upper) / 2
            (_, d_real, d_fake), _ = at(s)
            lower, upper = (lower, s) if beyond(float(d_real[0, 0] + d_fake[0, 0])) else (s, upper)
        return s

    first, last = edge(lambda slope: slope >= 0.0), edge(lambda slope: slope > 0.0)
    (d_loss, *_), (g_loss, _) = at((first + last) / 2)
    choice = abs(float(at(last)[1][0] - at(first)[1][0]))
    return float(d_loss), float(g_loss) if choice < 1e-6 else None
