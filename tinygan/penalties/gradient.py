r"""P and its gradient, of several penalties at once: alone, or together with that of D's loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..backends.cpu.blocks import sum_of_products
from ..errors import SecondOrderError, ShapeError
from ..network import Pass, Sequential
from ..ops import Array, get_xp
from .derivative import NETWORK, down, second_order_down, steps_of, up
from .rules import RULES

if TYPE_CHECKING:
    from .penalty import Penalty


def pay(
    D: Sequential,
    penalties: Sequence[Penalty],
    draws: Sequence[Any],
    x: Array,
    logits: Array,
    d_cache: Pass,
    d_logits: Array,
    share: float,
) -> Array:
    """Write the gradients of D's loss and of the penalties; see :meth:`Penalty.store_gradients`.

    Two that look at just the samples that D has judged, real and generated ones, use that pass: one pass forward and
    most of one down are saved, a Dropout in D has one mask for both, and running statistics move once.
    """
    _require_network(penalties[0], D)
    n = len(x) // 2
    real, fake = x[:n], x[n:]
    points = points_of(penalties, real, fake, draws)
    if len(points) == 2 and points[0] is fake and points[1] is real:
        penalties, draws, points = penalties[::-1], draws[::-1], points[::-1]
    if len(points) == 2 and points[0] is real and points[1] is fake:
        return _differentiate(D, penalties, draws, x, logits, d_cache, share, d_logits)
    D.store_gradients(d_cache, d_logits, add=False)
    return penalise(D, penalties, points, draws, share)


def points_of(penalties: Sequence[Penalty], real: Array, fake: Array, draws: Sequence[Any]) -> list[Array]:
    """Where each penalty looks."""
    points = [penalty.points(real, fake, drawn) for penalty, drawn in zip(penalties, draws, strict=True)]
    for penalty, x in zip(penalties, points, strict=True):
        if x.shape != real.shape:
            raise ShapeError(f"{penalty!r}: its points are {x.shape}, but the samples {real.shape}.")
    return points


def penalise(
    D: Sequential, penalties: Sequence[Penalty], points: Sequence[Array], draws: Sequence[Any], share: float = 1.0
) -> Array:
    """Add the gradient of several penalties, by one pass over the points of all of them."""
    _require_network(penalties[0], D)
    x = points[0] if len(points) == 1 else get_xp(*points).concatenate(points)
    logits, passed = D.apply(x, True, len(points))
    return _differentiate(D, penalties, draws, x, logits, passed, share)


def _require_network(penalty: Penalty, D: Sequential) -> None:
    if RULES.get(type(D)) is not NETWORK:
        kind = type(D).__name__
        raise SecondOrderError(
            f"{penalty!r}: D is a {kind}, a class that may compute something else than a Sequential. If it does not, "
            f"say so: tinygan.penalties.register({kind}, like=Sequential). If it does, make it a layer of a network, "
            "Sequential(D); it needs a tangent and a second_order as any layer does."
        )


def _differentiate(
    D: Sequential,
    penalties: Sequence[Penalty],
    draws: Sequence[Any],
    x: Array,
    s: Array,
    passed: Pass,
    share: float,
    dy: Array | None = None,
) -> Array:
    """P, and its gradient, by passes down, up and down again (:mod:`tinygan.penalties.derivative`).

    Each penalty has an equal part of the pass x -> s. With ``dy``, that of a loss in s is written as well.
    """
    if s.ndim != 2 or s.shape[1] != 1:
        raise ShapeError(f"{penalties[0]!r}: D must give one logit for a sample, (N, 1), but gives {s.shape}.")
    xp, steps = get_xp(x), steps_of(passed)
    gs = down(steps, xp.ones_like(s))
    g = gs[0].reshape(len(s), -1)  # one row for each logit, over all axes of a sample
    q = sum_of_products("nk,nk->n", g, g)
    n = len(s) // len(penalties)
    value: Any = 0.0
    scale = xp.empty_like(q)
    for k, (penalty, drawn) in enumerate(zip(penalties, draws, strict=True)):
        part = slice(k * n, (k + 1) * n)
        p, slope = penalty.of_squares(q[part], drawn)
        value = value + share * penalty.every * xp.mean(p)
        xp.multiply(slope, 2.0 * share * penalty.every / n, out=scale[part])
    v = (g * scale[:, None]).reshape(x.shape)
    second_order_down(steps, up(steps[:-1], v), gs, dy, alone=not D.couples_samples, add=dy is None)
    return value
