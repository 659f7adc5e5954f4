"""The array file: made once, opened ever after, made anew when anything about it is not right."""

import importlib
import io
import os
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import BLUE, RED, cut, picture

from tinygan.data import load_folder
from tinygan.data.pictures import MAX_PIXELS, read_picture
from tinygan.errors import DataError

store = importlib.import_module("tinygan.data.store")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """A cache of one's own, whatever the machine's is."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path_factory.mktemp("cache") / name)


@pytest.fixture
def decoded(monkeypatch):
    """Names of the pictures that were decoded."""
    names = []

    def noted(path, form, **options):
        names.append(path.name)
        return read_picture(path, form, **options)

    monkeypatch.setattr(store, "read_picture", noted)
    return names


def test_pictures_are_decoded_once(tmp_path, decoded):
    folder, cache = tmp_path / "mine", tmp_path / "cache"
    for k in range(5):
        picture(folder, f"{k}.png", mode="L", colour=k)
    (folder / "x.png").write_text("broken")
    first, second = load_folder(folder, cache=cache), load_folder(folder, cache=cache)
    assert len(decoded) == 6
    assert (first.images == second.images).all()
    assert first.description == second.description
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    assert sorted(p.suffix for p in cache.rglob("*.*")) == [".json", ".npy"]


CHANGES = {
    "a picture more": lambda d: picture(d, "new.png"),
    "a picture less": lambda d: (d / "a.png").unlink(),
    "another name": lambda d: (d / "a.png").rename(d / "c.png"),
    "another content": lambda d: picture(d, "a.png", (9, 9)),
    "another time": lambda d: os.utime(d / "a.png", ns=(1, 1)),
}


@pytest.mark.parametrize("case", CHANGES)
def test_any_change_is_noticed(tmp_path, decoded, case):
    picture(tmp_path, "a.png"), picture(tmp_path, "b.png")
    load_folder(tmp_path)
    decoded.clear()
    CHANGES[case](tmp_path)
    data = load_folder(tmp_path)
    assert len(decoded) == len(data) == len(list(tmp_path.glob("*.png")))


def test_settings_have_files_of_their_own(tmp_path, decoded):
    picture(tmp_path)
    for options in ({}, {"size": 8}, {"channels": 1}, {"fit": "letterbox"}, {"background": 0}, {"max_pixels": 10**6}):
        for _ in range(2):
            load_folder(tmp_path, cache=tmp_path / ".cache", **options)
    assert len(decoded) == 6


DAMAGE = {
    "array gone": (".npy", lambda p: p.unlink()),
    "array cut": (".npy", lambda p: cut(p)),
    "array emptied": (".npy", lambda p: p.write_bytes(b"")),
    "another array": (".npy", lambda p: np.save(p, np.zeros((3, 8, 8, 3), np.uint8))),
    "label gone": (".json", lambda p: p.unlink()),
    "label cut": (".json", lambda p: cut(p)),
    "label is a list": (".json", lambda p: p.write_text("[]")),
    "label says nothing": (".json", lambda p: p.write_text("{}")),
    "label is no text": (".json", lambda p: p.write_bytes(b"\xff\xfe")),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_cache_is_made_anew(tmp_path, decoded, case):
    suffix, spoil = DAMAGE[case]
    picture(tmp_path, "a.png"), picture(tmp_path, "b.png", colour=BLUE)
    cache = tmp_path / ".cache"
    load_folder(tmp_path, size=8, cache=cache)
    spoil(next(cache.rglob(f"*{suffix}")))
    data = load_folder(tmp_path, size=8, cache=cache)
    np.testing.assert_array_equal(data.images[:, 0, 0], [RED, BLUE])
    assert len(decoded) == 4


def test_a_process_that_dies_leaves_nothing_wrong(tmp_path, decoded, monkeypatch):
    cache = tmp_path / ".cache"
    for k in range(3):
        picture(tmp_path, f"{k}.png")

    def dies(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            load_folder(tmp_path, cache=cache)
    assert not list(cache.rglob("*.*"))
    left = cache / "folders" / "x.npy.1.part"
    left.write_bytes(b"of a process that was killed")
    os.utime(left, (0, time.time() - 2 * 24 * 3600))
    assert len(load_folder(tmp_path, cache=cache)) == 3
    assert not left.exists()


def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path, monkeypatch):
    picture(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_header", full)
    with pytest.raises(DataError, match=r"cannot be written there \(No space left on device\); name a folder"):
        load_folder(tmp_path, cache=tmp_path / ".cache")
    assert not list((tmp_path / ".cache").rglob("*.*"))


@settings(max_examples=30)
@given(first=st.integers(1, 2**40), second=st.integers(1, 2**40))
def test_headers_of_any_number_of_images_are_equally_long(first, second):
    headers = io.BytesIO(), io.BytesIO()
    for file, n in zip(headers, (first, second), strict=True):
        store._write_header(file, (n, 64, 64, 3))
    assert headers[0].tell() == headers[1].tell()


def test_pillows_own_limit_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    picture(tmp_path)
    assert len(load_folder(tmp_path)) == 1
    assert Image.MAX_IMAGE_PIXELS == 10
    assert MAX_PIXELS > 10


def test_a_bar_is_for_terminals_only(tmp_path, capsys, monkeypatch):
    picture(tmp_path)
    load_folder(tmp_path)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    load_folder(tmp_path, size=8)
    assert "1/1" in capsys.readouterr().err
    load_folder(tmp_path, size=9, progress=False)
    assert capsys.readouterr() == ("", "")
