"""Products through the C interface of cuBLAS: leading dimensions, transposes, handles.

By default a library of a few lines in Python stands for cuBLAS. It is called through the same C signatures, with the
addresses of NumPy arrays, and reads them column by column as cuBLAS does. ``pytest --backend cupy`` runs the same on
the real one.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.backends import get_ops, loading, to_numpy
from tinygan.backends.cuda import cublas
from tinygan.errors import BackendError, ShapeError

sizes = st.integers(1, 5)
BESIDE = 1e6  # what lies in memory around a matrix, larger than any product here


class Library:
    """What cuBLAS does in the five functions that are used, and what it was asked for."""

    def __init__(self):
        self.calls, self.failing = [], None
        for name, arguments in cublas.SIGNATURES.items():
            function = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(getattr(self, "_" + name))
            setattr(self, name, function)

    def _cublasCreate_v2(self, handle):
        handle[0] = 7000 + len(self.calls)
        return self._done("create", handle[0])

    def _cublasDestroy_v2(self, handle):
        return self._done("destroy", handle)

    def _cublasSetStream_v2(self, handle, stream):
        return self._done("stream", handle, stream)

    def _cublasSetWorkspace_v2(self, handle, memory, size):
        return self._done("workspace", handle, memory, size)

    def _cublasGemmEx(self, handle, ta, tb, m, n, k, alpha, A, at, lda, B, bt, ldb, beta, C, ct, ldc, compute, algo):
        real = {0: ctypes.c_float, 1: ctypes.c_double}[ct]
        if not at == bt == ct or algo != -1 or (compute == 70) != (ct == 1):
            return 15
        rows = {"A": k if ta else m, "B": n if tb else k, "C": m}
        if lda < max(1, rows["A"]) or ldb < max(1, rows["B"]) or ldc < max(1, m):
            return 7  # as cuBLAS

        def matrix(at, rows, columns, ld):
            flat = np.ctypeslib.as_array((real * (ld * (columns - 1) + rows)).from_address(at))
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), (flat.itemsize, ld * flat.itemsize))

        a = matrix(A, rows["A"], m if ta else k, lda)
        b = matrix(B, rows["B"], k if tb else n, ldb)
        c = matrix(C, m, n, ldc)
        alpha, beta = (ctypes.cast(p, ctypes.POINTER(real))[0] for p in (alpha, beta))
        product = alpha * ((a.T if ta else a) @ (b.T if tb else b))
        c[...] = product + beta * c if beta else product  # where beta is 0, C is not read
        return self._done("product", handle, compute, ta, tb)

    def _done(self, what, *about):
        self.calls.append((what, *about))
        return 3 if what == self.failing else 0


@pytest.fixture
def library(monkeypatch):
    """The Python library in the place of cuBLAS, and NumPy's arrays in that of CuPy's."""
    fake = Library()
    stream = SimpleNamespace(ptr=0)
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: 0),
        get_current_stream=lambda: stream,
        Memory=lambda size: SimpleNamespace(ptr=4096, size=size),
    )
    fake.stream = stream
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda, ndarray=()))
    monkeypatch.setattr(cublas, "load", lambda: fake)
    monkeypatch.setattr(cublas, "_handles", {})
    monkeypatch.setattr(cublas, "_pointer", lambda a: a.ctypes.data)
    return fake


@pytest.fixture
def put(request):
    """Copies an array, with its strides, to where products are computed."""
    if "cupy" in (request.config.getoption("--backend") or []):
        return get_ops("cupy").from_host
    request.getfixturevalue("library")
    return lambda host: host


LAYOUTS = {
    "rows": lambda a: a.copy(),
    "columns": lambda a: np.asfortranarray(a),
    "rows of a wider one": lambda a: within(a, (0, 3))[:, : a.shape[1]],
    "columns of a longer one": lambda a: within(a.T, (0, 2))[:, : a.shape[0]].T,
    "some of the rows": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "one row again and again": lambda a: np.broadcast_to(a[:1].copy(), a.shape),
    "overlapping": lambda a: overlapping(a.shape).astype(a.dtype, copy=False),
}  # fmt: skip


def overlapping(shape):
    """Rows that share all but one of their numbers with the next."""
    return np.lib.stride_tricks.sliding_window_view(np.arange(sum(shape) - 1.0), shape[1])


def within(a, more):
    wide = np.full((a.shape[0] + more[0], a.shape[1] + more[1]), BESIDE, dtype=a.dtype)
    wide[: a.shape[0], : a.shape[1]] = a
    return wide


layouts = st.sampled_from(sorted(LAYOUTS))
WRITABLE = [name for name in LAYOUTS if name not in ("one row again and again", "overlapping")]


@given(
    m=sizes, n=sizes, k=sizes, left=layouts, right=layouts, add=st.booleans(), data=st.data(),
    dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_products_of_all_layouts_equal_those_of_numpy(m, n, k, left, right, add, data, dtype, seed):
    rng = np.random.default_rng(seed)
    fake = Library()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cublas, "_handle", lambda: (fake, 1))
        patch.setattr(cublas, "_pointer", lambda a: a.ctypes.data)
        a = LAYOUTS[left](rng.integers(-4, 5, (m, k)).astype(dtype))
        b = LAYOUTS[right](rng.integers(-4, 5, (k, n)).astype(dtype))
        into = data.draw(st.sampled_from([None] * (not add) + WRITABLE))
        old = rng.integers(-4, 5, (m, n)).astype(dtype)
        out = None if into is None else LAYOUTS[into](old)
        expected = a @ b + (old if add else 0.0)  # whole numbers: exact in any order
        before = a.copy(), b.copy()
        result = cublas.matmul(a, b, out, add=add)
    assert (result is out) == (out is not None)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])
    if out is not None and out.base is not None and into.endswith("one"):
        assert (out.base == BESIDE).sum() == out.base.size - out.size  # what lies beside it is as it was


@pytest.mark.parametrize(
    "left", ["rows", "columns", "rows of a wider one", "columns of a longer one", "some of the rows"]
)
@pytest.mark.parametrize("right", ["rows", "columns", "rows of a wider one", "columns of a longer one"])
def test_views_that_cublas_can_read_are_not_copied(library, monkeypatch, left, right):
    monkeypatch.setattr(np, "ascontiguousarray", None)
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(cublas.matmul(LAYOUTS[left](a), LAYOUTS[right](b)), a @ b)


def test_a_product_that_is_written_does_not_read_what_was_there(put):
    out = put(np.full((2, 2), np.nan, dtype=np.float32))
    cublas.matmul(put(np.eye(2, dtype=np.float32)), put(np.ones((2, 2), dtype=np.float32)), out)
    assert float(out.sum()) == 4.0


@pytest.mark.parametrize("shapes", [((3, 4), (4,)), ((3,), (3, 4)), ((4,), (4,)), ((1, 4), (4, 1)), ((5, 1), (1, 6))])
def test_vectors_and_thin_matrices(put, shapes):
    a, b = (np.arange(np.prod(shape), dtype=np.float64).reshape(shape) for shape in shapes)
    result = cublas.matmul(put(a), put(b))
    assert result.shape == (a @ b).shape
    np.testing.assert_array_equal(to_numpy(result), a @ b)


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5)), ((2, 3), (3, 4), (4, 2))])
def test_what_does_not_fit_is_refused(library, shapes):
    with pytest.raises(ShapeError, match="do not fit"):
        cublas.matmul(*(np.zeros(shape) for shape in shapes))
    with pytest.raises(ShapeError, match="do not fit"):
        cublas.matmul(np.zeros((2, 3)), np.zeros((3, 4), dtype=np.float32))
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 31, 1), (8, 8))
    with pytest.raises(ShapeError, match="beyond"):
        cublas._gemm(cublas._readable(np.zeros((1, 1))), cublas._readable(huge), huge, (1, 1 << 31, 1), 1, False)


@pytest.mark.parametrize(("precision", "dtype", "compute"), [
    ("fp32", np.float32, 68), ("tf32", np.float32, 77), ("fp32", np.float64, 70), ("tf32", np.float64, 70),
])  # fmt: skip
def test_the_precision_is_that_of_float32_products_alone(library, monkeypatch, precision, dtype, compute):
    monkeypatch.setattr(loading, "_precision", precision)
    cublas.matmul(np.ones((2, 2), dtype=dtype), np.ones((2, 2), dtype=dtype))
    assert library.calls[-1][2] == compute


def test_each_stream_has_one_handle_with_memory_set_after_the_stream(library):
    one = np.ones((2, 2))
    for stream in (0, 5, 0, 5):
        library.stream.ptr = stream
        cublas.matmul(one, one)
    made = [call[:1] for call in library.calls if call[0] != "product"]
    assert made == [("create",), ("stream",), ("workspace",)] * 2
    first, second = (call[1] for call in library.calls if call[0] == "create")
    assert [call[1] for call in library.calls if call[0] == "product"] == [first, second, first, second]
    assert ("stream", second, 5) in library.calls
    assert ("workspace", second, 4096, cublas.WORKSPACE) in library.calls


def test_a_stream_that_goes_gives_its_handle_back(library):
    """The next stream at the same address has another."""
    one = np.ones((2, 2))
    library.stream.ptr = 5
    for _ in range(2):
        cublas.matmul(one, one)
        ((_, (handle, _)),) = cublas._handles.items()
        cublas.forget(0, 4)  # another
        cublas.forget(0, 5)
        cublas.forget(0, 5)
        assert library.calls[-1] == ("destroy", handle)
        assert not cublas._handles
    assert [call[0] for call in library.calls].count("create") == 2
    assert len({call[1] for call in library.calls if call[0] == "destroy"}) == 2


@pytest.mark.parametrize("what", ["create", "stream", "workspace", "product"])
def test_a_failure_is_named_and_leaves_no_half_made_handle(library, what):
    library.failing = what
    with pytest.raises(BackendError, match="status 3: the GPU's memory is full"):
        cublas.matmul(np.ones((2, 2)), np.ones((2, 2)))
    library.failing = None
    assert cublas.matmul(np.ones((2, 2)), np.ones((2, 2))).sum() == 8.0


@pytest.mark.parametrize("wrong", ["transposes swapped", "operands swapped", "ld of the other", "beta forgotten"])
def test_a_wrong_product_would_be_found(library, monkeypatch, wrong):
    right = cublas._gemm

    def altered(left, right_, out, sizes, ldc, add):
        if wrong == "transposes swapped":
            left = left._replace(operation=1 - left.operation)
        if wrong == "operands swapped":
            left, right_ = right_, left
        if wrong == "ld of the other":
            left, right_ = left._replace(ld=right_.ld), right_._replace(ld=left.ld)
        right(left, right_, out, sizes, ldc, add and wrong != "beta forgotten")

    monkeypatch.setattr(cublas, "_gemm", altered)
    rng, out = np.random.default_rng(0), np.ones((3, 3))
    a, b = within(rng.random((3, 3)), (0, 2))[:, :3], rng.random((3, 3))
    try:
        noticed = not np.allclose(cublas.matmul(a, b, out, add=True), a @ b + 1.0)
    except BackendError:
        noticed = True
    assert noticed


# ---- where the library is ------------------------------------------------------------------------------------------


def test_the_library_in_memory_is_found(tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r--p 00000000 fe:00 1 /usr/lib/libcublasLt.so.12.4\n"
        "7f01-7f02 r--p 00000000 fe:00 2 /a b/nvidia/cublas/lib/libcublas.so.12\n"
        "7f02-7f03 r-xp 00001000 fe:00 2 /a b/nvidia/cublas/lib/libcublas.so.12\n"
        "7f03-7f04 r--p 00000000 00:00 0 [stack]\n"
    )
    assert cublas.loaded(str(maps)) == ["/a b/nvidia/cublas/lib/libcublas.so.12"]
    assert cublas.loaded(str(tmp_path / "none")) == []


@pytest.fixture
def afresh():
    cublas.load.cache_clear()
    yield
    cublas.load.cache_clear()


@pytest.mark.usefixtures("afresh")
def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cublas, "_candidates", lambda: ["libno-such-cublas.so.99"])
    with pytest.raises(BackendError, match=r"pip install nvidia-cublas-cu12 .*libno-such-cublas"):
        cublas.load()


@pytest.mark.usefixtures("afresh")
def test_a_library_that_is_found_learns_the_signatures(monkeypatch):
    made = SimpleNamespace(**{name: SimpleNamespace() for name in cublas.SIGNATURES})
    monkeypatch.setattr(cublas, "_candidates", lambda: ["libnone.so", "libcublas.so.12"])

    def cdll(name):
        if name == "libnone.so":
            raise OSError("no such file")
        return made

    monkeypatch.setattr(ctypes, "CDLL", cdll)
    assert cublas.load() is made
    assert made.cublasGemmEx.argtypes == cublas.SIGNATURES["cublasGemmEx"]
    assert len(made.cublasGemmEx.argtypes) == 19


@pytest.mark.parametrize("version", [12040, 13000])
def test_names_are_tried_from_the_likeliest_on(monkeypatch, version):
    runtime = SimpleNamespace(runtimeGetVersion=lambda: version)
    cuda, made = ModuleType("cupy.cuda"), []  # whose cublas is no module, and loaded when it is first asked for
    cuda.runtime, cuda.__getattr__ = runtime, lambda name: made.append(name) if name == "cublas" else None
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.setattr(cublas, "loaded", lambda: ["/in/memory/libcublas.so"] * bool(made))
    finder = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: SimpleNamespace(abs_path=f"/found/{name}"))
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(pathfinder=finder))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finder)
    names = list(cublas._candidates())
    assert names == ["/in/memory/libcublas.so", f"libcublas.so.{version // 1000}", "/found/cublas"]
