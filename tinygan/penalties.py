r"""Penalties on the gradient of D's logits with respect to its input, differentiated exactly, by hand.

A critic is kept smooth by adding to its loss

    P = mean_n p(q_n),      q_n = ‖g_n‖²,   g = ∂(Σ_n s_n)/∂x,   s = D(x)

over some points x: g_n is the gradient of sample n's logit for that sample. What differs from paper to paper is only
where x lies and what p is:

| class                    | x                                                | p(q)                        |
|--------------------------|--------------------------------------------------|-----------------------------|
| :class:`R1`              | real samples                                     | γ/2 · q                     |
| :class:`R2`              | generated samples                                | γ/2 · q                     |
| :class:`GradientPenalty` | between pairs of both, ε real + (1 − ε) fake     | weight · (√q − target)²     |

**The derivative.** P depends on D's weights θ through g, which is a derivative itself. With the chain rule's dP/dg,

    v_n = dP/dg_n = 2/N · p'(q_n) · g_n
    dP/dθ = Σ_n v_n · ∂g_n/∂θ = ∂/∂θ [ 1ᵀ J v ],      because gᵀ = 1ᵀ J, with J = ∂s/∂x, and v is held constant

So four passes do it. Forward: a_l = f_l(a_{l−1}). Down: g_{l−1} = J_lᵀ g_l from g_L = 1, which ends in g = g_0. Up
again, the *tangent*: v_l = J_l v_{l−1} from v_0 = v, how fast each layer's output changes while x moves along v. Down a
last time: what each layer adds to the gradient of g_lᵀ J_l v_{l−1}, see :meth:`tinygan.Sequential.second_order`. Of a
layer that is linear in its weights, such as Dense, this is v_{l−1}ᵀ g_l where an ordinary backward has a_{l−1}ᵀ g_l. A
smooth activation bends: its Jacobian depends on a_{l−1}, and so all the weights below it get a share, the terms with
f'' that are missing wherever v is treated as if it had come through a linear network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arguments import positive_int, positive_or_0
from .backend import Array, backend_of, get_xp
from .errors import ArgumentError, SecondOrderError, ShapeError
from .feeds import feed
from .initializers import Rng, as_generator
from .kernels.products import sum_of_products
from .network import Sequential
from .schedules import value_at


class Penalty:
    """What all penalties share: ``penalty(D, real, fake, rng)`` returns P and adds dP/dθ to ``D.grad``.

    A penalty of your own writes :meth:`points` and :meth:`of_squares`. :class:`tinygan.GAN` asks for these two only, so
    that several penalties share their passes through D: a ``__call__`` of your own is not heard there.

    Parameters
    ----------
    every : :class:`tinygan.GAN` applies the penalty in each every-th step only, and then ``every`` times as strongly
        (*lazy* regularisation: Karras et al., 2020, appendix B). P and its gradient have that factor.
    """

    every = 1

    def __init__(self, *, every: int = 1) -> None:
        self.every = positive_int(every, f"{type(self).__name__}: every")

    def points(self, real: Array, fake: Array, rng: np.random.Generator) -> Array:
        """Return x (N, ...), where the gradient is looked at."""
        raise NotImplementedError(f"{type(self).__name__} has no points()")

    def of_squares(self, q: Array, t: int) -> tuple[Array, Array]:
        """Return p(q) and p'(q) for squared norms q (N,), at step ``t`` of training."""
        raise NotImplementedError(f"{type(self).__name__} has no of_squares()")

    def __call__(self, discriminator: Sequential, real: Array, fake: Array, rng: Rng, *, t: int = 0) -> Array:
        """Return P, a 0-d array, and add its gradient to ``discriminator.grad``.

        Parameters
        ----------
        discriminator : Sequential, samples (N, ...) -> logits (N, 1); in training mode, with its parameters unchanged.
        real, fake : (N, ...) samples, of the discriminator's dtype and backend.
        rng : Generator or seed of what the penalty draws, on the host whatever the backend.
        t : the step that a schedule is asked for.

        Raises
        ------
        SecondOrderError
            A layer of D has no tangent or second-order part; the message names it.
        ShapeError
            There are not as many real as generated samples or points, or D gives more than one logit for each.
        ArgumentError
            D is no Sequential.
        """
        return penalise([self], discriminator, real, fake, as_generator(rng), t=t)

    def __repr__(self) -> str:
        return _call(self)


