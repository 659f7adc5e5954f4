"""The array file: made once, opened ever after, made anew when anything about it is not right."""

import importlib
import io
import json
import os
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import BLUE, RED, cut, picture

from tinygan import checkpoints
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


# ---------------------------------------------------------------- damage of every kind


def rewritten(**changes):
    """The .json file says something else, or says less where the new value is None."""

    def spoil(path):
        about = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in about.items() if value is not None}))

    return spoil


def forged(**changes):
    """The same by somebody who can compute the checksum."""

    def spoil(path):
        rewritten(**changes)(path)
        about = json.loads(path.read_text())
        about.pop("checksum")
        path.write_text(json.dumps({**about, "checksum": store.digest(about)}))

    return spoil


def header(shape, descr="|u1"):
    def spoil(path):
        pixels = path.read_bytes()[128:]
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            file.write(pixels)

    return spoil


def flipped(at, *, keep_time=False):
    def spoil(path):
        before, content = path.stat(), bytearray(path.read_bytes())
        content[at] ^= 4
        path.write_bytes(content)
        if keep_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return spoil


def replaced(make):
    def spoil(path):
        path.unlink()
        make(path)

    return spoil


#: (which file, what happens to it)
CACHE_ODDITIES = [
    *((".npy", flipped(at)) for at in (0, 7, 9, 30, 60, 127, 128, 200, 300, -1)),
    *((".npy", flipped(at, keep_time=True)) for at in (7, 128, -1)),
    *(
        (".npy", header(shape))
        for shape in ((2**62, 8, 8, 3), (-1, 8, 8, 3), (2, 8, 8), (2, 8, 8, 1), (0, 8, 8, 3), ())
    ),
    *((".npy", header((2, 8, 8, 3), descr)) for descr in ("|i1", "<f8", "|O", "|S1")),
    (".npy", lambda p: p.write_bytes(b"\x93NUMPY\1\0\xff\xff" + b"(" * 70_000)),
    (".npy", lambda p: p.write_bytes(p.read_bytes() + b"\0")),
    (".npy", lambda p: p.write_bytes(b"\0" * p.stat().st_size)),
    (".npy", replaced(lambda p: p.symlink_to("/dev/zero"))),
    (".npy", replaced(lambda p: p.symlink_to(p))),
    (".npy", replaced(lambda p: p.symlink_to("nowhere"))),
    (".json", replaced(lambda p: p.symlink_to("/dev/zero"))),
    (".json", replaced(lambda p: p.symlink_to(p))),
    *(
        (".json", rewritten(**{key: None}))
        for key in ("fingerprint", "shape", "enlarged", "skipped", "checksum", "crc32")
    ),
    *((".json", rewritten(shape=shape)) for shape in ([3, 8, 8, 3], "2, 8, 8, 3", [2**70, 8, 8, 3], [], None, [[2]])),
    *((".json", rewritten(skipped=skipped)) for skipped in ("a.png", [["a.png", "?"]], {}, [1], 7)),
    *((".json", rewritten(enlarged=value)) for value in ("2", -1, 1.5, [])),
    *((".json", forged(shape=x)) for x in ([3, 8, 8, 3], [2, 8, 8], "2883", [2.0, 8, 8, 3], {}, [2, 8, -8, 3], [[2]])),
    *((".json", forged(skipped=skipped)) for skipped in ("a.png", {}, [1], 7, [["a.png"]], [["a.png", 1]], ["ab"])),
    *((".json", forged(**{key: value})) for key in ("enlarged", "frames") for value in ("2", -1, 1.5, [], True)),
    *((".json", forged(**{key: None})) for key in ("shape", "enlarged", "frames", "skipped", "crc32", "stamp")),
    *((".json", forged(crc32=value)) for value in ("7", [], -1)),
    *((".json", forged(stamp=value, crc32=0)) for value in ("now", [1], [0, 0])),
    (".json", rewritten(fingerprint=["a list"])),
    (".json", rewritten(stamp="now", crc32="7")),
    (".json", lambda p: p.write_text("[" * 100_000)),
    (".json", lambda p: p.write_text('{"a":' * 100_000)),
    (".json", lambda p: p.write_text("null")),
    (".json", lambda p: p.write_text("1e999")),
    (".json", lambda p: p.write_text('"text"')),
    (".json", lambda p: p.write_text("9" * 5000)),
    (".json", lambda p: p.write_bytes(bytes(5000))),
    (".json", lambda p: p.write_text(p.read_text().replace("0", "1", 1))),
]
if sys.platform != "win32":
    CACHE_ODDITIES += [(suffix, replaced(os.mkfifo)) for suffix in (".npy", ".json")]


