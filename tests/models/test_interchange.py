"""Networks to PyTorch and back: the same outputs, gradients and statistics, or a refusal that says why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.both_sides import check, close, here, there

from tinygan import Sequential, interchange, layers, models
from tinygan.errors import ArgumentError, ShapeError
from tinygan.testing.strategies import convolutions, enliven

torch = pytest.importorskip("torch")
nn = torch.nn

f8 = {"dtype": np.float64}
SYSTEMS = [models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64, models.resnet]
SMALL = {"mlp": {"g_hidden": (6, 8), "d_hidden": (7, 6)}, "mlp_conv": {"g_hidden": (6,)}, "lsgan": {"g_hidden": (6,)}}


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 8, 3)], ids=str)
@pytest.mark.parametrize("way", [None, "concat", "projection"])
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda f: f.__name__)
def test_the_six_systems(system, way, shape):
    width = {} if system is models.mlp else {"width": 2}
    known = {} if way is None else {"classes": 3, "conditional": way}
    G, D = system(shape, noise_dim=5, rng=0, **f8, **width, **known, **SMALL.get(system.__name__, {}))
    rng, labels = np.random.default_rng(1), None if way is None else np.array([0, 2, 1, 1, 0, 2])
    for network, x in ((G, rng.standard_normal((6, 5))), (D, rng.standard_normal((6, *shape)))):
        network = enliven(network, rng)
        check(network, x, labels)
        check(network.astype(np.float32), x.astype(np.float32), labels, tolerance=1e-5)


@settings(max_examples=60)
@given(case=convolutions(largest=5))
def test_any_convolution(case):
    check(Sequential(case.layer), case.x)


@settings(max_examples=60)
@given(case=convolutions(transposed=True, largest=4))
def test_any_transposed_convolution(case):
    check(Sequential(case.layer), case.x)


OTHERS = {
    "activations": [layers.Dense(4, 4, rng=0, **f8), layers.ELU(0.5), layers.Softplus(), layers.SiLU()],
    "layer norm": [layers.Dense(4, 5, rng=0, **f8), layers.LayerNorm(5, eps=1e-3, **f8), layers.Tanh()],
    "dropout": [layers.Dense(4, 5, rng=0, **f8), layers.Dropout(0.4, rng=1)],
    "a network within": [Sequential(layers.Dense(4, 5, rng=0, **f8), layers.ReLU()), layers.Dense(5, 2, rng=1, **f8)],
    "an image of a row": [layers.Dense(4, 24, rng=0, **f8), layers.BatchNorm(24, momentum=0.7, **f8), layers.ReLU(),
                          layers.Reshape(2, 3, 4), layers.GroupNorm(2, 4, **f8)],
    "a row of an image of a row": [layers.Dense(4, 12, rng=0, **f8), layers.Reshape(2, 2, 3), layers.Tanh(),
                                   layers.Flatten(), layers.BatchNorm(12, **f8), layers.Dense(12, 2, rng=1, **f8)],
    "a norm within": [layers.Dense(4, 12, rng=0, **f8), Sequential(layers.BatchNorm(12, **f8), layers.ReLU()),
                      layers.Reshape(2, 2, 3)],
    "a dense within": [Sequential(layers.Dense(4, 12, rng=0, **f8), layers.ReLU()), layers.Reshape(2, 2, 3)],
    "sizes": [layers.Dense(4, 16, rng=0, **f8), layers.Reshape(2, 2, 4), layers.Upsample(3, mode="bilinear"),
              layers.AvgPool2D(2, stride=1), layers.Upsample(2), layers.MaxPool2D((3, 2)), layers.PixelShuffle(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name):
    network = enliven(Sequential(*(layer.copy() for layer in OTHERS[name])), np.random.default_rng(2))
    check(network, np.random.default_rng(0).standard_normal((5, 4)))


def test_names_and_copies():
    G = models.mlp((4, 4, 1), noise_dim=3, g_hidden=(5,), d_hidden=(5,))[0]
    module = interchange.to_pytorch(G)
    assert {"0.weight", "0.bias", "1.running_mean", "3.weight"} <= module.state_dict().keys()
    before = G.theta.copy()
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(G.theta, before)
    assert not module.training


@settings(max_examples=40)
@given(data=st.data())
def test_modules_of_pytorch(data):
    """From there, with what only PyTorch's defaults have: channels-first flattening, paddings as numbers."""
    torch.manual_seed(data.draw(st.integers(0, 99)))
    s, p = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    c = data.draw(st.integers(1, 3))
    more = data.draw(st.integers(0, min(s - 1, p))) if s > 1 else 0
    module = nn.Sequential(
        nn.Linear(5, c * 4),
        nn.BatchNorm1d(c * 4),
        nn.LeakyReLU(0.3),
        nn.Unflatten(1, (c, 2, 2)),
        nn.ConvTranspose2d(c, 2, 4, stride=s, padding=p if 4 + s > 2 * p + 1 else 0, output_padding=more, bias=False),
        nn.BatchNorm2d(2, momentum=0.3, eps=1e-3),
        nn.Sequential(nn.ReLU(), nn.Identity()),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Flatten(),
        nn.LazyLinear(3),
    ).double()
    x = np.random.default_rng(0).standard_normal((4, 5))
    out = module(there(x))  # which makes the lazy one, and moves the statistics
    network = interchange.from_pytorch(module, (5,))
    close(network(x), here(module.eval()(there(x))))
    module.train()
    close(network.forward(x), here(module(there(x))))
    assert out.shape == (4, 3)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_convolutions_of_pytorch():
    for conv in (
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(2, 0)),
        nn.Conv2d(2, 3, 4, padding="same"),
        nn.Conv2d(2, 3, 2, padding="valid", bias=False),
        nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(2, 3, 3, padding=1)),
        nn.ConvTranspose2d(2, 3, 4, stride=3, padding=2, output_padding=1),
    ):
        module = nn.Sequential(conv).double()
        x = np.random.default_rng(0).standard_normal((2, 5, 6, 2))
        close(interchange.from_pytorch(module)(x), here(module(there(x))))


