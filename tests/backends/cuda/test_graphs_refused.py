"""What cannot be replayed is found, and steps go on without; a step that a graph would get wrong is noticed."""

from __future__ import annotations

import ast
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from support.small_games import Altered, build, images
from support.wrong_steps import WRONG, DrawsBeside, DrawsBesideFromTwister, SettingThatMoves, Uploads, UsesCublas, Waits

import tinygan
from tinygan import Sequential, losses, optim
from tinygan.backends import get_ops
from tinygan.backends.cuda import graphs
from tinygan.errors import ContractError
from tinygan.layers import Dense, Layer, SpectralNorm
from tinygan.penalties import R1
from tinygan.testing.replay import check_replay, enabled, everything

# ---- wrong steps are caught ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_step_is_caught(name):
    wrong, message = WRONG[name]
    with pytest.raises(ContractError, match=message):
        check_replay(wrong)


def test_layers_like_the_wrong_ones_are_right():
    check_replay(lambda: build(d_layers=[Altered()]))
    check_replay(lambda: build(d_layers=[SettingThatMoves()]))


PACKAGE = Path(tinygan.__file__).parent
LINKED = {"dense.py"}  # of the book: on a GPU there is a link in its place
ENGINE_CODE = [
    path
    for folder in ("layers", "losses", "optim", "penalties", "backends/cuda")
    for path in (PACKAGE / folder).glob("*.py")
    if path.name not in LINKED
]


@pytest.mark.parametrize("path", ENGINE_CODE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_engine_code_leaves_no_product_to_cupy(path):
    """On a GPU it would go through CuPy's cuBLAS handle, and no step could be captured."""
    for node in ast.walk(ast.parse(path.read_text())):
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        named = isinstance(node, ast.Attribute) and node.attr in {"einsum", "vdot", "inner", "tensordot"}
        named = named and isinstance(node.value, ast.Name) and node.value.id == "xp"
        assert not product, f"{path.name}:{node.lineno}: write ops_of(a).matmul(a, b) for a @ b"
        assert not named, f"{path.name}:{node.lineno}: write a sum of products in place of {node.attr}"


def test_what_is_left_to_links_has_them_by_itself_and_inside_of_others():
    """A step with each layer of the book that has products, recorded: none of them is CuPy's."""
    assert {"dense.py"} == LINKED
    check_replay(lambda: build(d_layers=[SpectralNorm(Dense(7, 7, rng=0)), Sequential(Dense(7, 7, rng=1))]))
    check_replay(images, steps=3)


# ---- where steps cannot be replayed --------------------------------------------------------------------------------


def stepper(gan):
    with enabled():
        return graphs.stepper(gan)


def batch(n=4, seed=0):
    return get_ops("standin").from_host(np.random.default_rng(seed).uniform(-1, 1, (n, 5)).astype(np.float32))


def test_without_graphs_there_is_nothing_in_between():
    gan = build()
    assert graphs.stepper(gan) == gan.step
    assert graphs.stepper(gan.to("standin")) == gan.step


def test_a_step_that_cannot_be_recorded_leaves_no_engine_behind():
    """Its memory is free again for the steps that follow."""
    gan = build(d_layers=[Waits()]).to("standin")
    step = stepper(gan)
    engine, left = weakref.ref(step._engine), []
    step(batch())
    original = gan.play

    def play(*args):
        if step._engine is None:  # given up
            left.append(engine())
        return original(*args)

    gan.play = play
    with pytest.warns(RuntimeWarning, match="cannot be recorded"):
        step(batch())
    assert left == [None]


@pytest.mark.parametrize("layer", [Uploads, Waits, UsesCublas, DrawsBeside, DrawsBesideFromTwister])
def test_steps_that_cannot_be_recorded_go_on_as_they_would_have_and_say_why_once(layer):
    eager, fallen = build(d_layers=[layer()]).to("standin"), build(d_layers=[layer()]).to("standin")
    step = stepper(fallen)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for t in range(4):
            a, b = eager.step(batch(seed=t)), step(batch(seed=t))
            assert float(a.d) == float(b.d)
    assert [str(w.message).split(":")[0] for w in warned] == [
        "each operation of a step is launched by itself, since it cannot be recorded"
    ]
    assert step.why is not None
    assert step.replayed == 0
    assert_same(everything(eager), everything(fallen))


def assert_same(before, after):
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert np.asarray(value).tobytes() == np.asarray(after[key]).tobytes(), key


class Unknown(Layer):
    def apply(self, x, train):
        return x, None

    def gradients(self, cache, dy):
        return dy, {}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"d_layers": [Unknown()]}, "Unknown"),
        ({"g_layers": [Sequential(Unknown())]}, "Unknown"),
        ({"loss": type("OwnLoss", (losses.Hinge,), {})()}, "OwnLoss"),
        ({"penalties": type("OwnPenalty", (R1,), {})(1.0)}, "OwnPenalty"),
        ({"optimizer": type("OwnOptimizer", (optim.SGD,), {})}, "OwnOptimizer"),
    ],
)
def test_parts_of_a_users_own_are_replayed_if_they_say_so(options, name):
    with pytest.warns(RuntimeWarning, match=f"since {name} does not say replayable = True"):
        step = stepper(build(**options).to("standin"))
    step(batch())


def test_what_a_subclass_inherits_does_not_speak_for_it():
    class Derived(Altered):
        pass

    with pytest.warns(RuntimeWarning, match="Derived"):
        stepper(build(d_layers=[Derived()]).to("standin"))


def test_batches_of_ever_new_shapes_are_given_up():
    step = stepper(build().to("standin"))
    for n in range(2, 2 + graphs.KINDS):
        step(batch(n))
    with pytest.warns(RuntimeWarning, match="batches of one shape"):
        step(batch(50))
    step(batch(51))
    assert step.gan.t == graphs.KINDS + 2


class Interrupts(Altered):
    replayable = True

    armed = 0

    def apply(self, x, train):
        type(self).armed -= 1
        if type(self).armed == 0:
            raise KeyboardInterrupt
        return super().apply(x, train)


def test_a_recording_that_is_interrupted_leaves_the_gan_as_it_was():
    gan = build(d_layers=[Interrupts()]).to("standin")
    step = stepper(gan)
    step(batch())
    before = everything(gan)
    Interrupts.armed = 2
    with pytest.raises(KeyboardInterrupt):
        step(batch())
    assert_same(before, everything(gan))
    step(batch())
    assert step.replayed == 1
