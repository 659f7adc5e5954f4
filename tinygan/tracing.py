"""When a loss or a gradient is no longer finite: where did that begin?"""

from __future__ import annotations

import numpy as np

from .backend import Array, get_xp, to_numpy
from .errors import NonFiniteError
from .network import Sequential
from .parallel import ALONE, Group


def require_finite(
    step: int,
    value: Array,
    learner: Sequential,
    generator: Sequential,
    discriminator: Sequential,
    *,
    real: Array,
    z: Array,
    penalty: Array | float = 0.0,
    group: Group = ALONE,
) -> None:
    """Raise NonFiniteError if the loss ``value``, D's ``penalty`` or a gradient of ``learner`` is not finite.

    Called after ``learner``'s backward and before its update, so its weights are still good. ``real`` and ``z`` are the
    samples and the noise of this step. One number is looked at, which makes a device wait once. Of several processes
    all see the same number; which of them it came from they tell each other.
    """
    xp = get_xp(learner.grad)
    # Not finite if any gradient is; squares overflow beyond 1e19 in float32, which is no gradient to keep either
    total = value + penalty + xp.dot(learner.grad, learner.grad)
    if bool(xp.isfinite(total)):
        return
    who, more = ("D", "") if learner is discriminator else ("G", " D has taken this step already.")
    own = _origin(value, penalty, who, generator, discriminator, real, z)
    stage, process, origin = min((stage, rank, text) for rank, (stage, text) in enumerate(group.exchange(own)))
    origin += f" in process {process}" if group.size > 1 and stage == 0 else ""
    raise NonFiniteError(
        f"step {step}: {who}'s loss is {float(value):g} or its gradient is not finite; {origin}. {who}'s weights are "
        f"those of the step before.{more} A lower learning rate or clip_norm usually mends it."
    )


def _origin(
    value: Array,
    penalty: Array | float,
    who: str,
    generator: Sequential,
    discriminator: Sequential,
    real: Array,
    z: Array,
) -> tuple[int, str]:
    """Go the way that the numbers went, and name the first place where one is not finite; 0 if in the own samples."""
    G, D = ("G", generator.copy()), ("D", discriminator.copy())  # copies: tracing leaves no trace
    ways = [("noise", z, [G, D])]
    if who == "D":
        ways.insert(0, ("real samples", real, [D]))
    for what, x, networks in ways:
        if _bad(x):
            return 0, f"first in the {what}"
        for name, network in networks:
            for layer in network.layers:
                x = layer.forward(x)
                if _bad(x):
                    return 0, f"first in the output of {name}'s {layer.name} for {what}"
    if _bad(value):
        return 1, "first in the loss itself: every logit is finite"
    if _bad(penalty):
        return 1, "first in the penalty on D's gradient: every logit is finite"
    learner = discriminator if who == "D" else generator
    for layer in reversed(learner.layers):
        for key, grad in layer.grads.items():
            if _bad(grad):
                return 1, f"first in the gradient of {key} of {who}'s {layer.name}"
    return 1, "every entry is finite, but their squares overflow"


def _bad(x: Array) -> bool:
    host = np.asarray(x) if np.isscalar(x) else to_numpy(x)
    return not np.isfinite(host).all()
