"""Folders of pictures: every kind of them comes out right, and whatever is wrong is said and survived."""

import importlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import BLUE, RED, bomb, cut, noise, picture

from tinygan.data import ImageData, load, load_folder
from tinygan.errors import ArgumentError, DataError


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """A cache of one's own, whatever the machine's is."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path_factory.mktemp("cache") / name)


# ---------------------------------------------------------------- folders


def test_pictures_come_in_the_order_of_their_names_whatever_the_disk_says(tmp_path):
    for value, name in enumerate(["b/2.png", "z.png", "b.png", "b/10.png", "a/deep/er/x.png"]):
        picture(tmp_path, name, mode="L", colour=value)
    assert list(load_folder(tmp_path, size=2).images[:, 0, 0, 0]) == [4, 3, 0, 2, 1]


def test_folders_are_classes_where_they_tell_something(tmp_path):
    for name in ("dogs/1.png", "cats/1.png", "cats/old/2.png"):
        picture(tmp_path, name)
    data = load_folder(tmp_path)
    assert (data.classes, list(data.labels)) == (("cats", "dogs"), [0, 0, 1])
    assert "labels: the folders cats, dogs" in data.description
    only = load_folder(tmp_path / "cats")
    assert (only.classes, only.labels) == ((), None)
    picture(tmp_path, "loose.png")
    assert load_folder(tmp_path).labels is None


def test_a_folder_of_broken_pictures_is_no_class(tmp_path):
    picture(tmp_path, "a/1.png"), picture(tmp_path, "c/1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.png").write_text("broken")
    data = load_folder(tmp_path)
    assert (data.classes, list(data.labels)) == (("a", "c"), [0, 1])


def test_hidden_and_other_files_are_passed_over(tmp_path):
    picture(tmp_path, "a.png"), picture(tmp_path, ".trash/b.png")
    (tmp_path / "._a.png").write_bytes(b"what an archive left")
    (tmp_path / "readme.txt").write_text("hello")
    data = load_folder(tmp_path)
    assert len(data) == 1
    assert "could not be read" not in data.description


def test_links_are_followed_and_loops_end(tmp_path):
    picture(tmp_path / "elsewhere", "x.png")
    folder = tmp_path / "mine"
    picture(folder, "a.png")
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    data = load_folder(folder)
    assert len(data) == 2
    assert "2 could not be read: gone.png (No such file" in data.description


# ---------------------------------------------------------------- what is wrong with a file


def many_pixels(path):
    image = io.BytesIO()
    Image.new("L", (8000, 8000)).save(image, "JPEG", progressive=True)
    path.write_bytes(image.getvalue())


BROKEN = {
    "text": (lambda p: p.write_text("hello"), "no PNG, JPEG, GIF, WebP or BMP image"),
    "empty": (lambda p: p.write_bytes(b""), "an empty file"),
    "web page": (lambda p: p.write_text("<!DOCTYPE html>"), "no PNG, JPEG"),
    "zeros": (lambda p: p.write_bytes(bytes(5000)), "no PNG, JPEG"),
    "signature only": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "no PNG, JPEG"),
    "cut PNG": (lambda p: cut(picture(p.parent, p.name, (99, 99))), "truncated|broken"),
    "cut JPEG": (lambda p: cut(picture(p.parent, p.name, (999, 999), format="JPEG")), "truncated"),
    "cut WebP": (lambda p: cut(picture(p.parent, p.name, (99, 99), format="WEBP")), ""),
    "cut GIF": (lambda p: cut(picture(p.parent, p.name, (99, 99), format="GIF")), ""),
    "cut BMP": (lambda p: cut(picture(p.parent, p.name, (99, 99), format="BMP")), "truncated"),
    "cut TIFF": (lambda p: cut(picture(p.parent, p.name, (99, 99), format="TIFF")), "not large enough|truncated"),
    "icon": (lambda p: picture(p.parent, p.name, (16, 16), format="ICO"), "no PNG, JPEG"),
    "PDF": (lambda p: p.write_bytes(b"%PDF-1.4\n"), "no PNG, JPEG"),
    "huge": (lambda p: bomb(p, 20_000, 20_000), "20,000 x 20,000 pixels are more than max_pixels=50,000,000"),
    "beyond any picture": (lambda p: bomb(p, 2**31 - 1, 2**31 - 1), "more than max_pixels|no PNG"),
    "progressive": (many_pixels, "8,000 x 8,000 pixels are more than"),
    "pipe": (lambda p: os.mkfifo(p), "no regular file"),
    "link to nowhere": (lambda p: p.symlink_to("nowhere"), "No such file"),
    "link to itself": (lambda p: p.symlink_to(p), "symbolic links"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_left_out_by_name(tmp_path, case):
    spoil, why = BROKEN[case]
    picture(tmp_path, "a.png"), picture(tmp_path, "z.png", colour=BLUE)
    spoil(tmp_path / "broken.png")
    data = load_folder(tmp_path, size=8)
    np.testing.assert_array_equal(data.images[:, 0, 0], [RED, BLUE])
    with pytest.raises(DataError, match=f"1 could not be read: broken.png .*({why})"):
        raise DataError(data.description)
    assert load_folder(tmp_path, size=8).description == data.description  # from the cache, too


def test_what_no_permission_allows_is_left_out(tmp_path, monkeypatch):
    picture(tmp_path, "a.png"), picture(tmp_path, "locked.png"), picture(tmp_path, "vault/x.png")
    really_open, really_scan = Image.open, os.scandir

    def guarded(path, *args, really, **kwargs):
        if path.name in ("locked.png", "vault"):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *args, **kwargs)

    monkeypatch.setattr(Image, "open", lambda *a, **k: guarded(*a, really=really_open, **k))
    monkeypatch.setattr(os, "scandir", lambda *a: guarded(*a, really=really_scan))
    data = load_folder(tmp_path)
    assert len(data) == 1
    assert "2 could not be read: locked.png (Permission denied), vault (Permission denied)" in data.description


def test_many_broken_files_are_counted_and_some_named(tmp_path):
    picture(tmp_path, "good.png")
    for k in range(9):
        (tmp_path / f"bad{k}.png").write_text("?")
    (tmp_path / "bad\x1b[31m.png").write_text("?")  # never reaches the terminal as it is
    data = load_folder(tmp_path, cache=tmp_path / "cache")
    assert "10 could not be read: bad\\x1b[31m.png (no PNG" in data.description
    assert data.description.endswith("and 5 more")
    about = json.loads(next((tmp_path / "cache").rglob("*.json")).read_text())
    assert len(about["skipped"]) == 10


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]), hits=st.integers(1, 8))
def test_no_damage_ends_the_program(tmp_path_factory, seed, kind, hits):
    folder = tmp_path_factory.mktemp("damaged")
    content = io.BytesIO()
    Image.fromarray(noise(7, 9, 11, 3)).save(content, kind)
    spoiled = np.frombuffer(content.getvalue(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    spoiled[rng.integers(len(spoiled), size=hits)] = rng.integers(256, size=hits)
    (folder / "a.png").write_bytes(spoiled.tobytes())
    picture(folder, "b.png")
    data = load_folder(folder, size=4, max_pixels=10_000, cache=folder / "cache")
    assert len(data) + ("could not be read" in data.description) == 2


HUGE = """
import resource, sys
from tinygan.data import load_folder
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
load_folder(sys.argv[1] + "/small", cache=sys.argv[1])
before = peak()
data = load_folder(sys.argv[1] + "/huge", size=16, cache=sys.argv[1])
print(len(data), data.images.min(), data.images.max(), peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory as Unix does")
def test_a_huge_jpeg_is_shrunk_by_its_decoder_and_other_huge_pictures_cost_nothing(tmp_path):
    picture(tmp_path / "small", "a.jpg"), picture(tmp_path / "small", "a.png")
    picture(tmp_path / "huge", "a.jpg", (12_000, 12_000), mode="L", colour=90)  # 144 MB of pixels
    bomb(tmp_path / "huge" / "b.png", 20_000, 20_000)
    told = subprocess.check_output([sys.executable, "-c", HUGE, str(tmp_path)], text=True).split()
    assert told[0] == "1"
    assert 88 <= int(told[1]) <= int(told[2]) <= 92
    assert float(told[3]) < 40  # MB


# ---------------------------------------------------------------- refusals


def fill(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def test_a_picture_of_exactly_the_largest_size_is_read(tmp_path):
    assert len(load_folder(picture(tmp_path).parent, max_pixels=64)) == 1  # 63 are refused below


REFUSED = {
    "no such folder": (lambda d: load_folder(d / "gone"), "gone: there is no such folder; check the path"),
    "a file": (lambda d: load_folder(picture(d)), "a.png: this is a file; give the folder"),
    "empty": (lambda d: load_folder(d), r"expected pictures \(.png.* but it is empty"),
    "no picture": (lambda d: load_folder(fill(d, a_txt="?")), "but found other files, such as a.txt"),
    "only empty files": (lambda d: load_folder(fill(d, a_png="")), r"no picture in it can be read: a.png \(an empty"),
    "only broken": (lambda d: load_folder(fill(d, a_png="?", b_gif="?")), r"can be read: a.png \(no PNG.*b.gif \(no"),
    "larger than allowed": (lambda d: load_folder(picture(d).parent, max_pixels=63), "8 x 8 pixels are more than"),
    "cache is a file": (lambda d: load_folder(picture(d).parent, cache=d / "a.png"), "cannot be written there .*cache"),
    "one picture": (lambda d: load(picture(d)), "this is one picture; give the folder"),
    "nothing": (lambda d: load(d / "gone"), "nor a file or folder that exists"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had_is_refused_by_name(tmp_path, case):
    call, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        call(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))


BAD_SETTINGS = {
    "size 0": ({"size": 0}, "size: expected a height and a width, whole numbers from 1 to 8192, got 0"),
    "half a pixel": ({"size": 64.5}, "size: .* got 64.5"),
    "three sizes": ({"size": (8, 8, 3)}, r"size: .* got \(8, 8, 3\)"),
    "size too large": ({"size": 10_000}, "got 10000"),
    "yes": ({"size": True}, "got True"),
    "alpha": ({"channels": 4}, "channels: expected 1 for grey or 3 for colour, got 4"),
    "fit": ({"fit": "stretch"}, "fit: expected 'crop' or 'letterbox', got 'stretch'"),
    "background": ({"background": 256}, "background: expected a colour, whole numbers from 0 to 255, got 256"),
    "two colours": ({"background": (0, 0)}, r"got \(0, 0\)"),
    "no pixels": ({"max_pixels": 0}, "max_pixels must be a whole number of at least 1, got 0"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_refused(tmp_path, case):
    options, message = BAD_SETTINGS[case]
    picture(tmp_path)
    with pytest.raises(ArgumentError, match=message):
        load_folder(tmp_path, **options)


def test_one_picture_is_a_data_set_but_no_batch(tmp_path):
    from tinygan.data import batches

    picture(tmp_path)
    with pytest.raises(DataError, match="which has 1 image"):
        batches(len(load_folder(tmp_path)), 128, seed=0)


# ---------------------------------------------------------------- mirror images and load()


def test_mirror_images_follow_the_images_and_take_no_memory(tmp_path):
    Image.fromarray(noise(3, 8, 8, 3)).save(tmp_path / "a.png")
    data = load_folder(tmp_path, size=8, mirror=True)
    assert (len(data), len(data.images)) == (2, 1)
    x = data.batch(np.array([1, 0, 1]), low=0, high=255)
    np.testing.assert_allclose(x[0], data.images[0][:, ::-1], atol=1e-3)
    np.testing.assert_allclose(x[1], data.images[0], atol=1e-3)
    np.testing.assert_array_equal(x[2], x[0])
    assert "and their mirror images" in data.description
    assert data.with_mirror_images() is data


def test_labels_go_with_the_mirror_images():
    data = ImageData(noise(0, 3, 2, 2, 1), np.array([5, 6, 7])).with_mirror_images()
    assert list(data.labels) == [5, 6, 7, 5, 6, 7]
    with pytest.raises(DataError, match=r"one label per image, shape \(6,\), got \(4,\)"):
        ImageData(data.images, np.zeros(4, int), mirrored=True)
    with pytest.raises(DataError, match=r"indices must lie in 0..5"):
        data.batch(np.array([6]))


def test_batches_of_a_map_are_ordinary_arrays(tmp_path):
    np.save(tmp_path / "a.npy", noise(0, 4, 3, 3, 1))
    images = np.load(tmp_path / "a.npy", mmap_mode="r")
    data = ImageData(images)
    assert data.images is images
    x = data.batch(np.array([2, 3]))
    assert type(x) is np.ndarray
    assert x.flags.writeable


def test_load_takes_a_folder_and_all_that_belongs_to_it(tmp_path):
    picture(tmp_path, mode="RGBA", colour=(0, 0, 0, 0), size=(4, 8))
    data = load(tmp_path, size=(6, 10), channels=1, fit="letterbox", background=7, mirror=True, cache=tmp_path / ".c")
    assert (data.image_shape, len(data), data.name) == ((6, 10, 1), 2, tmp_path.name)
    assert (data.images == 7).all()
    assert list((tmp_path / ".c").rglob("*.npy"))
    assert load(tmp_path, channels=3).image_shape == (64, 64, 3)


def test_load_brings_any_set_to_the_size_of_the_network(monkeypatch):
    monkeypatch.setitem(importlib.import_module("tinygan.data.loading")._COUNT, "digits", {"train": 20, "test": 20})
    data = load("digits", size=32, channels=3, mirror=True)
    assert (data.image_shape, len(data), len(data.labels)) == ((32, 32, 3), 40, 40)
    assert (data.images[..., 0] == data.images[..., 2]).all()
    assert "brought to 32x32x3" in data.description
