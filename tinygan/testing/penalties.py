"""Is a penalty on D's input gradient right? Asked with values of D alone: no derivative is taken on trust."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..errors import ArgumentError, GradientError, UndecidedError
from ..errors import seed as check_seed
from ..layers.base import Layer
from ..layers.starting import as_generator
from ..network import Sequential
from ..ops import Array, as_array, ops_of, to_numpy
from ..penalties import register
from ..penalties.derivative import NETWORK
from ..penalties.rules import RULES
from .comparison import GradientReport, checked, verify
from .differences import Undecided, slopes
from .trial import keeps_a_trace, rewinder


def check_penalty(
    penalty: Callable[[Sequential, Array, Array, np.random.Generator], Array],
    discriminator: Sequential,
    real: Array,
    fake: Array,
    *,
    where: str,
    value: Callable[[np.ndarray], float],
    seed: int = 0,
    tolerance: float = 1e-6,
    exhaustive: int = 200,
    directions: int = 8,
) -> GradientReport:
    """Check a penalty on the gradient of D's input: where it looks, what it says, and what it adds to ``D.grad``.

    Parameters
    ----------
    penalty : ``penalty(D, real, fake, rng)`` returns its value and adds its gradient to ``D.grad``.
    discriminator : Sequential whose output is one number for each sample; a float64 copy is examined.
    real, fake : (N, ...) with N ≥ 2, no sample equal to its counterpart.
    where : "real", "fake" or "between", where each sample's point divides the line from fake to real in a ratio of its
        own.
    value : the penalty's value from the norms of the gradients, one for each logit, such as
        ``lambda r: 10 * np.mean((r - 1)**2)``.
    seed : of the Generator that the penalty draws from.
    tolerance, exhaustive, directions : as for :func:`tinygan.testing.check_gradients`.

    Raises
    ------
    ArgumentError
        With such batches, or such a ``where``, nothing can be told; or D is of a class that is not registered like a
        Sequential.
    GradientError
        It looks elsewhere, at points of one ratio for all or several within a sample; its value is another function of
        the norms; its gradient is not that of its value, or is not added.
    """
    if not isinstance(where, str) or where not in ("real", "fake", "between"):
        raise ArgumentError(f"check_penalty: where must be 'real', 'fake' or 'between', got {where!r:.200}.")
    tolerance, exhaustive, directions = checked(tolerance, exhaustive, directions)
    seed, real, fake = check_seed(seed, "check_penalty"), as_array(real), as_array(fake)
    for what, function in (("penalty", penalty), ("value", value)):
        if not callable(function):
            raise ArgumentError(f"check_penalty: {what} must be a function, got {function!r:.200}.")
    if real.shape != fake.shape or len(real) < 2:
        raise ArgumentError(
            f"check_penalty: real and fake must be two batches of one shape and at least 2 samples, got {real.shape} "
            f"and {fake.shape}. With one sample a sum is a mean, and nobody sees whether each has an ε of its own."
        )
    if RULES.get(type(discriminator)) is not NETWORK:
        kind = type(discriminator).__name__
        raise ArgumentError(
            f"check_penalty: the discriminator is a {kind}, which may compute something else than its layers in a row; "
            f"give Sequential(D), or say that it does not: tinygan.penalties.register({kind}, like=Sequential)."
        )
    claim = _PenaltyClaim(penalty, discriminator, real, fake, seed)
    if same := [n for n, (a, b) in enumerate(zip(claim.real, claim.fake, strict=True)) if np.array_equal(a, b)]:
        raise ArgumentError(
            f"check_penalty: real and fake are equal in sample {same[0]}. All points between them are one, and nobody "
            "sees where the penalty looks. Draw both batches at random."
        )
    claimed = float(claim.evaluate(None, np.zeros(0))[0])
    claim.check_points(where)
    norms = claim.norms_by_differences(tolerance)
    expected = float(value(norms))
    if not abs(claimed - expected) <= tolerance * max(abs(claimed), abs(expected)) + 1e-14:
        raise GradientError(
            f"{claim.where}: the value is {claimed:.10g}, but the gradients at those points have norms "
            f"{norms.round(6)}, which make {expected:.10g}. A norm is over all axes of one sample: a root or a mean "
            "too many or too few?"
        )
    return verify(claim, np.ones((1, 1)), as_generator(seed), tolerance, exhaustive, directions)


class _Watch(Layer):
    """The identity, which keeps what passed through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def apply(self, x: Array, train: bool) -> tuple[Array, None]:
        self.seen.append(np.array(to_numpy(x)))
        return x, None

    def gradients(self, cache: None, dy: Array) -> tuple[Array, dict]:
        return dy, {}


register(_Watch, symmetric=True, second_order=lambda layer, cache, v, g: (None, {}))


