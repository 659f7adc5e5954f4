"""Sequential: flat memory, saved work, copies, moving, saving and loading."""

import copy
import pickle
import weakref

import numpy as np
import pytest

from tinygan import Sequential, layers, to_numpy
from tinygan.backends.cpu import CpuOps
from tinygan.errors import ArgumentError, BackendError, CheckpointError, DTypeError, PassError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStdDev,
    Pack,
    Reshape,
    Tanh,
)
from tinygan.ops import Ops, ops_of


def build(seed=0):
    rng = np.random.default_rng(seed)
    inner = Sequential(Dense(18, 6, rng=rng), BatchNorm(6))
    return Sequential(
        Conv2D(1, 2, 3, rng=rng), LeakyReLU(), Flatten(), inner, Dropout(0.2, rng=1), Dense(6, 1, rng=rng)
    )


X = np.random.default_rng(9).standard_normal((4, 3, 3, 1)).astype(np.float32)


def test_theta_and_grad_hold_every_parameter_in_order(device):
    net = build().to(device.name)
    for flat, arrays in ((net.theta, net.params), (net.grad, net.grads)):
        joined = np.concatenate([to_numpy(a).ravel() for a in arrays.values()])
        np.testing.assert_array_equal(to_numpy(flat), joined)
    assert net.size == net.theta.size == sum(layer.size for layer in net.layers)
    net.theta[...] = 0.25
    assert (to_numpy(net.layers[3].layers[0].params["W"]) == 0.25).all()


def test_params_and_grads_have_equal_keys_and_shapes():
    net = build()
    assert net.params.keys() == net.grads.keys()
    assert all(net.params[k].shape == net.grads[k].shape for k in net.params)
    assert list(net.params)[:4] == ["0.W", "0.b", "3.0.W", "3.0.b"]


# ---- passes ----------------------------------------------------------------------------------------------------------


def test_no_more_than_two_open_passes_are_remembered():
    """Enough for backward to refuse; forward without backward must not keep the activations of every batch."""
    dense, kept = Dense(3, 2), []
    for _ in range(4):
        y = dense.forward(np.ones((5, 3), dtype=np.float32))
        kept.append(weakref.ref(y))
        del y
    assert [ref() is not None for ref in kept] == [False, False, True, True]


def test_written_gradients_equal_those_added_to_zero(device):
    nets = [build().to(device.name) for _ in range(2)]
    x, dy = device.put(X), device.put(np.ones((4, 1), dtype=np.float32))
    for net in nets:
        net.grad[...] = 3.0
    _, taken = nets[0].apply(x, True)
    nets[0].backprop(taken, dy, add=False)
    nets[1].zero_grad()
    nets[1].forward(x)
    nets[1].backward(dy)
    np.testing.assert_array_equal(to_numpy(nets[0].grad), to_numpy(nets[1].grad))


def test_the_three_questions_agree(device):
    """input_gradient stores nothing, store_gradients returns nothing, and backprop is both."""
    both, x, dy = build().to(device.name), device.put(X), device.put(np.ones((4, 1), dtype=np.float32))
    both.grad[...] = 3.0
    twin = both.copy()
    dx = both.backprop(both.apply(x, True)[1], dy)
    _, taken = twin.apply(x, True)
    np.testing.assert_array_equal(to_numpy(twin.input_gradient(taken, dy)), to_numpy(dx))
    assert (to_numpy(twin.grad) == 3.0).all()
    assert twin.store_gradients(taken, dy) is None
    np.testing.assert_array_equal(to_numpy(twin.grad), to_numpy(both.grad))


