"""A replayed step is the step, to the bit; what cannot be replayed is found, and steps go on without.

By default on the stand-in device, which records and replays as CUDA does; ``pytest --backend cupy`` does the same with
CUDA graphs on a GPU.
"""

from __future__ import annotations

import ast
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygan import GAN, Sequential, graphs, losses, models, optim
from tinygan.backend import get_backend, to_numpy
from tinygan.errors import ArgumentError, BackendError, ContractError, NonFiniteError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStdDev,
    Pack,
    Reshape,
    SiLU,
    SpectralNorm,
    Tanh,
)
from tinygan.parallel import Group
from tinygan.penalties import R1, R2, GradientPenalty, Penalty
from tinygan.schedules import cosine, linear, warmup
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


def build(*, g_layers=(), d_layers=(), d_first=(), widened=0, dtype=np.float32, optimizer=None, **options):
    """A small GAN on NumPy; layers are copied, so that a second one is equal to it."""
    rng = np.random.default_rng(3)
    own = {"rng": rng, "dtype": dtype}
    G = Sequential(
        Dense(4, 6, **own),
        BatchNorm(6, dtype=dtype),
        *(layer.copy() for layer in g_layers),
        LeakyReLU(),
        Dense(6, 5, **own),
        Tanh(),
    )
    D = Sequential(
        *(layer.copy() for layer in d_first),
        Dense(5 + widened, 7, **own),
        *(layer.copy() for layer in d_layers),
        SiLU(),
        Dense(7, 1, **own),
    )
    if optimizer:
        options |= {"g_optimizer": optimizer(G), "d_optimizer": optimizer(D)}
    return GAN(G, D, noise_dim=4, **options)


def images(**options):
    """A convolutional GAN of all kinds of layers, for images 4x4x2."""
    rng = np.random.default_rng(1)
    G = Sequential(
        Dense(3, 2 * 2 * 3, rng=rng),
        Reshape(2, 2, 3),
        BatchNorm(3),
        ConvTranspose2D(3, 2, 3, stride=2, rng=rng),
        Tanh(),
    )
    D = Sequential(
        SpectralNorm(Conv2D(2, 3, 3, stride=2, rng=rng)),
        LeakyReLU(),
        LayerNorm(3),
        Flatten(),
        SpectralNorm(Dense(12, 1, rng=rng)),
    )
    return GAN(G, D, noise_dim=3, **options)


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
        lambda gan: setattr(gan.penalties[0], "target", 0.3),
        lambda gan: setattr(gan.discriminator.layers[1], "rate", 0.9),
        lambda gan: setattr(gan.generator.layers[1], "momentum", 0.1),
        lambda gan: setattr(gan, "loss", losses.LeastSquares()),
        lambda gan: setattr(gan.loss, "real_label", 0.5),
        lambda gan: gan.penalties.pop(),
        lambda gan: setattr(gan, "rng", np.random.default_rng(5)),
        lambda gan: setattr(gan.d_optimizer, "M", gan.d_optimizer.M * 0.5),
        lambda gan: gan.to("numpy").to(gan.away),
        lambda gan: gan.load_state(*gan.first),
    ],
    ids=[
        "clip_norm", "beta1", "weight_clip", "decay", "target", "dropout", "momentum", "loss", "label", "penalty",
        "rng", "optimiser's memory", "moved", "loaded",
    ],
)  # fmt: skip
def test_a_setting_or_an_array_that_is_replaced_shows_in_the_next_step(where, change):
    def at_step_4(gan, t):
        if t == 2:
            gan.first, gan.away = gan.state(), where
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


def test_batches_of_several_shapes_have_graphs_of_their_own(where):
    eager, replayed = build().to(where), build().to(where)
    rng, device = np.random.default_rng(0), get_backend(where)
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
    xp = get_backend(where).xp

    def scribble(gan, t):
        rubbish = [xp.full(n, float("nan"), dtype=np.float32) for n in (1, 30, 128, 5000, 1 << 20) for _ in range(5)]
        del rubbish
        if where == "cupy":
            xp.get_default_memory_pool().free_all_blocks()

    check_replay(lambda: build(penalties=R1(1.0, every=2), average=0.9), steps=10, change=scribble, backend=where)


def test_graphs_are_launched_on_the_stream_that_is_current(where):
    if where != "cupy":
        pytest.skip("needs a GPU: pytest --backend cupy")
    with get_backend(where).xp.cuda.Stream(non_blocking=True):
        check_replay(lambda: build(penalties=R1(1.0)), backend=where)


# ---- wrong steps are caught ----------------------------------------------------------------------------------------


class BakedRate(optim.SGD):
    """The rate is a number of Python's, not fed."""

    replayable = True

    def step(self):
        self.network.theta[...] -= self._advance() * self.network.grad


class BakedGamma(R1):
    replayable = True

    def of_squares(self, q, t):
        return q * (1.0 + t), q * 0.0 + (1.0 + t)


