"""Layers without a Generator of their own: fresh, and the same in each run of a script. What a layer starts from."""

import subprocess
import sys

import numpy as np
import pytest
from support.ids import brief

import tinygan
from tinygan import GAN, Sequential, models
from tinygan.errors import ArgumentError, DTypeError, ShapeError
from tinygan.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Dropout, LayerNorm, ReLU, SpectralNorm
from tinygan.layers.starting import as_generator, one_of

KINDS = {
    "Dense": lambda **rng: Dense(8, 8, **rng).params["W"],
    "Conv2D": lambda **rng: Conv2D(2, 3, 3, **rng).params["W"],
    "ConvTranspose2D": lambda **rng: ConvTranspose2D(2, 3, 3, **rng).params["W"],
    "Dropout": lambda **rng: Dropout(0.5, **rng).forward(np.ones((4, 9), np.float32)),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_no_two_layers_draw_alike_and_one_seed_fixes_them_all(make):
    tinygan.seed(5)
    first, second = make(), make()
    assert (first != second).any()
    tinygan.seed(5)
    np.testing.assert_array_equal(make(), first)
    np.testing.assert_array_equal(make(), second)
    tinygan.seed(6)
    assert (make() != first).any()
    np.testing.assert_array_equal(make(rng=3), make(rng=3))  # whoever gives two layers one seed has two alike


def test_copies_and_layers_with_an_rng_take_nothing_from_the_row():
    tinygan.seed(0)
    one, two = Dense(3, 3), Dense(3, 3)
    tinygan.seed(0)
    again = Dense(3, 3)
    network = Sequential(
        again.copy(), Dropout(0.5, rng=1), SpectralNorm(Dense(3, 3, rng=2)), Dense(3, 3, rng=as_generator(4))
    )
    network.copy().astype("float64")
    GAN(*models.mlp((2, 2, 1), noise_dim=2, g_hidden=(3,), d_hidden=(3,), rng=0), noise_dim=2, average=0.9)
    np.testing.assert_array_equal(again.params["W"], one.params["W"])
    np.testing.assert_array_equal(Dense(3, 3).params["W"], two.params["W"])


def test_copies_of_a_dropout_go_on_alike_and_apart():
    layer, x = Dropout(0.5), np.ones((4, 9), np.float32)
    copy = layer.copy()
    masks = [layer.forward(x) for _ in range(2)]
    np.testing.assert_array_equal(copy.forward(x), masks[0])
    np.testing.assert_array_equal(copy.forward(x), masks[1])


def test_the_same_script_makes_the_same_layers_in_each_process():
    code = """
import numpy as np
from tinygan import GAN, Sequential
from tinygan.layers import Dense, Dropout, LeakyReLU
G = Sequential(Dense(2, 8), LeakyReLU(), Dropout(0.3), Dense(8, 8), Dense(8, 2))
D = Sequential(Dense(2, 8), LeakyReLU(), Dropout(0.3), Dense(8, 8), Dense(8, 1))
gan = GAN(G, D, noise_dim=2)
for _ in range(3):
    gan.step(np.ones((8, 2), np.float32))
print(G.theta.tobytes().hex(), D.theta.tobytes().hex())
"""
    runs = {subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)}
    assert len(runs) == 1


def test_weights_that_are_drawn_with_a_seed_are_those_of_always():
    """Checkpoints and published figures depend on these bits."""
    W = Dense(3, 2, rng=0).params["W"]
    expected = (np.sqrt(2 / 3) * np.random.default_rng(0).standard_normal((3, 2))).astype(np.float32)
    np.testing.assert_array_equal(W, expected)
    G, D = models.mlp((2, 2, 1), noise_dim=2, g_hidden=(3,), d_hidden=(3,), rng=7)
    rng = np.random.default_rng(7)
    for network in (G, D):
        for layer in network.layers:
            if isinstance(layer, Dense):
                shape = layer.params["W"].shape
                std = np.sqrt(2.0 / shape[0])
                np.testing.assert_array_equal(layer.params["W"], (std * rng.standard_normal(shape)).astype(np.float32))


# ---- dtypes ----------------------------------------------------------------------------------------------------------

DTYPE_ODDITIES = [
    *("int32", "float16", "longdouble", "complex64", "object", "x", "", ">f4", "U3", "f4,f4", "datetime64[s]"),
    *(int, bool, complex, str, object, None, 3, np.nan, [], {}, np.int8, np.float16, Dense),
]


@pytest.mark.parametrize("dtype", DTYPE_ODDITIES, ids=brief)
def test_every_dtype_but_two_is_refused_everywhere(dtype):
    network = Sequential(Dense(3, 2), BatchNorm(2))
    before = network.theta.copy()
    for do in (
        lambda: Dense(3, 2, dtype=dtype),
        lambda: Conv2D(1, 2, 3, dtype=dtype),
        lambda: BatchNorm(3, dtype=dtype),
        lambda: LayerNorm(3, dtype=dtype),
        lambda: Dense(3, 2).astype(dtype),
        lambda: ReLU().astype(dtype),
        lambda: network.astype(dtype),
        lambda: models.mlp((2, 2, 1), noise_dim=2, g_hidden=(3,), d_hidden=(3,), dtype=dtype),
    ):
        with pytest.raises(DTypeError, match="parameters are float32 or float64, got dtype"):
            do()
    np.testing.assert_array_equal(network.theta, before)