class Counting(Layer):
    """Passes numbers on, has a parameter or none, and counts what it is asked."""

    def __init__(self, asked, *, learns):
        super().__init__()
        self.asked = asked
        if learns:
            self.add_param("a", np.ones(1, dtype=np.float32))

    def apply(self, x, train):
        return x * 1.0, None

    def gradients(self, cache, dy):
        self.asked[-1].append("gradients")
        return dy, {key: np.ones_like(g) for key, g in self.grads.items()}

    def input_gradient(self, cache, dy):
        self.asked.append(["dx"])
        return super().input_gradient(cache, dy)

    def store_gradients(self, cache, dy, add=True):
        self.asked.append(["dθ"])
        super().store_gradients(cache, dy, add)

    def backprop(self, cache, dy, add=True):
        self.asked.append(["both"])
        return super().backprop(cache, dy, add)


def questions(learning, ask):
    """What each layer is asked, from the bottom up, by ``ask(network, pass, dy)``; those marked 1 have parameters."""
    asked = [[[]] for _ in learning]
    net = Sequential(*(Counting(seen, learns=mark == "1") for seen, mark in zip(asked, learning, strict=True)))
    _, taken = net.apply(X.reshape(4, 9), True)
    ask(net, taken, X.reshape(4, 9))
    return ["".join(question for question, *_ in seen[1:]) for seen in asked]


@pytest.mark.parametrize(
    ("learning", "expected"),
    [
        ("111", ["dθ", "both", "both"]),
        ("001101", ["", "", "dθ", "both", "both", "both"]),
        ("0010", ["", "", "dθ", "both"]),
        ("001", ["", "", "dθ"]),
        ("1", ["dθ"]),
        ("000", ["", "", ""]),
    ],
)
def test_nobody_computes_the_gradient_of_the_data(learning, expected):
    """store_gradients goes down to the lowest layer that learns, and asks it for dθ alone."""
    assert questions(learning, lambda net, taken, dy: net.store_gradients(taken, dy)) == expected


def test_the_way_to_the_input_stores_nothing():
    assert questions("0110", lambda net, taken, dy: net.input_gradient(taken, dy)) == ["dx"] * 4
    assert questions("0110", lambda net, taken, dy: net.backprop(taken, dy)) == ["both"] * 4


class Scale(Layer):
    """A student's layer: the two methods, and nothing else."""

    def __init__(self):
        super().__init__()
        self.add_param("a", np.full(1, 2.0, dtype=np.float32))

    def apply(self, x, train):
        return x * self.params["a"], x

    def gradients(self, x, dy):
        return dy * self.params["a"], {"a": (x * dy).sum()[None]}


def test_two_methods_serve_every_question():
    x = np.array([[1.0], [2.0]], dtype=np.float32)  # dL/da of both layers: 2·(1 + 4) = 10
    for ask, expected, returns in (
        (lambda net, taken: net.backprop(taken, x), 5.0 + 10.0, True),
        (lambda net, taken: net.backprop(taken, x, add=False), 10.0, True),
        (lambda net, taken: net.store_gradients(taken, x), 5.0 + 10.0, False),
        (lambda net, taken: net.store_gradients(taken, x, add=False), 10.0, False),
        (lambda net, taken: net.input_gradient(taken, x), 5.0, True),
    ):
        net = Sequential(Scale(), Scale())
        net.grad[...] = 5.0
        dx = ask(net, net.apply(x, True)[1])
        np.testing.assert_allclose(net.grad, expected)
        if returns:
            np.testing.assert_allclose(dx, 4.0 * x)


@pytest.mark.parametrize(
    "wrong", [{}, {"a": np.float32(1.0)}, {"a": np.ones(1)}, {"b": np.ones(1, np.float32)}], ids=str
)
def test_gradients_of_another_shape_are_refused_not_broadcast(wrong):
    class Wrong(Scale):
        def gradients(self, x, dy):
            return dy, wrong

    net = Sequential(Wrong())
    with pytest.raises(ShapeError, match=r"layer 0 Wrong\(\): gradients\(\) must give a as float32 \(1,\)"):
        net.backward(net.forward(np.ones((2, 1), dtype=np.float32)))


