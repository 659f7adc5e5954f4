"""The shape of the code itself: the book and its wings, imports that point one way, and importing without effects."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygan
from tinygan import GAN, layers

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinygan"
FILES = sorted(PACKAGE.rglob("*.py"))

#: What a student reads, in this order, to understand a GAN from noise to Adam.
BOOK = [
    *("layers/__init__", "layers/dense", "layers/base", "layers/activations", "layers/initializers"),
    *("losses/__init__", "losses/adversarial", "network", "optim/__init__", "optim/adam", "gan", "ops"),
    *("layers/convolution", "layers/batchnorm", "layers/shape", "errors"),
]
BOOK_LINES = 2_200

# From the ground up: a module imports only from its own room and from those before it. First the book and what is on
# its level, then the wings.
ORDER = [
    *("errors", "ops", "checkpoints", "layers", "losses", "network", "optim", "gan"),
    *("backends", "penalties", "augment", "models", "parallel", "data", "metrics", "runs", "testing", "command"),
]
#: What is refused when a layer is made, arrays that must stay, a table, what is saved: a reader need not open these.
BESIDE_THE_BOOK = {"checkpoints", "layers.starting", "layers.shared", "layers.stored", "layers.table", "optim.stored"}
HEAVY = {"cupy", "filelock", "hypothesis", "matplotlib", "PIL", "pooch", "pytest", "safetensors", "scipy"}
NEEDED_LATER = {"threadpoolctl", "tqdm", "ctypes.util"}  # light, but not everybody's


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path):
    """The modules of tinygan that a file imports, at its top or inside a function: 'layers.base', 'gan'."""
    place = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(place) + 1, f"{path}: imports from outside the package"
            above = place[: len(place) + 1 - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join((*above, *name.split("."))) for name in names)
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "tinygan":
            yield from [node.module[8:]] if "." in node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name[8:] or "__init__" for alias in node.names if alias.name.split(".")[0] == "tinygan")


# ---- the book --------------------------------------------------------------------------------------------------------


def test_the_book_is_read_in_an_evening():
    sizes = {name: len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines()) for name in BOOK}
    assert sum(sizes.values()) <= BOOK_LINES, sizes


@pytest.mark.parametrize("name", BOOK)
def test_the_book_does_not_know_the_wings(name):
    book = {name.removesuffix("/__init__").replace("/", ".") for name in BOOK}
    wrong = {module for module in imported(PACKAGE / f"{name}.py") if module not in book | BESIDE_THE_BOOK}
    if name.endswith("__init__"):  # a list of all that lies in the folder, more of the same kind included
        wrong = {module for module in wrong if not module.startswith(name.removesuffix("__init__").replace("/", "."))}
    assert not wrong, f"{name} imports {wrong}"


def test_readme_lists_the_book_in_reading_order_with_its_sizes():
    rows = re.findall(r"^\| `(\S+?)\.py` \| (\d+) \|", (ROOT / "README.md").read_text("utf-8"), flags=re.M)
    assert [name for name, _ in rows] == BOOK
    for name, lines in rows:
        assert int(lines) == len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines()), f"README: size of {name}"
    assert f"{sum(int(lines) for _, lines in rows):,} lines" in (ROOT / "README.md").read_text("utf-8")


def test_dense_is_what_a_teacher_writes_on_the_board():
    source = inspect.getsource(layers.Dense)
    for line in ("x @ W + b", 'dy @ self.params["W"].T', "x.T @ dy", "dy.sum(axis=0)"):
        assert line in source


@pytest.mark.parametrize("name", sorted(f"layers/{path.stem}" for path in (PACKAGE / "layers").glob("*.py")))
def test_layers_have_no_word_of_the_wings(name):
    text = (PACKAGE / f"{name}.py").read_text("utf-8").lower()
    words = r"cuda|fused|mpi\b|processes|tangent|second.order|replay|captur|\bgraph|\bhost\b|\bdevice"
    assert not re.findall(words, text)


def test_a_step_is_the_algorithm():
    parts = GAN.step, GAN.draw, GAN.play, GAN._discriminator_turn, GAN._generator_turn  # check_real only refuses
    assert sum(len(inspect.getsource(part).splitlines()) for part in parts) <= 60


def test_nothing_is_decided_by_signatures_or_replaced_behind_a_users_back():
    for path in FILES:
        text = path.read_text("utf-8")
        for word in ("inspect.signature", "__init_subclass__", "setattr(cls"):
            assert word not in text, f"{path.name} has {word}"


# ---- the house -------------------------------------------------------------------------------------------------------


def test_the_top_of_the_package_is_small():
    tooling = "__init__.py", "__main__.py", "py.typed", "__pycache__"  # what Python looks for, and no rooms
    entries = [p for p in PACKAGE.iterdir() if p.name not in tooling]
    assert len(entries) <= 18, sorted(p.name for p in entries)


@pytest.mark.parametrize("folder", sorted({p.parent for p in FILES if p.parent != PACKAGE}), ids=lambda p: p.name)
def test_each_folder_says_what_lives_there_and_what_it_imports(folder):
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    assert text, f"{folder.name}/__init__.py has no docstring"
    assert "import" in text.lower(), f"{folder.name}/__init__.py does not say what may be imported"


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.parent != PACKAGE or f.stem not in ("__init__", "__main__")], ids=str
)
def test_imports_point_one_way(path):
    place = ORDER.index(room(path))
    rooms = {module.split(".")[0] for module in imported(path)} - {"__version__", "__init__"}
    wrong = [name for name in rooms if ORDER.index(name) > place and (path.name, name) not in UPWARD]
    assert not wrong, f"{path.name} in {room(path)} imports {wrong}, which stand above it"


#: Exceptions, each with its reason: none so far.
UPWARD: set[tuple[str, str]] = set()


def test_the_import_check_sees_imports():
    assert set(imported(PACKAGE / "gan.py")) >= {"ops", "layers", "layers.base", "losses", "network", "optim"}
    assert "layers.base" in set(imported(PACKAGE / "layers" / "dense.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text("utf-8").splitlines()) <= 320


def test_engine_never_calls_numpy_on_an_array_that_may_be_on_a_device():
    """In layers, losses and optimisers, NumPy is for dtypes, generators and the arrays that layers start with."""
    allowed = {"dtype", "float32", "float64", "ndarray", "ndim", "random", "zeros", "ones", "prod", "array"}
    for path in [p for folder in ("layers", "losses", "optim") for p in (PACKAGE / folder).glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                fine = node.attr in allowed or (path.name, node.attr) == ("classification.py", "ndarray")
                assert fine, f"{path.name}:{node.lineno} calls np.{node.attr}"


# ---- importing -------------------------------------------------------------------------------------------------------


def run(code: str, **environment: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, env={**os.environ, **environment})


def test_importing_tinygan_loads_numpy_and_nothing_heavy():
    loaded = run("import sys, tinygan; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "numpy" in loaded
    assert not (HEAVY | NEEDED_LATER) & set(loaded)


def test_importing_tinygan_has_no_effects():
    """Environment, threads, signal handlers, warnings, random states, floating-point errors: as NumPy leaves them."""
    code = """
