"""The six systems: their layers are those of the papers, any G fits any D, and their gradients are right."""

from itertools import pairwise

import numpy as np
import pytest
from support import counting

from tinygan import GAN, losses, models
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D
from tinygan.runs import require_finite
from tinygan.testing.strategies import enliven

SYSTEMS = models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64, models.resnet
MODELS = {model.__name__: model for model in SYSTEMS}
SHAPES = [(28, 28, 1), (32, 32, 3), (64, 64, 3)]
NARROW = {
    "mlp": {"g_hidden": (4,), "d_hidden": (4,)},
    "mlp_conv": {"g_hidden": (4,), "width": 2},
    "lsgan": {"g_hidden": (4,), "width": 2},
    "dcgan": {"width": 2},
    "dcgan64": {"width": 2},
    "resnet": {"width": 2},
}

every_model = pytest.mark.parametrize("name", MODELS)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))


def narrow(name, shape=(28, 28, 1), **options):
    return MODELS[name](shape, **NARROW[name], **options)


def convolution(*channels, kernel, stride=2, bias=True, transpose=False):
    kind = "ConvTranspose2D" if transpose else "Conv2D"
    sizes = ", ".join(map(str, channels))
    return f"{kind}({sizes}, {kernel}, stride={stride}, padding='same'{'' if bias else ', bias=False'})"


def conv(*channels, kernel=5, bias=True):
    return [convolution(*channels, kernel=kernel, bias=bias), "LeakyReLU(0.2)"]


def normal_conv(c_in, c_out, kernel=5):
    return [convolution(c_in, c_out, kernel=kernel, bias=False), f"BatchNorm({c_out})", "LeakyReLU(0.2)"]


def grow(c_in, c_out, kernel, activation, stride=2):
    first = convolution(c_in, c_out, kernel=kernel, stride=stride, bias=False, transpose=True)
    return [first, f"BatchNorm({c_out})", activation]


def paint(c_in, c_out, kernel):
    return [convolution(c_in, c_out, kernel=kernel, transpose=True), "Tanh()"]


def dense(*sizes, norm=False):
    """Hidden layers of these widths, and how they end."""
    for n_in, n_out in pairwise(sizes):
        yield f"Dense({n_in}, {n_out})"
        yield from [f"BatchNorm({n_out})"] if norm else []
        yield "LeakyReLU(0.2)"


LAYERS = {
    ("mlp", (28, 28, 1)): (
        [*dense(100, 256, 512, 1024, norm=True), "Dense(1024, 784)", "Tanh()", "Reshape(28, 28, 1)"],
        ["Flatten()", *dense(784, 512, 256), "Dense(256, 1)"],
    ),
    ("mlp_conv", (28, 28, 1)): (
        [*dense(100, 128, 256, norm=True), "Dense(256, 784)", "Sigmoid()", "Reshape(28, 28, 1)"],
        [*conv(1, 64), *conv(64, 128), "Flatten()", f"Dense({7 * 7 * 128}, 1)"],
    ),
    ("lsgan", (28, 28, 1)): (
        [*dense(100, 128, 128, 128, norm=True), "Dense(128, 784)", "ReLU()", "Reshape(28, 28, 1)"],
        [
            *conv(1, 64),
            *conv(64, 128),
            *conv(128, 256),
            *conv(256, 512),
            "Flatten()",
            f"Dense({2 * 2 * 512}, 1)",  # 28, 14, 7, 4, 2
        ],
    ),
    ("dcgan", (32, 32, 3)): (
        [
            f"Dense(100, {4 * 4 * 256})",
            "LeakyReLU(0.2)",
            "Reshape(4, 4, 256)",
            *grow(256, 128, 5, "LeakyReLU(0.2)"),
            *grow(128, 64, 5, "LeakyReLU(0.2)"),
            *paint(64, 3, 5),
        ],
        [*conv(3, 64), *normal_conv(64, 128), *normal_conv(128, 256), "Flatten()", f"Dense({4 * 4 * 256}, 1)"],
    ),
    ("dcgan", (28, 28, 1)): (
        [
            f"Dense(100, {7 * 7 * 256})",
            "LeakyReLU(0.2)",
            "Reshape(7, 7, 256)",
            *grow(256, 128, 5, "LeakyReLU(0.2)", stride=1),
            *grow(128, 64, 5, "LeakyReLU(0.2)"),
            *paint(64, 1, 5),
        ],
        [*conv(1, 64), *normal_conv(64, 128), *normal_conv(128, 256), "Flatten()", f"Dense({4 * 4 * 256}, 1)"],
    ),
    ("dcgan64", (64, 64, 3)): (
        [
            f"Dense(100, {4 * 4 * 512}, bias=False)",
            "Reshape(4, 4, 512)",
            "BatchNorm(512)",
            "ReLU()",
            *grow(512, 256, 4, "ReLU()"),
            *grow(256, 128, 4, "ReLU()"),
            *grow(128, 64, 4, "ReLU()"),
            *paint(64, 3, 4),
        ],
        [
            *conv(3, 64, kernel=4),
            *normal_conv(64, 128, 4),
            *normal_conv(128, 256, 4),
            *normal_conv(256, 512, 4),
            "Flatten()",
            f"Dense({4 * 4 * 512}, 1)",
        ],
    ),
}