# ---- refusals --------------------------------------------------------------------------------------------------------

D = layers.Dense


@pytest.mark.parametrize(
    ("network", "shape", "error", "says"),
    [
        ([D(4, 4), layers.MinibatchStdDev()], None, ArgumentError, "MinibatchStdDev.* has no counterpart"),
        ([D(4, 4), layers.Pack(2)], None, ArgumentError, "Pack"),
        ([layers.Conv2D(1, 2, 3)], None, ShapeError, r"takes samples \(N, \?, \?, 1\) of several sizes; say which"),
        ([layers.Conv2D(1, 2, 3), layers.LayerNorm(2)], (4, 4, 1), ArgumentError, "LayerNorm takes other numbers"),
        ([layers.Conv2D(1, 2, 3), layers.Flatten()], (4, 4, 1), ArgumentError, "ends in Flatten of images"),
        ([layers.Reshape(2, 2, 3)], (12,), ArgumentError, "no Dense stands before it"),
        (
            [layers.Conv2D(1, 2, 3), layers.Flatten(), layers.GroupNorm(2, 32), D(32, 1)],
            (4, 4, 1),
            ArgumentError,
            "groups",
        ),
        ([D(4, 4)], (5,), ShapeError, "expected input"),
    ],
)
def test_networks_that_are_refused(network, shape, error, says):
    with pytest.raises(error, match=says):
        interchange.to_pytorch(Sequential(*(layer.copy() for layer in network)), shape)


