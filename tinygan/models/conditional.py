"""A GAN whose samples are of the class that one asks for, and how the networks of all systems are told of it.

    generator, discriminator = models.dcgan((28, 28, 1), classes=10, conditional="projection")
    gan = ConditionalGAN(generator, discriminator, noise_dim=100)
    gan.step(real, labels)                 # labels (N,) integers from 0
    sevens = gan.sample(16, labels=7)      # or one label for each sample

Two ways, of which ``conditional`` names one:

| way            | in G                                             | in D                                       |
|----------------|--------------------------------------------------|--------------------------------------------|
| ``concat``     | the label one-hot, beside z                      | the label one-hot, as maps beside images   |
| ``projection`` | scale and shift for each class, after BatchNorm  | a logit from features and the class        |

(Mirza and Osindero, 2014; Miyato and Koyama, 2018.) The layers are those of :mod:`tinygan.layers.conditional`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError, positive_int
from ..gan import GAN, Draws, Losses, Turn
from ..layers import Layer, Pack, set_labels
from ..layers.conditional import Conditional, checked
from ..network import Sequential
from ..ops import Array, as_array, ops_of, to_numpy

TOGETHER = 500  # samples that are made at a time
GOLDEN = 0.6180339887498949  # steps of so much of the whole fall evenly everywhere, however many they are


class Claim(NamedTuple):
    """What G is given in a turn: noise, and the class that each sample shall be of."""

    z: Array
    labels: Array


class ConditionalGAN(GAN):
    r"""A GAN that knows the class of each sample: G is told which to make, D which it is said to be.

    Its step is that of :class:`tinygan.GAN`, on pairs: D learns from real samples with their labels, and from generated
    ones that claim the same labels; G learns to make, for these labels, what D takes for real. So every class is asked
    for as often as the data has it, and a penalty between a real and a generated sample lies within one class.

    Parameters
    ----------
    generator, discriminator : networks of which both have layers that know the class
        (:mod:`tinygan.layers.conditional`), all for the same number of classes.
    shares : how often each class comes where nobody says which, (classes,), such as the numbers of images of each;
        None: all alike. What is kept is the part of each in all.
    noise_dim, rules : these and the other arguments are those of :class:`tinygan.GAN`.

    Attributes
    ----------
    classes : how many there are.

    Raises
    ------
    ArgumentError
        A network is told no class, or they are told of different numbers; or D packs several samples, which may be of
        several classes, into one.
    """

    replayable = True  # see tinygan.backends.cuda.graphs: what a step is told of classes is in its draws

    def __init__(
        self, generator: Sequential, discriminator: Sequential, *, noise_dim: int, shares: Any = None, **rules: Any
    ) -> None:
        super().__init__(generator, discriminator, noise_dim=noise_dim, **rules)
        told = [classes_of(network) for network in (generator, discriminator)]
        if not all(told) or len(set.union(*told)) != 1:
            said = " and ".join(f"{who} of {sorted(of) or 'none'}" for who, of in zip("GD", told, strict=True))
            raise ArgumentError(
                "ConditionalGAN: both networks need layers that know the class, for one number of classes, but "
                f"{said}. models.mlp(..., classes=10, conditional='concat') makes such ones."
            )
        if any(_layers(discriminator, Pack)):
            raise ArgumentError("ConditionalGAN: D packs several samples into one, which then has no class of its own.")
        [self.classes] = told[0]
        self.shares = shares_of(shares, self.classes)
        self._next: Array | None = None  # the labels of the step at hand

    def step(self, real: Array, labels: Any = None, *, watch: Callable[[GAN, Turn], None] | None = None) -> Losses:
        """As :meth:`tinygan.GAN.step`, with the class of each real sample.

        Parameters
        ----------
        real : (N · d_steps, ...) real samples.
        labels : (N · d_steps,) integers in [0, classes), an array on any backend or a list.
        watch : see there.

        Raises
        ------
        ArgumentError, ShapeError, DTypeError
            Labels are missing, are no classes, or not as many as the samples.
        """
        self.check_real(real := as_array(real))
        self.expect(labels, len(real))
        return super().step(real, watch=watch)

    def expect(self, labels: Any, n: int) -> None:
        """Say the classes of the n real samples of the next step; whatever takes steps in another way says them so."""
        labels = checked(on_host(labels), self.classes, "ConditionalGAN.step")
        if len(labels) != n:
            raise ShapeError(f"ConditionalGAN.step: {n} real samples, but {len(labels)} labels; each needs one.")
        self._next = labels

    def draw(self, n: int) -> Draws:
        if self._next is None:
            raise ArgumentError("ConditionalGAN: which classes are the real samples of? step(real, labels) says it.")
        draws, labels, self._next = super().draw(n), self._next, None
        of_turns = [labels[k * n : (k + 1) * n] for k in range(self.d_steps)]
        d: Any = tuple((Claim(z, of), *rest) for (z, *rest), of in zip(draws.d, of_turns, strict=True))
        z, numbers = draws.g
        return Draws(d, (Claim(z, of_turns[-1]), numbers), draws.average)  # type: ignore[arg-type]  # z with labels

    def play(self, real: Array, draws: Draws, watch: Callable[[GAN, Turn], None] | None = None) -> Losses:
        try:
            return super().play(real, draws, watch)
        finally:
            self.condition(None)  # or the next batch that somebody looks at would be of these classes

    def _discriminator_turn(self, real, z, drawn, numbers, watch):
        self.condition(z.labels)
        return super()._discriminator_turn(real, z.z, drawn, numbers, watch)

    def _generator_turn(self, real, z, numbers, watch):
        self.condition(z.labels)
        return super()._generator_turn(real, z.z, numbers, watch)

    def condition(self, labels: Array | None) -> None:
        """Tell both networks the classes of the next batch that passes through them."""
        set_labels(self.generator, labels)
        set_labels(self.discriminator, labels)

    def labels(self, n: int) -> np.ndarray:
        """The classes (n,) of n samples where nobody says which, see :func:`in_turn`."""
        return in_turn(n, self.shares)

    def sample(self, n: int | None = None, *, labels: Any = None, z: Array | None = None) -> Array:
        """Return n generated samples, of the classes that ``labels`` says.

        Parameters
        ----------
        n, z : as in :meth:`tinygan.GAN.sample`; n may be left out where ``labels`` says how many.
        labels : one class for all samples, or (n,) of them; None: all classes, see :func:`in_turn`.

        Raises
        ------
        ArgumentError, ShapeError, DTypeError
            The labels are no classes, or not as many as the samples.
        """
        G = self.average.network if self.average else self.generator
        if z is None:
            z = self.noise(positive_int(number_of(labels) if n is None else n, "ConditionalGAN.sample: n"))
        G.check_input(z := as_array(z))
        if n is not None and positive_int(n, "ConditionalGAN.sample: n") != len(z):
            raise ArgumentError(f"ConditionalGAN.sample: n = {n}, but z has {len(z)} rows; give one of the two.")
        return generate(G, z, asked(labels, len(z), self.shares, "ConditionalGAN.sample"))


def in_turn(n: int, shares: np.ndarray) -> np.ndarray:
    """All classes (n,), mixed and as often as their ``shares`` (classes,) say, of any number of samples: the same ones
    each time, so that scores compare."""
    n, ends = positive_int(n, "labels: n", least=0, most=2**30), np.cumsum(shares)
    return np.searchsorted(ends, (np.arange(n) + 0.5) * GOLDEN % 1.0 * ends[-1], side="right")


def asked(labels: Any, n: int, shares: np.ndarray, name: str) -> np.ndarray:
    """The classes (n,) that ``labels`` asks for: one for all, one for each, or None."""
    if labels is None:
        return in_turn(n, shares)
    if not isinstance(labels, list | tuple) and getattr(labels, "ndim", 0) == 0:
        one = positive_int(labels, f"{name}: labels", least=0)
        if one >= len(shares):
            raise ArgumentError(f"{name}: there are {len(shares)} classes, 0 to {len(shares) - 1}, got {one}.")
        return np.full(n, one)
    of = checked(on_host(labels), len(shares), name)
    if len(of) != n:
        raise ShapeError(f"{name}: {n} samples, but {len(of)} labels; give each one, or one to all.")
    return of


def on_host(labels: Any) -> Any:
    """Labels of any backend as NumPy's, where all of them are looked at; what is no array stays as it is."""
    return labels if labels is None or isinstance(labels, list | tuple) else to_numpy(as_array(labels))


