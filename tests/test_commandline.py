"""The flags, and the example from its command line to its pictures; what is wrong comes out in one line."""

import json
import os
import re
import runpy
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygan import checkpoints
from tinygan.commandline import LOSSES, Recipe, data_options, launch, make_parser, parse

EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist_mlp_gan.py"
RECIPE = Recipe(name="gan", epochs=3, lr=5e-4)


def flags_of(*argv):
    return parse(make_parser("A GAN.", RECIPE), RECIPE, [str(a) for a in argv])


@pytest.fixture
def images(tmp_path):
    """An IDX file of 300 images, 28 x 28."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes())
    return path


@pytest.fixture(scope="module")
def example():
    """Run the example in this process, with narrow networks: example(argument, ...) returns the exit code."""
    module = runpy.run_path(str(EXAMPLE))
    module["main"].__globals__.update(G_HIDDEN=(8,), D_HIDDEN=(8,))

    def run(*argv):
        try:
            launch(module["main"], module["__doc__"], module["RECIPE"], [str(a) for a in argv])
        except SystemExit as ending:
            return ending.code
        return 0

    return run


# ---- flags ---------------------------------------------------------------------------------------------------------


def test_defaults_are_the_recipe():
    flags = flags_of()
    assert (flags.epochs, flags.steps) == (3, None)
    for name in ("lr", "batch_size", "loss", "average", "beta1", "beta2", "data", "sample_every", "checkpoint_every"):
        assert getattr(flags, name) == getattr(RECIPE, name)
    assert flags.out == Path("runs/gan")


def test_steps_replace_epochs():
    flags = flags_of("--steps", 5)
    assert (flags.epochs, flags.steps) == (None, 5)


BAD_FLAGS = [
    ("--epochs 0", "argument --epochs: expected a whole number of at least 1, got '0'"),
    ("--epochs -3", "argument --epochs: expected a whole number of at least 1, got '-3'"),
    ("--epochs 1.5", "argument --epochs: expected a whole number of at least 1, got '1.5'"),
    ("--steps many", "argument --steps: expected a whole number of at least 1, got 'many'"),
    ("--epochs 1 --steps 1", "argument --steps: not allowed with argument --epochs"),
    ("--batch-size 0", "argument --batch-size: expected a whole number of at least 1, got '0'"),
    ("--lr 0", "argument --lr: expected a positive number, got '0'"),
    ("--lr nan", "argument --lr: expected a positive number, got 'nan'"),
    ("--lr inf", "argument --lr: expected a positive number, got 'inf'"),
    ("--d-lr fast", "argument --d-lr: expected a positive number, got 'fast'"),
    ("--beta1 1", "argument --beta1: expected a number in [0, 1), got '1'"),
    ("--beta2 -0.1", "argument --beta2: expected a number in [0, 1), got '-0.1'"),
    ("--loss hinge", "argument --loss: invalid choice: 'hinge' (choose from"),
    ("--real-label 0", "argument --real-label: expected a number in (0, 1], got '0'"),
    ("--real-label 1.1", "argument --real-label: expected a number in (0, 1], got '1.1'"),
    ("--clip-norm 0", "argument --clip-norm: expected a positive number, got '0'"),
    ("--d-steps 0", "argument --d-steps: expected a whole number of at least 1, got '0'"),
    ("--average 1", "argument --average: expected a number in [0, 1), got '1'"),
    ("--seed -1", "argument --seed: expected a whole number of at least 0, got '-1'"),
    ("--backend torch", "argument --backend: invalid choice: 'torch' (choose from"),
    ("--sample-every 0", "argument --sample-every: expected a whole number of at least 1"),
    ("--checkpoint-every x", "argument --checkpoint-every: expected a whole number of at least 1"),
    ("--size 0", "argument --size: expected a whole number of at least 1, got '0'"),
    ("--channels 2", "argument --channels: invalid choice: 2 (choose from"),
    ("--fit stretch", "argument --fit: invalid choice: 'stretch' (choose from"),
    ("--resume --overwrite", "argument --overwrite: not allowed with argument --resume"),
    ("--epoch 3", "unrecognized arguments: --epoch 3"),
    ("surplus", "unrecognized arguments: surplus"),
    ("--out", "argument --out: expected one argument"),
]


@pytest.mark.parametrize(("line", "message"), BAD_FLAGS, ids=[line for line, _ in BAD_FLAGS])
def test_bad_flags(line, message, example, capsys):
    assert example(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_help_is_worth_reading(example, capsys):
    assert example("--help") == 0
    text = capsys.readouterr().out
    for word in ("python examples/mnist_mlp_gan.py", "L_D = ", "minutes", "film.gif", "interruptions", *LOSSES):
        assert word in text, word
    for flag in vars(flags_of()):
        assert f"--{flag.replace('_', '-')}" in text
    assert "None" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_every_default_stands_in_the_help():
    text = " ".join(make_parser("A GAN.", RECIPE).format_help().split())
    for name in (
        "epochs",
        "lr",
        "batch_size",
        "loss",
        "average",
        "beta1",
        "beta2",
        "data",
        "fit",
        "sample_every",
        "checkpoint_every",
    ):
        assert re.search(rf"--{name.replace('_', '-')} [^-]*[^(]*\({re.escape(str(getattr(RECIPE, name)))}", text), name


def test_shapes_of_images_are_the_recipes_or_as_they_are():
    assert data_options(flags_of()) == {"size": None, "channels": None, "fit": "crop", "mirror": False}
    recipe = Recipe(name="gan", epochs=3, lr=5e-4, size=28, channels=1)
    flags = parse(make_parser("A GAN.", recipe), recipe, ["--channels", "3", "--fit", "letterbox", "--mirror"])
    assert data_options(flags) == {"size": 28, "channels": 3, "fit": "letterbox", "mirror": True}
    assert "(as they are)" in make_parser("A GAN.", RECIPE).format_help()
    assert "(28)" in make_parser("A GAN.", recipe).format_help()


@pytest.mark.skipif("CUDA_VISIBLE_DEVICES" in os.environ, reason="there may be a GPU")
def test_backend_auto_takes_what_there_is(capsys):
    flags = flags_of("--backend", "auto")
    if flags.backend == "numpy":
        assert "backend auto: the CPU, since" in capsys.readouterr().err


# ---- the example ---------------------------------------------------------------------------------------------------


def test_the_example_from_its_command_line(tmp_path):
    """In a folder of its own, on digits drawn by tinygan, with all output checked."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--data", "digits", "--steps", "20", "--sample-every", "10"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "60,000 embedded digits" in ended.stdout
    assert "Dense(512, 1024)" in ended.stdout
    assert re.search(r"step 20/20  D \d\.\d+  G \d\.\d+  [\d,]+ images/s", ended.stderr)
    folder = tmp_path / "runs" / "mnist_mlp_gan"
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    frames = {f"samples/step_{t:06d}.png" for t in (0, 10, 20)}
    others = {"config.json", "losses.csv", "losses.png", "film.gif", "samples.png", "checkpoint.safetensors"}
    assert found == frames | others
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["data"] == "digits"
    assert config["run"]["data"]["shape"] == [60000, 28, 28, 1]
    arrays, about = checkpoints.read(folder / "checkpoint.safetensors")
    assert about["step"] == 20
    assert arrays["losses"].shape == (20, 2)
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (484, 484)
        assert np.asarray(picture).std() > 20


