"""Arrays that people saved with NumPy: the right ones come back as they were, no other one gets further."""

import io
import re
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

from tinygan.data import ImageData, load, read_arrays
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
    "too few labels": (
        "a.npz",
        saved(IMAGES, labels=np.zeros(4, int)),
        "a.npz: its array 'labels': expected one label",
    ),
    "a column of labels": ("a.npz", saved(IMAGES, labels=np.zeros((5, 1), int)), r"labels\[:, 0\] takes"),
    "labels as columns": ("a.npz", saved(IMAGES, labels=np.eye(5)), r"labels.argmax\(axis=1\) numbers"),
    "labels beyond int64": (
        "a.npz",
        saved(IMAGES, labels=np.full(5, 2**64 - 1, np.uint64)),
        "got 18446744073709551615",
    ),
    "float labels": ("a.npz", saved(IMAGES, labels=np.zeros(5)), "a.npz: its array 'labels': expected integer labels"),
    "an archive": ("a.zip", lambda p: p.write_bytes(b"PK\3\4" + bytes(99)), "this is an archive; unpack it"),
    "a packed archive": ("a.tar.gz", lambda p: p.write_bytes(b"\x1f\x8b" + bytes(99)), "this is an archive; unpack it"),
    "a packed array": ("a.npy.gz", lambda p: p.write_bytes(b"\x1f\x8b" + bytes(99)), "this is an archive; unpack it"),
    "a picture without a suffix": ("a", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "this is one picture"),
    "encrypted": ("a.npz", lambda p: p.write_bytes(b"PK\3\4" + bytes(99)), "not a whole"),
}


def spread(low, high, dtype=np.float64):
    """Images whose values go from ``low`` to ``high``."""
    return np.linspace(low, high, 600, dtype=np.float64).reshape(50, 4, 3, 1).astype(dtype)


TINY = np.finfo(np.float32).eps

#: (the smallest and the largest value, dtype, the range that is meant): rounding at the ends means nothing
RANGE_ODDITIES = [
    (-1e-9, 1.0, np.float64, 0.0),
    (0.0, 1.0 + 1e-6, np.float64, 0.0),
    (-1e-9, 1.0 + 1e-6, np.float32, 0.0),
    (-1e-300, 1.0, np.float64, 0.0),
    (-0.0, 1.0, np.float64, 0.0),
    (-1e-3, 1.0009765625, np.float16, 0.0),
    (-0.0019, 1.0019, np.float64, 0.0),
    (-TINY, 1.0 + TINY, np.float32, 0.0),
    (0.25, 0.5, np.float32, 0.0),
    (-1.0 - 1e-6, 1.0, np.float64, -1.0),
    (-1.0 - 1e-6, 1.0 + 1e-6, np.float32, -1.0),
    (-1.0009765625, 1.0009765625, np.float16, -1.0),
    (-1.0 - 1e-12, 0.5, np.float64, -1.0),
    (-1.0039, 1.0039, np.float64, -1.0),
    (-0.5, 0.5, np.float64, -1.0),
]


@pytest.mark.parametrize(("low", "high", "dtype", "black"), RANGE_ODDITIES)
def test_rounding_at_the_ends_of_a_range_is_none_of_its_values(tmp_path, low, high, dtype, black):
    images = spread(low, high, dtype)
    np.save(tmp_path / "a.npy", images)
    expected = np.rint(np.clip((images.astype(np.float64) - black) * 255 / (1 - black), 0, 255))
    np.testing.assert_array_equal(load(tmp_path / "a.npy").images, expected)
    floats = ImageData.from_floats(images, low=black, high=1.0)
    np.testing.assert_array_equal(floats.images, expected)