def block(c):
    half = c // 2
    first, middle, last = (
        f"Conv2D({sizes}, stride=1, padding='same')"
        for sizes in (f"{c}, {half}, 1", f"{half}, {half}, 3", f"{half}, {c}, 1")
    )
    leaky = "LeakyReLU(0.2)"
    return [f"Residual({leaky}, {first}, {leaky}, {middle}, {leaky}, {last})", leaky]


def grown(c_in, c_out):
    return [*block(c_in), convolution(c_in, c_out, kernel=4, transpose=True)]


LAYERS |= {
    ("resnet", (28, 28, 1)): (
        [f"Dense(100, {7 * 7 * 64})", "Reshape(7, 7, 64)", *grown(64, 16), *grown(16, 1), "Tanh()"],
        [
            *(*conv(1, 16), *conv(16, 32, kernel=4), convolution(32, 64, kernel=4), *block(64)),
            *("Flatten()", f"Dense({4 * 4 * 64}, 1)"),
        ],
    ),
    ("resnet", (64, 64, 3)): (
        [f"Dense(100, {8 * 8 * 64})", "Reshape(8, 8, 64)", *grown(64, 32), *grown(32, 16), *grown(16, 3), "Tanh()"],
        [
            *(*conv(3, 16), *conv(16, 32, kernel=4), *conv(32, 32, kernel=4), convolution(32, 64, kernel=4)),
            *(*block(64), "Flatten()", f"Dense({4 * 4 * 64}, 1)"),
        ],
    ),
}


@pytest.mark.parametrize(("name", "shape"), LAYERS, ids=str)
def test_the_layers_are_those_of_the_system(name, shape):
    for network, layers in zip(MODELS[name](shape), LAYERS[name, shape], strict=True):
        assert [repr(layer) for layer in network.layers] == layers


@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan"])
def test_batch_norm_is_a_choice_for_dense_generators(name):
    with_, without = (narrow(name, batch_norm=choice)[0] for choice in (True, False))
    assert [repr(x) for x in with_.layers if not isinstance(x, BatchNorm)] == [repr(x) for x in without.layers]
    assert len(with_.layers) > len(without.layers)


def test_g_of_lsgan_makes_nothing_darker_than_black():
    with_, without = (narrow("lsgan", floor=choice)[0] for choice in (True, False))
    np.testing.assert_array_equal(with_.theta, without.theta)
    z = np.random.default_rng(0).standard_normal((5, 100)).astype(np.float32)
    np.testing.assert_array_equal(with_.forward(z), without.forward(z).clip(0.0, None))
    assert without(z).min() < 0.0
    with pytest.raises(ArgumentError, match=r"lsgan: floor"):
        models.lsgan(floor="black")


