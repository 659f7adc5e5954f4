"""The stand-in device array keeps CuPy's rules: each rule of its docstring is proved here."""

from __future__ import annotations

import copy
import inspect
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygan.testing.cupy_surface as cupy_has
from tinygan.backends import get_ops, ops_of
from tinygan.testing.device import DeviceArray, count_syncs, forbid_syncs, standin, xp

floats = st.floats(-8, 8, width=32)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64]), hnp.array_shapes(max_dims=4, max_side=4), elements=floats
)
matrix = np.arange(12, dtype=np.float32).reshape(3, 4)


def put(host):
    return standin.from_host(np.asarray(host))


# ---- NumPy is kept out ---------------------------------------------------------------------------------------------

LEAKS = {
    "exp": np.exp,
    "tanh": np.tanh,
    "add": lambda x: np.add(x, 1.0),
    "maximum": lambda x: np.maximum(x, 0.2 * x),
    "matmul": lambda x: np.matmul(x, x.T),
    "sum": np.sum,
    "mean": lambda x: np.mean(x, axis=0),
    "where": lambda x: np.where(x > 0, x, 0.0),
    "concatenate": lambda x: np.concatenate([x, x]),
    "stack": lambda x: np.stack([x, x]),
    "zeros_like": np.zeros_like,
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "pad": lambda x: np.pad(x, 1),
    "einsum": lambda x: np.einsum("ij->j", x),
    "clip": lambda x: np.clip(x, 0, 1),
    "reshape": lambda x: np.reshape(x, -1),
    "linalg.norm": np.linalg.norm,
    "sliding_window_view": lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "logaddexp": lambda x: np.logaddexp(0, -x),
    "isfinite": lambda x: np.isfinite(x).all(),
    "shape": np.shape,
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leaked_numpy_function_is_caught_and_named(name):
    with pytest.raises(TypeError, match=f"numpy.*{name}.*get_xp"):
        LEAKS[name](put(matrix))


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        np.float32,
        np.ascontiguousarray,
        lambda x: np.array([x, x]),
        lambda x: np.zeros((3, 4)).__setitem__(..., x),
        lambda x: np.testing.assert_array_equal(np.zeros(3), x),
    ],
)
def test_no_device_array_becomes_a_numpy_array_by_itself(convert):
    with pytest.raises(TypeError, match="get"):
        convert(put(matrix))


OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">="]


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("expression", ["x {} y", "y {} x"])
def test_operators_refuse_to_mix(op, expression):
    with pytest.raises(TypeError, match="do not mix"):
        eval(expression.format(op), {"x": put(matrix), "y": matrix})


@pytest.mark.parametrize(
    "statement", ["x += y", "y += x", "x @ y.T", "y @ x.T", "x[0, 0] + y[:1, 0]", "x + y[..., :0]"]
)
def test_other_ways_to_mix_are_refused(statement):
    with pytest.raises(TypeError, match="do not mix"):
        exec(statement, {"x": put(matrix), "y": matrix.copy()})


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: xp.add(x, y),
        lambda x, y: xp.matmul(y.T, x),
        lambda x, y: xp.sum(y),
        lambda x, y: xp.where(x > 0, x, y),
        lambda x, y: xp.concatenate([x, y]),
        lambda x, y: xp.einsum("ij,ij->", x, y),
        lambda x, y: xp.full((3, 4), y),
        lambda x, y: xp.exp(x, out=y),
        lambda x, y: xp.copyto(x, y),
        lambda x, y: x.dot(y.T),
        lambda x, y: x.fill(y),
        lambda x, y: x.__setitem__(..., y),
        lambda x, y: x.__setitem__(0, y[0]),
        lambda x, y: x[np.array([0, 1])],
    ],
)
def test_functions_refuse_numpy_arrays(call):
    with pytest.raises(TypeError, match="do not mix"):
        call(put(matrix), matrix.copy())