class R1(Penalty):
    r"""Zero-centred penalty at real samples (Mescheder et al., 2018, equation 9): P = γ/2 · mean_n ‖g_n‖².

    Parameters
    ----------
    gamma : weight γ ≥ 0, or a function of the step, such as those of :mod:`tinygan.schedules`.
    every : see :class:`Penalty`.
    """

    def __init__(self, gamma: float | Callable[[int], float] = 10.0, *, every: int = 1) -> None:
        super().__init__(every=every)
        self.gamma = gamma if callable(gamma) else positive_or_0(gamma, f"{type(self).__name__}: gamma")

    def points(self, real: Array, fake: Array, rng: np.random.Generator) -> Array:
        return real

    def of_squares(self, q: Array, t: int) -> tuple[Array, Array]:
        half = feed(lambda t: 0.5 * value_at(self.gamma, t, f"{type(self).__name__}: gamma"), q, t)
        return half * q, get_xp(q).ones_like(q) * half

    def __repr__(self) -> str:
        return _call(self, gamma=self.gamma)


class R2(R1):
    r"""Zero-centred penalty at generated samples (Mescheder et al., 2018, equation 10): P = γ/2 · mean_n ‖g_n‖²."""

    def points(self, real: Array, fake: Array, rng: np.random.Generator) -> Array:
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

    def __init__(
        self,
        weight: float | Callable[[int], float] = 10.0,
        target: float = 1.0,
        *,
        one_sided: bool = False,
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.weight = weight if callable(weight) else positive_or_0(weight, "GradientPenalty: weight")
        self.target = positive_or_0(target, "GradientPenalty: target")
        self.one_sided = bool(one_sided)

    def points(self, real: Array, fake: Array, rng: np.random.Generator) -> Array:
        shape, dtype = (len(real), *[1] * (real.ndim - 1)), real.dtype
        x = real - fake
        x *= feed(lambda: rng.random(shape[0]).astype(dtype).reshape(shape), real)
        x += fake
        return x

    def of_squares(self, q: Array, t: int) -> tuple[Array, Array]:
        xp, weight = get_xp(q), feed(lambda t: value_at(self.weight, t, "GradientPenalty: weight"), q, t)
        norm = xp.sqrt(q)
        off = norm - self.target
        if self.one_sided:
            off = xp.maximum(off, 0.0)
        # 0 for a norm of 0, without a branch: off / tiny would be the largest number instead
        slope = weight * off / xp.where(norm > 0.0, norm, norm.dtype.type(1.0)) * (norm > 0.0)
        return weight * off * off, slope

    def __repr__(self) -> str:
        return _call(self, weight=self.weight, target=self.target, one_sided=self.one_sided)


def penalise(
    penalties: Sequence[Penalty],
    discriminator: Sequential,
    real: Array,
    fake: Array,
    rng: np.random.Generator,
    *,
    t: int = 0,
    share: float = 1.0,
) -> Array:
    """Return the sum of several penalties, and add its gradient: one pass over the points of all of them together.

    Otherwise as calling each of them in turn. Layers that couple samples see the points of each penalty apart. Sum and
    gradient have the factor ``share``, the part of these samples in a batch of several processes.
    """
    if not penalties:
        raise ArgumentError("penalise: at least one penalty is needed, got none.")
    D = discriminator
    if not isinstance(D, Sequential):
        raise ArgumentError(f"{penalties[0]!r}: D must be a tinygan.Sequential, got {type(D).__name__}.")
    backend_of(real, fake)  # refuses what is no array
    if real.shape != fake.shape:
        raise ShapeError(f"{penalties[0]!r}: real samples {real.shape} and generated ones {fake.shape} must be alike.")
    points = [penalty.points(real, fake, rng) for penalty in penalties]
    for penalty, x in zip(penalties, points, strict=True):
        if x.shape != real.shape:
            raise ShapeError(f"{penalty!r}: its points are {x.shape}, but the samples {real.shape}.")
    try:
        if D.parts is None:  # a layer that mixes the samples of a batch, and cannot be told which belong together
            apart = zip(penalties, points, strict=True)
            return sum(_differentiate([penalty], D, x, D.forward(x), t, share) for penalty, x in apart)
        before, D.parts = D.parts, len(points)
        try:
            x = points[0] if len(points) == 1 else get_xp(real).concatenate(points)
            return _differentiate(penalties, D, x, D.forward(x), t, share)
        finally:
            D.parts = before
    finally:
        D.forget()


def serves(penalties: Sequence[Penalty]) -> bool:
    """Whether these can use the pass in which D judges real and generated samples for its loss: R1 with R2."""
    looks = [None if "points" in vars(penalty) else type(penalty).points for penalty in penalties]  # None: on its own
    return len(looks) == 2 and set(looks) == {R1.points, R2.points}


def penalise_in_the_pass_of_the_loss(
    penalties: Sequence[Penalty],
    discriminator: Sequential,
    x: Array,
    s: Array,
    dy: Array,
    *,
    t: int = 0,
    share: float = 1.0,
) -> Array:
    """As a backward of ``dy`` with grads="write", then ``penalise(penalties, ...)``, with a forward pass less.

    So a Dropout in D has one mask for both, and running statistics move once.

    Parameters
    ----------
    penalties : two, one of which looks at real and one at generated samples.
    discriminator : with an open pass x -> s in which both halves of the batch are parts of their own.
    x, s : real samples, then as many generated ones, and their logits.
    dy : gradient of D's loss with respect to s.
    share : as in :func:`penalise`; dy has this factor already.
    """
    D = discriminator
    D.zero_grad()
    try:
        return _differentiate(sorted(penalties, key=lambda p: type(p).points is not R1.points), D, x, s, t, share, dy)
    finally:
        D.forget()


def _differentiate(
    penalties: Sequence[Penalty], D: Sequential, x: Array, s: Array, t: int, share: float, dy: Array | None = None
) -> Array:
    """The passes down, up and down again, for an open forward pass x -> s whose parts belong to one penalty each."""
    if type(D).forward is not Sequential.forward:
        raise SecondOrderError(
            f"{penalties[0]!r}: D is a {type(D).__name__} with a forward of its own. Make it a layer of a network, "
            "Sequential(D); it needs a tangent and a second_order as any layer does."
        )
    if s.ndim != 2 or s.shape[1] != 1:
        raise ShapeError(f"{penalties[0]!r}: D must give one logit for a sample, (N, 1), but gives {s.shape}.")
    xp = get_xp(x)
    gradients = D.input_gradients(xp.ones_like(s))
    g = gradients[0].reshape(len(s), -1)  # one row for each logit, over all axes of a sample
    q = sum_of_products("nk,nk->n", g, g)
    n = len(s) // len(penalties)
    value, scale = 0.0, xp.empty_like(q)
    for k, penalty in enumerate(penalties):
        part = slice(k * n, (k + 1) * n)
        p, slope = penalty.of_squares(q[part], t)
        value = value + share * penalty.every * xp.mean(p)
        xp.multiply(slope, 2.0 * share * penalty.every / n, out=scale[part])
    v = (g * scale[:, None]).reshape(x.shape)
    D.second_order(v, gradients[-1], dy=dy, gradients=gradients, need_dx=False)
    D.forget()
    return value


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