def test_passes_are_variables(device):
    """D(real), D(fake), then both ways back, each with its own values, in any order."""
    net = build().to(device.name).astype(np.float64)
    net.layers[4].rate = 0.0
    xs = device.put(X.astype(np.float64)), device.put(2.0 * X.astype(np.float64))
    dy = device.put(np.ones((4, 1)))
    passes = [net.apply(x, True)[1] for x in xs]
    net.store_gradients(passes[1], dy, add=False)
    net.store_gradients(passes[0], dy)
    together = to_numpy(net.grad).copy()
    net.zero_grad()
    for x in xs:
        net.forward(x)
        net.backward(dy)
    np.testing.assert_allclose(together, to_numpy(net.grad), rtol=1e-12)


# ---- several batches in one pass -------------------------------------------------------------------------------------


class MinusTheMean(Layer):
    """A user's own layer that couples samples: y = a (x − mean of the batch), and counts its batches."""

    couples_samples = True

    def __init__(self):
        super().__init__()
        self.add_param("a", np.full(1, 1.5))
        self.buffers["seen"] = np.zeros(1)

    def apply(self, x, train):
        self.buffers["seen"][...] += 1.0
        centred = x - x.mean(axis=0)
        return self.params["a"] * centred, centred

    def gradients(self, centred, dy):
        return self.params["a"] * (dy - dy.mean(axis=0)), {"a": (centred * dy).sum()[None]}


F8 = {"dtype": np.float64}
COUPLING = {
    "BatchNorm": lambda: [Dense(6, 4, rng=1, **F8), BatchNorm(4, **F8), LeakyReLU(), Dense(4, 1, rng=2, **F8)],
    "BatchNorm of images": lambda: [
        Reshape(2, 3, 1),
        Conv2D(1, 3, 2, rng=1, **F8),
        BatchNorm(3, **F8),
        Flatten(),
        Dense(18, 1, rng=2, **F8),
    ],
    "MinibatchStdDev": lambda: [Dense(6, 4, rng=1, **F8), MinibatchStdDev(), Dense(5, 1, rng=2, **F8)],
    "Pack": lambda: [Pack(2), Dense(12, 4, rng=1, **F8), LeakyReLU(), Dense(4, 1, rng=2, **F8)],
    "a layer of one's own": lambda: [Dense(6, 4, rng=1, **F8), MinusTheMean(), Dense(4, 1, rng=2, **F8)],
    "a network in it": lambda: [
        Dense(6, 4, rng=1, **F8),
        Sequential(BatchNorm(4, **F8), LeakyReLU(), Sequential(MinusTheMean())),
        Dense(4, 1, rng=2, **F8),
    ],
    "several": lambda: [Pack(2), BatchNorm(12, **F8), MinibatchStdDev(), Dense(13, 1, rng=1, **F8), MinusTheMean()],
    "none": lambda: [Dense(6, 4, rng=1, **F8), Tanh(), Dense(4, 1, rng=2, **F8)],
}


