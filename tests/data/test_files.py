"""What lies where a file is expected: pipes, devices, sockets, folders and locked doors are refused."""

import os
import socket
import sys

import numpy as np
import pytest
from support.pictures import picture

from tinygan.data import files, load, load_folder, read_arrays, read_idx
from tinygan.errors import DataError

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes and devices in its folders")


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def never_ready(path):
    path.symlink_to("/dev/random")


def socket_in_place(path):
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(path.parent)  # their names must be short
        s.bind(path.name)


def folder(path):
    path.mkdir()


#: (what lies there, under which name, what reads it, words of the answer)
PLACE_ODDITIES = [
    *((pipe, "a.npy", read, "this is a pipe, which need not end") for read in (load, read_arrays, read_idx)),
    *((endless, "a.npz", read, "this is a device, which need not end") for read in (load, read_arrays, read_idx)),
    *((socket_in_place, "a", read, "this is a socket|cannot be read") for read in (load, read_arrays, read_idx)),
    *(
        (folder, "a.npy", read, "cannot be read, this is a folder; give a file in it")
        for read in (read_arrays, read_idx)
    ),
    (folder, "a.npy", load, "expected pictures .* but it is empty"),
    (pipe, "a.gz", load, "this is a pipe"),
    (pipe, "a.png", load, "this is a pipe"),
    (pipe, "pictures", load, "this is a pipe"),
    (pipe, "pictures", load_folder, "this is a pipe"),
    (never_ready, "train-images-idx3-ubyte", lambda path: load(path.parent), "this is a device"),
    (pipe, "train-images-idx3-ubyte.gz", lambda path: load(path.parent), "this is a pipe"),
]


@unix
@pytest.mark.parametrize(("make", "name", "read", "words"), PLACE_ODDITIES)
def test_what_need_not_end_is_refused_by_name(tmp_path, monkeypatch, make, name, read, words):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


@unix
def test_a_pipe_among_the_labels_is_no_reason_to_hang(tmp_path):
    from data.test_mnist import write_set

    folder = write_set(tmp_path / "mine")
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    os.mkfifo(folder / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz: this is a pipe"):
        load(folder)


# ---------------------------------------------------------------- what may not be read


def locked(monkeypatch, name, *functions):
    """Whatever is called ``name`` may not be looked at, as if the tests did not run as an administrator."""
    for function in functions:
        really = getattr(os, function)

        def guarded(path, *args, _really=really, **kwargs):
            if name in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return _really(path, *args, **kwargs)

        monkeypatch.setattr(os, function, guarded)


#: (name of what is locked, which calls fail, what is read, words of the answer)
LOCK_ODDITIES = [
    ("a.npy", ("open",), lambda d: load(d / "a.npy"), r"a.npy: cannot be read \(Permission denied\)"),
    ("a.npy", ("open",), lambda d: read_arrays(d / "a.npy"), r"cannot be read \(Permission denied\)"),
    ("a.npy", ("open",), lambda d: read_idx(d / "a.npy"), r"cannot be read \(Permission denied\)"),
    (
        "vault",
        ("listdir", "scandir"),
        lambda d: load(d / "vault"),
        r"vault: this folder cannot be read \(Permission den",
    ),
    ("vault", ("scandir",), lambda d: load_folder(d / "vault"), r"vault: this folder cannot be read \(Permission den"),
    ("vault", ("stat",), lambda d: load(d / "vault" / "x.npy"), r"x.npy: cannot be looked at \(Permission denied\)"),
    ("vault", ("stat",), lambda d: load_folder(d / "vault"), r"vault: cannot be looked at \(Permission denied\)"),
]


@pytest.mark.parametrize(("name", "functions", "read", "words"), LOCK_ODDITIES)
def test_unreadable_is_not_absent(tmp_path, monkeypatch, name, functions, read, words):
    np.save(tmp_path / "a.npy", np.full((2, 3, 3, 1), 200, np.uint8))
    picture(tmp_path / "vault", "a.png")
    locked(monkeypatch, name, *functions)
    with pytest.raises(DataError, match=words):
        read(tmp_path)


# ---------------------------------------------------------------- names


#: names of files that look like a home, and others that a shell would have changed
NAME_ODDITIES = [
    "~x.npy",
    "~",
    "~nobody.has.this.name",
    "~~",
    " ",
    "a b.npy",
    "-",
    "ä.npy",
    "\u202eabc.npy",
    "$HOME.npy",
]


@pytest.mark.parametrize("name", NAME_ODDITIES)
def test_a_file_may_be_called_anything(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    np.save(tmp_path / "x.npy", np.full((2, 3, 3, 1), 200, np.uint8))
    if name == "~":
        with pytest.raises(DataError, match="neither a name"):
            load(name)
        return
    (tmp_path / "x.npy").rename(tmp_path / name)
    assert len(load(name)) == len(read_arrays(name)) == 2


#: names of nothing
ABSENT_ODDITIES = ["x" * 300, "a/" * 3000, "file/below", "absent"]


@pytest.mark.parametrize("name", ABSENT_ODDITIES, ids=range(len(ABSENT_ODDITIES)))
@pytest.mark.parametrize("read", [load, load_folder, read_arrays, read_idx])
def test_what_is_not_there_is_said(tmp_path, monkeypatch, read, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"there is no such|neither a name|cannot be|this is a file"):
        read(name)


def test_nobody_has_a_home(tmp_path, monkeypatch):
    """A service without HOME whose user is in no list: no file can be called ~, and no cache is made in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pooch.os_cache", lambda name: files.Path("~", ".cache", name))
    monkeypatch.setitem(load.__globals__["_COUNT"], "digits", {"train": 9, "test": 9})
    picture(tmp_path / "mine")
    for name in ("mnist", tmp_path / "mine"):
        with pytest.raises(DataError, match=r"the user has no home folder .* name one \(--cache, cache=...\)"):
            load(name)
    data = load("auto")
    assert (data.name, len(data)) == ("digits", 9)
    assert "no home folder" in data.description
    assert not (tmp_path / "~").exists()
