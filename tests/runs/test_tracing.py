"""Watching a step: one number is looked at, and a share of a single sample is traced like any other."""

import numpy as np
import pytest
from support.small_runs import small_data, small_gan

from tinygan.backends import get_ops, to_backend
from tinygan.errors import NonFiniteError
from tinygan.gan import Turn
from tinygan.runs.tracing import require_finite
from tinygan.testing.device import count_syncs


def real():
    return small_data().batch(np.arange(8))


def test_a_look_costs_one_wait_for_each_turn():
    gan = small_gan(d_steps=2).to(get_ops("standin"))
    x = to_backend(real(), "standin")
    with count_syncs() as plain:
        gan.step(x)
    with count_syncs() as watched:
        gan.step(x, watch=require_finite)
    assert watched.count - plain.count == 3


@pytest.mark.parametrize("what", ["loss", "penalty", "gradient"])
def test_each_of_the_three_is_looked_at(what):
    gan = small_gan()
    gan.step(real())
    z = gan.noise(8, rng=np.random.default_rng(0))
    turn = Turn("D", np.float32(1.0), 0.0, real(), z)
    require_finite(gan, turn)
    if what == "gradient":
        gan.discriminator.grad[-1] = np.inf
        message = r"first in the gradient of b of D's layer 3 Dense\(8, 1\)"
    else:
        turn = turn._replace(**{what: np.float32("nan")})
        message = {"loss": "first in the loss itself", "penalty": "first in the penalty on D's gradient"}[what]
    with pytest.raises(NonFiniteError, match=f"^step 2: D's loss is .*{message}"):
        require_finite(gan, turn)


def test_gradients_whose_squares_overflow_are_told_apart():
    gan = small_gan()
    gan.step(real())
    gan.generator.grad[0] = 1e30
    turn = Turn("G", np.float32(1.0), 0.0, real(), gan.noise(8, rng=np.random.default_rng(0)))
    message = r"every entry is finite, but their squares overflow.*D has taken this step"
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError, match=message):
        require_finite(gan, turn)


def test_the_share_of_a_process_may_be_one_sample():
    """Which BatchNorm, asked alone, would refuse."""
    gan, z = small_gan(), np.zeros((1, 4), dtype=np.float32)
    gan.generator.layers[3].params["W"][0, 0] = np.nan
    turn = Turn("G", np.float32("nan"), 0.0, real()[:1], z)
    with pytest.raises(NonFiniteError, match=r"first in the output of G's layer 3 Dense\(8, 36\) for noise"):
        require_finite(gan, turn)