class Altered(LeakyReLU):
    """What every layer below is made of."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.state, self.calls = 0.0, [0]


class CountsInPython(Altered):
    replayable = True

    def forward(self, x, *, train=True):
        self.calls[0] += 1
        return super().forward(x * (1.0 + 0.1 * (self.calls[0] % 7)), train=train)


class Rebinds(Altered):
    replayable = True

    def forward(self, x, *, train=True):
        self.state = self.state * 0.9 + x.mean()
        return super().forward(x - self.state, train=train)


class Uploads(Altered):
    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x, *, train=True):
        noise = self.rng.standard_normal(x.shape).astype(x.dtype)
        from tinygan.backend import backend_of

        return super().forward(x + backend_of(x).from_host(noise), train=train)


class Waits(Altered):
    replayable = True

    def forward(self, x, *, train=True):
        return super().forward(x * (2.0 if float(x.sum()) > 0 else 1.0), train=train)


class UsesCublas(Altered):
    replayable = True

    def forward(self, x, *, train=True):
        return super().forward(x + 0.0 * (x.T @ x).sum(), train=train)


class DrawsBeside(Altered):
    """Decides something at random on the host, and so not again in a replay."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x, *, train=True):
        return super().forward(x if self.rng.random() < 0.5 else 2.0 * x, train=train)


class DrawsBesideFromTwister(DrawsBeside):
    """As above; the state of this generator is an array."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.rng = np.random.Generator(np.random.MT19937(4))


class SettingThatMoves(Altered):
    """A number of Python's that can be seen from outside: steps are recorded again and again, and stay right."""

    replayable = True

    def forward(self, x, *, train=True):
        self._seen = getattr(self, "_seen", 0) + 1
        return super().forward(x * (1.0 + 0.1 * (self._seen % 7)), train=train)


class BakedAverage(optim.ExponentialMovingAverage):
    replayable = True

    def update(self):
        part = self._advance()
        self.network.theta[...] += part * (self.source.theta - self.network.theta)


def averaged(gan):
    gan.average = BakedAverage(gan.generator, 0.9)
    return gan


class FeedsOfOneStep(Altered):
    """The function that makes the number holds on to a value of the step that was recorded."""

    replayable = True

    def forward(self, x, *, train=True):
        from tinygan.feeds import feed

        self.calls[0] += 1
        calls = self.calls[0]
        return super().forward(x * feed(lambda: 1.0 + 0.1 * calls, x), train=train)


