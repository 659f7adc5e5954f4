"""What check_penalty refuses: batches that would make it call a right penalty wrong, or a wrong one right."""

import numpy as np
import pytest

from tinygan import Sequential
from tinygan.errors import ArgumentError
from tinygan.layers import Dense
from tinygan.penalties import R1, GradientPenalty, register
from tinygan.penalties.rules import RULES
from tinygan.testing import check_penalty

D = Sequential(Dense(3, 1, rng=1, dtype=np.float64))
real, fake = np.random.default_rng(0).standard_normal((2, 4, 3))
half_equal = np.concatenate([fake[:2], real[2:]])
KINDS = {
    "real": (R1(2.0), lambda r: np.mean(r**2)),
    "between": (GradientPenalty(1.0), lambda r: np.mean((r - 1.0) ** 2)),
}


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize(
    ("batches", "why"),
    [
        (
            (real[:1], fake[:1]),
            r"at least 2 samples, got \(1, 3\).*a sum is a mean, and nobody sees whether each has an ε",
        ),
        ((real[:0], fake[:0]), "at least 2 samples"),
        ((real, fake[:3]), r"of one shape.*got \(4, 3\) and \(3, 3\)"),
        ((real, real.copy()), "equal in sample 0.*nobody sees where the penalty looks.*at random"),
        ((real, half_equal), "equal in sample 2"),
    ],
    ids=["one sample", "none", "unlike", "equal", "equal in part"],
)
def test_batches_that_can_tell_nothing(where, batches, why):
    penalty, value = KINDS[where]
    with pytest.raises(ArgumentError, match=f"check_penalty: real and fake .*{why}"):
        check_penalty(penalty, D, *batches, where=where, value=value)


@pytest.mark.parametrize("where", KINDS)
def test_two_samples_are_enough(where):
    penalty, value = KINDS[where]
    assert check_penalty(penalty, D, real[:2], fake[:2], where=where, value=value).comparisons > 0


class Doubled(Sequential):
    """A network with a forward of its own, and with all that a penalty needs of it."""

    def apply(self, x, train, batches=1):
        y, passed = super().apply(x, train, batches)
        return 2.0 * y, passed

    def input_gradient(self, passed, dy):
        return super().input_gradient(passed, 2.0 * dy)

    def backprop(self, passed, dy, add=True):
        return super().backprop(passed, 2.0 * dy, add)

    def store_gradients(self, passed, dy, add=True):
        super().store_gradients(passed, 2.0 * dy, add)


of_network = RULES[Sequential]
register(
    Doubled,
    tangent=lambda network, passed, v: 2.0 * of_network.tangent(network, passed, v),
    second_order=lambda network, passed, v, g: of_network.second_order(network, passed, v, 2.0 * g),
)


class Named(Sequential):
    """A class of one's own that computes what a Sequential does."""


@pytest.mark.parametrize("where", KINDS)
def test_a_discriminator_with_a_forward_of_its_own_is_a_layer(where):
    penalty, value = KINDS[where]
    network = Doubled(Dense(3, 1, rng=1, dtype=np.float64))
    with pytest.raises(ArgumentError, match=r"the discriminator is a Doubled, which may.*give Sequential\(D\)"):
        check_penalty(penalty, network, real, fake, where=where, value=value)
    assert check_penalty(penalty, Sequential(network), real, fake, where=where, value=value).comparisons > 0


@pytest.mark.parametrize("where", KINDS)
def test_a_class_of_ones_own_says_that_it_computes_the_same(where):
    penalty, value = KINDS[where]
    network = Named(Dense(3, 1, rng=1, dtype=np.float64))
    with pytest.raises(ArgumentError, match=r"register\(Named, like=Sequential\)"):
        check_penalty(penalty, network, real, fake, where=where, value=value)
    register(Named, like=Sequential)
    try:
        assert check_penalty(penalty, network, real, fake, where=where, value=value).comparisons > 0
        assert float(penalty(network, real, fake, 0)) == float(penalty(Sequential(network.copy()), real, fake, 0))
    finally:
        del RULES[Named]


def test_places_without_a_name():
    with pytest.raises(ArgumentError, match="where must be 'real', 'fake' or 'between', got 'here'"):
        check_penalty(R1(), D, real, fake, where="here", value=np.mean)