@pytest.mark.parametrize("dtype", ["float32", "f8", float, np.float64, np.dtype("float32"), "double", "single"])
def test_both_are_known_by_all_their_names(dtype):
    assert Dense(3, 2, dtype=dtype).params["W"].dtype == np.dtype(dtype)
    assert Dense(3, 2).astype(dtype).params["b"].dtype == np.dtype(dtype)


def replaced(key, dtype):
    layer = Dense(3, 2)
    layer.params[key] = layer.params[key].astype(dtype)
    return layer


def test_ways_round_the_rule_are_closed():
    x = np.ones((4, 3), np.float32)
    for key in ("W", "b"):
        with pytest.raises(DTypeError, match=f"the input is float32, but {key} is int64"):
            replaced(key, int).forward(x)
        with pytest.raises(DTypeError, match=f"the input is float32, but {key} is float64"):
            replaced(key, float)(x)
    whole = replaced("W", int)
    whole.params["b"] = whole.params["b"].astype(int)
    with pytest.raises(DTypeError, match="float32 or float64, got dtype int64"):
        Sequential(whole)
    with pytest.raises(DTypeError, match="G computes in float64 and D in float32"):
        GAN(Sequential(Dense(2, 3)).astype("float64"), Sequential(Dense(3, 1)), noise_dim=2)


def test_a_buffer_that_counts_stays_whole():
    class Counting(Dense):
        def __init__(self):
            super().__init__(3, 2)
            self.buffers["seen"] = np.zeros(1, np.int64)

    assert Counting().astype("float64").buffers["seen"].dtype == np.int64
    assert Sequential(Counting()).astype("float64").buffers["0.seen"].dtype == np.int64


# ---- other things that a layer starts from ---------------------------------------------------------------------------

START_ODDITIES = [
    *(
        (lambda bias=bias: Dense(3, 2, bias=bias), ArgumentError, "bias must be True or False")
        for bias in ("False", 0, 1)
    ),
    *(
        (lambda bias=bias: Conv2D(1, 2, 3, bias=bias), ArgumentError, "Conv2D: bias must be")
        for bias in (None, [], "no")
    ),
    *(
        (lambda init=init: Dense(3, 2, init=init), ArgumentError, "he_normal, got")
        for init in ("he_normal", None, 0.02)
    ),
    (lambda: Conv2D(1, 2, 3, init="dcgan"), ArgumentError, "Conv2D: init must be a function"),
    (lambda: Dense(2**63, 2), ArgumentError, "n_in must be at most"),
    (lambda: Dense(10**30, 2), ArgumentError, "n_in must be at most"),
    (lambda: Dense(2**40, 2**40), ArgumentError, "W would have the shape"),
    (lambda: Conv2D(1, 2, 2**40), ArgumentError, "W would have the shape"),
    (lambda: BatchNorm(2**40), ArgumentError, "BatchNorm: c must be at most"),
    (lambda: LayerNorm(2**63), ArgumentError, "LayerNorm: c must be at most"),
    (lambda: models.dcgan((8, 8, 1), width=2**62), ArgumentError, "width must be at most"),
    (lambda: models.mlp((2, 2, 1), g_hidden="32"), ArgumentError, "each hidden width"),
    (lambda: models.mlp((2, 2, 1), d_hidden=3), ArgumentError, "must be a sequence"),
    (lambda: models.mlp((2, 2, 1), batch_norm="False"), ArgumentError, "batch_norm must be True or False"),
    (lambda: Dense(3, 2, rng="0"), ArgumentError, "Generator or a seed"),
    (lambda: Dense(3, 2, rng=np.array([0])), ArgumentError, "Generator or a seed"),
    (lambda: Dropout(0.5, rng=np.True_), ArgumentError, "Generator or a seed"),
    (lambda: Dense(3, 2, init=lambda *_, **__: [[1.0]]), tinygan.errors.BackendError, "expected an array, got list"),
    (lambda: Dense(3, 2, init=lambda *_, **__: np.ones((3, 2), int)), DTypeError, "got dtype int64"),
    (lambda: Dense(3, 2, init=lambda *_, **__: np.ones((2, 3), "f4")), ShapeError, "init must return"),
    (lambda: one_of(True, "expected 1 or 3", (1, 3)), ArgumentError, "expected 1 or 3, got True"),
    *((lambda n=n: tinygan.seed(n), ArgumentError, "seed must be a whole number") for n in (-1, 0.5, "1", None, True)),
]


@pytest.mark.parametrize(("do", "error", "words"), START_ODDITIES)
def test_what_a_layer_cannot_start_from_is_refused(do, error, words):
    with pytest.raises(error, match=words):
        do()