@pytest.mark.parametrize("links", ["plain", "fast"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("batches", [1, 2, 3])
@pytest.mark.parametrize("name", COUPLING)
def test_several_batches_in_one_pass_are_passes_apart(monkeypatch, name, batches, train, links):
    """Outputs, both gradients and running statistics: as if each batch had come alone, one after the other."""
    monkeypatch.setattr(CpuOps, "links", (CpuOps if links == "fast" else Ops).links)
    joined, rng = Sequential(*COUPLING[name]()), np.random.default_rng(0)
    joined.theta[...] += 0.1 * rng.standard_normal(joined.size)
    apart = joined.copy()
    xs = rng.standard_normal((batches, 4, 6)) + np.arange(batches)[:, None, None]
    y, taken = joined.apply(xs.reshape(-1, 6), train, batches=batches)
    of_each = [apart.apply(x, train) for x in xs]
    np.testing.assert_allclose(y, np.concatenate([y for y, _ in of_each]), rtol=1e-12, atol=1e-13)
    dy = rng.standard_normal(y.shape)
    dys = np.split(dy, batches)
    dx = np.concatenate([apart.input_gradient(c, d) for (_, c), d in zip(of_each, dys, strict=True)])
    np.testing.assert_allclose(joined.input_gradient(taken, dy), dx, rtol=1e-11, atol=1e-13)
    joined.grad[...] = 1e9  # to be written over
    for add in (False, True):
        for k, ((_, cache), d) in enumerate(zip(of_each, dys, strict=True)):
            apart.store_gradients(cache, d, add or k > 0)
        joined.store_gradients(taken, dy, add)
        np.testing.assert_allclose(joined.grad, apart.grad, rtol=1e-11, atol=1e-12)
    joined.grad[...] = 1e9
    np.testing.assert_allclose(joined.backprop(taken, dy, add=False), dx, rtol=1e-11, atol=1e-13)
    for _, cache in of_each[:1]:
        apart.backprop(cache, dys[0], add=False)
    for (_, cache), d in zip(of_each[1:], dys[1:], strict=True):
        apart.backprop(cache, d)
    np.testing.assert_allclose(joined.grad, apart.grad, rtol=1e-11, atol=1e-12)
    for key, value in joined.buffers.items():
        np.testing.assert_allclose(value, apart.buffers[key], rtol=1e-12, atol=1e-14, err_msg=key)


def test_batches_of_unequal_size_are_refused():
    for made in (COUPLING["BatchNorm"], COUPLING["a layer of one's own"]):
        with pytest.raises(ShapeError, match=r"layer 1 .*: 5 samples are not 2 batches of one size"):
            Sequential(*made()).apply(np.ones((5, 6)), True, batches=2)


def test_whether_a_network_couples_samples_is_asked_of_its_layers():
    for name, made in COUPLING.items():
        assert Sequential(*made()).couples_samples == (name != "none"), name
    assert not Sequential(Dense(2, 2), Dropout(0.5), LayerNorm(2)).couples_samples


# ---- what people type ------------------------------------------------------------------------------------------------


def test_what_people_type_is_answered_with_what_to_write():
    for call, message in (
        (
            lambda: Sequential([Dense(2, 2), Dense(2, 1)]),
            r"layers one by one; write Sequential\(\*layers\), with a star",
        ),
        (lambda: Sequential((Dense(2, 2),)), r"write Sequential\(\*layers\)"),
        (lambda: Sequential(Dense(2, 2), LeakyReLU), r"layer 1 must be a tinygan Layer; write LeakyReLU\(\.\.\.\)"),
        (lambda: Sequential(Dense), r"layer 0 must be a tinygan Layer; write Dense\(\.\.\.\)"),
        (lambda: Sequential(Dense(2, 2), "relu"), "layer 1 must be a tinygan Layer, got str"),
        (lambda: Sequential(Dense(2, 2), np.tanh), "layer 1 must be a tinygan Layer, got ufunc"),
        (lambda: Sequential(), "at least one layer"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Conv2d", "Conv2D"),
        ("Linear", "Dense"),
        ("Batchnorm", "BatchNorm"),
        ("ConvTranspose2d", "ConvTranspose2D"),
        ("Conv2DTranspose", "ConvTranspose2D"),
        ("BatchNorm2d", "BatchNorm"),
        ("BatchNormalization", "BatchNorm"),
        ("Relu", "ReLU"),
        ("LeakyRelu", "LeakyReLU"),
    ],
)
def test_names_of_other_libraries_are_answered_with_ours(typed, meant):
    with pytest.raises(
        AttributeError, match=rf"'tinygan.layers' has no attribute '{typed}'; here it is called {meant}\."
    ):
        getattr(layers, typed)


def test_names_that_nobody_has_are_answered_with_all_of_them():
    with pytest.raises(
        AttributeError, match=r"no attribute 'Attention'; there are: BatchNorm, Conv2D, .*Tanh, .*Upsample.*\."
    ):
        layers.Attention  # noqa: B018
    assert not hasattr(layers, "Attention")


def test_a_network_is_a_row_of_layers():
    net = build()
    assert len(net) == 6
    assert net[0] is net.layers[0]
    assert net[-1] is net.layers[5]
    assert net[1:3] == net.layers[1:3]
    assert list(net) == list(net.layers)
    assert [type(layer).__name__ for layer in net[3]] == ["Dense", "BatchNorm"]
    with pytest.raises(IndexError):
        net[6]


# ---- looking, copying, moving ----------------------------------------------------------------------------------------


def test_looking_opens_no_pass():
    net = build()
    net(X)
    with pytest.raises(PassError, match="without its forward"):
        net.backward(np.ones((4, 1), dtype=np.float32))
    net.backward(net.forward(X))


def test_copies_are_independent():
    net = build()
    for twin in (net.copy(), copy.deepcopy(net)):
        theta = net.theta.copy()
        twin.theta[...] = 0.0
        twin.forward(X)
        np.testing.assert_array_equal(net.theta, theta)
        assert (twin.layers[0].params["W"] == 0.0).all()
        assert np.shares_memory(twin.layers[0].params["W"], twin.theta)
        assert not np.shares_memory(twin.theta, net.theta)


def test_moving_there_and_back_changes_no_bit():
    net = build()
    expected = net(X)
    assert net.to("standin") is net
    assert {ops_of(a).name for a in [net.theta, net.grad, *net.params.values(), *net.buffers.values()]} == {"standin"}
    assert np.shares_memory(net.to("numpy").theta, net.layers[0].params["W"])
    np.testing.assert_array_equal(net(X), expected)


def test_a_network_inside_a_network_does_not_move_alone():
    with pytest.raises(BackendError, match="belongs to a network"):
        build().layers[3].to("standin")


def test_float64_copy_computes_in_float64():
    net = build().astype(np.float64)
    assert net.theta.dtype == np.float64
    assert net(X.astype(np.float64)).dtype == np.float64


def test_summary_is_a_table_of_shapes_and_counts():
    lines = build().summary((3, 3, 1)).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters"]
    assert "Conv2D(1, 2, 3, stride=1, padding='same')" in lines[2]
    assert "(N, 3, 3, 2)" in lines[2]
    assert lines[2].endswith(" 20")
    assert lines[-1].split() == ["total", f"{build().size}"]
    assert "(N, ?, ?, 2)" in build().summary()


def test_layers_of_unknown_input_are_summarised_as_such():
    assert "?" in Sequential(LeakyReLU(), Reshape(2, 3)).summary()


def test_saving_and_loading(device, tmp_path):
    net, other = build(0).to(device.name), build(1).to(device.name)
    net.forward(device.put(X))
    net.forget()
    net.save(tmp_path / "net.safetensors")
    assert other.load(tmp_path / "net.safetensors") is other
    x = device.put(X)
    np.testing.assert_array_equal(device.get(net(x)), device.get(other(x)))
    for key, value in net.buffers.items():
        np.testing.assert_array_equal(device.get(value), device.get(other.buffers[key]))


def test_another_architecture_is_refused_and_nothing_changes(tmp_path):
    build().save(tmp_path / "net.safetensors")
    other = Sequential(Dense(3, 4), Dense(4, 1))
    theta = other.theta.copy()
    with pytest.raises(CheckpointError, match=r"layer 0 is Conv2D\(.*\) there, but Dense\(3, 4\) here"):
        other.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.theta, theta)
    with pytest.raises(CheckpointError, match=r"another architecture \(missing: 1\.W, 1\.b; unexpected"):
        other.load_state_arrays(build().state_arrays())
    with pytest.raises(CheckpointError, match=r"0\.W has shape \(3, 5\) there, but \(3, 4\) here"):
        other.load_state_arrays(Sequential(Dense(3, 5), Dense(5, 1)).state_arrays())


@pytest.mark.parametrize(
    ("saved", "built"),
    [
        (Conv2D(1, 2, 2, stride=2, padding="valid"), Conv2D(1, 2, 2, padding="valid")),
        (BatchNorm(2), BatchNorm(2, momentum=0.5)),
        (BatchNorm(2), BatchNorm(2, eps=0.1)),
        (LeakyReLU(0.1234567), LeakyReLU(0.12345678)),
    ],
    ids=repr,
)
def test_settings_that_no_shape_shows_are_compared_too(tmp_path, saved, built):
    Sequential(saved).save(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"another architecture: layer 0"):
        Sequential(built).load(tmp_path / "net.safetensors")


def test_networks_survive_pickle():
    net = build()
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net(X), twin(X))
    twin.theta[...] = 0.0
    assert (twin.layers[3].layers[0].params["W"] == 0.0).all()


