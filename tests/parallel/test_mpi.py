"""Real processes, started by mpiexec. Whatever several of them compute in float64 is what one does to 1e-10, and the
same in all of them to the bit; and if one ends, all do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from support.small_runs import assert_same_files, contents, small_data, small_gan
from support.together import batches_of, cases, state, together, train

import tinygan.runs.training as loop
from tinygan import checkpoints
from tinygan.errors import BackendError
from tinygan.parallel import ALONE, mpi

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
PROCESSES = TESTS / "support" / "processes.py"
BESIDE = Path(sys.executable).parent / "mpiexec"  # where pip puts it
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
processes = pytest.mark.skipif(not (MPIEXEC and find_spec("mpi4py")), reason="needs mpi4py and mpiexec")

LIMIT = 30.0  # seconds in which all must have ended
# Open MPI asks for permission to be root, and to run more processes than there are cores; MPICH does not mind
ALLOWED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
LAUNCHERS = ("PMI", "OMPI", "MV2", "SLURM", "HYDRA", "MPI_")  # whose variables say that one is one of several


def environment(**more):
    plain = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    python = os.pathsep.join(filter(None, [str(ROOT), str(TESTS), plain.get("PYTHONPATH")]))
    return {**plain, **ALLOWED, "PYTHONPATH": python, "MPLBACKEND": "agg", **more}


def start(size, *command, **more):
    """Start ``python command`` in so many processes; output comes through a pipe."""
    return subprocess.Popen(
        [MPIEXEC, "-n", str(size), sys.executable, *map(str, command)],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, limit=LIMIT):
    """(exit code, stdout, stderr) of what :func:`start` started; it fails if that does not end."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def mpiexec(size, *command, limit=LIMIT, **more):
    code, out, err = finish(start(size, *command, **more), limit)
    assert code == 0, err
    return out, err


# ---- the same numbers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone():
    """What one process finds in each case."""
    results = {}
    for name, gan, shape in cases():
        losses = train(gan, batches_of(shape))
        results |= {f"{name}/{key}": array for key, array in state(gan)[0].items()}
        results[f"{name}/losses"] = losses
    return results


@processes
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_real_processes_compute_what_one_does(alone, tmp_path, size):
    mpiexec(size, PROCESSES, "all_cases", tmp_path, limit=120.0, OMP_NUM_THREADS="")
    facts = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(size)]
    assert facts == [facts[0]] * size, "the same bits after every step"
    assert facts[0]["size"] == size
    cores = len(os.sched_getaffinity(0))
    if size > 1:
        assert facts[0]["threads"] == int(facts[0]["omp"]) == max(1, cores // size)
    for rank in range(size):
        with np.load(tmp_path / f"{rank}.npz") as results:
            assert results.keys() == alone.keys()
            for key, expected in alone.items():
                scale = max(float(np.abs(expected).max()), 1e-3)
                np.testing.assert_allclose(results[key], expected, rtol=0.0, atol=1e-10 * scale, err_msg=key)


# ---- training runs, and how they end -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of two processes that nothing interrupted."""
    if not (MPIEXEC and find_spec("mpi4py")):
        pytest.skip("needs mpi4py and mpiexec")
    folder = tmp_path_factory.mktemp("whole")
    mpiexec(2, PROCESSES, "run", folder)
    return folder / "run"


def assert_no_process_is_left(folder, size):
    patience = time.monotonic() + 5.0
    for rank in range(size):
        pid = int((folder / f"pid.{rank}").read_text())
        while alive(pid):
            assert time.monotonic() < patience, f"process {rank} goes on"
            time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@processes
def test_the_run_of_two_processes_is_the_run_of_one(whole, tmp_path):
    from support.processes import RUN

    folder = loop.train(small_gan(), small_data(), out=tmp_path / "run", **RUN)
    assert contents(folder).keys() == contents(whole).keys()
    ours, theirs = (np.loadtxt(f / "losses.csv", delimiter=",", skiprows=1) for f in (folder, whole))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)  # in float32, after 12 steps of Adam


