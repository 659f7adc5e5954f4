r"""Is the second order right? Tangents, their adjoints, and the derivatives that gradient penalties need.

For a layer y = f(x; θ) with Jacobian J = ∂y/∂x there are four claims, each checked from outside:

1. ``tangent(v)`` is J v: the slope of f along v, by finite differences of forward passes.
2. It belongs to the backward pass: <u, J v> = <Jᵀ u, v> for random u and v, exactly but for rounding, 1e-12.
3. ``second_order(v, g)`` returns ∂(gᵀ J v)/∂x and adds ∂(gᵀ J v)/∂θ to ``grads``: finite differences of the number
   gᵀ J v, computed by tangents, which are right by then. And it leaves the pass open for the ordinary backward.
4. ``second_order_and_backward(v, g, share)``, where a layer has that shortcut, adds what ``second_order(v, g)`` and
   ``backward(share · g)`` add one after the other, which are right by then, and leaves the pass open too.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ..backend import Array, to_numpy
from ..errors import GradientError, PassError, UndecidedError
from ..initializers import Rng, as_generator
from ..layers.base import Layer
from .comparison import GradientReport, verify
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
    """Check ``tangent``, ``second_order`` and ``second_order_and_backward`` of a layer or a network.

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
        layers alone: a network has no shortcut of its own and uses those of its layers.

    Raises
    ------
    GradientError
        One of the four claims is wrong, or finite differences cannot tell: there is a kink at x.
    SecondOrderError
        The layer has no tangent, or no second order.

    Examples
    --------
    >>> from tinygan.layers import SiLU
    >>> x = np.random.default_rng(0).standard_normal((4, 3))
    >>> check_second_order(SiLU(), x).zero
    ()
    """
    rng = as_generator(rng)
    claim = SecondOrderClaim(layer, x, train, rng)
    claim.check_tangent(rng, tolerance, directions)
    claim.check_adjoint(rng, directions)
    claim.check_leaves_no_trace(rng)
    size = claim.evaluate(None, claim.points[None]).size
    report = verify(claim, rng.standard_normal((min(size, 4), size)), rng, tolerance, exhaustive, directions)
    claim.check_shortcut(rng)  # last, since it is measured by what has passed by then
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
        self._forward(layer, at[None])
        return layer.tangent(self.put(at[V].copy()))

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        layer = self.layer.copy()
        layer.zero_grad()
        y = self._forward(layer, self.points[None])
        v, g = self.put(self.points[V].copy()), self.put(dy.reshape(y.shape).copy())
        dx = layer.second_order(v, g)
        grads = {key: np.array(to_numpy(grad)) for key, grad in layer.grads.items()}
        return {None: np.zeros_like(self.points[None]) if dx is None else dx, **grads, V: layer.backward(g)}

    # ---- the other claims, and manners -------------------------------------------------------------------------------

    def check_tangent(self, rng: np.random.Generator, tolerance: float, directions: int) -> None:
        x = self.points[None]
        v = rng.standard_normal((directions, *x.shape))
        u = np.stack([self.evaluate(V, one) for one in v])  # (M, I)
        dys = rng.standard_normal((min(u.shape[1], 8), u.shape[1]))
        claimed = dys @ u.T  # (K, M)

        def f(value: np.ndarray) -> np.ndarray:
            y = to_numpy(self._forward(layer := self.layer.copy(), value)).ravel()
            layer.forget()
            return y

        try:
            found = slopes(f, x, f(x), v, dys, tolerance=tolerance / 2.0)
        except Undecided:
            raise UndecidedError(f"{self.where}: finite differences cannot tell: there is a kink at x.") from None
        norm = max(np.linalg.norm(claimed), np.linalg.norm(found.value))
        error = np.linalg.norm(claimed - found.value)
        if not error <= tolerance * norm + np.linalg.norm(found.noise):
            raise GradientError(
                f"{self.where}: tangent(v) is wrong: it differs from finite differences by {error / norm:.1e} of the "
                f"norm; {tolerance:g} is allowed."
            )

    def check_adjoint(self, rng: np.random.Generator, directions: int) -> None:
        for _ in range(directions):
            layer = self.layer.copy()
            y = self._forward(layer, self.points[None])
            v, u = rng.standard_normal(self.points[None].shape), rng.standard_normal(y.shape)
            along = to_numpy(layer.tangent(self.put(v.copy())))
            if along.shape != u.shape:
                raise GradientError(f"{self.where}: tangent(v) has shape {along.shape}, but the output {u.shape}.")
            back = to_numpy(layer.backward(self.put(u.copy())))
            there, here = float((u * along).sum()), float((back * v).sum())
            size = max(np.linalg.norm(u) * np.linalg.norm(along), np.linalg.norm(back) * np.linalg.norm(v))
            if not abs(there - here) <= ADJOINT * size:
                raise GradientError(
                    f"{self.where}: tangent and backward are no adjoints: <u, J v> = {there:.12g}, but <Jᵀ u, v> = "
                    f"{here:.12g}. One of them belongs to another function, or to other values."
                )

    def check_leaves_no_trace(self, rng: np.random.Generator) -> None:
        """Twice adds twice as much, nothing that came in is changed, and the backward is what it would have been."""
        layer = self.layer.copy()
        layer.zero_grad()
        y = self._forward(layer, self.points[None])
        v, g = rng.standard_normal(self.points[None].shape), rng.standard_normal(y.shape)
        mine = self.put(v.copy()), self.put(g.copy())
        layer.tangent(mine[0])
        layer.second_order(*mine)
        once = {key: np.array(to_numpy(grad)) for key, grad in layer.grads.items()}
        if not (np.array_equal(to_numpy(mine[0]), v) and np.array_equal(to_numpy(mine[1]), g)):
            raise GradientError(
                f"{self.where}: tangent or second_order has changed v or g, which belong to the caller."
            )
        layer.second_order(*mine)
        for key, grad in layer.grads.items():
            if not np.allclose(to_numpy(grad), 2.0 * once[key], rtol=1e-10, atol=1e-12):
                raise GradientError(
                    f"{self.where}: second_order does not add to grads[{key!r}], or not twice the same."
                )

    def check_shortcut(self, rng: np.random.Generator) -> None:
        """Where ``second_order_and_backward`` returns True it did the work of both; where not, nothing."""
        layer, slow = (self.layer.copy() for _ in range(2))
        y, _ = (self._forward(each, self.points[None]) for each in (layer, slow))
        ours = [rng.standard_normal(shape) for shape in (self.points[None].shape, y.shape, (len(y), 1))]
        before = {key: rng.standard_normal(grad.shape) for key, grad in layer.grads.items()}
        for each in (layer, slow):
            for key, grad in each.grads.items():
                grad[...] = self.put(before[key].copy())
        v, g, share = given = [self.put(a.copy()) for a in ours]
        served, what = layer.second_order_and_backward(v, g, share), f"{self.where}: second_order_and_backward"
        if not all(np.array_equal(to_numpy(a), b) for a, b in zip(given, ours, strict=True)):
            raise GradientError(f"{what} has changed v, g or share, which belong to the caller.")
        if served:
            if slow.second_order(v, g) is not None:
                raise GradientError(
                    f"{what} returns True, but second_order returns a gradient for x: a layer that is not linear in x "
                    "has no such shortcut and returns False."
                )
            slow.backward(share.reshape(-1, *[1] * (g.ndim - 1)) * g)
        for key, grad in layer.grads.items():
            found, wanted = to_numpy(grad) - before[key], to_numpy(slow.grads[key]) - before[key]
            error, norm = np.linalg.norm(found - wanted), np.linalg.norm(wanted)
            if not served and not np.array_equal(to_numpy(grad), before[key]):
                raise GradientError(f"{what} returns False, but has changed grads[{key!r}].")
            if not error <= SHORTCUT * (norm + np.linalg.norm(before[key])):
                raise GradientError(
                    f"{what} is wrong: what it adds to grads[{key!r}] differs from what second_order(v, g) and "
                    f"backward(share · g) add by {error / (norm or 1.0):.1e} of the norm."
                )
        try:
            layer.backward(g)
        except PassError:
            raise GradientError(f"{what} has not left the pass open, as second_order does.") from None


V = "v"  # the key of the tangent; parameters' keys are theirs
