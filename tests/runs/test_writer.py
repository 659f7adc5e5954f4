"""One folder, one writer: processes, threads, what a crash leaves behind, and file systems without locks."""

import errno
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import filelock
import pytest
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

from tinygan.errors import ArgumentError, CheckpointError
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train
from tinygan.runs.writer import LOCK, Writer

TESTS = Path(__file__).parent.parent
HOLDER = """
    import sys, time
    from pathlib import Path
    from tinygan.runs.writer import Writer
    Writer(Path(sys.argv[1])).hold()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds ``tmp_path``."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path, other_process):
    for _ in range(2):  # whoever asks changes nothing
        with pytest.raises(
            ArgumentError, match=rf": process {other_process.pid} on .+ writes in this folder \(run\.lock"
        ):
            Writer(tmp_path).hold()
    other_process.kill()
    other_process.wait()
    assert (tmp_path / LOCK).exists(), "it could not clear up"
    with Writer(tmp_path) as writer:
        writer.hold()
    assert list(tmp_path.iterdir()) == []


def test_a_thread_of_this_process_is_somebody_else_too(tmp_path):
    first, raised = Writer(tmp_path), []

    def work():
        try:
            Writer(tmp_path).hold()
        except ArgumentError as error:
            raised.append(str(error))

    first.hold()
    first.hold()  # once more does no harm
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "this very process writes in this folder" in raised[0]
    first.leave()
    first.leave()
    work()
    assert len(raised) == 1


def test_many_at_once_are_one(tmp_path):
    """Each of eight threads takes the folder, leaves it, and takes it again: never two at a time."""
    inside, most, refused = [], [], []

    def work():
        for _ in range(200):
            with Writer(tmp_path) as writer:
                try:
                    writer.hold()
                except ArgumentError as error:
                    refused.append(error)
                    continue
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert list(tmp_path.iterdir()) == []


LEFT_ODDITIES = [
    ("nothing", b"", "another process"),
    ("half a line", b"\nprocess 12", "process 12"),
    ("bytes", b"\n\xff\xfe\x00", "another process"),
    ("what a terminal acts on", b"\n\x1b[2Jprocess 1", "another process"),
    ("several lines", b"\nprocess 1\nprocess 2\n", "another process"),
    ("a long one", b"\n" + b"x" * 10_000, "x{299}"),
]


@pytest.mark.parametrize(("what", "left", "who"), LEFT_ODDITIES, ids=[row[0] for row in LEFT_ODDITIES])
def test_whatever_the_file_says(what, left, who, tmp_path):
    """It is the lock that counts; the text is shown if it can be."""
    with Writer(tmp_path) as writer:
        writer.hold()
        (tmp_path / LOCK).write_bytes(left)
        with pytest.raises(ArgumentError, match=rf": {who}.* writes in this folder"):
            Writer(tmp_path).hold()
    (tmp_path / LOCK).write_bytes(left)
    with Writer(tmp_path) as writer:
        writer.hold()


WITHOUT_LOCKS_ODDITIES = [
    ("no such call", OSError(errno.ENOSYS, "Function not implemented")),
    ("no locks left", OSError(errno.ENOLCK, "No locks available")),
    ("not here", OSError(errno.EOPNOTSUPP, "Operation not supported")),
    ("not on this system", NotImplementedError("flock is not supported")),
    ("a network that is gone", OSError(errno.EIO, "Input/output error")),
]


@pytest.mark.parametrize(("what", "error"), WITHOUT_LOCKS_ODDITIES, ids=[row[0] for row in WITHOUT_LOCKS_ODDITIES])
def test_a_file_system_without_locks_is_said_and_used(what, error, tmp_path, monkeypatch, capsys):
    def refuse(file, *, blocking):
        raise error

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with Writer(tmp_path) as writer:
        writer.hold()
    err = capsys.readouterr().err
    assert "files cannot be locked there" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_where_an_open_file_cannot_be_removed(tmp_path, monkeypatch):
    """On Windows, where no flag keeps from following links either."""
    unlink, calls = Path.unlink, []

    def later(path, **how):
        calls.append(path)
        if len(calls) == 1:
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used")
        unlink(path, **how)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "unlink", later)
    monkeypatch.delattr(os, "O_NOFOLLOW", raising=False)
    with Writer(tmp_path) as writer:
        writer.hold()
    assert calls == [tmp_path / LOCK] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(ArgumentError, match="cannot be written"):
        train(small_gan(), small_data(), out=tmp_path / "run", **STEPS)
    assert (tmp_path / "mine").read_text() == "mine"


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}], ids=["start", "overwrite", "resume"])
def test_a_second_run_in_a_folder_is_refused_and_changes_nothing(how, tmp_path):
    short, refused, gan = {**STEPS, "steps": 2}, [], small_gan()
    step = gan.step

    def meddled(real, **options):
        before = contents(tmp_path)
        with pytest.raises(ArgumentError, match="this very process writes in this folder") as caught:
            train(small_gan(), small_data(), out=tmp_path, **{**short, **how})
        refused.append(caught.value)
        assert contents(tmp_path) == before
        assert load_trained(tmp_path).step == 0, "who only reads is not in the way"
        return step(real, **options)

    gan.step = meddled
    train(gan, small_data(), out=tmp_path, **short)
    assert len(refused) == 2
    whole = train(small_gan(), small_data(), out=tmp_path.parent / f"{tmp_path.name} whole", **short)
    assert_same_files(tmp_path, whole)


def test_a_run_that_is_refused_or_breaks_off_frees_its_folder(tmp_path):
    gan, data, options = small_gan(), small_data(), {**STEPS, "steps": 2, "out": tmp_path}
    gan.step = lambda real, **_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        train(gan, data, **options)
    with pytest.raises(ArgumentError, match="holds a run of 0 steps already"):
        train(small_gan(), data, **options)
    with pytest.raises(CheckpointError, match="another seed"):
        train(small_gan(), data, resume=True, seed=1, **options)
    assert not (tmp_path / LOCK).exists()


def test_a_folder_under_another_name_is_the_same_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with Writer(tmp_path / "run") as writer:
        writer.hold()
        with pytest.raises(ArgumentError, match="writes in this folder"):
            train(small_gan(), small_data(), out=tmp_path / "link", **STEPS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_forked_child_keeps_no_lock_of_its_parent(tmp_path):
    """A worker of a data loader, say, which lives on when the run is killed."""
    script = """
        import os, sys, time
        from pathlib import Path
        from tinygan.runs.writer import Writer
        writer = Writer(Path(sys.argv[1]))
        writer.hold()
        if os.fork() == 0:
            print("forked", flush=True)
            os.close(1)
            time.sleep(20)
            os._exit(0)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "forked\n"
        with pytest.raises(ArgumentError, match="writes in this folder"):
            Writer(tmp_path).hold()
        process.kill()
        process.wait()
        with Writer(tmp_path) as writer:
            writer.hold()


@pytest.mark.parametrize("name", [LOCK, "checkpoint.safetensors.part"])
def test_a_folder_in_the_place_of_a_file_of_ours_is_named(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(ArgumentError, match=rf"the output folder cannot be written \({name}: Is a directory"):
        train(small_gan(), small_data(), out=tmp_path, **STEPS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


LEFT = ["checkpoint.safetensors", "samples.png", "real.png", "losses.csv", "losses.png", "config.json"]


@pytest.mark.parametrize("name", LEFT)
def test_nothing_is_written_through_a_link(name, tmp_path):
    """Whatever bears the name of an unfinished file."""
    other, out = tmp_path / "other", tmp_path / "run"
    other.write_text("keep")
    out.mkdir()
    (out / f"{name}.part").symlink_to(other)
    train(small_gan(), small_data(), out=out, **STEPS)
    assert other.read_text() == "keep"
    assert not list(out.glob("*.part"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_nothing_waits_for_a_pipe(tmp_path):
    for name in LEFT:
        os.mkfifo(tmp_path / f"{name}.part")
    train(small_gan(), small_data(), out=tmp_path, **STEPS)
    assert {path.name for path in tmp_path.iterdir()} >= set(LEFT)
    assert not list(tmp_path.glob("*.part"))
