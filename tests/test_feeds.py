"""What the host decides reaches the device: as it is, in order, and once more for each replay."""

import numpy as np
import pytest

from tinygan.errors import BackendError
from tinygan.feeds import ALIGNED, Tape, feed
from tinygan.testing.device import DeviceArray, standin, xp

here = np.zeros(3, dtype=np.float32)
there = standin.from_host(here)


def test_on_numpy_it_is_what_was_made_and_nothing_else():
    made = np.arange(3.0)
    assert feed(lambda: made, here) is made
    assert type(feed(lambda: 0.1, here)) is float
    assert feed(lambda: (0.1, 0.2), here) == (0.1, 0.2)
    assert feed(lambda t: t + 0.5, here, 3) == 3.5
    with Tape().listening():
        assert feed(lambda: made, here) is made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_a_device_it_is_an_array_of_the_right_dtype(dtype):
    like = standin.from_host(np.zeros(3, dtype=dtype))
    number = feed(lambda: 0.1, like)
    assert (type(number), number.shape, number.dtype) == (DeviceArray, (), dtype)
    a, b = feed(lambda: (0.1, 0.2), like)
    assert (a.shape, float(b)) == ((), float(dtype(0.2)))
    assert feed(lambda t: np.full((2, 3), t), like, 7).tolist() == [[7, 7, 7]] * 2


def test_a_number_on_a_device_computes_what_pythons_would():
    x = standin.from_host(np.linspace(-3, 3, 50, dtype=np.float32))
    for value in (0.1, 1e-8, 1.0 / 3.0):
        a, b = x.copy(), x.copy()
        a *= feed(lambda value=value: value, x)
        b *= value
        assert a.tolist() == b.tolist()
        assert (x + feed(lambda value=value: value, x)).tolist() == (x + value).tolist()


class Step:
    """A step that is fed with three arrays, and counts."""

    def __init__(self):
        self.t, self.log = 0, []

    def count(self):
        self.t += 1
        self.log.append("count")
        return float(self.t)

    def noise(self):
        self.log.append("noise")
        return np.full((2, 100), self.t, dtype=np.float32)

    def __call__(self):
        rate = feed(self.count, there)
        z = feed(self.noise, there)
        gamma = feed(lambda t: (t * 10.0, self.t), there, self.t)
        return rate, z, gamma


def recorded(step):
    """A tape of the step, its memory, and the arrays that the recorded step got."""
    tape = Tape()
    with tape.listening():
        step()
    memory = xp.zeros(tape.nbytes, dtype=np.uint8)
    tape.place(memory)
    with tape.recording():
        arrays = step()
    return tape, memory, arrays


def test_a_replay_makes_all_again_in_order_in_the_same_place():
    step = Step()
    tape, memory, (rate, z, gamma) = recorded(step)
    assert (step.t, step.log) == (1, ["count", "noise"])  # recording makes nothing
    assert tape.nbytes == ALIGNED + 4 * ALIGNED + ALIGNED
    for t in (2, 3):
        host = np.zeros(tape.nbytes, dtype=np.uint8)
        tape.fill(host, t * 100)
        memory[...] = standin.from_host(host)
        assert (float(rate), z.tolist(), gamma.tolist()) == (t, [[t] * 100] * 2, [t * 1000, t])
    assert step.log == ["count", "noise"] * 3
    assert rate.base is memory


@pytest.mark.parametrize(
    "other",
    [
        lambda: [feed(lambda: 1.0, there)],
        lambda: [feed(lambda: 1.0, there)] * 2 + [feed(lambda: 1.0, there) for _ in range(3)],
        lambda: [feed(lambda: 1.0, there), feed(lambda: 1.0, standin.from_host(np.zeros(1)))],
        lambda: [feed(lambda t: 1.0, there, 3), feed(lambda: 1.0, there)],
    ],
    ids=["fewer", "more", "another dtype", "of a step"],
)
def test_a_step_that_feeds_otherwise_cannot_be_recorded(other):
    tape = Tape()
    with tape.listening():
        feed(lambda: 1.0, there)
        feed(lambda: 1.0, there)
    tape.place(xp.zeros(tape.nbytes, dtype=np.uint8))
    with pytest.raises(BackendError, match="before"), tape.recording():
        other()
    assert float(feed(lambda: 2.0, there)) == 2.0  # and the tape is off


def test_what_changes_its_shape_is_refused():
    sizes = iter([2, 2, 3])
    tape = Tape()
    with tape.listening():
        feed(lambda: np.zeros(next(sizes)), there)
    tape.place(xp.zeros(tape.nbytes, dtype=np.uint8))
    with tape.recording():
        feed(lambda: np.zeros(next(sizes)), there)
    tape.fill(np.zeros(tape.nbytes, dtype=np.uint8), 0)
    with pytest.raises(BackendError, match=r"\(3,\).*\(2,\)"):
        tape.fill(np.zeros(tape.nbytes, dtype=np.uint8), 0)
