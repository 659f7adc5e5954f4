"""ImageData, its batches, and the order of training."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_runs import small_data, small_gan

from tinygan.data import ImageData, batches, digits, epoch_order, steps_per_epoch
from tinygan.errors import ArgumentError, DataError
from tinygan.runs.folder import Run

GREY = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_maps_0_to_low_and_255_to_high_exactly(dtype):
    data = ImageData(GREY)
    x = data.batch(np.array([3, 0]), dtype=dtype)
    assert x.shape == (2, 8, 8, 1)
    assert x.dtype == dtype
    assert (x.max(), x.min()) == (1.0, -1.0)
    np.testing.assert_allclose(x, GREY[[3, 0]] / 127.5 - 1, atol=1e-6)


@given(low=st.floats(-10, 10), width=st.floats(0.1, 10))
def test_batch_scales_to_any_range(low, width):
    x = ImageData(GREY).batch(np.arange(4), low=low, high=low + width, dtype=np.float64)
    np.testing.assert_allclose(x, low + width * GREY / 255.0, atol=1e-12)


def test_batch_leaves_the_images_alone():
    data = ImageData(GREY.copy())
    data.batch(np.array([0]))[:] = 7
    assert (data.images == GREY).all()


@given(seed=st.integers(0, 2**32))
def test_floats_of_bytes_come_back_as_the_same_bytes(seed):
    data = ImageData(np.random.default_rng(seed).integers(0, 256, (3, 2, 4, 3), dtype=np.uint8))
    floats = data.batch(np.arange(3))
    assert (ImageData.from_floats(floats, low=-1, high=1).images == data.images).all()


def test_labels_become_int64_and_length_and_shape_are_known():
    data = ImageData(GREY, np.array([3, 1, 0, 2], np.uint8), "greys", "a ramp")
    assert data.labels.dtype == np.int64
    assert (len(data), data.image_shape) == (4, (8, 8, 1))


def float_images(bad):
    images = np.full((2, 3, 3, 1), 0.5, np.float32)
    images[1, 2, 0, 0] = bad
    return images


BAD_ARRAYS = {
    "list": (lambda: ImageData([[0]]), "expected a NumPy array, got list; numpy.asarray"),
    "rows of pixels": (lambda: ImageData(np.zeros((5, 784), np.uint8)), r"\(5, 784\).*reshape\(-1, height, width"),
    "no channel axis": (lambda: ImageData(np.zeros((5, 28, 28), np.uint8)), r"\(5, 28, 28\); one channel is images"),
    "five axes": (lambda: ImageData(np.zeros((1, 1, 1, 1, 1), np.uint8)), r"\(1, 1, 1, 1, 1\); reshape"),
    "no image": (lambda: ImageData(np.zeros((0, 28, 28, 1), np.uint8)), r"the data is empty.*\(0, 28, 28, 1\)"),
    "no pixel": (lambda: ImageData(np.zeros((3, 0, 28, 1), np.uint8)), r"the data is empty.*\(3, 0, 28, 1\)"),
    "integers": (lambda: ImageData(np.zeros((1, 2, 2, 1), np.int64)), r"got int64.*astype\(numpy.uint8\)"),
    "booleans": (lambda: ImageData(np.zeros((1, 2, 2, 1), bool)), r"got bool.*astype\(numpy.uint8\)"),
    "floats": (lambda: ImageData(np.zeros((1, 2, 2, 1))), "got float64; ImageData.from_floats"),
    "bytes as floats": (lambda: ImageData.from_floats(GREY), "from_floats expects floats, got uint8"),
    "NaN": (lambda: ImageData.from_floats(float_images(np.nan)), r"image 1 holds nan at pixel \(2, 0, 0\)"),
    "infinity": (lambda: ImageData.from_floats(float_images(np.inf)), "image 1 holds inf.*nan_to_num"),
    "too bright": (lambda: ImageData.from_floats(float_images(255.0)), r"in \[0.0, 1.0\], got \[0.5, 255\].*low and"),
    "too dark": (lambda: ImageData.from_floats(float_images(-1.0)), r"got \[-1, 0.5\].*low and high"),
    "too few labels": (lambda: ImageData(GREY, np.zeros(3, int)), r"one label per image, shape \(4,\), got \(3,\)"),
    "one-hot labels": (lambda: ImageData(GREY, np.zeros((4, 10), int)), r"shape \(4,\), got \(4, 10\)"),
    "float labels": (lambda: ImageData(GREY, np.zeros(4)), "expected integer labels, got float64"),
    "text labels": (lambda: ImageData(GREY, np.array(list("abcd"))), "expected integer labels, got <U1; numpy.unique"),
    "negative labels": (lambda: ImageData(GREY, np.array([0, 1, -1, 2])), "labels that count from 0, got -1"),
    "empty batch": (lambda: ImageData(GREY).batch(np.arange(0)), "the batch is empty; pass at least one"),
    "index beyond": (lambda: ImageData(GREY).batch(np.array([1, 4])), r"must lie in 0..3, got 1 to 4"),
    "negative index": (lambda: ImageData(GREY).batch(np.array([-1])), r"must lie in 0..3, got -1 to -1"),
    "mask": (lambda: ImageData(GREY).batch(np.ones(4, bool)), "row of integer indices, got bool.*flatnonzero"),
    "float index": (lambda: ImageData(GREY).batch(np.array([0.0])), "row of integer indices, got float64"),
    "table of indices": (lambda: ImageData(GREY).batch(np.array([[0]])), r"of shape \(1, 1\)"),
    "batch beyond data": (
        lambda: batches(10, 11, seed=0),
        "a batch of 11 is larger than the data, which has 10 images",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_data_is_refused(case):
    make, message = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=message):
        make()


BAD_ARGUMENTS = {
    "batch of 0": (lambda: batches(10, 0, seed=0), "batch size must be a whole number of at least 1, got 0"),
    "start before 0": (lambda: batches(10, 2, seed=0, start=-1), "start must be a whole number of at least 0, got -1"),
    "negative seed": (lambda: batches(10, 2, seed=-3), "seed must be a whole number of at least 0, got -3"),
    "negative epoch": (lambda: epoch_order(10, seed=0, epoch=-1), "epoch must be a whole number of at least 0, got -1"),
    "range upside down": (lambda: ImageData(GREY).batch(np.array([0]), low=1, high=-1), "low=1, high=-1"),
    "endless range": (lambda: ImageData(GREY).batch(np.array([0]), high=np.inf), "both finite"),
    "range that is NaN": (lambda: ImageData.from_floats(float_images(0.0), low=np.nan), "low=nan"),
    "integer batch": (
        lambda: ImageData(GREY).batch(np.array([0]), dtype=np.uint8),
        "got dtype uint8; use numpy.float32",
    ),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused(case):
    make, message = BAD_ARGUMENTS[case]
    with pytest.raises(ArgumentError, match=message):
        make()


@given(n=st.integers(1, 50), seed=st.integers(0, 2**40), epoch=st.integers(0, 2**20))
def test_epoch_order_is_a_permutation_and_a_function_of_its_arguments(n, seed, epoch):
    order = epoch_order(n, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(n))
    assert (order == epoch_order(n, seed=seed, epoch=epoch)).all()


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_order(40, seed=s, epoch=e)) for s in range(5) for e in range(5)}
    assert len(orders) == 25


def test_one_seed_gives_every_purpose_its_own_stream(monkeypatch):
    """What a run draws from one seed: the GAN's noise, its pictures' noise, the orders of epochs, and drawn digits."""
    streams = {"initial values": np.random.SeedSequence(7)}
    streams |= {f"GAN {i}": child for i, child in enumerate(np.random.SeedSequence(7).spawn(2))}
    made, original = [], np.random.SeedSequence
    monkeypatch.setattr(np.random, "SeedSequence", lambda *args, **key: made.append(original(*args, **key)) or made[-1])
    for epoch in range(3):
        epoch_order(5, seed=7, epoch=epoch)
    Run("nowhere", small_gan(), small_data(), batch_size=8, seed=7)
    digits(2, seed=7)
    digits(2, seed=7, split="test")
    streams |= {f"number {i}": stream for i, stream in enumerate(made) if stream.entropy == 7}
    assert len(streams) >= 3 + 3 + 1 + 2
    first = {name: tuple(stream.generate_state(4)) for name, stream in streams.items()}
    assert len(set(first.values())) == len(first), first


@given(n=st.integers(1, 30), seed=st.integers(0, 9), start=st.integers(0, 40), data=st.data())
def test_a_resumed_run_sees_the_batches_of_one_never_interrupted(n, seed, start, data):
    size = data.draw(st.integers(1, n))
    whole = itertools.islice(batches(n, size, seed=seed), start, start + 7)
    resumed = itertools.islice(batches(n, size, seed=seed, start=start), 7)
    for a, b in zip(whole, resumed, strict=True):
        assert a.shape == (size,)
        assert (a == b).all()


@given(n=st.integers(1, 30), data=st.data())
def test_no_image_comes_twice_in_an_epoch(n, data):
    size = data.draw(st.integers(1, n))
    steps = steps_per_epoch(n, size)
    seen = np.concatenate(list(itertools.islice(batches(n, size, seed=1), steps)))
    assert len(set(seen)) == steps * size > n - size
