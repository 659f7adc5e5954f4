"""The program ``tinygan``: each command as a user types it, what it answers to programs, and how it refuses."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from support.small_runs import STEPS, small_data, small_gan

from tinygan import checkpoints, metrics, models
from tinygan.command import commands, examples, run_commands
from tinygan.command.main import COMMANDS, main
from tinygan.data import ImageData, load
from tinygan.runs import load_trained
from tinygan.runs.training import train

LAYERS = '''
import numpy as np
from tinygan.layers import Layer

class Twice(Layer):
    """Right."""
    def apply(self, x, train):
        return 2.0 * x, None
    def gradients(self, cache, dy):
        return 2.0 * dy, {}

class Scale(Layer):
    """Wrong: the scale is missing in dx."""
    def __init__(self, c, by=2.0):
        super().__init__()
        self.add_param("gamma", np.full(c, by))
    def apply(self, x, train):
        return x * self.params["gamma"], x
    def gradients(self, x, dy):
        return dy, {"gamma": (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)}

made = Twice()
number = 3
'''


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("plain") / "run", **STEPS)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=3)
    gan = models.ConditionalGAN(*networks, noise_dim=4)
    data = ImageData(small_data().images, np.arange(37) % 3, name="small", classes=("cat", "dog", "emu"))
    return train(gan, data, out=tmp_path_factory.mktemp("known") / "run", **STEPS)


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(LAYERS)
    return tmp_path / "mine.py"


def says(capsys, *argv):
    main([str(word) for word in argv])
    return capsys.readouterr().out


def as_json(capsys, *argv):
    return json.loads(says(capsys, *argv, "--json"))


def refuses(capsys, code, *argv):
    with pytest.raises(SystemExit) as ending:
        main([str(word) for word in argv])
    assert ending.value.code == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


# ---- what there is ---------------------------------------------------------------------------------------------------


def test_the_help_names_every_command_and_system(capsys):
    text = says(capsys, "--help")
    assert text == says(capsys)
    for name in (*COMMANDS, *(system.name for system in examples.SYSTEMS)):
        assert name in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_every_command_has_a_help_of_its_own_and_answers_programs(name, capsys):
    with pytest.raises(SystemExit) as ending:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert ending.value.code == 0
    assert f"usage: tinygan {name}" in text
    assert "--json" in text or name == "explore"  # which prints what its pictures say
    assert any(hasattr(module, f"{name}_command") for module in (commands, run_commands))


def test_versions(capsys):
    import tinygan

    assert says(capsys, "--version") == f"tinygan {tinygan.__version__}\n"


def test_systems(capsys):
    found = as_json(capsys, "systems")
    assert [system["name"] for system in found] == ["mlp", "mlp_conv", "lsgan", "dcgan", "dcgan64", "resnet"]
    text = says(capsys, "systems")
    for system in found:
        assert system["example"] in examples.names()
        assert system["name"] in text


def test_the_minutes_are_those_of_the_examples():
    for system in examples.SYSTEMS:
        text = (examples.folder() / f"{system.example}.py").read_text()
        assert f"{system.minutes} minutes" in text or f"about {system.minutes}" in text, system


def test_info(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGAN_DATA", str(tmp_path))
    found = as_json(capsys, "info")
    assert found["numpy"] == np.__version__
    assert found["TINYGAN_DATA"] == str(tmp_path)
    assert "numpy" in found["backend"] or "cupy" in found["backend"]
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / "train-images-idx3-ubyte.gz").touch()
    assert as_json(capsys, "info")["fashion"] == str(tmp_path / "fashion")
    monkeypatch.setenv("TINYGAN_DATA", str(tmp_path / "nowhere"))
    assert "there is no such folder" in as_json(capsys, "info")["mnist"]


def test_examples_are_copied_and_nothing_is_overwritten(capsys, tmp_path):
    assert "mnist_mlp_gan.py" in says(capsys, "examples")
    files = as_json(capsys, "examples", "copy", tmp_path / "mine")
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {f"{name}.py" for name in examples.names()}
    assert len(files) == len(examples.names())
    (tmp_path / "mine" / "dcgan.py").write_text("mine")
    assert "which is kept" in refuses(capsys, 1, "examples", "copy", tmp_path / "mine")
    assert (tmp_path / "mine" / "dcgan.py").read_text() == "mine"


# ---- training --------------------------------------------------------------------------------------------------------


def test_train_is_the_example(tmp_path, capfd):
    np.savez(tmp_path / "small.npz", images=small_data(40, size=8).images[..., 0])
    out = tmp_path / "run"
    flags = ["--data", tmp_path / "small.npz", "--size", 8, "--steps", 2, "--batch-size", 8, "--width", 2]
    flags += ["--judge", "none", "--out", out]
    before = list(sys.argv)
    main([str(word) for word in ("train", "mlp", *flags)])
    assert sys.argv == before
    assert load_trained(out).step == 2
    assert "Look at" in capfd.readouterr().out
    main([str(word) for word in ("train", "dcgan64", *flags, "--overwrite")])
    assert load_trained(out).settings["model"] == "dcgan64"


def test_the_help_of_a_system_is_called_as_it_was_typed(capsys):
    with pytest.raises(SystemExit):
        main(["train", "lsgan", "--help"])
    assert "usage: tinygan train lsgan" in capsys.readouterr().out


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_samples_as_a_picture_and_as_arrays(capsys, plain, known, tmp_path):
    answer = as_json(capsys, "sample", plain, "-n", 9, "--out", tmp_path / "new" / "some.png")
    assert answer == {"file": str(tmp_path / "new" / "some.png"), "images": 9, "shape": [6, 6, 1], "step": 11}
    with Image.open(tmp_path / "new" / "some.png") as picture:
        assert picture.size == (3 * 16 + 4, 3 * 16 + 4)
    says(capsys, "sample", plain, "-n", 5, "--seed", 3, "--out", tmp_path / "some.npy")
    images = np.load(tmp_path / "some.npy")
    run = load_trained(plain)
    made = run.sample(5, seed=3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.rint((made + 1.0) * 127.5).astype(np.uint8))
    says(capsys, "sample", known, "-n", 4, "--label", 2, "--out", tmp_path / "some.npz")
    with np.load(tmp_path / "some.npz") as file:
        assert file["labels"].tolist() == [2, 2, 2, 2]
        assert file["images"].shape == (4, 6, 6, 1)
    answer = as_json(capsys, "sample", known, "-n", 4, "--label", "emu", "--out", tmp_path / "named.npz")
    assert answer["classes"] == ["cat", "dog", "emu"]
    assert (tmp_path / "named.npz").read_bytes() == (tmp_path / "some.npz").read_bytes()
    says(capsys, "sample", plain, "-n", 4, "--out", tmp_path / "other.npz")
    with np.load(tmp_path / "other.npz") as file:
        assert file.files == ["images"]


def test_samples_that_cannot_be_had(capsys, plain, known, tmp_path):
    picture = tmp_path / "some.png"
    for argv, text in (
        ((plain, "--label", 1), "knows no classes"),
        ((known, "--label", 3), "--label 3: this run knows 3 classes, 0 to 2: cat, dog, emu"),
        ((known, "--label", "fox"), "--label fox: this run knows 3 classes"),
        ((tmp_path,), "there is no checkpoint"),
        ((plain, "--best"), "there are no best weights"),
    ):
        assert text in refuses(capsys, 1, "sample", *argv, "--out", picture)
    assert ".png, .npy or .npz, got" in refuses(capsys, 1, "sample", plain, "--out", tmp_path / "some.jpg")
    assert "whole number of at least 1" in refuses(capsys, 2, "sample", plain, "-n", 0)
    assert list(tmp_path.iterdir()) == []


def test_runs_in_one_table(capsys, plain, known, tmp_path):
    np.savez(tmp_path / "small.npz", images=small_data(60, seed=1).images[..., 0])
    argv = ["evaluate", plain, known, "--data", tmp_path / "small.npz", "--samples", 30]
    text = says(capsys, *argv)
    assert text.count("\n| ") == 3  # two runs and real images, below the head
    rows = as_json(capsys, *argv)
    assert [row["weights"] for row in rows] == ["last", "last", ""]
    assert rows[0]["features"].startswith("random convolutions")
    assert "small.npz" in rows[0]["beside"]
    judge = metrics.Judge(small_data(60, seed=1))
    assert rows[0]["frechet"] == pytest.approx(judge(load_trained(plain).sample(30)).frechet)
    assert "there is no checkpoint" in refuses(capsys, 1, "evaluate", tmp_path)
    assert "does not record what it learned from (small); say it: --data" in refuses(capsys, 1, "evaluate", plain)


def test_runs_are_judged_beside_what_they_learned_from_or_not_at_all(capsys, tmp_path):
    np.savez(tmp_path / "small.npz", images=small_data(60, seed=1).images[..., 0])
    out = train(small_gan(), load(tmp_path / "small.npz"), out=tmp_path / "run",
                settings={"data": str(tmp_path / "small.npz")}, **STEPS)  # fmt: skip
    assert "real images" in says(capsys, "evaluate", out, "--samples", 30)
    arrays, about = checkpoints.read(out / "checkpoint.safetensors")
    about["identity"]["data"]["name"] = "mnist"
    checkpoints.write(out / "checkpoint.safetensors", arrays, about)
    assert "learned from mnist, but" in refuses(capsys, 1, "evaluate", out, "--samples", 30)


def test_a_run_is_explored(capsys, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(examples, "run", lambda name, argv, program: given.append((name, argv, program)))
    main(["explore", str(tmp_path), "--quick", "--out", "here"])
    assert given == [("explore_run", [str(tmp_path), "--out", "here", "--quick"], "tinygan explore")]


def test_networks_are_exported(capsys, plain, known, tmp_path):
    answer = as_json(capsys, "export", plain, "--to", "npz", "--out", tmp_path / "new" / "g.npz")
    assert answer == {"file": str(tmp_path / "new" / "g.npz"), "network": "generator", "sample": [4], "step": 11}
    with np.load(tmp_path / "new" / "g.npz") as file:
        arrays = load_trained(plain).generator.state_arrays()
        assert arrays.keys() == set(file.files)
        assert all(np.array_equal(file[key], array) for key, array in arrays.items())
    assert "expected a name that ends in .npz" in refuses(capsys, 1, "export", plain, "--to", "npz", "--out", "g.onnx")
    refuses(capsys, 2, "export", plain)
    says(capsys, "export", known, "--to", "html", "--out", tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text("utf-8")
    assert "as tinygan made them with NumPy" in text
    assert ("as PyTorch did" in text) == (find_spec("torch") is not None)
    assert ("as onnxruntime did" in text) == (find_spec("onnx") is not None and find_spec("onnxruntime") is not None)
    argv = ["export", known, "--to", "html", "--network", "discriminator", "--out", tmp_path / "d.html"]
    assert "a page shows images" in refuses(capsys, 1, *argv)
    for package, to, suffix in (("onnx", "onnx", ".onnx"), ("torch", "pytorch", ".safetensors")):
        out = tmp_path / f"d{suffix}"
        argv = ["export", known, "--to", to, "--network", "discriminator", "--out", out]
        if find_spec(package):
            says(capsys, *argv)
            assert out.stat().st_size > 1000
        else:
            error = refuses(capsys, 1, *argv)
            assert f"No module named '{package}'" in error
            assert "pip install" in error
            assert not out.exists()


# ---- layers of one's own ---------------------------------------------------------------------------------------------


def test_a_right_layer_and_a_wrong_one(capsys, mine):
    assert "keeps the contract, and all gradients are right" in says(capsys, "check", f"{mine}:Twice")
    assert as_json(capsys, "check", f"{mine}:made", "--shape", "3,2,2,5")["shape"] == [3, 2, 2, 5]
    error = refuses(capsys, 1, "check", f"{mine}:Scale(4)")
    assert "dx is wrong" in error
    with pytest.raises(SystemExit) as ending:
        main(["check", f"{mine}:Scale(4, by=3.0)", "--json"])
    assert ending.value.code == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["right"]
    assert "dx is wrong" in answer["why"]


def test_layers_of_tinygan_may_be_named_in_the_file(capsys, tmp_path):
    (tmp_path / "all.py").write_text("from tinygan.layers import *\nfrom tinygan.layers import Embedding, Conv2D")
    for layer in ("Dense(3, 2)", "Embedding(4, 3)", "Conv2D(4, 2, 3)"):
        assert "all gradients are right" in says(capsys, "check", f"{tmp_path / 'all.py'}:{layer}")


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("{}:Scale", "Scale could not be made, TypeError.*Say its arguments"),
        ("{}:Scale('a')", "Are these its arguments"),
        ("{}:Nothing", "has no 'Nothing'; layers in it: Twice, Scale, made"),
        ("{}:number", "could not be made|is no tinygan Layer"),
        ("{}:Scale(open('x'))", "expected a name, or a call with plain values"),
        ("{}:", "expected FILE.py:LAYER"),
        ("{}", "expected FILE.py:LAYER|there is no such file"),
        ("nowhere.py:Scale", "there is no such file"),
    ],
)
def test_layers_that_cannot_be_found(capsys, mine, layer, text):
    import re

    assert re.search(text, refuses(capsys, 1, "check", layer.format(mine)))


def test_files_that_do_more_than_to_define_a_layer(capsys, tmp_path):
    (tmp_path / "beside.py").write_text("factor = 2.0")
    (tmp_path / "noisy.py").write_text(
        LAYERS.replace("import numpy", "import beside, numpy", 1).replace("2.0", "beside.factor") + "print('noise')"
    )
    before = list(sys.path)
    assert as_json(capsys, "check", f"{tmp_path / 'noisy.py'}:Twice")["right"]
    assert sys.path == before
    (tmp_path / "ends.py").write_text("import sys; sys.exit(0)")
    assert "cannot be run, SystemExit: 0" in refuses(capsys, 1, "check", f"{tmp_path / 'ends.py'}:Layer")
    quits = LAYERS.replace("return 2.0 * x, None", "raise SystemExit(0)")
    (tmp_path / "quits.py").write_text(quits)
    error = refuses(capsys, 1, "check", f"{tmp_path / 'quits.py'}:Twice", "--shape", "5,4")
    assert error.count("\n") == 1
    assert "SystemExit: 0" in error
    (tmp_path / "picky.py").write_text(LAYERS.replace("return x * self", "assert x.shape[-1] == 3; return x * self"))
    error = refuses(capsys, 1, "check", f"{tmp_path / 'picky.py'}:Scale(3)")
    assert "which samples does the layer take?" in error
    assert "--shape 5,28,28,1" in error
    assert "dx is wrong" in refuses(capsys, 1, "check", f"{tmp_path / 'picky.py'}:Scale(3)", "--shape", "5,3")


def test_a_file_that_cannot_be_run(capsys, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    assert "cannot be run, ZeroDivisionError" in refuses(capsys, 1, "check", f"{tmp_path / 'broken.py'}:Layer")
    (tmp_path / "fits.py").write_text("from tinygan.layers import Conv2D")
    error = refuses(capsys, 1, "check", f"{tmp_path / 'fits.py'}:Conv2D(3, 2, 3)", "--shape", "2,5")
    assert "got (N, 5)" in error
    assert "sizes of at least 1" in refuses(capsys, 2, "check", "x.py:Y", "--shape", "0,2")


# ---- the program -----------------------------------------------------------------------------------------------------


def test_what_there_is_not(capsys):
    assert "there is no command 'nonsense'; there are: train" in refuses(capsys, 2, "nonsense")
    assert "there is no system 'gan'; there are: mlp" in refuses(capsys, 2, "train", "gan")


def test_as_a_module_and_without_the_heavy_ones(tmp_path):
    code = "import sys, tinygan.command.main as m; m.main(['--help']); print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert not loaded & {"matplotlib", "PIL", "scipy", "cupy", "hypothesis", "safetensors", "tinygan.runs"}
    found = subprocess.run([sys.executable, "-m", "tinygan", "systems"], capture_output=True, text=True, check=True)
    assert "dcgan64" in found.stdout


def test_one_parser_has_all_that_a_shell_completes(tmp_path):
    from tinygan.command.completion import parser

    whole = parser()
    [commands] = whole._subparsers._group_actions
    assert commands.choices.keys() == COMMANDS.keys()
    [systems] = commands.choices["train"]._subparsers._group_actions
    assert list(systems.choices) == [system.name for system in examples.SYSTEMS]
    for of in systems.choices.values():
        assert "--conditional" in of.format_help()
    assert "--label" in commands.choices["sample"].format_help()
    assert systems.choices["dcgan64"].get_default("size") == 64
