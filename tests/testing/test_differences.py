"""Slopes from values: what they are worth, and the bound that each comes with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan.testing.differences import slope, slopes


def one_slope(f, *, step=3e-4):
    """Slope at 0 of a function of one number: (value, bound of its error, noise)."""
    a = np.zeros(1)
    return [float(r[0]) for r in slope(f, a, f(a), np.ones(1), np.ones((1, 1)), step)]


@given(jump=st.floats(-5, 5), at=st.floats(-1.2, 1.2), tilt=st.floats(-5, 5))
def test_the_error_bound_holds_wherever_a_corner_is(jump, at, tilt):
    """φ(t) = tilt·t + jump·max(t − d, 0) has the slope ``tilt`` at 0 from the side away from the corner."""
    d = 3e-4 * at
    value, error, noise = one_slope(lambda t: tilt * t + jump * np.maximum(t - d, 0.0))
    right = {tilt + jump} if d < 0 else {tilt} if d > 0 else {tilt, tilt + jump}
    assert all(abs(value - r) <= error + noise + 1e-9 for r in right)


@given(c=st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_the_error_bound_holds_for_polynomials(c):
    value, error, noise = one_slope(lambda t: np.polyval(c, t), step=0.1)
    # Richardson's rest is of fourth order; the bound is of second, and so far above it unless c[2] = 0
    assert abs(value - c[4]) <= error + noise + abs(c[0]) * 0.1**4 + 1e-300
    assert error <= 0.1**2 * abs(c[2]) + 0.1**3 * abs(c[1]) + 0.1**4 * abs(c[0]) + 1e-12


def test_richardson_has_fourth_order():
    errors = [
        abs(one_slope(lambda t: np.exp(t) * np.sin(t + 1), step=h)[0] - (np.sin(1) + np.cos(1))) for h in (0.4, 0.2)
    ]
    assert 14 < errors[0] / errors[1] < 18


def test_steps_shrink_until_a_corner_is_out_of_reach():
    def f(a):
        return np.abs(a - 1e-5)

    actual = slopes(f, np.zeros(1), f(np.zeros(1)), np.ones((1, 1)), np.ones((1, 1)), tolerance=1e-6)
    assert actual.value[0, 0] == pytest.approx(-1.0, abs=1e-6)
