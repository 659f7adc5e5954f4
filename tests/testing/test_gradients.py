"""The checkers of gradients: what they say, and that where they cannot tell, they do not pass.

But for arrays without any influence beside others that have some: these are listed in ``report.zero``.
"""

import doctest
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from support import counting
from support.wrong_contract import Embedding, OneOfEqualIndices

import tinygan.testing.gradients
from tinygan import Sequential, losses
from tinygan.errors import ArgumentError, GradientError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, ReLU, Reshape, Sigmoid, Tanh
from tinygan.testing import check_function, check_generator_gradient, check_gradients, check_layer
from tinygan.testing.strategies import layers, networks

numbers = np.random.default_rng(0).standard_normal

# ---- what passes -----------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_compared():
    report = check_gradients(Dense(3, 2), numbers((4, 3)))
    assert report.comparisons == 8 * (12 + 6 + 2)  # outputs × (x, W, b)
    assert report.largest_error < 1e-9
    assert "160 comparisons" in str(report)
    assert check_gradients(Dense(3, 2), numbers((4, 3)), params=False).comparisons == 8 * 12
    assert check_gradients(Dense(3, 2), numbers((4, 3)), dy=numbers((4, 2))).comparisons == 20


def test_a_gradient_that_is_zero_both_ways_is_reported():
    """BatchNorm subtracts the mean, and with it any bias before it."""
    report = check_gradients(Sequential(Dense(3, 4), BatchNorm(4), Tanh()), numbers((5, 3)))
    assert report.zero == ("grads['0.b']",)


