"""The checkers: what they measure, what they say, and that where they cannot tell, they do not pass.

But for arrays without any influence beside others that have some: these are listed in ``report.zero``.
"""

import doctest
import subprocess
import sys

import counting
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygan.testing.contract
import tinygan.testing.gradients
from tinygan import Sequential, losses
from tinygan.errors import ArgumentError, ContractError, GradientError
from tinygan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from tinygan.testing import check_function, check_generator_gradient, check_gradients, check_layer
from tinygan.testing.differences import slope, slopes
from tinygan.testing.strategies import Case, away_from, geometries, images, layers, networks

numbers = np.random.default_rng(0).standard_normal


# ---- finite differences --------------------------------------------------------------------------------------------


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

    found = slopes(f, np.zeros(1), f(np.zeros(1)), np.ones((1, 1)), np.ones((1, 1)), tolerance=1e-6)
    assert found.value[0, 0] == pytest.approx(-1.0, abs=1e-6)


# ---- what passes ---------------------------------------------------------------------------------------------------


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
    counting.check_network(layer, x, exhaustive=5, directions=2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


@settings(max_examples=30)
@given(case=layers())
def test_a_check_finds_the_same_twice(case):
    assert counting.check_gradients(*case, rng=7) == counting.check_gradients(*case, rng=7)


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

    def forward(self, x, *, train=True):
        self.calls += 1
        return super().forward(x * self.calls, train=train)

    def backward(self, dy):
        return super().backward(dy) * self.calls


def test_layers_with_a_state_of_their_own_can_be_checked():
    assert check_gradients(Unpicklable(), numbers((2, 3))).largest_error < 1e-6
    assert check_gradients(CountsItsCalls(), numbers((2, 3))).largest_error < 1e-6


# ---- what does not pass, and what is said --------------------------------------------------------------------------


class WrongWeights(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["W"][1, 0] += 1.0
        return dx


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
        def backward(self, dy):
            return change(super().backward(dy))

    with pytest.raises(GradientError, match=f"dx is wrong.*{hint}"):
        check_gradients(Changed(3, 2), numbers((4, 3)))


def answering(dx):
    """A Tanh whose backward returns ``dx(x, dy)``."""

    class Answering(Tanh):
        def forward(self, x, *, train=True):
            self.x = x
            return super().forward(x, train=train)

        def backward(self, dy):
            self._recall(dy)
            return dx(self.x, dy)

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


POINT = numbers((4, 3))


class Forward(Layer):
    """Some function, with an arbitrary backward."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x, *, train=True):
        return self._remember(self.f(x))

    def backward(self, dy):
        self._recall(dy)
        return 0.0 * dy


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: 0.0 * x, "nothing was compared"),
        (lambda x: 0.0 * x + 7.0, "nothing was compared"),
        (lambda x: x.astype(np.float32), "the output is float32"),
        (lambda x: x + np.random.default_rng().random(x.shape), "two equal copies"),
        (lambda x: x * np.nan, "two equal copies|not finite"),
        (lambda x: np.sign(x - POINT), "cannot tell"),
        (lambda x: np.floor(1e9 * x) / 1e9, "cannot tell|is wrong"),
    ],
)
def test_functions_that_cannot_be_checked_do_not_pass(f, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(Forward(f), POINT)


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
        def forward(self, x, *, train=True):
            self.rng = np.random.default_rng()
            return super().forward(x, train=train)

    with pytest.raises(GradientError, match="two equal copies"):
        check_gradients(Anew(0.5), numbers((20, 20)))


@pytest.mark.parametrize("tolerance", [0.0, 1e-5, -1.0, float("nan")])
def test_a_tolerance_that_proves_nothing_is_refused(tolerance):
    with pytest.raises(ArgumentError, match="tolerance"):
        check_gradients(Dense(3, 2), numbers((4, 3)), tolerance=tolerance)


def test_a_dy_of_another_size_is_refused():
    with pytest.raises(GradientError, match="dy has 3 numbers, the output 8"):
        check_gradients(Dense(3, 2), numbers((4, 3)), dy=np.ones(3))


# ---- functions and pairs of networks -------------------------------------------------------------------------------


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


def test_a_discriminator_that_stores_although_told_to_skip_is_found():
    class Stores(Dense):
        def backward(self, dy, *, grads="add", need_dx=True):
            return super().backward(dy)

    with pytest.raises(GradientError, match="has changed the gradient of W"):
        check_generator_gradient(Dense(3, 2), Stores(2, 1), losses.NonSaturating(), numbers((4, 3)))


# ---- check_layer ---------------------------------------------------------------------------------------------------


def test_check_layer_says_what_why_and_how():
    class Overwrites(Dense):
        def backward(self, dy):
            (x,) = self._recall(dy)
            self.grads["W"][...], self.grads["b"][...] = x.T @ dy, dy.sum(axis=0)
            return dy @ self.params["W"].T

    with pytest.raises(ContractError, match=r"^Overwrites: backward adds to grads.*Found: .*Why: .*Mend: "):
        check_layer(Overwrites(3, 2), numbers((4, 3)))


def test_check_layer_wants_a_layer():
    with pytest.raises(ArgumentError, match="expected a tinygan Layer"):
        check_layer(np.tanh, numbers((4, 3)))


def test_check_layer_reports_a_crash_with_the_rule_that_met_it():
    class Crashes(Tanh):
        def backward(self, dy):
            raise RuntimeError("out of luck")

    with pytest.raises(ContractError, match="RuntimeError was raised: out of luck"):
        check_layer(Crashes(), numbers((4, 3)))


def test_the_smallest_layer_of_ones_own_passes():
    """What the docstring of Layer promises: two methods and a parameter are enough."""

    class Scale(Layer):
        def __init__(self, c):
            super().__init__()
            self._add_param("a", np.full(c, 1.5, np.float32))

        def forward(self, x, *, train=True):
            self._check_input(x)
            return self._remember(x * self.params["a"], x)

        def backward(self, dy):
            (x,) = self._recall(dy)
            self.grads["a"] += (dy * x).sum(axis=0)
            return dy * self.params["a"]

    check_layer(Scale(3), numbers((4, 3)))
    check_layer(Sequential(Scale(3), Tanh(), Dense(3, 2)), numbers((4, 3)))


class Branches(Layer):
    """Layers in a layer that is no network: what random numbers they draw is found only if rngs() is told."""

    def __init__(self, found):
        super().__init__()
        self.inner, self.found = (Dropout(0.5, rng=1), Dropout(0.5, rng=2)), found

    def forward(self, x, *, train=True):
        self._check_input(x)
        return self._remember(sum(layer.forward(x, train=train) for layer in self.inner), x)

    def backward(self, dy):
        dx = sum(layer.backward(dy) for layer in self.inner)
        self._recall(dy)  # last: it forgets the passes of the inner layers too
        return dx

    def take_pass(self):
        return super().take_pass(), [layer.take_pass() for layer in self.inner]

    def restore_pass(self, taken):
        super().restore_pass(taken[0])
        for layer, own in zip(self.inner, taken[1], strict=True):
            layer.restore_pass(own)

    def forget(self):
        super().forget()
        for layer in getattr(self, "inner", ()):
            layer.forget()

    def rngs(self):
        if self.found:
            yield from ((f"{i}.{key}", rng) for i, layer in enumerate(self.inner) for key, rng in layer.rngs())


def test_generators_of_layers_within_a_layer():
    check_layer(Branches(found=True), numbers((6, 5)))
    with pytest.raises(ContractError, match=r"random numbers come only from Generators that rngs\(\) finds"):
        check_layer(Branches(found=False), numbers((6, 5)))


# ---- strategies ----------------------------------------------------------------------------------------------------


@given(x=images())
def test_inputs_stay_away_from_kinks(x):
    assert (np.abs(x) >= 0.05).all()
    assert (np.abs(away_from((0.5, -0.5), x) - 0.5) >= 0.05).all()


@given(geometry=geometries(), transposed=geometries(transposed=True))
def test_geometries_cover_what_they_say(geometry, transposed):
    for g in (geometry, transposed):
        assert all(1 <= k <= 7 for k in g.kernel_size)
        assert all(1 <= s <= 4 for s in g.stride)


def test_layers_are_of_every_kind():
    seen = set()

    @settings(max_examples=1000, database=None, derandomize=True)
    @given(case=layers())
    def draw(case):
        assert isinstance(case, Case)
        seen.add(type(case.layer).__name__)

    draw()
    from tinygan import layers as all_layers

    assert seen == set(all_layers.__all__) - {"Layer"}


# ---- the package ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [tinygan.testing.gradients, tinygan.testing.contract])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_checks_need_no_hypothesis():
    code = "import sys, tinygan.testing; print('hypothesis' in sys.modules, 'pytest' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


def test_checks_are_counted():
    before = counting.cases
    counting.check_gradients(Dense(2, 2), numbers((2, 2)))
    assert counting.cases == before + 1
