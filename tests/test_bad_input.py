"""What people really pass to an engine by mistake, and the message that tells them how to mend it.

Files, folders and flags have cases of their own in the tests of data, checkpoints and the command line.
"""

import numpy as np
import pytest

from tinygan import GAN, Sequential, initializers, layers, losses, models, optim
from tinygan.errors import ArgumentError, BackendError, DTypeError, PassError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Tanh,
)


def f32(*shape):
    return np.ones(shape, dtype=np.float32)


def dense_net():
    return Sequential(Dense(3, 4), LeakyReLU(), Dense(4, 2))


def small_gan(**options):
    return GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 1)), noise_dim=2, **options)


def backward_twice(layer, x):
    y = layer.forward(x)
    layer.backward(y)
    layer.backward(y)


def two_forwards(layer, x):
    layer.forward(x)
    layer.backward(layer.forward(x))


def rebind():
    dense_net().layers[0].params["W"] = f32(3, 4)


def share_layer():
    layer = Dense(2, 2)
    return Sequential(layer), Sequential(layer)


def without_grads():
    layer = ReLU()
    layer.params["a"] = f32(1)
    return Sequential(layer)


def unborn():
    class Unborn(ReLU):
        def __init__(self):
            self.a = 1

    return Sequential(Unborn())


class Forgetful(Dense):
    def gradients(self, cache, dy):
        dx, gradients = super().gradients(cache, dy)
        return dx, {"W": gradients["W"]}


class Transposing(Dense):
    def gradients(self, cache, dy):
        dx, gradients = super().gradients(cache, dy)
        return dx, {**gradients, "W": gradients["W"].T}


def one_network():
    network = Sequential(Dense(1, 1))
    return GAN(network, network, noise_dim=1)


def other_optimizer():
    return small_gan(g_optimizer=optim.Adam(Sequential(Dense(2, 3))))


X = f32(2, 3)
IMAGES = f32(2, 8, 8, 3)