@pytest.mark.parametrize(
    "call",
    [
        lambda x: xp.exp([1.0, 2.0]),
        lambda x: xp.sum([1.0, 2.0]),
        lambda x: xp.concatenate([x, [1.0]]),
        lambda x: x.__setitem__(0, [1.0, 2.0, 3.0, 4.0]),
        lambda x: x - [1.0, 2.0, 3.0, 4.0],
        lambda x: xp.zeros(3)[xp.asarray(1) : 2],
        lambda x: range(xp.asarray(3)),
        lambda x: hash(x),
        lambda x: memoryview(x),
    ],
)
def test_lists_are_no_arrays_and_device_integers_no_sizes(call):
    with pytest.raises(TypeError):
        call(put(matrix))


def test_arrays_enter_and_leave_by_explicit_copies():
    host = matrix.copy()
    x = xp.asarray(host)
    host[0, 0] = 99
    assert (x.get() == matrix).all()
    x.get()[0, 0] = 99
    assert (xp.asnumpy(x) == matrix).all()
    assert xp.asarray(x) is x
    assert xp.asarray([[1, 2], [3, 4]], dtype=xp.float32).shape == (2, 2)
    assert xp.asarray([x[0, 0], x[0, 1]]).tolist() == [0, 1]
    assert xp.asarray(np.asfortranarray(matrix)).flags == (False, True, True)
    with pytest.raises(ValueError, match="dtype"):
        xp.asarray(["no number"])


def test_importing_the_module_registers_the_backend():
    assert get_ops("standin") is standin is ops_of(put(matrix))
    assert isinstance(put(matrix), xp.ndarray)


# ---- only what CuPy has --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gamma", "errstate", "spacing", "apply_over_axes", "random", "ma"])
def test_functions_that_cupy_lacks_or_that_are_not_listed_are_missing(name):
    with pytest.raises(AttributeError, match=f"CuPy has no '{name}'"):
        getattr(xp, name)


@pytest.mark.parametrize(
    ("keyword", "call"),
    [
        ("where", lambda x: xp.add(x, x, where=x > 0)),
        ("where", lambda x: xp.sum(x, where=x > 0)),
        ("initial", lambda x: xp.max(x, initial=0)),
        ("initial", lambda x: x.sum(initial=0)),
        ("out", lambda x: xp.einsum("ij->j", x, out=x[0])),
        ("subok", lambda x: xp.broadcast_to(x, (2, 3, 4), subok=True)),
        ("correction", lambda x: x.var(correction=1)),
        ("like", lambda x: xp.zeros(3, like=x)),
    ],
)
def test_keywords_that_cupy_lacks_are_refused(keyword, call):
    with pytest.raises(TypeError, match=f"CuPy takes no {keyword}="):
        call(put(matrix))


def test_ufuncs_have_only_the_at_of_a_few():
    x = xp.zeros(3)
    xp.add.at(x, xp.asarray([0, 0, 2]), 1.0)
    assert x.tolist() == [2, 0, 1]
    assert not hasattr(xp.exp, "at")
    assert not hasattr(xp.add, "reduce")


def _resolve(module, path):
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _keywords(function) -> str:
    """The parameters of a CuPy function or method; compiled ones say them in the first line of their docstring."""
    if type(function).__name__ == "_GUFunc":
        function = type(function).__call__
    try:
        return str(inspect.signature(function))
    except ValueError:
        return function.__doc__.split("\n")[0]


def test_everything_listed_is_in_cupy():
    cupy = pytest.importorskip("cupy")
    for name in f"{cupy_has.UFUNCS} {cupy_has.CONSTANTS} {cupy_has.INQUIRIES} asarray ascontiguousarray array".split():
        assert hasattr(cupy, name), name
    for name in cupy_has.UFUNCS.split():
        assert all(k in getattr(cupy, name).__doc__.split("\n")[0] for k in ("out", "dtype", "casting")), name
    for name in cupy_has.SCATTERING.split():
        assert getattr(cupy, name)._scatter_op, name
    listed = [(cupy, keywords, names) for _, keywords, names in cupy_has.FUNCTIONS]
    listed += [(cupy.ndarray, keywords, names) for keywords, names in cupy_has.METHODS]
    for owner, keywords, names in listed:
        for name in names.split():
            signature = _keywords(_resolve(owner, name))
            assert "**" in signature or {*keywords.split()} <= {*re.findall(r"\w+", signature)}, (name, signature)
    ours = {name for name in dir(DeviceArray) if not name.startswith("_")}
    dunders = {name for name in vars(DeviceArray) if name.startswith("__")} - {"__slots__", "__hash__", "__module__"}
    assert ours | dunders <= {*dir(cupy.ndarray)}


