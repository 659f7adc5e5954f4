"""Losses of critics, which play for other values than V: mean r − mean f, or one of pairs of samples.

r are the logits of real samples, f those of generated ones. Without a bound on D's slope (:mod:`tinygan.penalties`)
the first two have no end.
"""

from __future__ import annotations

from ..errors import ArgumentError, ShapeError
from ..ops import Array, get_xp, sigmoid, softplus
from .adversarial import Loss, check_logits


class Wasserstein(Loss):
    r"""The difference of the means of D, a *critic* whose slope must be bounded (Arjovsky et al., 2017, algorithm 1).

    Notes
    -----
        L_D = mean f − mean r
        ∂L_D/∂r = −1 / N                  ∂L_D/∂f = 1 / N

        L_G = −mean f
        ∂L_G/∂f = −1 / N                  as large wherever f lies: no saturation

    If D's slope is at most 1 everywhere, the largest −L_D is the distance W₁ between both distributions; without a
    bound there is none, and L_D falls for ever. ``GAN(weight_clip=0.01)`` is the paper's bound, and
    :class:`tinygan.penalties.GradientPenalty` a better one. There are no labels: s and s + 1 mean the same.
    """

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        xp = check_logits(self, real_logits, fake_logits)
        r, f = real_logits, fake_logits
        return xp.mean(f) - xp.mean(r), xp.full_like(r, -1.0 / r.size), xp.full_like(f, 1.0 / f.size)

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = check_logits(self, fake_logits)
        f = fake_logits
        return -xp.mean(f), xp.full_like(f, -1.0 / f.size)


class Hinge(Wasserstein):
    r"""D learns only from samples on the wrong side of a margin (Lim and Ye, 2017; Miyato et al., 2018, section 4).

    Notes
    -----
        L_D = mean max(0, 1 − r) + mean max(0, 1 + f)
        ∂L_D/∂r = −[r < 1] / N            ∂L_D/∂f = [f > −1] / N

        L_G = −mean f, as in :class:`Wasserstein`: G has no margin
        ∂L_G/∂f = −1 / N
    """

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        xp = check_logits(self, real_logits, fake_logits)
        r, f = real_logits, fake_logits
        value = xp.mean(xp.maximum(1.0 - r, 0.0)) + xp.mean(xp.maximum(1.0 + f, 0.0))
        d_real, d_fake = (r < 1.0).astype(r.dtype), (f > -1.0).astype(f.dtype)
        d_real *= -1.0 / r.size
        d_fake *= 1.0 / f.size
        return value, d_real, d_fake


class Relativistic(Loss):
    r"""Is this real sample more real than that generated one? Asked pair by pair, of D and, turned round, of G.

    Notes
    -----
    With N pairs of a real and a generated sample, as they come in the batch,

        L_D = mean softplus(−(r − f)) = −mean log σ(r − f)
        ∂L_D/∂r = −σ(f − r) / N           ∂L_D/∂f = σ(f − r) / N

        L_G = mean softplus(−(f − r)) = −mean log σ(f − r)
        ∂L_G/∂f = −σ(r − f) / N           the pull on a fake is stronger, the more real its partner looks

    A fake is judged beside a real sample, so that D cannot pass sentence on all fakes of one mode with a single
    threshold, and dropping modes is no resting place for G. There are no labels: s and s + 1 mean the same.

    References
    ----------
    Jolicoeur-Martineau, 2018 (RSGAN); Huang et al., 2024 (R3GAN), section 2, with R1 and R2.
    """

    compares = True

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        self._check_pairs(real_logits, fake_logits)
        xp, ahead = get_xp(real_logits), real_logits - fake_logits
        d_fake = sigmoid(-ahead)
        d_fake /= ahead.size
        return xp.mean(softplus(-ahead)), -d_fake, d_fake

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        if real_logits is None:
            raise ArgumentError("Relativistic: G's loss compares with real samples; give it real_logits too.")
        self._check_pairs(real_logits, fake_logits)
        xp, ahead = get_xp(real_logits), real_logits - fake_logits
        return xp.mean(softplus(ahead)), sigmoid(ahead) * (-1.0 / ahead.size)

    def _check_pairs(self, r: Array, f: Array) -> None:
        """Refuse logits that are no pairs."""
        check_logits(self, r, f)
        if r.shape != f.shape:
            raise ShapeError(
                f"Relativistic: real and generated samples are compared in pairs, so there must be equally many; got "
                f"logits {r.shape} of real and {f.shape} of generated ones."
            )
