"""Pictures of every kind and size come out upright, in the right colours, and in the shape that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.pictures import BLUE, RED, noise, one, picture

from tinygan.data import Form, ImageData, load_folder, refit
from tinygan.data.pictures import read_picture
from tinygan.errors import DataError


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """A cache of one's own, whatever the machine's is."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path_factory.mktemp("cache") / name)


# ---------------------------------------------------------------- kinds of pictures


KINDS = {
    "PNG": (lambda d: picture(d), RED),
    "upper case": (lambda d: picture(d, "A.PNG"), RED),
    "JPEG": (lambda d: picture(d, "a.jpeg", quality=95), RED),
    "CMYK JPEG": (lambda d: picture(d, "a.jpg", mode="CMYK", colour=(0, 255, 255, 0)), (255, 0, 0)),
    "GIF": (lambda d: picture(d, "a.gif"), RED),
    "WebP": (lambda d: picture(d, "a.webp", lossless=True), RED),
    "BMP": (lambda d: picture(d, "a.bmp"), RED),
    "another's name": (lambda d: picture(d, "a.jpg", format="PNG"), RED),
    "palette": (lambda d: Image.new("RGB", (9, 9), BLUE).quantize(4).save(d / "a.png"), BLUE),
    "grey": (lambda d: picture(d, mode="L", colour=77), (77, 77, 77)),
    "black and white": (lambda d: picture(d, mode="1", colour=1), (255, 255, 255)),
    "16 bits": (lambda d: Image.fromarray(np.full((9, 9), 77 * 256 + 9, np.uint16)).save(d / "a.png"), (77, 77, 77)),
    "grey alpha": (lambda d: picture(d, mode="LA", colour=(40, 0)), (255, 255, 255)),
    "clear": (lambda d: picture(d, mode="RGBA", colour=(*RED, 0)), (255, 255, 255)),
    "half clear": (lambda d: picture(d, mode="RGBA", colour=(0, 0, 0, 128)), (127, 127, 127)),
    "opaque": (lambda d: picture(d, mode="RGBA", colour=(*RED, 255)), RED),
    "clear colour of a palette": (lambda d: picture(d, "a.gif", mode="P", colour=0, transparency=0), (255,) * 3),
    "clear colour": (lambda d: picture(d, transparency=RED), (255, 255, 255)),
}


@pytest.mark.parametrize("case", KINDS)
def test_every_kind_of_picture_is_read(tmp_path, case):
    make, colour = KINDS[case]
    make(tmp_path)
    image = one(tmp_path, channels=3)
    assert image.shape == (8, 8, 3)
    np.testing.assert_allclose(image, np.broadcast_to(colour, (8, 8, 3)), atol=3)