# ---- values, dtypes, shapes ----------------------------------------------------------------------------------------


def same(ours, expected) -> bool:
    expected = np.asarray(expected)
    assert isinstance(ours, DeviceArray)
    assert (ours.shape, ours.dtype, ours.ndim, ours.size) == (
        expected.shape,
        expected.dtype,
        expected.ndim,
        expected.size,
    )
    return np.array_equal(ours.get(), expected, equal_nan=expected.dtype.kind == "f")


@pytest.mark.parametrize("name", [n for n in cupy_has.UFUNCS.split() if "d" in "".join(getattr(np, n).types)])
@settings(max_examples=10)
@given(data=st.data(), a=arrays)
def test_ufuncs_compute_what_numpy_computes(name, data, a):
    ufunc = getattr(np, name)
    others = [data.draw(hnp.arrays(a.dtype, a.shape, elements=floats)) for _ in range(ufunc.nin - 1)]
    with np.errstate(all="ignore"):
        expected = ufunc(a, *others)
    ours = getattr(xp, name)(*map(put, [a, *others]))
    assert same(ours, expected)
    out = xp.empty_like(ours)
    assert getattr(xp, name)(*map(put, [a, *others]), out=out) is out
    assert same(out, expected)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax", "argmin"])
@settings(max_examples=30)
@given(a=arrays, keepdims=st.booleans(), data=st.data())
def test_reductions_compute_what_numpy_computes_and_never_return_scalars(name, a, keepdims, data):
    axis = data.draw(st.sampled_from([None, *range(a.ndim)]))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, axis=axis, keepdims=keepdims)
    assert same(getattr(xp, name)(put(a), axis=axis, keepdims=keepdims), expected)
    assert same(getattr(put(a), name)(axis=axis, keepdims=keepdims), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, a: m.concatenate([a, a], axis=-1),
        lambda m, a: m.stack([a, a]),
        lambda m, a: m.pad(a, 1, mode="constant", constant_values=2.0),
        lambda m, a: m.moveaxis(a, 0, -1),
        lambda m, a: m.broadcast_to(a, (2, *a.shape)),
        lambda m, a: m.flip(a, axis=0),
        lambda m, a: m.clip(a, -1, 1),
        lambda m, a: m.where(a > 0, a, 0.2 * a),
        lambda m, a: m.tensordot(a, a, axes=a.ndim),
        lambda m, a: m.einsum("...i,...i->...", a, a),
        lambda m, a: m.linalg.norm(a.ravel()),
        lambda m, a: m.lib.stride_tricks.sliding_window_view(a, 1, axis=0),
        lambda m, a: m.take(a, m.asarray([0]), axis=0),
        lambda m, a: m.nan_to_num(a),
        lambda m, a: m.array_equal(a, a),
        lambda m, a: m.count_nonzero(a),
        lambda m, a: m.zeros((2, 3), dtype=a.dtype),
        lambda m, a: m.arange(3, dtype=a.dtype),
        lambda m, a: a.reshape(-1, 1) @ a.reshape(1, -1),
        lambda m, a: (2 * a - a / 3) ** 2,
        lambda m, a: -abs(a) // 2 % 3,
        lambda m, a: (a > 0) & ~(a > 1) | (a != a),
        lambda m, a: a.astype(np.float32).T.copy(),
    ],
)
@settings(max_examples=30)
@given(a=arrays)
def test_functions_and_operators_compute_what_numpy_computes(call, a):
    assert same(call(xp, put(a)), call(np, a))


