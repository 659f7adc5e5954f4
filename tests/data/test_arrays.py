"""Arrays that people saved with NumPy: the right ones come back as they were, no other one gets further."""

import io
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.pictures import noise

from tinygan.data import load, read_arrays
from tinygan.errors import DataError

IMAGES = noise(0, 5, 6, 7, 3)


@settings(max_examples=30)
@given(
    images=hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3, st.sampled_from([1, 3]))),
    kind=st.sampled_from(["npy", "npz", "packed"]),
)
def test_what_was_saved_is_read(tmp_path_factory, images, kind):
    path = tmp_path_factory.mktemp("arrays") / ("a.npy" if kind == "npy" else "a.npz")
    labels = np.arange(len(images))
    {
        "npy": lambda: np.save(path, images),
        "npz": lambda: np.savez(path, images=images, labels=labels, more=np.zeros(3)),
        "packed": lambda: np.savez_compressed(path, images=images, labels=labels),
    }[kind]()
    data = read_arrays(path)
    np.testing.assert_array_equal(data.images, images)
    assert (data.labels is None) if kind == "npy" else (data.labels == labels).all()
    assert str(path) in data.description


def test_bytes_in_a_npy_file_are_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "a.npy", noise(1, 200, 100, 100, 1))
    tracemalloc.start()
    try:
        data = load(tmp_path / "a.npy")
        data.batch(np.arange(4))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # of two million bytes
    finally:
        tracemalloc.stop()
    assert isinstance(data.images, np.memmap)


def test_the_only_array_of_a_npz_file_needs_no_name(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES)
    np.savez(tmp_path / "b.npz", faces=IMAGES, labels=np.arange(5))
    assert (load(tmp_path / "a.npz").images == IMAGES).all()
    assert list(load(tmp_path / "b.npz").labels) == [0, 1, 2, 3, 4]


