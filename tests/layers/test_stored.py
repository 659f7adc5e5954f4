"""Networks on the disk: what was saved comes back, and into nothing but the very same network."""

import sys

import numpy as np
import pytest

from tinygan import Sequential, checkpoints, losses
from tinygan.errors import ArgumentError, CheckpointError
from tinygan.layers import BatchNorm, Dense, Layer, Tanh
from tinygan.layers.stored import describe
from tinygan.penalties import R1


def _network(width=4, norm=True):
    return Sequential(Dense(3, width, rng=0), *([BatchNorm(width)] if norm else []), Tanh())


def test_a_network_comes_back(tmp_path):
    network = _network()
    network(np.ones((5, 3), dtype=np.float32))
    network.layers[1].buffers["running_mean"][...] = 0.25
    network.save(tmp_path / "g")
    other = _network()
    other.theta[...] = 0
    assert other.load(tmp_path / "g") is other
    for key, array in network.state_arrays().items():
        np.testing.assert_array_equal(other.state_arrays()[key], array)


class Not(Layer):
    """A small layer of one's own, which does not say how it is written."""

    def apply(self, x, train):
        return 1.0 - x, None

    def gradients(self, cache, dy):
        return -dy, {}


def test_a_network_with_a_layer_of_ones_own_comes_back(tmp_path):
    """Into another object of the same class, as in another process: where they lie in memory must not matter."""
    saved, loaded = Sequential(Dense(3, 4, rng=1), Not()), Sequential(Dense(3, 4, rng=2), Not())
    saved.save(tmp_path / "g")
    loaded.load(tmp_path / "g")
    np.testing.assert_array_equal(loaded.theta, saved.theta)
    assert repr(loaded) == "Sequential(Dense(3, 4), Not())"
    assert repr(Layer()) == "Layer()"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_network(width=5), r"another architecture: layer 0 is Dense\(3, 4\) there, but Dense\(3, 5\) here"),
        (
            _network(norm=False),
            r"another architecture: layer 1 is BatchNorm\(4\) there, but Tanh\(\) here",
        ),
        (
            Sequential(Dense(3, 4), BatchNorm(4), Dense(4, 4)),
            r"another architecture: layer 2 is Tanh\(\) there, but Dense",
        ),
        (_network().astype(np.float64), r"another architecture: 0\.W has dtype float32 there, but float64 here"),
    ],
)
def test_a_network_refuses_anothers_weights(tmp_path, other, message):
    _network().save(tmp_path / "g")
    before = other.theta.copy()
    with pytest.raises(CheckpointError, match=f"g is of {message}"):
        other.load(tmp_path / "g")
    np.testing.assert_array_equal(other.theta, before)


def test_a_network_refuses_what_is_no_network(tmp_path):
    checkpoints.write(tmp_path / "other", {"x": np.zeros(1)}, {"step": 3})
    with pytest.raises(CheckpointError, match="holds a None, not a network"):
        _network().load(tmp_path / "other")


# How the record of a saved network is changed, and what is said
RECORD_ODDITIES = [
    ("no layers", lambda about: about.pop("layers"), "there is no layers in it"),
    ("layers that are null", lambda about: about.update(layers=None), "its layers is None, not a list of texts"),
    ("layers that are a number", lambda about: about.update(layers=7), "its layers is 7, not a list of texts"),
    ("layers that are a text", lambda about: about.update(layers="Dense(3, 4)"), "not a list of texts"),
    ("layers by number", lambda about: about.update(layers={"0": "Dense(3, 4)"}), "not a list of texts"),
    ("a layer that is null", lambda about: about["layers"].append(None), "not a list of texts"),
    ("a layer that is a list", lambda about: about["layers"].append([]), "not a list of texts"),
    ("a layer more", lambda about: about["layers"].append("Tanh()"), r"layer 3 is Tanh\(\) there, but None here"),
    ("a layer less", lambda about: about["layers"].pop(), r"layer 2 is None there, but Tanh\(\) here"),
    ("a long text", lambda about: about["layers"].append("x" * 90_000), r"layer 3 is x{200} there"),
    ("a class", lambda about: about.update(network="Residual()"), r"the network is Residual\(\) there, but Sequential"),
    ("a class that is null", lambda about: about.update(network=None), "the network is None there"),
    ("another kind", lambda about: about.update(kind="song"), "holds a song, not a network"),
    ("a kind that is a list", lambda about: about.update(kind=[[1]]), r"holds a \[\[1\]\], not a network"),
    ("a kind without end", lambda about: about.update(kind="x" * 90_000), "holds a x{40}, not a network"),
]


