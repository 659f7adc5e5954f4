"""Networks that come back from a run: the same ones, and nothing but networks whatever the file says."""

import numpy as np
import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan import GAN, Sequential, augment, checkpoints, layers, models
from tinygan.data import ImageData
from tinygan.errors import ArgumentError, CheckpointError
from tinygan.runs.rebuilding import KINDS
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train

SYSTEMS = {
    "mlp": {"g_hidden": (8,), "d_hidden": (8,)},
    "mlp_conv": {"width": 2, "g_hidden": (8,)},
    "lsgan": {"width": 2, "g_hidden": (8,)},
    "dcgan": {"width": 2},
    "dcgan64": {"width": 2},
    "resnet": {"width": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("run"), settings={"width": 8}, **STEPS)


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_six_systems_come_back(name, average, tmp_path):
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
    layers.GroupNorm(2, 4, eps=1e-3),
    layers.MaxPool2D((2, 3), stride=1),
    layers.AvgPool2D(2),
    layers.Upsample(3, mode="bilinear"),
    layers.PixelShuffle(2),
    layers.ConcatLabels(3),
    layers.ConditionalScale(4, 3),
    layers.Embedding(3, 4),
    layers.Projection(4, 3),
    layers.SpectralNorm(layers.Dense(3, 4)),
    layers.SpectralNorm(layers.Conv2D(2, 3, 3, stride=2, bias=False)),
]


def test_every_layer_comes_back_from_its_text():
    from tinygan.runs.rebuilding import _layer

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
    "a function of ours": ("load_trained(Dense(4, 8))", "none of tinygan's layers"),
    "a block around the layer": ("Sequential(Dense(4, 8))", "larger than its arrays"),
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


# ---- classes of one's own --------------------------------------------------------------------------------------------


class Residual(Sequential):
    """x + what the layers make of it."""

    def __init__(self, *layers, scale=1.0):
        super().__init__(*layers)
        self.scale = scale

    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return x + self.scale * y, passed

    def input_gradient(self, cache, dy):
        return dy + super().input_gradient(cache, self.scale * dy)

    def backprop(self, cache, dy, add=True):
        return dy + super().backprop(cache, self.scale * dy, add)


class Displace(layers.Layer):
    """A parameter, and a setting that its repr does not tell as it has none."""

    def __init__(self, c, by=1.0):
        super().__init__()
        self.c, self.by = c, by
        self.add_param("s", np.zeros(c, dtype=np.float32))

    def apply(self, x, train):
        return x + self.by + self.params["s"], None

    def gradients(self, cache, dy):
        return dy, {"s": dy.sum(axis=0)}


class Clamp(layers.Layer):
    """One that says how it is made."""

    def __init__(self, most):
        super().__init__()
        self._most = most

    def apply(self, x, train):
        return x.clip(-self._most, self._most), x

    def gradients(self, x, dy):
        return dy * (abs(x) < self._most), {}

    def __repr__(self):
        return f"Clamp({self._most})"


def own_gan(dtype=np.float32):
    make = {"rng": np.random.default_rng(5), "dtype": dtype}
    block = Residual(layers.Dense(8, 8, **make), layers.BatchNorm(8, dtype=dtype), scale=0.5)
    G = Sequential(layers.Dense(4, 8, **make), block, Displace(8, by=0.25).astype(dtype), layers.Dense(8, 36, **make))
    G = Sequential(*[layer.copy() for layer in G], layers.Tanh(), layers.Reshape(6, 6, 1))
    inside = Sequential(layers.SpectralNorm(layers.Dense(36, 36, **make)), Residual(layers.Dense(36, 36, **make)))
    D = Sequential(layers.Flatten(), inside, Clamp(2.5), layers.Dense(36, 1, **make))
    return GAN(G, D, noise_dim=4, average=0.5)


OWN = [Residual, Displace, Clamp]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    gan = own_gan()
    return train(gan, small_data(), out=tmp_path_factory.mktemp("own"), **STEPS), gan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_of_ones_own_classes_come_back(tmp_path, dtype):
    gan = own_gan(dtype)
    train(gan, small_data(), out=tmp_path, **{**STEPS, "steps": 3})
    for classes in (OWN, tuple(OWN), iter(OWN), {kind.__name__: kind for kind in OWN}):
        run = load_trained(tmp_path, classes=classes)
        z, x = run.noise(4), small_data().batch(np.arange(4)).astype(dtype)
        assert run.generator(z).tobytes() == gan.sample(z=z).tobytes()
        assert run.discriminator(x).tobytes() == gan.discriminator(x).tobytes()
        assert (run.generator.layers[1].scale, run.generator.layers[2].by) == (0.5, 0.25)
    train(own_gan(dtype), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 5})