# name: (what people do, error, what the message must say)
CASES = {
    # ---- arrays that do not fit a layer
    "dense, wrong width": (lambda: Dense(4, 2).forward(X), ShapeError, r"Dense.*expected input \(N, 4\), got \(N, 3\)"),
    "dense, image": (lambda: Dense(4, 2).forward(IMAGES), ShapeError, r"got \(N, 8, 8, 3\).*Flatten"),
    "dense, one sample": (lambda: Dense(3, 2).forward(f32(3)), ShapeError, r"x\[None\]"),
    "dense, a number": (lambda: Dense(3, 2).forward(f32()), ShapeError, r"got shape \(\)"),
    "dense, empty batch": (lambda: Dense(3, 2).forward(f32(0, 3)), ShapeError, r"batch is empty.*\(0, 3\)"),
    "dense, integers": (lambda: Dense(3, 2).forward(np.ones((2, 3), int)), DTypeError, r"int64.*astype"),
    "dense, bytes of an image": (lambda: Dense(3, 2).forward(np.ones((2, 3), np.uint8)), DTypeError, "uint8.*scaled"),
    "dense, booleans": (lambda: Dense(3, 2).forward(np.ones((2, 3), bool)), DTypeError, "bool"),
    "dense, complex": (lambda: Dense(3, 2).forward(np.ones((2, 3), complex)), DTypeError, "complex128"),
    "dense, float64": (lambda: Dense(3, 2).forward(np.ones((2, 3))), DTypeError, "float64, but W is float32.*astype"),
    "dense, float16": (lambda: Dense(3, 2).forward(np.ones((2, 3), np.float16)), DTypeError, "float16, but W"),
    "dense, list": (lambda: Dense(3, 2).forward([[1.0, 2.0, 3.0]]), BackendError, r"got list.*numpy.asarray"),
    "dense, None": (lambda: Dense(3, 2).forward(None), BackendError, "got NoneType"),
    "dense, device array": (lambda: Dense(3, 2).forward(standin(X)), BackendError, r"standin array, but W.*network.to"),
    "network on a device, host data": (
        lambda: dense_net().to("standin").forward(X),
        BackendError,
        r"layer 0 Dense\(3, 4\): the input is a numpy array.*to_backend",
    ),
    "conv, no channel axis": (lambda: Conv2D(1, 4, 3).forward(f32(2, 28, 28)), ShapeError, r"\(N, H, W, 1\).*channel"),
    "conv, flat data": (lambda: Conv2D(1, 4, 3).forward(f32(2, 784)), ShapeError, r"got \(N, 784\).*Reshape"),
    "conv, wrong channels": (
        lambda: Conv2D(1, 4, 3).forward(IMAGES),
        ShapeError,
        r"\(N, H, W, 1\), got \(N, 8, 8, 3\)",
    ),
    "conv, channels first": (lambda: Conv2D(3, 4, 3).forward(f32(2, 3, 8, 8)), ShapeError, "Channels come last"),
    "conv, image smaller than kernel": (
        lambda: Conv2D(3, 4, 5, padding="valid").forward(f32(1, 4, 4, 3)),
        ShapeError,
        r"kernel of \(5, 5\) .*padding 'valid' leaves no output of images of 4x4.*smaller kernel",
    ),
    "conv, image of height 0": (
        lambda: Conv2D(3, 4, 3).forward(f32(1, 0, 4, 3)),
        ShapeError,
        "no output of images of 0x4",
    ),
    "transposed conv, noise without reshape": (
        lambda: ConvTranspose2D(100, 8, 4).forward(f32(2, 100)),
        ShapeError,
        r"expected input \(N, H, W, 100\), got \(N, 100\).*Reshape",
    ),
    "transposed conv, padding leaves no output": (
        lambda: ConvTranspose2D(3, 4, 2, padding=2).forward(f32(1, 1, 1, 3)),
        ShapeError,
        "leaves no output of images of 1x1",
    ),
    "batchnorm, wrong channels": (lambda: BatchNorm(4).forward(IMAGES), ShapeError, r"\(N, ..., 4\), got"),
    "batchnorm, one sample": (lambda: BatchNorm(3).forward(f32(1, 3)), ShapeError, "one value per channel"),
    "layernorm, wrong channels": (lambda: LayerNorm(4).forward(IMAGES), ShapeError, r"\(N, ..., 4\), got"),
    "reshape, wrong count": (lambda: Reshape(7, 7, 16).forward(f32(2, 100)), ShapeError, "784 numbers per sample.*100"),
    "activation, integers": (lambda: Tanh().forward(np.ones((2, 3), int)), DTypeError, "Tanh.*int64"),
    "activation, empty": (lambda: ReLU().forward(f32(0, 3)), ShapeError, "ReLU.*empty"),
    "sigmoid, one sample": (lambda: Sigmoid().forward(f32(3)), ShapeError, "Sigmoid.*batch"),
    "flatten, one sample": (lambda: Flatten().forward(f32(3)), ShapeError, "Flatten.*batch"),
    "backward, wrong dy": (
        lambda: (d := Dense(3, 2), d.forward(X), d.backward(f32(2, 3))),
        ShapeError,
        r"expected dy of the output's shape \(2, 2\), got \(2, 3\)",
    ),
    "a layer that forgets a gradient": (
        lambda: (f := Forgetful(3, 2), f.backward(f.forward(X))),
        ShapeError,
        r"gradients\(\) must give b as float32 \(2,\), got only \['W'\]",
    ),
    "a gradient of another shape": (
        lambda: (f := Transposing(3, 2), f.backward(f.forward(X))),
        ShapeError,
        r"gradients\(\) must give W as float32 \(3, 2\), got float32 \(2, 3\)",
    ),
    # ---- one backward for one forward
    "backward without forward": (lambda: Dense(3, 2).backward(f32(2, 2)), PassError, "without its forward"),
    "backward twice": (lambda: backward_twice(Dense(3, 2), X), PassError, "each forward serves one backward"),
    "two forwards, then backward": (lambda: two_forwards(Dense(3, 2), X), PassError, "two or more forward passes"),
    "the same in a network": (
        lambda: two_forwards(dense_net(), X),
        PassError,
        "Sequential: two or more forward passes",
    ),
    "backward after a look": (lambda: (d := Dense(3, 2), d.backward(d(X))), PassError, "without its forward"),
    # ---- settings of layers
    "dense, size 0": (lambda: Dense(0, 2), ArgumentError, "n_in must be a whole number of at least 1, got 0"),
    "dense, negative size": (lambda: Dense(3, -2), ArgumentError, "n_out.*got -2"),
    "dense, float size": (lambda: Dense(3, 2.0), ArgumentError, "n_out.*got 2.0"),
    "dense, size True": (lambda: Dense(True, 2), ArgumentError, "n_in.*got True"),
    "conv, stride 0": (lambda: Conv2D(1, 2, 3, stride=0), ArgumentError, "Conv2D: stride.*got 0"),
    "conv, kernel 0": (lambda: Conv2D(1, 2, 0), ArgumentError, "Conv2D: kernel_size.*got 0"),
    "conv, three strides": (lambda: Conv2D(1, 2, 3, stride=(1, 2, 3)), ArgumentError, "pair"),
    "conv, float kernel": (lambda: Conv2D(1, 2, 2.5), ArgumentError, "kernel_size.*2.5"),
    "conv, unknown padding": (lambda: Conv2D(1, 2, 3, padding="full"), ArgumentError, "'same', 'valid'.*got 'full'"),
    "conv, negative padding": (lambda: Conv2D(1, 2, 3, padding=-1), ArgumentError, "padding must be.*got -1"),
    "conv, flat padding": (lambda: Conv2D(1, 2, 3, padding=(1, 1)), ArgumentError, r"\(\(top, bottom\)"),
    "conv, padding None": (lambda: Conv2D(1, 2, 3, padding=None), ArgumentError, "got None"),
    "conv, channels 0": (lambda: Conv2D(0, 2, 3), ArgumentError, "c_in"),
    "transposed conv, stride 0": (lambda: ConvTranspose2D(1, 2, 3, stride=(0, 1)), ArgumentError, "ConvTranspose2D"),
    "batchnorm, channels 0": (lambda: BatchNorm(0), ArgumentError, "BatchNorm: c "),
    "batchnorm, eps 0": (lambda: BatchNorm(3, eps=0), ArgumentError, "eps must be positive"),
    "batchnorm, momentum 2": (lambda: BatchNorm(3, momentum=2), ArgumentError, r"momentum must be in \[0, 1\], got 2"),
    "layernorm, one channel": (lambda: LayerNorm(1), ArgumentError, "at least 2, got 1"),
    "leaky relu, slope 1": (lambda: LeakyReLU(1.0), ArgumentError, r"slope must be in \[0, 1\)"),
    "leaky relu, slope NaN": (lambda: LeakyReLU(float("nan")), ArgumentError, "got nan"),
    "dropout, rate 1": (lambda: Dropout(1.0), ArgumentError, r"rate must be in \[0, 1\), got 1"),
    "dropout, negative rate": (lambda: Dropout(-0.1), ArgumentError, "got -0.1"),
    "reshape, nothing": (lambda: Reshape(), ArgumentError, "Reshape"),
    "reshape, minus one": (lambda: Reshape(-1, 3), ArgumentError, "got -1"),
    "reshape, a tuple": (lambda: Reshape((7, 7, 16)), ArgumentError, r"as in Reshape\(7, 7, 16\)"),
    "leaky relu, a word": (lambda: LeakyReLU("0.2"), ArgumentError, "got '0.2'"),
    "dropout, None": (lambda: Dropout(None), ArgumentError, "got None"),
    "batchnorm, a word": (lambda: BatchNorm(3, eps="x"), ArgumentError, "eps.*got 'x'"),
    "dense, an array for a size": (lambda: Dense(np.array([3]), 2), ArgumentError, "n_in must be a whole number"),
    "conv, an array for a kernel": (lambda: Conv2D(1, 2, np.array([3, 3])), ArgumentError, "kernel_size"),
    "conv, an array for padding": (lambda: Conv2D(1, 2, 3, padding=np.array([1, 1])), ArgumentError, "padding must be"),
    "dense, integer parameters": (lambda: Dense(3, 2, dtype=int), DTypeError, "float32 or float64, got dtype int64"),
    "dense, half precision": (lambda: Dense(3, 2, dtype=np.float16), DTypeError, "got dtype float16"),
    "dense, init of a wrong shape": (
        lambda: Dense(3, 2, init=lambda shape, **_: f32(2, 3)),
        ShapeError,
        r"init must return an array of shape \(3, 2\) for W, got \(2, 3\)",
    ),
    "backward, dy in float64": (
        lambda: (d := Dense(3, 2), d.forward(X), d.backward(np.ones((2, 2)))),
        DTypeError,
        "dy of the output's dtype float32, got float64",
    ),
    "backward, dy as integers": (
        lambda: (r := ReLU(), r.forward(X), r.backward(np.ones((2, 3), int))),
        DTypeError,
        "got int64",
    ),
    "backward, dy on another backend": (
        lambda: (d := Dense(3, 2), d.forward(X), d.backward(standin(f32(2, 2)))),
        BackendError,
        "dy is a standin array.*to_backend",
    ),
    "backward, dy as a list": (
        lambda: (d := Dense(3, 2), d.forward(X), d.backward([[1.0, 1.0], [1.0, 1.0]])),
        BackendError,
        "got list",
    ),
    # ---- networks
    "no layers": (lambda: Sequential(), ArgumentError, "at least one layer"),
    "a list of layers": (lambda: Sequential([Dense(3, 2)]), ArgumentError, r"one by one; write Sequential\(\*layers\)"),
    "a class for a layer": (
        lambda: Sequential(Dense(3, 2), Tanh),
        ArgumentError,
        r"layer 1 must be.*write Tanh\(\.\.\.\)",
    ),
    "layers that do not fit": (
        lambda: Sequential(Dense(3, 4), ReLU(), Dense(5, 2)),
        ShapeError,
        r"layer 2 Dense\(5, 2\): expected input \(N, 5\), got \(N, 4\).*follows layer 1 ReLU\(\)",
    ),
    "neighbours that do not fit": (
        lambda: Sequential(Dense(3, 4), Dense(5, 2)),
        ShapeError,
        r"layer 1 Dense\(5, 2\): expected input \(N, 5\), got \(N, 4\).*layer 0 Dense\(3, 4\), which gives \(N, 4\)",
    ),
    "conv after dense": (lambda: Sequential(Dense(3, 4), Conv2D(4, 2, 3)), ShapeError, r"layer 1 Conv2D.*got \(N, 4\)"),
    "conv channels that do not fit": (
        lambda: Sequential(Conv2D(1, 8, 3), Conv2D(4, 2, 3)),
        ShapeError,
        r"\(N, H, W, 4\), got \(N, \?, \?, 8\)",
    ),
    "dense after an image of unknown size": (
        lambda: Sequential(Conv2D(1, 2, 3), Flatten(), Dense(10, 1)).forward(f32(1, 5, 5, 1)),
        ShapeError,
        r"layer 2 Dense\(10, 1\): expected input \(N, 10\), got \(N, 50\)",
    ),
    "one layer in two networks": (share_layer, ArgumentError, r"part of a network already.*copy\(\)"),
    "one layer twice": (lambda: (d := Dense(2, 2), Sequential(d, d)), ArgumentError, "layer 1 .*part of a network"),
    "mixed dtypes": (lambda: Sequential(Dense(2, 2), Dense(2, 2, dtype=np.float64)), DTypeError, "float32 and float64"),
    "a new array for a view": (rebind, ArgumentError, r"memory that the network shares.*\[\.\.\.\] = value"),
    "moving one layer of a network": (lambda: dense_net().layers[0].to("standin"), BackendError, "move the network"),
    "unknown backend": (lambda: dense_net().to("cuda"), BackendError, "unknown backend 'cuda'.*cupy, numpy"),
    "a new theta": (lambda: setattr(dense_net(), "theta", f32(26)), ArgumentError, r"network.theta\[\.\.\.\] = value"),
    "a new gradient": (lambda: setattr(dense_net(), "grad", f32(26)), ArgumentError, r"views of grad"),
    "a new array in a network's params": (
        lambda: dense_net().params.update({"0.W": f32(3, 4)}),
        ArgumentError,
        "memory that the network shares",
    ),
    "a buffer replaced": (
        lambda: Sequential(BatchNorm(3)).layers[0].buffers.__setitem__("running_mean", f32(3)),
        ArgumentError,
        r"\['running_mean'\]\[\.\.\.\] = value",
    ),
    "a layer with params but no grads": (without_grads, ArgumentError, r"has params \['a'\] but grads \[\]"),
    "a layer without super().__init__()": (unborn, ArgumentError, r"must call super\(\).__init__\(\)"),
    # ---- losses
    "real_label 0": (lambda: losses.Minimax(real_label=0), ArgumentError, r"real_label must be in \(0, 1\], got 0"),
    "real_label 2": (lambda: losses.LeastSquares(real_label=2), ArgumentError, "LeastSquares: real_label"),
    "integer logits": (lambda: losses.Minimax().generator(np.ones((2, 1), int)), DTypeError, "logits.*int64"),
    "no logits": (lambda: losses.NonSaturating().generator(f32(0, 1)), ShapeError, "no logits"),
    "logits on two backends": (
        lambda: losses.Minimax().discriminator(f32(2, 1), standin(f32(2, 1))),
        BackendError,
        "numpy and standin arrays are mixed",
    ),
    "labels that do not fit": (
        lambda: losses.SoftmaxCrossEntropy()(f32(4, 10), np.zeros(3, int)),
        ShapeError,
        r"logits \(N, K\).*labels \(N,\)",
    ),
    "labels as floats": (lambda: losses.SoftmaxCrossEntropy()(f32(4, 10), f32(4)), ShapeError, "integer labels"),
    "labels out of range": (
        lambda: losses.SoftmaxCrossEntropy()(f32(2, 3), np.array([-1, 7])),
        ArgumentError,
        r"labels must be in \[0, 3\), got -1 to 7",
    ),
    "labels on another backend": (
        lambda: losses.SoftmaxCrossEntropy()(f32(2, 3), standin(np.zeros(2, int))),
        BackendError,
        "mixed",
    ),
    "logits of two dtypes": (
        lambda: losses.Minimax().discriminator(f32(2, 1), np.ones((2, 1))),
        DTypeError,
        "float32 and float64",
    ),
    # ---- optimisers
    "optimiser of a layer": (
        lambda: optim.Adam(Dense(2, 2)),
        ArgumentError,
        "expected a tinygan.Sequential, got Dense",
    ),
    "learning rate 0": (lambda: optim.Adam(dense_net(), lr=0.0), ArgumentError, "lr must be positive"),
    "learning rate NaN": (lambda: optim.SGD(dense_net(), lr=float("nan")), ArgumentError, "SGD: lr.*nan"),
    "beta1 of 1": (lambda: optim.Adam(dense_net(), beta1=1.0), ArgumentError, r"beta1 must be in \[0, 1\)"),
    "negative eps": (lambda: optim.RMSProp(dense_net(), eps=-1.0), ArgumentError, "eps must be positive"),
    "momentum of 1": (lambda: optim.SGD(dense_net(), momentum=1.0), ArgumentError, "momentum"),
    "negative clip": (lambda: optim.Adam(dense_net(), clip_norm=-1.0), ArgumentError, "clip_norm must be positive"),
    "decay of 1": (lambda: optim.ExponentialMovingAverage(dense_net(), 1.0), ArgumentError, "decay"),
    # ---- the GAN
    "noise that does not fit G": (
        lambda: GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 1)), noise_dim=5),
        ShapeError,
        r"layer 0 Dense\(2, 3\): expected input \(N, 2\), got \(N, 5\)",
    ),
    "samples that do not fit D": (
        lambda: GAN(Sequential(Dense(2, 3)), Sequential(Dense(4, 1)), noise_dim=2),
        ShapeError,
        r"G's samples \(N, 3\) do not fit D.*\(N, 4\)",
    ),
    "two logits": (
        lambda: GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 2)), noise_dim=2),
        ShapeError,
        r"one logit for a sample, \(N, 1\), but gives \(N, 2\)",
    ),
    "optimiser of another network": (other_optimizer, ArgumentError, "g_optimizer was made for another network"),
    "D ends in a sigmoid": (
        lambda: GAN(Sequential(Dense(2, 3)), Sequential(Dense(3, 1), Sigmoid()), noise_dim=2),
        ArgumentError,
        r"D ends in Sigmoid\(\), but NonSaturating\(\) takes logits.*leave the layer out",
    ),
    "noise_dim 0": (lambda: GAN(Sequential(Tanh()), Sequential(Tanh()), noise_dim=0), ArgumentError, "noise_dim"),
    "d_steps 0": (lambda: small_gan(d_steps=0), ArgumentError, "d_steps"),
    "average of 1": (lambda: small_gan(average=1.0), ArgumentError, "decay"),
    "real data of another shape": (lambda: small_gan().step(f32(4, 2)), ShapeError, r"\(N, 2\), but G makes \(N, 3\)"),
    "real data as bytes": (lambda: small_gan().step(np.ones((4, 3), np.uint8)), DTypeError, "uint8.*Scale"),
    "real data in float64": (lambda: small_gan().step(np.ones((4, 3))), DTypeError, "float64, but the networks"),
    "real data on another backend": (
        lambda: small_gan().step(standin(f32(4, 3))),
        BackendError,
        r"gan.to\('standin'\)",
    ),
    "no real data": (lambda: small_gan().step(f32(0, 3)), ShapeError, "0 real samples"),
    "a batch that cannot be shared": (lambda: small_gan(d_steps=3).step(f32(4, 3)), ShapeError, "d_steps = 3"),
    "no samples": (lambda: small_gan().sample(0), ArgumentError, "GAN.sample: n"),
    "noise of another length": (lambda: small_gan().sample(z=f32(4, 3)), ShapeError, r"\(N, 2\), got \(N, 3\)"),
    "negative seed": (lambda: small_gan(seed=-1), ArgumentError, "seed must be a whole number of at least 0, got -1"),
    "a word for a seed": (lambda: small_gan(seed="1"), ArgumentError, "seed.*got '1'"),
    "a word for a loss": (lambda: small_gan(loss="minimax"), ArgumentError, r"NonSaturating\(\), got 'minimax'"),
    "a class for a loss": (lambda: small_gan(loss=losses.Minimax), ArgumentError, "loss must be an object"),
    "one network as both players": (one_network, ArgumentError, "the same network"),
    "a layer as generator": (
        lambda: GAN(Dense(2, 3), Sequential(Dense(3, 1)), noise_dim=2),
        ArgumentError,
        "generator must be a tinygan.Sequential, got Dense",
    ),
    "n and z that differ": (lambda: small_gan().sample(3, z=f32(5, 2)), ArgumentError, "n = 3, but z has 5 rows"),
    "no noise": (lambda: small_gan().sample(z=f32(0, 2)), ShapeError, "batch is empty"),
    # ---- models and initialisers
    "model of a flat image": (lambda: models.mlp((784,)), ArgumentError, r"image_shape must be \(H, W, C\)"),
    "model of an empty image": (lambda: models.mlp((28, 0, 1)), ArgumentError, "got 0"),
    "generator of another kind": (
        lambda: initializers.as_generator("x"),
        ArgumentError,
        "Generator or a seed, got 'x'",
    ),
}


