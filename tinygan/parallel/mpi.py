"""The processes that mpiexec started: how they find each other, talk, and end together.

    mpiexec -n 4 python examples/mnist_mlp_gan.py

A process learns from its environment that it is one of several; only then is mpi4py loaded. Arrays on the host go
through MPI, those on GPUs through NCCL where each process has a GPU to itself, else by way of the host.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from glob import glob
from typing import Any

import numpy as np

from .. import ops
from ..backends.cpu import threads
from ..errors import BackendError
from ..ops import Array, ops_of
from .console import Console, say
from .group import ALONE, Group

PATIENCE = 3.0  # seconds that a process in trouble waits for the others to be in the same trouble


def started() -> int:
    """Return how many processes the launcher says there are: 1 where there is none."""
    slurm = ["SLURM_STEP_NUM_TASKS"] if "PMIX_RANK" in os.environ else []
    for key in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", *slurm):
        if os.environ.get(key, "").isdecimal() and (size := int(os.environ[key])) > 0:
            return size
    return 1


@cache
def world() -> Group:
    """Return all processes that were started together with this one; this one alone if it was started by itself.

    The first call of several processes also shares out the cores and GPUs of each machine among those that run there,
    unless OMP_NUM_THREADS and CUDA_VISIBLE_DEVICES do that already, and from then on an exception that nobody handles
    ends them all. Call it before the first use of the GPU: a process keeps the one that it has begun with.

    Raises
    ------
    BackendError
        mpi4py is missing, finds no MPI, or another one than mpiexec's.
    """
    size = started()
    if size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter if there is no MPI to load
        raise BackendError(
            f"mpiexec started {size} processes, but mpi4py does not work here. Install it with an MPI: "
            f"pip install 'tinygan[mpi]' mpich ({error})."
        ) from error
    if MPI.COMM_WORLD.size != size:
        raise BackendError(
            f"mpiexec started {size} processes, but MPI finds {MPI.COMM_WORLD.size}: mpiexec and mpi4py belong to "
            "different MPIs. Use the mpiexec of the MPI that mpi4py loads: python -m mpi4py --mpi-library shows it."
        )
    group = Mpi(MPI.COMM_WORLD)
    neighbours = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    _share_out_cores(neighbours)
    _share_out_gpus(neighbours.rank)
    hook = sys.excepthook

    def end(*error: Any) -> None:
        group.end(lambda: hook(*error))

    sys.excepthook = end
    return group


class Mpi(Group):
    """The processes of an MPI communicator."""

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._comm, self._ends, self._here = comm.Dup(), comm.Dup(), MPI.IN_PLACE
        self.rank, self.size = comm.rank, comm.size
        self._gpus: Nccl | None = None
        self._asked = False  # whether each process has a GPU to itself

    def sum(self, a: Array) -> None:
        backend = ops_of(a)
        if backend.name == "numpy":
            self._comm.Allreduce(self._here, a)
        elif gpus := self._nccl(backend.name):
            gpus.sum(a)
        else:
            host = np.array(backend.to_host(a))  # which waits until the device has computed it
            self._comm.Allreduce(self._here, host)
            a[...] = backend.from_host(host)

    def gather(self, a: Array) -> Array:
        backend = ops_of(a)
        if backend.name != "numpy" and (gpus := self._nccl(backend.name)):
            return gpus.gather(a)
        host = np.ascontiguousarray(backend.to_host(a))
        gathered = np.empty((self.size, *a.shape), dtype=a.dtype)
        self._comm.Allgather(host, gathered)
        return backend.from_host(gathered)

    def exchange(self, value: Any) -> list[Any]:
        return self._comm.allgather(value)

    def end(self, report: Callable[[], None]) -> None:
        """See :meth:`Group.end`.

        What is wrong everywhere, such as a flag, the first process says for all. Where the others are well, they wait
        for this one in vain: it says which process it is, and aborts them all.
        """
        everybody, patience = self._ends.Ibarrier(), time.monotonic() + PATIENCE
        while not everybody.Test():
            if time.monotonic() > patience:
                say(f"process {self.rank} of {self.size}:", to="stderr")
                report()
                self._ends.Abort(1)
            time.sleep(0.01)
        if self.rank == 0:
            report()

    def _nccl(self, backend: str) -> Nccl | None:
        if not self._asked:
            gpus = self.exchange(Nccl.whose() if backend == "cupy" else None)
            self._gpus = Nccl(self) if all(gpus) and len(set(gpus)) == self.size else None
            self._asked = True
        return self._gpus


class Nccl:
    """The same between GPUs of which each belongs to one process, by NVIDIA's library, without the host."""

    def __init__(self, group: Group) -> None:
        import cupy
        from cupy.cuda import nccl

        self.cupy, self.add, self.size = cupy, nccl.NCCL_SUM, group.size
        self.kinds = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        number = group.exchange(nccl.get_unique_id() if group.rank == 0 else None)[0]
        self.comm = nccl.NcclCommunicator(group.size, number, group.rank)

    @staticmethod
    def whose() -> str | None:
        """The GPU of this process, by a name that no other has; None if CuPy has no NCCL."""
        import cupy

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy's, of several lines, that the library is not there
            try:
                from cupy.cuda import nccl  # no attribute of cupy.cuda before
            except ImportError:
                return None
        if not nccl.available:
            return None
        runtime = cupy.cuda.runtime
        return f"{socket.gethostname()} {runtime.deviceGetPCIBusId(runtime.getDevice())}"

    def sum(self, a: Any) -> None:
        self.comm.allReduce(a.data.ptr, a.data.ptr, a.size, self.kinds[str(a.dtype)], self.add, self._stream())

    def gather(self, a: Any) -> Array:
        a = self.cupy.ascontiguousarray(a)
        gathered = self.cupy.empty((self.size, *a.shape), dtype=a.dtype)
        self.comm.allGather(a.data.ptr, gathered.data.ptr, a.size, self.kinds[str(a.dtype)], self._stream())
        return gathered

    def _stream(self) -> int:
        """Everything happens in the order of CuPy's stream, so nobody needs to wait."""
        return self.cupy.cuda.get_current_stream().ptr