def test_a_picture_of_the_right_size_keeps_its_bytes(tmp_path):
    pixels = noise(0, 12, 20, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (one(tmp_path, size=(12, 20)) == pixels).all()


def test_only_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(one(tmp_path)[0, 0], RED, atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_pictures_stand_upright_as_exif_says(tmp_path, orientation, fit):
    """Far from black and white, where older versions of Pillow cut off overshoots after each of the two axes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(96 + noise(1, 20, 40, 3) // 4)
    turned.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        upright = ImageOps.exif_transpose(image)
    upright.save(tmp_path / "b.png")
    (first, second) = load_folder(tmp_path, size=(16, 16), fit=fit, background=0).images.astype(int)
    assert np.abs(first - second).max() <= 1
    shown = load_folder(tmp_path, size=(40, 20), fit=fit, background=0).images.astype(int)
    assert np.abs(shown[0] - shown[1]).max() <= 1


def test_damaged_exif_is_no_reason_to_lose_a_picture(tmp_path):
    picture(tmp_path, "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_allclose(one(tmp_path)[0, 0], RED, atol=4)


def test_cropping_takes_the_middle_and_a_letterbox_keeps_all(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = RED
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (one(tmp_path, size=10) == RED).all()
    boxed = one(tmp_path, size=30, fit="letterbox", background=BLUE)
    assert (boxed[10:20] == wide).all()
    assert (boxed[:10] == BLUE).all()
    assert (boxed[20:] == BLUE).all()


@settings(max_examples=60)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    fit=st.sampled_from(["crop", "letterbox"]),
    mode=st.sampled_from(["L", "RGB", "RGBA", "P", "LA", "1", "I;16"]),
)
def test_any_picture_fits_any_form(tmp_path_factory, width, height, size, channels, fit, mode):
    path = tmp_path_factory.mktemp("picture") / "a.png"
    Image.new(mode, (width, height)).save(path)
    image, enlarged, _ = read_picture(path, Form(size, channels, fit, background=0))
    assert (image.shape, image.dtype, image.max()) == ((*size, channels), np.uint8, 0)
    assert enlarged == (height < size[0] or width < size[1])


def test_shrinking_averages_and_does_not_alias(tmp_path):
    Image.fromarray(np.tile(np.uint8([[0, 255], [255, 0]]), (300, 300))).save(tmp_path / "a.png")
    np.testing.assert_allclose(one(tmp_path, size=16), 127.5, atol=6)


def test_channels_follow_the_pictures_unless_they_are_given(tmp_path):
    picture(tmp_path, "a.png", mode="L", colour=9)
    picture(tmp_path, "b.png", mode="1", colour=1)
    assert load_folder(tmp_path).image_shape == (64, 64, 1)
    assert load_folder(tmp_path, channels=3).image_shape == (64, 64, 3)
    (tmp_path / "0.png").write_text("broken")
    assert load_folder(tmp_path).image_shape == (64, 64, 1)
    picture(tmp_path, "c.png")
    assert load_folder(tmp_path).image_shape == (64, 64, 3)
    assert load_folder(tmp_path, channels=1).image_shape == (64, 64, 1)


def test_small_pictures_are_enlarged_and_it_is_said(tmp_path):
    picture(tmp_path, size=(1, 1))
    data = load_folder(tmp_path)
    assert (data.images == RED).all()
    assert "1 were smaller and had to be enlarged" in data.description


def test_pictures_of_any_proportion(tmp_path):
    picture(tmp_path, "tall.png", (1, 5000)), picture(tmp_path, "wide.png", (5000, 1))
    assert (load_folder(tmp_path, size=8).images == RED).all()
    assert load_folder(tmp_path, size=8, fit="letterbox").images.shape == (2, 8, 8, 3)


@given(size=st.tuples(st.integers(1, 20), st.integers(1, 20)), n=st.integers(1, 5), seed=st.integers(0, 99))
def test_refit_to_the_same_shape_or_to_grey_and_back_changes_no_grey(size, n, seed):
    grey = ImageData(noise(seed, n, *size, 1))
    assert refit(grey, size=size, channels=1) is grey
    assert (refit(refit(grey, channels=3), channels=1).images == grey.images).all()


def test_images_of_exactly_the_largest_size_are_made(monkeypatch):
    data = ImageData(noise(0, 3, 2, 2, 1))
    monkeypatch.setattr("tinygan.data.pictures.MAX_BYTES", 3 * 4 * 4)
    assert refit(data, size=4).images.nbytes == 3 * 4 * 4
    with pytest.raises(DataError, match="take more than 48 bytes"):
        refit(data, size=(4, 5))


def test_refit_refuses_what_memory_cannot_hold():
    data = ImageData(np.broadcast_to(np.uint8(0), (10**6, 2, 2, 1)))
    with pytest.raises(DataError, match=r"1,000,000 images of .* take more than"):
        refit(data, size=1024)
    with pytest.raises(DataError, match="these have 2 channels"):
        refit(ImageData(noise(0, 1, 2, 2, 2)), size=8)
