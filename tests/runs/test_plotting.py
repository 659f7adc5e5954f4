"""Pictures: every pixel in its place, files that a viewer opens, and the levels that loss curves are held to."""

import io
import json
import math
import os
import subprocess
import sys
import textwrap
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinygan import losses, plotting
from tinygan.errors import ArgumentError, DataError, ShapeError


@given(
    n=st.integers(1, 12),
    h=st.integers(1, 5),
    w=st.integers(1, 5),
    c=st.sampled_from([1, 3]),
    columns=st.integers(1, 6),
    padding=st.integers(0, 3),
    scale=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_every_image_lies_in_its_place(n, h, w, c, columns, padding, scale, seed):
    images = np.random.default_rng(seed).integers(1, 256, (n, h, w, c), dtype=np.uint8)
    picture = plotting.grid(images, columns=columns, padding=padding, scale=scale)
    assert picture.dtype == np.uint8
    picture = picture.reshape(*picture.shape[:2], c)
    small = picture[::scale, ::scale]
    np.testing.assert_array_equal(small.repeat(scale, axis=0).repeat(scale, axis=1), picture)
    for i, image in enumerate(images):
        row, column = divmod(i, min(columns, n))
        top, left = padding + row * (h + padding), padding + column * (w + padding)
        np.testing.assert_array_equal(small[top : top + h, left : left + w], image)
    assert np.count_nonzero(small) == images.size  # all else is black


def test_the_ends_of_the_range_are_black_and_white(device):
    values = np.array([-1.0, 0.0, 1.0, -7.0, 7.0], dtype=np.float32).reshape(1, 1, 5, 1)
    picture = plotting.grid(device.put(values), padding=0, scale=1)
    np.testing.assert_array_equal(picture, [[0, 128, 255, 0, 255]])
    picture = plotting.grid(device.put(values), low=0.0, high=2.0, padding=0, scale=1)
    np.testing.assert_array_equal(picture, [[0, 0, 128, 0, 255]])


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (np.zeros((4, 28, 28)), {}, ShapeError, r"expected images \(N, H, W, 1\)"),
        (np.zeros((4, 28, 28, 2)), {}, ShapeError, r"got \(4, 28, 28, 2\)"),
        (np.zeros((0, 28, 28, 1)), {}, ShapeError, r"got \(0, 28, 28, 1\)"),
        (np.full((2, 3, 3, 1), np.nan), {}, DataError, "image 0 holds NaN or infinity"),
        (np.zeros((2, 3, 3, 1)), {"columns": 0}, ArgumentError, "columns must be a whole number of at least 1"),
        (np.zeros((2, 3, 3, 1)), {"padding": -1}, ArgumentError, "padding must be a whole number of at least 0"),
        (np.zeros((2, 3, 3, 1)), {"scale": 0}, ArgumentError, "scale must be a whole number of at least 1"),
        (np.zeros((2, 3, 3, 1)), {"low": 1.0, "high": 1.0}, ArgumentError, "expected low below high"),
    ],
)
def test_what_is_no_picture_is_refused(images, options, error, message):
    with pytest.raises(error, match=message):
        plotting.grid(images, **options)


@pytest.mark.parametrize(
    ("side", "images", "pixels"),
    [
        (28, 64, 484),
        (64, 64, 1060),
        (128, 64, 2084),
        (256, 64, 2066),
        (512, 16, 2058),
        (1024, 4, 2054),
        (4096, 1, 4100),
    ],
)
def test_pictures_of_a_run_are_of_a_sensible_size_whatever_that_of_the_images(side, images, pixels):
    assert plotting.images_shown((side, side, 3)) == images
    assert plotting.images_shown((2, side, 1)) == images
    assert plotting.grid(np.zeros((images, side, side, 1), dtype=np.uint8)).shape == (pixels, pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_film(tmp_path, channels):
    rng = np.random.default_rng(0)
    frames = []
    for i in range(4):
        picture = plotting.grid(rng.uniform(-1, 1, (4, 5, 5, channels)), scale=1)
        frames.append(tmp_path / f"{i}.png")
        plotting.save_png(frames[-1], picture)
        with Image.open(frames[-1]) as file:
            np.testing.assert_array_equal(np.asarray(file), picture)
    plotting.save_film(tmp_path / "film.gif", frames, seconds=0.1, hold=2.0)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4
        assert film.info["loop"] == 0
        durations = []
        for i in range(4):
            film.seek(i)
            durations.append(film.info["duration"])
    assert durations == [100, 100, 100, 2000]
    assert {p.suffix for p in tmp_path.iterdir()} == {".png", ".gif"}  # nothing unfinished lies about


def test_a_long_film_is_thinned_out_and_keeps_its_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "MAX_FRAMES", 5)
    frames = []
    for i in range(23):
        frames.append(tmp_path / f"{i}.png")
        plotting.save_png(frames[-1], np.full((4, 4), 10 * i, dtype=np.uint8))
    plotting.save_film(tmp_path / "film.gif", frames)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 5
        ends = []
        for i in (0, 4):
            film.seek(i)
            ends.append(np.asarray(film.convert("L"))[0, 0])
    assert ends == [0, 220]


