"""The errors themselves, and the checks of settings that raise them: what is accepted, as much as what is refused."""

import numpy as np
import pytest

from tinygan import errors
from tinygan.errors import ArgumentError, TinyGANError, fraction, positive, positive_int, positive_or_0, seed, value_at

BUILT_IN = {
    "ArgumentError": ValueError,
    "BackendError": RuntimeError,
    "CheckpointError": ValueError,
    "ContractError": AssertionError,
    "DTypeError": TypeError,
    "DataError": ValueError,
    "GradientError": AssertionError,
    "NonFiniteError": FloatingPointError,
    "PassError": RuntimeError,
    "SecondOrderError": NotImplementedError,
    "ShapeError": ValueError,
    "UndecidedError": AssertionError,
}


def test_each_error_is_tinygans_and_a_built_in_one():
    actual = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and "Error" in name}
    assert actual.keys() == {*BUILT_IN, "TinyGANError"}
    for name, built_in in BUILT_IN.items():
        assert issubclass(actual[name], TinyGANError)
        assert issubclass(actual[name], built_in)
    assert issubclass(errors.UndecidedError, errors.GradientError)


NAN, INF = float("nan"), float("inf")

CHECKS = {
    "positive_int": (
        lambda v: positive_int(v, "what"),
        {1: 1, 7: 7, np.int64(3): 3, np.uint8(2): 2},
        [0, -1, 1.0, True, "1", None, NAN, np.array([1]), (1,)],
    ),
    "positive_int, least 0": (lambda v: positive_int(v, "what", least=0), {0: 0, 1: 1}, [-1, False, 0.0]),
    "positive_int, least 2": (lambda v: positive_int(v, "what", least=2), {2: 2}, [1, 0]),
    "positive": (
        lambda v: positive(v, "what"),
        {1: 1.0, 1e-300: 1e-300, 0.5: 0.5, 1e300: 1e300, np.float32(0.5): 0.5},
        [0, 0.0, -1e-300, NAN, INF, -INF, "1", None, (1.0,), np.ones(1)],
    ),
    "positive_or_0": (
        lambda v: positive_or_0(v, "what"),
        {0: 0.0, 1e-300: 1e-300, 2: 2.0, np.float64(0.25): 0.25},
        [-1e-300, NAN, INF, "0", None, np.zeros(1)],
    ),
    "fraction [)": (lambda v: fraction(v, "what"), {0: 0.0, 0.5: 0.5, 1 - 1e-9: 1 - 1e-9}, [1, 1.0, -1e-9, NAN, "0.5"]),
    "fraction []": (lambda v: fraction(v, "what", closed="[]"), {0: 0.0, 1: 1.0}, [1 + 1e-9, -1e-9, NAN, None]),
    "fraction (]": (lambda v: fraction(v, "what", closed="(]"), {1e-9: 1e-9, 1: 1.0}, [0, 0.0, 1 + 1e-9, -1, NAN]),
    "seed": (lambda v: seed(v, "what"), {0: 0, 2**63: 2**63, np.int32(5): 5}, [-1, 1.0, True, None, "0"]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_accepted_and_what_is_refused(name):
    check, accepted, refused = CHECKS[name]
    for value, expected in accepted.items():
        actual = check(value)
        assert actual == expected, value
        assert type(actual) is type(expected), f"{value!r} stays a {type(actual).__name__}"
    for value in refused:
        with pytest.raises(ArgumentError, match=rf"^what(: the seed)? must be .*, got {_quoted(value)}\.$"):
            check(value)


def _quoted(value):
    return "".join(c if c.isalnum() else f"\\{c}" for c in repr(value))


def test_messages_say_what_is_meant():
    for call, message in (
        (lambda: positive_int(0, "Dense: n_in"), "Dense: n_in must be a whole number of at least 1, got 0."),
        (lambda: positive_int(1, "c", least=2), "c must be a whole number of at least 2, got 1."),
        (lambda: positive(0, "lr"), "lr must be positive and finite, got 0."),
        (lambda: positive_or_0(-1, "gamma"), "gamma must be a finite number of at least 0, got -1."),
        (lambda: fraction(1.0, "slope"), "slope must be in [0, 1), got 1.0."),
        (lambda: fraction(0, "label", closed="(]"), "label must be in (0, 1], got 0."),
        (lambda: seed(-1, "GAN"), "GAN: the seed must be a whole number of at least 0, got -1."),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert str(caught.value) == message


def test_numbers_that_may_be_functions_of_the_step():
    assert value_at(0.5, 9, "lr") == 0.5
    assert value_at(lambda t: t / 4, 3, "lr") == 0.75
    assert value_at(lambda t: 0, 3, "lr") == 0.0
    assert type(value_at(lambda t: np.float64(t), 3, "lr")) is float
    for bad in (-1e-9, NAN, INF, None, "1"):
        with pytest.raises(ArgumentError, match=r"lr: .* at step 3; a finite number of at least 0 is needed"):
            value_at(lambda t, bad=bad: bad, 3, "lr")
