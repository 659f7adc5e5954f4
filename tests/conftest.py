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

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores, so each uses one; read when NumPy is loaded
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from support import counting

import tinygan.testing.device  # (registers the backend "standin")
from tinygan.errors import BackendError
from tinygan.ops import Array, Ops, get_ops

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

    backend: Ops

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


# ---- pytest -m quick -------------------------------------------------------------------------------------------------

TESTS = Path(__file__).parent
QUICK = {
    "layers",
    "losses",
    "optim",
    "test_architecture.py",
    "test_gan.py",
    "test_network.py",
    "test_ops.py",
    "test_errors.py",
}
QUICK_EXAMPLES = 20  # that Hypothesis draws there; the whole suite draws as many as each test says


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of the book are quick ones, and draw fewer examples if they alone are asked for."""
    for item in items:
        if item.path.relative_to(TESTS).parts[0] not in QUICK:
            continue
        item.add_marker(pytest.mark.quick)
        test = getattr(item.obj, "__func__", item.obj)
        whole = getattr(test, "_hypothesis_internal_use_settings", None)
        if config.getoption("markexpr") == "quick" and whole and whole.max_examples > QUICK_EXAMPLES:
            test._hypothesis_internal_use_settings = settings(whole, max_examples=QUICK_EXAMPLES)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Layers that a test makes without ``rng`` are the same whatever ran before it in this process."""
    tinygan.seed(0)


# ---- where tests run -------------------------------------------------------------------------------------------------


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
            get_ops(name)
    except BackendError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        devices = [Device(get_ops(name)) for name in _chosen(metafunc.config)]
        metafunc.parametrize("device", devices, ids=[d.name for d in devices], scope="session")


def _chosen(config: pytest.Config) -> list[str]:
    return list(dict.fromkeys(config.getoption("--backend") or ["numpy", "standin"]))


# ---- how many gradients were checked (see counting.py) -------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist, which reports to the main process
        session.config.workeroutput["gradient_cases"] = counting.cases
    elif exitstatus == 0 and _whole_suite(session.config) and counting.cases < counting.REQUIRED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    counting.cases += getattr(node, "workeroutput", {}).get("gradient_cases", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if counting.cases:
        needed = f", {counting.REQUIRED:,} needed" if _whole_suite(config) else ""
        terminalreporter.write_line(f"{counting.cases:,} generated gradient cases checked{needed}")


def _whole_suite(config: pytest.Config) -> bool:
    """Whether all tests were asked for: no files named, none left out."""
    fewer = "keyword markexpr deselect ignore ignore_glob lf collectonly backend"
    chosen = (config.getoption(name, None) for name in fewer.split())
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not any(chosen)
