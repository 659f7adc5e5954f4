"""What the two players minimise, from logits: s = D(x), with no sigmoid inside D.

Each loss returns values together with their derivatives, ready for ``backward``. Write r for the logits of real
samples, f for those of generated ones, and mean for the average over a batch; the value function of the game is

    V(D, G) = mean log σ(r) + mean log(1 − σ(f)),      D ascends it, G descends it.

Since log σ(s) = −softplus(−s) and log(1 − σ(s)) = −softplus(s), no logarithm of a rounded σ is ever taken: values and
gradients stay finite for logits far beyond ±10,000.

:class:`Wasserstein` and :class:`Hinge` play for another value, mean r − mean f, and :class:`Relativistic` for one of
pairs. Whether a penalty is added (:mod:`tinygan.penalties`) is no part of a loss.

On a GPU each method is one launch of a kernel with the same formulas, :mod:`tinygan.kernels.gpu_losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import fraction
from .backend import Array, get_xp
from .errors import ArgumentError, DTypeError, ShapeError
from .kernels import gpu_losses, on_gpu, sigmoid, softplus


class Loss:
    """What every adversarial loss offers. Values are NumPy scalars, or 0-d CuPy arrays: reading those waits."""

    compares = False  # whether generator() needs real_logits
    from_logits = True  # whether a D that ends in Sigmoid would be wrong: σ twice, or a critic held within (0, 1)

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        """Return (L_D, ∂L_D/∂r, ∂L_D/∂f) for logits r and f of any shape; the derivatives have these shapes."""
        raise NotImplementedError

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        """Return (L_G, ∂L_G/∂f); only losses that compare with real samples need ``real_logits``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Labelled(Loss):
    """A loss that tells D a label for each sample: near 1 for real ones, 0 for generated ones.

    Parameters
    ----------
    real_label : what D is told to say of real samples, in (0, 1]; 0.9 is one-sided label smoothing, which keeps D from
        growing ever surer (Salimans et al., 2016, section 3.4). The label of generated samples stays 0.
    """

    def __init__(self, *, real_label: float = 1.0) -> None:
        self.real_label = fraction(real_label, f"{type(self).__name__}: real_label", closed="(]")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.real_label == 1.0 else f'real_label={self.real_label}'})"


class Minimax(Labelled):
    r"""The game as first stated: G descends the very value that D ascends (Goodfellow et al., 2014, equation 1).

    Notes
    -----
    With t = real_label,

        L_D = −V = mean[ softplus(−r) + (1 − t) r ] + mean softplus(f)
        ∂L_D/∂r = (σ(r) − t) / N          ∂L_D/∂f = σ(f) / N

        L_G = mean log(1 − σ(f)) = −mean softplus(f)
        ∂L_G/∂f = −σ(f) / N               almost 0 where D is sure of a fake: the loss *saturates* when G is bad
    """

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        xp = _check_logits(self, real_logits, fake_logits)
        r, f, t = real_logits, fake_logits, self.real_label
        if on_gpu(r):
            return gpu_losses.discriminator("Minimax", r, f, t)
        value = xp.mean(softplus(-r)) + (1.0 - t) * xp.mean(r) + xp.mean(softplus(f))
        d_real = (1.0 - t) - sigmoid(-r)  # σ(r) − t, without the rounding of σ(r) near 1
        d_real /= r.size
        d_fake = sigmoid(f)
        d_fake /= f.size
        return value, d_real, d_fake

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = _check_logits(self, fake_logits)
        f = fake_logits
        if on_gpu(f):
            return gpu_losses.generator("Minimax", f)
        return -xp.mean(softplus(f)), sigmoid(f) * (-1.0 / f.size)