def standin(x):
    from tinygan.testing.device import standin

    return standin.from_host(x)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_a_mend(name):
    do, error, message = CASES[name]
    with pytest.raises(error, match="(?s)" + message):
        do()


def test_there_are_many_cases():
    assert len(CASES) >= 100


def test_a_failed_forward_leaves_no_open_pass():
    """A pass that broke off half-way must not pair with a later backward."""
    net = Sequential(Conv2D(1, 2, 3), Flatten(), Dense(50, 1))
    with pytest.raises(ShapeError):
        net.forward(f32(1, 6, 6, 1))
    dx = net.backward(net.forward(f32(1, 5, 5, 1)))
    assert dx.shape == (1, 5, 5, 1)


def test_every_public_layer_names_itself_in_its_errors():
    for name in layers.__all__:
        if name in ("Layer", "set_labels"):
            continue
        arguments = {
            "Dense": (3, 2),
            "Conv2D": (3, 2, 3),
            "ConvTranspose2D": (3, 2, 3),
            "Reshape": (3,),
            "Dropout": (0.5,),
            "Pack": (2,),
            "SpectralNorm": (Dense(3, 2),),
            "ConcatLabels": (2,),
            "GroupNorm": (1, 3),
            "MaxPool2D": (2,),
            "AvgPool2D": (2,),
            "PixelShuffle": (2,),
            "ConditionalScale": (3, 2),
            "Projection": (3, 2),
            "Embedding": (3, 2),
        }
        layer = getattr(layers, name)(*arguments.get(name, (3,) if "Norm" in name else ()))
        with pytest.raises(ShapeError, match=name):
            layer.forward(f32(0, 3).astype("int64" if layer.takes_integers else "float32"))
