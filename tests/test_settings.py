"""Settings: NumPy's numbers mean the same as Python's, and what has no meaning is refused whenever it is set."""

import numpy as np
import pytest
from support.ids import brief

from tinygan import GAN, Sequential, losses, optim, penalties
from tinygan.data import ImageData, OnDevice
from tinygan.errors import ArgumentError, TinyGANError
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    LayerNorm,
    LeakyReLU,
    MinibatchStdDev,
    Pack,
    ReLU,
    Reshape,
)
from tinygan.runs import schedules


def network():
    return Sequential(Dense(2, 8, rng=0), LeakyReLU(), Dense(8, 1, rng=1))


def gan(**options):
    return GAN(Sequential(Dense(2, 2, rng=2)), network(), noise_dim=2, **options)


def trained(optimizer):
    for i in range(3):
        optimizer.network.grad[...] = np.random.default_rng(i).standard_normal(optimizer.network.size)
        optimizer.step()
    return optimizer.network.theta.copy()


def played(**options):
    game = gan(**options)
    for _ in range(3):
        game.step(np.ones((8, 2), np.float32))
    return np.concatenate([game.generator.theta, game.discriminator.theta])


IMAGES = ImageData(np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1))

# what is computed from a number that float32 holds exactly, and from which
FLOATS = {
    "Adam lr": (lambda v: trained(optim.Adam(network(), v)), 0.25),
    "Adam beta1": (lambda v: trained(optim.Adam(network(), beta1=v)), 0.25),
    "Adam beta2": (lambda v: trained(optim.Adam(network(), beta2=v)), 0.75),
    "Adam eps": (lambda v: trained(optim.Adam(network(), eps=v)), 0.125),
    "SGD momentum": (lambda v: trained(optim.SGD(network(), momentum=v)), 0.25),
    "RMSProp rho": (lambda v: trained(optim.RMSProp(network(), rho=v)), 0.25),
    "clip_norm": (lambda v: trained(optim.Adam(network(), clip_norm=v)), 0.5),
    "clip_value": (lambda v: trained(optim.SGD(network(), clip_value=v)), 0.5),
    "a schedule": (lambda v: trained(optim.Adam(network(), schedules.cosine(v, 0.0, 4))), 0.25),
    "a function": (lambda v: trained(optim.Adam(network(), lambda t: v)), 0.25),
    "average": (lambda v: played(average=v), 0.75),
    "weight_clip": (lambda v: played(weight_clip=v), 0.0625),
    "R1": (lambda v: played(penalties=penalties.R1(v)), 0.5),
    "GradientPenalty": (lambda v: played(penalties=penalties.GradientPenalty(v, v)), 0.5),
    "real_label": (lambda v: played(loss=losses.Minimax(real_label=v)), 0.75),
    "LeakyReLU": (lambda v: LeakyReLU(v)(-np.ones((2, 3), np.float32)), 0.25),
    "ELU": (lambda v: ELU(v)(-np.ones((2, 3), np.float32)), 0.25),
    "BatchNorm": (lambda v: BatchNorm(3, eps=v, momentum=v).forward(np.eye(3, dtype=np.float32)), 0.25),
    "LayerNorm": (lambda v: LayerNorm(3, eps=v).forward(np.eye(3, dtype=np.float32)), 0.25),
    "MinibatchStdDev": (lambda v: MinibatchStdDev(eps=v)(np.eye(3, dtype=np.float32)), 0.25),
    "Dropout": (lambda v: Dropout(v, rng=0).forward(np.ones((5, 9), np.float32)), 0.25),
    "batch, low": (lambda v: IMAGES.batch(np.arange(4), low=v, high=1.3), 0.25),
    "batch, high": (lambda v: OnDevice(IMAGES, "standin").batch(np.arange(4), low=0.1, high=v).get(), 1.25),
}
INTS = {
    "Dense": lambda n: Dense(n, n, rng=0).params["W"],
    "Conv2D": lambda n: Conv2D(n, n, n, stride=n, padding=n, rng=0)(np.ones((1, 5, 5, 2), np.float32)),
    "Reshape": lambda n: Reshape(n, n)(np.ones((1, 4), np.float32)),
    "Pack": lambda n: Pack(n)(np.ones((4, 3), np.float32)),
    "BatchNorm": lambda n: BatchNorm(n)(np.ones((4, 2), np.float32)),
    "d_steps": lambda n: played(d_steps=n),
    "every": lambda n: played(penalties=penalties.R1(every=n)),
    "seed": lambda n: played(seed=n),
    "rng": lambda n: Dense(3, 3, rng=n).params["W"],
    "steps": lambda n: trained(optim.Adam(network(), schedules.linear(0.1, 0.0, n))),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.longdouble, np.array, lambda v: np.array(v, np.float32)])