def test_in_place_operators_keep_the_array():
    x = y = put(matrix)
    x += 1
    x *= y
    x -= y[0]
    x /= 2.0
    assert x is y
    assert same(x, ((matrix + 1) ** 2 - (matrix[0] + 1) ** 2) / 2)
    y @= y.T  # CuPy has no such operator, so Python binds y to a new array
    assert x.shape == (3, 4)
    with pytest.raises(TypeError, match="cast"):
        xp.arange(3)[...].__iadd__(0.5)


def test_numpy_scalars_promote_and_python_numbers_do_not():
    x = put(matrix)
    for scalar in (np.float64(2), np.int64(2), np.float32(2), 2, 2.0, True):
        assert same(scalar * x, scalar * matrix)
        assert same(x - scalar, matrix - scalar)
        assert same(scalar - x, scalar - matrix)
        assert same(scalar < x, scalar < matrix)
    assert (np.float64(2) * x).dtype == np.float64
    assert (2.0 * x).dtype == (x.sum() * x).dtype == np.float32
    assert xp.result_type(x, xp.float64) == np.float64


def test_full_indexing_gives_0d_views():
    x = put(matrix)
    corner = x[0, -1]
    assert (corner.shape, corner.base is x) == ((), True)
    corner += 1
    assert x[0].tolist() == [0, 1, 2, 4]
    assert [row.tolist() for row in x[:2, 0]] == [0, 4]
    loss = total = x.sum()
    total += 1
    assert float(loss) == matrix.sum() + 2


def test_arithmetic_is_silent():
    x = put(np.array([0.0, -1.0, 1e38], dtype=np.float32))  # the suite turns warnings into errors
    values = (x / 0, xp.log(x), xp.exp(x), x * x, xp.sqrt(x), x.astype(np.int8), (x * np.float32(1e38)).mean())
    assert all(isinstance(v, DeviceArray) for v in values)
    x[...] = put(np.array([1e300]))
    x.fill(1e300)
    assert x.tolist() == [math.inf] * 3


# ---- views and memory ----------------------------------------------------------------------------------------------


@given(a=arrays, data=st.data())
def test_basic_indexing_makes_views(a, data):
    key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True))
    x, expected = put(a), a.copy()
    view = x[key]
    assert same(view, a[key])
    assert view.base is x
    view[...] = 7
    expected[key] = 7
    assert same(x, expected)


def test_parameters_are_views_of_one_flat_buffer():
    theta = xp.zeros(10, dtype=xp.float32)
    W, b = theta[:6].reshape(2, 3), theta[6:]
    W.T[0] = 5
    b -= 1
    W[...] += xp.ones((1, 3), dtype=xp.float32)
    assert theta.tolist() == [6, 1, 1, 6, 1, 1, -1, -1, -1, -1]
    assert W.base is W.T.base is W.swapaxes(0, 1).base is W.ravel().base is theta
    assert xp.may_share_memory(W, theta) is True
    assert xp.may_share_memory(W, b) is False
    assert W.flags.c_contiguous
    assert (W.T.flags.c_contiguous, W.T.flags.f_contiguous, W.strides, W.nbytes) == (False, True, (12, 4), 24)
    assert W.copy().base is (W + W).base is theta.base is None


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, DeviceArray.copy, xp.array, xp.copy])
def test_copies_have_memory_of_their_own(duplicate):
    x = put(matrix)
    other = duplicate(x)
    other += 1
    assert same(x, matrix)
    assert not xp.may_share_memory(x, other)


def test_indices_from_the_device_gather_and_scatter():
    x, rows = put(matrix), xp.asarray([2, 0])
    assert same(x[rows], matrix[[2, 0]])
    assert same(x[[2, 0], 1:], matrix[[2, 0], 1:])
    x[rows, 1] = xp.asarray([50.0, 60.0])
    assert x[:, 1].tolist() == [60, 5, 50]
    x[xp.asarray([0, 0])] = 0.0  # one value: it cannot matter which stays
    assert x[0].tolist() == [0, 0, 0, 0]


