"""Networks as ONNX files, run by onnxruntime: the same outputs, or a refusal that says why."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tinygan import Sequential, interchange, layers, models
from tinygan.errors import ArgumentError, CheckpointError, ShapeError
from tinygan.layers import set_labels
from tinygan.testing.strategies import convolutions, enliven

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SYSTEMS = [models.mlp, models.mlp_conv, models.lsgan, models.dcgan, models.dcgan64, models.resnet]
SMALL = {"mlp": {"g_hidden": (6, 8), "d_hidden": (7, 6)}, "mlp_conv": {"g_hidden": (6,)}, "lsgan": {"g_hidden": (6,)}}


def check(network, shape, path, classes=0, tolerance=1e-5):
    """Batches of two sizes through one file."""
    network = enliven(network.astype(np.float32), np.random.default_rng(2))
    interchange.export_onnx(network, path, shape)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        x = np.random.default_rng(n).standard_normal((n, *shape)).astype(np.float32)
        inputs = {"x": x.transpose(0, 3, 1, 2) if x.ndim == 4 else x}
        if classes:
            inputs["labels"] = np.arange(n) % classes
            set_labels(network, inputs["labels"])
        y, expected = session.run(["y"], inputs)[0], network(x)
        y = y.transpose(0, 2, 3, 1) if y.ndim == 4 else y
        assert y.shape == expected.shape
        assert np.abs(y - expected).max() <= tolerance * (1.0 + np.abs(expected).max())


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 8, 3)], ids=str)
@pytest.mark.parametrize("way", [None, "concat", "projection"])
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda f: f.__name__)
def test_the_six_systems(system, way, shape, tmp_path):
    width = {} if system is models.mlp else {"width": 2}
    known = {} if way is None else {"classes": 3, "conditional": way}
    G, D = system(shape, noise_dim=5, rng=0, **width, **known, **SMALL.get(system.__name__, {}))
    for network, of in ((G, (5,)), (D, shape)):
        check(network, of, tmp_path / "network.onnx", classes=0 if way is None else 3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=convolutions(largest=5))
def test_any_convolution(case, tmp_path):
    check(Sequential(case.layer.copy()), case.x.shape[1:], tmp_path / "network.onnx")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=convolutions(transposed=True, largest=4))
def test_any_transposed_convolution(case, tmp_path):
    check(Sequential(case.layer.copy()), case.x.shape[1:], tmp_path / "network.onnx")


def dense(n_in, n_out):
    return layers.Dense(n_in, n_out, rng=0)


def conv(c_in, c_out, k=3, stride=1):
    return layers.Conv2D(c_in, c_out, k, stride=stride, rng=0)


OTHERS = {
    "activations": ([dense(4, 4), layers.ELU(0.5), layers.Softplus(), layers.SiLU(), layers.LeakyReLU(0.3)], (4,)),
    "norms": ([dense(4, 5), layers.LayerNorm(5), layers.BatchNorm(5), layers.Dropout(0.4, rng=1)], (4,)),
    "norms of images": ([conv(2, 4), layers.LayerNorm(4), layers.ReLU(), layers.GroupNorm(2, 4)], (4, 5, 2)),
    "a row of an image of a row": ([dense(4, 12), layers.Reshape(2, 2, 3), layers.Tanh(), layers.Flatten(),
                                    layers.BatchNorm(12), layers.LayerNorm(12), dense(12, 2)], (4,)),
    "sizes": ([dense(4, 16), layers.Reshape(2, 2, 4), layers.Upsample(3, mode="bilinear"),
               layers.AvgPool2D(2, stride=1), layers.Upsample(2), layers.MaxPool2D((3, 2)),
               layers.PixelShuffle(2)], (4,)),
    "spectral norm": ([layers.SpectralNorm(conv(2, 3)), layers.Flatten(), layers.SpectralNorm(dense(48, 2))],
                      (4, 4, 2)),
    "blocks": ([models.Residual(conv(2, 3), layers.ReLU(), conv(3, 2)), models.Add(conv(2, 3, 1), conv(2, 3)),
                models.Concat(conv(3, 2, 1), Sequential(conv(3, 2), layers.Tanh())), layers.Flatten(),
                dense(64, 2)], (4, 4, 2)),
    "blocks in blocks": ([models.Add(models.Residual(conv(2, 2)), models.Concat(conv(2, 1), conv(2, 1)))], (4, 4, 2)),
    "a row in the order of its image": (
        [layers.Flatten(), models.Residual(dense(32, 32)), models.Add(layers.Tanh(), dense(32, 32)),
         models.Concat(layers.ReLU(), dense(32, 3)), dense(35, 2)], (4, 4, 2)),
    "an image asked for behind blocks": (
        [dense(4, 12), models.Residual(dense(12, 12)), models.Add(dense(12, 12), layers.Tanh()),
         layers.Reshape(2, 2, 3)], (4,)),
    "a norm within": ([dense(4, 12), Sequential(layers.BatchNorm(12), layers.ReLU()), layers.Reshape(2, 2, 3)], (4,)),
    "networks within": ([Sequential(dense(4, 6), Sequential(layers.ReLU())), models.Residual(dense(6, 6))], (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name, tmp_path):
    parts, shape = OTHERS[name]
    check(Sequential(*(layer.copy() for layer in parts)), shape, tmp_path / "network.onnx")


def test_a_block_alone(tmp_path):
    for block in (
        models.Residual(conv(2, 2)),
        models.Add(conv(2, 2), conv(2, 2)),
        models.Concat(conv(2, 2), conv(2, 1)),
    ):
        check(block, (4, 4, 2), tmp_path / "network.onnx")


@pytest.mark.parametrize(
    ("parts", "shape", "error", "says"),
    [
        ([dense(4, 4), layers.MinibatchStdDev()], None, ArgumentError, "MinibatchStdDev.* has no counterpart"),
        ([layers.Embedding(4, 3)], None, ArgumentError, "begins with indices"),
        ([conv(1, 2)], None, ShapeError, "of several sizes; say which"),
        ([conv(1, 2), layers.Flatten()], (4, 4, 1), ArgumentError, "ends in Flatten of images"),
        ([layers.Reshape(2, 2, 3)], (12,), ArgumentError, "only a row that a Dense gives"),
        (
            [dense(4, 9), layers.Reshape(3, 3), layers.BatchNorm(3)],
            None,
            ArgumentError,
            "has no|only a row|neither rows",
        ),
        ([dense(4, 4)], 4, ArgumentError, r"input_shape must be \(F,\) or \(H, W, C\), got 4"),
        (
            [models.Residual(dense(12, 12), layers.Reshape(2, 2, 3), layers.Flatten())],
            (12,),
            ArgumentError,
            "several orders",
        ),
    ],
)
def test_networks_that_are_refused(parts, shape, error, says, tmp_path):
    with pytest.raises(error, match=says):
        interchange.export_onnx(Sequential(*(layer.copy() for layer in parts)), tmp_path / "network.onnx", shape)
    assert list(tmp_path.iterdir()) == []


def test_of_float64_it_is_float32(tmp_path):
    network = Sequential(
        layers.Conv2D(1, 2, 3, rng=0, dtype=np.float64), layers.Flatten(), layers.Dense(32, 1, rng=0, dtype=np.float64)
    )
    interchange.export_onnx(network, tmp_path / "network.onnx", (4, 4, 1))
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 1))
    y = session.run(["y"], {"x": x.transpose(0, 3, 1, 2).astype(np.float32)})[0]
    np.testing.assert_allclose(y, network(x), rtol=1e-5, atol=1e-6)


def test_a_layer_of_ones_own_and_a_file_that_cannot_be_written(tmp_path):
    class Mine(layers.ReLU):
        pass

    with pytest.raises(ArgumentError, match=r"Mine.* has no counterpart"):
        interchange.export_onnx(Sequential(dense(2, 2), Mine()), tmp_path / "network.onnx")
    with pytest.raises(CheckpointError):
        interchange.export_onnx(Sequential(dense(2, 2)), tmp_path / "no" / "such" / "folder.onnx")
    with pytest.raises(ArgumentError, match=r"expected a tinygan\.Sequential, got Dense"):
        interchange.export_onnx(dense(2, 2), tmp_path / "network.onnx")