def test_numpys_floats_mean_the_same(name, kind):
    compute, value = FLOATS[name]
    expected, got = compute(value), compute(kind(value))
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", INTS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16, np.array])
def test_numpys_whole_numbers_mean_the_same(name, kind):
    assert INTS[name](kind(2)).tobytes() == INTS[name](2).tobytes()


# ---- set later -------------------------------------------------------------------------------------------------------

BAD = [float("nan"), float("inf"), -1, -0.5, True, np.True_, "0.1", None, [], np.array([0.1]), 1j, np.float32("nan")]
SETTINGS = {  # a setting, and an object that has it
    "lr": lambda: optim.Adam(network()),
    "beta1": lambda: optim.Adam(network()),
    "eps": lambda: optim.RMSProp(network()),
    "momentum": lambda: optim.SGD(network()),
    "clip_norm": lambda: optim.SGD(network()),
    "slope": LeakyReLU,
    "rate": lambda: Dropout(0.5),
    "alpha": ELU,
    "gamma": penalties.R1,
    "target": penalties.GradientPenalty,
    "every": penalties.R1,
    "real_label": losses.Minimax,
    "d_steps": gan,
    "noise_dim": gan,
    "weight_clip": gan,
    "decay": lambda: optim.ExponentialMovingAverage(network()),
}
OPTIONAL = {"clip_norm", "weight_clip"}
ASSIGNED_ODDITIES = [(name, value) for name in SETTINGS for value in BAD if not (value is None and name in OPTIONAL)]


@pytest.mark.parametrize(("name", "value"), ASSIGNED_ODDITIES, ids=brief)
def test_what_has_no_meaning_is_refused_at_assignment_and_changes_nothing(name, value):
    owner = SETTINGS[name]()
    before = getattr(owner, name)
    with pytest.raises(ArgumentError, match=f"{type(owner).__name__}: {name} must be"):
        setattr(owner, name, value)
    assert getattr(owner, name) == before


COUNTED = [gan, lambda: optim.Adam(network()), lambda: optim.ExponentialMovingAverage(network())]
COUNT_ODDITIES = [(owner, value) for owner in range(3) for value in (*BAD, -9, 1.5, "3", 2**63)]


@pytest.mark.parametrize(("owner", "value"), COUNT_ODDITIES, ids=brief)
def test_steps_taken_are_a_whole_number(owner, value):
    owner = COUNTED[owner]()
    with pytest.raises(ArgumentError, match=f"{type(owner).__name__}: t must be"):
        owner.t = value
    assert owner.t == 0
    owner.t = np.int64(3)
    assert (owner.t, type(owner.t)) == (3, int)


def small_images():
    conv = Conv2D(2, 2, 3, padding=1, rng=0)
    return Sequential(Dense(2, 8, rng=0), Reshape(2, 2, 2), BatchNorm(2), LayerNorm(2), conv, Pack(1))


FIXED_ODDITIES = [  # a layer of small_images(), or None for the network itself, and what its size would become
    *((None, "layers", value) for value in ((), None, [ReLU()])),
    *((None, kind, {}) for kind in ("params", "grads", "buffers")),
    *((0, name, value) for name in ("n_in", "n_out") for value in (7, 2.0, None)),
    *((0, "input_shape", value) for value in ((7,), None)),
    *(
        (0, kind, value)
        for kind in ("params", "grads", "buffers")
        for value in ({}, None, {"W": np.zeros((2, 8), "f4")})
    ),
    *((1, "shape", value) for value in ((1,), (2, 4), 3)),
    *((layer, "c", value) for layer in (2, 3) for value in (7, 1, 0, "2", None)),
    *((4, "stride", value) for value in (1, (2, 2), (0, 0), "1")),
    *((4, "padding", value) for value in (0, "valid", "x", 7)),
    *((4, name, value) for name in ("c_in", "c_out", "kernel_size") for value in (1, (1, 1), None)),
    *((5, "m", value) for value in (2, 0, "1")),
]


