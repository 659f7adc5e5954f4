"""The fast convolutions against the plain ones: the same numbers, over every geometry, on any number of cores."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.backends.cpu import CpuOps, blocks, convolution, threads, tiles, winograd
from tinygan.backends.cpu.layers import FastBatchNorm
from tinygan.layers import BatchNorm
from tinygan.ops import Ops, Window
from tinygan.testing.strategies import rngs

plain = Ops()

KERNEL_AND_STRIDE = st.tuples(st.integers(1, 7), st.integers(1, 4))
IMAGES = st.integers(1, 5)
CHANNELS = st.sampled_from([1, 2, 3, 4, 11])  # few ones take a way of their own
IN_TILES = st.sampled_from(  # what tiles are made for
    [(2, 1), (3, 1), (4, 1), (5, 1), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2)]
)


@st.composite
def convolutions(draw, sides=KERNEL_AND_STRIDE, channels=CHANNELS, images=IMAGES):
    """Images, weights, small images and the window that ties them: kernel 1 to 7, stride 1 to 4, any padding."""
    n, a, b = draw(images, label="n"), draw(channels, label="channels"), draw(st.integers(1, 4))
    kernel, stride = zip(draw(sides), draw(sides), strict=True)
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    sides = list(zip(kernel, stride, (pads[:2], pads[2:]), strict=True))
    hw = tuple(draw(st.integers(max(1, k - sum(zeros)), 9)) for k, _, zeros in sides)
    grid = tuple((size + sum(zeros) - k) // s + 1 for size, (k, s, zeros) in zip(hw, sides, strict=True))
    rng = draw(rngs)
    x, W, y = (rng.standard_normal(shape) for shape in ((n, *hw, a), (*kernel, a, b), (n, *grid, b)))
    return x, W, y, Window(kernel, stride, pads, grid)


@pytest.fixture(params=[1, 3], ids="{} cores".format, scope="module")
def cores(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "workers", lambda: request.param)
        patch.setattr(threads, "SMALL", 0)
        patch.setattr(convolution, "PIECE", 200)  # small images come in pieces too
        patch.setattr(convolution, "ROWS", 1)
        patch.setattr(winograd, "LONG", 8)
        patch.setattr(winograd, "LEAST", 1)
        yield


@pytest.mark.usefixtures("cores")
@given(case=convolutions())
def test_fast_and_plain_convolutions_are_equal(case):
    assert_equal(convolution, plain, *case)


@pytest.mark.usefixtures("cores")
@given(case=convolutions(IN_TILES), piece=st.sampled_from([100, 1000, 3000, 1 << 22]))
def test_convolutions_in_tiles_and_plain_ones_are_equal(case, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "PIECE", piece)  # pieces of one image, and of several of which the last has fewer
        assert_equal(winograd, plain, *case)


@pytest.mark.usefixtures("cores")
def test_pixels_that_no_tile_covers_are_zero():
    rng = np.random.default_rng(0)
    x, W, y = (rng.standard_normal(shape) for shape in ((2, 11, 11, 3), (4, 4, 3, 2), (2, 4, 4, 2)))
    assert_equal(winograd, plain, x, W, y, Window((4, 4), (2, 2), (0, 0, 0, 0), (4, 4)))


def assert_equal(fast, slow, x, W, y, window, *, rtol=1e-12):
    """The three products, and the sums with a bias that only the fast ones take, relative to the largest number."""
    hw, (a, b) = x.shape[1:3], W.shape[2:]
    of_small, of_large = (np.arange(1.0, 1 + size, dtype=x.dtype) for size in (b, a))
    for actual, expected in (
        (fast.convolve(x, W, window), slow.convolve(x, W, window)),
        (fast.convolve(x, W, window, of_small), slow.convolve(x, W, window) + of_small),
        (fast.convolve_weights(x, y, window), slow.convolve_weights(x, y, window)),
        (fast.convolve_adjoint(y, W, hw, window), slow.convolve_adjoint(y, W, hw, window)),
        (fast.convolve_adjoint(y, W, hw, window, of_large), slow.convolve_adjoint(y, W, hw, window) + of_large),
    ):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, abs(expected).max()))


@pytest.mark.parametrize(("kernel", "products"), [(3, 81), (4, 100), (5, 121), (6, 144)])
def test_tiles_need_a_quarter_to_a_half_of_the_products(kernel, products):
    """Of kernel² · 16 for the 4 x 4 outputs of a tile; those with taps that are not there are left out."""
    rows, columns = winograd.axes(Window((kernel, kernel), (2, 2), (0, 0, 0, 0), (4, 4)), np.dtype("f8"))
    assert rows.products * columns.products == products
    assert products < 0.57 * kernel**2 * 16


@pytest.mark.parametrize(("kernel", "step", "size"), [(3, 1, 16), (5, 1, 16), (4, 2, 16), (5, 2, 16), (5, 2, 14)])
def test_tiles_cost_float32_no_more_than_a_digit(kernel, step, size):
    """They take sums and differences before they multiply: the error, root of the mean square, beside the plain one."""
    rng, side, zeros = np.random.default_rng(0), size // step, kernel - step
    x, W = rng.standard_normal((32, size, size, 64)), rng.standard_normal((kernel, kernel, 64, 32))
    window = Window((kernel, kernel), (step, step), (zeros // 2, zeros - zeros // 2) * 2, (side, side))
    y = rng.standard_normal((32, *window.grid, 32))
    singles = [a.astype(np.float32) for a in (x, W, y)]

    def products(kernels, x, W, y):
        W_of_xy = kernels.convolve_weights(x, y, window)
        return kernels.convolve(x, W, window), W_of_xy, kernels.convolve_adjoint(y, W, (size, size), window)

    exact = products(plain, *(a.astype(np.float64) for a in singles))
    for in_tiles, as_sums, right in zip(products(winograd, *singles), products(plain, *singles), exact, strict=True):
        error, usual = (np.sqrt(np.mean((a - right) ** 2)) for a in (in_tiles, as_sums))
        assert error < 10 * usual
        assert abs(in_tiles - right).max() < 1e-5 * abs(right).max()
        print(error / usual, abs(in_tiles - right).max() / abs(right).max(), error / np.sqrt(np.mean(right**2)))


@pytest.mark.parametrize("cores", [1, 8])
@pytest.mark.parametrize(("channels", "in_tiles"), [(32, True), (31, False)])
def test_tiles_are_what_runs_where_they_save_time(monkeypatch, cores, channels, in_tiles):
    monkeypatch.setattr(threads, "workers", lambda: cores)
    calls = []

    def spy(function):
        def called(*arguments):
            calls.append(function.__name__)
            return function(*arguments)

        monkeypatch.setattr(winograd, function.__name__, called)

    for function in (winograd.convolve, winograd.convolve_adjoint, winograd.convolve_weights):
        spy(function)
    rng = np.random.default_rng(0)
    x, W, y = (rng.standard_normal(s) for s in ((32, 16, 16, channels), (4, 4, channels, 16), (32, 8, 8, 16)))
    assert_equal(convolution, plain, x, W, y, Window((4, 4), (2, 2), (1, 1, 1, 1), (8, 8)))
    assert sorted(set(calls)) == (["convolve", "convolve_adjoint", "convolve_weights"] if in_tiles else [])


@pytest.mark.parametrize("table", ["B", "G", "A"])
@pytest.mark.parametrize("taps", tiles.OUTPUTS)
def test_a_wrong_number_in_a_matrix_is_noticed(monkeypatch, taps, table):
    """Each number of each matrix counts: a check of the check."""
    monkeypatch.setattr(winograd, "axes", winograd.axes.__wrapped__)  # not the one that is kept
    rng, right, outputs = np.random.default_rng(0), tiles.matrices, tiles.OUTPUTS[taps]
    window = Window((2 * taps, 2 * taps), (2, 2), (0, 0, 0, 0), (outputs, outputs))  # one tile, which covers the image
    x = rng.standard_normal((2, 2 * (outputs + taps - 1), 2 * (outputs + taps - 1), 3))
    W, y = rng.standard_normal((2 * taps, 2 * taps, 3, 2)), rng.standard_normal((2, outputs, outputs, 2))
    assert_equal(winograd, plain, x, W, y, window)
    for place in np.ndindex(getattr(winograd.axes(window, x.dtype)[0], table).shape):

        def wrong(*of, place=place):
            named = dict(zip("BGA", (matrix.copy() for matrix in right(*of)), strict=True))
            named[table][place] += 0.5
            return tuple(named.values())

        monkeypatch.setattr(tiles, "matrices", wrong)
        with pytest.raises(AssertionError):
            assert_equal(winograd, plain, x, W, y, window)


@pytest.mark.usefixtures("cores")
@given(case=convolutions())
def test_views_serve_as_well_as_arrays(case):
    """Channels that were moved to the end, every second image: strides of any kind, and nothing is written to."""
    x, W, y, window = case
    views = [np.repeat(a, 2, axis=0)[::2].transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1) for a in (x, y)]
    for view in views:
        view.flags.writeable = False
    np.testing.assert_allclose(
        convolution.convolve(views[0], W, window), plain.convolve(x, W, window), rtol=1e-12, atol=1e-12
    )
    expected = plain.convolve_weights(x, y, window)
    np.testing.assert_allclose(convolution.convolve_weights(*views, window), expected, rtol=1e-12, atol=1e-12)
    expected = plain.convolve_adjoint(y, W, x.shape[1:3], window)
    np.testing.assert_allclose(
        convolution.convolve_adjoint(views[1], W, x.shape[1:3], window), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("kernel", "step", "places", "channels", "outputs", "images", "dtype", "tiled"),
    [
        (4, 2, 16, 64, 128, 64, "f4", True),  # dcgan64
        (5, 2, 8, 64, 128, 32, "f8", True),  # dcgan
        (5, 2, 7, 64, 128, 128, "f4", True),  # mlp_conv
        (3, 1, 16, 32, 16, 8, "f4", True),
        (3, 1, 16, 32, 16, 7, "f4", False),  # 112 tiles
        (3, 1, 16, 31, 16, 8, "f4", False),
        (3, 1, 16, 32, 15, 8, "f4", False),
        (3, 1, 16, 32, 16, 8, "i8", False),  # the matrices hold halves
        (3, 1, 16, 32, 16, 8, "f2", False),
        (3, 2, 16, 64, 64, 64, "f4", False),  # saves too little
        (4, 2, 7, 64, 64, 64, "f4", False),
        (6, 3, 16, 64, 64, 64, "f4", False),
        (6, 1, 16, 64, 64, 64, "f4", False),
        (1, 1, 16, 64, 64, 64, "f4", False),
    ],
)
def test_where_tiles_save_time(kernel, step, places, channels, outputs, images, dtype, tiled):
    """Whatever the number of cores: what is computed does not depend on it, but for rounding."""
    window = Window((kernel, kernel), (step, step), (0, 0, 0, 0), (places, places))
    assert winograd.saves(window, (kernel, kernel, channels, outputs), images, np.dtype(dtype)) is tiled


@pytest.mark.parametrize(("kernels", "sides"), [(convolution, KERNEL_AND_STRIDE), (winograd, IN_TILES)])
@given(data=st.data(), piece=st.sampled_from([100, 1000, 1 << 19]), rows=st.sampled_from([1, 384]))
def test_the_same_bytes_on_any_number_of_cores(kernels, sides, data, piece, rows):
    x, W, y, window = data.draw(convolutions(sides, images=st.integers(1, 20)))
    x, W, y, b = (a.astype(np.float32) for a in (x, W, y, np.arange(W.shape[3])))
    with pytest.MonkeyPatch.context() as patch, threads.one_blas_thread():
        patch.setattr(threads, "SMALL", 0)
        for module, name, value in (
            (convolution, "PIECE", piece),
            (convolution, "ROWS", rows),
            (convolution, "LONG_ENOUGH", rows),
            (tiles, "PIECE", piece),
            (tiles, "LONG_ENOUGH", rows),
            (winograd, "LONG", 8),
            (winograd, "LEAST", 1),
        ):
            patch.setattr(module, name, value)
        results = set()
        for workers in (1, 2, 3, 4, 7):
            patch.setattr(threads, "workers", lambda workers=workers: workers)
            arrays = (
                kernels.convolve(x, W, window, b),
                kernels.convolve_weights(x, y, window),
                kernels.convolve_adjoint(y, W, x.shape[1:3], window),
            )
            results.add(b"".join(a.tobytes() for a in arrays))
    assert len(results) == 1


@pytest.mark.parametrize("n", range(1, 20))
def test_a_sum_is_added_in_one_order_on_any_number_of_cores(monkeypatch, n):
    """Here each number is a formula; nothing is left out, and both halves of more than one are shared."""

    class Formula(str):
        def __iadd__(self, other):
            return Formula(f"({self}+{other})")

    def terms(start, stop):
        return (Formula(k) for k in range(start, stop))

    sums = set()
    for cores in range(1, 12):
        monkeypatch.setattr(threads, "workers", lambda cores=cores: cores)
        sums.add(tuple(threads.share_sum(terms, n, threads.SMALL + 1)))
    (halves,) = sums
    assert len(halves) == min(n, 2)
    assert re.findall(r"\d+", ",".join(halves)) == [str(k) for k in range(n)]


@given(n=st.integers(1, 100), most=st.integers(0, 120), wanted=st.integers(0, 9))
def test_pieces_cover_every_image_once(n, most, wanted):
    pieces = threads.pieces_of(n, most, wanted)
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in pieces]
    assert max(sizes) == sizes[0] <= max(1, most)
    assert len(pieces) > 1 or n == 1


@given(n=st.integers(1, 40), c=st.integers(1, 9), rng=rngs)
def test_blocks_cover_every_row_once_and_do_not_depend_on_the_cores(n, c, rng):
    a = rng.standard_normal((n, c), dtype=np.float32)
    sums, doubled = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 16)
        patch.setattr(blocks, "WIDE", 5)
        for cores in (1, 2, 5):
            patch.setattr(threads, "workers", lambda cores=cores: cores)
            sums.append(blocks.sum_rows(a).tobytes())
            b = a.copy()
            blocks.in_blocks(lambda x, half: np.add(x, np.multiply(x, 1.0, out=half), out=x), b, scratch=1)
            doubled.append(b)
    assert len(set(sums)) == 1
    np.testing.assert_allclose(np.frombuffer(sums[0], dtype=np.float32), a.sum(axis=0), rtol=1e-5, atol=1e-5)
    for b in doubled:
        np.testing.assert_array_equal(b, 2 * a)


def test_small_work_stays_on_one_core(monkeypatch):
    monkeypatch.setattr(threads, "workers", lambda: 3)
    for products, expected in ((threads.SMALL, [(0, 6)]), (threads.SMALL + 1, [(0, 2), (2, 4), (4, 6)])):
        shares = []
        threads.share_images(lambda start, stop: shares.append((start, stop)), 6, products)  # noqa: B023
        assert sorted(shares) == expected


def test_the_same_bytes_every_time(monkeypatch):
    """Sums over images are added up in the order of the images, whichever core was first."""
    monkeypatch.setattr(threads, "workers", lambda: 3)
    monkeypatch.setattr(threads, "SMALL", 0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 9, 9, 3), dtype=np.float32), rng.standard_normal((30, 9, 9, 5), dtype=np.float32)
    window = Window((3, 3), (1, 1), (1, 1, 1, 1), (9, 9))
    assert len({convolution.convolve_weights(x, y, window).tobytes() for _ in range(10)}) == 1


@given(m=st.integers(0, 70), c=st.integers(1, 9), rng=rngs)
def test_short_rows_side_by_side(m, c, rng):
    a, row = rng.standard_normal((m, c)), rng.standard_normal(c)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "WIDE", 6)
        wide = blocks.side_by_side(a)
    g = wide.shape[1] // c
    assert (g > 1) == (c < 6 and m * c >= 48 and m % {1: 8, 2: 4, 3: 2, 4: 2, 5: 2}[c] == 0)
    np.testing.assert_array_equal((wide + blocks.repeat_row(row, g * c)).reshape(a.shape), a + row)
    np.testing.assert_allclose(blocks.sum_repeats(wide.sum(axis=0), c), a.sum(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batches", [1, 2])
def test_batch_normalisation_is_the_same_in_wide_rows_and_in_short_ones(monkeypatch, batches):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 32, 6, 6, 3)) + 5.0
    results = []
    for wide in (1, 50):  # not at all, and 32 rows side by side
        monkeypatch.setattr(blocks, "WIDE", wide)
        monkeypatch.setattr(blocks, "BLOCK", 500)
        link = FastBatchNorm(BatchNorm(3, dtype=np.float64), batches)
        y, cache = link.apply(x, True)
        layer = link.layer
        results.append(
            [y, link.backprop(cache, dy), *layer.grads.values(), *layer.buffers.values(), link.apply(x, False)[0]]
        )
    for short, long in zip(*results, strict=True):
        np.testing.assert_allclose(short, long, rtol=1e-12, atol=1e-12)


@given(n=st.integers(1, 40), c=st.integers(1, 9), part=st.floats(0.0, 1.0), rng=rngs)
def test_optimisers_and_averages_in_blocks_change_no_bit(n, c, part, rng):
    """``update`` and ``mix`` of both kinds of ops, on vectors that take several blocks and cores."""

    class Descent:
        @staticmethod
        def update(numbers, theta, g):
            theta -= numbers * g

    vectors = rng.standard_normal((2, n * c))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 7)
        patch.setattr(threads, "workers", lambda: 3)
        fast, slow = vectors.copy(), vectors.copy()
        for ops, (theta, g) in ((CpuOps(), fast), (plain, slow)):
            ops.update(Descent, 0.25, theta, g)
        np.testing.assert_array_equal(fast, slow)
        for ops, (theta, g) in ((CpuOps(), fast), (plain, slow)):
            ops.mix(theta, g, part)
    np.testing.assert_array_equal(fast, slow)