@pytest.fixture(scope="module")
def two_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    picture(folder, "a.png"), picture(folder, "b.png", colour=BLUE)
    return folder


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_cache_that_another_program_holds_for_a_moment_is_waited_for(two_pictures, tmp_path, monkeypatch, suffix):
    """A virus scanner, say, which looks at whatever is new."""
    held, move = [3], os.replace

    def held_for_a_moment(part, path):
        if str(path).endswith(suffix) and held[0]:
            held[0] -= 1
            raise PermissionError(13, "Permission denied")
        move(part, path)

    monkeypatch.setattr(checkpoints, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(os, "replace", held_for_a_moment)
    assert len(load_folder(two_pictures, size=8, cache=tmp_path)) == 2
    assert held == [0]


@pytest.mark.parametrize(("suffix", "spoil"), CACHE_ODDITIES, ids=range(len(CACHE_ODDITIES)))
def test_whatever_is_wrong_with_a_cache_it_is_made_again_and_said(two_pictures, tmp_path, suffix, spoil):
    load_folder(two_pictures, size=8, cache=tmp_path)
    spoil(next(tmp_path.rglob(f"*{suffix}")))
    data = load_folder(two_pictures, size=8, cache=tmp_path)
    np.testing.assert_array_equal(data.images[:, 0, 0], [RED, BLUE])
    assert "; made again, since the cache was not whole: " in data.description
    assert "made again" not in load_folder(two_pictures, size=8, cache=tmp_path).description


def test_a_large_array_is_read_through_only_when_its_file_has_changed(two_pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHECKED", 100)
    read, checksum = [], store._checksum
    monkeypatch.setattr(store, "_checksum", lambda file: read.append(file.name) or checksum(file))
    load_folder(two_pictures, size=8, cache=tmp_path)
    assert len(read) == 1  # of what was just written
    load_folder(two_pictures, size=8, cache=tmp_path)
    assert len(read) == 1
    array = next(tmp_path.rglob("*.npy"))
    os.utime(array, ns=(5, 5))  # copied to another disk, say
    assert "made again" not in load_folder(two_pictures, size=8, cache=tmp_path).description
    assert len(read) == 2
    flipped(-1)(array)
    assert "made again" in load_folder(two_pictures, size=8, cache=tmp_path).description


def test_a_folder_in_the_place_of_a_file_is_not_removed(two_pictures, tmp_path):
    load_folder(two_pictures, size=8, cache=tmp_path)
    array = next(tmp_path.rglob("*.npy"))
    array.unlink()
    (array / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot be written there \(.*npy is a folder\); name a folder"):
        load_folder(two_pictures, size=8, cache=tmp_path)
    assert (array / "mine").exists()


# ---------------------------------------------------------------- many at once


def at_once(n, work):
    """Do ``work`` in n threads that begin together; return what it returned or raised."""
    barrier, results = threading.Barrier(n), []

    def run():
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_threads_one_fills_the_cache(two_pictures, tmp_path, decoded):
    for _ in range(5):
        decoded.clear()
        results = at_once(6, lambda: load_folder(two_pictures, size=8, cache=tmp_path).images.sum())
        assert len({int(total) for total in results}) == 1
        assert len(decoded) == 2
        for file in tmp_path.rglob("*.*"):
            file.unlink()


def test_who_comes_second_waits_for_the_lock_and_finds_the_files(two_pictures, tmp_path, decoded):
    from filelock import FileLock

    load_folder(two_pictures, size=8, cache=tmp_path)
    array, lock = next(tmp_path.rglob("*.npy")), next(tmp_path.rglob("*-lock"))
    label = array.with_suffix(".json").read_bytes()
    second = threading.Thread(target=lambda: load_folder(two_pictures, size=8, cache=tmp_path), daemon=True)
    decoded.clear()
    with FileLock(lock):  # as another process would hold it
        array.with_suffix(".json").unlink()
        second.start()
        second.join(0.2)
        assert second.is_alive()
        array.with_suffix(".json").write_bytes(label)  # as if it were ready now
    second.join(5.0)
    assert not second.is_alive()
    assert not decoded


def test_where_files_cannot_be_locked_all_succeed(two_pictures, tmp_path, monkeypatch):
    import filelock

    def refused(*args, **kwargs):
        raise NotImplementedError("no locks on this disk")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    for _ in range(5):
        results = at_once(4, lambda: load_folder(two_pictures, size=8, cache=tmp_path).images.sum())
        assert len({int(total) for total in results}) == 1
        assert not list(tmp_path.rglob("*.part"))
        for file in tmp_path.rglob("*.*"):
            file.unlink()


def test_a_cache_that_is_there_needs_no_permission_to_write(two_pictures, tmp_path, monkeypatch):
    load_folder(two_pictures, size=8, cache=tmp_path)

    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store.Path, "mkdir", refused)
    monkeypatch.setattr(store.os, "replace", refused)
    assert len(load_folder(two_pictures, size=8, cache=tmp_path)) == 2