def test_resume_takes_what_is_not_said_from_the_run(tmp_path, example, images):
    out = tmp_path / "run"
    first = ["--data", images, "--out", out, "--batch-size", 16, "--loss", "leastsquares", "--seed", 4]
    assert example(*first, "--steps", 4) == 0
    assert example("--resume", "--out", out, "--steps", 6) == 0  # longer
    assert example(*first, "--steps", 6, "--out", tmp_path / "whole") == 0
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(out)).read_bytes(), path
    assert example("--resume", "--out", out) == 0  # it is finished already, which is no error
    assert example("--resume", "--out", out, "--steps", 7, "--lr", "1e-5") == 0
    assert json.loads((out / "config.json").read_text())["settings"]["lr"] == 1e-5


@pytest.mark.parametrize(
    ("flags", "shape"),
    [([], [5, 28, 28, 1]), (["--size", 12, "--channels", 3, "--fit", "letterbox", "--mirror"], [5, 12, 12, 3])],
    ids=["as in the recipe", "as in the flags"],
)
def test_a_folder_of_pictures(tmp_path, example, monkeypatch, flags, shape):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    folder, out = tmp_path / "photos", tmp_path / "run"
    folder.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + i, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    run = ["--out", out, "--batch-size", 4]
    assert example("--data", folder, *flags, *run, "--steps", 1) == 0
    about = json.loads((out / "config.json").read_text())["run"]["data"]
    assert (about["shape"], about["mirrored"]) == (shape, "--mirror" in flags)
    assert example("--resume", *run, "--steps", 2) == 0, "the flags of the data come back with the run"


def test_ctrl_c(tmp_path, images):
    command = [sys.executable, str(EXAMPLE), "--data", str(images), "--out", str(tmp_path / "run"), "--epochs", "999"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "samples.png").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on" in err
    assert "Traceback" not in err
    _, about = checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")
    assert f"stopped at step {about['step']} of" in err


