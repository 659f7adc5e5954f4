"""Watching a step: one number is looked at, and a share of a single sample is traced like any other."""

import numpy as np
import pytest
from support.small_runs import STEPS, contents, small_data, small_gan

from tinygan import checkpoints
from tinygan.backends import get_ops, to_backend
from tinygan.errors import NonFiniteError
from tinygan.gan import Turn
from tinygan.runs.tracing import require_finite, require_finite_state
from tinygan.runs.training import train
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


# ---- what losses and gradients do not show ---------------------------------------------------------------------------

# Where in a GAN a number is no longer finite, and the name it has in a checkpoint
STATE_ODDITIES = [
    (lambda gan: gan.generator.params["0.W"], "generator.0.W"),
    (lambda gan: gan.discriminator.params["3.b"], "discriminator.3.b"),
    (lambda gan: gan.generator.buffers["1.running_mean"], "generator.1.running_mean"),
    (lambda gan: gan.generator.buffers["1.running_var"], "generator.1.running_var"),
    (lambda gan: gan.average.network.params["3.W"], "average.3.W"),
    (lambda gan: gan.average.network.buffers["1.running_var"], "average.1.running_var"),
    (lambda gan: gan.g_optimizer.M, "g_optimizer.M"),
    (lambda gan: gan.d_optimizer.V, "d_optimizer.V"),
]


@pytest.mark.parametrize(("place", "name"), STATE_ODDITIES, ids=[name for _, name in STATE_ODDITIES])
@pytest.mark.parametrize("backend", ["numpy", "standin"])
def test_all_that_a_checkpoint_holds_is_looked_at(backend, place, name):
    gan = small_gan().to(get_ops(backend))
    with count_syncs() as waits:
        require_finite_state(gan)
    assert waits.count <= 1
    place(gan).reshape(-1)[-1] = np.inf
    with pytest.raises(NonFiniteError, match=rf"^step 0: its losses and gradients are finite, but {name} is not"):
        require_finite_state(gan)


@pytest.mark.parametrize("due", ["sample_every", "checkpoint_every"])
def test_a_run_ends_before_such_a_picture_or_checkpoint_and_keeps_the_last(tmp_path, monkeypatch, due):
    gan, options = small_gan(), {**STEPS, "sample_every": 100, "checkpoint_every": 100, due: 3}
    original = gan.step

    def step(real, **watch):
        losses = original(real, **watch)
        if gan.t == 5:
            gan.average.network.buffers["1.running_var"][0] = np.inf
        return losses

    monkeypatch.setattr(gan, "step", step)
    saved = 3 if due == "checkpoint_every" else 0
    message = (
        rf"^step 6: .* average\.1\.running_var is not any more.* The checkpoint of step {saved} is kept, .*--resume"
    )
    with pytest.raises(NonFiniteError, match=message):
        train(gan, small_data(), out=tmp_path, **options)
    assert checkpoints.read(tmp_path / "checkpoint.safetensors")[1]["step"] == saved
    assert "samples/step_000006.png" not in contents(tmp_path)
    assert (tmp_path / "losses.csv").read_text().count("\n") == 7
