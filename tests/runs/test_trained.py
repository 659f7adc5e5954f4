"""Networks that come back from a run: the same ones, and nothing but networks whatever the file says."""

import numpy as np
import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan import GAN, checkpoints, layers, models
from tinygan.data import ImageData
from tinygan.errors import CheckpointError
from tinygan.runs.trained import KINDS, load_trained
from tinygan.runs.training import train

SYSTEMS = {
    "mlp": {"g_hidden": (8,), "d_hidden": (8,)},
    "mlp_conv": {"width": 2, "g_hidden": (8,)},
    "lsgan": {"width": 2, "g_hidden": (8,)},
    "dcgan": {"width": 2},
    "dcgan64": {"width": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("run"), settings={"width": 8}, **STEPS)


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_five_systems_come_back(name, average, tmp_path):
    G, D = getattr(models, name)((8, 12, 3), noise_dim=5, **SYSTEMS[name])
    gan = GAN(G, D, noise_dim=5, average=average)
    data = ImageData(np.random.default_rng(0).integers(0, 256, (9, 8, 12, 3), dtype=np.uint8))
    train(gan, data, out=tmp_path, steps=3, batch_size=4, low=0.0, progress=False)
    run = load_trained(tmp_path)
    assert (run.noise_dim, run.image_shape, run.low, run.high, run.step) == (5, (8, 12, 3), 0.0, 1.0, 3)
    z = run.noise(4)
    assert z.shape == (4, 5)
    assert run.generator(z).tobytes() == gan.sample(z=z).tobytes()
    x = data.batch(np.arange(4))
    assert run.discriminator(x).tobytes() == gan.discriminator(x).tobytes()


def test_settings_and_kind_of_numbers_come_along(tmp_path):
    G, D = models.mlp((4, 4, 1), noise_dim=3, g_hidden=(4,), d_hidden=(4,), dtype=np.float64)
    data = small_data(size=4)
    train(GAN(G, D, noise_dim=3), data, out=tmp_path, steps=1, batch_size=4, progress=False, settings={"data": "small"})
    run = load_trained(str(tmp_path))
    assert run.settings == {"data": "small"}
    assert run.generator.theta.dtype == run.noise(2).dtype == np.float64
    assert np.array_equal(run.noise(2), run.noise(2))
    assert not np.array_equal(run.noise(2), run.noise(2, seed=1))


LAYERS = [
    layers.Dense(3, 4),
    layers.Dense(3, 4, bias=False),
    layers.Conv2D(2, 3, (1, 4), stride=(2, 1), padding=((0, 1), (2, 0)), bias=False),
    layers.Conv2D(1, 3, 5, padding=2),
    layers.ConvTranspose2D(2, 3, 4, stride=2, padding="valid"),
    layers.BatchNorm(3, eps=1e-8, momentum=0.5),
    layers.LayerNorm(3, eps=1e-3),
    layers.Dropout(0.25),
    layers.Flatten(),
    layers.Reshape(2, 3, 4),
    layers.LeakyReLU(0.1),
    layers.ReLU(),
    layers.Sigmoid(),
    layers.Tanh(),
    layers.ELU(0.5),
    layers.Softplus(),
    layers.SiLU(),
    layers.MinibatchStdDev(),
    layers.Pack(2),
    layers.SpectralNorm(layers.Dense(3, 4)),
    layers.SpectralNorm(layers.Conv2D(2, 3, 3, stride=2, bias=False)),
]


def test_every_layer_comes_back_from_its_text():
    from tinygan.runs.trained import _layer

    assert {type(layer) for layer in LAYERS} == set(KINDS.values())
    for layer in LAYERS:
        arrays = {**layer.params, **layer.buffers}
        again = _layer(repr(layer), repr(layer), arrays)
        plain = {key: value for key, value in vars(layer).items() if isinstance(value, (int, float, str, tuple))}
        assert type(again) is type(layer)
        assert {key: vars(again)[key] for key in plain} == plain
        assert {**again.params, **again.buffers}.keys() == arrays.keys()


# ---- what is refused -------------------------------------------------------------------------------------------------


def changed(run, tmp_path, change):
    """The checkpoint of ``run`` after change(arrays, about), with a right checksum, as a stranger would write it."""
    arrays, about = checkpoints.read(run / "checkpoint.safetensors")
    change(arrays, about)
    checkpoints.write(tmp_path / "checkpoint.safetensors", arrays, about)
    return tmp_path


def test_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: there is no checkpoint; give the folder of"):
        load_trained(tmp_path)


def test_a_damaged_file(run, tmp_path):
    whole = (run / "checkpoint.safetensors").read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        (tmp_path / "checkpoint.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: is "):
            load_trained(tmp_path)


@pytest.mark.parametrize("key", ["generator", "discriminator", "noise_dim", "range"])
def test_a_record_with_a_part_missing(run, tmp_path, key):
    folder = changed(run, tmp_path, lambda arrays, about: about["identity"].pop(key))
    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: .* there is no '{key}' in the record"):
        load_trained(folder)


STRANGE = {
    "a layer of somebody's": ("Swish(3)", r"layer 0 Swish\(3\) is none of tinygan's layers"),
    "the base of all layers": ("Layer()", "none of tinygan's layers"),
    "code": ("__import__('os').system('true')", "none of tinygan's layers"),
    "code inside": ("Dense(__import__('os').getpid(), 8)", "none of tinygan's layers"),
    "a function of ours": ("Sequential(Dense(4, 8))", "none of tinygan's layers"),
    "no text": (None, "none of tinygan's layers"),
    "a long text": ("Dense(4, 8" + " " * 200 + ")", "none of tinygan's layers"),
    "half a text": ("Dense(4, 8", "none of tinygan's layers"),
    "many brackets": ("(" * 190, "none of tinygan's layers"),
    "other sizes": ("Dense(4, 9)", r"\(4, 9\)"),
    "other arrays": ("BatchNorm(8)", "BatchNorm"),
    "endless sizes": ("Dense(10000000000, 8)", "larger than its arrays"),
    "an endless layer": ("BatchNorm(10000000000)", "larger than its arrays"),
    "an endless size by name": ("BatchNorm(c=10000000000)", "option above 64"),
    "an endless stride": ("Conv2D(1, 8, 1, stride=10000000)", "option above 64"),
    "no sizes": ("Dense()", "missing 2 required"),
    "too many sizes": ("Dense(4, 8, 2)", "positional arguments"),
    "an unknown option": ("Dense(4, 8, speed=3)", "speed"),
    "options unpacked": ("Dense(4, 8, **{})", "must be strings"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_strange_layers(run, tmp_path, what):
    text, message = STRANGE[what]

    def change(arrays, about):
        about["identity"]["generator"][0] = text

    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: the networks cannot be built.*{message}"):
        load_trained(changed(run, tmp_path, change))


CHANGES = {
    "an array too few": lambda arrays, about: arrays.pop("average.0.W"),
    "an array too many": lambda arrays, about: arrays.update({"average.9.W": np.zeros(3, np.float32)}),
    "an array of another kind": lambda arrays, about: arrays.update({"average.0.W": np.zeros((4, 8), np.float16)}),
    "no layers": lambda arrays, about: about["identity"].update(generator=[]),
    "layers that are no list": lambda arrays, about: about["identity"].update(generator=7),
    "networks the wrong way round": lambda arrays, about: about["identity"].update(
        generator=about["identity"]["discriminator"]
    ),
    "other noise": lambda arrays, about: about["identity"].update(noise_dim=5),
    "noise in words": lambda arrays, about: about["identity"].update(noise_dim="4"),
    "a range upside down": lambda arrays, about: about["identity"].update(range=[1.0, -1.0]),
    "half a range": lambda arrays, about: about["identity"].update(range=[1.0]),
    "an endless range": lambda arrays, about: about["identity"].update(range=[-1.0, float("inf")]),
    "samples that are no images": lambda arrays, about: about["identity"]["generator"].pop(),
    "a layer without arrays, of many numbers": lambda arrays, about: about["identity"]["generator"].append(
        "ConvTranspose2D(1, 1, 1, stride=64)"
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_networks_that_do_not_fit(run, tmp_path, what):
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: the networks cannot be built"):
        load_trained(changed(run, tmp_path, CHANGES[what]))


def test_images_larger_than_memory(run, tmp_path):
    """Weights may be few, and what is made of them many."""

    def change(arrays, about):
        up = layers.ConvTranspose2D(1, 1, 1, stride=64)
        for _ in range(3):
            about["identity"]["generator"].append(repr(up))
            n = len(about["identity"]["generator"]) - 1
            arrays.update({f"average.{n}.{key}": value for key, value in up.params.items()})

    with pytest.raises(CheckpointError, match="makes more than 16,777,216 numbers of a sample"):
        load_trained(changed(run, tmp_path, change))