#: (values, words of the answer, words that would lead astray)
BEYOND_ODDITIES = [
    (spread(-0.05, 1.04), r"got \[-0.05, 1.04\]; .*clip\(images, 0, 1\)", "uint8"),
    (spread(-0.05, 1.0), r"got \[-0.05, 1\]; .*clip\(images, 0, 1\)", "uint8"),
    (spread(0.0, 1.002), r"got \[0, 1.002\]; .*clip\(images, 0, 1\)", "uint8"),
    (spread(-0.002, 1.0), r"got \[-0.002, 1\]; .*clip\(images, 0, 1\)", "uint8"),
    (spread(-1.004, 1.0), r"got \[-1.004, 1\]; scale them", "uint8"),
    (spread(-0.49, 1.0), r"got \[-0.49, 1\]; scale them .* \(images - black\) / \(white - black\)", "uint8|clip"),
    (spread(-0.49, 0.49), r"got \[-0.49, 0.49\]; scale them", "uint8|clip"),
    (spread(-0.09, 0.09), r"got \[-0.09, 0.09\]; scale them", "uint8|clip"),
    (spread(-0.09, 1.09), r"got \[-0.09, 1.09\]; .*clip\(images, 0, 1\)", "uint8|scale"),
    (spread(-0.25, 1.0), r"got \[-0.25, 1\]; scale them", "uint8|clip"),
    (spread(0.0, 1.4), r"got \[0, 1.4\]; scale them", "uint8|clip"),
    (spread(-0.002, 0.4), r"got \[-0.002, 0.4\]; .*clip\(images, 0, 1\)", "uint8|scale"),
    (spread(-1.0, 1.5), r"got \[-1, 1.5\]; scale them", "uint8"),
    (spread(0.0, 2.0), r"got \[0, 2\]; scale them", "uint8"),
    (spread(-2.1, 2.6), r"got \[-2.1, 2.6\]; scale them", "uint8|clip"),
    (spread(0.0, 255.0), r"got \[0, 255\]; images.astype\(numpy.uint8\)", "clip"),
    (spread(-1e-4, 255.0), r"got \[-0.0001, 255\]; images.astype", "clip"),
    (spread(0.0, 65535.0), r"got \[0, 65535\]; scale them", "uint8"),
    (spread(0, 1).round().astype(np.int64), r"from 0 to 1, so \(images \* 255\)", None),
    (spread(0, 1).round().astype(np.uint16), r"from 0 to 1, so \(images \* 255\)", None),
    (spread(0, 255).astype(np.uint32), "from 0 to 255, so images.astype", None),
    (spread(0, 1023).astype(np.uint16), r"from 0 to 1,023, so \(images >> 2\)", None),
    (spread(0, 4095).astype(np.uint16), r"from 0 to 4,095, so \(images >> 4\)", None),
    (spread(0, 16383).astype(np.int32), r"from 0 to 16,383, so \(images >> 6\)", None),
    (spread(0, 65535).astype(np.uint16), r"\(images // 257\).* go from 0 to 65,535\.", "so"),
    (spread(-1, 1).round().astype(np.int8), "from -1 to 1, so shift and scale", None),
    (spread(-1024, 3071).astype(np.int16), "from -1,024 to 3,071, so shift and scale", None),
]


@pytest.mark.parametrize(("images", "words", "astray"), BEYOND_ODDITIES, ids=range(len(BEYOND_ODDITIES)))
def test_no_advice_makes_images_black(tmp_path, images, words, astray):
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(DataError, match=words) as caught:
        load(tmp_path / "a.npy")
    assert not (astray and re.search(rf"; .*\b({astray})\b", str(caught.value)))


@pytest.mark.parametrize(("beyond", "clip"), [(0.01, True), (0.09, True), (0.2, False), (254.0, False)])
def test_from_floats_advises_to_clip_only_where_little_is_cut_off(beyond, clip):
    with pytest.raises(DataError, match="pass the low and high") as caught:
        ImageData.from_floats(spread(0.0, 1.0 + beyond))
    assert ("numpy.clip" in str(caught.value)) == clip


def test_digits_of_a_message_tell_what_is_wrong():
    with pytest.raises(DataError, match=r"in \[1000000.0, 1000001.0\], got \[1000000, 1000001.0625\]"):
        ImageData.from_floats(spread(1e6, 1e6 + 1.0625), low=1e6, high=1e6 + 1)


