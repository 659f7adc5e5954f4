"""Gradient checks of generated cases, counted: the run prints how many there were, and fails if they were too few.

They are quicker than the defaults: a case in a thousand others need not try every direction. Where finite differences
cannot tell (which depends on values alone, not on any backward pass), a random network is given back to Hypothesis,
which draws another and complains if that happens often.
"""

from hypothesis import reject

from tinygan import testing
from tinygan.errors import UndecidedError

REQUIRED = 2000  # in one full run of the suite

cases = 0


def count_and_check(layer, x, **options):
    """As :func:`tinygan.testing.check_gradients`."""
    return _counted(testing.check_gradients(layer, x, **{"exhaustive": 60, "directions": 3, **options}))


def count_and_check_function(function, *arrays, **options):
    """As :func:`tinygan.testing.check_function`."""
    return _counted(testing.check_function(function, *arrays, **{"exhaustive": 20, "directions": 4, **options}))


def count_and_check_network(network, x, **options):
    """As :func:`count_and_check`, of a network that may happen to be degenerate."""
    try:
        return count_and_check(network, x, **{"exhaustive": 12, **options})
    except UndecidedError:
        reject()


def count_and_check_generator(generator, discriminator, loss, z, **options):
    """As :func:`tinygan.testing.check_generator_gradient`, of networks that may happen to be degenerate."""
    options = {"exhaustive": 12, "directions": 3, **options}
    try:
        return _counted(testing.check_generator_gradient(generator, discriminator, loss, z, **options))
    except UndecidedError:
        reject()


def count_and_check_second_order(layer, x, *, random=False, **options):
    """As :func:`tinygan.testing.check_second_order`; a ``random`` one may happen not to depend on its input."""
    try:
        return _counted(testing.check_second_order(layer, x, **{"exhaustive": 60, "directions": 3, **options}))
    except UndecidedError:
        if not random:
            raise
        reject()


def count_and_check_penalty(penalty, discriminator, real, fake, **options):
    """As :func:`tinygan.testing.check_penalty`, of a network that may happen to be degenerate."""
    options = {"exhaustive": 12, "directions": 3, **options}
    try:
        return _counted(testing.check_penalty(penalty, discriminator, real, fake, **options))
    except UndecidedError:
        reject()


def _counted(report):
    global cases
    assert report.comparisons > 0
    cases += 1
    return report


# The names of before, for the tests that are still to be renamed
check_gradients, check_function, check_network = count_and_check, count_and_check_function, count_and_check_network
check_generator_gradient, check_penalty = count_and_check_generator, count_and_check_penalty
check_second_order = count_and_check_second_order