class NonSaturating(Minimax):
    r"""D as in :class:`Minimax`; G raises log σ(f) rather than lower log(1 − σ(f)) (Goodfellow et al., 2014, sec. 3).

    Notes
    -----
        L_G = −mean log σ(f) = mean softplus(−f)
        ∂L_G/∂f = −σ(−f) / N              about −1/N where D is sure of a fake: G learns most when it is bad
    """

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = _check_logits(self, fake_logits)
        f = fake_logits
        if on_gpu(f):
            return gpu_losses.generator("NonSaturating", f)
        return xp.mean(softplus(-f)), sigmoid(-f) * (-1.0 / f.size)


class LeastSquares(Labelled):
    r"""Regression of the logits to labels: real to t = real_label, fake to 0, G to 1 (Mao et al., 2017, equation 9).

    Notes
    -----
        L_D = ½ mean (r − t)² + ½ mean f²
        ∂L_D/∂r = (r − t) / N             ∂L_D/∂f = f / N

        L_G = ½ mean (f − 1)²
        ∂L_G/∂f = (f − 1) / N
    """

    from_logits = False

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        xp = _check_logits(self, real_logits, fake_logits)
        if on_gpu(real_logits):
            return gpu_losses.discriminator("LeastSquares", real_logits, fake_logits, self.real_label)
        r, f = real_logits - self.real_label, fake_logits
        return 0.5 * xp.mean(r * r) + 0.5 * xp.mean(f * f), r / r.size, f / f.size

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = _check_logits(self, fake_logits)
        if on_gpu(fake_logits):
            return gpu_losses.generator("LeastSquares", fake_logits)
        f = fake_logits - 1.0
        return 0.5 * xp.mean(f * f), f / f.size


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
        xp = _check_logits(self, real_logits, fake_logits)
        r, f = real_logits, fake_logits
        if on_gpu(r):
            return gpu_losses.discriminator("Wasserstein", r, f)
        return xp.mean(f) - xp.mean(r), xp.full_like(r, -1.0 / r.size), xp.full_like(f, 1.0 / f.size)

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = _check_logits(self, fake_logits)
        f = fake_logits
        if on_gpu(f):
            return gpu_losses.generator("Wasserstein", f)
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
        xp = _check_logits(self, real_logits, fake_logits)
        r, f = real_logits, fake_logits
        if on_gpu(r):
            return gpu_losses.discriminator("Hinge", r, f)
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
        if on_gpu(real_logits):
            return gpu_losses.relativistic(real_logits, fake_logits, both=True)
        xp, ahead = get_xp(real_logits), real_logits - fake_logits
        d_fake = sigmoid(-ahead)
        d_fake /= ahead.size
        return xp.mean(softplus(-ahead)), -d_fake, d_fake

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        if real_logits is None:
            raise ArgumentError("Relativistic: G's loss compares with real samples; give it real_logits too.")
        self._check_pairs(real_logits, fake_logits)
        if on_gpu(fake_logits):
            return gpu_losses.relativistic(fake_logits, real_logits, both=False)[:2]
        xp, ahead = get_xp(real_logits), real_logits - fake_logits
        return xp.mean(softplus(ahead)), sigmoid(ahead) * (-1.0 / ahead.size)

    def _check_pairs(self, r: Array, f: Array) -> None:
        """Refuse logits that are no pairs."""
        _check_logits(self, r, f)
        if r.shape != f.shape:
            raise ShapeError(
                f"Relativistic: real and generated samples are compared in pairs, so there must be equally many; got "
                f"logits {r.shape} of real and {f.shape} of generated ones."
            )


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
        _check_logits(self, logits)
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


def _check_logits(loss: object, *logits: Array) -> Any:
    """Refuse logits without meaning; return their array module."""
    name = type(loss).__name__
    xp = get_xp(*logits)
    if len({s.dtype for s in logits}) > 1:
        raise DTypeError(f"{name}: the logits are {' and '.join(str(s.dtype) for s in logits)}; they must be alike.")
    for s in logits:
        if s.dtype.kind != "f":
            raise DTypeError(f"{name}: logits must be floating-point, got {s.dtype}.")
        if s.size == 0:
            raise ShapeError(f"{name}: there are no logits, shape {s.shape}; at least one sample is needed.")
    return xp
