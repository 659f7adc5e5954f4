"""What test_mpi.py starts with mpiexec: ``processes.py WHAT FOLDER ...`` leaves in the folder what it found."""

import json
import os
import signal
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from support.small_runs import small_data, small_gan
from support.together import COUNTS, batches_of, cases, shares, state, step
from tinygan.backends import to_numpy
from tinygan.backends.cpu import threads
from tinygan.parallel import joined
from tinygan.parallel.mpi import world
from tinygan.runs.training import train

RUN = {"steps": 12, "batch_size": 7, "sample_every": 6, "checkpoint_every": 3, "progress": False}


def all_cases(folder):
    """Every case with unequal shares: losses, the last state, and a checksum of the weights after each step."""
    group = world()
    results, sums = {}, {}
    for name, gan, shape in cases():
        rows, losses, sums[name] = shares(COUNTS[group.size], 8)[group.rank], [], []
        with joined(gan, group) as player:
            for batch in batches_of(shape):
                mine = batch[:, rows]
                losses.append(step(player, mine.reshape(-1, *mine.shape[2:])))
                sums[name].append([zlib.crc32(to_numpy(n.theta)) for n in (gan.generator, gan.discriminator)])
        arrays, about = state(gan)
        results |= {f"{name}/{key}": array for key, array in arrays.items()}
        results[f"{name}/losses"] = np.array(losses)
        sums[name].append(zlib.crc32(repr(about).encode()))
    np.savez(folder / f"{group.rank}.npz", **results)
    facts = {"size": group.size, "sums": sums, "threads": threads.workers(), "omp": os.environ["OMP_NUM_THREADS"]}
    (folder / f"{group.rank}.json").write_text(json.dumps(facts))


def run(folder, how="", rank="0", step="0"):
    """A training run, in which something happens to one process in the middle of a step; or it goes on."""
    group = world()
    folder.mkdir(exist_ok=True)
    (folder / f"pid.{group.rank}").write_text(str(os.getpid()))
    gan = small_gan()
    original = gan.discriminator.input_gradient

    def input_gradient(cache, dy):  # in G's turn, once in a step
        if gan.t + 1 == int(step):
            (folder / f"there.{group.rank}").touch()
            if int(rank) == group.rank:
                patience = time.monotonic() + 20.0
                while not all((folder / f"there.{r}").exists() for r in range(group.size)):  # others may be slower
                    assert time.monotonic() < patience
                    time.sleep(0.01)
                happen(how)
        return original(cache, dy)

    gan.discriminator.input_gradient = input_gradient
    train(gan, small_data(), out=folder / "run", resume=how == "resume", **RUN)


def happen(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise RuntimeError("this process alone")
    if how == "wait":  # until a signal has come, and the handler of training has stepped back
        handler, patience = signal.getsignal(signal.SIGINT), time.monotonic() + 20.0
        while signal.getsignal(signal.SIGINT) is handler and time.monotonic() < patience:
            time.sleep(0.01)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
