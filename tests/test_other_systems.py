"""Windows and macOS lack functions that Linux has: without them a run and a folder of pictures are the same.

A process takes these functions away before it first imports tinygan, but after the packages that tinygan uses, which
know their own systems.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.small_runs import STEPS, assert_same_files, small_data, small_gan

from tinygan.backends.cpu import threads, tuning
from tinygan.backends.cuda import cublas
from tinygan.data.files import open_file
from tinygan.parallel import mpi
from tinygan.runs.training import train

TESTS = Path(__file__).parent

#: What the systems lack: names in os and signal, or what these begin with, and modules.
LACKING = {
    "win32": {
        "os": "fork register_at_fork getuid geteuid getgid getpgid setsid killpg uname statvfs mkfifo chown nice "
        "getloadavg O_CLOEXEC O_DIRECTORY O_SYNC pread pwrite sysconf confstr sched_ posix_ wait3 wait4 memfd_create",
        "signal": "SIGHUP SIGKILL SIGALRM SIGUSR SIGPIPE SIGQUIT alarm pause pthread_ sigwait siginterrupt",
        "modules": "fcntl resource pwd grp termios readline",
    },
    "darwin": {
        "os": "sched_getaffinity sched_setaffinity posix_fadvise posix_fallocate memfd_create copy_file_range",
        "signal": "pthread_sigqueue sigwaitinfo sigtimedwait",
        "modules": "",
    },
}

ELSEWHERE = """
    import json, os, signal, sys
    import filelock, matplotlib.figure, matplotlib.backends.backend_agg, numpy, PIL.Image, pooch, safetensors.numpy
    import threadpoolctl, tqdm, concurrent.futures, socket, tempfile, hypothesis, types
    system, lacking, tests, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
    PIL.Image.init()
    threadpoolctl.ThreadpoolController()  # finds what it needs; its old versions look by sys.platform and os.uname
    threadpoolctl.sys = types.SimpleNamespace(**vars(sys))
    for module in (os, signal):
        for name in [name for name in vars(module) if name.startswith(tuple(lacking[module.__name__].split()))]:
            delattr(module, name)
    sys.modules.update(dict.fromkeys(lacking["modules"].split()))
    sys.platform = system
    sys.path.insert(0, tests)
    from support.small_runs import STEPS, small_data, small_gan
    from tinygan import data, load_trained, plotting, train

    train(small_gan(), small_data(), out=out, **{**STEPS, "steps": 7})
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    run = load_trained(out)
    pictures = os.path.join(out, os.pardir, "pictures")
    for i, label in enumerate("AB"):
        os.makedirs(os.path.join(pictures, label))
        image = numpy.full((9, 9), 90 * i, numpy.uint8)
        plotting.save_png(os.path.join(pictures, label, f"{i}.PNG"), image)
    for _ in range(2):  # from the pictures, then from the cache
        images = data.load(pictures, size=8, cache=os.path.join(out, os.pardir, "cache"))
    print(json.dumps([run.step, len(images), images.labels.tolist()]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="takes away what Linux has")
@pytest.mark.parametrize("system", LACKING)
def test_a_run_on_another_system_is_the_same_run(system, tmp_path):
    whole = train(small_gan(), small_data(), out=tmp_path / "whole", **STEPS)
    command = [sys.executable, "-c", textwrap.dedent(ELSEWHERE), system, json.dumps(LACKING[system]), str(TESTS)]
    ended = subprocess.run([*command, str(tmp_path / "run")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [11, 2, [0, 1]]
    assert_same_files(tmp_path / "run", whole)


def test_where_opening_a_file_cannot_be_told_not_to_wait(tmp_path, monkeypatch):
    """The lock on a folder has a test of its own."""
    monkeypatch.delattr(os, "O_NONBLOCK", raising=False)
    (tmp_path / "a").write_bytes(b"abc")
    with open_file(tmp_path / "a") as file:
        assert file.read() == b"abc"


@pytest.fixture
def fresh_workers(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads.workers.cache_clear()
    yield
    threads.workers.cache_clear()


@pytest.mark.usefixtures("fresh_workers")
@pytest.mark.parametrize(("cores", "expected"), [(6, 6), (1, 1), (None, 1)])
def test_without_a_say_on_which_cores_all_are_used(monkeypatch, cores, expected):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads.workers() == expected


class Neighbours:
    """Two processes of a machine."""

    size = 2

    def allgather(self, value):
        return [value, value]


@pytest.mark.usefixtures("fresh_workers")
def test_without_a_say_on_which_cores_the_processes_share_all(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda *_, **__: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    mpi._share_out_cores(Neighbours())
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert threads.workers() == 3


def test_where_no_files_stand_for_gpus_none_is_shared_out(monkeypatch):
    monkeypatch.setattr(mpi, "glob", lambda pattern: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    mpi._share_out_gpus(1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(("system", "name"), [("win32", "cublas64_12.dll"), ("linux", "libcublas.so.12")])
def test_cublas_has_another_name_on_windows(monkeypatch, system, name):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    monkeypatch.setattr(sys, "platform", system)
    assert next(cublas._candidates()) == name


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_no_other_systems_c_library_is_asked_to_keep_memory(monkeypatch, system):
    """On Windows there is not even one to ask: ctypes would raise a TypeError."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(tuning.ctypes, "CDLL", lambda name: pytest.fail("a library was loaded"))
    assert tuning.keep_memory() is False


@pytest.mark.parametrize("error", [OSError("no such library"), AttributeError("mallopt")])
def test_a_linux_without_glibc_keeps_memory_as_it_does(monkeypatch, error):
    def refuse(name):
        raise error

    for name in tuning.ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(tuning.ctypes, "CDLL", refuse)
    assert tuning.keep_memory() is False
