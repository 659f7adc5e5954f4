"""Settings of the whole suite, and the argument ``device``, which runs a test on every backend.

By default tests that take ``device`` run on NumPy and on the stand-in device array; ``pytest --backend cupy`` runs
them on the GPU (the option may be repeated). ``device`` is a plain parameter, so it goes well with Hypothesis::

    @given(n=st.integers(1, 5), rng=rngs)
    def test_relu_keeps_what_is_positive(device, n, rng):
        x = device.put(rng.standard_normal((n, 3)))
        assert (device.get(ReLU()(x)) >= 0).all()
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import tinygan.testing.device  # noqa: F401  (registers the backend "standin")
from tinygan.backend import Array, Backend, get_backend
from tinygan.errors import BackendError

settings.register_profile(
    "tinygan",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.differing_executors],  # methods of test classes run once per device
)
settings.register_profile("ci", settings.get_profile("tinygan"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "tinygan")


@dataclass(frozen=True)
class Device:
    """Where a test runs: ``xp`` is its module of functions, ``put`` copies a NumPy array there, ``get`` fetches it."""

    backend: Backend

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def xp(self) -> Any:
        return self.backend.xp

    def put(self, host: np.ndarray) -> Array:
        return self.backend.from_host(np.array(host))

    def get(self, array: Array) -> np.ndarray:
        kinds = (
            (np.ndarray, np.generic) if self.name == "numpy" else self.backend.array_type
        )  # NumPy's sums are scalars
        assert isinstance(array, kinds), f"{type(array)} is no array of {self.name}"
        return self.backend.to_host(array)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=["numpy", "standin", "cupy"],
        help="where tests of the engine run (may be repeated); default: numpy and standin, which need no GPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        for name in _chosen(config):
            get_backend(name)
    except BackendError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        devices = [Device(get_backend(name)) for name in _chosen(metafunc.config)]
        metafunc.parametrize("device", devices, ids=[d.name for d in devices], scope="session")


def _chosen(config: pytest.Config) -> list[str]:
    return list(dict.fromkeys(config.getoption("--backend") or ["numpy", "standin"]))