def test_a_network_that_is_a_block_itself_comes_back(tmp_path):
    def make():
        G, D = small_gan().generator, small_gan().discriminator
        half = Residual(layers.Flatten(), layers.Dense(36, 36, rng=3), layers.Reshape(6, 6, 1), scale=0.25)
        return GAN(Sequential(*(layer.copy() for layer in G), half), D, noise_dim=4)

    gan = make()
    gan.discriminator.__class__ = type("Judge", (Sequential,), {})
    train(gan, small_data(), out=tmp_path, **{**STEPS, "steps": 2})
    run = load_trained(tmp_path, classes=[Residual, type(gan.discriminator)])
    assert type(run.discriminator) is type(gan.discriminator)
    z = run.noise(3)
    assert run.generator(z).tobytes() == gan.sample(z=z).tobytes()
    with pytest.raises(CheckpointError, match=r"the discriminator, Judge\(\), is none of tinygan's layers"):
        load_trained(tmp_path, classes=[Residual])
    with pytest.raises(CheckpointError, match=r"another discriminator_class: Judge\(\) then, none now"):
        train(make(), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 3})


def test_a_class_may_be_called_as_one_of_tinygans(tmp_path):
    class Tanh(layers.Tanh):
        def apply(self, x, train):
            return super().apply(0.5 * x, train)

    def make(last):
        G, D = small_gan().generator, small_gan().discriminator
        return GAN(Sequential(*(layer.copy() for layer in G.layers[:4]), last, layers.Reshape(6, 6, 1)), D, noise_dim=4)

    gan = make(Tanh())
    train(gan, small_data(), out=tmp_path, **{**STEPS, "steps": 1})
    run = load_trained(tmp_path, classes=[Tanh])
    z = run.noise(3)
    assert run.generator(z).tobytes() == gan.sample(z=z).tobytes()
    assert type(run.generator.layers[2]) is layers.LeakyReLU
    with pytest.raises(CheckpointError, match=r"layer 4 Tanh_of_yours\(\) is none of tinygan's layers"):
        load_trained(tmp_path)
    with pytest.raises(CheckpointError, match=r"Tanh_of_yours\(\) then, Tanh\(\) now"):
        train(make(layers.Tanh()), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 2})


@pytest.mark.parametrize("ours", [models.Residual, models.Add, augment.Shift])
def test_so_may_a_block_which_is_not_taken_for_ours(tmp_path, ours):
    mine = type(ours.__name__, (Doubled,), {})
    G, D = small_gan().generator, small_gan().discriminator
    gan = GAN(Sequential(*(layer.copy() for layer in G), mine()), D, noise_dim=4)
    train(gan, small_data(), out=tmp_path, **{**STEPS, "steps": 1})
    z = np.ones((3, 4), np.float32)
    assert load_trained(tmp_path, classes=[mine]).generator(z).tobytes() == gan.sample(z=z).tobytes()
    with pytest.raises(CheckpointError, match=rf"{ours.__name__}_of_yours\(\) is none of tinygan's layers"):
        load_trained(tmp_path)


class Doubled(layers.Layer):
    def apply(self, x, train):
        return 2.0 * x, None

    def gradients(self, cache, dy):
        return 2.0 * dy, {}


def test_a_run_goes_on_with_the_very_classes_and_settings(own):
    folder, _ = own
    for changed_to, words in (
        (lambda gan: setattr(gan.generator.layers[1], "scale", 0.75), "scale=0.5.* then, .*scale=0.75.* now"),
        (lambda gan: setattr(gan.generator.layers[2], "by", 2.0), "by=0.25.* then, .*by=2.0.* now"),
        (lambda gan: setattr(gan.generator.layers[1], "__class__", Sequential), "Residual.* then, Sequential.* now"),
    ):
        gan = own_gan()
        changed_to(gan)
        with pytest.raises(CheckpointError, match=rf"another generator: .*{words}"):
            train(gan, small_data(), out=folder, resume=True, **{**STEPS, "steps": 12})


def test_nothing_is_made_or_imported_because_a_file_names_it(own, monkeypatch):
    folder, _ = own
    monkeypatch.setattr(
        "builtins.__import__", lambda name, *rest: pytest.fail(name) if "support" in name else real(name, *rest)
    )
    with pytest.raises(CheckpointError, match=r"layer 1 Residual_of_yours\(Dense.* is none of tinygan's layers"):
        load_trained(folder)
    with pytest.raises(CheckpointError, match=r"layer 2 Displace.* is none of tinygan's layers"):
        load_trained(folder, classes=[Residual])


real = __import__


# What people may give for a list of classes
CALL_ODDITIES = [Residual, 7, [7], ["Residual"], [int], {"x": 7}, {7: Residual}, [Residual(layers.Tanh())], None, "abc"]


@pytest.mark.parametrize("classes", CALL_ODDITIES, ids=repr)
def test_what_is_no_list_of_classes(own, classes):
    with pytest.raises(ArgumentError, match=r"load_trained: classes must be those of layers, \[Residual\] or"):
        load_trained(own[0], classes=classes)


