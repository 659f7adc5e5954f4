"""What a run refuses: calls without meaning, folders it cannot have, and checkpoints that are not its own."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

from tinygan import GAN, Sequential, checkpoints, models, plotting
from tinygan.data import ImageData, batches
from tinygan.errors import ArgumentError, CheckpointError, DataError, ShapeError
from tinygan.layers import ELU, Dense, Dropout, Layer, LeakyReLU, ReLU, Reshape, Sigmoid, SiLU, Softplus, Tanh
from tinygan.losses import LeastSquares, Relativistic
from tinygan.optim import SGD
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs import fit, identity
from tinygan.runs.schedules import linear
from tinygan.runs.training import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("whole") / "run", **STEPS)


BAD_CALLS = {
    "no length": ({"steps": None}, ArgumentError, "give either steps or epochs"),
    "two lengths": ({"epochs": 1}, ArgumentError, "give either steps or epochs"),
    "no steps": ({"steps": 0}, ArgumentError, "train: steps must be a whole number of at least 1, got 0"),
    "half a step": ({"steps": 0.5}, ArgumentError, "train: steps must be a whole number"),
    "no epochs": ({"steps": None, "epochs": 0}, ArgumentError, "train: epochs must be a whole number"),
    "no batch": ({"batch_size": 0}, ArgumentError, "train: batch_size must be a whole number"),
    "a batch too large": ({"batch_size": 38}, DataError, "a batch of 38 is larger than the data, which has 37 images"),
    "no pictures": ({"sample_every": 0}, ArgumentError, "train: sample_every must be a whole number"),
    "no checkpoints": ({"checkpoint_every": 0}, ArgumentError, "train: checkpoint_every must be a whole number"),
    "a negative seed": ({"seed": -1}, ArgumentError, "train: the seed must be a whole number of at least 0, got -1"),
    "a seed in words": ({"seed": "one"}, ArgumentError, "train: the seed must be a whole number"),
    "a range upside down": ({"low": 1.0, "high": 0.0}, ArgumentError, "expected low below high"),
    "an endless range": ({"high": float("inf")}, ArgumentError, "both finite"),
    "a setting that is a path": (
        {"settings": {"lr": 0.1, "out": Path("x")}},
        ArgumentError,
        r"settings\['out'\] is \w+Path\('x'\), which JSON cannot hold",
    ),
    "an array as a setting": ({"settings": {"a": {"b": np.ones(2)}}}, ArgumentError, r"settings\['a'\] is .*array"),
    "a setting that is NaN": ({"settings": {"a": float("nan")}}, ArgumentError, r"settings\['a'\] is nan"),
    "a setting without a name": ({"settings": {1: 2}}, ArgumentError, r"settings\[1\] is 2, .*text as key"),
    "nothing to resume": ({"resume": True}, CheckpointError, "there is no checkpoint to go on from"),
}


@pytest.mark.parametrize("what", BAD_CALLS)
def test_bad_calls_are_refused_before_anything_is_written(tmp_path, what):
    change, error, message = BAD_CALLS[what]
    with pytest.raises(error, match=message):
        train(small_gan(), small_data(), **{**STEPS, "out": tmp_path / "run", **change})
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_size(tmp_path):
    with pytest.raises(ShapeError, match=r"images of small are \(N, 5, 5, 1\), but G makes \(N, 6, 6, 1\)"):
        train(small_gan(), small_data(size=5), out=tmp_path / "run", **STEPS)


def test_images_that_no_picture_can_be_drawn_of(tmp_path):
    data = ImageData(np.zeros((9, 6, 6, 2), np.uint8), name="pairs")
    with pytest.raises(ShapeError, match=r"expected images \(N, H, W, 1\) or \(N, H, W, 3\), got \(64, 6, 6, 2\)"):
        train(small_gan(channels=2), data, out=tmp_path / "run", **STEPS)
    assert list(tmp_path.iterdir()) == []


def test_a_gan_whose_images_are_not_finite(tmp_path):
    gan = small_gan(average=0.0)
    gan.generator.theta[...] = np.nan
    with pytest.raises(DataError, match="holds NaN"):
        train(gan, small_data(), out=tmp_path / "run", **STEPS)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers(tmp_path):
    options = {**STEPS, "seed": np.int64(0), "batch_size": np.int64(8), "low": np.float32(-1.0), "steps": np.int64(2)}
    options |= {"settings": {"widths": (8, 8)}}
    train(small_gan(), small_data(), out=tmp_path, **options)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["run"]["range"] == [-1.0, 1.0]
    assert config["settings"] == {"widths": [8, 8]}
    train(small_gan(), small_data(), out=tmp_path, resume=True, **{**options, "steps": 3})


def test_a_gan_that_was_trained_before(tmp_path):
    gan, data = small_gan(), small_data()
    gan.step(data.batch(np.arange(8)))
    with pytest.raises(ArgumentError, match="has taken 1 steps already; a run starts with a new one"):
        train(gan, data, out=tmp_path / "run", **STEPS)


@pytest.mark.parametrize("out", ["file", "file/run", "file/deeper/run"])
def test_an_output_folder_that_cannot_be(tmp_path, out):
    (tmp_path / "file").write_text("mine")
    gan = small_gan()
    with pytest.raises(ArgumentError, match="the output folder cannot be written"):
        train(gan, small_data(), out=tmp_path / out, **STEPS)
    assert gan.t == 0
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no folder that nobody may write to")
def test_an_output_folder_where_nobody_may_write():
    with pytest.raises(ArgumentError, match=r"^/proc/tinygan/run: the output folder cannot be written"):
        train(small_gan(), small_data(), out="/proc/tinygan/run", **STEPS)


def test_a_read_only_output_folder(tmp_path, monkeypatch):
    """A folder that is there but closed; simulated, since root may write whatever a folder's mode says."""

    def refuse(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    gan = small_gan()
    with pytest.raises(
        ArgumentError, match=r"cannot be written \(checkpoint\.\S+: Permission denied\)\. Choose another"
    ):
        train(gan, small_data(), out=tmp_path, **STEPS)
    assert gan.t == 0


def test_an_earlier_run_is_not_destroyed_unasked(whole, tmp_path):
    out = tmp_path / "run"
    train(small_gan(seed=5), small_data(), out=out, seed=5, **{**STEPS, "steps": 4, "sample_every": 1})
    (out / "notes.txt").write_text("mine")
    before = contents(out)
    with pytest.raises(ArgumentError, match=r"holds a run of 4 steps already\. Go on with it \(--resume"):
        train(small_gan(), small_data(), out=out, **STEPS)
    assert contents(out) == before
    train(small_gan(), small_data(), out=out, overwrite=True, **STEPS)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert_same_files(out, whole)


def test_a_folder_with_somebody_elses_files_of_our_names(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(ArgumentError, match=r"holds a config\.json already"):
        train(small_gan(), small_data(), out=tmp_path, **STEPS)
    assert (tmp_path / "config.json").read_text() == "mine"


OTHERS = {
    "generator": ({"g_hidden": (9,)}, {}, {}, r"another generator: Dense\(4, 8\) then, Dense\(4, 9\) now"),
    "layers": ({"g_hidden": (8, 8)}, {}, {}, r"another generator: \["),
    "loss": ({"loss": LeastSquares()}, {}, {}, r"another loss: NonSaturating\(\) then, LeastSquares"),
    "average": ({"average": 0.5}, {}, {}, "another average: 0.9 then, 0.5 now"),
    "no average": ({"average": 0.0}, {}, {}, "another average: 0.9 then, 0.0 now"),
    "d_steps": ({"d_steps": 2}, {}, {}, "another d_steps: 1 then, 2 now"),
    "beta1": ({"beta1": 0.9}, {}, {}, "another g_optimizer: beta1 0.5 then, beta1 0.9 now"),
    "batch": ({}, {}, {"batch_size": 7}, "another batch_size: 8 then, 7 now"),
    "a penalty": ({"penalties": R1(1.0)}, {}, {}, r"another penalties: none then, \['R1\(gamma=1.0\)'\] now"),
    "clipped weights": ({"weight_clip": 0.1}, {}, {}, "another weight_clip: none then, 0.1 now"),
    "seed": ({}, {}, {"seed": 3}, "another seed: 0 then, 3 now"),
    "range": ({}, {}, {"low": 0.0}, "another range: -1.0 then, 0.0 now"),
    "other data": ({}, {"seed": 1}, {}, "another data: checksum"),
    "fewer data": ({}, {"n": 36}, {}, "another data: shape"),
    "mirror images": ({}, {"mirror": True}, {}, "another data: mirrored False then, mirrored True now"),
    "length": ({}, {}, {"steps": 10}, "is at step 11 already, beyond the 10 asked for"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_not_resumed(whole, what):
    gan, data, options, message = OTHERS[what]
    before = contents(whole)
    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: .*{message}"):
        train(small_gan(**gan), small_data(**data), out=whole, resume=True, **{**STEPS, **options})
    assert contents(whole) == before


#: names that the same images may have when a run goes on
RENAMED_ODDITIES = ["other", "", "a/b\n"]


@pytest.mark.parametrize("name", RENAMED_ODDITIES)
def test_data_may_be_renamed(tmp_path, name):
    renamed = ImageData(small_data().images, name=name)
    train(small_gan(), small_data(), out=tmp_path, **{**STEPS, "steps": 2})
    train(small_gan(), renamed, out=tmp_path, resume=True, **{**STEPS, "steps": 3})
    assert json.loads((tmp_path / "config.json").read_text())["run"]["data"]["name"] == name


def test_all_images_are_compared_and_of_an_old_checkpoint_those_that_it_knows(tmp_path):
    many, changed = small_data(n=1100), small_data(n=1100)
    changed.images[1050] ^= 1
    train(small_gan(), many, out=tmp_path, **{**STEPS, "steps": 2})
    with pytest.raises(CheckpointError, match="another data: of_all"):
        train(small_gan(), changed, out=tmp_path, resume=True, **{**STEPS, "steps": 3})
    path = tmp_path / "checkpoint.safetensors"
    arrays, about = checkpoints.read(path)
    del about["identity"]["data"]["of_all"]
    checkpoints.write(path, arrays, about)
    train(small_gan(), changed, out=tmp_path, resume=True, **{**STEPS, "steps": 3})
    changed.images[0] ^= 1
    with pytest.raises(CheckpointError, match="another data"):
        train(small_gan(), changed, out=tmp_path, resume=True, **{**STEPS, "steps": 4})


def test_of_very_many_images_every_other_is_compared(monkeypatch):
    images = small_data(n=2500).images
    monkeypatch.setattr(identity, "READ", images.nbytes // 2)
    expected = zlib.crc32(images[:2000:2].tobytes() + images[2000::2].tobytes())
    assert identity._checksum(images) == expected


class Slower(GAN):
    """A game of one's own."""


def test_a_game_of_ones_own_is_not_resumed_by_another(tmp_path):
    def game(kind):
        gan = small_gan()
        return kind(gan.generator, gan.discriminator, noise_dim=4)

    train(game(Slower), small_data(), out=tmp_path, **{**STEPS, "steps": 2})
    with pytest.raises(CheckpointError, match="another gan: Slower then, none now"):
        train(game(GAN), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 3})
    train(game(Slower), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 3})


def gan_that_ends_in(last, *, nested=False):
    _, D = models.mlp((6, 6, 1), noise_dim=4, d_hidden=(8,))
    end = [layer() for layer in last] + [Reshape(6, 6, 1)]
    G = Sequential(Dense(4, 8, rng=0), LeakyReLU(0.2), Dense(8, 36, rng=1), *([Sequential(*end)] if nested else end))
    return GAN(G, D, noise_dim=4)


class Skipping(Sequential):
    """A block whose output its last layer does not tell."""

    def apply(self, x, train, batches=1):
        y, cache = super().apply(x, train, batches)
        return x + y, cache


class Squash(Sigmoid):
    """A layer of one's own."""


class Flipped(Layer):
    """One that only arranges: the mirror image."""

    def apply(self, x, train):
        return x[..., ::-1].copy(), None

    def gradients(self, _, dy):
        return dy[..., ::-1].copy(), {}


class ScaledBy(Layer):
    """One that does more: y = s x + b."""

    def __init__(self, s, b=0.0):
        super().__init__()
        self.s, self.b = s, b

    def apply(self, x, train):
        return (self.s * x + self.b).astype(x.dtype), None

    def gradients(self, _, dy):
        return (self.s * dy).astype(dy.dtype), {}


def Doubled():
    """[0, 1] becomes [-1, 1]."""
    return ScaledBy(2.0, -1.0)


#: (G's last layers, low, high, words of the answer, or None where it is a good pair)
REACH_ODDITIES = [
    (
        [Sigmoid],
        -1.0,
        1.0,
        r"low=-1 .*G ends in Sigmoid\(\), which gives values from 0 to 1. Pass low=0, high=1",
    ),
    ([Sigmoid], 0.0, 1.0, None),
    ([Sigmoid], 0.1, 0.9, None),
    ([Sigmoid], 0.0, 255.0, r"to high=255 \(white\), but G ends in Sigmoid"),
    ([Squash], -1.0, 1.0, "G ends in Squash"),
    ([Tanh], -1.0, 1.0, None),
    ([Tanh], 0.0, 1.0, None),
    ([Tanh], 0.0, 255.0, r"G ends in Tanh\(\), which gives values from -1 to 1. Pass low=-1, high=1"),
    ([Tanh], -1.5, 1.0, "low=-1.5"),
    ([ReLU], -1.0, 1.0, "from 0 to inf. Pass low=0, or end G"),
    ([ReLU], 0.0, 1.0, None),
    ([Softplus], -1.0, 1.0, r"Softplus\(\)"),
    ([SiLU], -1.0, 1.0, r"SiLU\(\)"),
    ([lambda: ELU(0.5)], -1.0, 1.0, "from -0.5 to inf"),
    ([ELU], -1.0, 1.0, None),
    ([lambda: LeakyReLU(0.0)], -1.0, 1.0, "from 0 to inf"),
    ([LeakyReLU], -1.0, 1.0, None),
    ([lambda: Skipping(Sigmoid())], -1.0, 1.0, None),
    (
        [Sigmoid, lambda: Dropout(0.5)],
        -1.0,
        1.0,
        r"in Sigmoid\(\) and Dropout\(0.5\), which gives .* 0 to 1\. Pass",
    ),
    ([Sigmoid, lambda: Dropout(0.5)], 0.0, 1.0, None),
    ([Sigmoid, Flipped], -1.0, 1.0, r"Flipped\(\), which gives values from 0 to 1\. Pass low=0, high=1"),
    ([Sigmoid, Flipped, LeakyReLU], -1.0, 1.0, "from 0 to 1"),
    ([Sigmoid, Doubled], -1.0, 1.0, None),
    ([Sigmoid, Doubled], 0.0, 255.0, "from -1 to 1"),
    ([Sigmoid, lambda: ScaledBy(254.99998)], 0.0, 255.0, None),  # but for rounding
    ([Tanh, lambda: ScaledBy(0.5, 0.5000001)], 0.0, 1.0, None),
    ([Tanh, Doubled], -1.0, 1.0, None),
    ([ReLU, Flipped], -1.0, 1.0, "from 0 to inf. Pass low=0, or"),
    ([ReLU, Doubled], -2.0, 1.0, "from -1 to inf. Pass low=-1, or"),
    ([ReLU, lambda: ScaledBy(-2.0)], 0.0, 1.0, "from -inf to 0. Pass high=0, or"),
    ([lambda: Sequential(Sigmoid(), Flipped())], -1.0, 1.0, "from 0 to 1"),
    ([Sigmoid, lambda: Skipping(Sigmoid())], 0.0, 1.0, "from 0.5 to 1.7311"),
    ([Sigmoid, lambda: Dense(36, 36, rng=0)], -1.0, 1.0, None),
    ([], -1.0, 1.0, None),
    ([], 0.0, 255.0, None),
]


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize(("last", "low", "high", "words"), REACH_ODDITIES, ids=range(len(REACH_ODDITIES)))
def test_images_that_g_cannot_make_are_refused(tmp_path, last, low, high, words, nested):
    gan = gan_that_ends_in(last, nested=nested)
    if words is None:
        fit.require_reach(gan, low, high)
        return
    with pytest.raises(ArgumentError, match=words):
        train(gan, small_data(), out=tmp_path / "run", **{**STEPS, "low": low, "high": high})
    assert not (tmp_path / "run").exists()
    assert gan.t == 0


def test_the_very_gan_of_a_run_can_go_on(whole, tmp_path):
    """Steps leave traces in an optimiser that are no settings."""
    gan = small_gan()
    train(gan, small_data(), out=tmp_path, **{**STEPS, "steps": 5})
    train(gan, small_data(), out=tmp_path, resume=True, **STEPS)
    assert_same_files(tmp_path, whole)


def test_mirror_images_are_part_of_a_run(tmp_path):
    train(small_gan(), small_data(mirror=True), out=tmp_path, **STEPS)
    train(small_gan(), small_data(mirror=True), out=tmp_path, resume=True, **{**STEPS, "steps": 12})
    with pytest.raises(CheckpointError, match="another data: mirrored True then, mirrored False now"):
        train(small_gan(), small_data(), out=tmp_path, resume=True, **{**STEPS, "steps": 13})


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    small_gan().generator.save(path)
    with pytest.raises(CheckpointError, match="holds a network, not a training run"):
        train(small_gan(), small_data(), out=tmp_path, resume=True, **STEPS)
    damages = (
        ({}, "there is no step"),
        ({"step": 1}, "there is no identity"),
        ({"step": -5, "identity": {}, "settings": {}}, "its step is -5"),
    )
    for about, message in damages:
        checkpoints.write(path, {"x": np.zeros(1)}, {"kind": "run", **about})
        with pytest.raises(CheckpointError, match=f"the record of the run is damaged, {message}"):
            train(small_gan(), small_data(), out=tmp_path, resume=True, **STEPS)


@pytest.mark.parametrize("part", ["generator.theta", "losses", "d_optimizer.M"])
def test_a_checkpoint_with_a_part_missing_is_not_resumed(whole, tmp_path, part):
    arrays, about = checkpoints.read(whole / "checkpoint.safetensors")
    gone = next(key for key in arrays if key == part or key.startswith(part.split(".")[0]))
    del arrays[gone]
    checkpoints.write(tmp_path / "checkpoint.safetensors", arrays, about)
    gan = small_gan()
    with pytest.raises(CheckpointError, match=r"does not hold the losses|missing: "):
        train(gan, small_data(), out=tmp_path, resume=True, **STEPS)
    assert gan.t == 0


# ---- penalties and schedules ---------------------------------------------------------------------------------------


def penalised_gan(penalties=None, weight_clip=0.5, **options):
    penalties = [R1(linear(2.0, 1.0, 10)), R2(0.5, every=2)] if penalties is None else penalties
    return small_gan(loss=Relativistic(), penalties=penalties, weight_clip=weight_clip, **options)


@pytest.fixture(scope="module")
def penalised(tmp_path_factory):
    return train(penalised_gan(), small_data(), out=tmp_path_factory.mktemp("penalised") / "run", **STEPS)


def test_the_penalty_is_recorded_beside_the_losses(penalised):
    lines = (penalised / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,d_loss,g_loss,penalty"
    arrays, about = checkpoints.read(penalised / "checkpoint.safetensors")
    assert arrays["losses"].shape == (11, 3)
    gan, rows = penalised_gan(), np.loadtxt(penalised / "losses.csv", delimiter=",", skiprows=1)
    order = batches(37, 8, seed=0)
    for row, kept in zip(rows, arrays["losses"], strict=True):
        step = gan.step(small_data().batch(next(order)))
        np.testing.assert_allclose(row[2:], [float(value) for value in step], rtol=1e-5)
        np.testing.assert_allclose(row[2:], kept, rtol=1e-5)
        assert step.penalty > 0
    written = ["R1(gamma=linear(2.0, 1.0, 10))", "R2(gamma=0.5, every=2)"]
    assert (about["identity"]["penalties"], about["identity"]["weight_clip"]) == (written, 0.5)
    assert json.loads((penalised / "config.json").read_text())["run"]["penalties"] == written


def test_a_step_without_a_penalty_that_is_due_records_0(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plotting, "save_loss_curves", lambda path, values, **_: drawn.append(values))
    train(penalised_gan(GradientPenalty(every=3)), small_data(), out=tmp_path, **STEPS)
    values = checkpoints.read(tmp_path / "checkpoint.safetensors")[0]["losses"][:, 2]
    np.testing.assert_array_equal(values > 0.0, np.arange(11) % 3 == 0)
    np.testing.assert_array_equal(np.isnan(drawn[-1][:, 2]), np.arange(11) % 3 > 0)  # no part of the curve


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_run_with_penalties_goes_on_to_the_same_bytes(penalised, tmp_path, step):
    train(penalised_gan(), small_data(), out=tmp_path, **{**STEPS, "steps": step})
    train(penalised_gan(), small_data(), out=tmp_path, resume=True, **STEPS)
    assert_same_files(tmp_path, penalised)


OTHER_PENALTIES = {
    "none": ({"penalties": ()}, r"another penalties: \['R1.*\] then, none now"),
    "one": ({"penalties": R1(linear(2.0, 1.0, 10))}, r"another penalties: \[.*R2.*\] then, \['R1"),
    "weight": ({"penalties": [R1(linear(2.0, 1.0, 10)), R2(0.6, every=2)]}, r"R2\(gamma=0.5, every=2\) then, R2"),
    "schedule": (
        {"penalties": [R1(linear(2.0, 1.0, 11)), R2(0.5, every=2)]},
        r"R1\(gamma=linear\(2.0, 1.0, 10\)\) then, R1\(gamma=linear\(2.0, 1.0, 11\)\) now",
    ),
    "interval": ({"penalties": [R1(linear(2.0, 1.0, 10)), R2(0.5)]}, "every=2.* then"),
    "no clipping": ({"weight_clip": None}, "another weight_clip: 0.5 then, none now"),
    "clipping": ({"weight_clip": 0.6}, "another weight_clip: 0.5 then, 0.6 now"),
}


@pytest.mark.parametrize("what", OTHER_PENALTIES)
def test_a_run_keeps_its_penalties(penalised, what):
    options, message = OTHER_PENALTIES[what]
    before = contents(penalised)
    with pytest.raises(CheckpointError, match=message):
        train(penalised_gan(**options), small_data(), out=penalised, resume=True, **STEPS)
    assert contents(penalised) == before


def test_runs_from_before_there_were_penalties_go_on(whole):
    """What is not set leaves no mark: neither a key in the record nor a column."""
    arrays, about = checkpoints.read(whole / "checkpoint.safetensors")
    assert not {"penalties", "weight_clip"} & about["identity"].keys()
    assert arrays["losses"].shape == (11, 2)
    assert (whole / "losses.csv").read_text().startswith("step,epoch,d_loss,g_loss\n")


def scheduled_gan(lr):
    gan = small_gan()
    gan.d_optimizer = SGD(gan.discriminator, lr, momentum=0.5)
    gan.g_optimizer.lr = lr
    return gan


def test_a_schedule_of_learning_rates_goes_on_to_the_same_bytes(tmp_path):
    lr = linear(0.05, 0.0, 11)
    train(scheduled_gan(lr), small_data(), out=tmp_path / "whole", **STEPS)
    train(scheduled_gan(lr), small_data(), out=tmp_path / "run", **{**STEPS, "steps": 5})
    arrays, _ = checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")
    assert arrays["d_optimizer.lr"] == lr(5)
    train(scheduled_gan(lr), small_data(), out=tmp_path / "run", resume=True, **STEPS)
    assert_same_files(tmp_path / "run", tmp_path / "whole")


def test_a_resumed_run_may_change_its_schedule_as_it_may_its_rate(tmp_path):
    for steps, lr in enumerate((linear(0.05, 0.0, 11), 0.01, linear(0.02, 0.01, 20)), start=1):
        gan = scheduled_gan(lr)
        train(gan, small_data(), out=tmp_path, resume=steps > 1, **{**STEPS, "steps": steps})
        assert gan.d_optimizer.lr == lr