def film_of(path):
    """(number of frames, size) of a film."""
    with Image.open(path) as film:
        return film.n_frames, film.size


def test_a_film_without_changes_is_as_it_always_was(tmp_path):
    """Of small pictures: the very bytes."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, 50, 60, 3), dtype=np.uint8)
    frames = [Image.fromarray(picture).convert("RGB").quantize(256) for picture in pictures]
    expected = io.BytesIO()
    frames[0].save(expected, format="GIF", save_all=True, append_images=frames[1:], duration=[150, 150, 2500], loop=0)
    plotting.save_film(tmp_path / "a.gif", [io.BytesIO(plotting.png(picture)) for picture in pictures])
    assert (tmp_path / "a.gif").read_bytes() == expected.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1100, 1100), (1100, 1100)), ((1101, 30), (551, 15)), ((7, 4000), (2, 1000)), ((12_000, 1), (1091, 1))],
)
def test_large_frames_are_shrunk(tmp_path, size, expected):
    plotting.save_film(tmp_path / "a.gif", [io.BytesIO(plotting.png(np.full(size[::-1], 90, dtype=np.uint8)))])
    assert film_of(tmp_path / "a.gif") == (1, expected)
    with Image.open(tmp_path / "a.gif") as film:
        assert set(np.asarray(film.convert("L")).flat) == {90}


def test_some_pixels_choose_the_colours_of_large_frames_about_as_well_as_all(monkeypatch):
    """Choosing takes most of the time that a film does."""
    chosen, quantize = [], Image.Image.quantize

    def counted(self, *args, palette=None, **options):
        if palette is None:
            chosen.append(self.width * self.height)
        return quantize(self, *args, palette=palette, **options)

    y, x = np.mgrid[:700, :900] / 900
    noise = np.random.default_rng(0).normal(0, 9, (700, 900, 3))
    smooth = np.stack([x, y, 1 - x * y], axis=-1) * 255
    picture = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    with_all = Image.fromarray(picture).quantize(256).convert("RGB")
    monkeypatch.setattr(Image.Image, "quantize", counted)
    frame = plotting._frame(io.BytesIO(plotting.png(picture)))
    assert sum(chosen) <= 45_000
    error, least = (np.square(np.asarray(image, float) - picture).mean() for image in (frame.convert("RGB"), with_all))
    assert error < 1.05 * least


def test_a_film_has_fewer_frames_where_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "MAX_FILM", 1000)
    frames = [io.BytesIO(plotting.png(np.full((10, 20), 10 * i, dtype=np.uint8))) for i in range(23)]
    plotting.save_film(tmp_path / "a.gif", frames)
    assert film_of(tmp_path / "a.gif") == (5, (20, 10))
    plotting.save_film(tmp_path / "a.gif", [io.BytesIO(plotting.png(np.zeros((40, 50), dtype=np.uint8)))] * 3)
    assert film_of(tmp_path / "a.gif") == (1, (50, 40))


def test_pillows_limit_is_for_pictures_of_strangers(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        plotting.save_film(tmp_path / "a.gif", [io.BytesIO(plotting.png(np.zeros((40, 50), dtype=np.uint8)))])
        assert Image.MAX_IMAGE_PIXELS == 10
    assert film_of(tmp_path / "a.gif") == (1, (50, 40))


GOOD = plotting.png(np.zeros((9, 12), dtype=np.uint8))
NOISE = plotting.png(np.random.default_rng(0).integers(0, 256, (9, 12), dtype=np.uint8))

#: what a frame may be instead of a picture, and a word of what is said
FRAME_ODDITIES = [
    (b"", "cannot identify image file"),
    (b"spoilt", "cannot identify image file"),
    (GOOD[:20], "cannot be a frame"),
    (NOISE[:60], "cannot be a frame"),
    (NOISE[:120], "cannot be a frame"),
    (NOISE[:45] + b"\0" * 30 + NOISE[75:], "cannot be a frame"),
    (b"GIF89a" + b"\xff" * 40, "cannot be a frame"),
    (plotting.png(np.zeros((9, 13), dtype=np.uint8)), "(13, 9) pixels large as a frame, and the last one (12, 9)"),
    (plotting.png(np.zeros((12, 9), dtype=np.uint8)), "(9, 12) pixels large"),
    (plotting.png(np.zeros((2000, 12), dtype=np.uint8)), "(6, 1000) pixels large as a frame"),
    (plotting.png(np.zeros((40, 40), dtype=np.uint8)), "40 x 40 pixels are more than are read"),
    (None, "there is no such file"),
    (-1, "is a folder"),
    *([(os.mkfifo, "is a pipe, which need not end")] if hasattr(os, "mkfifo") else []),
]


@pytest.mark.parametrize("what", range(len(FRAME_ODDITIES)))
def test_frames_that_cannot_be_are_left_out_and_named(tmp_path, monkeypatch, what):
    content, word = FRAME_ODDITIES[what]
    if "more than are read" in word:
        monkeypatch.setattr(plotting, "MAX_READ", 1500)
    (tmp_path / "first").write_bytes(plotting.png(np.full((9, 12), 200, dtype=np.uint8)))
    (tmp_path / "last").write_bytes(GOOD)
    odd = tmp_path / "odd"
    if content == -1:
        odd.mkdir()
    elif callable(content):
        content(odd)
    elif content is not None:
        odd.write_bytes(content)
    (said,) = plotting.save_film(tmp_path / "a.gif", [tmp_path / "first", odd, tmp_path / "last"])
    assert said.startswith(f"{odd}: cannot be a frame of a film (")
    assert word in said
    assert film_of(tmp_path / "a.gif") == (2, (12, 9))
    if "pixels large" not in word:
        with pytest.raises(DataError, match="odd: cannot be a frame"):
            plotting.save_film(tmp_path / "b.gif", [tmp_path / "first", odd])


def test_a_stream_that_is_no_frame_is_called_by_its_kind(tmp_path):
    with pytest.raises(DataError, match=r"^a BytesIO: cannot be a frame of a film \(cannot identify"):
        plotting.save_film(tmp_path / "a.gif", [io.BytesIO(b"spoilt")])


def test_a_film_of_nothing_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="there are no frames"):
        plotting.save_film(tmp_path / "film.gif", [])


@pytest.mark.parametrize("steps", [0, 1, 2, 300])
def test_loss_curves_of_any_length_and_the_same_bytes_twice(tmp_path, steps):
    values = np.random.default_rng(0).random((steps, 2))
    for name in "ab":
        plotting.save_loss_curves(tmp_path / name, values, loss=losses.NonSaturating())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as picture:
        assert picture.size == (960, 540)


#: settings that a program, a style or a matplotlibrc may have left, none of which may show
SETTING_ODDITIES = [
    {"text.usetex": True},
    {"text.usetex": True, "text.latex.preamble": r"\usepackage{nowhere}"},
    {"font.family": "no such font"},
    {"font.sans-serif": []},
    {"font.size": 0.1},
    {"savefig.dpi": 7},
    {"savefig.format": "svg"},
    {"savefig.bbox": "tight"},
    {"savefig.transparent": True},
    {"savefig.facecolor": "black"},
    {"savefig.directory": "/nowhere"},
    {"figure.dpi": 3},
    {"figure.autolayout": True},
    {"figure.facecolor": "red"},
    {"figure.constrained_layout.use": False, "figure.constrained_layout.w_pad": 9.0},
    {"axes.facecolor": "black"},
    {"axes.xmargin": 4.0},
    {"axes.titlesize": 99},
    {"axes.labelpad": 500.0},
    {"axes.formatter.use_locale": True},
    {"axes.formatter.limits": (0, 0)},
    {"axes.grid": False},
    {"lines.linewidth": 90.0},
    {"lines.antialiased": False},
    {"legend.fontsize": 99},
    {"legend.title_fontsize": 1},
    {"xtick.bottom": False},
    {"ytick.direction": "in"},
    {"path.sketch": (10.0, 100.0, 2.0)},
    {"path.simplify": False, "agg.path.chunksize": 7},
    {"mathtext.fontset": "stix"},
    {"text.antialiased": False},
    {"text.color": "white"},
    {"image.cmap": "nipy_spectral"},
    {"toolbar": "None", "interactive": True},
    {"date.epoch": "1900-01-01"},
]


def drawn(path):
    values = np.random.default_rng(0).random((40, 2))
    plotting.save_loss_curves(path, values, loss=losses.NonSaturating(), title="NonSaturating()")
    return path.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("curves") / "a.png")


@pytest.mark.parametrize("settings", SETTING_ODDITIES, ids=lambda settings: next(iter(settings)))
def test_no_setting_of_matplotlib_shows_in_a_picture_or_is_changed(undisturbed, tmp_path, settings):
    import matplotlib

    with warnings.catch_warnings(action="ignore"), matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams)
        assert drawn(tmp_path / "a.png") == undisturbed
        assert dict(matplotlib.rcParams) == before


#: what an environment may ask of matplotlib at its import: {variable: value}; "rc" is a matplotlibrc of these bytes
ENVIRONMENT_ODDITIES = [
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},  # Jupyter, to all that it starts
    {"MPLBACKEND": "module://nowhere.to.be_found"},
    {"MPLBACKEND": "nonsense"},
    {"MPLBACKEND": "TkAgg", "DISPLAY": ":99"},
    {"MPLBACKEND": "", "rc": b"backend: nonsense\n"},
    {"rc": b"text.usetex: True\nfont.family: nowhere\n"},
    {"rc": b"\xff\xfe\x00not a text"},
    {"rc": b"no colon\nfigure.dpi: many\nno.such.key: 1\n"},
    {"MATPLOTLIBRC": "/nowhere"},
]
IN_AN_ENVIRONMENT = """
    import json, logging, os, sys, zlib
    import numpy as np
    from tinygan import losses, plotting
    logging.disable(logging.CRITICAL)
    folder, cases = sys.argv[1], json.loads(sys.argv[2])
    for i, case in enumerate(cases):
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            del sys.modules[name]
        if "rc" in case:
            with open(f"{folder}/rc{i}", "wb") as file:
                file.write(case.pop("rc").encode("latin-1"))
            case["MATPLOTLIBRC"] = f"{folder}/rc{i}"
        before = dict(os.environ)
        os.environ.update(case)
        given = dict(os.environ)
        plotting.save_loss_curves(f"{folder}/{i}.png", np.ones((5, 2)), loss=losses.Hinge(), title="Hinge()")
        assert dict(os.environ) == given
        os.environ.clear()
        os.environ.update(before)
        print(zlib.crc32(open(f"{folder}/{i}.png", "rb").read()))
