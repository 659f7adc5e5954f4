r"""A critic is kept smooth by adding to its loss

    P = mean_n p(q_n),      q_n = ‖g_n‖²,   g = ∂(Σ_n s_n)/∂x,   s = D(x)

over some points x: g_n is the gradient of sample n's logit for that sample. What differs from paper to paper is only
where x lies and what p is:

| class                    | x                                                | p(q)                        |
|--------------------------|--------------------------------------------------|-----------------------------|
| :class:`R1`              | real samples                                     | γ/2 · q                     |
| :class:`R2`              | generated samples                                | γ/2 · q                     |
| :class:`GradientPenalty` | between pairs of both, ε real + (1 − ε) fake     | weight · (√q − target)²     |

How P is differentiated for D's weights is in :mod:`tinygan.penalties.gradient`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, Setting, ShapeError, positive_int, positive_or_0, value_at
from ..layers.starting import Rng, as_generator, flag
from ..network import Pass, Sequential
from ..ops import Array, as_array, get_xp, ops_of
from .gradient import pay, penalise, points_of


class _Payable:
    """What one penalty and several have in common: D can pay them, in a GAN's step or by themselves."""

    def __add__(self, other: Any) -> Sum:
        return Sum(self, other) if isinstance(other, _Payable) else NotImplemented

    def terms(self) -> tuple[Penalty, ...]:
        """The penalties that this is the sum of."""
        raise NotImplementedError

    def __call__(self, discriminator: Sequential, real: Array, fake: Array, rng: Rng, *, t: int = 0) -> Array:
        """Return P, a 0-d array, and add its gradient to ``discriminator.grad``, whether ``t`` is due or not.

        Parameters
        ----------
        discriminator : Sequential, samples (N, ...) -> logits (N, 1); in training mode, with its parameters unchanged.
        real, fake : (N, ...) samples, of the discriminator's dtype and backend.
        rng : Generator or seed of what the penalty draws, on the host whatever the backend.
        t : the step that a schedule is asked for.

        Raises
        ------
        SecondOrderError
            A layer of D has no rule; the message names it.
        ShapeError
            There are not as many real as generated samples or points, or D gives more than one logit for each.
        ArgumentError
            D is no Sequential.
        """
        penalties, D = self.terms(), discriminator
        if not isinstance(D, Sequential):
            raise ArgumentError(f"{penalties[0]!r}: D must be a tinygan.Sequential, got {type(D).__name__}.")
        real, fake = as_array(real), as_array(fake)
        ops = ops_of(real, fake)
        if real.shape != fake.shape:
            raise ShapeError(
                f"{penalties[0]!r}: real samples {real.shape} and generated ones {fake.shape} must be alike."
            )
        D.check_input(real)
        rng = as_generator(rng)
        draws = ops.place(tuple(penalty.decide(len(real), rng, t) for penalty in penalties), real)
        points = points_of(penalties, real, fake, draws)
        return penalise(D, penalties, points, draws)


class Penalty(_Payable):
    """What all penalties share: ``penalty(D, real, fake, rng)`` returns P and adds dP/dθ to ``D.grad``.

    A penalty of your own writes :meth:`points` and :meth:`of_squares`, and :meth:`decide` if it draws something or its
    numbers depend on the step. :class:`tinygan.GAN` asks for these only, so that several penalties share their passes
    through D: a ``__call__`` of your own is not heard there. ``p + q`` is both together.

    Parameters
    ----------
    every : :class:`tinygan.GAN` applies the penalty in each every-th step only, and then ``every`` times as strongly
        (*lazy* regularisation: Karras et al., 2020, appendix B). P and its gradient have that factor.
    """

    every = Setting(positive_int)

    def __init__(self, *, every: int = 1) -> None:
        self.every = every

    # ---- what a penalty of one's own writes --------------------------------------------------------------------------

    def decide(self, n: int, rng: np.random.Generator, t: int, /) -> Any:
        """Return what step ``t`` needs for n samples: NumPy arrays and numbers, in (nested) tuples.

        It is drawn on the host, and where the samples live by the time that the other two get it.
        """
        return ()

    def points(self, real: Array, fake: Array, drawn: Any, /) -> Array:
        """Return x (N, ...), where the gradient is looked at: ``real`` itself, ``fake`` itself, or new samples."""
        raise NotImplementedError(f"{type(self).__name__} has no points()")

    def of_squares(self, q: Array, drawn: Any, /) -> tuple[Array, Array]:
        """Return p(q) and p'(q) for squared norms q (N,)."""
        raise NotImplementedError(f"{type(self).__name__} has no of_squares()")

    # ---- what a GAN asks ---------------------------------------------------------------------------------------------

    def draw(self, n: int, rng: np.random.Generator, t: int) -> Any | None:
        """Return what :meth:`decide` says if the penalty is due at step ``t``, else None."""
        return self.decide(n, rng, t) if t % self.every == 0 else None

    def store_gradients(
        self, D: Sequential, x: Array, logits: Array, d_cache: Pass, d_logits: Array, drawn: Any, *, share: float = 1.0
    ) -> Array:
        """Return P, and write the gradients of D's loss and of P into ``D.grad``.

        Parameters
        ----------
        D : the discriminator.
        x, logits, d_cache : real samples, then as many generated ones; their logits; and the pass that has led to them,
            in which both halves were batches of their own.
        d_logits : gradient of D's loss with respect to the logits.
        drawn : what :meth:`draw` gave, where x lives.
        share : a factor of P and its gradient: the part that these samples have of a batch of several processes. (In
            d_logits it is already.)
        """
        return pay(D, [self], [drawn], x, logits, d_cache, d_logits, share)

    def terms(self) -> tuple[Penalty, ...]:
        return (self,)

    def __repr__(self) -> str:
        return _call(self)