def test_blocks_of_resnet_begin_as_nothing_and_g_as_bright_as_the_data():
    G, D = models.resnet((28, 28, 1), width=8, mean=-0.7)
    x = np.random.default_rng(0).standard_normal((2, 7, 7, 32)).astype(np.float32)
    for network in (G, D):
        blocks = [layer for layer in network.layers if isinstance(layer, models.Residual)]
        np.testing.assert_array_equal(blocks[0](x), x)
    made = G(np.random.default_rng(1).standard_normal((8, 100)).astype(np.float32))
    assert made.mean() == pytest.approx(-0.7, abs=0.05)
    for mean in (-1.0, 1.0, "dark", float("nan")):
        with pytest.raises(ArgumentError, match="resnet: mean must be a number between -1 and 1"):
            models.resnet((28, 28, 1), mean=mean)


def test_the_defaults_are_the_shapes_of_the_systems():
    shapes = {name: model()[0].output_shape((100,)) for name, model in MODELS.items()}
    grey = (28, 28, 1)
    assert shapes == {
        "mlp": grey,
        "mlp_conv": grey,
        "lsgan": grey,
        "dcgan": (32, 32, 3),
        "dcgan64": (64, 64, 3),
        "resnet": grey,
    }


# ---- shapes --------------------------------------------------------------------------------------------------------


@every_shape
def test_every_generator_fits_every_discriminator(shape):
    """One whole step of every pair, after which both have moved."""
    real = np.random.default_rng(0).uniform(0, 1, (3, *shape)).astype(np.float32)
    for g_name in MODELS:
        for d_name in MODELS:
            G, D = narrow(g_name, shape, noise_dim=5)[0], narrow(d_name, shape, rng=1)[1]
            before = G.theta.copy(), D.theta.copy()
            gan = GAN(G, D, noise_dim=5)
            gan.step(real, watch=require_finite)
            assert gan.sample_shape == shape, (g_name, d_name)
            assert (G.theta != before[0]).any(), (g_name, d_name)
            assert (D.theta != before[1]).any(), (g_name, d_name)


@every_model
@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 12, 2), (20, 8, 1), (16, 48, 3), (100, 4, 1)], ids=str)
def test_any_multiple_of_4_does_upright_or_not(name, shape):
    G, D = narrow(name, shape, noise_dim=3)
    y = G(np.ones((2, 3), dtype=np.float32))
    assert y.shape == (2, *shape)
    assert D(y).shape == (2, 1)


@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 2), (29, 30, 1)], ids=str)
def test_a_dense_generator_makes_any_size(name, shape):
    G, D = narrow(name, shape, noise_dim=3)
    assert D(G(np.ones((2, 3), dtype=np.float32))).shape == (2, 1)


@pytest.mark.parametrize(("name", "levels"), [("dcgan", 3), ("dcgan64", 4)])
@pytest.mark.parametrize(("size", "start"), [(28, 7), (32, 4), (64, 8), (36, 9), (40, 5), (48, 6)])
def test_how_a_generator_grows(name, levels, size, start):
    """From the smallest start that its levels allow; the first levels keep the size where they cannot double it."""
    start = start if levels == 3 or size % 16 else start // 2
    G, _ = narrow(name, (size, size, 1))
    strides = [layer.stride[0] for layer in G.layers if isinstance(layer, ConvTranspose2D)]
    assert len(strides) == levels
    assert strides == sorted(strides)
    assert start * np.prod(strides) == size
    assert any(repr(layer).startswith(f"Reshape({start}, {start},") for layer in G.layers)


@every_model
@every_shape
def test_width_and_noise_dim_scale_the_networks(name, shape):
    if name == "mlp":
        return
    for width in (1, 6):
        options = {**NARROW[name], "width": width}
        G, D = MODELS[name](shape, noise_dim=7, **options)
        convolutions = [layer for layer in D.layers if isinstance(layer, Conv2D)]
        doubled = [width << k for k in range(len(convolutions))]
        of_resnet = [width, *[2 * width] * (len(convolutions) - 2), 4 * width]
        assert [c.c_out for c in convolutions] == (of_resnet if name == "resnet" else doubled)
        assert G.layers[0].n_in == 7
        if name in ("dcgan", "dcgan64", "resnet"):
            assert G.layers[-2].c_in == width