@given(case=networks())
def test_checking_changes_nothing(case):
    layer, x = case.layer.astype(np.float32), case.x.astype(np.float32)
    arrays = [x, *layer.params.values(), *layer.grads.values(), *layer.buffers.values()]
    before = [a.copy() for a in arrays]
    counting.count_and_check_network(layer, x, exhaustive=5, directions=2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


@settings(max_examples=30)
@given(case=layers())
def test_a_check_finds_the_same_twice(case):
    assert counting.count_and_check(*case, rng=7) == counting.count_and_check(*case, rng=7)


def test_kinks_near_by_are_walked_around():
    x = np.array([[1e-5, -1e-5, 3e-6], [0.5, -0.5, 0.2]])
    assert check_gradients(ReLU(), x).largest_error < 1e-6
    assert check_gradients(LeakyReLU(0.2), x).largest_error < 1e-6


class Unpicklable(Tanh):
    def __init__(self):
        super().__init__()
        self.hook = lambda: None


class CountsItsCalls(Tanh):
    """Changes at every forward in a way that only copying undoes."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def apply(self, x, train):
        self.calls += 1
        y, cache = super().apply(x * self.calls, train)
        return y, (cache, self.calls)

    def gradients(self, cache, dy):
        return super().gradients(cache[0], dy)[0] * cache[1], {}


def test_layers_with_a_state_of_their_own_can_be_checked():
    assert check_gradients(Unpicklable(), numbers((2, 3))).largest_error < 1e-6
    assert check_gradients(CountsItsCalls(), numbers((2, 3))).largest_error < 1e-6


# ---- what does not pass, and what is said --------------------------------------------------------------------------


class WrongWeights(Dense):
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        gradients["W"][1, 0] += 1.0
        return dx, gradients


@pytest.mark.parametrize("exhaustive", [200, 0], ids=["entry by entry", "along directions"])
def test_the_message_names_layer_array_entry_and_both_values(exhaustive):
    layer, x, dy = WrongWeights(3, 2, rng=1, dtype=np.float64), numbers((4, 3)), numbers((4, 2))
    right = (x.T @ dy)[1, 0]
    with pytest.raises(GradientError) as caught:
        check_gradients(Sequential(Tanh(), layer), np.arctanh(np.tanh(x)), dy=dy, exhaustive=exhaustive)
    right = (np.tanh(x).T @ dy)[1, 0]
    message = str(caught.value)
    assert "layer 1 Dense(3, 2)" in message
    assert "grads['1.W'][1, 0]" in message
    assert f"backward says {right + 1:.7g}"[:20] in message
    assert f"differences say {right:.7g}"[:22] in message


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda g: -g, "-1 times"),
        (lambda g: 1.0005 * g, r"1\.0005 times"),
        (lambda g: 0.0 * g, "not computed, or not stored"),
        (lambda g: g[:, ::-1], "No constant factor"),
    ],
)
def test_the_message_says_what_it_looks_like(change, hint):
    class Changed(Dense):
        def gradients(self, x, dy):
            dx, gradients = super().gradients(x, dy)
            return change(dx), gradients

    with pytest.raises(GradientError, match=f"dx is wrong.*{hint}"):
        check_gradients(Changed(3, 2), numbers((4, 3)))


def answering(dx):
    """A Tanh whose gradient is ``dx(x, dy)``."""

    class Answering(Tanh):
        def apply(self, x, train):
            return super().apply(x, train)[0], x

        def gradients(self, x, dy):
            return dx(x, dy), {}

    return Answering()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (answering(lambda x, dy: None), "dx is missing"),
        (answering(lambda x, dy: dy.sum(axis=1)), r"dx has shape \(4,\), expected \(4, 3\)"),
        (answering(lambda x, dy: dy[:, :, None]), r"dx has shape \(4, 3, 1\)"),
        (answering(lambda x, dy: dy * np.nan), r"dx\[0, 0\] is nan"),
        (answering(lambda x, dy: np.where(x == x.max(), np.inf, dy)), r"dx\[\d, \d\] is inf"),
    ],
)
def test_answers_that_are_no_gradient(layer, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(layer, numbers((4, 3)))


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        ({"W": np.zeros((3, 2))}, r"gradients\(\) must give b as float64 \(2,\), got only \['W'\]"),
        ({"W": np.zeros((3, 2)), "b": np.zeros((1, 2))}, r"must give b as float64 \(2,\), got float64 \(1, 2\)"),
        ({"W": np.zeros((3, 2), np.float32), "b": np.zeros(2)}, r"must give W as float64 \(3, 2\), got float32"),
    ],
)
def test_answers_that_are_no_gradients_of_the_parameters(gradients, message):
    class Answering(Dense):
        def gradients(self, x, dy):
            return super().gradients(x, dy)[0], gradients

    with pytest.raises(GradientError, match=message):
        check_gradients(Answering(3, 2), numbers((4, 3)))


POINT = numbers((4, 3))


class Forward(Layer):
    """Some function, with an arbitrary gradient."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def apply(self, x, train):
        return self.f(x), None

    def gradients(self, cache, dy):
        return 0.0 * dy, {}


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: 0.0 * x, "nothing was compared"),
        (lambda x: 0.0 * x + 7.0, "nothing was compared"),
        (lambda x: x.astype(np.float32), "the output is float32"),
        (lambda x: x + np.random.default_rng().random(x.shape), "two equal copies"),
        (lambda x: x * np.nan, "not finite"),
        (lambda x: np.sign(x - POINT), "cannot tell"),
        (lambda x: np.floor(1e9 * x) / 1e9, "cannot tell|is wrong"),
    ],
)
def test_functions_that_cannot_be_checked_do_not_pass(f, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(Forward(f), POINT)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_among_others_does_not_pass(bad):
    """Nor would it be noticed in a sum over outputs, where dy is 0 for it."""
    right = Tanh()

    class OneIsBad(Tanh):
        def apply(self, x, train):
            y, cache = super().apply(x, train)
            return np.where(np.arange(y.size).reshape(y.shape) == 5, bad, y), cache

    x, dy = numbers((4, 3)), numbers((4, 3))
    dy.flat[5] = 0.0
    for options in ({}, {"dy": dy}):
        check_gradients(right, x, **options)
        with pytest.raises(GradientError, match="OneIsBad: the output is not finite"):
            check_gradients(OneIsBad(), x, **options)
        with pytest.raises(GradientError, match="not finite"):
            check_gradients(Sequential(OneIsBad(), Reshape(3, 1)), x)


def test_a_value_that_is_not_finite_does_not_pass():
    for bad in (np.nan, np.inf):
        with pytest.raises(GradientError, match="the output is not finite"):
            check_function(lambda a, bad=bad: ((a**2).sum() + bad, 2 * a), numbers(3))


@pytest.mark.parametrize("x", [0.0, 1e-12, -1e-10])
@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(0.2)])
def test_standing_on_a_kink_is_recognised(layer, x):
    with pytest.raises(GradientError, match=r"cannot tell what dx\[1, 0\] should be.*kink"):
        check_gradients(layer, np.array([[0.5, -0.5], [x, 1.0]]))


