"""Are the checks of the kernels any good? Each mistake below, made in a copy of the sources, must be noticed."""

from __future__ import annotations

import numpy as np
import pytest
from support import gpu_checks
from support.emulator import EmulationError, emulated, needs_compiler
from support.gpu_checks import at_once, close, in_steps, plain

from tinygan import losses
from tinygan.backends.cuda import batchnorm, kernels
from tinygan.backends.cuda import launch as cuda
from tinygan.data import ImageData
from tinygan.layers import BatchNorm, LeakyReLU, Sigmoid, Tanh
from tinygan.ops import Window

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small arrays are split as large ones are: into several blocks, pieces and stages."""
    monkeypatch.setattr(kernels, "PIECE", 400)
    monkeypatch.setattr(cuda, "ROWS", 2)
    monkeypatch.setattr(cuda, "THREADS", 32)  # of which common.cuh leaves room for more


def columns():
    rng = np.random.default_rng(0)
    for c, window in (
        (3, Window((3, 4), (2, 3), (1, 0, 2, 1), (3, 3))),
        (4, Window((5, 3), (1, 2), (2, 2, 1, 1), (6, 4))),
        (1, Window((7, 6), (2, 2), (2, 1, 1, 3), (4, 3))),
    ):
        (kh, kw), (sh, sw), (top, bottom, left, right), (ho, wo) = window
        hw = (ho - 1) * sh + kh - top - bottom, wo * sw + kw - left - right - 1  # columns that no place meets
        x, W, y = (rng.standard_normal(s) for s in ((2, *hw, c), (kh, kw, c, 4), (2, ho, wo, 4)))
        gpu_checks.same_convolutions(x, W, y, window)
        b = np.full(c, -0.5)
        straight = plain.convolve_adjoint(y, W, hw, window, b)
        close(kernels.convolve_adjoint(y, W, hw, window, b, 0.2), np.maximum(straight, 0.2 * straight))


def rows():
    rng = np.random.default_rng(0)
    for m, c in ((3, 5), (50, 8), (90, 70), (129, 3)):
        y, dy, b = rng.standard_normal((m, c)), rng.standard_normal((m, c)), rng.standard_normal(c)
        out = kernels.bias_leaky(y.copy(), b, 0.2)
        close(out, np.maximum(y + b, 0.2 * (y + b)))
        db = b.copy()
        d = kernels.bias_leaky_backward(dy, out, 0.2, db, add=True)
        close(d, dy * np.where(out > 0, 1.0, 0.2))
        close(db, b + d.sum(axis=0))
        close(kernels.sum_rows(np.stack([y, dy])), np.stack([y, dy]).sum(axis=1))


def normalisation():
    ways = in_steps, at_once
    for seed, (batches, m, c, train, rows, add) in enumerate(
        [
            (3, 50, 8, True, 2, True),
            (1, 129, 70, False, 2, False),
            (2, 50, 8, True, 1000, True),
            (1, 9, 3, True, 1000, False),
        ]
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda, "ROWS", rows)
            rng = np.random.default_rng(seed)
            gpu_checks.normalised(batches, m, c, 0.2, train, add, rng, ways if train else ways[:1])


def numbers():
    rng = np.random.default_rng(0)
    gpu_checks.adam(66, 0.5)
    gpu_checks.adam(66, 0.0)
    gpu_checks.moving_average(66)
    x, dy = 10 * rng.standard_normal((2, 1000))
    x[:4] = [1000.0, -1000.0, np.nan, 0.0]
    for layer, forward, backward in (
        (LeakyReLU(), lambda x: kernels.leaky_relu(x, 0.2), lambda y, dy: kernels.leaky_relu_backward(y, dy, 0.2)),
        (Sigmoid(), kernels.sigmoid, kernels.sigmoid_backward),
        (Tanh(), np.tanh, kernels.tanh_backward),
    ):
        y, cache = layer.apply(x, True)
        np.testing.assert_allclose(forward(x), y, rtol=1e-14)
        np.testing.assert_allclose(backward(y, dy), layer.input_gradient(cache, dy), rtol=1e-13, atol=1e-14)
    data = ImageData(rng.integers(0, 256, (4, 5, 40, 3), dtype=np.uint8), mirrored=True)
    indices = rng.integers(0, len(data), 5)
    batch = kernels.minibatch(data.images, indices, -0.3, 2.0, np.float64)
    np.testing.assert_array_equal(batch, data.batch(indices, low=-0.3, high=2.0, dtype=np.float64))


LOSSES = [losses.Minimax(real_label=0.9), losses.NonSaturating(), losses.LeastSquares(real_label=0.8)]
LOSSES += [losses.Wasserstein(), losses.Hinge()]


def all_losses():
    r, f = 3 * np.random.default_rng(0).standard_normal((2, 300, 1))
    for loss in LOSSES:
        gpu_checks.same_losses(loss, r, f[:7], f)
    gpu_checks.same_losses(losses.Relativistic(), r, f, f)


CHECKS = {"columns": columns, "rows": rows, "batchnorm": normalisation, "elementwise": numbers, "losses": all_losses}

MISTAKES = {
    "columns": {
        "the margin on the left is forgotten": ("(q * sw - left) * c", "q * sw * c"),
        "the margin above is forgotten": ("p * sh + i - top", "p * sh + i"),
        "the margin wraps round to the line before": ("inside && 0 <= at && at < row", "inside"),
        "the margin on the right is the next line": ("0 <= at && at < row", "0 <= at"),
        "lines below the image are read": ("0 <= u && u < h", "0 <= u"),
        "steps down and across are mixed up": ("p * sh + i - top", "p * sw + i - top"),
        "the last place is done by nobody": ("place >= places", "place >= places - 1"),
        "places beyond the last are done too": ("if (place >= places) return;", ""),
        "places are counted down the image": ("line = place / wo, q = place % wo", "line = place % wo, q = place / wo"),
        "scatter: the first line only": ("p = u / sh; i < kh; i += sh", "p = u / sh; i < 1; i += sh"),
        "scatter: the way back goes forward": ("i += sh, p--", "i += sh, p++"),
        "scatter: places that are none": ("if (q < 0 || q >= wo) continue;", ""),
        "scatter: one place too many": ("p >= ho", "p > ho"),
        "scatter: no bias": ("b ? b[channel] : Pack{}", "Pack{}"),
        "scatter: the bias of the wrong channel": ("b[channel]", "b[t % c / 2]"),
        "scatter: no leaky ReLU": ("leaky(sum.lane[l], slope)", "sum.lane[l]"),
        "scatter: the kernel turned round": ("(i * kw + j) * c", "(j * kw + i) * c"),
    },
    "rows": {
        "rows are left out": ("(blockIdx.x + 1LL) * height", "(blockIdx.x + 1LL) * height - 1"),
        "one row too many": ("min((long long)m, (blockIdx.x + 1LL) * height)", "(blockIdx.x + 1LL) * height"),
        "no bias": ("here.lane[l] + bias.lane[l]", "here.lane[l]"),
        "the slope where there is none": ("leaky_slope(sign.lane[l], here", "leaky_slope(here.lane[l], here"),
        "the sum is of dy": (
            "sum.lane[l] += here.lane[l];\n        d[",
            "sum.lane[l] += dy[r * c + channel].lane[l];\n        d[",
        ),
        "gradients are never added": ("if (add)", "if (false)"),
        "gradients are always added": ("if (add)", "if (true)"),
        "every matrix is the first": ("a += (long long)blockIdx.z * m * c;", ""),
        "blocks write to one place": ("blockIdx.z * gridDim.x + blockIdx.x) * c", "blockIdx.z * gridDim.x) * c"),
        "no barrier before the sum": ("        __syncthreads();\n        if", "        if"),
        "the second half of the sum is lost": ("half = blockDim.y / 2; half > 0", "half = blockDim.y / 4; half > 0"),
        "threads beyond the channels return before the barrier": (
            "    Pack sum = {};\n    for",
            "    Pack sum = {};\n    if (channel >= c) return;\n    for",
        ),
    },
    "batchnorm": {
        "means do not scatter": ("b.squares.lane[l] + apart * apart * a.n * share", "b.squares.lane[l]"),
        "means of unequal groups weigh alike": ("b.n / (a.n + b.n)", "(REAL)0.5"),
        "the last group is as large as the others": ("(REAL)min(each, m - r * each)", "(REAL)each"),
        "the squares of the first stage are lost": ("squares_in ? squares_in[at] : Pack{}", "Pack{}"),
        "no eps": ("lane[l] / count + eps", "lane[l] / count"),
        "no eps at once": ("lane[l] / m + eps", "lane[l] / m"),
        "the variance is the unbiased one": ("lane[l] / count + eps", "lane[l] / (count - 1) + eps"),
        "the running variance is the biased one": ("squares.lane[l] / (count - 1)", "squares.lane[l] / count"),
        "momentum the wrong way round": (
            "momentum * running_mean.lane[l] + (1 - momentum) * mean.lane[l]",
            "(1 - momentum) * running_mean.lane[l] + momentum * mean.lane[l]",
        ),
        "running statistics move with every batch's block": ("batch == 0 && running_mean", "running_mean"),
        "running statistics see the first batch only": ("k < gridDim.z; k++", "k < 1; k++"),
        "running statistics move with every thread": ("if (writes) {", "if (rows) {"),
        "all batches have the mean of the first": ("Pack middle = mean[index]", "Pack middle = mean[channel]"),
        "at once: all batches are the first": ("const Pack* in = x + (long long)k * m * c", "const Pack* in = x"),
        "at once: rows of other threads": ("in[(long long)r * c], {}, 1", "in[(long long)(r / 2) * c], {}, 1"),
        "no leaky ReLU": ("leaky(affine(", "(affine("),
        "leaky ReLU is forgotten on the way back": ("return leaky_slope(affine(", "return dy, (affine("),
        "the sign without beta": ("return fma(x - mean, scale, shift)", "return scale * (x - mean)"),
        "the sign without gamma": ("of.scale.lane[l], of.shift.lane[l]", "of.inv_std.lane[l], of.shift.lane[l]"),
        "Σ d x in place of Σ d (x − mean)": ("d * (x.lane[l] - of.mean.lane[l])", "d * x.lane[l]"),
        "dx: the path through the mean is missing": ("d - plain.lane[l] - through_var", "d - through_var"),
        "dx: the path through the variance is missing": ("- plain.lane[l] - through_var", "- plain.lane[l]"),
        "dx: the variance is no standard deviation": ("std * std * centred", "std * centred"),
        "dx: gamma is missing": ("of.scale.lane[l] * (d", "std * (d"),
        "dx: the sums of the first batch for all": ("sums ? sums[index]", "sums ? sums[channel]"),
        "dx: sums in place of means": ("plain.lane[l] /= count,", ""),
        "dx: sums in place of means at once": ("plain.lane[l] /= m,", ""),
        "gradients of the first batch only": (
            "k < batches; k++) {\n        Pack plain = sums",
            "k < 1; k++) {\n        Pack plain = sums",
        ),
        "at once: gradients of the last batch only": (
            "plain_sum.lane[l] += plain.lane[l]",
            "plain_sum.lane[l] = plain.lane[l]",
        ),
        "gradients are never added": ("add ? dbeta[channel] : Pack{}, gamma = ", "Pack{}, gamma = "),
        "at once: gradients are always added": (
            "add ? dgamma[channel] : Pack{};\n    EACH",
            "dgamma[channel];\n    EACH",
        ),
        "dgamma without inv_std": ("centred.lane[l] * by.lane[l]", "centred.lane[l]"),
        "no barrier before two groups become one": (
            "        __syncthreads();\n        if (threadIdx.y < half) merge",
            "        if (threadIdx.y < half) merge",
        ),
        "no barrier behind the merging": (
            "    __syncthreads();\n    return shared[threadIdx.x];\n}\n\n// mean",
            "    return shared[threadIdx.x];\n}\n\n// mean",
        ),
        "no barrier before the next merging": (
            "    __syncthreads();  // what was merged before may still be read\n",
            "",
        ),
        "no barrier behind a sum": (
            "    __syncthreads();\n    return shared[threadIdx.x];\n}\n#line",
            "    return shared[threadIdx.x];\n}\n#line",
        ),
        "no barrier behind the sum before": ("__syncthreads();  // a sum before this one may still be read", ""),
    },
    "elementwise": {
        "numbers beyond the last": ("if (at >= n) return;", ""),
        "every second block": (
            "(long long)blockIdx.x * blockDim.x + threadIdx.x;",
            "(long long)(blockIdx.x / 2 * 2) * blockDim.x + threadIdx.x;",
        ),
        "tanh: 1 − y": ("1 - out.lane[l] * out.lane[l]", "1 - out.lane[l]"),
        "sigmoid overflows": ("exp(-fabs(a))", "exp(-a)"),
        "sigmoid: y · y": ("out.lane[l] * (1 - out.lane[l])", "out.lane[l] * out.lane[l]"),
        "leaky: the slope of x in the place of y's": (
            "leaky_slope(sign.lane[l], here.lane[l], slope)",
            "leaky_slope(here.lane[l], here.lane[l], slope)",
        ),
        "Adam: eps inside the root": ("sqrt(squares.lane[l]) + e", "sqrt(squares.lane[l] + e)"),
        "Adam: β₁ for both": ("beta2 * squares.lane[l]", "beta1 * squares.lane[l]"),
        "Adam: V is not kept": ("V[at] = squares;", ""),
        "Adam: M is not kept": ("M[at] = mean;", ""),
        "average: the rate is the part that stays": ("*rate * (here", "(1 - *rate) * (here"),
        "minibatch: mirrored upside down": (
            "index - (mirrored ? count : 0)) * h + line % h)",
            "index - (mirrored ? count : 0)) * h + (mirrored ? h - 1 - line % h : line % h))",
        ),
        "minibatch: channels mirrored too": ("(w - 1 - t / c) * c + t % c", "w * c - 1 - t"),
        "minibatch: nothing is mirrored": ("bool mirrored = index >= count", "bool mirrored = index > count * 2"),
        "minibatch: 0 is the middle": ("(REAL)127.5", "(REAL)128"),
    },
    "losses": {
        "σ(r) − 1 whatever the label": ("(1 - label) - below.slope", "-below.slope"),
        "the value without the label": ("below.value + (1 - label) * r", "below.value"),
        "no half": ("(r - label) * (r - label) / 2", "(r - label) * (r - label)"),
        "hinge: a margin of 0": ("r < 1 ?", "r < 0 ?"),
        "hinge: both on one side": ("f > -1 ?", "f < -1 ?"),
        "G raises D's certainty": ("return {term.value, -term.slope}", "return {term.value, term.slope}"),
        "minimax for non-saturating": ("term = softplus(-f);", "term = softplus(f);"),
        "the sum for the mean": ("term.slope / real", "term.slope"),
        "fakes are divided by the number of real ones": ("term.slope / fake", "term.slope / real"),
        "both gradients of a pair alike": ("-term.slope / n", "term.slope / n"),
        "half of the sum": ("half = THREADS / 2; half > 0", "half = THREADS / 2; half > 1"),
        "no barrier": ("__syncthreads();", ""),
    },
}
CASES = [(file, name) for file, mistakes in MISTAKES.items() for name in mistakes]


def check(file, monkeypatch, edit=None):
    if file == "losses":
        monkeypatch.setattr(cuda, "THREADS", 256)
    with emulated(edit), np.errstate(all="ignore"):
        CHECKS[file]()


@pytest.mark.parametrize(("file", "name"), CASES, ids=lambda case: case)
def test_a_wrong_kernel_is_caught(monkeypatch, file, name):
    good, bad = MISTAKES[file][name]
    assert good in cuda.source(file), "the source has changed; make the mistake anew"
    with pytest.raises(AssertionError):
        check(file, monkeypatch, lambda text: text.replace(good, bad))


@pytest.mark.parametrize("file", CHECKS)
def test_the_right_one_passes(monkeypatch, file):
    check(file, monkeypatch)


def test_every_file_has_its_mistakes():
    assert MISTAKES.keys() == CHECKS.keys() == set(cuda.FILES)
    assert len(CASES) >= 70


# ---- the emulator and the launcher themselves ------------------------------------------------------------------------


def sum_rows_of(text):
    """The kernel sum_rows with another body."""

    def edit(source):
        head, tail = source.split("__global__ void sum_rows", 1)
        return head + "__global__ void sum_rows" + tail.split("{", 1)[0] + "{" + text + "}"

    return edit


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sums[c].lane[0] = 0;", "wrote beyond an array"),
        ("sums[-1].lane[0] = 0;", "wrote beyond an array"),
        ("if (threadIdx.x) __syncthreads();", "barrier"),
        ("if (threadIdx.x == 0) __syncthreads();", "barrier"),
        ("if (threadIdx.x == 1) __syncthreads(); __syncthreads();", "barrier"),
        ("sums[0].lane[0] = threadIdx.x;", "order"),
        ("__shared__ REAL s; __syncthreads(); s = threadIdx.y; sums[threadIdx.x % c].lane[0] = s;", "order"),
    ],
)
def test_the_emulator_refuses(body, says):
    with emulated(sum_rows_of(body)), pytest.raises(EmulationError, match=says):
        kernels.sum_rows(np.ones((3, 4)))


@pytest.mark.parametrize(
    "body", ["*sums = a[m * c];", "*sums = a[-1];", "__shared__ Pack s; *sums = s; __syncthreads();"]
)
def test_what_is_not_there_is_nan(body):
    with emulated(sum_rows_of(body)):
        assert np.isnan(kernels.sum_rows(np.ones((3, 4)))).any()


def test_a_source_that_is_no_cpp_is_refused():
    with emulated(sum_rows_of("nonsense")), pytest.raises(EmulationError, match="nonsense"):
        kernels.sum_rows(np.ones((3, 4)))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((1, 2), "takes 6 arguments, got 2"),
        ((np.ones(3, np.float32), np.ones(3), 3, 1, 1, 0), "a must be contiguous and float64, got float32"),
        ((np.ones(6)[::2], np.ones(3), 3, 1, 1, 0), "a must be contiguous"),
    ],
)
def test_arguments_that_a_kernel_would_misread_are_refused(args, says):
    with pytest.raises(TypeError, match=says):
        cuda.checked("rows.sum_rows", args, np.dtype(np.float64))


def test_a_size_beyond_its_type_is_refused():
    with pytest.raises(OverflowError):
        cuda.checked("rows.sum_rows", (np.ones(3), np.ones(3), 2**31, 1, 1, 0), np.dtype(np.float64))


@pytest.mark.parametrize("grid", [(0,), (1, 65536), (2**31,)])
def test_grids_that_no_gpu_launches_are_refused(grid):
    with emulated(), pytest.raises(EmulationError, match="no GPU"):
        cuda.launch("elementwise.sigmoid", grid, (32,), (np.ones(1), np.ones(1), 1), np.dtype(np.float64))


def test_statistics_survive_a_batch_norm_that_is_used_twice():
    """Not a kernel's mistake, but a wrapper's: nothing of the caller's is changed but the running statistics."""
    layer, x = BatchNorm(4, dtype=np.float64), np.random.default_rng(0).standard_normal((9, 4))
    before = x.copy()
    with emulated():
        mean, squares = batchnorm.moments(x, 1)
        kept = mean.copy(), squares.copy()
        gamma, beta = layer.params["gamma"], layer.params["beta"]
        batchnorm.normalise(x, mean, squares, gamma, beta, count=9, eps=1e-5)
    for array, then in ((x, before), (mean, kept[0]), (squares, kept[1])):
        np.testing.assert_array_equal(array, then)
