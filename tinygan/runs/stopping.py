"""When is a run done? Where its samples get no better, and D cannot tell them from fresh real images.

    train(gan, images, out="runs/mine", epochs=50, judge=judge, until=Equilibrium())

ends at the first time of judging at which both hold: the kernel distance has not fallen by more than its own standard
error for as many times as ``patience`` says, and D's logits tell fresh real images from samples in at most ``apart`` of
the pairs (:func:`tinygan.metrics.told_apart`). The budget of steps stays the limit.

What it means: for these two players, at this learning rate, more of the same brings nothing that the judge can see. It
does not mean that no better samples can be had: a falling rate, a larger G or a smoother D may go on from there; and a
D too weak to see a fault ends a run early, with a distance far above that of real images; the run says both at its
end. Nor that there was an equilibrium of the game: there may be none (Farnia and Ozdaglar, 2020, arXiv
2002.09124). What each player could still gain if the other stood still is measured by
:func:`tinygan.metrics.duality_gap`, which takes as long as some hundred steps of training and so is no part of this.

The rule sees the scores of the run and nothing else. They are in the checkpoint, so that a run that goes on ends where
the whole one would have.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, Setting, positive_int, real
from ..ops import as_array, to_numpy


def _at_least_a_half(value: float, what: str) -> float:
    if not 0.5 <= (number := real(value)) <= 1.0:
        raise ArgumentError(f"{what} must be in [0.5, 1], got {value!r:.200}; a D that guesses has 0.5.")
    return number


class Equilibrium:
    """The rule of this module.

    Parameters
    ----------
    patience : times of judging in a row at which the distance has not fallen.
    apart : in [1/2, 1], the most that D may tell apart: 1/2 if it can tell nothing, 1 to ask for the first alone.
    """

    patience, apart = Setting(positive_int), Setting(_at_least_a_half)

    def __init__(self, patience: int = 4, apart: float = 0.75) -> None:
        self.patience, self.apart = patience, apart

    def reached(self, kernel: np.ndarray, error: np.ndarray, apart: np.ndarray) -> bool:
        """Whether a run is done whose T judgings gave these distances, their errors, and parts told apart, (T,)."""
        kernel, error, apart = (to_numpy(as_array(x)) for x in (kernel, error, apart))
        if any(x.ndim != 1 or x.dtype.kind not in "fiu" or len(x) != len(kernel) for x in (kernel, error, apart)):
            raise ArgumentError("Equilibrium.reached: expected three arrays (T,) of numbers, one for each time.")
        if len(kernel) <= self.patience or max(apart[-1], 1.0 - apart[-1]) > self.apart:
            return False  # a D that is wrong in nearly all pairs tells them apart as well
        best = int(kernel[: -self.patience].argmin())
        return bool(kernel[-self.patience :].min() >= kernel[best] - error[best])

    def __repr__(self) -> str:
        return f"Equilibrium(patience={self.patience}, apart={self.apart:g})"
