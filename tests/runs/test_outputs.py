"""What stands in the way of a run's files costs these files, never the run: it is said once, and made up for later."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

from tinygan import checkpoints, plotting
from tinygan.errors import BackendError, CheckpointError, DataError, NonFiniteError
from tinygan.penalties import R1
from tinygan.runs import outputs
from tinygan.runs.commandline import launch
from tinygan.runs.recipe import Recipe
from tinygan.runs.training import train

CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting for files that nobody holds or for the disk, and curves that matplotlib need not draw."""
    monkeypatch.setattr(checkpoints, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(plotting, "save_loss_curves", lambda path, *_, **__: checkpoints.replace_file(path, b"curve"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed; its curves are those of :func:`quick`."""
    out = train(small_gan(), small_data(), out=tmp_path_factory.mktemp("whole") / "run", **STEPS)
    (out / "losses.png").write_bytes(b"curve")
    return out


def at(events, gan=None):
    """A GAN before whose step number t ``events[t]()`` happens."""
    gan = gan or small_gan()
    original = gan.step

    def step(real, **options):
        events.get(gan.t + 1, lambda: None)()
        return original(real, **options)

    gan.step = step
    return gan


def differing(folder, other):
    a, b = contents(folder), contents(other)
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


# ---- something else in a file's place --------------------------------------------------------------------------------

OUTPUTS = ["losses.csv", "losses.png", "samples.png", "real.png", "film.gif", "config.json"]
FRAMES = {f"samples/step_{t:06d}.png" for t in (0, 4, 8)}

#: what is in the way, whether it stays until the end, and what the run then lacks
OBSTACLE_ODDITIES = [
    *((name, True, {name}) for name in OUTPUTS if name != "config.json"),
    *((name, False, set()) for name in OUTPUTS if name != "config.json"),
    ("samples.png.part", True, {"samples.png"}),
    ("samples.png.part", False, set()),
    ("losses.csv.part", True, set()),  # it is added to
    ("samples", True, {"samples", "film.gif", *FRAMES}),
    ("samples", False, {"film.gif", *FRAMES - {"samples/step_000008.png"}}),
    ("checkpoint.safetensors", False, set()),
    ("checkpoint.safetensors.part", False, set()),
]


@pytest.mark.parametrize(("name", "stays", "lacks"), OBSTACLE_ODDITIES)
def test_an_obstacle_costs_what_it_stands_in_the_place_of(whole, tmp_path, capfd, name, stays, lacks):
    """A folder where a file belongs, or a file where a folder does, from step 2 on, to the end or until step 7."""
    place = tmp_path / "run" / name

    def block():
        if place.is_dir():
            shutil.rmtree(place)
            place.touch()
        else:
            place.unlink(missing_ok=True)
            place.mkdir()

    def clear():
        place.rmdir() if place.is_dir() else place.unlink(missing_ok=True)

    out = train(at({2: block} if stays else {2: block, 7: clear}), small_data(), out=place.parent, **STEPS)
    assert differing(out, whole) == lacks
    said = capfd.readouterr().err.splitlines()
    expected = 1 if lacks or name in ("losses.csv", "samples.png") or "checkpoint" in name else 0
    expected = 1 if name == "samples.png.part" else expected
    assert len(said) == expected, said
    assert all("Move away what is in its place" in line and "All else goes on" in line for line in said)


def test_a_configuration_that_could_not_be_written_at_first_is_made_up_for(whole, tmp_path, capfd):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json.part").mkdir()
    train(at({3: (out / "config.json.part").rmdir}), small_data(), out=out, **STEPS)
    assert_same_files(out, whole)
    assert "config.json: cannot be made (Is a directory: " in capfd.readouterr().err


@pytest.mark.parametrize("change", ["cut", "longer", "gone", "another"])
def test_losses_that_others_changed_are_written_anew(whole, tmp_path, change):
    table = tmp_path / "run" / "losses.csv"
    changes = {
        "cut": lambda: table.write_bytes(table.read_bytes()[:20]),
        "longer": lambda: table.write_bytes(table.read_bytes() + b"note\n"),
        "gone": table.unlink,
        "another": lambda: table.write_text("mine"),
    }
    train(at({6: changes[change]}), small_data(), out=tmp_path / "run", **STEPS)
    assert_same_files(tmp_path / "run", whole)


def test_a_folder_that_somebody_moved_away_is_made_again(whole, tmp_path, capfd):
    out = tmp_path / "run"
    train(at({6: lambda: shutil.rmtree(out)}), small_data(), out=out, **STEPS)
    assert differing(out, whole) == {"film.gif", "samples/step_000000.png", "samples/step_000004.png"}
    train(small_gan(), small_data(), out=out, resume=True, **{**STEPS, "steps": 12})


def test_an_overwritten_run_whose_files_cannot_be_removed(whole, tmp_path, capfd, monkeypatch):
    """Of the new run everything is made that can be; a folder of somebody's is not touched."""
    out = tmp_path / "run"
    train(small_gan(seed=3), small_data(), out=out, seed=3, **STEPS)
    (out / "losses.csv").unlink()
    (out / "losses.csv").mkdir()
    (out / "losses.csv" / "mine").touch()
    train(small_gan(), small_data(), out=out, overwrite=True, **STEPS)
    assert (out / "losses.csv" / "mine").exists()
    assert differing(out, whole) == {"losses.csv", "losses.csv/mine"}
    assert capfd.readouterr().err.count("losses.csv: cannot be made") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_run_is_not_overwritten_by_one_that_cannot_begin(whole, tmp_path, monkeypatch, number):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    failing(monkeypatch, CHECKPOINT, number, times=10**9)
    with pytest.raises(CheckpointError, match=r"cannot be written \(.*place\.$"):
        train(small_gan(seed=3), small_data(), out=out, overwrite=True, seed=3, **STEPS)
    assert_same_files(out, whole)


#: a file of a run, and whether something is in its place while the run is resumed, or only for the first steps
RESUMED_ODDITIES = [(name, stays) for name in ("losses.csv", "losses.png", "film.gif") for stays in (True, False)]


@pytest.mark.parametrize(("name", "stays"), RESUMED_ODDITIES)
def test_a_run_is_resumed_beside_an_obstacle(whole, tmp_path, capfd, name, stays):
    out = tmp_path / "run"
    train(small_gan(), small_data(), out=out, **{**STEPS, "steps": 5})
    (out / name).unlink()
    (out / name).mkdir()
    events = {} if stays else {8: (out / name).rmdir}
    train(at(events), small_data(), out=out, resume=True, **STEPS)
    assert differing(out, whole) == ({name} if stays else set())
    assert capfd.readouterr().err.count(f"{name}: cannot be made") == (stays or name == "losses.csv")


# ---- errors of the system --------------------------------------------------------------------------------------------


def failing(monkeypatch, name, number, times):
    """Let the system refuse to put ``name`` in place, or to open losses.csv for more, with this errno so many times."""
    replace, opened, left = os.replace, open, [times]

    def refused(path):
        if Path(path).match(name) and left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))

    def faulty_replace(part, path):
        refused(path)
        replace(part, path)

    def faulty_open(path, mode="r", *args, **options):
        if mode == "ab":
            refused(path)
        return opened(path, mode, *args, **options)

    monkeypatch.setattr(os, "replace", faulty_replace)
    monkeypatch.setattr(outputs, "open", faulty_open, raising=False)
    return left


MOMENTARY = [errno.EACCES, errno.EPERM, errno.EBUSY, errno.EAGAIN, errno.EDEADLK]
ALL = [*OUTPUTS, "step_000004.png", "checkpoint.safetensors"]

#: a file, and what the system says of it for a moment: a viewer, a virus scanner or a synchronised folder holds it
HELD_ODDITIES = [(name, number) for name in ALL for number in MOMENTARY]


@pytest.mark.parametrize(("name", "number"), HELD_ODDITIES)
def test_a_file_that_is_held_for_a_moment_is_waited_for(whole, tmp_path, monkeypatch, capfd, name, number):
    left = failing(monkeypatch, name, number, times=3)
    train(small_gan(), small_data(), out=tmp_path / "run", **STEPS)
    assert left == [0]
    assert_same_files(tmp_path / "run", whole)
    assert capfd.readouterr().err == ""


#: a file, and whether it is worth waiting for each time
WAITED_ODDITIES = [
    ("samples.png", False),
    ("step_*.png", False),
    ("losses.csv", False),
    ("checkpoint.safetensors", True),
]


@pytest.mark.parametrize(("name", "each_time"), WAITED_ODDITIES)
def test_a_file_that_stays_held_is_waited_for_once_until_it_is_free(tmp_path, monkeypatch, capfd, name, each_time):
    pauses = []
    monkeypatch.setattr(checkpoints.time, "sleep", pauses.append)
    left = failing(monkeypatch, name, errno.EACCES, times=0)
    hold = {
        2: lambda: left.__setitem__(0, 10**9),
        7: lambda: left.__setitem__(0, 0),
        8: lambda: left.__setitem__(0, 10**9),
        11: lambda: left.__setitem__(0, 0),
    }
    train(at(hold), small_data(), out=tmp_path / "run", **{**STEPS, "sample_every": 1, "checkpoint_every": 1})
    assert len(pauses) / len(checkpoints.PAUSES) == (8 if each_time else 2)


LASTING = [*MOMENTARY[:3], errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOENT, errno.EINVAL]

#: a file of a run, and what the system always says of it
REFUSED_ODDITIES = [(name, number) for name in (*OUTPUTS, "step_000004.png") for number in LASTING]


@pytest.mark.parametrize(("name", "number"), REFUSED_ODDITIES)
def test_a_file_that_cannot_be_written_costs_itself(whole, tmp_path, monkeypatch, capfd, name, number):
    failing(monkeypatch, name, number, times=10**9)
    train(small_gan(), small_data(), out=tmp_path / "run", **STEPS)
    expected = {"samples/step_000004.png", "film.gif"} if name.startswith("step") else {name}
    assert differing(tmp_path / "run", whole) == expected
    (said,) = capfd.readouterr().err.splitlines()
    assert name in said or "samples: " in said
    assert os.strerror(number) in said
    assert ("bytes are needed there" in said) == (number in checkpoints.FULL)


@pytest.mark.parametrize("number", LASTING)
def test_losses_catch_up_as_soon_as_they_can(whole, tmp_path, monkeypatch, number):
    """In the middle of the run nothing is missing, and nothing is there twice or out of order."""
    seen, table = [], tmp_path / "run" / "losses.csv"
    left = failing(monkeypatch, "losses.csv", number, times=0)
    events = {
        4: lambda: left.__setitem__(0, 10**9),
        7: lambda: left.__setitem__(0, 0),
        10: lambda: seen.extend(table.read_text().splitlines()),
    }
    train(at(events), small_data(), out=tmp_path / "run", **STEPS)
    assert seen == (whole / "losses.csv").read_text().splitlines()[:10]
    assert_same_files(tmp_path / "run", whole)


def test_half_a_line_is_made_whole(whole, tmp_path, monkeypatch, capfd):
    """A disk that fills up in the middle of losses.csv."""
    opened = open

    class Narrow(io.FileIO):
        def write(self, data):
            super().write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    def narrow_open(path, mode="r", *args, **options):
        return Narrow(path, mode) if gan.t == 6 else opened(path, mode, *args, **options)

    gan = small_gan()
    monkeypatch.setattr(outputs, "open", narrow_open, raising=False)
    train(gan, small_data(), out=tmp_path / "run", **STEPS)
    assert_same_files(tmp_path / "run", whole)
    assert "losses.csv: cannot be made (No space left on device; " in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_losses_on_a_disk_that_is_always_full(whole, tmp_path, capfd):
    """losses.csv is a link to one: it is replaced by a file, where there is room."""
    table = tmp_path / "run" / "losses.csv"

    def link():
        table.unlink()
        table.symlink_to("/dev/full")

    train(at({3: link}), small_data(), out=tmp_path / "run", **STEPS)
    assert_same_files(tmp_path / "run", whole)
    assert Path("/dev/full").exists()


# ---- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", LASTING)
def test_a_checkpoint_on_the_way_that_cannot_be_written_is_said_at_once(whole, tmp_path, monkeypatch, capfd, number):
    left = failing(monkeypatch, CHECKPOINT, number, times=0)
    seen = []
    events = {
        6: lambda: left.__setitem__(0, 10**9),
        8: lambda: seen.append((capfd.readouterr().err, checkpoints.read(tmp_path / "run" / CHECKPOINT)[1]["step"])),
        9: lambda: left.__setitem__(0, 0),
    }
    train(at(events), small_data(), out=tmp_path / "run", **STEPS)
    said, kept = seen[0]
    assert kept == 3  # the one before is unharmed
    assert f"{CHECKPOINT}: cannot be written ({os.strerror(number)}). " in said
    assert "The checkpoint of step 3 is kept" in said
    assert ("bytes there. Make room" in said) == (number in checkpoints.FULL)
    assert_same_files(tmp_path / "run", whole)


@pytest.mark.parametrize("number", LASTING)
def test_a_last_checkpoint_that_cannot_be_written_is_an_error(whole, tmp_path, monkeypatch, number):
    """What can be made is made; and the run goes on from the checkpoint before, to the same bytes."""
    left = failing(monkeypatch, CHECKPOINT, number, times=0)
    with pytest.raises(CheckpointError, match=r"checkpoint of step 9 is kept, .*--resume \(resume=True\) goes on"):
        train(at({10: lambda: left.__setitem__(0, 10**9)}), small_data(), out=tmp_path / "run", **STEPS)
    assert differing(tmp_path / "run", whole) == {CHECKPOINT}
    left[0] = 0
    train(small_gan(), small_data(), out=tmp_path / "run", resume=True, **STEPS)
    assert_same_files(tmp_path / "run", whole)


@pytest.mark.parametrize("number", LASTING)
def test_a_first_checkpoint_that_cannot_be_written_ends_the_run_before_it_begins(tmp_path, monkeypatch, number):
    failing(monkeypatch, CHECKPOINT, number, times=10**9)
    gan = small_gan()
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: cannot be written \(.*place\.$"):
        train(gan, small_data(), out=tmp_path / "run", **STEPS)
    assert gan.t == 0
    assert contents(tmp_path / "run") == {}


LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
from tinygan import plotting
plotting.save_loss_curves = lambda path, *_, **__: open(path, "wb").write(b"curve")
from support.small_runs import STEPS, small_data, small_gan
from tinygan.runs.training import train
gan = small_gan()
original = gan.step
def step(real, **options):
    if gan.t == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    return original(real, **options)
gan.step = step
train(gan, small_data(), out=sys.argv[1], **STEPS)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on files")
def test_a_limit_on_the_size_of_files(whole, tmp_path):
    """For real: from step 5 on no file can grow beyond 2,000 bytes."""
    program = LIMITED.format(tests=str(Path(__file__).parent.parent))
    ended = subprocess.run([sys.executable, "-c", program, tmp_path / "run"], capture_output=True, text=True)
    assert ended.returncode == 1
    error = ended.stderr.splitlines()[-1]
    assert "checkpoint.safetensors: cannot be written (File too large). It needs " in error
    assert "The checkpoint of step 3 is kept" in error
    assert contents(tmp_path / "run")["losses.csv"] == contents(whole)["losses.csv"]
    train(small_gan(), small_data(), out=tmp_path / "run", resume=True, **STEPS)
    assert_same_files(tmp_path / "run", whole)


# ---- when training cannot go on --------------------------------------------------------------------------------------

#: what ends a run between two steps: its data, a step that refuses what it is given, the memory of the machine, ...
ENDING_ODDITIES = [
    OSError(errno.EIO, "Input/output error", "data.npy"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "data.npy"),
    PermissionError(errno.EACCES, "Permission denied", "data.npy"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError("no answer"),
    EOFError("half a file"),
    MemoryError("no more"),
    DataError("images.npy: cannot be read."),
    BackendError("the GPU is gone."),
    ValueError("odd"),
    TypeError("odd"),
    KeyError("odd"),
    IndexError("odd"),
    AttributeError("odd"),
    ZeroDivisionError("odd"),
    AssertionError("odd"),
    RuntimeError("odd"),
    RecursionError("odd"),
    NotImplementedError("odd"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
    StopAsyncIteration("odd"),
    Exception(),
]


def raising(error):
    def event():
        raise error

    return event


@pytest.mark.parametrize("error", ENDING_ODDITIES, ids=lambda error: type(error).__name__)
def test_an_error_between_two_steps_loses_none(whole, tmp_path, capfd, error):
    with pytest.raises(type(error)) as caught:
        train(at({9: raising(error)}), small_data(), out=tmp_path / "run", **STEPS)
    assert caught.value is error
    said = capfd.readouterr().err
    assert "Training ended after step 8 of 11. The checkpoint of step 8 is kept, " in said
    assert f"{CHECKPOINT}; --resume (resume=True) goes on" in said
    assert checkpoints.read(tmp_path / "run" / CHECKPOINT)[1]["step"] == 8
    train(small_gan(), small_data(), out=tmp_path / "run", resume=True, **STEPS)
    assert_same_files(tmp_path / "run", whole)


@pytest.mark.parametrize("where", ["discriminator", "generator", "d_optimizer", "g_optimizer", "average", "penalty"])
def test_a_step_half_done_is_not_kept(tmp_path, capfd, monkeypatch, where):
    """It has drawn random numbers, and may have moved weights or statistics: the last checkpoint is the one to use."""

    def gan():
        return small_gan(penalties=R1(1.0))

    whole = train(gan(), small_data(), out=tmp_path / "whole", **STEPS)
    broken = gan()
    owner, method = {
        "discriminator": (broken.discriminator, "apply"),
        "generator": (broken.generator, "store_gradients"),
        "d_optimizer": (broken.d_optimizer, "step"),
        "g_optimizer": (broken.g_optimizer, "step"),
        "average": (broken.average, "update"),
        "penalty": (broken.penalty, "store_gradients"),
    }[where]
    original = getattr(owner, method)

    def faulty(*args, **options):
        if broken.t == 8:
            raise RuntimeError("half-way")
        return original(*args, **options)

    monkeypatch.setattr(owner, method, faulty)
    with pytest.raises(RuntimeError, match="half-way"):
        train(broken, small_data(), out=tmp_path / "run", **STEPS)
    assert "Training ended after step 8 of 11. The checkpoint of step 6 is kept, " in capfd.readouterr().err
    train(gan(), small_data(), out=tmp_path / "run", resume=True, **STEPS)
    assert_same_files(tmp_path / "run", whole)


def test_what_is_not_finite_is_not_kept(tmp_path, capfd):
    """Weights that somebody spoils between two steps: the checkpoint before is the better one."""
    gan = small_gan()

    def spoil():
        gan.average.network.theta[0] = np.nan
        raise RuntimeError("odd")

    with pytest.raises(RuntimeError, match="odd"):
        train(at({9: spoil}, gan), small_data(), out=tmp_path / "run", **STEPS)
    said = capfd.readouterr().err
    assert "step 8 is not kept, since it is not finite" in said
    assert "The checkpoint of step 6 is kept" in said
    assert checkpoints.read(tmp_path / "run" / CHECKPOINT)[1]["step"] == 6


def test_an_error_on_a_full_disk_is_the_error_that_is_seen(whole, tmp_path, monkeypatch, capfd):
    left = failing(monkeypatch, CHECKPOINT, errno.ENOSPC, times=0)

    def both():
        left[0] = 10**9
        raise DataError("images.npy: cannot be read.")

    with pytest.raises(DataError, match="cannot be read"):
        train(at({9: both}), small_data(), out=tmp_path / "run", **STEPS)
    said = capfd.readouterr().err
    assert "checkpoint.safetensors: cannot be written (No space left on device). It needs" in said
    assert "The checkpoint of step 6 is kept" in said


# ---- pictures that cannot be drawn -----------------------------------------------------------------------------------

#: what matplotlib or Pillow raise: fonts, LaTeX, libraries that do not fit each other, memory, names of settings
DRAWING_ODDITIES = [
    ImportError("No module named 'matplotlib'"),
    ModuleNotFoundError("No module named 'PIL'"),
    ImportError("libfreetype.so.6: cannot open shared object file"),
    ValueError("Key backend: 'inline' is not a valid value for backend"),
    RuntimeError("Failed to process string with tex because latex could not be found"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "latex"),
    OSError("cannot load font"),
    PermissionError(errno.EACCES, "Permission denied", "/nowhere/fontlist.json"),
    MemoryError(),
    AttributeError("module 'PIL.Image' has no attribute 'ANTIALIAS'"),
    TypeError("odd"),
    KeyError("font.family"),
    IndexError("odd"),
    SystemError("odd"),
    RecursionError("odd"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
    SyntaxError("odd"),
    Image.DecompressionBombError("odd"),
    DeprecationWarning("odd"),
    UserWarning("Glyph 12 missing from font"),
    Exception("several\nlines\nof text"),
    Exception("x" * 1000),
]
DRAWN = {"losses.png": "save_loss_curves", "film.gif": "save_film", "samples.png": "png"}


@pytest.mark.parametrize("error", DRAWING_ODDITIES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_that_cannot_be_drawn_costs_that_picture(whole, tmp_path, monkeypatch, capfd, name, error):
    def faulty(*args, **options):
        raise error

    monkeypatch.setattr(plotting, DRAWN[name], faulty)
    out = train(small_gan(), small_data(), out=tmp_path / "run", **STEPS)
    expected = {name} if name != "samples.png" else {name, "real.png", "film.gif", *FRAMES}
    assert differing(out, whole) == expected
    said = capfd.readouterr().err.splitlines()
    assert sum(f"{name}: cannot be made (" in line for line in said) == 1
    assert len(said) == 1 + 2 * (name == "samples.png")  # what else makes a PNG file, and the film of none
    assert len(said[0]) < 400 + len(str(out))


@pytest.mark.parametrize("name", DRAWN)
def test_not_even_after_numbers_that_are_not_finite_or_a_signal(tmp_path, monkeypatch, name):
    """The error that is seen is the real one, and so is the end."""
    monkeypatch.setattr(plotting, DRAWN[name], lambda *_, **__: raising(ValueError("no backend"))())
    gan = small_gan()
    spoil = {8: lambda: gan.discriminator.theta.__setitem__(0, np.nan)}
    term = {7: lambda: os.kill(os.getpid(), signal.SIGTERM)}  # while step 7 is taken: 8 is the last one
    with pytest.raises(NonFiniteError, match="The checkpoint of step 6 is kept"):
        train(at(spoil, gan), small_data(), out=tmp_path / "run", **STEPS)
    with pytest.raises(KeyboardInterrupt):
        train(at(term), small_data(), out=tmp_path / "stopped", **STEPS)
    assert checkpoints.read(tmp_path / "stopped" / CHECKPOINT)[1]["step"] == 8


def test_a_generator_whose_images_cannot_be_drawn_any_more(tmp_path, monkeypatch, capfd):
    fail = raising(DataError("grid: image 0 holds NaN."))
    spoil = {3: lambda: monkeypatch.setattr(plotting, "grid", lambda images, **options: fail())}
    train(at(spoil), small_data(), out=tmp_path / "run", **STEPS)
    assert "samples.png: cannot be made (grid: image 0 holds NaN)" in capfd.readouterr().err


def test_a_frame_that_cannot_be_read_is_left_out_of_the_film(tmp_path, capfd):
    out = tmp_path / "run"
    spoil = {7: lambda: (out / "samples" / "step_000000.png").write_bytes(b"spoilt")}
    train(at(spoil), small_data(), out=out, **STEPS)
    with Image.open(out / "film.gif") as film:
        assert film.n_frames == 3  # steps 4, 8 and 11
    assert "film.gif: is made without 1 of its frames. " in capfd.readouterr().err


# ---- attempt, for programs -------------------------------------------------------------------------------------------


def test_a_program_learns_whether_its_picture_was_made(tmp_path, capfd):
    assert plotting.attempt(tmp_path / "a", (tmp_path / "a").touch)
    assert not plotting.attempt(tmp_path / "a", (tmp_path / "a").rmdir)
    assert not plotting.attempt(tmp_path / "b", raising(ImportError("No module named 'matplotlib'")))
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(f"{tmp_path / 'a'}: cannot be made (Not a directory). ")
    assert second == (f"{tmp_path / 'b'}: cannot be made (No module named 'matplotlib'). All else goes on without it.")


def test_what_a_user_ends_is_ended(tmp_path):
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            plotting.attempt(tmp_path / "a", raising(error))


@pytest.mark.parametrize("stream", [None, io.StringIO(), object()], ids=["none", "closed", "object"])
def test_no_console_is_no_reason_to_fail(tmp_path, monkeypatch, stream):
    if isinstance(stream, io.StringIO):
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not plotting.attempt(tmp_path / "a", raising(ValueError))


# ---- the program -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["full disk", "data"])
def test_a_program_ends_with_1_and_says_how_to_go_on(whole, tmp_path, monkeypatch, capfd, event):
    left = failing(monkeypatch, CHECKPOINT, errno.ENOSPC, times=0)
    events = {"full disk": {10: lambda: left.__setitem__(0, 10**9)}, "data": {10: raising(DataError("x: is gone."))}}
    recipe = Recipe(name="small", epochs=1, lr=1e-3)
    with pytest.raises(SystemExit) as ended:
        launch(
            lambda flags: train(at(events[event]), small_data(), out=tmp_path / "run", **STEPS), "doc", recipe, argv=[]
        )
    assert ended.value.code == 1
    *_, last = said = capfd.readouterr().err.splitlines()
    assert last.startswith("error: ")
    kept = last if event == "full disk" else said[-2]
    assert "The checkpoint of step 9 is kept, " in kept
    assert f"{CHECKPOINT}; --resume (resume=True) goes on." in kept


def test_a_callback_that_leaves_the_program_loses_no_step(tmp_path, capfd):
    def leave(gan, losses):
        if gan.t == 3:
            raise SystemExit(0)

    gan = small_gan()
    with pytest.raises(SystemExit):
        train(gan, small_data(), out=tmp_path / "run", callback=leave, **STEPS)
    assert checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 3
    assert "Training ended after step 3" in capfd.readouterr().err