#: (values, what their brightest is): images that are nearly black though nobody meant them to be
DARK_ODDITIES = [
    (np.eye(8, dtype=np.uint8)[None, ..., None], "1 of 255"),
    ((IMAGES // 16), r"1[45] of 255 \(in 16 bits: (3,839|4,095) of 65,535\)"),
    (IMAGES.astype(np.float32) / 255 / 8, "3[12] of 255"),
]


@pytest.mark.parametrize(("images", "words"), DARK_ODDITIES, ids=range(len(DARK_ODDITIES)))
def test_nearly_black_images_are_told_of(tmp_path, images, words):
    np.save(tmp_path / "a.npy", images)
    assert re.search(f"nearly black, their brightest value is {words}", load(tmp_path / "a.npy").description)
    np.save(tmp_path / "b.npy", IMAGES)
    assert "black, their" not in load(tmp_path / "b.npy").description


@pytest.mark.parametrize(("low", "black"), [(0.0, "0"), (-1.0, "-1"), (-0.5, "-1")])
def test_a_description_says_what_floats_were_taken_for(tmp_path, low, black):
    np.save(tmp_path / "a.npy", spread(low, -low or 1.0))
    for data in (load(tmp_path / "a.npy"), load(spread(low, -low or 1.0))):
        assert f", of floats with black at {black} and white at 1" in data.description


def test_images_of_any_width_stay_as_they_are_unless_another_size_is_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 1, 10_000, 1), 99, np.uint8))
    assert load(tmp_path / "a.npy").image_shape == (1, 10_000, 1)
    assert load(tmp_path / "a.npy", size=(1, 20)).image_shape == (1, 20, 1)


def test_arrays_may_be_called_anything(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    for name in ("a.png", "a", "a.dat"):
        (tmp_path / name).write_bytes((tmp_path / "a.npy").read_bytes())
        assert (load(tmp_path / name).images == IMAGES).all()


def test_suffixes_may_be_in_capitals(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    assert (load(tmp_path / "a.NPZ").images == IMAGES).all()


def test_a_description_says_whether_there_are_labels(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    np.savez(tmp_path / "b.npz", images=IMAGES, y=np.arange(5))
    np.savez(tmp_path / "c.npz", images=IMAGES, labels=np.arange(5))
    assert load(tmp_path / "a.npy").description.endswith("no labels: a .npy file holds nothing but images")
    assert load(tmp_path / "b.npz").description.endswith("no labels: no array is called 'labels' but 'y'")
    assert load(tmp_path / "c.npz").description.endswith("labels: its array 'labels'")


def spoiled(method, at):
    """A .npz file packed with this method, with damage in the middle of its member."""

    def save(path):
        content = io.BytesIO()
        np.save(content, IMAGES)
        zipped(content.getvalue(), method)(path)
        packed = bytearray(path.read_bytes())
        for i in range(at, at + 20):
            packed[i] ^= 0x55
        path.write_bytes(packed)

    return save


#: (how the member is packed, where the damage begins)
PACKED_ODDITIES = [
    (method, at)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    for at in (42, 51, 90, 300)
]


@pytest.mark.parametrize(("method", "at"), PACKED_ODDITIES)
def test_damage_in_any_packing_is_one_error(tmp_path, method, at):
    spoiled(method, at)(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"not a whole .npy or .npz file|holds Python objects"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, case):
    name, make, message = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


@pytest.mark.parametrize("first", [0, 1, 255, 256, 299])
def test_what_is_not_finite_is_counted_over_all_images(tmp_path, first):
    images = np.zeros((300, 2, 3, 1), np.float32)
    images[first, 1, 2], images[299, 0, 1] = np.nan, np.inf
    np.save(tmp_path / "a.npy", images)
    words = rf"a.npy: image {first} holds nan at pixel \(1, 2, 0\), and {1 + (first < 299)} images in all"
    with pytest.raises(
        DataError, match=words if first < 299 else "image 299 holds inf at pixel .0, 1, 0., and 1 images"
    ):
        load(tmp_path / "a.npy")


def test_a_second_array_in_a_file_is_not_passed_over(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, IMAGES), np.save(file, IMAGES)
    with pytest.raises(DataError, match=r"a.npy: 758 bytes follow its array of shape \(5, 6, 7, 3\).*concatenate"):
        load(tmp_path / "a.npy")


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