@pytest.mark.parametrize(("i", "name", "value"), FIXED_ODDITIES, ids=brief)
def test_what_a_network_was_made_for_stays(i, name, value):
    made = small_images()
    owner = made if i is None else made[i]
    x, before = np.ones((4, 2), np.float32), getattr(owner, name)
    y = made(x)
    with pytest.raises(ArgumentError, match=f": {name} stays as it is, since a network was made for it; make the"):
        setattr(owner, name, value)
    assert getattr(owner, name) is before
    np.testing.assert_array_equal(made(x), y)
    setattr(owner, name, before)


def test_a_layer_of_no_network_may_change_and_so_may_a_copy():
    layer = small_images()[4].copy()
    layer.padding = 0
    assert layer.output_shape((5, 5, 2)) == (3, 3, 2)


class Block(Sequential):
    """One of somebody's own, which says more of itself than its layers do."""

    def __init__(self, c):
        super().__init__(Conv2D(c, c, 3, padding=1, rng=0), ReLU())
        self.c, self.input_shape = c, (8, 8, c)
        self.c = c + 0


def test_a_block_may_say_what_it_takes_until_a_network_has_it():
    inside = Sequential(Block(2))[0]
    assert inside.input_shape == (8, 8, 2)
    with pytest.raises(ArgumentError, match="input_shape stays as it is"):
        inside.input_shape = (9, 9, 2)


def test_dropout_takes_a_generator_or_a_seed_later_on_too():
    layer, x = Dropout(0.5, rng=3), np.ones((5, 9), np.float32)
    y = layer.forward(x)
    layer.rng = 3
    np.testing.assert_array_equal(layer.forward(x), y)
    for value in ("3", -1, 0.5, []):
        with pytest.raises(ArgumentError, match="rng must be"):
            layer.rng = value


def test_what_has_meaning_can_be_assigned_and_none_where_it_means_nothing_to_do():
    adam = optim.Adam(network(), clip_norm=1.0)
    adam.lr, adam.clip_norm = np.float32(0.5), None
    assert (adam.lr, type(adam.lr), adam.clip_norm) == (0.5, float, None)
    adam.lr = 0  # stands still
    adam.lr = schedules.linear(0.1, 0.0, 5)
    assert adam.rate(0) == 0.1


@pytest.mark.parametrize("value", [float("nan"), -1.0, True, "0.1", None])
def test_a_function_that_goes_wrong_stops_before_any_weight_changes(value):
    game = gan()
    game.d_optimizer.lr = lambda t: value
    before = game.generator.theta.copy(), game.discriminator.theta.copy()
    with pytest.raises(ArgumentError, match="a finite number of at least 0 is needed"):
        game.step(np.ones((4, 2), np.float32))
    np.testing.assert_array_equal(game.generator.theta, before[0])
    np.testing.assert_array_equal(game.discriminator.theta, before[1])


# ---- the GAN's own ---------------------------------------------------------------------------------------------------

GAN_ODDITIES = [
    *(({"average": value}, "average") for value in ([], "0.9", True, -0.1, float("nan"), None)),
    *(({"g_optimizer": value}, "g_optimizer was made for another network") for value in ("adam", 1, optim.Adam)),
    *(({"d_optimizer": value}, "d_optimizer was made for another network") for value in ("adam", object())),
    *(({"loss": value}, "loss must be an object") for value in ("minimax", losses.Minimax, 0, [])),
    *(({"penalties": value}, "penalties must be objects") for value in ("R1", penalties.R1, None, 10.0)),
    *(({"d_steps": value}, "GAN: d_steps must be") for value in (0, 1.0, True, "1", 2**63)),
    *(({"seed": value}, "GAN: the seed must be") for value in (-1, 0.5, "0", None)),
]


