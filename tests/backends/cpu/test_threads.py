"""BLAS has its threads back after training, however many threads of Python trained at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from tinygan.backends.cpu import threads
from tinygan.layers import Conv2D


class Blas:
    """A BLAS of four threads, as threadpoolctl shows it: with OpenMP, each thread of Python has a number of its own."""

    def __init__(self, threading_layer):
        self.threading_layer = threading_layer
        self.shared, self.local = 4, threading.local()

    @property
    def num_threads(self):
        return getattr(self.local, "threads", 4) if self.threading_layer == "openmp" else self.shared

    def set_num_threads(self, threads):
        self.shared = self.local.threads = threads


@pytest.fixture(params=["pthreads", "openmp"])
def blas(monkeypatch, request):
    blas = Blas(request.param)
    monkeypatch.setattr(threads, "_blas", lambda: [blas])
    return blas


def test_blocks_within_blocks_and_errors_within_them(blas):
    with threads.one_blas_thread():
        with threads.one_blas_thread():
            assert blas.num_threads == 1
        assert blas.num_threads == 1
        with pytest.raises(ZeroDivisionError), threads.one_blas_thread():
            _ = 1 / 0
        assert blas.num_threads == 1
    assert blas.num_threads == 4
    with pytest.raises(KeyboardInterrupt), threads.one_blas_thread():
        raise KeyboardInterrupt
    assert blas.num_threads == 4


@pytest.mark.parametrize("first_in_is_first_out", [True, False])
def test_two_threads_whose_blocks_overlap(blas, first_in_is_first_out):
    entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def work(k):
        with threads.one_blas_thread():
            entered[k].set()
            leave[k].wait(10)
            assert blas.num_threads == 1
        assert blas.threading_layer == "pthreads" or blas.num_threads == 4

    with ThreadPoolExecutor(2) as pool:
        futures = []
        for k in range(2):
            futures.append(pool.submit(work, k))
            assert entered[k].wait(10)
        for k in (0, 1) if first_in_is_first_out else (1, 0):
            leave[k].set()
            futures[k].result(10)
    assert blas.num_threads == 4


def test_many_threads_in_and_out(blas):
    def work(k):
        for _ in range(50):
            try:
                with threads.one_blas_thread():
                    assert blas.num_threads == 1
                    if k % 2:
                        raise RuntimeError
            except RuntimeError:
                pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert blas.num_threads == 4


def test_convolutions_in_threads_leave_the_real_blas_as_it_was():
    def counts():
        return [library.num_threads for library in ThreadpoolController().lib_controllers]

    before = counts()

    def work(k):
        layer, x = Conv2D(2, 3, 3, rng=k), np.ones((4, 6, 6, 2), np.float32)
        for _ in range(20):
            layer.backward(layer.forward(x))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert counts() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_does_not_wait_for_blocks_of_threads_that_it_does_not_have(blas):
    with threads.one_blas_thread():
        lock = threads._lock
        lock.acquire()  # as another thread might hold it at this moment
        try:
            threads._start_anew()  # what runs in a forked child
            with threads.one_blas_thread():
                assert blas.num_threads == 1
        finally:
            lock.release()
            threads._users = 1  # this process is the parent again