@contextmanager
def first_speaks(group: Group) -> Iterator[None]:
    """Within the ``with`` block, what processes but the first print goes nowhere; errors are for :meth:`Group.end`."""
    with ExitStack() as stack:
        if group.rank > 0:
            stack.enter_context(redirect_stdout(Console(None)))
            stack.enter_context(redirect_stderr(Console(None)))
        yield


def _share_out_cores(neighbours: Any) -> None:
    """Give each process of this machine as many threads as there are cores for it: more would stand in line."""
    if os.environ.get("OMP_NUM_THREADS"):
        return
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    all_cores = set().union(*neighbours.allgather(cores))  # some launchers give each process cores of its own
    from threadpoolctl import threadpool_limits

    mine = max(1, min(len(cores), len(all_cores) // neighbours.size))
    os.environ["OMP_NUM_THREADS"] = str(mine)  # which tinygan's own threads, and a child process, go by
    threads.workers.cache_clear()
    threadpool_limits(mine, user_api="blas")  # which has read the variable already


def gpu_in_use() -> bool:
    """Whether CuPy's backend has been loaded, and so the GPU been asked for something."""
    return ops.in_use("cupy")


def _share_out_gpus(rank: int) -> None:
    """Show each process of this machine one of its GPUs, before CUDA is asked for any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(len(glob("/dev/nvidia[0-9]*")))]
    if visible != "" and len(gpus) > 1:
        if gpu_in_use():
            warnings.warn(
                f"all processes of this machine share its first GPU, and {len(gpus) - 1} more do nothing, since the "
                "GPU was used before the processes were counted. Call tinygan.parallel.mpi.world() first.",
                RuntimeWarning,
                stacklevel=3,
            )
            return
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[rank % len(gpus)]
