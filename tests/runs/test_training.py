"""The training loop: what a run leaves behind, what stops it, and what it shows."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

import tinygan
from tinygan import checkpoints, plotting
from tinygan.backends import get_ops
from tinygan.data import epoch_order
from tinygan.errors import BackendError, NonFiniteError
from tinygan.runs.folder import Run
from tinygan.runs.state import state
from tinygan.runs.training import train
from tinygan.testing.device import count_syncs

OUTPUT = {
    "checkpoint.safetensors",
    "config.json",
    "film.gif",
    "losses.csv",
    "losses.png",
    "real.png",
    "samples.png",
    "samples/step_000000.png",
    "samples/step_000004.png",
    "samples/step_000008.png",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("whole") / "run", **STEPS)


# ---- what a run leaves behind --------------------------------------------------------------------------------------


def test_output(whole):
    assert contents(whole).keys() == OUTPUT
    with open(whole / "losses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 12))
    assert [int(row["epoch"]) for row in rows] == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]  # 37 // 8 = 4 steps an epoch
    arrays, about = checkpoints.read(whole / "checkpoint.safetensors")
    assert about["step"] == 11
    for row, (d, g) in zip(rows, arrays["losses"], strict=True):
        assert (float(row["d_loss"]), float(row["g_loss"])) == pytest.approx((d, g), rel=1e-5)
    config = json.loads((whole / "config.json").read_text())
    assert config["run"]["batch_size"] == 8
    assert config["run"]["data"]["shape"] == [37, 6, 6, 1]
    assert "Dense(4, 8)" in "".join(config["generator"])
    assert config["versions"]["tinygan"] == tinygan.__version__
    with Image.open(whole / "film.gif") as film:
        assert film.n_frames == 4  # steps 0, 4, 8 and 11


def test_the_same_run_twice_gives_the_same_bytes(whole, tmp_path):
    assert_same_files(train(small_gan(), small_data(), out=tmp_path / "again", **STEPS), whole)


def test_another_seed_gives_another_run(whole, tmp_path):
    other = train(small_gan(seed=1), small_data(), out=tmp_path / "other", seed=1, **STEPS)
    a, b = contents(other), contents(whole)
    assert all(a[name] != b[name] for name in OUTPUT)  # real.png, too: other images are chosen


def test_the_loop_is_gan_step_over_shuffled_epochs(whole):
    """A loop of five lines, written independently, ends with the same weights."""
    gan, data = small_gan(), small_data()
    for t in range(11):
        epoch, k = divmod(t, 4)
        gan.step(data.batch(epoch_order(37, seed=0, epoch=epoch)[8 * k : 8 * k + 8]))
    arrays, _ = checkpoints.read(whole / "checkpoint.safetensors")
    for key, array in state(gan)[0].items():
        np.testing.assert_array_equal(arrays[key], array, err_msg=key)


def test_epochs_and_d_steps(tmp_path):
    gan, seen = small_gan(d_steps=2), []
    original, gan.step = gan.step, lambda real, **options: (seen.append(len(real)), original(real, **options))[1]
    train(gan, small_data(), out=tmp_path / "run", epochs=3, batch_size=8, progress=False)
    assert seen == [16] * 6  # 37 // 16 = 2 steps an epoch, three epochs


def test_real_images_are_shown_beside_the_samples(whole, tmp_path):
    """Each once, and none of them mirrored; 37 images leave 27 of 64 places empty."""
    with Image.open(whole / "real.png") as real, Image.open(whole / "samples.png") as samples:
        assert real.size == samples.size
        shown = np.asarray(real)[::2, ::2]
    tiles = [shown[i : i + 6, j : j + 6] for i in range(2, 66, 8) for j in range(2, 66, 8)]
    data = small_data()
    found = [np.flatnonzero((data.images[..., 0] == tile).all(axis=(1, 2))).tolist() for tile in tiles]
    assert sorted(found[:37]) == [[i] for i in range(37)]
    assert not np.any(tiles[37:])
    mirrored = train(small_gan(), small_data(mirror=True), out=tmp_path / "run", **{**STEPS, "steps": 1})
    assert (mirrored / "real.png").read_bytes() == (whole / "real.png").read_bytes()


def test_real_images_are_drawn_once_or_where_they_are_missing(whole, tmp_path):
    out, steps = tmp_path / "run", {**STEPS, "steps": 5}
    train(small_gan(), small_data(), out=out, **steps)
    (out / "real.png").write_bytes(b"mine")
    train(small_gan(), small_data(), out=out, resume=True, **{**STEPS, "steps": 7})
    assert (out / "real.png").read_bytes() == b"mine"
    (out / "real.png").unlink()
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    assert_same_files(out, whole)
    train(small_gan(), small_data(seed=1), out=out, overwrite=True, **STEPS)
    assert (out / "real.png").read_bytes() != (whole / "real.png").read_bytes(), "those of the run before are gone"


def test_pictures_show_the_averaged_generator_in_the_range_asked_for(tmp_path):
    gan = small_gan()
    folder = train(gan, small_data(), out=tmp_path / "run", low=0.0, high=1.0, **STEPS)
    z = Run(tmp_path / "other", gan, small_data(), batch_size=8, seed=0).shown.noise
    expected = plotting.grid(gan.average.network(z), low=0.0, high=1.0)
    with Image.open(folder / "samples.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_device_is_read_only_now_and_then(tmp_path):
    """The stand-in for a GPU: the same run, and steps between two looks do not wait."""
    gan = small_gan().to(get_ops("standin"))
    with count_syncs() as syncs:
        folder = train(gan, small_data(), out=tmp_path / "run", steps=49, batch_size=8, progress=False)
    pictures_and_checkpoints = 60  # and one more for the losses of all steps
    assert syncs.count < pictures_and_checkpoints
    host = train(small_gan(), small_data(), out=tmp_path / "host", steps=49, batch_size=8, progress=False)
    ours, theirs = (np.loadtxt(f / "losses.csv", delimiter=",", skiprows=1) for f in (folder, host))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


# ---- what is not finite --------------------------------------------------------------------------------------------


def poisoned(gan, step):
    """A GAN that gets a NaN into a weight of D right before a step."""
    original = gan.step

    def poisoned_step(real, **options):
        if gan.t + 1 == step:
            gan.discriminator.theta[0] = float("nan")
        return original(real, **options)

    gan.step = poisoned_step
    return gan


def test_a_nan_stops_the_run_and_the_last_checkpoint_is_kept(tmp_path):
    out = tmp_path / "run"
    message = r"step 8: .*D's layer 1 Dense.*checkpoint of step 6 is kept, .*checkpoint\.safetensors: .*--resume --lr"
    with pytest.raises(NonFiniteError, match=message):
        train(poisoned(small_gan(), 8), small_data(), out=out, **STEPS)
    arrays, about = checkpoints.read(out / "checkpoint.safetensors")
    assert about["step"] == 6
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert len((out / "losses.csv").read_text().splitlines()) == 1 + 7
    train(small_gan(lr=1e-4), small_data(), out=out, resume=True, **STEPS)  # as the message says
    _, about = checkpoints.read(out / "checkpoint.safetensors")
    assert about["step"] == 11


def test_on_numpy_the_step_is_exact(tmp_path):
    """Every step is looked at, so there is no talk of looks."""
    with pytest.raises(NonFiniteError, match=r"^step 7: ") as caught:
        train(poisoned(small_gan(), 7), small_data(), out=tmp_path, **{**STEPS, "sample_every": 20})
    assert "last look" not in str(caught.value)


def test_on_a_device_a_nan_is_found_at_the_next_look_and_never_saved(tmp_path):
    out, gan = tmp_path / "run", small_gan().to(get_ops("standin"))
    message = r"step 9: .* This was found at step 9; the last look was at step 6\. The checkpoint of step 6 is kept"
    with pytest.raises(NonFiniteError, match=message):
        train(poisoned(gan, 7), small_data(), out=out, **{**STEPS, "sample_every": 20})
    arrays, _ = checkpoints.read(out / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_device_whose_memory_is_full_says_so_in_one_line(tmp_path):
    gan = small_gan().to(get_ops("standin"))

    def step(real, **options):
        raise MemoryError("Out of memory allocating 3,221,225,472 bytes (allocated so far: 1 bytes).")

    gan.step = step
    with pytest.raises(BackendError, match=r"the memory of the GPU \(a stand-in.*full: 3,072 MB more.*--batch-size"):
        train(gan, small_data(), out=tmp_path / "device", **STEPS)
    gan = small_gan()
    gan.step = step
    with pytest.raises(MemoryError, match="Out of memory"):  # on the host that is no matter of a device
        train(gan, small_data(), out=tmp_path / "host", **STEPS)


def test_importing_the_wing_loads_nothing_heavy():
    """Pictures, files and bars come when they are needed, and what a GPU or several processes need, only then."""
    code = "import sys, tinygan.runs.commandline, tinygan; tinygan.runs.train; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert "tinygan.runs.training" in loaded
    assert not loaded & {"matplotlib", "PIL", "tqdm", "safetensors", "filelock", "cupy", "mpi4py", "pooch"}


# ---- progress ------------------------------------------------------------------------------------------------------


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path, capfd):
    train(small_gan(), small_data(), out=tmp_path / "run", **{**STEPS, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 3/3  step 11/11  D " in err
    assert "images/s" in err
    assert "\r" not in err


def test_progress_is_a_bar_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(small_gan(), small_data(), out=tmp_path / "run", **{**STEPS, "progress": True})
    err = capsys.readouterr().err
    assert "\r" in err
    assert "epoch 3/3  step 11/11  D " in err
    assert "images/s" in err
    assert "left" in err


def test_no_progress_is_silence(tmp_path, capfd):
    train(small_gan(), small_data(), out=tmp_path / "run", **STEPS)
    assert capfd.readouterr() == ("", "")
