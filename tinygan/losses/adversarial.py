"""What the two players minimise, from logits: s = D(x), with no sigmoid inside D.

Each loss returns values together with their derivatives, ready for ``backward``. Write r for the logits of real
samples, f for those of generated ones, and mean for the average over a batch; the value function of the game is

    V(D, G) = mean log σ(r) + mean log(1 − σ(f)),      D ascends it, G descends it.

Since log σ(s) = −softplus(−s) and log(1 − σ(s)) = −softplus(s), no logarithm of a rounded σ is ever taken: values and
gradients stay finite for logits far beyond ±10,000.

``critics.py`` beside this file has losses for other values than V.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, Setting, ShapeError, fraction
from ..ops import Array, get_xp, sigmoid, softplus


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

    real_label = Setting(fraction, closed="(]")

    def __init__(self, *, real_label: float = 1.0) -> None:
        self.real_label = real_label

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
        xp = check_logits(self, real_logits, fake_logits)
        r, f, t = real_logits, fake_logits, self.real_label
        value = xp.mean(softplus(-r)) + (1.0 - t) * xp.mean(r) + xp.mean(softplus(f))
        d_real = (1.0 - t) - sigmoid(-r)  # σ(r) − t, without the rounding of σ(r) near 1
        d_real /= r.size
        d_fake = sigmoid(f)
        d_fake /= f.size
        return value, d_real, d_fake

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = check_logits(self, fake_logits)
        f = fake_logits
        return -xp.mean(softplus(f)), sigmoid(f) * (-1.0 / f.size)


class NonSaturating(Minimax):
    r"""D as in :class:`Minimax`; G raises log σ(f) rather than lower log(1 − σ(f)) (Goodfellow et al., 2014, sec. 3).

    Notes
    -----
        L_G = −mean log σ(f) = mean softplus(−f)
        ∂L_G/∂f = −σ(−f) / N              about −1/N where D is sure of a fake: G learns most when it is bad
    """

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = check_logits(self, fake_logits)
        f = fake_logits
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
        xp = check_logits(self, real_logits, fake_logits)
        r, f = real_logits - self.real_label, fake_logits
        return 0.5 * xp.mean(r * r) + 0.5 * xp.mean(f * f), r / r.size, f / f.size

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        xp = check_logits(self, fake_logits)
        f = fake_logits - 1.0
        return 0.5 * xp.mean(f * f), f / f.size


def check_logits(loss: object, *logits: Array) -> Any:
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