@pytest.mark.parametrize(("what", "change", "words"), RECORD_ODDITIES, ids=[case[0] for case in RECORD_ODDITIES])
def test_odd_records_are_refused_by_name(tmp_path, what, change, words):
    network = _network()
    network.save(tmp_path / "g")
    arrays, about = checkpoints.read(tmp_path / "g")
    change(about)
    checkpoints.write(tmp_path / "g", arrays, about)
    with pytest.raises(CheckpointError, match=words) as refused:
        network.load(tmp_path / "g")
    assert str(tmp_path / "g") in str(refused.value)
    assert len(str(refused.value)) < 1000


# The array, what one of its numbers becomes, and what is said
NUMBER_ODDITIES = [
    ("0.W", np.nan, "0.W holds NaN or infinity"),
    ("0.b", np.inf, "0.b holds NaN or infinity"),
    ("1.gamma", -np.inf, "1.gamma holds NaN or infinity"),
    ("1.running_mean", np.nan, "1.running_mean holds NaN or infinity"),
    ("1.running_var", np.inf, "1.running_var holds NaN or infinity"),
    ("1.running_var", -1e-30, "1.running_var holds a number below 0"),
]


@pytest.mark.parametrize(("key", "value", "words"), NUMBER_ODDITIES)
def test_numbers_that_spoil_all_that_follows_are_refused(tmp_path, key, value, words):
    network = _network()
    arrays = network.state_arrays()
    arrays[key].reshape(-1)[-1] = value
    checkpoints.write(tmp_path / "g", arrays, {"kind": "network", "layers": [repr(layer) for layer in network]})
    before = network.state_arrays()
    with pytest.raises(CheckpointError, match=rf"g: {words}, which would spoil all that follows"):
        network.load(tmp_path / "g")
    with pytest.raises(CheckpointError, match=rf"^the state: {words}"):
        network.load_state_arrays(arrays)
    for name, array in network.state_arrays().items():
        np.testing.assert_array_equal(array, before[name])


# ---- classes and settings --------------------------------------------------------------------------------------------


class Residual(Sequential):
    """A block as the docstring of Sequential advises: x + what its layers make of it."""

    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return x + y, passed


class Scaled(Residual):
    def __init__(self, *layers, scale=1.0):
        super().__init__(*layers)
        self.scale = scale


class Wide(Dense):
    """One that inherits its repr, and has a setting more."""

    def __init__(self, n_in, n_out, gain=1.0):
        super().__init__(n_in, n_out)
        self.gain, self._private, self.table = gain, object(), np.ones(3)


class Told(Layer):
    """One that says how it is made."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def __repr__(self):
        return f"Told({self.k})"


class Sub(Told):
    pass


class Odd(Layer):
    def __repr__(self):
        return "something"


class Plain(Layer):
    def __init__(self, k=1, rng=0):
        super().__init__()
        self.k, self.rng, self.f = k, np.random.default_rng(rng), np.tanh


class Dense2(Dense):
    pass


Dense2.__name__ = "Dense"  # as whoever writes class Dense(layers.Dense) has it


class Hidden(Tanh):
    pass


Hidden.__name__ = "Tanh"


class Away(losses.NonSaturating):
    pass


class Heavy(R1):
    pass


class Alien:
    """A loss of no family: its repr is Python's."""

    def __init__(self, weight=2.0):
        self.weight = weight


def test_a_part_is_known_by_its_class_and_its_settings():
    assert describe(Residual(Dense(3, 3), Tanh())) == "Residual_of_yours(Dense(3, 3), Tanh())"
    assert describe(Scaled(Tanh(), scale=0.5)) == "Scaled(Tanh(), scale=0.5)"
    assert describe(Scaled(Tanh(), scale=np.float32(0.5))) == "Scaled(Tanh(), scale=0.5)"
    assert (
        describe(Sequential(Plain(2), Residual(Tanh()))) == "Sequential(Plain(f=tanh, k=2), Residual_of_yours(Tanh()))"
    )
    assert describe(Wide(3, 4, gain=2)) == "Wide(gain=2, n_in=3, n_out=4)"
    assert describe(Told(3)) == "Told(3)"
    assert describe(Sub(3)) == "Sub: Told(3)"
    assert describe(Odd()) == "Odd: something"
    assert describe(losses.NonSaturating()) == "NonSaturating()"
    assert describe(Alien()) == "Alien(weight=2.0)"
    assert describe(Away(real_label=0.9)) == "Away(real_label=0.9)"
    assert describe(Heavy(2.0)) != describe(Heavy(3.0)) != describe(R1(3.0))


