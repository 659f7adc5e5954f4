"""Losses with their gradients on the GPU, one launch each; the formulas are in :mod:`tinygan.losses`."""

from __future__ import annotations

from ..backend import Array, get_xp
from . import launch as cuda

LOSSES = ("Minimax", "NonSaturating", "LeastSquares", "Wasserstein", "Hinge")  # in the order of losses.cu


def discriminator(loss: str, real_logits: Array, fake_logits: Array, label: float = 1.0) -> tuple[Array, Array, Array]:
    """L_D, ∂L_D/∂r and ∂L_D/∂f of the loss of that name."""
    r, f = _contiguous(real_logits, fake_logits)
    value, d_real, d_fake = _value(r), get_xp(r).empty_like(r), get_xp(r).empty_like(f)
    _launch("discriminator", (r, f, value, d_real, d_fake, r.size, f.size, LOSSES.index(loss), label))
    return value, d_real, d_fake


def generator(loss: str, fake_logits: Array) -> tuple[Array, Array]:
    """L_G and ∂L_G/∂f of the loss of that name."""
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