def number_of(labels: Any) -> int | None:
    """How many labels there are, if there is one for each sample."""
    return len(labels) if isinstance(labels, list | tuple) or getattr(labels, "ndim", 0) == 1 else None


def generate(G: Sequential, z: Array, labels: np.ndarray | None) -> Array:
    """G(z) of these classes, or of none, a few hundred at a time; G keeps the labels that it had."""
    made = []
    for i in range(0, len(z), TOGETHER):
        with told(None if labels is None else labels[i : i + TOGETHER], G):
            made.append(G(z[i : i + TOGETHER]))
    return ops_of(z).xp.concatenate(made)


@contextmanager
def told(labels: Array | None, *networks: Layer) -> Iterator[None]:
    """Within, networks know these labels; after it again those that they knew before."""
    before = [(layer, layer.labels) for network in networks for layer in _layers(network, Conditional)]
    try:
        for network in networks:
            set_labels(network, labels)
        yield
    finally:
        for layer, known in before:
            layer.labels = known


def shares_of(shares: Any, classes: int, name: str = "ConditionalGAN") -> np.ndarray:
    """The part of each class (classes,) in all; ArgumentError if ``shares`` is none."""
    if shares is None:
        return np.full(classes, 1.0 / classes)
    try:
        found = np.asarray(shares, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (classes,) or not (np.isfinite(found).all() and found.min() >= 0.0 and found.sum() > 0.0):
        what = f"{classes} numbers of at least 0, one for each class, and not all of them 0"
        raise ArgumentError(f"{name}: shares must be {what}, got {shares!r:.200}.")
    return found / found.sum()


def classes_of(network: Layer) -> set[int]:
    """For how many classes the layers of a network are that know one; none where they know of none."""
    return {layer.classes for layer in _layers(network, Conditional)}


def _layers(network: Layer, kind: Any) -> Iterator[Any]:
    """The layers of a kind, also in networks within each other."""
    if isinstance(network, kind):
        yield network
    for layer in getattr(network, "layers", ()):
        yield from _layers(layer, kind)
