"""What is tuned in a process when a network first runs there: never by an import, and never against the user's word."""

import os
import subprocess
import sys
import threading

import pytest

from tinygan.backends.cpu import tuning

FAULTS = """
import resource
import numpy as np
{first}
def make():
    for _ in range(20):
        np.ones((100, 1024, 1024 // 4), dtype=np.float32)  # 100 MB
make()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
make()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    """Pages that the system had to clear while large arrays came and went."""
    code = FAULTS.format(first=first)
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # 512 pages at once would hide what is counted
    return int(subprocess.check_output([sys.executable, "-c", code], text=True, env=environment))


TUNE = "from tinygan.backends.cpu.tuning import tune; tune()"


@pytest.mark.skipif(not tuning.keep_memory(), reason="a C library other than glibc, or variables that decide otherwise")
def test_large_arrays_get_their_memory_back():
    anew = faults("import tinygan")
    if anew < 100_000:
        pytest.skip("this system has huge pages everywhere")
    assert faults(TUNE) < anew / 100


@pytest.mark.parametrize("name", sorted(tuning.ALLOCATOR))
def test_the_users_word_on_memory_counts(monkeypatch, name):
    monkeypatch.setenv(name, "131072")
    assert tuning.keep_memory() is False


def test_other_systems_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert tuning.keep_memory() is False


def test_the_users_word_on_idle_threads_counts(monkeypatch):
    monkeypatch.setenv(tuning.IDLE, "26")
    assert tuning.let_idle_threads_sleep() is False


def test_threads_of_blas_are_not_started_anew_under_a_running_product():
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    other.start()
    try:
        assert tuning.let_idle_threads_sleep() is False
    finally:
        waiting.set()
        other.join()


def alone(code, **environment):
    """What a fresh process prints."""
    given = {**os.environ, **environment}
    return subprocess.check_output([sys.executable, "-c", code], text=True, env=given).strip()


SPY = """
import numpy as np
from tinygan.backends.cpu import tuning
made = []
for name in ("keep_memory", "let_idle_threads_sleep"):
    setattr(tuning, name, lambda name=name: made.append(name) or True)
from tinygan import Sequential
from tinygan.layers import Dense
network = Sequential(Dense(2, 2))
print(made, end=" ")
for _ in range(2):
    network(np.ones((3, 2), dtype="float32"))
print(made)
"""


def test_once_a_process_and_when_a_network_first_runs():
    assert alone(SPY, TINYGAN_TUNE="1") == "[] ['keep_memory', 'let_idle_threads_sleep']"


def test_all_of_it_can_be_switched_off():
    assert alone(SPY, TINYGAN_TUNE="0") == "[] []"


PRODUCT = """
import os
import numpy as np
from tinygan.backends.cpu.tuning import IDLE, tune
a = np.arange(90_000.0).reshape(300, 300)
before = a @ a
tune()
assert IDLE not in os.environ, "child processes decide for themselves"
assert np.array_equal(before, a @ a)
print("the same")
"""


def test_products_go_on_as_before():
    assert alone(PRODUCT) == "the same"