WRONG = {
    "a baked-in learning rate": (lambda: build(optimizer=BakedRate), "differs"),
    "a baked-in weight of a penalty": (lambda: build(penalties=BakedGamma(1.0)), "differs"),
    "a count in Python": (lambda: build(d_layers=[CountsInPython()]), "differs"),
    "a rebound array": (lambda: build(d_layers=[Rebinds()]), "differs"),
    "a copy from the host": (lambda: build(d_layers=[Uploads()]), "copy from the host"),
    "a wait for the device": (lambda: build(d_layers=[Waits()]), "makes the host wait"),
    "a product by CuPy": (lambda: build(d_layers=[UsesCublas()]), "cuBLAS"),
    "a decision at random": (lambda: build(d_layers=[DrawsBeside()]), "draws random numbers"),
    "a baked-in average": (lambda: averaged(build()), "differs"),
    "a feed that belongs to one step": (lambda: build(d_layers=[FeedsOfOneStep()]), "differs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_step_is_caught(name):
    wrong, message = WRONG[name]
    with pytest.raises(ContractError, match=message):
        check_replay(wrong)


def test_layers_like_the_wrong_ones_are_right():
    check_replay(lambda: build(d_layers=[Altered()]))
    check_replay(lambda: build(d_layers=[SettingThatMoves()]))


PACKAGE = Path(graphs.__file__).parent
ENGINE_CODE = [
    *(PACKAGE / "layers").glob("*.py"),
    *(PACKAGE / "kernels").glob("gpu*.py"),
    *(
        PACKAGE / name
        for name in ("kernels/plain.py", "kernels/elementwise.py", "losses.py", "penalties.py", "optim.py")
    ),
]


@pytest.mark.parametrize("path", ENGINE_CODE, ids=lambda path: path.name)
def test_engine_code_leaves_no_product_to_cupy(path):
    """On a GPU it would go through CuPy's cuBLAS handle, and no step could be captured."""
    for node in ast.walk(ast.parse(path.read_text())):
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        named = isinstance(node, ast.Attribute) and node.attr in {"einsum", "vdot", "inner", "tensordot"}
        assert not product, f"{path.name}:{node.lineno}: write tinygan.kernels.matmul(a, b) for a @ b"
        assert not named, f"{path.name}:{node.lineno}: use tinygan.kernels.products in place of {node.attr}"


# ---- where steps cannot be replayed --------------------------------------------------------------------------------


def stepper(gan):
    with enabled():
        return graphs.stepper(gan)


def batch(n=4, seed=0):
    return get_backend("standin").from_host(np.random.default_rng(seed).uniform(-1, 1, (n, 5)).astype(np.float32))


def test_without_graphs_there_is_nothing_in_between():
    gan = build()
    assert graphs.stepper(gan) == gan.step
    assert graphs.stepper(gan.to("standin")) == gan.step


def test_a_step_that_cannot_be_recorded_leaves_no_engine_behind():
    """Its memory is free again for the steps that follow."""
    gan = build(d_layers=[Waits()]).to("standin")
    step = stepper(gan)
    engine, left = weakref.ref(step._engine), []
    step(batch())
    original, gan.step = gan.step, lambda real, **options: left.append(engine()) or original(real, **options)
    with pytest.warns(RuntimeWarning, match="cannot be recorded"):
        step(batch())
    assert left == [None]


@pytest.mark.parametrize("layer", [Uploads, Waits, UsesCublas, DrawsBeside, DrawsBesideFromTwister])
def test_steps_that_cannot_be_recorded_go_on_as_they_would_have_and_say_why_once(layer):
    eager, fallen = build(d_layers=[layer()]).to("standin"), build(d_layers=[layer()]).to("standin")
    step = stepper(fallen)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for t in range(4):
            a, b = eager.step(batch(seed=t)), step(batch(seed=t))
            assert float(a.d) == float(b.d)
    assert [str(w.message).split(":")[0] for w in said] == [
        "each operation of a step is launched by itself, since it cannot be recorded"
    ]
    assert step.why is not None
    assert step.replayed == 0
    a, b = eager.state(), fallen.state()
    assert a[1] == b[1]
    assert all(a[0][key].tobytes() == b[0][key].tobytes() for key in a[0])


class Unknown(Layer):
    def forward(self, x, *, train=True):
        return self._remember(x)

    def backward(self, dy):
        self._recall(dy)
        return dy


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"d_layers": [Unknown()]}, "Unknown"),
        ({"g_layers": [Sequential(Unknown())]}, "Unknown"),
        ({"loss": type("OwnLoss", (losses.Hinge,), {})()}, "OwnLoss"),
        ({"penalties": type("OwnPenalty", (R1,), {})(1.0)}, "OwnPenalty"),
        ({"optimizer": type("OwnOptimizer", (optim.SGD,), {})}, "OwnOptimizer"),
    ],
)
def test_parts_of_a_users_own_are_replayed_if_they_say_so(options, name):
    with pytest.warns(RuntimeWarning, match=f"since {name} does not say replayable = True"):
        step = stepper(build(**options).to("standin"))
    step(batch())


def test_what_a_subclass_inherits_does_not_speak_for_it():
    class Derived(Altered):
        pass

    with pytest.warns(RuntimeWarning, match="Derived"):
        stepper(build(d_layers=[Derived()]).to("standin"))


def test_a_game_of_several_processes_is_not_replayed():
    gan = build().to("standin")
    step = stepper(gan)
    for _ in range(3):
        step(batch())
    gan.group = type("Group", (Group,), {"size": 2, "gather": lambda self, a: np.array([a, a])})()
    assert stepper(gan) == gan.step
    step(batch())
    assert (gan.t, step.replayed) == (4, 2)


def test_batches_of_ever_new_shapes_are_given_up():
    step = stepper(build().to("standin"))
    for n in range(2, 2 + graphs.KINDS):
        step(batch(n))
    with pytest.warns(RuntimeWarning, match="batches of one shape"):
        step(batch(50))
    step(batch(51))
    assert step.gan.t == graphs.KINDS + 2


class Interrupts(Altered):
    replayable = True

    armed = 0

    def forward(self, x, *, train=True):
        type(self).armed -= 1
        if type(self).armed == 0:
            raise KeyboardInterrupt
        return super().forward(x, train=train)


def test_a_recording_that_is_interrupted_leaves_the_gan_as_it_was():
    gan = build(d_layers=[Interrupts()]).to("standin")
    step = stepper(gan)
    step(batch())
    before = gan.state()
    Interrupts.armed = 2
    with pytest.raises(KeyboardInterrupt):
        step(batch())
    after = gan.state()
    assert before[1] == after[1]
    assert all(before[0][key].tobytes() == after[0][key].tobytes() for key in before[0])
    step(batch())
    assert step.replayed == 1


# ---- what a stepper returns and refuses ------------------------------------------------------------------------------


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


def test_a_checked_step_is_not_replayed_and_finds_what_is_not_finite():
    gan = build().to("standin")
    step = stepper(gan)
    for t in range(3):
        step(batch(seed=t), check=t == 1)
    assert (step.replayed, gan.t) == (1, 3)
    gan.generator.theta[...] = float("nan")
    with pytest.raises(NonFiniteError):
        step(batch(), check=True)


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
