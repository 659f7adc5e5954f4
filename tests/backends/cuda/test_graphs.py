"""A replayed step is the step, to the bit; what cannot be replayed is found, and steps go on without.

By default on the stand-in device, which records and replays as CUDA does; ``pytest --backend cupy`` does the same with
CUDA graphs on a GPU.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_games import build, images

from tinygan import GAN, losses, models, optim
from tinygan.backends import get_ops, to_numpy
from tinygan.backends.cuda import graphs
from tinygan.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, LayerNorm, MinibatchStdDev, Pack, SpectralNorm
from tinygan.penalties import R1, R2, GradientPenalty, Penalty
from tinygan.runs.schedules import cosine, linear, warmup
from tinygan.runs.tracing import require_finite
from tinygan.testing.device import count_syncs, forbid_syncs
from tinygan.testing.replay import check_replay, enabled

LOSSES = [
    losses.Minimax,
    losses.NonSaturating,
    losses.LeastSquares,
    losses.Wasserstein,
    losses.Hinge,
    losses.Relativistic,
]


@pytest.fixture(scope="module")
def where(request):
    """The backend that has graphs in this run."""
    return "cupy" if "cupy" in (request.config.getoption("--backend") or []) else "standin"


# ---- equal to the bit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_replayed(where, loss):
    assert check_replay(lambda: build(loss=loss(), d_layers=[BatchNorm(7)]), backend=where) == 5


@pytest.mark.parametrize(
    "penalties",
    [
        [R1(2.0)],
        [R2(2.0)],
        [R1(linear(3.0, 1.0, 6)), R2(2.0)],
        [GradientPenalty(5.0)],
        [GradientPenalty(cosine(5.0, 1.0, 6), 0.5, one_sided=True, every=2), R1(1.0)],
        [R1(4.0, every=3), R2(warmup(4, 2.0), every=2)],
        [R1(lambda t: 1.0 + t % 2)],
    ],
    ids=str,
)
@pytest.mark.parametrize("d_layers", [(), (BatchNorm(7), Dropout(0.3, rng=5))], ids=["plain", "batchnorm, dropout"])
def test_every_penalty_is_replayed_with_its_schedule_where_it_is_due(where, penalties, d_layers):
    if any(isinstance(layer, Dropout) for layer in d_layers):
        d_layers = [BatchNorm(7), Dropout(0.3, rng=5)]
    replayed = check_replay(lambda: build(penalties=penalties, d_layers=d_layers), steps=14, backend=where)
    assert replayed >= 14 - 4  # the first of each kind is not


@pytest.mark.parametrize("clipping", [{}, {"clip_norm": 0.5}, {"clip_value": 0.01}], ids=str)
@pytest.mark.parametrize(
    "kind",
    [
        lambda net, **o: optim.Adam(net, linear(1e-2, 1e-4, 5), **o),
        lambda net, **o: optim.Adam(net, 1e-2, beta1=0.0, **o),
        lambda net, **o: optim.SGD(net, cosine(0.1, 0.01, 5), momentum=0.9, **o),
        lambda net, **o: optim.RMSProp(net, warmup(3, 1e-3), **o),
    ],
    ids=["Adam", "Adam without momentum", "SGD", "RMSProp"],
)
def test_every_optimiser_is_replayed(where, kind, clipping):
    check_replay(lambda: build(optimizer=lambda net: kind(net, **clipping), average=0.9), backend=where)


@pytest.mark.parametrize(
    "options",
    [
        {"d_steps": 3, "penalties": R1(1.0, every=2)},
        {"average": 0.99},
        {"weight_clip": 0.05, "loss": losses.Wasserstein(), "d_steps": 2},
        {"g_layers": [Dropout(0.2, rng=1)], "d_layers": [Dropout(0.4, rng=2)]},
        {"d_first": [Pack(2)], "widened": 5},
        {"d_first": [MinibatchStdDev()], "widened": 1, "penalties": R1(1.0)},
        {"d_layers": [LayerNorm(7)], "penalties": GradientPenalty(3.0)},
        {"dtype": np.float64, "average": 0.5},
    ],
    ids=lambda o: " ".join(o),
)
def test_every_rule_of_the_game_is_replayed(where, options):
    check_replay(lambda: build(**options), backend=where)


@pytest.mark.parametrize("options", [{}, {"penalties": [R1(1.0), R2(1.0)], "average": 0.9}], ids=["plain", "penalised"])
def test_convolutions_and_spectral_norm_are_replayed(where, options):
    check_replay(lambda: images(**options), steps=4, backend=where)


@pytest.mark.parametrize("options", [{}, {"d_steps": 2, "penalties": [R1(1.0)], "average": 0.9}], ids=["plain", "more"])
@pytest.mark.parametrize("way", ["concat", "projection"])
def test_classes_are_replayed_each_step_with_its_own(where, way, options):
    def build():
        networks = models.mlp((4, 4, 1), noise_dim=3, g_hidden=(5,), d_hidden=(6,), classes=3, conditional=way)
        return models.ConditionalGAN(*networks, noise_dim=3, **options)

    assert check_replay(build, backend=where) >= 4


@pytest.mark.parametrize("system", [models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64])
def test_every_system_is_replayed(where, system):
    narrow = {"g_hidden": (8, 8), "d_hidden": (8,)} if system is models.mlp else {"width": 2}
    shape = (16, 16, 1) if system is models.dcgan64 else (8, 8, 1)

    def game():
        return GAN(*system(shape, noise_dim=5, rng=2, **narrow), noise_dim=5, average=0.9)

    check_replay(game, steps=3, backend=where)


@settings(max_examples=25)
@given(data=st.data())
def test_any_game_is_replayed(data):
    draw = data.draw
    couples = draw(st.sampled_from(["none", "batch", "dropout", "spectral"]))
    layers = {"none": [], "batch": [BatchNorm(7)], "dropout": [Dropout(0.3, rng=1)], "spectral": []}[couples]
    due = draw(st.lists(st.sampled_from([R1(1.0, every=2), R2(linear(2.0, 1.0, 4)), GradientPenalty(1.0)]), max_size=2))
    options = {
        "loss": draw(st.sampled_from(LOSSES))(),
        "penalties": due,
        "d_steps": draw(st.integers(1, 2)),
        "average": draw(st.sampled_from([0.0, 0.9])),
        "weight_clip": draw(st.sampled_from([None, 0.1])),
        "seed": draw(st.integers(0, 99)),
    }
    spectral = [SpectralNorm(Dense(7, 7, rng=0))] if couples == "spectral" else layers
    replayed = check_replay(
        lambda: build(d_layers=spectral, **options), batch=draw(st.integers(2, 5)), rng=draw(st.integers(0, 99))
    )
    assert replayed >= 3


# ---- what changes on the way ---------------------------------------------------------------------------------------


def test_a_learning_rate_that_is_set_by_hand_shows_in_the_next_step(where):
    def change(gan, t):
        gan.d_optimizer.lr = 1e-3 * t
        gan.g_optimizer.lr = 1e-3 / t

    assert check_replay(build, change=change, backend=where) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda gan: setattr(gan.d_optimizer, "clip_norm", 0.01),
        lambda gan: setattr(gan.g_optimizer, "beta1", 0.9),
        lambda gan: setattr(gan, "weight_clip", 0.01),
        lambda gan: setattr(gan.average, "decay", 0.1),
        lambda gan: setattr(gan.discriminator.layers[1], "rate", 0.0),
        lambda gan: setattr(gan.penalties[0], "target", 0.3),
        lambda gan: setattr(gan.discriminator.layers[1], "rate", 0.9),
        lambda gan: setattr(gan.generator.layers[1], "momentum", 0.1),
        lambda gan: setattr(gan, "loss", losses.LeastSquares()),
        lambda gan: setattr(gan.loss, "real_label", 0.5),
        lambda gan: setattr(gan, "penalty", None),
        lambda gan: setattr(gan, "rng", np.random.default_rng(5)),
        lambda gan: setattr(gan.d_optimizer, "M", gan.d_optimizer.M * 0.5),
        lambda gan: gan.to("numpy").to(gan.away),
        lambda gan: load(gan, gan.first),
    ],
    ids=[
        "clip_norm", "beta1", "weight_clip", "decay", "no dropout", "target", "dropout", "momentum", "loss", "label",
        "penalty", "rng", "optimiser's memory", "moved", "loaded",
    ],
)  # fmt: skip
def test_a_setting_or_an_array_that_is_replaced_shows_in_the_next_step(where, change):
    def at_step_4(gan, t):
        if t == 2:
            gan.first, gan.away = [part.state_arrays() for part in parts_of(gan)], where
        if t == 4:
            change(gan)

    replayed = check_replay(
        lambda: build(
            d_layers=[Dropout(0.2, rng=1)], penalties=[GradientPenalty(2.0)], average=0.9, loss=losses.Minimax()
        ),
        steps=7,
        change=at_step_4,
        backend=where,
    )
    assert replayed >= 4


def parts_of(gan):
    return gan.generator, gan.discriminator, gan.g_optimizer, gan.d_optimizer, gan.average.network


def load(gan, states):
    for part, arrays in zip(parts_of(gan), states, strict=True):
        part.load_state_arrays(arrays)


def test_batches_of_several_shapes_have_graphs_of_their_own(where):
    eager, replayed = build().to(where), build().to(where)
    rng, device = np.random.default_rng(0), get_ops(where)
    with enabled():
        step = graphs.stepper(replayed)
        for n in [4, 6, 4, 6, 6, 4, 4]:
            real = rng.uniform(-1, 1, (n, 5)).astype(np.float32)
            eager.step(device.from_host(real))
            step(device.from_host(real))
    assert step.replayed == 5
    np.testing.assert_array_equal(to_numpy(eager.discriminator.theta), to_numpy(replayed.discriminator.theta))


def test_other_arrays_do_not_disturb_a_graph(where):
    """A graph goes back to its addresses: nobody else may have got them in between."""
    xp = get_ops(where).xp

    def scribble(gan, t):
        rubbish = [xp.full(n, float("nan"), dtype=np.float32) for n in (1, 30, 128, 5000, 1 << 20) for _ in range(5)]
        del rubbish
        if where == "cupy":
            xp.get_default_memory_pool().free_all_blocks()

    check_replay(lambda: build(penalties=R1(1.0, every=2), average=0.9), steps=10, change=scribble, backend=where)


def test_graphs_are_launched_on_the_stream_that_is_current(where):
    if where != "cupy":
        pytest.skip("needs a GPU: pytest --backend cupy")
    with get_ops(where).xp.cuda.Stream(non_blocking=True):
        check_replay(lambda: build(penalties=R1(1.0)), backend=where)


# ---- what a stepper returns and refuses ------------------------------------------------------------------------------


def stepper(gan):
    with enabled():
        return graphs.stepper(gan)


def batch(n=4, seed=0):
    return get_ops("standin").from_host(np.random.default_rng(seed).uniform(-1, 1, (n, 5)).astype(np.float32))


def test_losses_are_copies_and_a_replay_waits_for_nothing():
    gan = build(penalties=R1(1.0, every=2), average=0.9).to("standin")
    step = stepper(gan)
    kept, values = [], []
    for t in range(6):
        kept.append(step(batch(seed=t)))
        values.append([float(v) for v in kept[-1]])
    assert [[float(v) for v in one] for one in kept] == values
    assert [one.penalty == 0.0 if isinstance(one.penalty, float) else False for one in kept] == [False, True] * 3
    with count_syncs() as syncs, forbid_syncs():
        step(batch())
    assert syncs.count == 0


def test_a_watched_step_is_not_replayed_and_finds_what_is_not_finite():
    gan = build().to("standin")
    step = stepper(gan)
    for t in range(3):
        step(batch(seed=t), watch=require_finite if t == 1 else None)
    assert (step.replayed, gan.t) == (1, 3)
    gan.generator.theta[...] = float("nan")
    with pytest.raises(NonFiniteError):
        step(batch(), watch=require_finite)


def test_what_a_step_refuses_is_refused():
    gan = build().to("standin")
    step = stepper(gan)
    for _ in range(3):
        step(batch())
    with pytest.raises(ShapeError):
        step(batch()[:, :3])
    with pytest.raises(BackendError):
        step(np.zeros((4, 5), dtype=np.float32))
    gan.d_optimizer.lr = lambda t: -1.0
    with pytest.raises(ArgumentError, match="lr"):
        step(batch())
    gan.d_optimizer.lr = 1e-3
    step(batch())


def test_a_gan_that_moves_away_is_not_replayed():
    gan = build().to("standin")
    step = stepper(gan)
    for _ in range(3):
        step(batch())
    gan.to("numpy")
    step(np.zeros((4, 5), dtype=np.float32))
    assert (gan.t, step.replayed) == (4, 2)


def test_a_penalty_of_a_users_own_may_say_that_it_is_replayable(where):
    class Quadratic(Penalty):
        replayable = True

        def points(self, real, fake, rng):
            return real

        def of_squares(self, q, t):
            return q * q, 2.0 * q

    check_replay(lambda: build(penalties=Quadratic()), backend=where)