class Sum(_Payable):
    """Several penalties, as ``p + q`` makes them: their sum, from as few passes through D as possible.

    Layers that couple samples see the points of each penalty apart.
    """

    def __init__(self, *penalties: _Payable) -> None:
        if not penalties:
            raise ArgumentError("Sum: at least one penalty is needed, got none.")
        self.penalties = tuple(term for penalty in penalties for term in penalty.terms())

    def draw(self, n: int, rng: np.random.Generator, t: int) -> tuple | None:
        """As :meth:`Penalty.draw`, of each; None if none is due."""
        drawn = tuple(penalty.draw(n, rng, t) for penalty in self.penalties)
        return None if all(of_one is None for of_one in drawn) else drawn

    def store_gradients(
        self, D: Sequential, x: Array, logits: Array, d_cache: Pass, d_logits: Array, drawn: Any, *, share: float = 1.0
    ) -> Array:
        """As :meth:`Penalty.store_gradients`, of those that are due."""
        due = [(p, of_p) for p, of_p in zip(self.penalties, drawn, strict=True) if of_p is not None]
        return pay(D, [p for p, _ in due], [of_p for _, of_p in due], x, logits, d_cache, d_logits, share)

    def terms(self) -> tuple[Penalty, ...]:
        return self.penalties

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.penalties))


class R1(Penalty):
    r"""Zero-centred penalty at real samples (Mescheder et al., 2018, equation 9): P = γ/2 · mean_n ‖g_n‖².

    Parameters
    ----------
    gamma : weight γ ≥ 0, or a function of the step, such as those of :mod:`tinygan.runs.schedules`.
    every : see :class:`Penalty`.
    """

    gamma = Setting(positive_or_0, besides=Callable)

    def __init__(self, gamma: float | Callable[[int], float] = 10.0, *, every: int = 1) -> None:
        super().__init__(every=every)
        self.gamma = gamma

    def decide(self, n: int, rng: np.random.Generator, t: int) -> float:
        return 0.5 * value_at(self.gamma, t, f"{type(self).__name__}: gamma")

    def points(self, real: Array, fake: Array, drawn: Any) -> Array:
        return real

    def of_squares(self, q: Array, half: float | Array) -> tuple[Array, Array]:
        return half * q, get_xp(q).ones_like(q) * half

    def __repr__(self) -> str:
        return _call(self, gamma=self.gamma)


class R2(R1):
    r"""Zero-centred penalty at generated samples (Mescheder et al., 2018, equation 10): P = γ/2 · mean_n ‖g_n‖²."""

    def points(self, real: Array, fake: Array, drawn: Any) -> Array:
        return fake


class GradientPenalty(Penalty):
    r"""Penalty on the distance of ‖g‖ from a target, between real and generated samples (Gulrajani et al., 2017).

    Parameters
    ----------
    weight : λ ≥ 0, or a function of the step.
    target : the norm that g shall have, at least 0. 0 is the zero-centred penalty (Thanh-Tung et al., 2019).
    one_sided : whether norms below the target are left alone (Gulrajani et al., 2017, section 4; Petzka et al., 2018).
    every : see :class:`Penalty`.

    Notes
    -----
    x_n = ε_n real_n + (1 − ε_n) fake_n,      one ε_n for each sample, uniform in [0, 1): ``rng.random(N)``
    P   = λ · mean_n (‖g_n‖ − target)²,       one-sided: max(0, ‖g_n‖ − target)²
    p'(q) = λ · (1 − target / √q)             at q = 0, where the norm has no derivative, 0 is taken

    The norm is over all axes of a sample: one number for each, whatever its shape.
    """

    weight = Setting(positive_or_0, besides=Callable)
    target = Setting(positive_or_0)
    one_sided = Setting(flag)

    def __init__(
        self,
        weight: float | Callable[[int], float] = 10.0,
        target: float = 1.0,
        *,
        one_sided: bool = False,
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.weight, self.target, self.one_sided = weight, target, one_sided

    def decide(self, n: int, rng: np.random.Generator, t: int) -> tuple[float, np.ndarray]:
        return value_at(self.weight, t, "GradientPenalty: weight"), rng.random(n)

    def points(self, real: Array, fake: Array, drawn: Any) -> Array:
        _, epsilon = drawn
        x = real - fake
        x *= epsilon.astype(real.dtype).reshape(-1, *[1] * (real.ndim - 1))
        x += fake
        return x

    def of_squares(self, q: Array, drawn: Any) -> tuple[Array, Array]:
        xp, (weight, _) = get_xp(q), drawn
        norm = xp.sqrt(q)
        off = norm - self.target
        if self.one_sided:
            off = xp.maximum(off, 0.0)
        # 0 for a norm of 0, without a branch: off / tiny would be the largest number instead
        slope = weight * off / xp.where(norm > 0.0, norm, norm.dtype.type(1.0)) * (norm > 0.0)
        return weight * off * off, slope

    def __repr__(self) -> str:
        return _call(self, weight=self.weight, target=self.target, one_sided=self.one_sided)


def _call(penalty: Penalty, **settings: Any) -> str:
    """How the penalty is written; a flag that is off, and every=1, go without saying."""
    every = {"every": penalty.every} if penalty.every > 1 else {}
    # A function without a repr of its own would show where in memory it happens to lie
    shown = (
        f"{key}={getattr(value, '__qualname__', None) or repr(value)}"
        for key, value in {**settings, **every}.items()
        if value is not False
    )
    return f"{type(penalty).__name__}({', '.join(shown)})"