# ---- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("mlp", -1, 1), ("mlp_conv", 0, 1), ("lsgan", 0, np.inf), ("dcgan", -1, 1), ("dcgan64", -1, 1), ("resnet", -1, 1)],
)
def test_images_fill_their_range_and_stay_in_it(name, low, high):
    G, _ = narrow(name, noise_dim=8)
    rng = np.random.default_rng(0)
    G.theta[...] = 3.0 * rng.standard_normal(G.theta.shape)
    y = G.forward(rng.standard_normal((16, 8)).astype(np.float32))
    assert y.min() >= low
    assert y.max() <= high
    reached = [max(low, -2), min(high, 2)]
    assert y.min() < reached[0] + 0.01, "it must reach black"
    assert y.max() > reached[1] - 0.01, "and white"


@every_model
def test_new_networks_are_neither_dead_nor_sure(name):
    G, D = MODELS[name]((28, 28, 1), **({} if name == "mlp" else {"width": 16}))
    rng = np.random.default_rng(0)
    y = G.forward(rng.standard_normal((8, 100)).astype(np.float32))
    assert y.std(axis=0).mean() > 1e-4, "different z must give different images"
    logits = D.forward(rng.uniform(0, 1, (8, 28, 28, 1)).astype(np.float32))
    assert 1e-6 < logits.std() < 10
    assert np.abs(logits).max() < 30


@every_model
def test_a_seed_fixes_the_weights(name):
    thetas = [np.concatenate([n.theta for n in narrow(name, rng=rng)]) for rng in (0, 0, 1, np.random.default_rng(1))]
    np.testing.assert_array_equal(thetas[0], thetas[1])
    np.testing.assert_array_equal(thetas[2], thetas[3])
    assert (thetas[0] != thetas[2]).any()


@every_model
def test_no_two_layers_start_alike(name):
    """One Generator draws for both networks; a seed given to each layer would give equal numbers to equal shapes."""
    drawn = [
        p.ravel()[:6].tobytes()
        for network in narrow(name, rng=0)
        for key, p in network.params.items()
        if key.endswith("W") and p.any()  # the ends of residual blocks start at 0
    ]
    assert len(set(drawn)) == len(drawn) >= 4


@every_model
def test_dtype(name):
    for network in narrow(name, dtype=np.float64):
        assert {a.dtype for a in (*network.params.values(), *network.buffers.values())} == {np.dtype(np.float64)}
    G, D = narrow(name)
    y = G(np.ones((2, 100), dtype=np.float32))
    assert y.dtype == D(y).dtype == np.float32


@pytest.mark.parametrize("name", ["dcgan", "dcgan64"])
def test_convolutional_weights_start_as_in_the_paper(name):
    for network in MODELS[name]((32, 32, 3), width=16):
        for key, W in network.params.items():
            if key.endswith("W") and W.size > 1000:
                assert abs(W.mean()) < 0.002, key
                assert 0.018 < W.std() < 0.022, key


@pytest.mark.parametrize("name", ["dcgan", "dcgan64"])
def test_no_bias_where_batch_norm_would_remove_it(name):
    for network in narrow(name):
        layers = [layer for layer in network.layers if not repr(layer).startswith("Reshape")]
        for layer, following in pairwise(layers):
            if layer.params and not isinstance(layer, BatchNorm):
                assert ("b" in layer.params) != isinstance(following, BatchNorm)


# ---- what is refused -----------------------------------------------------------------------------------------------

