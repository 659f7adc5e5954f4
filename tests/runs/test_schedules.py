"""Schedules: their ends, their middle, how they are written, and what they refuse."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.errors import ArgumentError
from tinygan.runs.schedules import Schedule, cosine, linear, value_at, warmup

levels = st.floats(0.0, 1e3)
lengths = st.integers(1, 1000)


@given(start=levels, end=levels, steps=lengths, t=st.integers(0, 2000))
def test_linear_is_numpys_interpolation(start, end, steps, t):
    value = linear(start, end, steps)(t)
    assert type(value) is float
    assert value == pytest.approx(np.interp(t, [0, steps], [start, end]), rel=1e-12, abs=1e-12)


@given(start=levels, end=levels, steps=lengths)
def test_both_begin_at_the_start_and_end_at_the_end_to_the_bit(start, end, steps):
    for kind in (linear, cosine):
        schedule = kind(start, end, steps)
        assert schedule(0) == pytest.approx(start, rel=1e-12, abs=1e-12)
        assert {schedule(steps), schedule(steps + 1), schedule(10 * steps)} == {end}


@given(start=levels, end=levels, steps=lengths, t=st.integers(0, 1000))
def test_cosine_is_half_a_period(start, end, steps, t):
    """Against its other form: the way that is left is cos² of half the angle."""
    share = math.cos(math.pi / 2 * min(t / steps, 1.0)) ** 2
    assert cosine(start, end, steps)(t) == pytest.approx(share * start + (1 - share) * end, rel=1e-9, abs=1e-9)


def test_cosine_is_flat_at_both_ends_and_steepest_between():
    falls = -np.diff([cosine(1.0, 0.0, 100)(t) for t in range(101)])
    assert (falls > 0).all()
    assert 49 <= falls.argmax() <= 50
    assert falls[0] < 0.001
    assert falls[-1] < 0.001
    np.testing.assert_allclose(falls, falls[::-1], atol=1e-12)


@given(steps=lengths, level=levels)
def test_warmup_to_a_number(steps, level):
    schedule = warmup(steps, level)
    assert schedule(0) == 0.0
    assert {schedule(steps), schedule(steps + 7)} == {level}
    rises = np.diff([schedule(t) for t in range(steps + 1)])
    np.testing.assert_allclose(rises, level / steps, rtol=1e-6, atol=1e-10)


def test_after_a_warmup_the_other_begins_at_its_own_start():
    schedule, then = warmup(10, cosine(3.0, 1.0, 20)), cosine(3.0, 1.0, 20)
    assert schedule(5) == 1.5
    assert [schedule(10 + t) for t in range(30)] == [then(t) for t in range(30)]
    twice = warmup(4, warmup(6, 2.0))
    assert [twice(t) for t in (0, 3, 4, 7, 10)] == [0.0, 0.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "linear(0.0002, 0.0, 500)",
        "cosine(10.0, 1.0, 3)",
        "warmup(100, 0.5)",
        "warmup(100, cosine(0.5, 0.0, 900))",
    ],
)
def test_they_are_written_as_they_are_made(text):
    schedule = eval(text)
    assert repr(schedule) == text
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule == eval(text)
    assert hash(again) == hash(schedule)
    assert isinstance(schedule, Schedule)


def test_equal_means_written_alike():
    assert linear(1, 0, 5) == linear(1.0, 0.0, np.int64(5)) == linear(np.float32(1), np.float32(0), 5)
    different = [linear(1, 0, 5), linear(1, 0, 6), cosine(1, 0, 5), warmup(5, 1), warmup(5, linear(1, 0, 5))]
    assert len({repr(schedule) for schedule in different}) == len(set(different)) == len(different)


def test_they_do_not_change():
    with pytest.raises(AttributeError):
        linear(1, 0, 5).start = 2.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear(-1.0, 0.0, 5), "linear: start must be a finite number of at least 0, got -1.0"),
        (lambda: linear(1.0, float("nan"), 5), "linear: end .*got nan"),
        (lambda: linear(float("inf"), 1.0, 5), "linear: start .*got inf"),
        (lambda: linear("fast", 1.0, 5), "linear: start .*got 'fast'"),
        (lambda: linear(1.0, 0.0, 0), "linear: steps must be a whole number of at least 1, got 0"),
        (lambda: cosine(1.0, 0.0, 2.5), "cosine: steps must be a whole number"),
        (lambda: cosine(1.0, -0.1, 5), "cosine: end .*got -0.1"),
        (lambda: cosine(None, 0.0, 5), "cosine: start .*got None"),
        (lambda: warmup(0, 1.0), "warmup: steps must be"),
        (lambda: warmup(5, -1.0), "warmup: then .*got -1.0"),
        (lambda: warmup(5, math.sqrt), "warmup: then .*got <built-in"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_number_or_a_function_of_the_step():
    assert value_at(0.5, 7, "lr") == 0.5
    assert value_at(lambda t: np.float32(t), 7, "lr") == 7.0
    assert type(value_at(lambda t: np.float32(t), 7, "lr")) is float
    assert value_at(lambda t: 0, 7, "lr") == 0.0
    for bad in (-1.0, math.nan, math.inf, "fast", None):
        with pytest.raises(ArgumentError, match=r"lr: <function .* at step 7; a finite number of at least 0"):
            value_at(lambda t, bad=bad: bad, 7, "lr")