@processes
@pytest.mark.parametrize(("size", "rank"), [(2, 1), (3, 0)])
def test_if_one_process_is_killed_all_end_and_the_checkpoint_is_whole(whole, tmp_path, size, rank):
    began = time.monotonic()
    code, _, _ = finish(start(size, PROCESSES, "run", tmp_path, "kill", rank, 8))
    assert code != 0
    assert time.monotonic() - began < LIMIT
    assert_no_process_is_left(tmp_path, size)
    assert all((tmp_path / f"there.{r}").exists() for r in range(size)), "in the middle of step 8"
    assert checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 6
    if size == 2:  # to the very bytes of the run that nothing interrupted
        mpiexec(2, PROCESSES, "run", tmp_path, "resume")
        assert_same_files(tmp_path / "run", whole)
    else:  # alone
        from support.processes import RUN

        loop.train(small_gan(), small_data(), out=tmp_path / "run", resume=True, **RUN)
        assert contents(tmp_path / "run").keys() == contents(whole).keys()


@processes
def test_an_error_of_one_process_ends_all_and_says_whose_it_is(tmp_path):
    began = time.monotonic()
    code, _, err = finish(start(3, PROCESSES, "run", tmp_path, "raise", 2, 5))
    assert code != 0
    assert time.monotonic() - began < LIMIT
    assert "process 2 of 3:\nTraceback" in err
    assert "RuntimeError: this process alone" in err
    assert_no_process_is_left(tmp_path, 3)


@processes
def test_ctrl_c_ends_all_after_the_same_step_with_a_checkpoint(tmp_path):
    process = start(2, PROCESSES, "run", tmp_path, "wait", 1, 4)
    patience = time.monotonic() + LIMIT
    while not (tmp_path / "there.1").exists():
        assert time.monotonic() < patience
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code != 0, err
    assert_no_process_is_left(tmp_path, 2)
    assert checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 5


# ---- programs ------------------------------------------------------------------------------------------------------


def example(folder):
    """The command that trains on a few images, which it makes in the folder."""
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8))
    flags = ["--data", folder / "images.npy", "--out", folder / "run", "--steps", 2, "--width", 4, "--batch-size", 10]
    return [ROOT / "examples" / "mnist_mlp_gan.py", *flags]


@processes
def test_mpiexec_is_all_that_a_user_types(tmp_path):
    out, err = mpiexec(2, *example(tmp_path))
    assert out.count("Look at") == out.count("layer  ") / 2 == 1
    assert err.count("step 2/2") == 1
    assert (tmp_path / "run" / "film.gif").exists()


@processes
def test_what_is_wrong_everywhere_is_said_once(tmp_path):
    code, out, err = finish(start(2, *example(tmp_path), "--batch-size", 1))
    assert code != 0
    assert out.count("Look at") == 0
    assert err.count("error: ") == err.count("error: train: a batch of 1 is too small for 2 processes") == 1
    code, _, err = finish(start(2, *example(tmp_path), "--lr", "-1"))
    assert code != 0
    assert err.count("expected a positive number") == 1


# ---- without mpiexec -----------------------------------------------------------------------------------------------


def test_a_plain_python_never_loads_mpi(tmp_path):
    code = (
        "import sys; from tinygan.parallel.mpi import world; from support.small_runs import *;"
        "from tinygan.runs.training import train;"
        f"train(small_gan(), small_data(), out={str(tmp_path / 'run')!r}, **STEPS); assert world().size == 1;"
        "assert 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({}, 1),
        ({"PMI_RANK": "0", "PMI_SIZE": "4"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "1"}, 3),
        ({"MV2_COMM_WORLD_SIZE": "2"}, 2),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "8(x2)"}, 1),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": ""}, 1),
        ({"PMIX_RANK": "0"}, 1),
        ({"PMI_SIZE": "0", "OMPI_COMM_WORLD_SIZE": "-2"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 1),  # tasks that know nothing of each other
        ({"PMI_SIZE": "none"}, 1),
    ],
)
def test_launchers(monkeypatch, variables, size):
    for key in list(os.environ):
        if key.startswith(LAUNCHERS):
            monkeypatch.delenv(key)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert mpi.started() == size
    if size == 1:
        assert mpi.world.__wrapped__() is ALONE


def test_without_mpi4py_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(BackendError, match=r"mpiexec started 2 processes.*pip install 'tinygan\[mpi\]' mpich"):
        mpi.world.__wrapped__()


