"""Paths as people write them, and texts that are none."""

import os
from pathlib import Path

import numpy as np
import pytest

from tinygan.checkpoints import as_path
from tinygan.data import load, load_folder
from tinygan.errors import ArgumentError


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


@pytest.mark.parametrize(("path", "message"), PATH_ODDITIES, ids=[repr(row[0])[:20] for row in PATH_ODDITIES])
def test_what_is_no_path_is_refused(path, message):
    with pytest.raises(ArgumentError, match=message.replace(".", r"\.")):
        as_path(path)


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
