"""Training from a program of one's own: plain arrays, a callback, a cell that is run twice, and what is refused."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from support.ids import brief
from support.small_runs import STEPS, assert_same_files, small_data, small_gan

from tinygan import load_trained, losses, train
from tinygan.backends import to_backend
from tinygan.data import ImageData, load
from tinygan.errors import ArgumentError, BackendError, DataError, ShapeError, TinyGANError
from tinygan.penalties import R1
from tinygan.runs import Run, read_checkpoint

SHORT = {"batch_size": 8, "progress": False}


class Frame:
    """Gives its array to NumPy, as data frames and tensors do."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
ARRAYS = {
    "bytes": lambda: PIXELS,
    "with a channel": lambda: PIXELS[..., None],
    "floats from 0 to 1": lambda: PIXELS / 255.0,
    "floats from -1 to 1": lambda: (PIXELS / 127.5 - 1.0).astype(np.float32),
    "a masked array without a mask": lambda: np.ma.array(PIXELS),
    "a frame": lambda: Frame(PIXELS),
    "on a device": lambda: to_backend(PIXELS[..., None], "standin"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_loaded_as_files_of_them_are(name):
    data = load(ARRAYS[name]())
    np.testing.assert_array_equal(data.images[..., 0], PIXELS)
    assert data.name == "array"
    black = {"floats from 0 to 1": "0", "floats from -1 to 1": "-1"}.get(name)
    said = f", of floats with black at {black} and white at 1" if black else ""
    assert data.description == f"12 images of 6x6x1 in memory{said}"
    assert load(ARRAYS[name](), size=3, mirror=True).image_shape == (3, 3, 1)


def test_training_takes_an_array_as_it_takes_the_data_made_of_it(tmp_path):
    folders = [train(small_gan(), data, out=tmp_path / name, steps=1, **SHORT) for name, data in (
        ("a", PIXELS), ("b", load(PIXELS)))]  # fmt: skip
    assert (folders[0] / "checkpoint.safetensors").read_bytes() == (folders[1] / "checkpoint.safetensors").read_bytes()


def test_a_callback_hears_of_every_step_and_may_end_the_run(tmp_path):
    heard = []

    def callback(gan, losses):
        heard.append((gan.t, float(losses.d), float(losses.g)))
        if gan.t == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(small_gan(), PIXELS, out=tmp_path / "a", steps=5, checkpoint_every=2, callback=callback, **SHORT)
    assert [t for t, *_ in heard] == [1, 2, 3]
    folder = train(
        small_gan(),
        PIXELS,
        out=tmp_path / "a",
        steps=5,
        resume=True,
        callback=lambda gan, _: heard.append(gan.t),
        **SHORT,
    )
    assert heard[3] in (3, 4)  # it goes on from the last checkpoint
    assert heard[-1] == 5
    rows = (folder / "losses.csv").read_text().splitlines()
    assert [float(value) for value in rows[2].split(",")[2:]] == pytest.approx(heard[1][1:], rel=1e-5)


def test_a_cell_that_is_run_twice_says_what_to_do(tmp_path):
    gan = small_gan()
    train(gan, PIXELS, out=tmp_path / "a", steps=1, **SHORT)
    with pytest.raises(ArgumentError, match=r"taken 1 steps already.*GAN anew.*go on with the run in .*resume=True"):
        train(gan, PIXELS, out=tmp_path / "a", steps=2, **SHORT)
    train(gan, PIXELS, out=tmp_path / "a", steps=2, resume=True, **SHORT)
    assert gan.t == load_trained(tmp_path / "a").step == 2


@pytest.mark.parametrize("goes_on", [True, False], ids=["elsewhere", "nowhere"])
def test_a_run_stays_in_its_folder_when_the_program_goes_to_work_in_another(tmp_path, monkeypatch, goes_on):
    """Or in one that is then removed."""
    whole = train(small_gan(), small_data(), out=tmp_path / "whole", **STEPS)
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def move(gan, losses):
        if gan.t == 2:
            os.chdir(tmp_path / "there")
            if not goes_on:
                (tmp_path / "there").rmdir()

    folder = train(small_gan(), small_data(), out=Path("a") / "run", callback=move, **STEPS)
    assert folder == tmp_path / "here" / "a" / "run", "the way to it from where the program is now"
    assert_same_files(folder, whole)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "here", *(["there"] if goes_on else [])}
    if goes_on:
        assert list((tmp_path / "there").iterdir()) == []


def test_a_relative_folder_is_shown_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(train(small_gan(), PIXELS, out="a/run", steps=1, **SHORT)) == str(Path("a") / "run")
    with pytest.raises(ArgumentError, match=r"^a.run holds a run of 1 steps already"):
        train(small_gan(), PIXELS, out="a/run", steps=1, **SHORT)


def test_a_relative_folder_where_the_program_works_in_none(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ArgumentError, match=r"^run: the folder that the program works in is gone .* the whole path"):
        train(small_gan(), PIXELS, out="run", steps=1, **SHORT)
    train(small_gan(), PIXELS, out=tmp_path / "run", steps=1, **SHORT)


def test_a_callback_that_changes_what_a_step_takes_is_answered(tmp_path):
    options = {"out": tmp_path / "a", "steps": 4, **SHORT}
    with pytest.raises(ShapeError, match="8 real samples cannot be shared out over d_steps = 3"):
        train(small_gan(), PIXELS, callback=lambda gan, losses: setattr(gan, "d_steps", 3), **options)
    with pytest.raises(ShapeError, match=r"expected input \(N, 4\), got \(N, 7\)"):
        small_gan().noise_dim = 7


def test_settings_within_each_other_without_end(tmp_path):
    value = {}
    for _ in range(9_999):
        value = {"a": value}
    with pytest.raises(ArgumentError, match=r"settings\['a'\] is .*, which JSON cannot hold"):
        train(small_gan(), PIXELS, out=tmp_path / "a", steps=1, settings=value, **SHORT)


def test_a_penalty_that_joins_on_the_way_costs_no_curves(tmp_path, capfd):
    def callback(gan, losses):
        gan.penalties = R1()

    train(small_gan(), PIXELS, out=tmp_path / "a", steps=4, callback=callback, **SHORT)
    assert (tmp_path / "a" / "losses.png").exists()
    assert capfd.readouterr().err == ""


def test_a_run_prints_as_one_line(tmp_path):
    text = repr(Run(tmp_path / "a", small_gan(), small_data(), batch_size=8, seed=0))
    assert text.startswith("Run('")
    assert len(text) < 300
    assert "array(" not in text


def pauses(gan, losses):
    yield


async def waits(gan, losses):
    pass


TRAIN_ODDITIES = [
    *(({"gan": value}, "expected a tinygan.GAN") for value in (None, "gan", small_gan)),
    *(({"data": value}, "must be what tinygan.data.load gives") for value in (None, "mnist", [[1.0]], 3)),
    *(
        ({"data": value}, "expected images|expected uint8 or floats")
        for value in (np.zeros((4, 36), "u1"), PIXELS.astype(int))
    ),
    ({"data": np.ma.masked_array(PIXELS, PIXELS > 9)}, "masked values"),
    *(({"out": value}, "out: expected a path") for value in (3, None, "", "a\0b", b"x", ["a"])),
    ({"out": "~nobody_of_that_name/x"}, "nobody knows"),
    *(({"callback": value}, "callback must be a function") for value in (3, "print", [])),
    *(({"callback": value}, "a plain function .*; (pauses|waits) is async or yields") for value in (pauses, waits)),
    *(({"settings": value}, "JSON cannot hold") for value in ({"a": object()}, {1: 2})),
    *([({"out": "caf\ud800"}, "no file can have such a name here")] if sys.platform != "win32" else []),
    *(({"steps": value}, "steps must be a whole number") for value in (0, -1, 1.0, True, "3")),
    *(({"batch_size": value}, "batch_size must be") for value in (0, None, 8.0, "8")),
    *(({"seed": value}, "seed must be") for value in (-1, 0.5, None)),
    *(({"low": value}, "expected low below high") for value in (1.0, float("nan"), None, "0", True)),
    *(({"resume": value}, "resume must be True or False") for value in ("no", 0, None)),
    *(({"overwrite": value}, "overwrite must be True or False") for value in ("yes", 1)),
    *(({"settings": value}, "settings must be a dict") for value in ("a", [1], 3)),
    ({"group": 3}, "group must be"),
    ({"sample_every": 0}, "sample_every must be"),
    ({"checkpoint_every": float("inf")}, "checkpoint_every must be"),
]


@pytest.mark.parametrize(("options", "words"), TRAIN_ODDITIES, ids=brief)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    usual = {"gan": small_gan(), "data": PIXELS, "out": "a", "steps": 1, **SHORT}
    with pytest.raises(TinyGANError, match=words):
        train(**{**usual, **options})
    assert not list(tmp_path.iterdir())


LOAD_ODDITIES = [
    *(({"name": value}, ArgumentError, "expected a path") for value in (None, 3, [PIXELS], "", "a\0b", b"x")),
    ({"name": "~nobody_of_that_name/x.npy"}, ArgumentError, "nobody knows"),
    ({"name": np.zeros((2, 3), "u1")}, DataError, "reshape"),
    ({"name": np.array(["a"])}, DataError, "expected images"),
    ({"name": np.ma.masked_array(PIXELS, True)}, BackendError, "masked values"),
    *(({"channels": value}, ArgumentError, "expected 1 for grey or 3") for value in (True, 2, "1", 1.5)),
    *(({"split": value}, ArgumentError, "split: expected 'train' or 'test'") for value in ("val", None, [])),
    *(({"mirror": value}, ArgumentError, "mirror must be True or False") for value in ("False", 1, None)),
    *(({"fit": value}, ArgumentError, "fit: expected 'crop' or 'letterbox'") for value in ("pad", None, np.zeros(3))),
]


@pytest.mark.parametrize(("options", "error", "words"), LOAD_ODDITIES, ids=brief)
def test_what_cannot_be_loaded_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        load(**{"name": PIXELS, "size": 3, **options})


def test_data_of_subclasses_becomes_plain():
    data = ImageData(np.ma.array(PIXELS[..., None]))
    assert type(data.images) is np.ndarray
    with pytest.raises(BackendError, match="masked values"):
        ImageData(np.ma.masked_array(PIXELS[..., None], True))


def test_losses_are_what_the_callback_is_told_of(tmp_path):
    kinds = set()
    gan = small_gan(loss=losses.LeastSquares())
    train(gan, PIXELS, out=tmp_path / "a", steps=1, callback=lambda _, told: kinds.add(type(told).__name__), **SHORT)
    assert kinds == {"Losses"}


def test_numbers_of_numpy_are_recorded_as_numbers(tmp_path):
    settings = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array(1.5), "d": np.bool_(True)}
    train(small_gan(), small_data(), out=tmp_path, settings=settings, **{**STEPS, "steps": 1})
    recorded = read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["settings"]
    assert recorded == {"a": 0.5, "b": 3, "c": 1.5, "d": True}
