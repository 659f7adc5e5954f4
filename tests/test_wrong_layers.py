"""The gate: are the checks any good? Each of the mistakes in wrong_*.py must be noticed, and nothing else."""

from collections import Counter

import numpy as np
import pytest
import wrong_contract  # noqa: F401  (adds its mistakes to WRONG)
import wrong_regularisers  # noqa: F401
import wrong_second_order  # noqa: F401
import wrong_training  # noqa: F401
from hypothesis import assume, given
from hypothesis import strategies as st
from wrong_layers import WRONG

from tinygan.errors import GradientError, UndecidedError
from tinygan.testing import check_gradients
from tinygan.testing.strategies import layers, networks


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_wrong_version_is_caught(case):
    with pytest.raises(case.error, match=case.says):
        case.check(case.wrong())


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_its_right_counterpart_passes(case):
    case.check(case.right())


def test_there_are_enough_mistakes_and_no_two_of_one_name():
    assert len(WRONG) >= 45
    assert max(Counter(case.name for case in WRONG).values()) == 1


def tampered(layer, key, entry):
    """A copy of ``layer`` whose backward errs in one entry of dx (key None) or of a gradient, by 1e-4 of its norm."""

    class Tampered(type(layer)):
        def backward(self, dy):
            dx = super().backward(dy)
            wrong = np.array(dx)
            target = wrong if key is None else self.grads[key]
            target.flat[entry] += 1e-4 * np.linalg.norm(target) + 1e-6
            return wrong

    copy = layer.copy()
    copy.__class__ = Tampered
    return copy


@given(case=st.one_of(layers(), networks()), data=st.data())
def test_one_wrong_entry_is_found_and_named(case, data):
    """Whatever the layer or network: one entry of one gradient, wrong by 1e-4 of the norm, and that entry is named."""
    key = data.draw(st.sampled_from([None, *case.layer.params]))
    shape = (case.x if key is None else case.layer.params[key]).shape
    entry = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    index = ", ".join(str(int(i)) for i in np.unravel_index(entry, shape))
    name = f"dx[{index}]" if key is None else f"grads[{key!r}][{index}]"
    with pytest.raises(GradientError) as caught:
        check_gradients(tampered(case.layer, key, entry), case.x)
    assume(not isinstance(caught.value, UndecidedError))
    assert name in str(caught.value)
