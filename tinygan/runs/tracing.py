"""When a loss or a gradient is no longer finite: where did that begin?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..gan import GAN, Turn
from ..ops import get_xp, to_numpy
from ..parallel import ALONE, Group
from .state import live_arrays


def require_finite(gan: GAN, turn: Turn, *, group: Group = ALONE) -> None:
    """Raise NonFiniteError if the loss of this turn, D's penalty or the player's gradient is not finite.

    It is made to be the ``watch`` of :meth:`tinygan.GAN.step`: the gradient is there, and the weights are still good.
    One number is looked at, which makes a device wait once. Of several processes all see the same number; which of them
    it came from they tell each other.
    """
    learner = gan.discriminator if turn.player == "D" else gan.generator
    xp = get_xp(learner.grad)
    # Not finite if any gradient is; squares overflow beyond 1e19 in float32, which is no gradient to keep either
    total = turn.loss + turn.penalty + xp.dot(learner.grad, learner.grad)
    if bool(xp.isfinite(total)):
        return
    local = _origin(gan, turn)
    stage, process, origin = min((stage, rank, text) for rank, (stage, text) in enumerate(group.exchange(local)))
    origin += f" in process {process}" if group.size > 1 and stage == 0 else ""
    who, more = turn.player, "" if turn.player == "D" else " D has taken this step already."
    raise NonFiniteError(
        f"step {gan.t + 1}: {who}'s loss is {float(turn.loss):g} or its gradient is not finite; {origin}. {who}'s "
        f"weights are those of the step before.{more} A lower learning rate or clip_norm usually mends it."
    )


def require_finite_state(gan: GAN) -> None:
    """Raise NonFiniteError, naming the array, if anything that the next step or a sample is made from is not finite.

    Losses and gradients do not show it all: a running variance that overflowed only makes its channel 0, and the
    average of G's weights, which samples are drawn with, takes no part in training. A device waits once.
    """
    arrays = live_arrays(gan)
    xp = get_xp(*arrays.values())
    finite = to_numpy(xp.stack([xp.isfinite(array).all() for array in arrays.values()]))
    for name, fine in zip(arrays, finite, strict=True):
        if not fine:
            raise NonFiniteError(
                f"step {gan.t}: its losses and gradients are finite, but {name} is not any more. A lower learning rate "
                "or clip_norm usually mends it."
            )


def _origin(gan: GAN, turn: Turn) -> tuple[int, str]:
    """Go the way that the numbers went, and name the first place where one is not finite; 0 if in the own samples."""
    G, D = ("G", gan.generator.copy()), ("D", gan.discriminator.copy())  # copies: tracing leaves no trace
    ways = [("noise", turn.z, [G, D])]
    if turn.player == "D":
        ways.insert(0, ("real samples", turn.real, [D]))
    for what, x, networks in ways:
        if _bad(x):
            return 0, f"first in the {what}"
        if len(x) == 1:  # the share of a process; twice the same has no variance either, but BatchNorm takes it
            x = get_xp(x).concatenate([x, x])
        for name, network in networks:
            for layer in network.layers:
                x = layer.forward(x)
                if _bad(x):
                    return 0, f"first in the output of {name}'s {layer.name} for {what}"
    if _bad(turn.loss):
        return 1, "first in the loss itself: every logit is finite"
    if _bad(turn.penalty):
        return 1, "first in the penalty on D's gradient: every logit is finite"
    learner = gan.discriminator if turn.player == "D" else gan.generator
    for layer in reversed(learner.layers):
        for key, grad in layer.grads.items():
            if _bad(grad):
                return 1, f"first in the gradient of {key} of {turn.player}'s {layer.name}"
    return 1, "every entry is finite, but their squares overflow"


def _bad(x: Any) -> bool:
    host = np.asarray(x) if np.isscalar(x) else to_numpy(x)
    return not np.isfinite(host).all()
