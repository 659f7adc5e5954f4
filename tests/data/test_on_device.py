"""Images kept in a device's memory give the batches of the host, to the bit; and where they do not fit, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.data import ImageData, OnDevice
from tinygan.data.on_device import minibatch
from tinygan.errors import ArgumentError, DataError
from tinygan.testing.device import StandinOps, forbid_syncs, standin

RANGES = [(-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5), (0.0, 255.0), (-3.0, 0.7)]
dtypes = st.sampled_from([np.float32, np.float64])
ranges = st.sampled_from(RANGES)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4]))


def images_of(shape, seed=0, mirrored=False):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return ImageData(pixels, name="pixels", mirrored=mirrored)


def altered(**changes):
    """The stand-in's operations, some of them others."""
    ops = StandinOps()
    vars(ops).update(changes)
    return ops


def same(a, b):
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


@given(shape=shapes, mirrored=st.booleans(), range_=ranges, dtype=dtypes, data=st.data())
def test_batches_are_the_hosts_to_the_bit(device, shape, mirrored, range_, dtype, data):
    images = images_of(shape, mirrored=mirrored)
    indices = np.array(data.draw(st.lists(st.integers(0, len(images) - 1), min_size=1, max_size=9)))
    low, high = range_
    source = OnDevice(images, device.name)
    assert source.kept is (device.name != "numpy")
    x = source.batch(indices, low=low, high=high, dtype=dtype)
    assert same(device.get(x), images.batch(indices, low=low, high=high, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_grey_level_is_the_hosts(device, dtype, low, high):
    greys = ImageData(np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1))
    x = OnDevice(greys, device.name).batch(np.arange(4), low=low, high=high, dtype=dtype)
    assert same(device.get(x), greys.batch(np.arange(4), low=low, high=high, dtype=dtype))


def scaled(x, low, high):  # one multiplication in place of the division
    return (x - 127.5) * ((high - low) / 255.0) + (high + low) / 2


WRONG = {
    "not mirrored": lambda images, i, low, high, dtype: minibatch(images, i % len(images), low, high, dtype),
    "upside down": lambda images, i, low, high, dtype: minibatch(
        np.concatenate([images, images[:, ::-1]]), i, low, high, dtype
    ),
    "the mirror image of another": lambda images, i, low, high, dtype: minibatch(
        images, np.where(i < len(images), i, 2 * len(images) - 1 + len(images) - i), low, high, dtype
    ),
    "the range of tanh always": lambda images, i, low, high, dtype: minibatch(images, i, -1.0, 1.0, dtype),
    "black and white": lambda images, i, low, high, dtype: minibatch(255 - images, i, low, high, dtype),
    "rounded otherwise": lambda images, i, low, high, dtype: scaled(minibatch(images, i, 0.0, 255.0, dtype), low, high),
    "through float32": lambda images, i, low, high, dtype: minibatch(images, i, low, high, np.float32).astype(dtype),
}


def equals_the_host(gather):
    """Whether ``gather`` gives the batches of ImageData, over ranges, dtypes and mirror images."""
    images, order = images_of((50, 4, 3, 3), mirrored=True), np.random.default_rng(0).permutation(100)
    return all(
        same(gather(images.images, order, low, high, dtype), images.batch(order, low=low, high=high, dtype=dtype))
        for low, high in RANGES
        for dtype in (np.float32, np.float64)
    )


def test_the_few_lines_for_any_backend():
    assert equals_the_host(minibatch)


@pytest.mark.parametrize("what", WRONG)
def test_wrong_ones_are_noticed(what):
    assert not equals_the_host(WRONG[what])


def test_a_batch_moves_its_indices_and_nobody_waits(monkeypatch):
    moved = []
    counting = altered(from_host=lambda a: moved.append(a.nbytes) or standin.from_host(a))
    source = OnDevice(images_of((20, 8, 8, 3), mirrored=True), counting)
    assert sum(moved) == 20 * 8 * 8 * 3
    moved.clear()
    with forbid_syncs():
        source.batch(np.array([3, 25, 0]))
    assert moved == [3 * 8]


@pytest.mark.parametrize(
    ("free", "share", "kept"),
    [
        (4000, 0.25, True),
        (3999, 0.25, False),
        (1000, 1.0, True),
        (0, 1.0, False),
        (10**9, 0.0, False),
        (None, 0.25, True),
    ],
)
def test_images_stay_on_the_host_where_they_would_take_too_much(free, share, kept):
    images = images_of((10, 10, 10, 1))
    backend = altered(free_memory=None if free is None else lambda: free)
    source = OnDevice(images, backend, share=share)
    assert source.kept is kept
    assert same(source.batch(np.arange(7)).get(), images.batch(np.arange(7)))


def test_a_memory_map_is_copied_piece_by_piece(monkeypatch, tmp_path):
    monkeypatch.setattr("tinygan.data.on_device.PIECE", 3 * 16 + 5)
    on_disk = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(10, 4, 4, 1))
    on_disk[...] = np.random.default_rng(0).integers(0, 256, on_disk.shape)
    moved = []
    counting = altered(from_host=lambda a: moved.append(len(a)) or standin.from_host(a))
    images = ImageData(on_disk)
    source = OnDevice(images, counting)
    assert moved == [3, 3, 3, 1]
    assert same(source.batch(np.arange(10)).get(), images.batch(np.arange(10)))


BAD = {
    "empty": (np.arange(0), {}, DataError, "the batch is empty"),
    "beyond": (np.array([4]), {}, DataError, "must lie in 0..3, got 4 to 4"),
    "negative": (np.array([-1]), {}, DataError, "must lie in 0..3"),
    "mask": (np.ones(4, bool), {}, DataError, "row of integer indices"),
    "range": (np.array([0]), {"low": 1.0, "high": 0.0}, ArgumentError, "expected low below high"),
    "dtype": (np.array([0]), {"dtype": np.uint8}, ArgumentError, "made of floats"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_host_refuses_is_refused_before_the_device_sees_it(device, case):
    """A GPU wraps indices that are out of bounds, without a word."""
    indices, options, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        OnDevice(images_of((4, 2, 2, 1)), device.name).batch(indices, **options)
