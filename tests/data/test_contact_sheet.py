"""Images as notebooks show them: in words, and as a sheet of small ones that bounds what a notebook has to keep."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from support.markup import Markup
from support.pictures import noise, picture

from tinygan.data import ImageData, contact_sheet, load_folder
from tinygan.data.contact_sheet import GAP


def sheet(data):
    """The picture in what a notebook shows of the data."""
    [attributes] = [kept for tag, kept in Markup(data._repr_html_()).attributes if tag == "img"]
    kind, _, text = attributes["src"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as opened:
        assert opened.format == "PNG"
        return np.asarray(opened)


def test_all_of_few_images_in_their_order():
    data = ImageData(noise(0, 5, 4, 6, 3), np.arange(5), "mine", "five of them")
    shown = Markup(data._repr_html_())
    assert shown.of("p") == ["ImageData('mine', 5 images of 4x6x3, with labels): five of them"]
    picture = sheet(data)
    assert picture.shape == (2 * 4 + GAP, 3 * 6 + 2 * GAP, 3)
    for n, image in enumerate(data.images):
        i, j = n // 3 * (4 + GAP), n % 3 * (6 + GAP)
        np.testing.assert_array_equal(picture[i : i + 4, j : j + 6], image)
    assert (picture[4 + GAP :, 2 * (6 + GAP) :] == 255).all()


def test_an_even_choice_of_many_images_the_first_and_the_last_among_them():
    levels = np.arange(200, dtype=np.uint8)
    picture = sheet(ImageData(np.tile(levels[:, None, None, None], (1, 3, 3, 1))))[:: 3 + GAP, :: 3 + GAP].ravel()
    assert (len(picture), picture[0], picture[-1]) == (64, 0, 199)
    assert set(np.diff(picture.astype(int))) <= {3, 4}


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3), (200, 300, 3), (1, 900, 1), (3000, 2, 3), (300, 100, 1)])
def test_a_notebook_keeps_no_more_than_it_can_bear(shape, mirror):
    """Even of noise, which nothing makes smaller."""
    data = ImageData(noise(0, 70, *shape), mirrored=mirror)
    assert len(data._repr_html_()) <= 200_000
    side = sheet(data).shape
    assert side[2:] == (shape[2:] if shape[2] == 3 else ())


def test_proportions_stay():
    height, width = sheet(ImageData(noise(0, 1, 100, 200, 1))).shape
    assert (height, width) == (32, 64)


def test_no_text_is_taken_for_html():
    odd = "<script>alert('\"')</script>&lt;"
    shown = Markup(ImageData(noise(0, 2, 3, 3, 1), name=odd, description=odd)._repr_html_())
    assert shown.tags == {"div", "p", "img"}
    [said] = shown.of("p")
    assert said.endswith(f": {odd}")


@pytest.mark.skipif("os.name == 'nt'", reason="such a folder cannot be made there")
def test_no_folder_is_taken_for_html(tmp_path):
    picture(tmp_path / "photos", "<img src=x onerror=y>/a.png")
    picture(tmp_path / "photos", "dogs & cats/a.png")
    shown = Markup(load_folder(tmp_path / "photos", size=8, cache=tmp_path / "cache")._repr_html_())
    assert [tag for tag, _ in shown.attributes] == ["div", "p", "img"]
    assert "<img src=x onerror=y>, dogs & cats" in shown.of("p")[0]


def test_what_cannot_be_drawn_is_described(monkeypatch):
    shown = Markup(ImageData(noise(0, 2, 3, 3, 2), name="two channels")._repr_html_())
    assert shown.tags == {"div", "p"}
    assert "two channels" in shown.of("p")[0]
    monkeypatch.setattr(contact_sheet, "_tiled", lambda images: 1 / 0)
    assert Markup(ImageData(noise(0, 2, 3, 3, 1))._repr_html_()).tags == {"div", "p"}


def test_in_text_it_stays_short():
    data = ImageData(noise(0, 2, 3, 3, 1), name="x" * 40, description="y" * 1000)
    assert repr(data) == f"ImageData('{'x' * 40}', 2 images of 3x3x1)"
