"""Sequential: flat memory, saved work, copies, moving, saving and loading."""

import copy
import pickle

import numpy as np
import pytest

from tinygan import Sequential
from tinygan.backend import backend_of, to_numpy
from tinygan.errors import BackendError, CheckpointError, PassError
from tinygan.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, LeakyReLU, Reshape


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


def test_write_equals_zero_and_add(device):
    nets = [build().to(device.name) for _ in range(2)]
    for net in nets:
        net.grad[...] = 3.0
    x = device.put(X)
    dy = device.put(np.ones((4, 1), dtype=np.float32))
    nets[0].forward(x)
    nets[0].backward(dy, grads="write")
    nets[1].zero_grad()
    nets[1].forward(x)
    nets[1].backward(dy)
    np.testing.assert_array_equal(to_numpy(nets[0].grad), to_numpy(nets[1].grad))


def test_skipping_gradients_leaves_them_and_keeps_dx():
    a, b = build(), build()
    a.grad[...] = 3.0
    a.forward(X)
    b.forward(X)
    dy = np.ones((4, 1), dtype=np.float32)
    np.testing.assert_array_equal(a.backward(dy, grads="skip"), b.backward(dy))
    assert (a.grad == 3.0).all()


def test_without_dx_the_gradients_are_the_same():
    a, b = build(), build()
    dy = np.ones((4, 1), dtype=np.float32)
    a.forward(X)
    b.forward(X)
    assert a.backward(dy, grads="write", need_dx=False) is None
    b.backward(dy, grads="write")
    np.testing.assert_array_equal(a.grad, b.grad)
    a.backward(a.forward(X), need_dx=False)  # the layers below the lowest parameters were closed too


def test_the_data_gradient_of_the_first_layer_is_never_computed():
    class Watched(Dense):
        def backward(self, dy, *, grads="add", need_dx=True):
            assert not need_dx, "dx of the data was computed"
            return super().backward(dy, grads=grads, need_dx=need_dx)

    net = Sequential(Flatten(), Watched(9, 3), LeakyReLU(), Dense(3, 1))
    net.backward(net.forward(X), need_dx=False)
    assert net.backward(net.forward(X), grads="skip", need_dx=False) is None


class Scale(Layer):
    """A student's layer with the plain signature backward(dy)."""

    def __init__(self):
        super().__init__()
        self._add_param("a", np.full(1, 2.0, dtype=np.float32))

    def forward(self, x, *, train=True):
        self._check_input(x)
        return self._remember(x * self.params["a"], x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.grads["a"] += (x * dy).sum()
        return dy * self.params["a"]


@pytest.mark.parametrize(("mode", "expected"), [("add", 5.0 + 10.0), ("write", 10.0), ("skip", 5.0)])
def test_a_plain_backward_serves_all_modes(mode, expected):
    net = Sequential(Scale(), Scale())
    net.grad[...] = 5.0
    x = np.array([[1.0], [2.0]], dtype=np.float32)
    net.forward(x)
    dx = net.backward(x, grads=mode)  # dL/da of both layers: 2·(1 + 4) = 10
    np.testing.assert_allclose(net.grad, expected)
    np.testing.assert_allclose(dx, 4.0 * x)


def test_a_pass_can_be_set_aside(device):
    """D(real), D(fake), then both backwards, each with its own values."""
    net = build().to(device.name).astype(np.float64)
    net.layers[4].rate = 0.0
    first, second = device.put(X.astype(np.float64)), device.put(2.0 * X.astype(np.float64))
    dy = device.put(np.ones((4, 1)))
    net.forward(first)
    taken = net.take_pass()
    net.forward(second)
    net.backward(dy, grads="write")
    net.restore_pass(taken)
    net.backward(dy)
    together = to_numpy(net.grad).copy()
    net.zero_grad()
    for x in (first, second):
        net.forward(x)
        net.backward(dy)
    np.testing.assert_allclose(together, to_numpy(net.grad), rtol=1e-12)


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
    assert {backend_of(a).name for a in [net.theta, net.grad, *net.params.values(), *net.buffers.values()]} == {
        "standin"
    }
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
    ("saved", "here"),
    [
        (Conv2D(1, 2, 2, stride=2, padding="valid"), Conv2D(1, 2, 2, padding="valid")),
        (BatchNorm(2), BatchNorm(2, momentum=0.5)),
        (BatchNorm(2), BatchNorm(2, eps=0.1)),
        (LeakyReLU(0.1234567), LeakyReLU(0.12345678)),
    ],
    ids=repr,
)
def test_settings_that_no_shape_shows_are_compared_too(tmp_path, saved, here):
    Sequential(saved).save(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"another architecture: layer 0"):
        Sequential(here).load(tmp_path / "net.safetensors")


def test_networks_survive_pickle():
    net = build()
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net(X), twin(X))
    twin.theta[...] = 0.0
    assert (twin.layers[3].layers[0].params["W"] == 0.0).all()


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

        def forward(self, x, *, train=True):
            if where == "forward" and self.armed:
                raise error
            return super().forward(x, train=train)

        def backward(self, dy):
            if where == "backward" and self.armed:
                raise error
            return super().backward(dy)

    net = Sequential(Dense(2, 3), Trap(), Dense(3, 1))
    x = np.ones((4, 2), dtype=np.float32)
    with pytest.raises(error):
        net.backward(net.forward(x))
    net.layers[1].armed = False
    net.backward(net.forward(x))


def test_layers_of_inner_networks_are_named_by_their_path():
    net = build()
    assert net.layers[3].layers[1].name == "layer 3.1 BatchNorm(6)"


def test_random_layers_are_found_wherever_they_are():
    net = Sequential(Dropout(0.1, rng=0), Sequential(Dense(2, 2), Dropout(0.1, rng=1)))
    assert [name for name, _ in net.rngs()] == ["0.rng", "1.1.rng"]