def test_a_dead_network_proves_nothing():
    dead = Sequential(Dense(3, 4, dtype=np.float64), ReLU())
    dead.params["0.b"][...] = -100.0
    with pytest.raises(GradientError, match="nothing was compared"):
        check_gradients(dead, numbers((4, 3)))


def test_a_saturated_network_cannot_be_judged():
    with pytest.raises(GradientError, match=r"cannot tell|nothing was compared"):
        check_gradients(Sigmoid(), np.full((2, 2), 33.0))


def test_dropout_without_its_generator_is_no_function():
    class Anew(Dropout):
        def apply(self, x, train):
            self.rng = np.random.default_rng()
            return super().apply(x, train)

    with pytest.raises(GradientError, match="two equal copies"):
        check_gradients(Anew(0.5), numbers((20, 20)))


@pytest.mark.parametrize("tolerance", [0.0, 1e-5, -1.0, float("nan")])
def test_a_tolerance_that_proves_nothing_is_refused(tolerance):
    with pytest.raises(ArgumentError, match="tolerance"):
        check_gradients(Dense(3, 2), numbers((4, 3)), tolerance=tolerance)


def test_a_dy_of_another_size_is_refused():
    with pytest.raises(GradientError, match="dy has 3 numbers, the output 8"):
        check_gradients(Dense(3, 2), numbers((4, 3)), dy=np.ones(3))


class ForgetsItsBase(Tanh):
    def __init__(self):
        self.slope = 1.0


@pytest.mark.parametrize("check", [check_gradients, check_layer])
def test_a_layer_must_call_its_base(check):
    with pytest.raises(ArgumentError, match=r"^ForgetsItsBase: __init__ must call super\(\)\.__init__\(\)"):
        check(ForgetsItsBase(), numbers((3, 2)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_apply_must_return_a_pair(n):
    """A bare array of two samples could be unpacked."""

    class OnlyY(Tanh):
        def apply(self, x, train):
            return super().apply(x, train)[0]

    with pytest.raises(
        GradientError, match="OnlyY: apply returns ndarray in place of a pair; end it with `return y, cache`"
    ):
        check_gradients(OnlyY(), numbers((n, 3)))


# ---- functions and pairs of networks --------------------------------------------------------------------------------


def test_functions():
    a, b = numbers(3), numbers((3, 2))
    report = check_function(lambda a, b: (a @ b @ b.T @ a, 2 * b @ b.T @ a, 2 * np.outer(a, a) @ b), a, b)
    assert report.comparisons == 9


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a: ((a**2).sum(), 2.001 * a), "gradient of argument 0 is wrong.*1.0005 times"),
        (lambda a: ((a**2).sum(),), "gradient of argument 0 is missing"),
        (lambda a: (a**2, 2 * a), "must be a scalar"),
        (lambda a: (np.abs(a - a).sum(), 0 * a), "nothing was compared"),
        (lambda a: ((a**2).sum(), a[:, None] * 2), "has shape"),
    ],
)
def test_wrong_functions(function, message):
    with pytest.raises(GradientError, match=message):
        check_function(function, numbers(3))


