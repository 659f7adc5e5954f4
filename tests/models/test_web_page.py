"""The page in which a generator runs: its script computes what the layers do, and a real browser shows it."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import Sequential, interchange, layers, models
from tinygan.errors import ArgumentError, CheckpointError, ShapeError
from tinygan.layers import (
    ELU,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    LeakyReLU,
    PixelShuffle,
    ReLU,
    Reshape,
    Sigmoid,
    SiLU,
    Softplus,
    SpectralNorm,
    Tanh,
    Upsample,
)
from tinygan.models import Add, Concat, Residual
from tinygan.models.conditional import generate, in_turn
from tinygan.models.interchange.web import elsewhere
from tinygan.models.interchange.web.lowering import Lowered

SCRIPT = (files("tinygan.models.interchange.web") / "network.js").read_text("utf-8")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def script():
    """Call network.js on one sample: ``compute(network, z, label)`` -> the output, flat."""
    quickjs = pytest.importorskip("quickjs")
    context = quickjs.Context()
    context.eval(SCRIPT)
    context.eval(
        "function run(text) { const { operations, weights, z, label } = JSON.parse(text);"
        " const y = compute(operations, new Float32Array(weights), { shape: [z.length], data: new Float32Array(z) },"
        " label); return JSON.stringify({ shape: y.shape, data: Array.from(y.data) }); }"
    )

    def compute(network, z, label=0):
        lowered = Lowered(network, z.shape)
        given = {"operations": lowered.operations, "weights": lowered.weights().tolist(), "z": z.tolist()}
        context.set("given", json.dumps({**given, "label": int(label)}))
        y = json.loads(context.eval("run(given)"))
        return np.array(y["data"], np.float32).reshape(y["shape"])

    return compute


def shaken(network, seed=0):
    """The network with other numbers everywhere, so that nothing is 1 or 0 by chance."""
    rng = np.random.default_rng(seed)
    network.theta[...] += 0.2 * rng.standard_normal(network.theta.shape)
    for key, a in network.buffers.items():
        if a.dtype.kind == "f":
            a[...] = rng.uniform(0.5, 1.5, a.shape) if key.endswith("var") else a + 0.1
    return network


def require_same(script, network, noise_dim, labels=(0,)):
    for label in labels:
        z = np.random.default_rng(label).standard_normal((1, noise_dim), dtype=np.float32)
        expected = generate(network, z, np.array([label]) if len(labels) > 1 else None)[0]
        np.testing.assert_allclose(script(network, z[0], label), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("way", [None, "concat", "projection"])
@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan", "dcgan", "dcgan64", "resnet"])
def test_the_script_computes_the_generators_of_all_systems(script, name, way):
    known = {} if way is None else {"classes": 3, "conditional": way}
    sizes = {"g_hidden": (6, 5)} if name in ("mlp", "mlp_conv", "lsgan") else {"width": 2}
    generator, _ = getattr(models, name)((16, 8, 3), noise_dim=5, rng=1, **sizes, **known)
    require_same(script, shaken(generator), 5, (0,) if way is None else (0, 1, 2))


@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    transposed=st.booleans(),
    padding=st.sampled_from(["same", "valid"]),
    bias=st.booleans(),
    size=st.tuples(st.integers(5, 7), st.integers(5, 7)),
)
def test_the_script_computes_any_convolution(script, kernel, stride, transposed, padding, bias, size):
    kind = ConvTranspose2D if transposed else Conv2D
    first = (Dense(3, 2 * size[0] * size[1], rng=0), Reshape(*size, 2))
    network = Sequential(*first, kind(2, 3, kernel, stride=stride, padding=padding, bias=bias, rng=1))
    require_same(script, shaken(network), 3)


@pytest.mark.parametrize(
    "between",
    [
        *([activation] for activation in (ReLU(), LeakyReLU(0.3), ELU(0.7), SiLU(), Softplus(), Tanh(), Sigmoid())),
        [Upsample(2)],
        [Upsample(3, mode="bilinear")],
        [PixelShuffle(2)],
        [Dropout(0.5), BatchNorm(4)],
        [SpectralNorm(Conv2D(4, 4, 3, rng=0))],
        [Sequential(Conv2D(4, 4, 1, rng=0), Tanh())],
        [Residual(Conv2D(4, 4, 3, rng=0), Tanh(), Conv2D(4, 4, 1, rng=1))],
        [Add(Conv2D(4, 2, 1, rng=0), Conv2D(4, 2, 3, rng=1), Conv2D(4, 2, 5, rng=2))],
        [Concat(Conv2D(4, 2, 1, rng=0), Conv2D(4, 3, 3, rng=1))],
        [Flatten(), Dense(80, 7, rng=0)],
    ],
    ids=lambda row: " ".join(type(layer).__name__ for layer in row),
)
def test_the_script_computes_every_layer_that_the_page_takes(script, between):
    network = Sequential(Dense(3, 80, rng=4), Reshape(5, 4, 4), *between)
    require_same(script, shaken(network), 3)


def test_what_the_page_cannot_compute_is_refused_by_name(tmp_path):
    out = tmp_path / "page.html"

    def row(*more):
        return Sequential(Dense(3, 16, rng=0), Reshape(2, 2, 4), *more)

    refused = [
        (row(GroupNorm(2, 4), Conv2D(4, 1, 1)), {}, ArgumentError, "GroupNorm\\(2, 4\\) has no counterp"),
        (row(), {}, ShapeError, "it makes \\(2, 2, 4\\)"),
        (Sequential(Dense(3, 4)), {}, ShapeError, "it makes \\(4,\\)"),
        (Sequential(LeakyReLU(), Reshape(2, 2, 1)), {}, ShapeError, "of how many numbers of noise"),
        ("G", {}, ArgumentError, "expected a tinygan.Sequential, got str"),
        (models.mlp((4, 4, 1))[0], {"low": 1.0}, ArgumentError, "low must be below high"),
        (models.mlp((4, 4, 1))[0], {"high": np.inf}, ArgumentError, "both finite"),
        (models.mlp((4, 4, 1))[0], {"classes": ["a"]}, ArgumentError, "G knows 0 classes, but classes"),
        (models.mlp((4, 4, 1))[0], {"input_shape": 100}, ShapeError, "Give input_shape=\\(100,\\)"),
        (models.mlp((4, 4, 1))[0], {"beside": {"it": lambda z, _: z}}, ShapeError, "it: expected finite images"),
        (Halved(*(layer.copy() for layer in models.mlp((4, 4, 1))[0].layers)), {}, ArgumentError, "has no counterpart"),
    ]
    for generator, options, error, match in refused:
        with pytest.raises(error, match=match):
            interchange.export_page(generator, out, **options)
    with pytest.raises(CheckpointError, match="cannot be written"):
        interchange.export_page(models.mlp((4, 4, 1))[0], tmp_path / "none" / "page.html")
    assert not list(tmp_path.iterdir())


class Halved(Sequential):
    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return 0.5 * y, passed


@pytest.mark.parametrize("way", [None, "concat", "projection"])
def test_other_programs_make_the_same_images(way):
    known = {} if way is None else {"classes": 3, "conditional": way}
    generator, _ = models.dcgan((8, 12, 3), noise_dim=5, width=2, rng=1, **known)
    z, labels = np.random.default_rng(0).standard_normal((4, 5), dtype=np.float32), np.array([2, 0, 1, 2])
    labels = None if way is None else labels
    found = elsewhere(shaken(generator), 5)
    assert ("PyTorch" in found) == (find_spec("torch") is not None)
    assert ("onnxruntime" in found) == all(map(find_spec, ("onnx", "onnxruntime")))
    for make in found.values():
        np.testing.assert_allclose(make(z, labels), generate(generator, z, labels), rtol=1e-4, atol=2e-5)


def page_of(tmp_path, way="projection", **options):
    known = {} if way is None else {"classes": 3, "conditional": way}
    generator, _ = models.dcgan((8, 12, 3), noise_dim=5, width=2, rng=1, **known)
    interchange.export_page(shaken(generator), tmp_path / "page.html", (5,), **options)
    return tmp_path / "page.html"


def test_the_page_is_one_file_that_asks_no_network_and_runs_no_text_of_others(tmp_path):
    text = page_of(tmp_path, title="<b>", about="$a<i>", classes=["</script><i>", "$b", "c"]).read_text("utf-8")
    assert not re.search(r"(src|href)=|https?:|url\(|import\(|fetch\(", text)
    assert "<b>" not in text
    assert "<i>" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert page_of(tmp_path).read_bytes() == page_of(tmp_path).read_bytes()


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("way", [None, "concat", "projection"])
def test_a_browser_shows_the_images_that_python_made(tmp_path, way):
    def same(z, labels):
        return np.zeros((len(z), 8, 12, 3), np.float32) + 0.25

    options = "--headless --no-sandbox --disable-gpu --virtual-time-budget=4000 --dump-dom --enable-logging=stderr"
    found = []
    for beside in ({}, {"something else": same}):
        path = page_of(tmp_path, way, beside=beside, classes=["x & y", "two", "three"] if way else ())
        call = [BROWSER, *options.split(), f"--user-data-dir={tmp_path / 'browser'}", path.as_uri()]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr, done.stderr
        found.append(float(re.search(r'data-worst="([^"]+)"', done.stdout)[1]))
        assert done.stdout.count("<canvas") == 3 + len(beside)
        assert ("x &amp; y" in done.stdout) == (way is not None)
        assert "ms for this image" in done.stdout
    assert found[0] < 1e-5
    assert found[1] > 0.1  # what is another image is seen to be


CLICKS = """<script>addEventListener("load", () => setTimeout(() => {
  const image = document.getElementById("image"), seen = () => image.toDataURL(), out = document.body.dataset;
  const key = (key, more) => image.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, ...more }));
  let before = seen(); document.querySelectorAll("#labels button")[1].click(); out.label = before !== seen();
  before = seen(); key("ArrowRight"); out.key = before !== seen();
  before = seen(); key("ArrowLeft", { altKey: true }); out.browsers = before === seen();
  out.length = Math.hypot(...here); for (let i = 0; i < 50; i++) key("ArrowRight"); out.same = Math.hypot(...here);
  before = seen(); key(" "); out.renewed = before !== seen();
  document.getElementById("walk").click(); out.walks = walking > 0; document.getElementById("walk").click();
  out.stops = walking === 0; out.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
  const row = document.querySelector("#rows canvas");
  const dots = row.getContext("2d").getImageData(0, 0, row.width, row.height);
  out.pixels = Array.from(dots.data).join(" ");
}, 500));</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_page_does_what_it_says(tmp_path, low):
    path = page_of(tmp_path, low=low)
    path.write_text(path.read_text("utf-8").replace("</body>", CLICKS), "utf-8")
    options = "--headless --no-sandbox --disable-gpu --virtual-time-budget=8000 --dump-dom --window-size=500,900"
    call = [BROWSER, *options.split(), f"--user-data-dir={tmp_path / 'browser'}", path.as_uri()]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True).stdout
    found = dict(re.findall(r'data-(label|key|browsers|renewed|walks|stops|fits|length|same|pixels)="([^"]+)"', done))
    for what in ("label", "key", "browsers", "renewed", "walks", "stops", "fits"):
        assert found[what] == "true", what
    assert float(found["same"]) == pytest.approx(float(found["length"]), rel=1e-4)
    generator = shaken(models.dcgan((8, 12, 3), noise_dim=5, width=2, rng=1, classes=3)[0])
    z = np.random.default_rng(0).standard_normal((8, 5), dtype=np.float32)
    images = generate(generator, z, in_turn(8, np.full(3, 1 / 3)))
    shown = np.array(found["pixels"].split(), int).reshape(8, 8, 12, 4)[..., :3].transpose(1, 0, 2, 3)
    expected = np.clip((images - low) / (1.0 - low) * 255, 0, 255)
    assert np.abs(shown - expected).max() <= 1.0


def test_a_generator_told_of_classes_keeps_what_it_was_told(tmp_path):
    generator, _ = models.mlp((4, 4, 1), classes=3)
    layers.set_labels(generator, np.array([2]))
    interchange.export_page(generator, tmp_path / "page.html")
    assert generator.layers[2].labels.tolist() == [2]