import os, signal, sys, threading, warnings
import numpy as np
def state():
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    return (dict(os.environ), threading.active_count(), handlers, list(warnings.filters), list(sys.path), np.geterr(),
            np.random.get_state()[1].tolist(), sys.excepthook, sys.getswitchinterval(), list(sys.meta_path))
import ctypes
def refuse(*_, **__): raise AssertionError("a C library is loaded")
ctypes.CDLL.__init__ = refuse
before = state()
import tinygan, tinygan.data, tinygan.models, tinygan.penalties, tinygan.runs, tinygan.parallel
assert state() == before
print("same")
"""
    assert run(code).strip() == "same"


def test_what_is_tuned_is_tuned_when_a_network_runs_and_can_be_switched_off():
    code = """
import numpy as np
from tinygan import Sequential
from tinygan.backends.cpu import tuning
from tinygan.layers import Dense
asked = []
tuning.keep_memory = lambda: asked.append("memory") or True
tuning.let_idle_threads_sleep = lambda: asked.append("threads") or True
network = Sequential(Dense(2, 2))
assert not asked
network(np.ones((2, 2), dtype=np.float32))
network(np.ones((2, 2), dtype=np.float32))
print(*asked)
"""
    assert run(code, TINYGAN_TUNE="1").split() == ["memory", "threads"]
    assert run(code, TINYGAN_TUNE="0").split() == []


@pytest.mark.parametrize(
    "name", ["layers", "losses", "optim", "penalties", "models", "data", "testing", "GAN", "Sequential", "train"]
)
def test_public_names_are_found(name):
    assert name in dir(tinygan)
    assert getattr(tinygan, name) is not None


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="there are: GAN, Sequential"):
        _ = tinygan.Gan
