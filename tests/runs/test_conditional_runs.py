"""Runs whose GAN knows the class of each image: what they leave, how they go on, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.small_runs import STEPS, assert_same_files, contents, small_data

from tinygan import GAN, checkpoints, metrics, models, plotting, to_numpy
from tinygan.data import ImageData
from tinygan.errors import ArgumentError, CheckpointError, DataError
from tinygan.models import ConditionalGAN
from tinygan.runs import compare, load_trained
from tinygan.runs.commandline import Recipe, class_options, make_gan, parse
from tinygan.runs.showing import MAX_ROWS, Shown
from tinygan.runs.training import train


def labelled(n=37, classes=3, seed=0, **options):
    images = small_data(n, seed=seed, **options)
    labels = np.random.default_rng(seed).permutation(np.arange(n) % classes)
    return ImageData(images.images, labels, name="labelled")


def known_gan(*, classes=3, way="projection", **options):
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=classes, conditional=way)
    return ConditionalGAN(*networks, noise_dim=4, **{"average": 0.9, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(known_gan(), labelled(), out=tmp_path_factory.mktemp("known") / "run", **STEPS)


def test_the_loop_is_step_with_the_labels_of_the_images(whole):
    from tinygan.data import epoch_order

    gan, data = known_gan(), labelled()
    for t in range(11):
        epoch, k = divmod(t, 4)
        rows = epoch_order(37, seed=0, epoch=epoch)[8 * k : 8 * k + 8]
        gan.step(data.batch(rows), data.labels[rows])
    arrays, _ = checkpoints.read(whole / "checkpoint.safetensors")
    for key, array in gan.discriminator.state_arrays().items():
        assert arrays[f"discriminator.{key}"].tobytes() == array.tobytes()


def test_mirror_images_are_of_the_class_of_their_images(tmp_path):
    data, seen = labelled().with_mirror_images(), []

    class Watched(ConditionalGAN):
        def step(self, real, labels, **options):
            seen.append((real.copy(), labels.copy()))
            return super().step(real, labels, **options)

    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=3)
    train(Watched(*networks, noise_dim=4), data, out=tmp_path / "run", **STEPS)
    all_images = data.batch(np.arange(74))
    for real, labels in seen:
        for x, k in zip(real, labels, strict=True):
            [place] = np.flatnonzero((all_images == x).reshape(74, -1).all(axis=1))
            assert k == data.labels[place % 37]


def test_twice_and_resumed_are_the_same_bytes(whole, tmp_path):
    again = train(known_gan(), labelled(), out=tmp_path / "again", **STEPS)
    assert_same_files(again, whole)
    part = train(known_gan(), labelled(), out=tmp_path / "part", **{**STEPS, "steps": 5})
    train(known_gan(), labelled(), out=part, resume=True, **STEPS)
    assert contents(part)["checkpoint.safetensors"] == contents(whole)["checkpoint.safetensors"]
    assert contents(part)["samples.png"] == contents(whole)["samples.png"]


def test_the_picture_has_a_row_for_each_class_of_one_noise(whole):
    gan = known_gan()
    shown = Shown(gan, labelled(), 0)
    z = to_numpy(shown.noise).reshape(3, 8, 4)
    assert (z == z[0]).all()
    rows = [gan.sample(z=z[0], labels=k) for k in range(3)]
    expected = plotting.grid(np.concatenate(rows), columns=8)
    np.testing.assert_array_equal(shown.picture(low=-1.0, high=1.0), expected)
    with Image.open(whole / "samples.png") as picture:
        assert picture.size == (8 * 16 + 4, 3 * 16 + 4)  # pixels doubled, two between the images
    many = Shown(known_gan(classes=40), labelled(), 0)
    assert len(many.noise) == 8 * MAX_ROWS


def test_real_images_stand_in_the_rows_of_their_classes(whole):
    """Each once, and where a class has too few of them, nothing: of 37 images in turn of three classes none has, of
    one with two images it has six places."""
    with Image.open(whole / "real.png") as real, Image.open(whole / "samples.png") as samples:
        assert real.size == samples.size
        np.testing.assert_array_equal(np.asarray(real), Shown(known_gan(), labelled(), 0).real())
    for data, counts in ((labelled(), [8, 8, 8]), (replace(labelled(), labels=np.arange(37) // 18), [8, 8, 1])):
        tiles = cut_apart(Shown(known_gan(), data, 0).real(), 6)
        rows = [[find(tile, data.images) for tile in row if tile.any()] for row in tiles.reshape(3, 8, 6, 6)]
        assert [len(row) for row in rows] == [len(set(row)) for row in rows] == counts
        assert all(data.labels[i] == k for k, row in enumerate(rows) for i in row)
        mirrored = Shown(known_gan(), data.with_mirror_images(), 0).real()
        np.testing.assert_array_equal(mirrored, Shown(known_gan(), data, 0).real())


def cut_apart(picture, size):
    """The tiles of a grid, (N, size, size), whose pixels are doubled."""
    plain, step = picture[::2, ::2], size + 2
    places = ((i, j) for i in range(2, len(plain), step) for j in range(2, plain.shape[1], step))
    return np.stack([plain[i : i + size, j : j + size] for i, j in places])


def find(tile, images):
    """Which of the images (N, H, W, 1) it is."""
    [place] = np.flatnonzero((images[..., 0] == tile).all(axis=(1, 2)))
    return int(place)


def test_trained_networks_are_asked_for_classes(whole):
    run, gan = load_trained(whole), known_gan()
    gan.average.network.load_state_arrays(run.generator.state_arrays())
    z = run.noise(9)
    for labels in (None, 2, [0, 1, 2, 0, 1, 2, 0, 1, 2]):
        np.testing.assert_array_equal(run.sample(z=z, labels=labels), gan.sample(z=z, labels=labels))
    np.testing.assert_array_equal(run.sample(9), run.sample(z=z))
    assert run.sample(labels=[1, 1]).shape == (2, 6, 6, 1)
    np.testing.assert_allclose(run.shares, 1 / 3)
    assert run.data == "labelled"
    with pytest.raises(ArgumentError, match="3 classes, 0 to 2"):
        run.sample(2, labels=3)
    with pytest.raises(ArgumentError, match="n = 3, but z has 9 rows"):
        run.sample(3, z=z)
    with pytest.raises(ArgumentError, match=r"sample: n must be a whole number"):
        run.sample()
    with pytest.raises(ArgumentError, match="which class is each sample of"):
        run.generator(z)


def test_a_run_that_knows_no_classes_says_so(tmp_path):
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,))
    run = load_trained(train(GAN(*networks, noise_dim=4), small_data(), out=tmp_path / "run", **STEPS))
    assert run.shares is None
    np.testing.assert_array_equal(run.sample(3), run.generator(run.noise(3)))
    with pytest.raises(ArgumentError, match="knows no classes; leave labels out, or train with --conditional"):
        run.sample(3, labels=1)


def test_it_is_judged_and_compared(tmp_path, forty_samples):
    judge = metrics.Judge(labelled(60, seed=1), metrics.pixels)
    shares = [1, 2, 3]
    options = {**STEPS, "judge": judge, "judge_every": 4}
    out = train(known_gan(shares=shares), labelled(), out=tmp_path / "run", **options)
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 3  # 4, 8 and 11
    np.testing.assert_allclose(load_trained(out).shares, np.array(shares) / 6)
    assert "real images" in str(compare(out, judge, samples=20))
    again = train(known_gan(shares=shares), labelled(), out=tmp_path / "again", **{**options, "steps": 5})
    train(known_gan(shares=shares), labelled(), out=again, resume=True, **options)
    assert contents(again)["metrics.csv"] == contents(out)["metrics.csv"]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_data_that_is_refused(tmp_path):
    images = small_data().images
    for data, says in (
        (ImageData(images, name="bare"), "bare: a GAN that knows classes needs a label for each image"),
        (ImageData(images, np.arange(37), name="many"), "labels of 0 to 36, but the networks are made for 3 classes"),
    ):
        with pytest.raises(DataError, match=says):
            train(known_gan(), data, out=tmp_path / "run", **STEPS)
    judge = metrics.Judge(small_data(n=60, seed=1), metrics.pixels)
    with pytest.raises(DataError, match="small: a GAN that knows classes needs a label for each image"):
        train(known_gan(), labelled(), out=tmp_path / "run", judge=judge, **STEPS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("gan", "data", "says"),
    [
        (lambda: known_gan(classes=4), labelled, "another classes: 3 then, 4 now"),
        (lambda: known_gan(way="concat"), labelled, "another generator"),
        (lambda: known_gan(shares=[1, 1, 2]), labelled, "another shares"),
        (known_gan, lambda: labelled(classes=2), "another data: labels"),
    ],
    ids=["classes", "way", "shares", "labels"],
)
def test_another_run_is_not_gone_on_with(whole, tmp_path, gan, data, says):
    out = tmp_path / "run"
    out.mkdir()
    (out / "checkpoint.safetensors").write_bytes((whole / "checkpoint.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=says):
        train(gan(), data(), out=out, resume=True, **STEPS)


@pytest.mark.parametrize("recorded", [[0.5, 0.5], [1.0, -1.0, 1.0], "all", [1e400, 1.0, 1.0]], ids=str)
def test_a_strange_record_of_shares(whole, tmp_path, recorded):
    arrays, about = checkpoints.read(whole / "checkpoint.safetensors")
    about["identity"]["shares"] = recorded
    checkpoints.write(tmp_path / "checkpoint.safetensors", arrays, about)
    with pytest.raises(CheckpointError, match="the record: shares must be 3 numbers"):
        load_trained(tmp_path)


def test_networks_of_other_classes_in_one_record(whole, tmp_path):
    arrays, about = checkpoints.read(whole / "checkpoint.safetensors")
    about["identity"]["generator"].insert(0, "ConcatLabels(5)")
    about["identity"]["generator"][1] = "Dense(9, 8)"
    arrays = {key: array for key, array in arrays.items() if not key.startswith(("generator.", "average."))}
    G = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=5, conditional="concat")[0]
    about["identity"]["generator"] = [repr(layer) for layer in G]
    arrays |= {f"generator.{key}": array for key, array in G.state_arrays().items()}
    checkpoints.write(tmp_path / "checkpoint.safetensors", arrays, about)
    with pytest.raises(CheckpointError, match=r"G knows of \[5\] classes and D of \[3\]"):
        load_trained(tmp_path)


# ---- the flag --------------------------------------------------------------------------------------------------------


def flags_and_data(line, data):
    recipe = Recipe(name="small", steps=4, lr=1e-3, noise_dim=4, batch_size=8, judge="none")
    flags = parse("", recipe, argv=line.split())
    return flags, class_options(flags, data)


def test_the_flag_makes_networks_and_a_gan_of_the_classes_of_the_data():
    flags, known = flags_and_data("--conditional concat --augment all", labelled())
    assert known == {"classes": 3, "conditional": "concat"}
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), **known)
    gan = make_gan(flags, *networks, labelled())
    assert type(gan) is ConditionalGAN
    np.testing.assert_allclose(gan.shares, np.bincount(labelled().labels) / 37)
    flags, known = flags_and_data("", labelled())
    assert known == {}
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,))
    assert type(make_gan(flags, *networks, labelled())) is GAN


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (None, r"--conditional concat: the data has no labels .*Lay pictures into a folder for each class"),
        (np.where(np.arange(37) % 2, 5, 1), "labels are of 2 classes, but count from 0 to 5; the others have no image"),
        (np.where(np.arange(37) % 2, 2 * 10**9, 1), "labels are of 2 classes, but count from 0 to 2000000000"),
    ],
)
def test_data_that_the_flag_refuses(labels, says):
    with pytest.raises(DataError, match=says):
        flags_and_data("--conditional concat", ImageData(small_data().images, labels))


def test_the_flag_of_a_run_that_goes_on_stays(tmp_path):
    settings = vars(flags_and_data("--conditional projection", labelled())[0]) | {"out": None}
    train(known_gan(), labelled(), out=tmp_path / "run", settings={k: v for k, v in settings.items() if v is None or
          isinstance(v, (int, float, str))}, **STEPS)  # fmt: skip
    with pytest.raises(CheckpointError, match="a run that goes on keeps its own --conditional, projection, got none"):
        flags_and_data(f"--resume --out {tmp_path / 'run'} --conditional none", labelled())
    flags, _ = flags_and_data(f"--resume --out {tmp_path / 'run'}", labelled())
    assert flags.conditional == "projection"
