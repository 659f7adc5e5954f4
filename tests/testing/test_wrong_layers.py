"""The gate: are the checks any good? Each of the mistakes in wrong_*.py must be noticed, and nothing else."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import (  # each adds its mistakes to WRONG
    wrong_augment,  # noqa: F401
    wrong_conditional,  # noqa: F401
    wrong_contract,  # noqa: F401
    wrong_penalties,  # noqa: F401
    wrong_regularisers,  # noqa: F401
    wrong_resizing,  # noqa: F401
    wrong_second_order,  # noqa: F401
    wrong_training,  # noqa: F401
)
from support.wrong_layers import WRONG

from tinygan.errors import GradientError, UndecidedError
from tinygan.testing import check_gradients
from tinygan.testing.strategies import layers, networks

MISTAKES = 404  # how many there are: whoever adds or drops one says so here


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_wrong_version_is_caught(case):
    with pytest.raises(case.error, match=case.says):
        case.check(case.wrong())


@pytest.mark.parametrize("case", {c.counterpart or c.name: c for c in WRONG}.values(), ids=lambda case: case.name)
def test_its_right_counterpart_passes(case):
    case.check(case.right())


def test_there_are_as_many_mistakes_as_we_say_and_no_two_of_one_name():
    assert len(WRONG) == MISTAKES
    assert max(Counter(case.name for case in WRONG).values()) == 1


def tampered(layer, key, entry):
    """A copy of ``layer`` whose backward errs in one entry of dx (key None) or of a gradient, by 1e-4 of its norm."""

    class Tampered(type(layer)):
        def backprop(self, cache, dy, add=True):
            wrong = np.array(super().backprop(cache, dy, add))
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
