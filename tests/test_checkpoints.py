"""Checkpoint files: what goes in comes out, whatever is broken is named, and an old file survives a failed write."""

import errno
import json
import os
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_safetensors

from tinygan import checkpoints
from tinygan.errors import ArgumentError, CheckpointError
from tinygan.runs import read_checkpoint

ARRAYS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "transposed": np.arange(12, dtype=np.float64).reshape(3, 4).T,
    "every second": np.arange(10, dtype=np.int64)[::2],
    "backwards": np.arange(5, dtype=np.float32)[::-1],
    "number": np.array(7),
    "empty": np.zeros((0, 2), dtype=np.float32),
    "half": np.arange(3, dtype=np.float16),
    "bytes": np.arange(3, dtype=np.uint8),
    "flags": np.array([True, False]),
}
METADATA = {"step": 3, "name": "Πρώτο", "nested": {"list": [1, 2.5, None, "x"]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoints.write(path, ARRAYS, METADATA)
    return path


def test_everything_comes_back_as_it_was(path):
    arrays, metadata = checkpoints.read(path)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert arrays[key].dtype == array.dtype, key
        assert arrays[key].shape == array.shape, key
        np.testing.assert_array_equal(arrays[key], array, err_msg=key)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8", ">u2"])
def test_numbers_of_the_other_byte_order_come_back_in_ours(tmp_path, dtype):
    array = np.arange(1, 7).reshape(2, 3).astype(dtype)
    checkpoints.write(tmp_path / "big", {"x": array}, {})
    checkpoints.write(tmp_path / "little", {"x": array.astype(array.dtype.newbyteorder("<"))}, {})
    x = checkpoints.read(tmp_path / "big")[0]["x"]
    np.testing.assert_array_equal(x, array)
    assert x.dtype.isnative
    assert (tmp_path / "big").read_bytes() == (tmp_path / "little").read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        *([np.zeros(2, np.longdouble)] if np.dtype(np.longdouble).itemsize > 8 else []),  # else it is float64
        np.zeros(2, np.complex64),
        np.zeros(2, object),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(path, array):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"run\.safetensors: weird is of dtype .*; booleans, integers"):
        checkpoints.write(path, {"fine": np.zeros(2), "weird": array}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


CIRCLE = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize("value", [os, np.float32(1), np.zeros(2), {1, 2}, b"x", CIRCLE])
def test_metadata_that_is_no_json(path, value):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"run\.safetensors: the metadata cannot be written as JSON \("):
        checkpoints.write(path, ARRAYS, {"x": value})
    assert path.read_bytes() == before


def test_metadata_comes_back_as_json_knows_it(tmp_path):
    checkpoints.write(tmp_path / "x", {}, {"pair": (1, 2), 10: "ten", 9: "nine", "far": [1e300, float("inf")]})
    assert checkpoints.read(tmp_path / "x")[1] == {
        "pair": [1, 2],
        "10": "ten",
        "9": "nine",
        "far": [1e300, float("inf")],
    }


def test_equal_contents_give_equal_bytes(path, tmp_path):
    shuffled = dict(sorted(ARRAYS.items(), reverse=True))
    checkpoints.write(tmp_path / "again", shuffled, dict(reversed(METADATA.items())))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


#: what the system says of a file that it cannot put in place, and what then helps
WRITING_ODDITIES = [
    (errno.ENOSPC, r"It needs \d+ bytes there\. Make room for it"),
    (errno.EDQUOT, r"It needs \d+ bytes there\. Make room for it"),
    (errno.EFBIG, r"It needs \d+ bytes there\. Make room for it"),
    (errno.EISDIR, "Move away what is in its place"),
    (errno.ENOTEMPTY, "Move away what is in its place"),
    (errno.EACCES, "Close what holds it"),
    (errno.EPERM, "Close what holds it"),
    (errno.EBUSY, "Close what holds it"),
    (errno.EROFS, "make its folder writable"),
    (errno.EIO, "name another place"),
    (errno.ENAMETOOLONG, "name another place"),
]


@pytest.mark.parametrize(("number", "mend"), WRITING_ODDITIES)
def test_a_file_that_cannot_be_written_is_named_and_so_is_what_helps(path, monkeypatch, number, mend):
    def refuse(part, place):
        raise OSError(number, os.strerror(number), str(part), None, str(place))

    before = path.read_bytes()
    monkeypatch.setattr(checkpoints, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CheckpointError, match=rf"run\.safetensors: cannot be written \(.*\)\. .*{mend}"):
        checkpoints.write(path, {"x": np.zeros(1)}, {})
    with pytest.raises(OSError, match=r"run\.safetensors") as caught:
        checkpoints.replace_file(path, b"12345")
    assert ("5 bytes are needed there" in str(caught.value)) == (number in checkpoints.FULL)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("number", sorted(checkpoints.HELD))
@pytest.mark.parametrize("culprit", ["replace", "fsync"])
def test_a_file_that_is_held_for_a_moment_is_waited_for(path, monkeypatch, number, culprit):
    original, tries, waited = getattr(os, culprit), [], []

    def held(*args):
        tries.append(args)
        if len(tries) <= len(checkpoints.PAUSES):
            raise OSError(number, os.strerror(number))
        return original(*args)

    monkeypatch.setattr(os, culprit, held)
    monkeypatch.setattr(time, "sleep", waited.append)
    checkpoints.write(path, {"x": np.ones(1)}, {})
    assert checkpoints.read(path)[0]["x"] == 1
    assert tuple(waited) == checkpoints.PAUSES
    assert sum(waited) < 1.0


def test_what_lies_in_place_of_the_unfinished_file_is_named(path):
    part = path.with_name(path.name + ".part")
    part.mkdir()
    with pytest.raises(OSError, match=r"run\.safetensors\.part"):
        checkpoints.replace_file(path, b"12345")
    assert part.is_dir()


@pytest.mark.parametrize("culprit", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_litter(path, monkeypatch, culprit):
    def disk_full(*args):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(os, culprit, disk_full)
    with pytest.raises(CheckpointError, match=r"run\.safetensors: cannot be written \(No space left on device\)"):
        checkpoints.write(path, {"other": np.zeros(3)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@given(st.data())
@settings(max_examples=60)
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "run.safetensors"
    checkpoints.write(path, ARRAYS, METADATA)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(CheckpointError, match=r"run\.safetensors: "):
        checkpoints.read(path)


@given(st.data())
@settings(max_examples=200)
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "run.safetensors"
    checkpoints.write(path, ARRAYS, METADATA)
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    try:
        arrays, metadata = checkpoints.read(path)
    except CheckpointError:
        return
    # What is left are blanks and letters of the header that mean the same, such as e and E in a number
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert (arrays[key].shape, arrays[key].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(arrays[key], array)


def test_a_flipped_bit_in_the_state_of_a_generator(tmp_path):
    state = np.random.default_rng(0).bit_generator.state
    checkpoints.write(tmp_path / "run", {"x": np.zeros(2)}, {"rngs": {"training": state}})
    whole, digits = (tmp_path / "run").read_bytes(), str(state["state"]["state"]).encode()
    place = whole.index(digits) + len(digits) // 2
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]  # one digit for another
    (tmp_path / "run").write_bytes(flipped)
    with pytest.raises(CheckpointError, match="its contents do not match their checksum"):
        checkpoints.read(tmp_path / "run")


class Trap:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self):
        return os._exit, (13,)


def _labelled(label):
    return save_safetensors({"x": np.zeros(2)}, metadata={"tinygan": label})


FOREIGN = {
    "empty": (b"", "no checkpoint, or a damaged one"),
    "garbage": (bytes(range(256)) * 8, "no checkpoint, or a damaged one"),
    "text": (b"hello, I am a text file\n" * 9, "no checkpoint, or a damaged one"),
    "pickle": (pickle.dumps(Trap()), "no checkpoint, or a damaged one"),
    "enormous header": ((1 << 62).to_bytes(8, "little") + b"{}", "no checkpoint, or a damaged one"),
    "another program's": (
        save_safetensors({"x": np.zeros(2)}),
        "expected a tinygan checkpoint .* found no tinygan label",
    ),
    "the future's": (_labelled(json.dumps({"format": "9"})), f"format '{checkpoints.FORMAT}', found format '9'"),
    "a label that is no JSON": (_labelled("{"), "no checkpoint, or a damaged one"),
    "a label that is a list": (_labelled("[1]"), "no checkpoint, or a damaged one"),
    "a label without the rest": (
        _labelled(json.dumps({"format": checkpoints.FORMAT})),
        "no checkpoint, or a damaged one",
    ),
    "a wrong checksum": (
        _labelled(json.dumps({"format": checkpoints.FORMAT, "about": {}, "crc32": 1})),
        "do not match their checksum",
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_files_are_refused_by_name(tmp_path, what):
    content, message = FOREIGN[what]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"file: .*{message}"):
        checkpoints.read(tmp_path / "file")


def test_missing_files_folders_and_too_large_files(path):
    with pytest.raises(CheckpointError, match="nowhere: there is no such checkpoint"):
        checkpoints.read(path.with_name("nowhere"))
    with pytest.raises(CheckpointError, match=f"{path.parent.name}: (cannot be read|is no checkpoint)"):
        checkpoints.read(path.parent)
    with pytest.raises(CheckpointError, match="more than the 100 that are read at most"):
        checkpoints.read(path, max_bytes=100)
    with pytest.raises(CheckpointError, match=r"x: cannot be written \(No such file or directory\)"):
        checkpoints.write(path.parent / "nowhere" / "x", ARRAYS, {})


def test_a_file_of_exactly_the_largest_size_is_read(path):
    size = path.stat().st_size
    assert checkpoints.read(path, max_bytes=size)[1] == METADATA
    with pytest.raises(CheckpointError, match=f"{size:,} bytes is more than the {size - 1:,} that are read at most"):
        checkpoints.read(path, max_bytes=size - 1)


# ---- files of the kind that nobody means to make ---------------------------------------------------------------------


def _raw(path, header, rest=b""):
    path.write_bytes(len(header).to_bytes(8, "little") + header + rest)


def _record(about, **label):
    """A file whose label holds this text as its record."""

    def make(path):
        text = f'{{"format": "2", "crc32": {label.get("crc32", 0)}, "about": {about}}}'
        path.write_bytes(_labelled(text))

    return make


def _deep(n):
    return '{"x": ' + "[" * n + "]" * n + "}"


def _too_long(path):
    return path.with_name("n" * 300)


# What lies where a checkpoint is looked for, how it is made (a function that may return another path), what is said
FILE_ODDITIES = [
    ("a folder", lambda path: path.mkdir(), r"cannot be read \(it is a folder, not a file\)"),
    ("a pipe", lambda path: os.mkfifo(path), "cannot be read .*a pipe, a socket or a device"),
    ("a device", lambda path: path.symlink_to("/dev/zero"), "cannot be read .*a pipe, a socket or a device"),
    ("a terminal's end", lambda path: path.symlink_to("/dev/null"), "cannot be read .*a pipe, a socket or a device"),
    ("a link to itself", lambda path: path.symlink_to(path.name), "cannot be read .*symbolic links"),
    ("a link to nowhere", lambda path: path.symlink_to("nowhere"), "there is no such checkpoint"),
    ("a name too long", _too_long, "cannot be read .*[Nn]ame too long"),
    ("a file in the way", lambda path: path.write_bytes(b"x") and path / "x", "cannot be read .*Not a directory"),
    ("seven bytes", lambda path: path.write_bytes(b"\1" * 7) and None, "is no checkpoint, or a damaged one"),
    ("a header of brackets", lambda path: _raw(path, b"[" * (5 << 20)), "its header of 5,242,880 bytes is more than"),
    ("a large header", lambda path: _raw(path, b" " * (checkpoints.MAX_HEADER + 1)), "its header of 4,194,305 bytes"),
    ("a header just small enough", lambda path: _raw(path, b"[" * checkpoints.MAX_HEADER), "is no checkpoint"),
    ("a header without end", lambda path: _raw(path, b"{" + b'"a":{' * 500), "is no checkpoint, or a damaged one"),
    ("a record 33 levels deep", _record(_deep(32)), "no dictionary of at most 32 levels"),
    ("a record 5,000 levels deep", _record(_deep(5_000)), "is no checkpoint|at most 32 levels"),
    ("brackets without end", _record("[" * 50_000), "is no checkpoint, or a damaged one"),
    ("a record that is a list", _record("[]"), "no dictionary"),
    ("a record that is null", _record("null"), "no dictionary"),
    ("a record that is a number", _record("1e999"), "no dictionary"),
    ("a number of 5,000 digits", _record('{"step": ' + "9" * 5_000 + "}"), "is no checkpoint, or a damaged one"),
    ("a checksum of 5,000 digits", _record("{}", crc32="9" * 5_000), "is no checkpoint, or a damaged one"),
    ("a checksum in words", _record("{}", crc32='"x"'), "do not match their checksum"),
    ("a checksum that is null", _record("{}", crc32="null"), "do not match their checksum"),
    ("a record of a lone surrogate", _record('{"\\ud800": "\\udfff"}'), "do not match their checksum"),
    ("a label that is a number", lambda path: path.write_bytes(_labelled("7")) and None, "is no checkpoint"),
    ("a label that is null", lambda path: path.write_bytes(_labelled("null")) and None, "is no checkpoint"),
    ("a label that is text", lambda path: path.write_bytes(_labelled('"x"')) and None, "is no checkpoint"),
    (
        "a format that is a list",
        lambda path: path.write_bytes(_labelled('{"format": ["2"]}')) and None,
        r"found format \['2'\]",
    ),
    (
        "an unknown kind of number",
        lambda path: _raw(path, b'{"x":{"dtype":"Q9","shape":[1],"data_offsets":[0,1]}}', b"\0"),
        "is no checkpoint, or a damaged one",
    ),
    (
        "more numbers than bytes",
        lambda path: _raw(path, b'{"x":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}', b"\0" * 4),
        "is no checkpoint, or a damaged one",
    ),
    (
        "a product of sizes that overflows",
        lambda path: _raw(
            path, b'{"x":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}', b"\0" * 4
        ),
        "is no checkpoint, or a damaged one",
    ),
    (
        "arrays that overlap",
        lambda path: _raw(
            path,
            b'{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
            b"\0" * 3,
        ),
        "is no checkpoint, or a damaged one",
    ),
]


@pytest.mark.parametrize(("what", "make", "words"), FILE_ODDITIES, ids=[case[0] for case in FILE_ODDITIES])
def test_odd_files_are_refused_by_name(tmp_path, what, make, words):
    path = tmp_path / "odd"
    try:
        path = make(path) or path
    except (AttributeError, OSError, NotImplementedError) as error:
        pytest.skip(f"there is no such thing on this system: {error}")
    for look in (checkpoints.read, read_checkpoint):
        with pytest.raises(CheckpointError) as refused:
            look(path)
        assert str(path) in str(refused.value)
        assert str(refused.value).endswith(".")
    with pytest.raises(CheckpointError, match=words):
        checkpoints.read(path)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_may_not_be_looked_at_is_not_absent(path, monkeypatch, error):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(CheckpointError, match=rf"run\.safetensors: cannot be read \({error.strerror}\)"):
        checkpoints.exists(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)
    monkeypatch.undo()
    assert checkpoints.exists(path)
    assert not checkpoints.exists(path.with_name("nowhere"))
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(CheckpointError, match=rf"run\.safetensors: cannot be read \({error.strerror}\)"):
        checkpoints.read(path)


def test_what_could_not_be_read_again_is_not_written(path, monkeypatch):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"cannot be written as JSON .*more than 32 levels deep"):
        checkpoints.write(path, {}, json.loads(_deep(32)))
    checkpoints.write(path.with_name("deep"), {}, json.loads(_deep(31)))
    assert checkpoints.read(path.with_name("deep"))[1] == json.loads(_deep(31))
    with pytest.raises(CheckpointError, match=r"cannot be written as JSON"):
        checkpoints.write(path, {}, {"x": 10**5000})
    monkeypatch.setattr(checkpoints, "MAX_HEADER", 300)
    with pytest.raises(CheckpointError, match=r"its header of .* is more than the 300 that are read at most; .* fewer"):
        checkpoints.write(path, ARRAYS, METADATA)
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 300)
    with pytest.raises(CheckpointError, match="bytes is more than the 300 that are read at most"):
        checkpoints.write(path, {"x": np.zeros(400, np.uint8)}, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("look", [checkpoints.read, read_checkpoint])
def test_a_name_with_a_nul_is_no_path(tmp_path, look):
    with pytest.raises(ArgumentError, match="expected a path"):
        look(tmp_path / "a\0b")
