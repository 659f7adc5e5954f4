"""The IDX reader: round trips, and files that lie."""

import contextlib
import gzip
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygan.data import read_idx
from tinygan.errors import DataError


def idx(array, *, kind=8):
    """The bytes of an IDX file that holds ``array``."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
LABELS = idx(np.arange(5, dtype=np.uint8))


@given(array=npst.arrays(np.uint8, npst.array_shapes(max_dims=4, max_side=6)), packed=st.booleans())
def test_what_was_written_is_read(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"  # no .gz: the content tells
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    actual = read_idx(path, ndim=array.ndim)
    assert actual.dtype == np.uint8
    assert actual.shape == array.shape
    assert (actual == array).all()


def test_a_plain_file_may_be_called_gz(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(IMAGES)
    assert read_idx(path).shape == (2, 3, 4)


def damaged(data, at):
    """``data`` with one byte changed."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


PACKED = gzip.compress(IMAGES, mtime=0)
BAD_FILES = {
    "empty": (b"", "expected an IDX file, got 0 bytes in all"),
    "three bytes": (b"\0\0\x08", "got 3 bytes in all"),
    "web page": (b"<!DOCTYPE html><html>", "got 3c 21 44 4f; it looks like a web page"),
    "picture": (b"\x89PNG\r\n\x1a\n" * 9, "got 89 50 4e 47; this is another format"),
    "pickle": (b"\x80\x04\x95" * 9, "this is another format"),
    "wrong start": (damaged(IMAGES, 0), "starts with 00 00 08, got ff 00 08 03"),
    "unknown type": (b"\0\0\x0a" + IMAGES[3:], "got 00 00 0a 03"),
    "no dimension": (b"\0\0\x08\0" + IMAGES[4:], "got 00 00 08 00"),
    "int8": (idx(np.zeros((2, 2, 2), np.int8), kind=0x09), "expected unsigned bytes .*got int8"),
    "int16": (idx(np.zeros((2, 2, 2), np.int16), kind=0x0B), "got int16"),
    "int32": (idx(np.zeros((2, 2, 2), np.int32), kind=0x0C), "got int32"),
    "float32": (idx(np.zeros((2, 2, 2), np.float32), kind=0x0D), "got float32 .type 0d"),
    "float64": (idx(np.zeros((2, 2, 2)), kind=0x0E), "got float64"),
    "labels": (LABELS, r"expected grey images \(3 dimensions\), got labels .*swapped or misnamed"),
    "colour": (idx(np.zeros((2, 2, 2, 3), np.uint8)), r"\(3 dimensions\), got 4 dimensions"),
    "cut in header": (IMAGES[:10], "ends inside its header"),
    "cut in data": (IMAGES[:-1], r"cut short: the header says shape \(2, 3, 4\), 40 bytes, but the file of 39 bytes"),
    "no data": (IMAGES[:16], "cut short"),
    "trailing": (IMAGES + b"\0", r"longer than its header says: bytes follow the 24 of shape \(2, 3, 4\)"),
    "no image": (idx(np.zeros((0, 28, 28), np.uint8)), r"shape \(0, 28, 28\), which holds nothing"),
    "no pixel": (idx(np.zeros((9, 0, 28), np.uint8)), "which holds nothing"),
    "huge": (IMAGES[:4] + b"\xff" * 12, "79,228,162,458,924,105,385,300,197,375 bytes, more than the limit"),
    "over the limit": (idx(np.zeros((101, 10, 10), np.uint8)), "10,100 bytes, more than the limit of 10,000"),
    "packed, cut": (PACKED[:-10], "damaged or cut short"),
    "packed, cut before checksum": (PACKED[:-8], "damaged or cut short"),
    "packed, header only": (PACKED[:5], "damaged or cut short"),
    "packed, damaged": (damaged(PACKED, len(PACKED) - 14), "damaged or cut short|cut short|longer"),
    "packed, wrong checksum": (damaged(PACKED, len(PACKED) - 6), "damaged or cut short"),
    "packed, garbage after": (PACKED + b"garbage", "damaged or cut short"),
    "packed, more data": (gzip.compress(IMAGES + b"\0"), "longer than its header says"),
    "packed, less data": (gzip.compress(IMAGES[:-1]), "24 bytes, got 23"),
    "packed text": (gzip.compress(b"not an array"), "got 6e 6f 74 20; this is another format"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, case):
    content, message = BAD_FILES[case]
    path = tmp_path / "some-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, ndim=3, max_bytes=10_000)
    assert str(path) in str(caught.value)


def test_an_array_of_exactly_the_largest_size_is_read(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(IMAGES)
    assert read_idx(path, max_bytes=24).shape == (2, 3, 4)
    with pytest.raises(DataError, match="24 bytes, more than the limit of 23"):
        read_idx(path, max_bytes=23)


def test_images_where_labels_are_expected(tmp_path):
    (tmp_path / "labels").write_bytes(IMAGES)
    with pytest.raises(DataError, match=r"expected labels \(1 dimension\), got grey images"):
        read_idx(tmp_path / "labels", ndim=1)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="this is a folder"):
        read_idx(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "file" / "below")


@given(content=st.binary(max_size=200), packed=st.booleans(), start=st.sampled_from([b"", b"\0\0\x08\x01\0\0"]))
def test_no_content_causes_another_error(tmp_path_factory, content, packed, start):
    path = tmp_path_factory.getbasetemp() / "anything"
    path.write_bytes(gzip.compress(start + content) if packed else start + content)
    with contextlib.suppress(DataError):
        assert read_idx(path).size > 0


def bomb(header, megabytes):
    """A small gzip file that unpacks to ``header`` and then that many megabytes of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(header), *(packer.compress(bytes(2**20)) for _ in range(megabytes)), packer.flush()]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bomb(IMAGES, 64), "longer than its header says"),  # more than it claims
        (bomb(b"\0\0\x08\x03" + struct.pack(">3I", 64, 1024, 1024), 64), "more than the limit"),  # what it claims
        (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1, 800, 1000)), "cannot hold"),  # a claim and no more
        (b"\0\0\x08\x03" + struct.pack(">3I", 1, 800, 1000), "cannot hold"),
    ],
    ids=["hidden", "admitted", "boast", "plain boast"],
)
def test_memory_stays_bounded_whatever_a_file_says(tmp_path, content, message):
    path = tmp_path / "bomb"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            read_idx(path, ndim=3, max_bytes=2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**19


def test_unpacking_takes_the_memory_of_the_array_and_little_more(tmp_path):
    """Zeros, which gzip packs a thousandfold."""
    path = tmp_path / "zeros"
    path.write_bytes(bomb(b"\0\0\x08\x03" + struct.pack(">3I", 16, 1024, 1024), 16))
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    try:
        assert read_idx(path, ndim=3).nbytes == 16 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