# The text of G's second layer, which was a block, and what is said
BLOCK_ODDITIES = [
    ("Residual()", "could not be made"),
    ("Residual(Dense(8, 8))", "another architecture"),
    ("Residual(Dense(8, 8), BatchNorm(8), speed=0.5)", "could not be made .*speed"),
    ("Residual(Dense(8, 8), BatchNorm(8), **{})", "could not be made"),
    ("Residual(Dense(8, 8), BatchNorm(8), scale=open('x'))", "none of tinygan's layers"),
    ("Residual(Dense(8, 8), open('x'))", "none of tinygan's layers"),
    ("Residual(Dense(8, 8), BatchNorm(Tanh()))", "none of tinygan's layers"),
    ("Residual(Dense(8, 9), BatchNorm(9))", r"\(8, 9\)"),
    ("Residual(Dense(8, 8), BatchNorm(8), Dense(9000000, 1))", "larger than its arrays"),
    ("SpectralNorm(Residual(Dense(8, 8), BatchNorm(8)))", "SpectralNorm: expected a Dense"),
    ("Residual(" * 10 + "Tanh()" + ")" * 10, "more than 8 blocks within each other"),
    ("Displace(8)", "another architecture"),
    ("Displace(10**9)", "none of tinygan's layers"),
    ("Displace(1000000000)", r"sizes that multiply to 1.0e\+09, more than 16,777,216"),
    ("Displace(60000, by=60000)", r"sizes that multiply to 3.6e\+09"),
    ("Residual(Dense(8, 8), BatchNorm(8), scale=10000000000)", r"sizes that multiply to 1.0e\+10"),
    ("Residual(Dense(8, 8), BatchNorm(8), scale=(4, [9000000]))", r"sizes that multiply to 3.6e\+07"),
    ("Displace(" + "9" * 190 + ")", "sizes that multiply to"),
    ("Displace(-1)", "could not be made"),
    ("Displace()", "could not be made .*missing 1 required"),
    ("Displace('x')", "could not be made"),
    ("Residual(" + "Tanh(), " * 10_000 + "Tanh())", "layers, more than the 10,000 that are built"),
]


@pytest.mark.parametrize(("text", "words"), BLOCK_ODDITIES, ids=[text[:40] for text, _ in BLOCK_ODDITIES])
def test_odd_blocks(own, tmp_path, text, words):
    def change(arrays, about):
        about["identity"]["generator"][1] = text

    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: the networks cannot be built.*{words}"):
        load_trained(changed(own[0], tmp_path, change), classes=OWN)


# What the record says of the networks, and what is said of it
NETWORK_ODDITIES = [
    ({"generator": None}, "its generator is None, not a list"),
    ({"generator": "Dense(4, 8)"}, "its generator is 'Dense"),
    ({"generator": {"0": "Dense(4, 8)"}}, "its generator is .*, not a list"),
    ({"generator": [["Dense(4, 8)"]]}, "none of tinygan's layers"),
    ({"generator": ["Tanh()"] * 40_000}, "has about 40,000 layers, more than the 10,000 that are built"),
    ({"discriminator": 7}, "its discriminator is 7, not a list"),
    ({"noise_dim": 0}, "its noise_dim is 0, not a whole number from 1"),
    ({"noise_dim": 4.0}, "its noise_dim is 4.0, not a whole number"),
    ({"noise_dim": True}, "its noise_dim is True, not a whole number"),
    ({"noise_dim": 1 << 40}, "its noise_dim is 1099511627776, not a whole number"),
    ({"noise_dim": None}, "its noise_dim is None"),
    ({"range": None}, "its range is None, not two numbers"),
    ({"range": ["-1", "1"]}, "not two numbers"),
    ({"range": [-1.0, float("nan")]}, "not two numbers"),
    ({"range": [True, 2]}, "not two numbers"),
    ({"range": {"low": -1, "high": 1}}, "not two numbers"),
    ({"range": [0, 1, 2]}, "not two numbers"),
    ({"generator_class": 7}, "the generator, 7, is none of tinygan's layers"),
    ({"generator_class": None}, "the generator, None, is none of tinygan's layers"),
    ({"generator_class": "Tanh()"}, "the generator could not be made"),
    ({"generator_class": "exec('x')"}, "is none of tinygan's layers"),
]


@pytest.mark.parametrize(
    ("entries", "words"), NETWORK_ODDITIES, ids=[str(entries)[:40] for entries, _ in NETWORK_ODDITIES]
)
def test_odd_records_of_networks(run, tmp_path, entries, words):
    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: the networks cannot be built.*{words}"):
        load_trained(changed(run, tmp_path, lambda arrays, about: about["identity"].update(entries)))


def test_many_layers_of_many_numbers(run, tmp_path):
    """Each is within bounds; all of them are remembered in a pass."""

    def change(arrays, about):
        up = layers.ConvTranspose2D(1, 1, 1, stride=64)
        texts = about["identity"]["generator"]
        for _ in range(2):
            texts.append(repr(up))
            arrays.update({f"average.{len(texts) - 1}.{key}": value for key, value in up.params.items()})
        texts += ["Tanh()"] * 100

    with pytest.raises(CheckpointError, match="numbers of a sample"):
        load_trained(changed(run, tmp_path, change))