class _PenaltyClaim:
    """The value of a penalty as a function of D's parameters."""

    def __init__(self, penalty: Callable, discriminator: Sequential, real: Array, fake: Array, seed: int) -> None:
        self.penalty, self.seed, self.where = penalty, seed, repr(penalty)
        self.put = ops_of(real).from_host
        self.real, self.fake = (np.array(to_numpy(a), dtype=np.float64) for a in (real, fake))
        self.D = discriminator.astype(np.float64)
        self.points: dict[Hashable, np.ndarray] = {key: np.array(to_numpy(p)) for key, p in self.D.params.items()}
        self.x = self.real  # where the penalty has looked
        self.rewind, self.copies = rewinder(self.D), False
        self.copies = keeps_a_trace(self.D, lambda: self._logits(self.x), self.rewind)
        self.watched = self._under_watch()
        self.rewind_watched = rewinder(self.watched)

    def _under_watch(self) -> Sequential:
        return Sequential(_Watch(), *(layer.copy() for layer in self.D.layers)).to(ops_of(self.D.theta))

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """D's answer in training, which leaves no trace in it."""
        D = self.D.copy() if self.copies else self.D
        logits = np.array(to_numpy(D.apply(self.put(x.copy()), True)[0]))
        self.rewind()
        return logits

    def name(self, key: Hashable) -> str:
        return f"D.grads[{key!r}]"

    def owner(self, key: Hashable) -> str:
        return self.where

    def _run(self, key: Hashable, value: np.ndarray, before: float = 0.0) -> tuple[Any, Sequential, _Watch]:
        D = self._under_watch() if self.copies else self.watched
        watch: Any = D.layers[0]
        watch.seen.clear()
        self.rewind_watched()
        for name, p in D.params.items():
            position, rest = name.split(".", 1)
            inner = f"{int(position) - 1}.{rest}"
            p[...] = self.put(value if inner == key else self.points[inner])
        D.grad[...] = before
        result = self.penalty(
            D, self.put(self.real.copy()), self.put(self.fake.copy()), np.random.default_rng(self.seed)
        )
        return result, D, watch

    def evaluate(self, key: Hashable, value: np.ndarray) -> np.ndarray:
        result, _, watch = self._run(key, value)
        if key is None:
            seen = [x for x in watch.seen if x.shape == self.real.shape]
            if not seen:
                raise GradientError(f"{self.where}: D has seen no batch of {self.real.shape}; does it ask D at all?")
            self.x = seen[-1]
        return np.array([float(result)])

    def gradients(self, dy: np.ndarray) -> dict[Hashable, Array | None]:
        runs = []
        for before in (0.0, 3.0):
            _, D, _ = self._run(None, np.zeros(0), before)
            names = {key: f"{int(key.split('.', 1)[0]) + 1}.{key.split('.', 1)[1]}" for key in self.D.params}
            runs.append({key: np.array(to_numpy(D.grads[name])) for key, name in names.items()})
        for key, first in runs[0].items():
            if not np.allclose(runs[1][key], first + 3.0, rtol=1e-9, atol=1e-9):
                raise GradientError(f"{self.where}: it does not add to {self.name(key)}, where 3.0 was before.")
        return {key: g * float(dy[0]) for key, g in runs[0].items()}

    def check_points(self, where: str) -> None:
        if where != "between":
            expected = self.real if where == "real" else self.fake
            if not np.allclose(self.x, expected, rtol=0.0, atol=1e-12):
                raise GradientError(f"{self.where}: it looks at other points than the {where} samples.")
            return
        rows = [a.reshape(len(a), -1) for a in (self.x, self.real, self.fake)]
        line = rows[1] - rows[2]
        ratio = ((rows[0] - rows[2]) * line).sum(axis=1) / (line * line).sum(axis=1)  # ε of each sample
        if not np.allclose(rows[0], rows[2] + ratio[:, None] * line, rtol=0.0, atol=1e-9):
            raise GradientError(
                f"{self.where}: its points are not on the lines between generated and real samples: one ε for each "
                "sample, the same for all its numbers."
            )
        if ratio.min() < 0.0 or ratio.max() > 1.0:
            raise GradientError(f"{self.where}: its points lie beyond the samples, at ε = {ratio.round(3)}.")
        if np.ptp(ratio) < 1e-9:
            raise GradientError(f"{self.where}: all samples have the same ε = {ratio[0]:.6g}; each needs its own.")

    def norms_by_differences(self, tolerance: float) -> np.ndarray:
        def total(x: np.ndarray) -> np.ndarray:
            return np.array([float(self._logits(x).sum())])

        eye = np.eye(self.x.size).reshape(-1, *self.x.shape)
        try:
            measured = slopes(total, self.x, total(self.x), eye, np.ones((1, 1)), tolerance=tolerance / 4.0)
        except Undecided:
            raise UndecidedError(f"{self.where}: finite differences cannot tell: D has a kink there.") from None
        logits = len(self._logits(self.x))  # fewer than samples if D packs some into one
        return np.linalg.norm(measured.value.reshape(logits, -1), axis=1)
