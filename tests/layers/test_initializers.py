"""How weights start, against numbers."""

import numpy as np
import pytest

from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import Conv2D, ConvTranspose2D, Dense
from tinygan.layers.initializers import as_generator, dcgan_normal, glorot_uniform, he_normal

SHAPE = (200, 300)


def test_he_has_variance_2_over_fan_in():
    W = he_normal(SHAPE, fan_in=50, fan_out=7, rng=0, dtype=np.float64)
    assert W.std() == pytest.approx(0.2, rel=0.02)  # √(2 / 50)
    assert W.mean() == pytest.approx(0.0, abs=0.005)
    assert abs(W).max() > 0.6  # normal, not uniform: some lie beyond 3 of it


def test_glorot_is_uniform_within_the_root_of_6_over_the_sum_of_fans():
    W = glorot_uniform(SHAPE, fan_in=50, fan_out=46, rng=0, dtype=np.float64)
    assert W.max() == pytest.approx(0.25, rel=1e-3)  # √(6 / 96)
    assert W.min() == pytest.approx(-0.25, rel=1e-3)
    assert W.std() == pytest.approx(0.25 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("fans", [(50, 7), (3, 1000)])
def test_dcgan_has_a_deviation_of_2_hundredths_whatever_the_size(fans):
    W = dcgan_normal(SHAPE, fan_in=fans[0], fan_out=fans[1], rng=0, dtype=np.float64)
    assert W.std() == pytest.approx(0.02, rel=0.02)
    assert W.mean() == pytest.approx(0.0, abs=5e-4)


@pytest.mark.parametrize("init", [he_normal, glorot_uniform, dcgan_normal])
def test_equal_seeds_draw_equal_weights_of_the_dtype_asked_for(init):
    W, again, other = (init((4, 3), fan_in=4, fan_out=3, rng=seed, dtype=np.float32) for seed in (1, 1, 2))
    assert (W.shape, W.dtype) == ((4, 3), np.float32)
    np.testing.assert_array_equal(W, again)
    assert (other != W).any()


def fans(kind, *args, **options):
    """What the layer tells its initialiser."""
    asked = {}

    def init(shape, *, fan_in, fan_out, rng, dtype):
        asked.update(shape=shape, fan_in=fan_in, fan_out=fan_out)
        return np.zeros(shape, dtype)

    kind(*args, init=init, **options)
    return asked


@pytest.mark.parametrize(
    ("kind", "args", "options", "shape", "fan_in", "fan_out"),
    [
        (Dense, (3, 5), {}, (3, 5), 3, 5),
        (Conv2D, (3, 5, (2, 4)), {}, (2, 4, 3, 5), 24, 40),
        (Conv2D, (7, 2, 3), {}, (3, 3, 7, 2), 63, 18),
        (ConvTranspose2D, (3, 5, (4, 6)), {"stride": (2, 3)}, (4, 6, 5, 3), 12, 120),  # 24 entries, a 6th meet a pixel
        (ConvTranspose2D, (3, 5, 4), {}, (4, 4, 5, 3), 48, 80),
        (ConvTranspose2D, (3, 5, 2), {"stride": 4}, (2, 2, 5, 3), 3, 20),  # not every pixel is met; at least one
    ],
)
def test_layers_count_what_feeds_an_output(kind, args, options, shape, fan_in, fan_out):
    assert fans(kind, *args, **options) == {"shape": shape, "fan_in": fan_in, "fan_out": fan_out}


@pytest.mark.parametrize(
    "layer",
    [
        Dense(400, 60, rng=0),
        Conv2D(40, 10, 3, padding="valid", rng=0),
        ConvTranspose2D(90, 12, 4, stride=2, padding="valid", rng=0),
    ],
    ids=["dense", "conv", "transposed conv"],
)
def test_he_doubles_the_variance_which_relu_halves_again(layer):
    """Of inputs of variance 1: so the mean square behind a ReLU is 1, whatever the layer's sizes."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 400) if isinstance(layer, Dense) else (12, 14, 14, layer.c_in)).astype(np.float32)
    y = layer(x)
    y = y if y.ndim == 2 else y[:, 3:-3, 3:-3]  # at the edge, a pixel is met by less
    assert (y * y).mean() == pytest.approx(2.0, rel=0.1)
    assert (np.maximum(y, 0.0) ** 2).mean() == pytest.approx(1.0, rel=0.1)


def test_biases_start_at_0():
    for layer in (Dense(3, 2), Conv2D(3, 2, 3), ConvTranspose2D(3, 2, 3)):
        assert not layer.params["b"].any()


def test_refusals():
    for rng in (-1, 1.5, True, "0"):
        with pytest.raises(ArgumentError, match="rng must be"):
            as_generator(rng)
    with pytest.raises(ShapeError, match=r"init must return an array of shape \(3, 2\)"):
        Dense(3, 2, init=lambda shape, **_: np.zeros((2, 3), np.float32))