@pytest.mark.parametrize(
    "again",
    [
        Sequential.copy,
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: net.astype(np.float32),
        lambda net: net.to("standin").to("numpy"),
    ],
    ids=["copy", "deepcopy", "pickle", "astype", "to"],
)
def test_what_comes_back_has_no_open_pass_and_learns_as_before(again):
    net, expected = build(), build()
    net.forward(X)
    twin = again(net)
    dy = np.ones((4, 1), dtype=np.float32)
    with pytest.raises(PassError, match="without its forward"):
        twin.backward(dy)
    for network in (twin, expected):
        network.layers[4].rate = 0.0
        for buffer in network.buffers.values():
            buffer[...] = 0.5
        network.zero_grad()
        network.backward(network.forward(X))
    np.testing.assert_array_equal(twin.grad, expected.grad)
    for flat, arrays in ((twin.theta, twin.params), (twin.grad, twin.grads)):
        np.testing.assert_array_equal(flat, np.concatenate([a.ravel() for a in arrays.values()]))
        assert all(np.shares_memory(flat, array) for array in arrays.values())
    inner = twin.layers[3]
    assert np.shares_memory(inner.theta, twin.theta)
    assert inner.layers[1].name == "layer 3.1 BatchNorm(6)"
    for key, buffer in inner.layers[1].buffers.items():
        assert twin.buffers[f"3.1.{key}"] is buffer
        np.testing.assert_array_equal(buffer, expected.buffers[f"3.1.{key}"])