class Stores(Dense):
    """Adds to its gradients although only that of its input was asked for."""

    def input_gradient(self, cache, dy):
        return self.backprop(cache, dy)


class Counts(Dense):
    """Its output depends on a buffer that every forward changes, as spectral normalisation's does."""

    def __init__(self, *args, slip=1.0, **options):
        super().__init__(*args, **options)
        self.buffers["calls"], self.slip = np.zeros(1, np.float32), slip

    def apply(self, x, train):
        self.buffers["calls"] += 1.0
        calls = self.buffers["calls"].copy()
        y, x = super().apply(x, train)
        return y * calls, (x, calls)

    def gradients(self, cache, dy):
        x, calls = cache
        return super().gradients(x, self.slip * dy * calls)


def test_a_discriminator_that_stores_where_nobody_asked_is_found():
    with pytest.raises(GradientError, match=r"D.input_gradient\(\) has changed the gradient of W"):
        check_generator_gradient(Dense(3, 2), Stores(2, 1), losses.NonSaturating(), numbers((4, 3)))
    with pytest.raises(GradientError, match=r"D.input_gradient\(\) has changed the gradient of 1.W"):
        check_generator_gradient(Dense(3, 2), Sequential(Tanh(), Stores(2, 1)), losses.NonSaturating(), numbers((4, 3)))


@pytest.mark.parametrize("inside", [False, True], ids=["a layer", "in a network"])
def test_a_discriminator_whose_forward_changes_a_buffer_is_compared_in_one_state(inside):
    """Were the buffer not put back for each value, the differences would compare several functions."""
    z, loss = numbers((4, 3)), losses.NonSaturating()

    def discriminator(**options):
        layer = Counts(2, 1, **options)
        return Sequential(Tanh(), layer) if inside else layer

    D = discriminator()
    for changing in (D, D.copy()):
        assert check_generator_gradient(Dense(3, 2), changing, loss, z).largest_error < 1e-6
        assert not any(b.any() for b in changing.buffers.values())  # and D itself stays as it was
    with pytest.raises(GradientError, match=r"1\.0005 times"):
        check_generator_gradient(Dense(3, 2), discriminator(slip=1.0005), loss, z)
    assert check_gradients(Counts(3, 2), z).largest_error < 1e-6
    with pytest.raises(GradientError, match=r"1\.0005 times"):
        check_gradients(Counts(3, 2, slip=1.0005), z)


def test_a_generator_that_does_not_fit_its_discriminator_is_refused():
    with pytest.raises(ShapeError, match=r"expected input \(N, 3\), got \(N, 2\)"):
        check_generator_gradient(Dense(3, 2), Dense(3, 1), losses.NonSaturating(), numbers((4, 3)))


# ---- indices ---------------------------------------------------------------------------------------------------------


def test_a_layer_that_takes_integers_is_checked_by_its_parameters():
    x = np.array([1, 3, 3, 0])
    report = check_gradients(Embedding(5, 3), x)
    assert report.comparisons == 12 * 15
    assert check_gradients(Sequential(Embedding(5, 3), Dense(3, 2), Tanh()), x).zero == ()
    with pytest.raises(GradientError, match=r"layer 0 OneOfEqualIndices.*grads\['0.W'\] is wrong"):
        check_gradients(Sequential(OneOfEqualIndices(5, 3), Dense(3, 2), Tanh()), x)
    with pytest.raises(GradientError, match="there are no parameters to check"):
        check_gradients(Embedding(5, 3), x, params=False)


# ---- the package -----------------------------------------------------------------------------------------------------


def test_examples_in_docstrings():
    result = doctest.testmod(tinygan.testing.gradients, optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_checks_need_no_hypothesis():
    code = "import sys, tinygan.testing; print('hypothesis' in sys.modules, 'pytest' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


def test_checks_are_counted():
    before = counting.cases
    counting.count_and_check(Dense(2, 2), numbers((2, 2)))
    assert counting.cases == before + 1
