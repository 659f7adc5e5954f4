"""Dropout's link: the layer's masks, drawn where the layer draws them, and again for each replay."""

import numpy as np
import pytest
from support.small_games import build

from tinygan.backends.cuda.dropout import Mask, MaskedDropout, Masks
from tinygan.errors import BackendError
from tinygan.layers import Dropout
from tinygan.testing.device import standin
from tinygan.testing.replay import check_replay

x = standin.from_host(np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32))


def link(rate=0.4, seed=1):
    return MaskedDropout(Dropout(rate, rng=seed))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_it_is_the_layer(train, rate):
    layer, fused = Dropout(rate, rng=1), link(rate)
    for _ in range(3):
        (y, m), (other, other_m) = layer.apply(x, train), fused.apply(x, train)
        assert y.tolist() == other.tolist()
        assert (m is None) == (other_m is None)
        assert layer.gradients(m, x)[0].tolist() == fused.input_gradient(other_m, x).tolist()
        assert fused.of_layers(other_m) == [(fused.layer, other_m)]
    assert fused.layer.rng.bit_generator.state == layer.rng.bit_generator.state


def test_a_recorded_step_gets_the_memory_that_is_given_and_draws_nothing():
    layer, fused, masks = Dropout(0.4, rng=1), link(), Masks()
    with masks.noted():
        noted = [fused.apply(x, True)[1].tolist() for _ in range(2)]
    assert noted == [layer.apply(x, True)[1].tolist() for _ in range(2)]
    memory, before = (
        tuple(standin.xp.zeros((4, 5), dtype="float32") for _ in range(2)),
        fused.layer.rng.bit_generator.state,
    )
    with masks.given(memory):
        assert [fused.apply(x, True)[1] is m for m in memory] == [True, True]
    assert fused.layer.rng.bit_generator.state == before
    assert [m.tolist() for m in masks.draw()] == [layer.apply(x, True)[1].tolist() for _ in range(2)]
    assert fused.apply(x, True)[1].tolist() == layer.apply(x, True)[1].tolist()  # and all is as before


def test_a_step_that_needs_other_masks_cannot_be_recorded():
    one, other, masks = link(), link(), Masks()
    with masks.noted():
        one.apply(x, True)
    assert masks.wanted == [Mask(one.layer, (4, 5), np.dtype(np.float32))]
    memory = (standin.xp.zeros((4, 5), dtype="float32"),)
    steps = [lambda: None, lambda: one.apply(x[:2], True), lambda: other.apply(x, True)]
    steps.append(lambda: (one.apply(x, True), one.apply(x, True)))
    for step in steps:
        with pytest.raises(BackendError, match="step before"), masks.given(memory):
            step()


def test_one_generator_for_several_layers_is_drawn_from_in_order():
    """Even the one that the noise comes from."""

    def game():
        gan = build(d_layers=[Dropout(0.3), Dropout(0.2)], g_layers=[Dropout(0.1)])
        for network in (gan.generator, gan.discriminator):
            for layer in network:
                if isinstance(layer, Dropout):
                    layer.rng = gan.rng
        return gan

    assert check_replay(game) == 5


@pytest.mark.parametrize("wrong", ["the same mask again", "in another order", "one rate for all"])
def test_wrong_masks_are_caught(monkeypatch, wrong):
    right, first = Masks.draw, []

    def draw(self):
        if wrong == "in another order":
            return right(type("Masks", (), {"wanted": self.wanted[::-1]})())[::-1]
        drawn = right(self)
        if wrong == "one rate for all":
            return tuple((m > 0).astype(m.dtype) / 0.5 for m in drawn)
        first[:] = first or drawn
        return tuple(first)

    monkeypatch.setattr(Masks, "draw", draw)
    with pytest.raises(AssertionError, match="differs"):
        check_replay(lambda: build(d_layers=[Dropout(0.3, rng=1)]))