@pytest.mark.parametrize(
    ("module", "shape", "error", "says"),
    [
        (nn.Linear(2, 3), None, ArgumentError, r"expected a torch\.nn\.Sequential with no forward of its own, got Lin"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, dilation=2)), None, ArgumentError, r"dilation=\(2, 2\) has no counterpart"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), None, ArgumentError, "groups=2"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding_mode="reflect")), None, ArgumentError, "padding_mode=reflect"),
        (nn.Sequential(nn.PReLU()), None, ArgumentError, "0 PReLU.* has no counterpart here"),
        (nn.Sequential(nn.BatchNorm1d(3, affine=False)), None, ArgumentError, "affine=False"),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 1)), None, ShapeError, "Give input_shape"),
        (nn.Sequential(nn.ZeroPad2d(1)), None, ArgumentError, "a padding without a convolution"),
        (nn.Sequential(nn.ZeroPad2d(1), nn.ReLU()), None, ArgumentError, "only one before a Conv2d has"),
        (nn.Sequential(nn.MaxPool2d(3, padding=1)), None, ArgumentError, "padding=1"),
        (nn.Sequential(nn.Upsample(scale_factor=1.5)), None, ArgumentError, "only a whole scale_factor"),
        (nn.Sequential(nn.Softplus(beta=2.0)), None, ArgumentError, "beta=2"),
        (nn.Sequential(nn.Softplus(threshold=1.0)), None, ArgumentError, "threshold=1.0.*threshold=40"),
        (nn.Sequential(nn.Linear(2, 2).double(), nn.Softplus()), None, ArgumentError, "threshold=20"),
        (nn.Sequential(nn.Linear(2, 2).bfloat16()), None, ArgumentError, r"0 Linear.*got torch\.bfloat16"),
        (nn.Sequential(nn.LeakyReLU(1.5)), None, ArgumentError, r"0 LeakyReLU.*slope"),
        (nn.Sequential(nn.Linear(12, 12), nn.Unflatten(1, (3, -1, 2))), None, ArgumentError, "all of them given"),
        (nn.Sequential(nn.Linear(2, 2)), (2.5,), ArgumentError, "each size of input_shape must be a whole number"),
        (nn.Sequential(nn.Linear(2, 2)), 2, ArgumentError, r"input_shape must be \(F,\) or \(H, W, C\), got 2"),
        (
            nn.Sequential(nn.ConvTranspose2d(2, 2, 5), nn.ZeroPad2d(-1), nn.ZeroPad2d(-1)),
            None,
            ArgumentError,
            "padding",
        ),
        (nn.Sequential(nn.ConvTranspose2d(1, 1, 3, stride=2, output_padding=1)), None, ArgumentError, "output_padding"),
        (nn.Sequential(nn.Unflatten(1, (3, 2, 2))), (12,), ArgumentError, "no Linear stands before it"),
    ],
)
def test_modules_that_are_refused(module, shape, error, says):
    with pytest.raises(error, match=says):
        interchange.from_pytorch(module, shape)


def test_what_stands_twice_and_what_does_more_than_it_seems():
    act, x = nn.LeakyReLU(0.2), np.random.default_rng(0).standard_normal((3, 4))
    module = nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 8), nn.Sequential(act), nn.Linear(8, 1)).double()
    assert len(interchange.from_pytorch(module, (4,))) == 5
    close(interchange.from_pytorch(module, (4,))(x), here(module(there(x))))

    class Skip(nn.Sequential):
        def forward(self, t):
            return t + super().forward(t)

    class Double(nn.Identity):
        def forward(self, t):
            return 2.0 * t

    twice, hooked = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, given, y: 2.0 * y)
    for wrong, says in (
        (Skip(nn.Linear(4, 4)), "with no forward of its own, got Skip"),
        (nn.Sequential(Skip(nn.Linear(4, 4))), "0 Skip.* has no counterpart"),
        (nn.Sequential(Double()), "0 Double.* has no counterpart"),
        (nn.Sequential(twice, nn.Tanh(), twice), r"2 Linear.*shares weights with another"),
        (nn.Sequential(hooked), "it has hooks"),
    ):
        with pytest.raises(ArgumentError, match=says):
            interchange.from_pytorch(wrong, (4,))


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weights_that_are_computed():
    for norm in (nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm):
        with pytest.raises(ArgumentError, match=r"as by weight_norm|has no counterpart"):
            interchange.from_pytorch(nn.Sequential(norm(nn.Linear(4, 4))), (4,))


def test_classes_of_ones_own_are_no_others():
    class ReLU(layers.ReLU):
        def apply(self, x, train):
            y, cache = super().apply(x, train)
            return np.minimum(y, 0.1), cache

    with pytest.raises(ArgumentError, match=r"layer 1 ReLU.* has no counterpart"):
        interchange.to_pytorch(Sequential(layers.Dense(3, 3), ReLU()))


def test_other_things_are_refused():
    with pytest.raises(ArgumentError, match=r"only a row becomes an image there"):
        interchange.to_pytorch(Sequential(layers.Dense(2, 9), layers.Reshape(3, 3), layers.GroupNorm(1, 3)))
    with pytest.raises(ArgumentError, match=r"to_pytorch: expected a tinygan\.Sequential, got Dense"):
        interchange.to_pytorch(layers.Dense(2, 3))