def finished_run(folder, example, images):
    assert example("--data", images, "--out", folder, "--steps", 1, "--batch-size", 4) == 0
    return folder / "checkpoint.safetensors"


def _cut(path):
    path.write_bytes(path.read_bytes()[:10_000])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)


def _grow(path):
    with open(path, "r+b") as file:
        file.truncate((4 << 30) + 1)  # sparse: takes no room


BAD_CHECKPOINTS = {
    "gone": (Path.unlink, "there is no checkpoint to go on from. Start without --resume"),
    "empty": (lambda path: path.write_bytes(b""), "is no checkpoint, or a damaged one"),
    "cut short": (_cut, "is no checkpoint, or a damaged one"),
    "garbage": (lambda path: path.write_bytes(bytes(range(256)) * 99), "is no checkpoint, or a damaged one"),
    "a bit flipped": (_flip, "its contents do not match their checksum"),
    "too large": (_grow, "is more than the 4,294,967,296 that are read at most"),
    "foreign": (lambda path: checkpoints.write(path, {"x": np.zeros(3)}, {"kind": "song"}), "holds a song, not a"),
}


@pytest.mark.parametrize("what", BAD_CHECKPOINTS)
def test_bad_checkpoints(what, tmp_path, example, images, capsys):
    spoil, message = BAD_CHECKPOINTS[what]
    spoil(finished_run(tmp_path / "run", example, images))
    capsys.readouterr()
    assert example("--resume", "--out", tmp_path / "run", "--steps", 2) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "checkpoint.safetensors: " in err
    assert message in err
    assert err.count("\n") == 1


BAD_RUNS = {
    "no such data": (["--data", "nowhere"], "data 'nowhere': neither a name"),
    "a batch too large": (["--batch-size", 301], "a batch of 301 is larger than the data, which has 300 images"),
    "a batch too large with d_steps": (["--batch-size", 151, "--d-steps", 2], "a batch of 302 is larger than the data"),
    "out is a file": (["--out", "images-idx3-ubyte"], "images-idx3-ubyte: the output folder cannot be written"),
    "out lies in a file": (["--out", "images-idx3-ubyte/run"], "the output folder cannot be written"),
    "the run is there": (["--out", "run"], "run holds a run of 1 steps already. Go on with it (--resume"),
    "another batch": (["--out", "run", "--resume", "--batch-size", 5], "another batch_size: 4 then, 5 now"),
    "another loss": (["--out", "run", "--resume", "--loss", "minimax"], "another loss: NonSaturating"),
    "another label": (["--out", "run", "--resume", "--real-label", 0.9], "another loss: NonSaturating"),
    "another seed": (["--out", "run", "--resume", "--seed", 9], "another seed: 0 then, 9 now"),
    "another average": (["--out", "run", "--resume", "--average", 0], "then, 0.0 now"),
    "too late": (["--out", "run", "--resume"], "is at step 2 already, beyond the 1 asked for"),
}


@pytest.mark.parametrize("what", BAD_RUNS)
def test_bad_runs(what, tmp_path, example, images, capsys, monkeypatch):
    argv, message = BAD_RUNS[what]
    monkeypatch.chdir(tmp_path)
    if "run" in argv:
        finished_run(tmp_path / "run", example, images)
        if what == "too late":
            assert example("--out", "run", "--resume", "--steps", 2) == 0
    data = [] if "--data" in argv or "--resume" in argv else ["--data", images]
    capsys.readouterr()
    assert example(*data, "--steps", 1, *argv) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_divergence_is_told_with_the_way_on(tmp_path, example, images, capsys):
    assert example("--data", images, "--out", tmp_path / "run", "--steps", 40, "--lr", "1e30", "--batch-size", 4) == 1
    err = capsys.readouterr().err
    assert "error: step " in err
    assert "layer" in err
    assert "The checkpoint of step 0 is kept" in err
    assert "--resume --lr" in err
    assert example("--resume", "--out", tmp_path / "run", "--steps", 3, "--lr", "1e-4") == 0


def test_a_full_disk_is_told_in_one_line(tmp_path, example, images, capsys, monkeypatch):
    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_full)
    assert example("--data", images, "--out", tmp_path / "run", "--steps", 3, "--batch-size", 4) == 1
    assert capsys.readouterr().err.endswith("cannot be written (No space left on device).\n")


def test_interrupted_before_training(capsys):
    def main(flags):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ending:
        launch(main, "A GAN.", RECIPE, [])
    assert ending.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
