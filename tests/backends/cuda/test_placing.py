"""What the host has decided reaches the device: as it is, in one copy, and in the same place for each replay."""

from typing import NamedTuple

import numpy as np
import pytest
from support.small_games import build

from tinygan.backends import get_ops
from tinygan.backends.cuda.placing import ALIGNED, lay_out
from tinygan.errors import BackendError
from tinygan.gan import Draws
from tinygan.penalties import R1, GradientPenalty
from tinygan.testing.device import DeviceArray, forbid_syncs, standin, xp

host = np.zeros(3, dtype=np.float32)
on_device = standin.from_host(host)


class Pair(NamedTuple):
    a: object
    b: object


VALUES = Pair((np.arange(6.0).reshape(2, 3), 0.1, None), ((), (1e-8, np.arange(100) % 7 == 0, np.arange(3))))


def same(placed, value, dtype):
    """Whether ``placed`` is ``value`` on the device, in tuples of the same kinds."""
    if isinstance(value, tuple):
        assert type(placed) is type(value)
        assert len(placed) == len(value)
        return all(same(p, v, dtype) for p, v in zip(placed, value, strict=True))
    if value is None:
        return placed is None
    assert isinstance(placed, DeviceArray)
    value = np.asarray(value)
    return (placed.get() == (value if value.dtype.kind in "ib" else value.astype(dtype))).all()


def test_on_numpy_it_is_what_was_decided_and_nothing_else():
    assert get_ops("numpy").place(VALUES, host) is VALUES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_a_device_it_is_the_same_in_the_right_dtype(dtype):
    placed = standin.place(VALUES, standin.from_host(np.zeros(3, dtype=dtype)))
    assert same(placed, VALUES, dtype)
    (matrix, number, _), (_, (small, mask, whole)) = placed
    assert (matrix.dtype, number.dtype, small.shape) == (dtype, dtype, ())
    assert (mask.dtype, whole.dtype) == (bool, np.int64)


@pytest.mark.parametrize("value", [0.1, np.arange(3.0), None, ()], ids=str)
def test_what_is_in_no_tuple_is_placed_too(value):
    assert same(standin.place(value, on_device), value, np.float32)


def test_it_is_one_copy_and_nobody_waits(monkeypatch):
    copies, from_host = [], standin.from_host
    monkeypatch.setattr(standin, "from_host", lambda a: copies.append(a.nbytes) or from_host(a), raising=False)
    with forbid_syncs():
        (matrix, number, _), (_, rest) = standin.place(VALUES, on_device)
    assert copies == [5 * ALIGNED]
    assert {id(a.base) for a in (matrix, number, *rest)} == {id(matrix.base)}


def test_a_number_on_a_device_computes_what_pythons_would():
    x = standin.from_host(np.linspace(-3, 3, 50, dtype=np.float32))
    for value in (0.1, 1e-8, 1.0 / 3.0):
        a, b, placed = x.copy(), x.copy(), standin.place(value, x)
        a *= placed
        b *= value
        assert a.tolist() == b.tolist()
        assert (x + placed).tolist() == (x + value).tolist()


def test_a_layout_puts_other_values_of_the_same_shapes_into_the_same_places():
    layout, memory = lay_out(VALUES, np.float32), xp.zeros(5 * ALIGNED, dtype=np.uint8)
    views = layout.unpack(memory)
    for factor in (1.0, 2.0):
        (matrix, number, _), (_, (small, mask, whole)) = VALUES
        values = Pair((matrix * factor, number * factor, None), ((), (small, ~mask, whole + int(factor))))
        assert lay_out(values, np.float32) == layout
        host = np.zeros(layout.nbytes, dtype=np.uint8)
        layout.write(values, host)
        memory[...] = standin.from_host(host)
        assert same(views, values, np.float32)


OTHERS = [Pair(1.0, None), Pair(np.zeros(2), 1.0), Pair(None, 1.0), Pair(1.0, (1.0,)), (1.0, 1.0)]
OTHERS.append(Pair(np.arange(3), 1.0))


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_layouts_tell_values_of_other_shapes_apart(other):
    first = lay_out(Pair(1.0, 1.0), np.float32)
    assert lay_out(other, np.float32) != first
    assert lay_out(Pair(1.0, 1.0), np.float64) != first
    assert lay_out(Pair(np.float64(2.0), 3), np.float32) == first
    assert hash(lay_out(Pair(2.0, 3.0), np.float32)) == hash(first)


def test_what_does_not_fit_its_place_is_refused():
    layout = lay_out((np.zeros(2), 1.0), np.float32)
    with pytest.raises(BackendError, match=r"\(3,\).*\(2,\)"):
        layout.write((np.zeros(3), 1.0), np.zeros(layout.nbytes, dtype=np.uint8))


def test_a_game_tells_its_kinds_of_steps_by_what_it_draws():
    """Which penalties are due, and how many samples there are; not the numbers."""
    gan = build(penalties=[R1(1.0, every=2), GradientPenalty(every=3)], average=0.9, d_steps=2)
    layouts = []
    for gan.t in (0, 1, 2, 3, 4, 6, 7):
        gan.d_optimizer.t = gan.t
        layouts.append(lay_out(gan.draw(4), np.float32))
    assert len(set(layouts)) == 4
    assert layouts[0] == layouts[5]
    assert layouts[2] == layouts[4]
    assert layouts[1] == layouts[6]
    assert lay_out(gan.draw(5), np.float32) not in layouts


def test_a_step_draws_into_the_names_that_it_has():
    gan = build(average=0.9).to("standin")
    draws = gan.draw(4)
    placed = standin.place(draws, gan.generator.theta)
    assert isinstance(placed, Draws)
    assert same(placed, draws, np.float32)
