r"""Is the second order right? Tangents, their adjoints, and the derivatives that gradient penalties need.

For a layer y = f(x; θ) with Jacobian J = ∂y/∂x there are four claims about the rule that is registered for its class
(:mod:`tinygan.penalties.rules`), each checked from outside:

1. ``tangent(layer, cache, v)`` is J v: the slope of f along v, by finite differences of forward passes.
2. It belongs to the backward pass: <u, J v> = <Jᵀ u, v> for random u and v, exactly but for rounding, 1e-12.
3. ``second_order(layer, cache, v, g)`` gives ∂(gᵀ J v)/∂x and ∂(gᵀ J v)/∂θ: finite differences of the number gᵀ J v,
   computed by tangents, which are right by then. And neither changes what it was given: v, g, or the cache.
4. ``joint(layer, cache, v, g, share, add)``, where a rule has that shortcut, stores what the second order of (v, g) and
   the backward pass of share · g make together, which are right by then; it adds, or writes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from ..errors import GradientError, UndecidedError
from ..layers.base import Layer
from ..layers.initializers import Rng, as_generator
from ..ops import Array, to_numpy
from ..penalties.rules import rule_of
from .comparison import GradientReport, checked, verify
from .differences import Undecided, slopes
from .gradients import LayerClaim

ADJOINT = 1e-12  # of ‖u‖ ‖J v‖; rounding leaves about 1e-15
SHORTCUT = 1e-10  # of the norm of a gradient


def check_second_order(
    layer: Layer,
    x: Array,
    *,
    train: bool = True,
    rng: Rng = 0,
    tolerance: float = 1e-6,
    exhaustive: int = 200,
    directions: int = 8,
) -> GradientReport:
    """Check the ``tangent``, ``second_order`` and ``joint`` that are registered for a layer, or those of a network.

    Parameters
    ----------
    layer : Layer or Sequential of any dtype and backend. A float64 copy is examined; yours is not changed.
    x : a batch for it, on its backend.
    train : the mode of the forward pass.
    rng : Generator or seed for v, g and the directions.
    tolerance, exhaustive, directions : as for :func:`tinygan.testing.check_gradients`.

    Returns
    -------
    GradientReport
        Of the third claim. A layer without curvature has zeros there, which ``report.zero`` lists. The fourth is about
        layers alone: a network has no shortcut of its own.

    Raises
    ------
    GradientError
        One of the four claims is wrong, or finite differences cannot tell: there is a kink at x.
    SecondOrderError
        Nothing is registered for the layer's class.

    Examples
    --------
    >>> from tinygan.layers import SiLU
    >>> x = np.random.default_rng(0).standard_normal((4, 3))
    >>> check_second_order(SiLU(), x).zero
    ()
    """
    rng, (tolerance, exhaustive, directions) = as_generator(rng), checked(tolerance, exhaustive, directions)
    claim = SecondOrderClaim(layer, x, train, rng)
    claim.check_tangent(rng, tolerance, directions)
    claim.check_adjoint(rng, directions)
    claim.check_leaves_no_trace(rng)
    size = claim.evaluate(None, claim.points[None]).size
    report = verify(claim, rng.standard_normal((min(size, 4), size)), rng, tolerance, exhaustive, directions)
    claim.check_joint(rng)  # last, since it is measured by what has passed by then
    return report


class SecondOrderClaim(LayerClaim):
    """J v as a function of x (key None), of the parameters, and of v, in which it is linear with the slope Jᵀ g."""

    def __init__(self, layer: Layer, x: Array, train: bool, rng: np.random.Generator) -> None:
        super().__init__(layer, x, train, params=True)
        self.points[V] = rng.standard_normal(self.points[None].shape)

    def name(self, key: Hashable) -> str:
        return "backward's dx" if key is V else f"second_order's {super().name(key)}"

    def owner(self, key: Hashable) -> str:
        return super().owner(None if key is V else key)

    def _output(self, layer: Layer, key: Hashable, value: np.ndarray) -> Array:
        at = self.points | {key: value}
        _, cache = self._apply(layer, at[None])
        return rule_of(layer).tangent(layer, cache, self.put(at[V].copy()))

    def _apply(self, layer: Layer, x: np.ndarray) -> tuple[Array, Any]:
        return layer.apply(self.put(x.copy()), self.train)

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        layer = self.layer.copy()
        layer.zero_grad()
        y, cache = self._apply(layer, self.points[None])
        v, g = self.put(self.points[V].copy()), self.put(dy.reshape(y.shape).copy())
        dx = rule_of(layer).add(layer, cache, v, g)
        grads = {key: np.array(to_numpy(grad)) for key, grad in layer.grads.items()}
        dx = np.zeros_like(self.points[None]) if dx is None else dx
        return dict([(None, dx), *grads.items(), (V, layer.input_gradient(cache, g))])

    # ---- the other claims, and manners -------------------------------------------------------------------------------

    def check_tangent(self, rng: np.random.Generator, tolerance: float, directions: int) -> None:
        x = self.points[None]
        v = rng.standard_normal((directions, *x.shape))
        u = np.stack([self.evaluate(V, one) for one in v])  # (M, I)
        dys = rng.standard_normal((min(u.shape[1], 8), u.shape[1]))
        claimed = dys @ u.T  # (K, M)

        def f(value: np.ndarray) -> np.ndarray:
            y = np.array(to_numpy(self._apply(self.layer.copy() if self.copies else self.layer, value)[0])).ravel()
            self.rewind()
            return y

        try:
            numerical = slopes(f, x, f(x), v, dys, tolerance=tolerance / 2.0)
        except Undecided:
            raise UndecidedError(f"{self.where}: finite differences cannot tell: there is a kink at x.") from None
        norm = max(np.linalg.norm(claimed), np.linalg.norm(numerical.value))
        error = np.linalg.norm(claimed - numerical.value)
        if not error <= tolerance * norm + np.linalg.norm(numerical.noise):
            raise GradientError(
                f"{self.where}: tangent(v) is wrong: it differs from finite differences by {error / norm:.1e} of the "
                f"norm; {tolerance:g} is allowed."
            )

    def check_adjoint(self, rng: np.random.Generator, directions: int) -> None:
        for _ in range(directions):
            layer = self.layer.copy()
            y, cache = self._apply(layer, self.points[None])
            v, u = rng.standard_normal(self.points[None].shape), rng.standard_normal(y.shape)
            along = to_numpy(rule_of(layer).tangent(layer, cache, self.put(v.copy())))
            if along.shape != u.shape:
                raise GradientError(f"{self.where}: tangent(v) has shape {along.shape}, but the output {u.shape}.")
            back = to_numpy(layer.input_gradient(cache, self.put(u.copy())))
            with_tangent, with_backward = float((u * along).sum()), float((back * v).sum())
            size = max(np.linalg.norm(u) * np.linalg.norm(along), np.linalg.norm(back) * np.linalg.norm(v))
            if not abs(with_tangent - with_backward) <= ADJOINT * size:
                raise GradientError(
                    f"{self.where}: tangent and backward are no adjoints: <u, J v> = {with_tangent:.12g}, but "
                    f"<Jᵀ u, v> = {with_backward:.12g}. One of them belongs to another function, or to other values."
                )

    def check_leaves_no_trace(self, rng: np.random.Generator) -> None:
        """Twice gives the same, and nothing that came in is changed, nor any gradient but by ``add``."""
        layer = self.layer.copy()
        layer.zero_grad()
        y, cache = self._apply(layer, self.points[None])
        v, g = rng.standard_normal(self.points[None].shape), rng.standard_normal(y.shape)
        mine, rule = (self.put(v.copy()), self.put(g.copy())), rule_of(layer)
        kept = [(a, np.array(to_numpy(a))) for a in arrays_in(cache)]
        rule.tangent(layer, cache, mine[0])
        if any(to_numpy(grad).any() for grad in layer.grads.values()):
            raise GradientError(f"{self.where}: tangent has changed the gradient of a parameter.")
        rule.add(layer, cache, *mine)
        once = {key: np.array(to_numpy(grad)) for key, grad in layer.grads.items()}
        if not (np.array_equal(to_numpy(mine[0]), v) and np.array_equal(to_numpy(mine[1]), g)):
            raise GradientError(
                f"{self.where}: tangent or second_order has changed v or g, which belong to the caller."
            )
        if not all(np.array_equal(to_numpy(a), before, equal_nan=True) for a, before in kept):
            raise GradientError(
                f"{self.where}: tangent or second_order has changed the cache, which the backward pass needs as it was."
            )
        rule.add(layer, cache, *mine)
        for key, grad in layer.grads.items():
            if not np.allclose(to_numpy(grad), 2.0 * once[key], rtol=1e-10, atol=1e-12):
                raise GradientError(
                    f"{self.where}: second_order for {key!r} is not the same for the second time, or is not added to "
                    "what is there: it returns gradients, and stores none."
                )

    def check_joint(self, rng: np.random.Generator) -> None:
        """Where a rule has a shortcut, it stores what a second order and a backward pass store in turn."""
        joint, what = rule_of(self.layer).joint, f"{self.where}: the joint rule"
        if joint is None:
            return
        for add in (True, False):
            layer, slow = (self.layer.copy() for _ in range(2))
            (y, cache), (_, of_slow) = (self._apply(each, self.points[None]) for each in (layer, slow))
            ours = [rng.standard_normal(shape) for shape in (self.points[None].shape, y.shape, (len(y), 1))]
            before = {key: rng.standard_normal(grad.shape) for key, grad in layer.grads.items()}
            for each in (layer, slow):
                for key, grad in each.grads.items():
                    grad[...] = self.put(before[key].copy())
            v, g, share = given = [self.put(a.copy()) for a in ours]
            kept = [(a, np.array(to_numpy(a))) for a in arrays_in(cache)]
            joint(layer, cache, v, g, share, add)
            if not all(np.array_equal(to_numpy(a), b) for a, b in [*zip(given, ours, strict=True), *kept]):
                raise GradientError(f"{what} has changed v, g, share or the cache, which belong to the caller.")
            slow.store_gradients(of_slow, share.reshape(-1, *[1] * (g.ndim - 1)) * g, add)
            if rule_of(slow).add(slow, of_slow, v, g) is not None:
                raise GradientError(
                    f"{self.where}: there is a joint rule, but second_order returns a gradient for x: a layer that is "
                    "not linear in x has no such shortcut."
                )
            for key, grad in layer.grads.items():
                start = before[key] if add else 0.0
                stored, wanted = to_numpy(grad) - start, to_numpy(slow.grads[key]) - start
                error, norm = np.linalg.norm(stored - wanted), np.linalg.norm(wanted)
                if not error <= SHORTCUT * (norm + np.linalg.norm(before[key])):
                    raise GradientError(
                        f"{what} is wrong: what it {'adds to' if add else 'writes into'} grads[{key!r}] differs from "
                        f"what second_order of (v, g) and the backward pass of share · g make together by "
                        f"{error / (norm or 1.0):.1e} of the norm."
                    )


def arrays_in(cache: Any) -> Iterator[Array]:
    """The arrays in a cache: itself, or what lies in tuples and lists."""
    if isinstance(cache, tuple | list):
        for part in cache:
            yield from arrays_in(part)
    elif hasattr(cache, "dtype") and hasattr(cache, "shape"):
        yield cache


V = "v"  # the key of the tangent; parameters' keys are theirs