def test_a_copy_of_an_inner_network_stands_alone():
    inner = build().layers[3].copy()
    assert inner.layers[1].name == "layer 1 BatchNorm(6)"
    inner.to("standin").to("numpy")
    Sequential(Dense(2, 18), inner)


def test_shared_generators_stay_shared_in_copies():
    """Two Dropouts on one Generator draw other masks than two on equal ones; a float64 copy must draw the same."""
    rng = np.random.default_rng(0)
    net = Sequential(Dropout(0.5, rng=rng), Dropout(0.5, rng=rng))
    x = np.ones((5, 7), dtype=np.float32)
    outputs = [twin.forward(x.astype(dtype)) for twin, dtype in ((net.copy(), "f4"), (net.astype("f8"), "f8"))]
    np.testing.assert_array_equal(*outputs)


def test_a_look_leaves_an_open_pass_open():
    a, b = build(), build()
    dy = np.ones((4, 1), dtype=np.float32)
    a.forward(X)
    a(2.0 * X)
    b.forward(X)
    np.testing.assert_array_equal(a.backward(dy), b.backward(dy))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_what_breaks_off_does_not_spoil_the_next_pass(where, error):
    class Trap(LeakyReLU):
        armed = True

        def apply(self, x, train):
            if where == "forward" and self.armed:
                raise error
            return super().apply(x, train)

        def gradients(self, cache, dy):
            if where == "backward" and self.armed:
                raise error
            return super().gradients(cache, dy)

    net = Sequential(Dense(2, 3), Trap(), Dense(3, 1))
    x = np.ones((4, 2), dtype=np.float32)
    with pytest.raises(error):
        net.backward(net.forward(x))
    net.layers[1].armed = False
    net.backward(net.forward(x))