BAD = {
    "dcgan, 30x30": (lambda: models.dcgan((30, 30, 3)), "dcgan: height and width must be multiples of 4.*got 30x30"),
    "dcgan, 28x30": (lambda: models.dcgan((28, 30, 3)), "multiples of 4.*got 28x30.*size="),
    "dcgan, 2x2": (lambda: models.dcgan((2, 2, 3)), "multiples of 4.*got 2x2"),
    "dcgan64, 65x65": (lambda: models.dcgan64((65, 65, 3)), "dcgan64: height and width must be multiples of 4"),
    "mlp_conv, width 0": (lambda: models.mlp_conv(width=0), "mlp_conv: width must be a whole number.*got 0"),
    "lsgan, width 1.5": (lambda: models.lsgan(width=1.5), "lsgan: width.*got 1.5"),
    "dcgan, width -1": (lambda: models.dcgan(width=-1), "dcgan: width.*got -1"),
    "dcgan64, width None": (lambda: models.dcgan64(width=None), "dcgan64: width.*got None"),
    "a seed that is none": (lambda: models.dcgan(width=1, rng="0"), "Generator or a seed, got '0'"),
    "mlp, a hidden layer of 0": (lambda: models.mlp(g_hidden=(0,)), "hidden width.*got 0"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_has_no_meaning_is_refused(what):
    make, message = BAD[what]
    with pytest.raises(ArgumentError, match=message):
        make()


@every_model
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((784,), r"image_shape must be \(H, W, C\), got \(784,\); a grey image has C = 1"),
        ((28, 28), r"image_shape must be \(H, W, C\), got \(28, 28\)"),
        (28, r"image_shape must be \(H, W, C\), got 28"),
        ((28, 28, 0), "each size of image_shape must be a whole number of at least 1, got 0"),
        ((28, 28.0, 1), "each size of image_shape must be a whole number of at least 1, got 28.0"),
    ],
    ids=str,
)
def test_image_shapes_without_meaning(name, shape, message):
    with pytest.raises(ArgumentError, match=f"^{name}: {message}"):
        narrow(name, shape)


@every_model
def test_noise_without_length(name):
    with pytest.raises(ArgumentError, match="got 0"):
        narrow(name, noise_dim=0)


@every_model
def test_images_of_another_shape_are_refused(name):
    G, D = narrow(name, (32, 32, 3))
    with pytest.raises(ShapeError, match=r"layer \d+ "):
        D.forward(np.ones((2, 32, 32, 1), dtype=np.float32))
    with pytest.raises(ShapeError, match=r"layer 0 Dense"):
        G.forward(np.ones((2, 99), dtype=np.float32))


# ---- gradients -----------------------------------------------------------------------------------------------------

TINY = {
    "mlp": lambda: models.mlp((4, 4, 1), noise_dim=3, g_hidden=(5, 4), d_hidden=(5, 4)),
    "mlp_conv": lambda: models.mlp_conv((5, 4, 2), noise_dim=3, width=1, g_hidden=(4,)),
    "lsgan": lambda: models.lsgan((6, 5, 1), noise_dim=3, width=1, g_hidden=(4, 3)),
    "dcgan": lambda: models.dcgan((8, 4, 2), noise_dim=3, width=1),  # the first layer of G keeps the size
    "dcgan64": lambda: models.dcgan64((8, 8, 1), noise_dim=3, width=1),
    "resnet": lambda: models.resnet((4, 8, 1), noise_dim=3, width=2),
}


def tiny(name):
    rng = np.random.default_rng(len(name))
    G, D = TINY[name]()
    return enliven(G, rng), enliven(D, rng), rng


@every_model
def test_gradients_of_both_networks(name):
    G, D, rng = tiny(name)
    counting.check_gradients(G, rng.standard_normal((6, 3)))
    counting.check_gradients(D, rng.standard_normal((6, *G.output_shape((3,)))))


@every_model
@pytest.mark.parametrize("loss", [losses.Minimax(), losses.NonSaturating(), losses.LeastSquares()], ids=repr)
def test_the_generators_gradient_goes_through_the_discriminator(name, loss):
    G, D, rng = tiny(name)
    counting.check_generator_gradient(G, D, loss, rng.standard_normal((6, 3)))
