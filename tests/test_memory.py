"""Freed memory is kept for the next array, unless the user has said otherwise."""

import os
import subprocess
import sys

import pytest

from tinygan import memory

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


@pytest.mark.skipif(not memory.keep(), reason="a C library other than glibc, or variables that decide otherwise")
def test_large_arrays_get_their_memory_back():
    anew = faults("")
    if anew < 100_000:
        pytest.skip("this system has huge pages everywhere")
    assert faults("import tinygan") < anew / 100


@pytest.mark.parametrize("name", sorted(memory.USERS))
def test_the_users_word_counts(monkeypatch, name):
    monkeypatch.setenv(name, "131072")
    assert memory.keep() is False


def test_other_systems_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep() is False