def test_what_a_gpu_leaves_open_is_refused():
    x = put(matrix)
    with pytest.raises(IndexError):
        x[xp.asarray([3])]
    with pytest.raises(IndexError):
        xp.take(x, xp.asarray([3]), axis=0)
    with pytest.raises(IndexError, match="repeated"):
        x[xp.asarray([1, 1])] = x[:2]
    with pytest.raises(IndexError, match="repeated"):
        x[xp.asarray([1, -2]), 0] += xp.ones(2, dtype=xp.float32)
    with pytest.raises(ValueError, match="overlapping"):
        x[1:] = x[:-1]
    x[1:] = x[:-1].copy()
    x[:, 1:] = x[:, :-1]  # not one memcpy: CuPy copies the value itself
    x[...] = x
    with pytest.raises(ValueError, match="read-only"):
        xp.broadcast_to(x[0], (2, 4))[0, 0] = 1


@pytest.mark.parametrize(
    "out", [xp.empty((3, 3)), xp.empty((3, 3), dtype=xp.float32).T, xp.empty((3, 6), dtype="f")[:, ::2]]
)
def test_matmul_writes_only_where_cublas_can(out):
    x = put(matrix)
    with pytest.raises(ValueError, match="C-contiguous"):
        xp.matmul(x, x.T, out=out)
    fits = xp.empty(9, dtype=xp.float32).reshape(3, 3)
    assert xp.matmul(x, x.T, out=fits) is fits
    assert same(fits, matrix @ matrix.T)


# ---- host synchronisations -----------------------------------------------------------------------------------------

WAITING = {
    "get": lambda x: x.get(),
    "asnumpy": lambda x: standin.to_host(x),
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "float": lambda x: float(x.sum()),
    "math": lambda x: math.sqrt(x.sum()),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool((x > 0).all()),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "max": lambda x: max(x[0, 0], x[0, 1]),
    "repr": repr,
    "str": str,
    "format": lambda x: f"{x.mean():.3f}",
    "mask": lambda x: x[x > 0],
    "mask, written": lambda x: x.__setitem__(x > 0, 1.0),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: xp.where(x),
    "unique": lambda x: xp.unique(x),
    "flatnonzero": lambda x: xp.flatnonzero(x),
    "fill": lambda x: x.fill(x[0, 0]),
    "bincount": lambda x: xp.bincount(xp.asarray([0, 2, 2])),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_makes_the_host_wait_is_counted(name):
    x = put(matrix)
    with count_syncs() as outer, count_syncs() as inner:
        WAITING[name](x)
    assert outer.count == inner.count == 1, inner.what
    with forbid_syncs(), pytest.raises(AssertionError, match="host wait"):
        WAITING[name](x)
    WAITING[name](x)  # outside it is allowed again, and no longer counted
    assert outer.count == 1


def test_a_training_step_in_miniature_makes_nobody_wait():
    rng = np.random.default_rng(0)
    x, W, b = (put(rng.standard_normal(shape).astype(np.float32)) for shape in [(8, 3), (3, 2), (2,)])
    with forbid_syncs() as syncs:
        for _ in range(3):
            y = xp.tanh(x @ W + b)
            loss = (y**2).mean()
            ds = 2 / y.size * y * (1 - y * y)
            W -= 0.5 * (x.T @ ds)
            b[...] -= 0.5 * ds.sum(axis=0)
            b[0], loss[...] = loss, xp.where(loss < 1, loss, 1.0)
            picked = x[xp.asarray([3, 1])][:, None, ::2].reshape(2, -1)
            assert (len(x), picked.shape, xp.may_share_memory(x, picked)) == (8, (2, 2), False)
    assert syncs.count == 0
    assert float(loss) < 1


def test_the_layer_of_the_docstring_is_ready_for_a_gpu_and_its_leaky_twin_is_not():
    class Softsign:
        def __init__(self, module):
            self.module = module

        def forward(self, x):
            self.x = x
            return x / (1 + self.module.abs(x))

        def backward(self, dy):
            return dy / (1 + self.module.abs(self.x)) ** 2

    ready, leaky = Softsign(xp), Softsign(np)
    x = standin.from_host(np.ones((4, 3), dtype="float32"))
    with forbid_syncs():
        dx = ready.backward(ready.forward(x))
    assert dx.dtype == np.float32
    with pytest.raises(TypeError, match=r"numpy\.absolute"):
        leaky.forward(x)
