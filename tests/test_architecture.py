"""The shape of the code itself: imports point one way, importing is light, files stay short."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tinygan"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a module imports only from rows above its own (or from its own folder).
ORDER = [
    "memory",
    "threads",
    "errors",
    "arguments",
    "backend",
    "feeds",
    "kernels",
    "initializers",
    "layers",
    "checkpoints",
    "flat",
    "network",
    "losses",
    "schedules",
    "optim",
    "penalties",
    "resumable",
    "models",
    "parallel",
    "mpi",
    "tracing",
    "gan",
    "graphs",
    "data",
    "plotting",
    "runs",
    "trained",
    "training",
    "flags",
    "commandline",
    "testing",
]
HEAVY = {"cupy", "hypothesis", "matplotlib", "PIL", "pooch", "pytest", "safetensors", "scipy"}
NEEDED_LATER = {"threadpoolctl", "tqdm"}  # light, but not everybody's


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path):
    """The rooms of tinygan that a file imports, at its top or inside a function."""
    depth = len(path.relative_to(PACKAGE).parts)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from (name for name in names if name != "__version__")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "tinygan":
            yield node.module.split(".")[1] if "." in node.module else node.names[0].name
        elif isinstance(node, ast.ImportFrom) and node.level > depth:
            raise AssertionError(f"{path}: imports from outside the package")


@pytest.mark.parametrize("path", [f for f in FILES if f.parent != PACKAGE or f.stem != "__init__"], ids=room)
def test_imports_point_one_way(path):
    here = ORDER.index(room(path))
    wrong = [name for name in imported_rooms(path) if ORDER.index(name) > here]
    assert not wrong, f"{path.name} in {room(path)} imports {wrong}, which stand above it"


def test_the_import_check_sees_imports():
    assert set(imported_rooms(PACKAGE / "gan.py")) >= {"backend", "layers", "losses", "network", "optim"}


def test_importing_tinygan_loads_numpy_and_nothing_heavy():
    code = "import sys, tinygan; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "numpy" in loaded
    assert not (HEAVY | NEEDED_LATER) & set(loaded)


def test_threads_and_memory_are_settled_before_numpy_is_loaded():
    """OpenBLAS reads the variable once, when it is loaded; later it would say 19 and mean nothing."""
    code = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"), "tinygan.memory" in sys.modules)
sys.meta_path.insert(0, Watch())
import tinygan
"""
    clean = {key: value for key, value in os.environ.items() if key != "OPENBLAS_THREAD_TIMEOUT"}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=clean).split() == ["19", "True"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 320


def test_engine_never_calls_numpy_on_an_array_that_may_be_on_a_device():
    """In layers, losses and kernels, NumPy is for dtypes, generators and the arrays that layers start with."""
    allowed = {"float32", "float64", "ndarray", "ndim", "random", "zeros", "ones"}
    anywhere = PACKAGE / "kernels" / "elementwise.py", PACKAGE / "kernels" / "plain.py"
    for path in [*(PACKAGE / "layers").glob("*.py"), PACKAGE / "losses.py", *anywhere]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr in allowed, f"{path.name}:{node.lineno} calls np.{node.attr}"