def test_layers_of_inner_networks_are_named_by_their_path():
    net = build()
    assert net.layers[3].layers[1].name == "layer 3.1 BatchNorm(6)"


def test_networks_within_networks_without_end_are_refused(tmp_path):
    """100 are good for all that a network does; of 2,000, Python would say something of recursion."""
    network = Sequential(Dense(2, 2, rng=0))
    for _ in range(99):
        network = Sequential(network)
    network.backward(network.forward(np.ones((3, 2), dtype=np.float32)))
    network.save(tmp_path / "g")
    network.load(tmp_path / "g")
    assert repr(network.copy().astype("float64")) == repr(pickle.loads(pickle.dumps(network)))
    with pytest.raises(ArgumentError, match="more than 100 networks lie within each other; put their layers in a row"):
        Sequential(network)


def test_random_layers_are_found_wherever_they_are():
    net = Sequential(Dropout(0.1, rng=0), Sequential(Dense(2, 2), Dropout(0.1, rng=1)))
    assert [name for name, _ in net.rngs()] == ["0.rng", "1.1.rng"]


def test_every_kind_of_batch_is_looked_at():
    """A batch like the last one is let through at once: an empty one is not like it, nor is one of another height."""
    network = Sequential(Conv2D(1, 2, 3, padding="valid"), Flatten(), Dense(2, 1))
    assert network(np.ones((2, 3, 3, 1), dtype=np.float32)).shape == (2, 1)
    with pytest.raises(ShapeError, match="the batch is empty"):
        network(np.ones((0, 3, 3, 1), dtype=np.float32))
    with pytest.raises(ShapeError, match=r"expected input \(N, 2\)"):
        network(np.ones((2, 4, 3, 1), dtype=np.float32))
    with pytest.raises(DTypeError, match="the input is float64"):
        network(np.ones((2, 3, 3, 1)))
    assert network(np.ones((5, 3, 3, 1), dtype=np.float32)).shape == (5, 1)


def test_layers_that_do_not_fit_are_both_named():
    with pytest.raises(ShapeError, match=r"layer 1 Dense\(4, 1\): .* It follows layer 0 Dense\(2, 3\), .* \(N, 3\)"):
        Sequential(Dense(2, 3), Dense(4, 1))


class Lookup(layers.Layer):
    """y[n] = W[x[n]], for the indices x (N,)."""

    takes_integers = True

    def __init__(self):
        super().__init__()
        self.add_param("W", np.arange(6, dtype=np.float32).reshape(3, 2))

    def apply(self, x, train):
        return self.params["W"][x], x

    def gradients(self, x, dy):
        dW = np.zeros_like(self.params["W"])
        np.add.at(dW, x, dy)
        return None, {"W": dW}

    def output_shape(self, input_shape):
        return (*input_shape, 2)


def test_a_network_may_begin_with_indices():
    network = Sequential(Lookup(), Dense(2, 1))
    y = network.forward(np.array([0, 2, 2]))
    assert network.backward(np.ones_like(y)) is None
    assert network.grads["0.W"][1].any() == 0
    np.testing.assert_allclose(network.grads["0.W"][2], 2 * network.grads["0.W"][0])
    with pytest.raises(DTypeError, match="expected integers"):
        network(np.ones(3, dtype=np.float32))


def test_one_layer_cannot_stand_in_two_places():
    layer = Dense(2, 2)
    with pytest.raises(ArgumentError, match="part of a network already"):
        Sequential(layer, layer)
