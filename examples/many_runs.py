"""Many runs at a time, each in a process of its own on one core, under one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any

from tqdm import tqdm

from tinygan.backends.cpu.threads import workers

STEPS_DONE = multiprocessing.get_context("spawn").Value("q", 0)  # in a run's process: memory it shares with all others


def count(steps: int) -> None:
    """Called by a run: so many more of its steps are done."""
    with STEPS_DONE.get_lock():
        STEPS_DONE.value += steps


def play_all(play: Callable[..., Any], jobs: Sequence[tuple], *, steps: int) -> None:
    """Call ``play(*job)`` for all jobs, as many at a time as there are cores; the bar ends at ``steps``.

    ``play`` is a function of a module, and jobs are what pickle can carry. What a run raises ends the others, and is
    raised here.
    """
    at_once = min(len(jobs), workers())
    if at_once > 1:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that begin from here on
    context = multiprocessing.get_context("spawn")  # a forked child would have this one's BLAS, without its threads
    with (
        tqdm(total=steps, unit=" steps", desc=f"{len(jobs)} runs") as bar,
        ProcessPoolExecutor(at_once, context, initializer=_begin, initargs=(STEPS_DONE,)) as pool,
    ):
        STEPS_DONE.value = 0
        running = {pool.submit(play, *job) for job in jobs}
        try:
            while running:
                ended, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.update(STEPS_DONE.value - bar.n)
                for run in ended:
                    run.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _begin(shared: Any) -> None:
    global STEPS_DONE
    STEPS_DONE = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; it is the first process that ends the others
