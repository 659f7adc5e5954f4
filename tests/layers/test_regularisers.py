"""What SpectralNorm, MinibatchStdDev and Pack have in common: the contract, places in a network, what is refused."""

import copy
import pickle

import numpy as np
import pytest

from tinygan import Sequential, optim
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import Conv2D, ConvTranspose2D, Dense, Flatten, MinibatchStdDev, Pack, Softplus, SpectralNorm
from tinygan.testing import check_layer

numbers = np.random.default_rng(0).standard_normal
f8 = {"dtype": np.float64}

#: One of each, and a batch for it.
KINDS = {
    "dense": (SpectralNorm(Dense(4, 3, rng=1, **f8)), numbers((4, 4))),
    "conv": (SpectralNorm(Conv2D(2, 3, 3, stride=2, rng=1, **f8)), numbers((4, 4, 5, 2))),
    "transposed": (SpectralNorm(ConvTranspose2D(2, 3, 4, stride=2, bias=False, rng=1, **f8)), numbers((4, 3, 2, 2))),
    "std": (MinibatchStdDev(), numbers((4, 3, 2, 2))),
    "pack": (Pack(2), numbers((4, 3, 2, 2))),
}
every_kind = pytest.mark.parametrize("name", KINDS)


# ---- the contract, refusals ------------------------------------------------------------------------------------------


@every_kind
def test_the_contract(device, name):
    layer, x = KINDS[name]
    check_layer(layer.to(device.name) if device.name == "numpy" else layer.copy().to(device.name), device.put(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pack(0), "Pack: m must be a whole number of at least 1"),
        (lambda: Pack(2.0), "Pack: m must be a whole number"),
        (lambda: MinibatchStdDev(eps=0.0), "MinibatchStdDev: eps must be positive"),
        (lambda: SpectralNorm(Dense(2, 2), rng=-1), "rng must be"),
    ],
)
def test_settings_without_meaning(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_sizes_not_known_stay_so():
    assert Pack(3).output_shape((None, None, None)) == (None, None, None)
    assert Pack(3).output_shape((None, 5, 2)) == (None, 5, 6)
    assert MinibatchStdDev().output_shape((None,)) == (None,)
    assert SpectralNorm(Conv2D(2, 3, 3, stride=2)).output_shape((None, 5, 2)) == (None, 3, 3)


# ---- in networks ---------------------------------------------------------------------------------------------------


def network(**options):
    return Sequential(
        MinibatchStdDev(),
        SpectralNorm(Conv2D(3, 4, 3, stride=2, rng=1, **options)),
        Softplus(),
        SpectralNorm(ConvTranspose2D(4, 2, 2, stride=2, rng=2, **options)),
        Flatten(),
        SpectralNorm(Dense(32, 1, rng=3, **options), rng=4),
    )


def test_it_learns_in_a_network_and_its_arrays_are_views(device, tmp_path):
    net = network(dtype=np.float32).to(device.name)
    x = device.put(numbers((6, 4, 4, 2)).astype(np.float32))
    adam = optim.Adam(net, 0.01)
    for _ in range(3):
        y, passed = net.apply(x, True)
        net.store_gradients(passed, y - 1.0, add=False)
        adam.step()
    assert set(net.buffers) == {"1.u", "3.u", "5.u"}
    expected = device.get(net(x))
    net.save(tmp_path / "net.safetensors")
    fresh = network(dtype=np.float32).to(device.name).load(tmp_path / "net.safetensors")
    others = [fresh, net.copy(), net.astype(np.float32)]
    if device.name == "numpy":
        others += [pickle.loads(pickle.dumps(net)), copy.deepcopy(net), net.copy().to("standin").to("numpy")]
    for other in others:
        np.testing.assert_array_equal(device.get(other(x)), expected)
        other.forward(x)
        other.backward(other(x))
        other.theta[...] = 0.0
    np.testing.assert_array_equal(device.get(net(x)), expected)


def test_bound_layers_errors_and_summaries_name_the_place():
    net = network()
    with pytest.raises(ShapeError, match=r"layer 1 SpectralNorm\(Conv2D\(3, 4.*: expected input \(N, H, W, 3\)"):
        net.layers[1].forward(numbers((2, 4, 4, 5)).astype("f4"))
    assert "SpectralNorm(Dense(32, 1))" in net.summary((4, 4, 2))
    with pytest.raises(ArgumentError, match=r"layer 0 Dense\(3, 2\) is part of a network already"):
        SpectralNorm(Sequential(Dense(3, 2)).layers[0])


@pytest.mark.parametrize("layer", [MinibatchStdDev(), Pack(2)])
def test_joined_batches_that_are_not_of_one_size_or_cannot_be_packed(layer):
    network = Sequential(layer)
    with pytest.raises(ShapeError, match=r"layer 0 .*: 5 samples are not 2 batches of one size"):
        network.apply(np.ones((5, 3)), True, batches=2)
    if isinstance(layer, Pack):  # 6 samples are three packs, but one of them would have a sample of each batch
        with pytest.raises(ShapeError, match=r"layer 0 Pack\(2\): a batch of 3 samples.*a multiple of 2"):
            network.apply(np.ones((6, 3)), True, batches=2)


@pytest.mark.parametrize("kind", [MinibatchStdDev, Pack])
def test_a_class_with_another_forward_sees_joined_batches_one_by_one_as_well(kind):
    class Another(kind):
        def apply(self, x, train):
            seen.append(x.copy())
            return super().apply(x, train)

    seen, x = [], numbers((4, 3))
    Sequential(Another(2) if kind is Pack else Another()).apply(x, True, batches=2)
    np.testing.assert_array_equal(seen, [x[:2], x[2:]])