@pytest.mark.parametrize(("options", "words"), GAN_ODDITIES, ids=brief)
def test_settings_of_a_gan_without_meaning(options, words):
    with pytest.raises(ArgumentError, match=words):
        gan(**options)


LATER_ODDITIES = [
    *((name, v, "stays; make a new GAN") for name in ("generator", "discriminator") for v in (3, None, network())),
    *(
        (f"{player}_optimizer", v, f"{player}_optimizer was made for another network, or is none")
        for player in "gd"
        for v in (3, None, "adam", optim.Adam, optim.Adam(network()))
    ),
    *(("loss", v, "loss must be an object") for v in ("minimax", None, losses.Minimax, 0, [])),
    *(("average", v, "average must be an optim.ExponentialMovingAverage or None") for v in (0.9, 0, "0.9", network())),
    *(("penalties", v, "penalties must be objects") for v in ("R1", penalties.R1, None, 10.0, [penalties.R1(), 1])),
]


@pytest.mark.parametrize(("name", "value", "words"), LATER_ODDITIES, ids=brief)
def test_parts_of_a_gan_that_cannot_play_are_refused_later_on_too(name, value, words):
    game = gan(average=0.9, penalties=penalties.R1())
    before = getattr(game, name)
    with pytest.raises(ArgumentError, match=f"GAN: .*{words}"):
        setattr(game, name, value)
    assert getattr(game, name) is before
    game.step(np.ones((8, 2), np.float32))


def test_parts_of_a_gan_that_can_play_may_change():
    game, x = gan(average=0.9), np.ones((8, 2), np.float32)
    game.step(x)
    game.loss, game.average, game.penalties = losses.LeastSquares(), None, penalties.R1()
    game.g_optimizer, game.d_optimizer = optim.SGD(game.generator), optim.RMSProp(game.discriminator)
    game.step(x)
    assert repr(game) == "GAN(6 and 33 parameters, LeastSquares(), t=2)"
    assert game.penalty is not None


def test_an_optimiser_keeps_its_network():
    """Another of the same size would be moved by the memory of the first."""
    optimizer = optim.Adam(network())
    for value in (network(), 3, None):
        with pytest.raises(ArgumentError, match="Adam: the network stays; make a new optimiser"):
            optimizer.network = value


CALL_ODDITIES = [
    lambda: gan().noise(-1),
    lambda: gan().noise(2**63),
    lambda: gan().noise(2, rng="0"),
    lambda: gan().noise("2"),
    lambda: gan().sample(-1),
    lambda: gan().sample(True),
    lambda: gan().sample(z=np.float32(1.0)),
    lambda: gan().sample(z=[[1.0, 2.0]]),
    lambda: gan().step([[1.0, 2.0]]),
    lambda: gan().step(None),
    lambda: gan().to([]),
    lambda: gan().to(None),
]


@pytest.mark.parametrize("call", CALL_ODDITIES)
def test_calls_of_a_gan_without_meaning(call):
    with pytest.raises(TinyGANError):
        call()


# ---- short reprs -----------------------------------------------------------------------------------------------------


def test_everything_prints_as_one_short_line():
    assert repr(gan()) == "GAN(6 and 33 parameters, NonSaturating(), t=0)"
    assert repr(optim.Adam(network())) == "Adam(lr=0.0002, beta1=0.5, beta2=0.999, eps=1e-08)"
    assert repr(optim.SGD(network(), schedules.linear(0.1, 0.0, 9), clip_norm=1.0)) == (
        "SGD(lr=linear(0.1, 0.0, 9), clip_norm=1.0, momentum=0.0)"
    )
    assert repr(optim.RMSProp(network(), abs, rho=0.5)) == "RMSProp(lr=abs, rho=0.5, eps=1e-08)"
    assert repr(optim.ExponentialMovingAverage(network(), 0.9)) == "ExponentialMovingAverage(decay=0.9, t=0)"
    assert repr(IMAGES) == "ImageData('images', 4 images of 4x4x1)"
    assert repr(OnDevice(IMAGES, "numpy")) == "OnDevice(ImageData('images', 4 images of 4x4x1), 'numpy')"