"""


def test_no_environment_shows_in_a_picture(tmp_path):
    """In a process where matplotlib is imported anew for each, since that is when it looks."""
    plotting.save_loss_curves(tmp_path / "a", np.ones((5, 2)), loss=losses.Hinge(), title="Hinge()")
    cases = json.dumps(
        [{k: v if k != "rc" else v.decode("latin-1") for k, v in c.items()} for c in ENVIRONMENT_ODDITIES]
    )
    command = [sys.executable, "-c", textwrap.dedent(IN_AN_ENVIRONMENT), tmp_path, cases]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(zlib.crc32((tmp_path / "a").read_bytes()))] * len(ENVIRONMENT_ODDITIES)


def test_nobody_draws_with_a_backend():
    """In the package, in examples and in benchmarks every figure comes from :func:`plotting.figure`."""
    root = Path(__file__).parent.parent.parent
    files = [file for name in ("tinygan", "examples", "benchmarks") for file in (root / name).rglob("*.py")]
    words = "pyplot", "matplotlib.use", "FigureCanvas", "import matplotlib\n"
    users = [(file.name, word) for file in files for word in words if word in file.read_text("utf-8")]
    assert users == [("plotting.py", "FigureCanvas")]


def test_matplotlib_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="matplotlib"):
        plotting.save_loss_curves(tmp_path / "a", np.ones((5, 2)))


def test_a_figure_is_drawn_into_a_folder_that_is_not_there_yet(tmp_path):
    with plotting.figure(tmp_path / "deep" / "a.png", size=(2, 1), dpi=50) as drawing:
        drawing.add_subplot().set_title("漢字")  # which the font lacks: no reason to warn
    with Image.open(tmp_path / "deep" / "a.png") as picture:
        assert picture.size == (100, 50)


def test_loss_curves_show_a_run_that_went_wrong(tmp_path):
    plotting.save_loss_curves(tmp_path / "a", np.array([[1.0, 2.0], [1e30, 3.0], [np.nan, np.inf]]))


def test_the_smoothed_curve_is_the_median_of_each_span():
    values = np.array([1.0, 2.0, 900.0, 4.0, 5.0, 6.0])
    steps, medians = plotting._smoothed(values, np.arange(1, 7), points=2)
    np.testing.assert_array_equal(steps, [2, 5])
    np.testing.assert_array_equal(medians, [2, 5])
    steps, medians = plotting._smoothed(values, np.arange(1, 7))
    np.testing.assert_array_equal(steps, [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(medians, values)


@pytest.mark.parametrize(
    ("loss", "d", "g"),
    [
        (losses.NonSaturating(), 2 * math.log(2), math.log(2)),
        (losses.Minimax(), 2 * math.log(2), -math.log(2)),
        (losses.LeastSquares(), 1 / 4, 1 / 8),
        (losses.Relativistic(), math.log(2), math.log(2)),
        # D says t / 2 of everything: L_D = −t log(t/2) − (2 − t) log(1 − t/2)
        (
            losses.NonSaturating(real_label=0.9),
            -0.9 * math.log(0.45) - 1.1 * math.log(0.55),
            -math.log(0.45),
        ),
    ],
)
def test_equilibrium_is_what_theory_says(loss, d, g):
    assert plotting.equilibrium(loss) == pytest.approx((d, g), rel=1e-9)


@pytest.mark.parametrize(("loss", "d"), [(losses.Wasserstein(), 0.0), (losses.Hinge(), 2.0)])
def test_a_critic_that_has_a_choice_leaves_gs_loss_open(tmp_path, loss, d):
    assert plotting.equilibrium(loss) == (pytest.approx(d, abs=1e-12), None)
    plotting.save_loss_curves(tmp_path / "a", np.random.default_rng(0).random((30, 2)), loss=loss)


def curves(monkeypatch, *args, **options):
    """The curves that save_loss_curves draws, {label: (x, y)}."""
    from matplotlib.axes import Axes

    drawn, plot = {}, Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **k: drawn.update({k.get("label"): a}) or plot(self, *a, **k))
    plotting.save_loss_curves(*args, **options)
    return drawn


def test_the_penalty_is_drawn_where_it_was_due(tmp_path, monkeypatch):
    """Every third step here; the smoothed curve of all steps would lie at 0."""
    values = np.random.default_rng(0).random((12, 3))
    values[np.arange(12) % 3 > 0, 2] = np.nan
    values[3, 2] = 0.0  # due, and nothing to pay
    drawn = curves(monkeypatch, tmp_path / "a", values, loss=losses.Relativistic())
    assert set(drawn) == {None, "discriminator", "generator", "penalty"}
    steps, heights = drawn["penalty"]
    np.testing.assert_array_equal(steps, [1, 4, 7, 10])
    np.testing.assert_array_equal(heights, values[::3, 2])
    plotting.save_loss_curves(tmp_path / "b", values, loss=losses.Relativistic())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert set(curves(monkeypatch, tmp_path / "c", values[:, :2])) == {None, "discriminator", "generator"}


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_a_penalty_of_any_length(tmp_path, steps):
    values = np.zeros((steps, 3))
    values[:, 2] = np.nan  # the penalty is never due
    plotting.save_loss_curves(tmp_path / "a", values, loss=losses.Hinge())
    plotting.save_loss_curves(tmp_path / "b", values + 1.0, loss=losses.Hinge())
    assert (tmp_path / "a").exists()


def test_figures_of_several_threads_leave_settings_and_warnings_as_they_were(tmp_path):
    import threading

    import matplotlib

    filters, meet = list(warnings.filters), threading.Barrier(2, timeout=20.0)

    def draw(k):
        meet.wait()
        for _ in range(3):
            with plotting.figure(tmp_path / f"{k}.png", size=(1, 1)) as figure:
                figure.add_subplot()

    with matplotlib.rc_context({"lines.linewidth": 7.5}):
        threads = [threading.Thread(target=draw, args=(k,)) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert matplotlib.rcParams["lines.linewidth"] == 7.5
    assert list(warnings.filters) == filters
