"""What training runs and examples have drawn is never data: not next to pictures, not among them."""

import contextlib
import os
import shutil

import numpy as np
import pytest
from support.pictures import BLUE, RED, picture
from support.small_runs import STEPS, small_data, small_gan

from tinygan.data import folder as reader
from tinygan.data import load, load_folder
from tinygan.errors import DataError
from tinygan.metrics import Judge, pixels
from tinygan.runs import judging
from tinygan.runs.commandline import output_folder
from tinygan.runs.training import train
from tinygan.runs.writer import Writer

SHORT = {**STEPS, "steps": 2, "sample_every": 1}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """A cache of one's own, whatever the machine's is."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("pooch.os_cache", lambda name: cache / name)


@pytest.fixture
def photos(tmp_path):
    """Two pictures, in a folder of their own."""
    picture(tmp_path, "a.png"), picture(tmp_path, "b.png", colour=BLUE)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, judge = tmp_path_factory.mktemp("finished") / "run", Judge(small_data(), pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "SAMPLES", 20)
        return train(small_gan(), small_data(), out=out, judge=judge, **SHORT)


def seen(folder, **options):
    """The colours that ``folder`` gives."""
    return [tuple(image[0, 0]) for image in load_folder(folder, size=8, **options).images]


@pytest.mark.parametrize("where", ["runs/first", "run", "deep/er/run", "samples", "a"])
def test_a_run_beside_the_pictures(where, photos, finished):
    before = load_folder(photos, size=8)
    shutil.copytree(finished, photos / where)
    after = load_folder(photos, size=8)
    np.testing.assert_array_equal(after.images, before.images)
    assert after.description == f"{before.description}; left out what training runs have written: {where}"


def test_a_run_among_class_folders_is_no_class(tmp_path, finished):
    picture(tmp_path, "cats/1.png"), picture(tmp_path, "dogs/1.png")
    shutil.copytree(finished, tmp_path / "runs" / "first")
    data = load_folder(tmp_path)
    assert (data.classes, list(data.labels)) == (("cats", "dogs"), [0, 1])


PIECES_ODDITIES = [  # what is left of a run, and whether it is still seen to be one
    ("all of it", [], True),
    ("no checkpoint", ["checkpoint.safetensors"], True),
    ("no record", ["config.json", "losses.csv"], True),
    ("no pictures of the way", ["film.gif", "losses.png"], True),
    ("only the pictures", ["checkpoint.safetensors", "config.json", "losses.csv"], False),
    ("no checkpoint and no losses", ["checkpoint.safetensors", "losses.csv"], False),
]


@pytest.mark.parametrize(("what", "gone", "known"), PIECES_ODDITIES, ids=[row[0] for row in PIECES_ODDITIES])
def test_what_is_left_of_a_run(what, gone, known, photos, finished):
    shutil.copytree(finished, photos / "run")
    for name in gone:
        (photos / "run" / name).unlink()
    assert (seen(photos) == [RED, BLUE]) is known


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "in place of another"])
@pytest.mark.parametrize("moment", range(1, 12))
def test_a_run_broken_off_at_any_file_is_a_run(moment, overwrite, photos, finished, monkeypatch):
    """At every rename and removal of a file."""
    if overwrite:
        shutil.copytree(finished, photos / "run")
    calls, replace, unlink = [], os.replace, type(photos).unlink

    def mortal(do, *names, **how):
        calls.append(names)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return do(*names, **how)

    monkeypatch.setattr(os, "replace", lambda *names: mortal(replace, *names))
    monkeypatch.setattr(type(photos), "unlink", lambda path, **how: mortal(unlink, path, **how))
    with contextlib.suppress(KeyboardInterrupt):
        train(small_gan(), small_data(), out=photos / "run", overwrite=overwrite, **SHORT)
    monkeypatch.undo()
    assert seen(photos, cache=photos / "cache") == [RED, BLUE]


def test_the_first_run_in_a_folder_of_pictures_goes_on_after_the_second(photos, monkeypatch):
    """And so does one whose folder is that of the pictures."""
    monkeypatch.chdir(photos)
    gan = {"channels": 3}
    options = {**SHORT, "batch_size": 2}

    def data():
        return load(".", size=6)

    for out in ("runs/first", "runs/second", "."):
        train(small_gan(**gan), data(), out=out, **options)
    for out in ("runs/first", "runs/second", "."):
        train(small_gan(**gan), data(), out=out, resume=True, **{**options, "steps": 3})
    assert seen(photos) == [RED, BLUE]
    assert "left out what training runs have written: film.gif, losses.png, real.png, runs/first" in data().description


def test_pictures_of_ones_own_in_the_folder_of_a_run(finished, tmp_path):
    """Only what the run itself has drawn is left out, wherever the names are the same."""
    shutil.copytree(finished, tmp_path / "run")
    picture(tmp_path / "run", "mine.png"), picture(tmp_path / "run", "samples/mine.png", colour=BLUE)
    picture(tmp_path / "run", "more/samples.png"), picture(tmp_path / "run", "samples/step_1/x.png")
    assert seen(tmp_path / "run") == [RED, RED, BLUE, RED]


@pytest.mark.parametrize("asked", [".", "samples"])
def test_a_run_alone_is_refused(asked, finished):
    message = "the only pictures in it are those that training runs have drawn, which are never data: "
    with pytest.raises(DataError, match=message):
        load_folder(finished / asked)


def test_a_folder_with_nothing_but_runs(finished):
    with pytest.raises(DataError, match=r"never data: run\. Give the folder that holds the pictures"):
        load_folder(finished.parent)


def test_what_only_looks_like_a_run_is_data(tmp_path):
    for name in ("samples.png", "film.gif", "losses.png", "samples/step_000500.png", "runs/1.png"):
        picture(tmp_path, name)
    (tmp_path / "config.json").write_text("{}")
    assert len(load_folder(tmp_path)) == 5


def test_what_examples_draw_is_no_data_either(photos):
    picture(output_folder(photos / "runs" / "ring"), "ring.png")
    picture(output_folder(photos / "runs" / "ring"), "ring2.png")
    assert seen(photos) == [RED, BLUE]
    picture(output_folder(photos), "drawn among them.png")
    assert len(seen(photos)) == 3, "a folder of somebody else's is not marked"


def test_a_folder_that_is_held_but_empty_is_nothing(photos):
    (photos / "run").mkdir()
    with Writer(photos / "run") as writer:
        writer.hold()
        assert seen(photos) == [RED, BLUE]


def test_the_names_are_those_that_runs_write(finished):
    names = {str(path.relative_to(finished)).replace(os.sep, "/") for path in finished.rglob("*") if path.is_file()}
    assert set().union(*reader.RUN_FILES[1:]) <= names
    assert {name for name in names if reader.DRAWN.fullmatch(name)} == {
        n for n in names if n.endswith((".png", ".gif"))
    }