def test_a_network_shows_its_own_name():
    assert repr(Residual(Tanh())) == "Residual(Tanh())"
    assert Residual(Dense(3, 3)).copy().summary().count("Residual") == 0
    assert "Residual(Dense(3, 3))" in Sequential(Residual(Dense(3, 3))).summary((3,))


# Two networks of the same arrays which compute other things
CLASS_ODDITIES = [
    (lambda: Residual(Dense(3, 3)), lambda: Sequential(Dense(3, 3))),
    (lambda: Sequential(Residual(Dense(3, 3))), lambda: Sequential(Sequential(Dense(3, 3)))),
    (lambda: Scaled(Dense(3, 3)), lambda: Residual(Dense(3, 3))),
    (lambda: Scaled(Dense(3, 3), scale=0.5), lambda: Scaled(Dense(3, 3), scale=0.25)),
    (lambda: Sequential(Scaled(Dense(3, 3))), lambda: Sequential(Scaled(Dense(3, 3), scale=2.0))),
    (lambda: Sequential(Sequential(Scaled(Dense(3, 3)))), lambda: Sequential(Sequential(Residual(Dense(3, 3))))),
    (lambda: Sequential(Wide(3, 3)), lambda: Sequential(Dense(3, 3))),
    (lambda: Sequential(Wide(3, 3)), lambda: Sequential(Wide(3, 3, gain=2.0))),
    (lambda: Sequential(Dense2(3, 3)), lambda: Sequential(Dense(3, 3))),
    (lambda: Sequential(Hidden()), lambda: Sequential(Tanh())),
    (lambda: Sequential(Plain(1)), lambda: Sequential(Plain(2))),
    (lambda: Sequential(Told(1)), lambda: Sequential(Sub(1))),
    (lambda: Sequential(Residual(Plain(1))), lambda: Sequential(Residual(Plain(2)))),
]


@pytest.mark.parametrize("pair", CLASS_ODDITIES, ids=[repr(first()) for first, _ in CLASS_ODDITIES])
def test_a_network_does_not_load_into_another_of_the_same_shapes(tmp_path, pair):
    for one, other in (pair, pair[::-1]):
        one().save(tmp_path / "g")
        one().load(tmp_path / "g")
        with pytest.raises(CheckpointError, match=r"g is of another architecture: .* there, but .*only a name has"):
            other().load(tmp_path / "g")


def test_the_arrays_alone_are_the_way_round(tmp_path):
    saved, renamed = Residual(Dense(3, 3)), Scaled(Dense(3, 3, rng=4))
    saved.save(tmp_path / "g")
    renamed.load_state_arrays(checkpoints.read(tmp_path / "g")[0])
    np.testing.assert_array_equal(renamed.theta, saved.theta)


def test_what_a_plain_network_leaves_is_what_it_always_left(tmp_path):
    network = Sequential(Dense(3, 4), Sequential(BatchNorm(4), Tanh()))
    network.save(tmp_path / "g")
    layers = ["Dense(3, 4)", "Sequential(BatchNorm(4), Tanh())"]
    assert checkpoints.read(tmp_path / "g")[1] == {"kind": "network", "layers": layers}


def test_the_work_to_build_save_and_load_grows_as_the_layers_do(tmp_path):
    """40,000 took 40 s. Work is counted in calls: of functions, and of generators for their next value."""

    def calls(n):
        count = 0

        def tally(*_):
            nonlocal count
            count += 1

        sys.setprofile(tally)
        try:
            network = Sequential(*(Tanh() for _ in range(n)))
            network.save(tmp_path / "g")
            network.load(tmp_path / "g")
            network.copy()
        finally:
            sys.setprofile(None)
        return count

    calls(10)
    assert calls(400) < 2.2 * calls(200)


def test_a_layer_that_stands_twice_is_named_where_it_stands_again():
    layer = Tanh()
    with pytest.raises(ArgumentError, match=r"layer 2 Tanh\(\) is part of a network already"):
        Sequential(layer, Tanh(), layer)


def test_every_layer_that_lives_elsewhere_is_known_to_be_taken():
    from tinygan import augment, models
    from tinygan.layers.stored import TAKEN

    found = {name for part in (augment, models) for name in part.__all__ if _is_layer(getattr(part, name))}
    assert found - {"Augmentation", "Adaptive"} == TAKEN


def _is_layer(value):
    return isinstance(value, type) and issubclass(value, Layer)
