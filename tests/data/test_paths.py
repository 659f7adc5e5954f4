"""Paths as people write them, and texts that are none."""

import os
from pathlib import Path

import numpy as np
import pytest
from support.pictures import picture

from tinygan.checkpoints import as_path
from tinygan.data import load, load_folder
from tinygan.errors import ArgumentError, DataError


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("path", "whole"),
    [("~", "."), ("~/x", "x"), ("~/x/~/y", "x/~/y"), (Path("~/写真"), "写真"), ("~/caf\udce9", "caf\udce9")],
)
def test_a_home_folder(path, whole, tmp_path):
    assert as_path(path) == tmp_path / whole


@pytest.mark.parametrize("path", ["x", "./~", "a~", "a/~b", ".", "..", " ", "~/../x"])
def test_other_paths_are_what_they_are(path):
    assert as_path(path) == Path(path).expanduser()


PATH_ODDITIES = [
    ("", "expected a path, got the text ''"),
    ("a\0b", "expected a path, got the text 'a\\\\x00b'"),
    ("a\ud800b", "'a\\\\ud800b': no file can have such a name here"),
    (object(), "expected a path, got object;"),
    (iter([]), "expected a path, got list_iterator;"),
    ("~no-such-user", "~no-such-user: nobody knows the home folder ~no-such-user"),
    ("~no-such-user/x/y", "nobody knows the home folder ~no-such-user. Write the whole path, or ./~no-such-user/x/y"),
    (Path("~no-such-user"), "nobody knows the home folder"),
    ("~x.npy", "nobody knows the home folder ~x.npy"),
    ("~~", "nobody knows the home folder ~~"),
    (None, "expected a path, got None"),
    (3, "expected a path, got 3"),
    (b"bytes", "expected a path, got b'bytes'"),
    (["a"], "expected a path, got"),
    (np.zeros(3), "expected a path, got"),
]


@pytest.mark.parametrize(("path", "message"), PATH_ODDITIES, ids=range(len(PATH_ODDITIES)))
def test_what_is_no_path_is_refused(path, message):
    with pytest.raises(ArgumentError, match=message.replace(".", r"\.")):
        as_path(path)


@pytest.mark.parametrize("value", [None, 3, [np.zeros((2, 2))], {"images": 1}, (i for i in "ab"), object(), b"mnist"])
def test_what_names_no_data_is_refused_in_words(value):
    with pytest.raises(ArgumentError, match="a path, the name of a data set or an array of images, got") as caught:
        load(value)
    assert "0x" not in str(caught.value)
    assert "numpy.stack" in str(caught.value)


def test_who_works_in_turn_must_be_a_function():
    with pytest.raises(ArgumentError, match="in_turn must be a function, got NoneType"):
        load("digits", in_turn=None)


def test_a_text_of_numpy_is_a_text(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 6, 6, 1), np.uint8))
    assert len(load(np.str_("x.npy"))) == 9


@pytest.mark.parametrize("name", [".", ".."])
def test_a_current_folder_that_was_removed_is_told_of(tmp_path, monkeypatch, name):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for read in (load, load_folder):
        with pytest.raises(DataError, match=rf"^{name}: nobody can tell .* removed.* Change to another folder"):
            read(name)


#: names of folders and files that no terminal shows, or that it would act on
LETTER_ODDITIES = ["caf\udce9", "two\nlines", "\x1b[31mred", "\u202eback", "tab\t"]


@pytest.mark.parametrize("name", LETTER_ODDITIES)
def test_what_is_said_of_data_can_be_printed_whatever_they_are_called(tmp_path, name):
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip("no such names here")
    picture(tmp_path / name, "a.png")
    np.save(tmp_path / f"{name}.npy", np.zeros((9, 6, 6, 1), np.uint8))
    for data in (load_folder(tmp_path / name), load(tmp_path / f"{name}.npy")):
        assert data.description.isprintable()
        assert ascii(name)[1:-1] in data.description
    assert load_folder(tmp_path / name, cache=tmp_path / f"{name} cache").images.shape == (1, 64, 64, 3)


def test_a_file_that_is_called_like_a_user_is_itself(tmp_path):
    np.save(tmp_path / "~x.npy", np.zeros((9, 6, 6, 1), np.uint8))
    assert as_path("~x.npy") == Path("~x.npy")
    assert len(load("~x.npy")) == 9


def test_without_a_home_it_is_said(monkeypatch):
    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    for read in (as_path, load, load_folder):
        with pytest.raises(ArgumentError, match="~/x: nobody knows the home folder ~"):
            read("~/x")


@pytest.mark.parametrize("cache", ["~no-such-user", ""])
def test_a_cache_that_cannot_be_is_refused(cache, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "x.png").write_bytes(b"")
    (folder / "y.png").write_bytes(b"no picture")
    with pytest.raises(ArgumentError, match=r"nobody knows|expected a path"):
        load_folder(folder, cache=cache)
    assert sorted(os.listdir(tmp_path)) == ["photos"]