def test_grey_images_may_lack_their_channel(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[..., 0])
    assert (load(tmp_path / "a.npy").images == IMAGES[..., :1]).all()
    assert load(tmp_path / "a.npy", size=4, channels=3).image_shape == (4, 4, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_say_by_their_sign_which_range_they_are_in(tmp_path, dtype):
    ramp = np.linspace(0, 1, 600).reshape(300, 2, 1, 1)
    np.save(tmp_path / "a.npy", ramp.astype(dtype))
    np.save(tmp_path / "b.npy", (2 * ramp - 1).astype(dtype))
    expected = np.rint(255 * ramp)
    for name in "ab":
        images = load(tmp_path / f"{name}.npy").images
        assert images.dtype == np.uint8
        np.testing.assert_allclose(images, expected, atol=1)
        assert (images.min(), images.max()) == (0, 255)


def saved(array, **more):
    def save(path):
        if more or path.suffix == ".npz":
            np.savez(path, **({} if array is None else {"images": array}), **more)
        else:
            np.save(path, array)

    return save


def text(content):
    return lambda path: path.write_text(content)


def header_claims(shape, *, behind=b"", dtype="|u1"):
    """A .npy file that promises an array of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue() + behind


def zipped(content, method=zipfile.ZIP_DEFLATED):
    def save(path):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("images.npy", content)

    return save


def cut(save):
    def spoil(path):
        save(path)
        path.write_bytes(path.read_bytes()[:-40])

    return spoil


def floats(value):
    array = np.zeros((2, 3, 3, 1))
    array[1, 2, 0, 0] = value
    return array


OBJECTS = np.array([{"a": 1}], dtype=object)

BAD_FILES = {
    "text": ("a.npy", text("hello"), "expected what numpy.save or numpy.savez writes"),
    "empty": ("a.npy", text(""), "expected what numpy.save"),
    "text as npz": ("a.npz", text("hello"), "expected what numpy.save"),
    "cut": ("a.npy", cut(saved(IMAGES)), "not a whole .npy or .npz file"),
    "cut npz": ("a.npz", cut(saved(IMAGES)), "not a whole .npy or .npz file"),
    "no header": ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY"), "not a whole"),
    "unknown version": ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY\x09\0" + bytes(99)), "not a whole"),
    "header is code": ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY\1\0\x06\0exit()"), "not a whole"),
    "claims too much": ("a.npy", lambda p: p.write_bytes(header_claims((10**6, 10**6, 10**3, 3))), "not a whole"),
    "claims too much in npz": ("a.npz", zipped(header_claims((10**6, 999, 999, 3), behind=b"?")), "claims to have"),
    "negative size": ("a.npz", zipped(header_claims((-1, 2, 2, 3))), "not a whole|expected images"),
    "objects": ("a.npy", saved(OBJECTS), "Python objects, which are not loaded"),
    "objects in npz": ("a.npz", saved(OBJECTS), "Python objects, which are not loaded"),
    "object labels": ("a.npz", saved(IMAGES, labels=OBJECTS), "Python objects"),
    "no image array": (
        "a.npz",
        saved(None, x=IMAGES, y=IMAGES),
        "called 'images', found 'x', 'y'; numpy.savez",
    ),
    "nothing": ("a.npz", lambda p: p.write_bytes(b"PK\5\6" + bytes(18)), "expected what numpy.save"),
    "one image": ("a.npy", saved(IMAGES[0]), r"got \(6, 7, 3\); a single colour image is images\[None\]"),
    "one grey image": ("a.npy", saved(IMAGES[0, ..., 0]), r"got \(6, 7\); rows of pixels need"),
    "rows": ("a.npy", saved(IMAGES.reshape(5, -1)), r"reshape\(-1, height, width, channels\)"),
    "channels first": ("a.npy", saved(IMAGES.transpose(0, 3, 1, 2)), r"images.transpose\(0, 2, 3, 1\)"),
    "alpha": ("a.npy", saved(np.zeros((2, 5, 5, 4), np.uint8)), r"images\[..., :3\] leaves"),
    "two channels": ("a.npy", saved(np.zeros((2, 5, 5, 2), np.uint8)), "with C = 1 or 3, got"),
    "five axes": ("a.npy", saved(IMAGES[None]), "got .*; reshape them"),
    "one number": ("a.npy", saved(np.uint8(3)), "not a whole|got"),
    "no images": ("a.npz", saved(IMAGES[:0]), "the array is empty"),
    "16 bits": ("a.npy", saved(IMAGES.astype(np.uint16)), r"got uint16; \(images // 257\)"),
    "integers": ("a.npy", saved(IMAGES.astype(int)), r"got int64; images.astype\(numpy.uint8\) if"),
    "booleans": ("a.npy", saved(IMAGES > 9), r"got bool; images.astype\(numpy.uint8\) \* 255"),
    "complex": ("a.npy", saved(IMAGES * 1j), "got complex128"),
    "texts": ("a.npy", saved(np.full((1, 2, 2, 1), "x")), "got <U1"),
    "0 to 255 as floats": ("a.npy", saved(IMAGES.astype(float)), r"got \[0, 25\d\]; images.astype\(numpy.uint8\)"),
    "beyond both": ("a.npy", saved(floats(-3.0)), r"or \[-1, 1\], got \[-3, 0\]; scale them"),
    "NaN": ("a.npy", saved(floats(np.nan)), r"image 1 holds nan at pixel \(2, 0, 0\)"),
    "infinity": ("a.npy", saved(floats(np.inf)), r"got \[0, inf\]"),
    "too few labels": ("a.npz", saved(IMAGES, labels=np.zeros(4, int)), "expected one label per image"),
    "float labels": ("a.npz", saved(IMAGES, labels=np.zeros(5)), "expected integer labels"),
    "encrypted": ("a.npz", lambda p: p.write_bytes(b"PK\3\4" + bytes(99)), "not a whole"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, case):
    name, make, message = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match=r"a.npy: there is no such file"):
        read_arrays(tmp_path / "a.npy")
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(tmp_path)


def test_memory_is_bounded_whatever_a_file_says(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((30, 1000, 1000), np.uint8))  # 30 kB in the file
    np.save(tmp_path / "b.npy", np.zeros((3, 100, 100, 1)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="'images' has 30,000,128 bytes, more than the 20,000 that"):
            read_arrays(tmp_path / "a.npz", max_bytes=20_000)
        with pytest.raises(DataError, match="30,000 pixel values are more than the 20,000"):
            read_arrays(tmp_path / "b.npy", max_bytes=20_000)
        zipped(header_claims((10**6, 999, 999, 3), behind=b"?"))(tmp_path / "c.npz")
        with pytest.raises(DataError, match="claims to have"):
            read_arrays(tmp_path / "c.npz")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_exactly_the_largest_size_is_read(tmp_path):
    images = np.zeros((2, 3, 5, 1))
    np.save(tmp_path / "a.npy", images)
    assert read_arrays(tmp_path / "a.npy", max_bytes=30).images.shape == images.shape
    with pytest.raises(DataError, match="30 pixel values are more than the 29"):
        read_arrays(tmp_path / "a.npy", max_bytes=29)
    np.savez(tmp_path / "b.npz", images=images)
    size = 128 + 30 * 8  # NumPy's header, and the numbers
    assert read_arrays(tmp_path / "b.npz", max_bytes=size).images.shape == images.shape
    with pytest.raises(DataError, match=f"'images' has {size} bytes, more than the {size - 1}"):
        read_arrays(tmp_path / "b.npz", max_bytes=size - 1)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), suffix=st.sampled_from(["npy", "npz"]), hits=st.integers(1, 6))
def test_no_damage_causes_another_error(tmp_path_factory, seed, suffix, hits):
    path = tmp_path_factory.mktemp("arrays") / f"a.{suffix}"
    saved(IMAGES)(path)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    where = rng.integers(min(len(content), 300), size=hits) if seed % 2 else rng.integers(len(content), size=hits)
    content[where] = rng.integers(256, size=hits)
    path.write_bytes(content.tobytes())
    try:
        assert load(path).images.dtype == np.uint8
    except DataError as error:
        if str(path) not in str(error):
            raise


def test_reading_runs_no_code(tmp_path):
    """A pickle that would print, in place of an array, in both kinds of files."""
    code = b"cbuiltins\nprint\n(S'pwned'\ntR."
    (tmp_path / "a.npy").write_bytes(header_claims((1,), behind=code, dtype="|O"))
    zipped(header_claims((1,), behind=code, dtype="|O"))(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(code)
    program = (
        "import sys\nfrom tinygan.data import load\nfor p in sys.argv[1:]:\n try: load(p)\n except ValueError: pass"
    )
    files = [str(tmp_path / name) for name in ("a.npy", "b.npz", "c.npy")]
    assert subprocess.check_output([sys.executable, "-c", program, *files]) == b""