def test_two_different_mpis_are_told_apart(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    world = types.SimpleNamespace(size=1)
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(MPI=types.SimpleNamespace(COMM_WORLD=world)))
    with pytest.raises(BackendError, match=r"started 2 processes, but MPI finds 1.*--mpi-library"):
        mpi.world.__wrapped__()


@pytest.mark.parametrize(
    ("visible", "rank", "expected"),
    [("0,1,2", 1, "1"), ("4,5", 2, "4"), ("3", 1, "3"), ("", 1, ""), (None, 2, "2"), ("GPU-a,GPU-b", 1, "GPU-b")],
)
def test_each_process_of_a_machine_sees_its_own_gpu(monkeypatch, visible, rank, expected):
    monkeypatch.setattr(mpi, "glob", lambda pattern: ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    mpi._share_out_gpus(rank)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
    monkeypatch.setattr(mpi, "glob", lambda pattern: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    mpi._share_out_gpus(rank)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


# ---- GPUs, played by the host --------------------------------------------------------------------------------------


class Here:
    """An array as NCCL sees one: an address."""

    def __init__(self, array):
        self.array, self.data = array, types.SimpleNamespace(ptr=array.ctypes.data)
        self.size, self.shape, self.dtype = array.size, array.shape, array.dtype


def fake_cupy(available=True):
    kinds = {7: "float32", 8: "float64"}
    memory = types.SimpleNamespace(groups={})

    def at(address, count, kind):
        import ctypes

        raw = (ctypes.c_char * (count * np.dtype(kinds[kind]).itemsize)).from_address(address)
        return np.frombuffer(raw, dtype=kinds[kind])

    class Communicator:
        def __init__(self, size, number, rank):
            self.group = memory.groups[rank]
            assert (number, size, rank) == ("number", self.group.size, self.group.rank)

        def allReduce(self, send, receive, count, kind, operation, stream):
            assert (operation, stream) == (0, 77)
            total = sum(self.group.exchange(at(send, count, kind).copy()))
            at(receive, count, kind)[...] = total

        def allGather(self, send, receive, count, kind, stream):
            assert stream == 77
            results = self.group.exchange(at(send, count, kind).copy())
            at(receive, count * self.group.size, kind)[...] = np.concatenate(results)

    nccl = types.SimpleNamespace(  # which cupy.cuda does not have until it is imported
        available=available,
        NCCL_SUM=0,
        NCCL_FLOAT32=7,
        NCCL_FLOAT64=8,
        get_unique_id=lambda: "number",
        NcclCommunicator=Communicator,
    )
    runtime = types.SimpleNamespace(getDevice=lambda: 0, deviceGetPCIBusId=lambda device: f"0000:{device}")
    cuda = types.SimpleNamespace(
        __name__="cupy.cuda", runtime=runtime, get_current_stream=lambda: types.SimpleNamespace(ptr=77)
    )
    cupy = types.SimpleNamespace(
        cuda=cuda, ascontiguousarray=lambda a: a, empty=lambda shape, dtype: Here(np.empty(shape, dtype))
    )
    return cupy, nccl, memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_between_gpus(monkeypatch, dtype):
    cupy, nccl, memory = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)

    def process(group):
        memory.groups[group.rank] = group
        gpus = mpi.Nccl(group)
        a = Here(np.array([1.0, 2.0], dtype) * (group.rank + 1))
        gathered = gpus.gather(a).array.tolist()
        gpus.sum(a)
        return a.array.tolist(), gathered

    assert together(3, process) == [([6.0, 12.0], [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])] * 3
    assert mpi.Nccl.whose().endswith(" 0000:0")
    nccl.available = False
    assert mpi.Nccl.whose() is None
    monkeypatch.delitem(sys.modules, "cupy.cuda.nccl")
    assert mpi.Nccl.whose() is None


def test_a_gpu_that_was_used_too_early_is_told(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setattr(mpi, "gpu_in_use", lambda: True)
    with pytest.warns(
        RuntimeWarning, match=r"share its first GPU, and 2 more do nothing.*parallel\.mpi\.world\(\) first"
    ):
        mpi._share_out_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    monkeypatch.setattr(mpi, "gpu_in_use", lambda: False)
    mpi._share_out_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setattr(mpi, "gpu_in_use", lambda: True)
    mpi._share_out_gpus(1)  # the launcher has chosen
