"""Losses with their gradients on the GPU, one launch each; the formulas are in :mod:`tinygan.losses`."""

from __future__ import annotations

from typing import Any

from ...losses import Hinge, LeastSquares, Loss, Minimax, NonSaturating, Relativistic, Wasserstein
from ...losses.adversarial import check_logits
from ...ops import Array, get_xp
from . import launch as cuda

LOSSES = (Minimax, NonSaturating, LeastSquares, Wasserstein, Hinge)  # in the order of losses.cu


def fused(loss: Any) -> Any:
    """What computes the same as this loss in one launch, if it is of exactly one of these classes; else the loss."""
    if type(loss) is Relativistic:
        return FusedRelativistic(loss)
    return FusedLoss(loss) if type(loss) in LOSSES else loss


class FusedLoss:
    """As one of LOSSES."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        check_logits(self.loss, real_logits, fake_logits)
        label = getattr(self.loss, "real_label", 1.0)
        return discriminator(type(self.loss), real_logits, fake_logits, label)

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        check_logits(self.loss, fake_logits)
        return generator(type(self.loss), fake_logits)


class FusedRelativistic:
    """As :class:`tinygan.losses.Relativistic`."""

    def __init__(self, loss: Relativistic) -> None:
        self.loss = loss

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        self.loss._check_pairs(real_logits, fake_logits)
        value, d_real, d_fake = relativistic(real_logits, fake_logits, both=True)
        assert d_fake is not None  # as both were asked for
        return value, d_real, d_fake

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        if real_logits is None:
            return self.loss.generator(fake_logits)  # which says what is missing
        self.loss._check_pairs(real_logits, fake_logits)
        return relativistic(fake_logits, real_logits, both=False)[:2]


def discriminator(loss: type, real_logits: Array, fake_logits: Array, label: float = 1.0) -> tuple[Array, Array, Array]:
    """L_D, ∂L_D/∂r and ∂L_D/∂f of a loss of that class."""
    r, f = _contiguous(real_logits, fake_logits)
    value, d_real, d_fake = _value(r), get_xp(r).empty_like(r), get_xp(r).empty_like(f)
    _launch("discriminator", (r, f, value, d_real, d_fake, r.size, f.size, LOSSES.index(loss), label))
    return value, d_real, d_fake


def generator(loss: type, fake_logits: Array) -> tuple[Array, Array]:
    """L_G and ∂L_G/∂f of a loss of that class."""
    (f,) = _contiguous(fake_logits)
    value, d_fake = _value(f), get_xp(f).empty_like(f)
    _launch("generator", (f, value, d_fake, f.size, LOSSES.index(loss)))
    return value, d_fake


def relativistic(ahead: Array, behind: Array, *, both: bool) -> tuple[Array, Array, Array | None]:
    """L = mean softplus(behind − ahead), ∂L/∂ahead and, with ``both``, ∂L/∂behind."""
    a, b = _contiguous(ahead, behind)
    value, d_a, d_b = _value(a), get_xp(a).empty_like(a), get_xp(b).empty_like(b) if both else None
    _launch("pairs", (a, b, value, d_a, d_b, a.size))
    return value, d_a, d_b


def _contiguous(*arrays: Array) -> list[Array]:
    return [get_xp(a).ascontiguousarray(a) for a in arrays]


def _value(like: Array) -> Array:
    return get_xp(like).empty((), dtype=like.dtype)


def _launch(name: str, args: tuple) -> None:
    cuda.launch(f"losses.{name}", (1,), (cuda.THREADS,), args, args[0].dtype)
