"""Networks and GANs as notebooks show them: the same tables as text, and nothing of them is taken for HTML."""

import numpy as np
import pytest
from support.markup import Markup

from tinygan import GAN, Sequential, models, penalties
from tinygan.errors import ShapeError
from tinygan.layers import Dense, Flatten, Layer, LeakyReLU

PLAYERS = {"mlp": models.mlp, "dcgan": models.dcgan}


def cells(markup):
    """The rows of all tables, without empty cells."""
    return markup.of("th", "td")


def words(summary):
    """What stands in the columns of a table of text, without its rules."""
    lines = [line for line in summary.splitlines() if set(line) != {"-"}]
    return [word for line in lines for word in line.strip().split("   ") if word.strip()]


def same(markup, *summaries):
    flat = "".join(word for summary in summaries for word in words(summary))
    return "".join("".join(cells(markup)).split()) == "".join(flat.split())


def test_a_network_shows_its_summary():
    network = Sequential(Flatten(), Dense(18, 4), LeakyReLU(), Dense(4, 1000))
    shown = Markup(network._repr_html_())
    assert shown.tags == {"table", "caption", "tr", "th", "td"}
    assert shown.of("caption") == ["Sequential"]
    assert same(shown, network.summary())
    assert cells(shown)[-2:] == ["total", "5,076"]


@pytest.mark.parametrize("name", PLAYERS)
def test_a_gan_shows_both_networks_and_their_game(name):
    G, D = PLAYERS[name]((8, 8, 1), noise_dim=5)
    gan = GAN(G, D, noise_dim=5, penalties=[penalties.R1(2.0)], average=0.9, d_steps=2)
    gan.t = 1234
    shown = Markup(gan._repr_html_())
    assert same(shown, G.summary((5,)), D.summary((8, 8, 1)))
    [said] = shown.of("p")
    assert said.startswith("GAN, 1,234 steps taken: NonSaturating() + R1(gamma=2.0), z of 5 numbers")
    assert "2 steps of D for one of G, samples of ExponentialMovingAverage(decay=0.9" in said
    for caption, optimizer in zip(shown.of("caption"), (gan.g_optimizer, gan.d_optimizer), strict=True):
        assert caption.endswith(f", {optimizer!r}")


def test_a_gan_is_called_what_it_is():
    G, D = models.mlp((8, 8, 1), noise_dim=5, classes=3)
    gan = models.ConditionalGAN(G, D, noise_dim=5)
    assert repr(gan) == f"ConditionalGAN({G.size:,} and {D.size:,} parameters, NonSaturating(), t=0)"
    assert "ConditionalGAN, 0 steps taken" in gan._repr_html_()
    assert len(repr(gan)) < 100


class Odd(Layer):
    """A layer that calls itself what would run in a browser."""

    def output_shape(self, input_shape):
        return input_shape

    def __repr__(self):
        return "<script>alert('\"')</script></td>&lt;"


def test_no_text_is_taken_for_html():
    network = Sequential(Dense(2, 1), Odd())
    for shown in (network, GAN(Sequential(Dense(3, 2)), network, noise_dim=3)):
        markup = Markup(shown._repr_html_())
        assert "script" not in markup.tags
        assert f"1  {Odd()!r}" in "".join(cells(markup))


def test_branches_are_each_given_the_input():
    rng = np.random.default_rng(0)
    for block, out in (
        (models.Add(Dense(3, 4, rng=rng), Dense(3, 4, rng=rng)), 4),
        (models.Concat(Flatten(), Dense(3, 5)), 5),
    ):
        table = block.summary()
        assert f"(N, {out})" in table
        assert same(Markup(block._repr_html_()), table)
    with pytest.raises(ShapeError, match="expected input"):
        Sequential(Flatten(), Dense(3, 5)).summary((4,))
