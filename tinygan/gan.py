"""The game: a generator and a discriminator, trained against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from .errors import ArgumentError, BackendError, DTypeError, Setting, ShapeError, fraction, positive, positive_int
from .errors import seed as check_seed
from .layers import Dropout, Flatten, Layer, Reshape, Sigmoid
from .layers.base import show_shape
from .layers.starting import as_generator
from .layers.table import SideBySide
from .losses import Loss, NonSaturating
from .network import Sequential
from .ops import Array, Ops, as_array, get_ops, ops_of
from .optim import Adam, ExponentialMovingAverage, Optimizer


class Losses(NamedTuple):
    """What one step measured: 0-d arrays on the networks' backend. Reading one as a float waits for the device."""

    d: Array
    g: Array
    penalty: Array | float = 0.0  #: what D pays on top of d, if penalties were due


class Turn(NamedTuple):
    """What ``watch`` is shown: a player's turn, when its gradient is there and its weights have not moved yet."""

    player: str  #: "D" or "G"
    loss: Array
    penalty: Array | float
    real: Array
    z: Array


class Draws(NamedTuple):
    """What the host decides in one step: all that is random, and all that depends on the number of the step."""

    d: tuple[tuple[Array, Any, Any], ...]  #: for each turn of D: z, what the penalties draw, its optimiser's numbers
    g: tuple[Array, Any]  #: z, and the numbers of G's optimiser
    average: float | None  #: how far the average of G's weights moves


class GAN(SideBySide):
    r"""Two networks and the rules of their game (Goodfellow et al., 2014, algorithm 1).

    Parameters
    ----------
    generator : z (N, noise_dim) -> samples (N, ...).
    discriminator : samples (N, ...) -> logits (N, 1), without a sigmoid.
    noise_dim : length of z, which is drawn from normal(0, 1).
    loss : what the players minimise (:mod:`tinygan.losses`); NonSaturating() if None.
    g_optimizer, d_optimizer : optimisers of the two networks; Adam(network) if None.
    d_steps : discriminator steps for each generator step.
    penalties : one of :mod:`tinygan.penalties`, or several, which D pays on top of its loss.
    weight_clip : if given, all of D's parameters are brought back into ±weight_clip after each of its steps, which
        bounds the slope of a Wasserstein critic without normalisation (Arjovsky et al., 2017, algorithm 1).
    average : decay of the moving average of G's weights that samples are drawn with, in [0, 1); 0 for none.
    seed : fixes all noise, for training and for sampling apart, so that looking does not change what is learned.

    Raises
    ------
    ShapeError
        z does not fit G, G's samples do not fit D, or D gives more than one logit for a sample.
    ArgumentError
        D ends in a sigmoid although the loss takes logits, or an argument is of the wrong kind.

    Notes
    -----
    One ``step``: D learns from real samples x and fakes G(z); then G learns through the updated D from fresh z:

        dL_D/dθ_D = D's backward of (∂L_D/∂r, ∂L_D/∂f) + dP/dθ_D  no gradient of the data, none of G; P: penalties
        dL_G/dθ_G = G's backward of (D's backward of ∂L_G/∂f)    of D only the gradient of its input

    Parameters and gradients of the other network stay as they are. Both run in training mode, so BatchNorm's running
    statistics follow every batch that passes, as they do in other frameworks.
    """

    noise_dim, d_steps, t = Setting(positive_int), Setting(positive_int), Setting(positive_int, least=0)
    weight_clip = Setting(positive, besides=type(None))

    def __init__(
        self,
        generator: Sequential,
        discriminator: Sequential,
        *,
        noise_dim: int,
        loss: Loss | None = None,
        g_optimizer: Optimizer | None = None,
        d_optimizer: Optimizer | None = None,
        d_steps: int = 1,
        penalties: Any = (),
        weight_clip: float | None = None,
        average: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        if generator is discriminator:
            raise ArgumentError("GAN: the generator and the discriminator are the same network; they need one each.")
        self.noise_dim, self.d_steps, self.weight_clip = noise_dim, d_steps, weight_clip
        self.loss = NonSaturating() if loss is None else loss
        self.penalties = penalties
        self.sample_shape = self._check_fit()
        ops_of(generator.theta, discriminator.theta)  # refuses networks that live in two places
        if (g := generator.theta.dtype) != (d := discriminator.theta.dtype):
            raise DTypeError(f"GAN: G computes in {g} and D in {d}; network.astype({str(d)!r}) makes them alike.")
        if isinstance(last_layer(discriminator), Sigmoid) and getattr(self.loss, "from_logits", False):
            raise ArgumentError(
                f"GAN: D ends in Sigmoid(), but {self.loss!r} takes logits, free to lie anywhere: it applies σ itself "
                "where one belongs, and with two of them D could not call a sample fake; leave the layer out."
            )
        self.g_optimizer = Adam(generator) if g_optimizer is None else g_optimizer
        self.d_optimizer = Adam(discriminator) if d_optimizer is None else d_optimizer
        average = fraction(average, "GAN: average, a decay,")
        self.average = ExponentialMovingAverage(generator, average) if average else None
        self.t = 0  # adversarial steps taken
        training, sampling = np.random.SeedSequence(check_seed(seed, "GAN")).spawn(2)
        self.rng, self.sample_rng = np.random.default_rng(training), np.random.default_rng(sampling)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what cannot play, also later on. The networks stay; ``penalty`` is the sum of the ``penalties``."""
        if name in ("generator", "discriminator") and (name in vars(self) or not isinstance(value, Sequential)):
            wrong = f"must be a tinygan.Sequential, got {type(value).__name__}"
            raise ArgumentError(f"GAN: the {name} {'stays; make a new GAN' if name in vars(self) else wrong}.")
        if name in ("g_optimizer", "d_optimizer"):
            if getattr(value, "network", None) is not (self.generator if name[0] == "g" else self.discriminator):
                got = f"got {value!r:.200}. Make it for this one: Adam(network)"
                raise ArgumentError(f"GAN: {name} was made for another network, or is none; {got}.")
        elif name == "loss" and (isinstance(value, type) or not hasattr(value, "compares")):
            raise ArgumentError(f"GAN: loss must be an object such as losses.NonSaturating(), got {value!r:.200}.")
        elif name == "average" and not isinstance(value, ExponentialMovingAverage | None):
            raise ArgumentError(f"GAN: average must be an optim.ExponentialMovingAverage or None, got {value!r:.200}.")
        elif name == "noise_dim" and name in vars(self):
            self.generator.output_shape((positive_int(value, "GAN: noise_dim"),))
        elif name == "penalties":
            value = tuple(value) if isinstance(value, Sequence) else (value,)
            if none := [p for p in value if isinstance(p, type) or not hasattr(p, "draw")]:
                raise ArgumentError(f"GAN: penalties must be objects such as penalties.R1(10.0), got {none[0]!r:.200}.")
            self.penalty: Any = reduce(add, value) if value else None
        super().__setattr__(name, value)

    def _check_fit(self) -> tuple[int, ...]:
        shape = self.generator.output_shape((self.noise_dim,))
        try:
            logits = self.discriminator.output_shape(shape)
        except ShapeError as error:
            raise ShapeError(f"GAN: G's samples {show_shape(shape)} do not fit D. {error}") from error
        if logits != (1,):
            raise ShapeError(f"GAN: D must give one logit for a sample, (N, 1), but gives {show_shape(logits)}.")
        return shape

    # ---- one adversarial step ----------------------------------------------------------------------------------------

    def step(self, real: Array, *, watch: Callable[[GAN, Turn], None] | None = None) -> Losses:
        """Train D ``d_steps`` times and G once; return the losses, each measured before its network's update.

        Parameters
        ----------
        real : (N · d_steps, ...) real samples, of the networks' dtype and backend: N for each step of D.
        watch : called with this GAN and every :class:`Turn`; :func:`tinygan.runs.require_finite` looks for NaN.
        """
        self.check_real(real := as_array(real))
        draws = self.draw(len(real) // self.d_steps)
        losses = self.play(real, ops_of(real).place(draws, self.generator.theta), watch)
        self.t += 1
        return losses

    def draw(self, n: int) -> Draws:
        """Decide on the host what the next step needs, for n samples in each turn."""
        d_turns = []
        for k in range(self.d_steps):
            z = self._draw_noise(n, self.rng)
            penalty = self.penalty.draw(n, self.rng, self.t) if self.penalty else None
            d_turns.append((z, penalty, self.d_optimizer.numbers(self.d_optimizer.t + k)))
        g_turn = self._draw_noise(n, self.rng), self.g_optimizer.numbers(self.g_optimizer.t)
        return Draws(tuple(d_turns), g_turn, self.average.part(self.average.t) if self.average else None)

    def play(self, real: Array, draws: Draws, watch: Callable[[GAN, Turn], None] | None = None) -> Losses:
        """Compute a step from real samples and draws alone."""
        n = len(real) // self.d_steps
        for k, (z, drawn, numbers) in enumerate(draws.d):
            d_loss, penalty = self._discriminator_turn(real[k * n : (k + 1) * n], z, drawn, numbers, watch)
        g_loss = self._generator_turn(real[-n:], *draws.g, watch)
        if self.average:
            self.average.update(draws.average)
        return Losses(d_loss, g_loss, penalty)

    def _discriminator_turn(self, real, z, drawn, numbers, watch) -> tuple[Array, Array | float]:
        G, D, ops = self.generator, self.discriminator, ops_of(real)
        fake = G.apply(z, train=True)[0]  # made as in training, but G will not learn from these
        both = ops.xp.concatenate([real, fake])  # one pass over both, in which batch normalisation sees them apart
        logits, d_cache = D.apply(both, train=True, batches=2)
        half = len(logits) // 2  # of the logits: a packing D gives fewer than there are samples
        loss, d_real, d_fake = ops.loss(self.loss).discriminator(logits[:half], logits[half:])
        d_logits, penalty = ops.xp.concatenate([d_real, d_fake]), 0.0
        if drawn is None:
            D.store_gradients(d_cache, d_logits, add=False)
        else:  # the same, and what the penalties add
            penalty = self.penalty.store_gradients(D, both, logits, d_cache, d_logits, drawn)
        if watch:
            watch(self, Turn("D", loss, penalty, real, z))
        self.d_optimizer.step(numbers)
        if self.weight_clip is not None:
            ops.xp.clip(D.theta, -self.weight_clip, self.weight_clip, out=D.theta)
        return loss, penalty

    def _generator_turn(self, real, z, numbers, watch) -> Array:
        G, D, ops = self.generator, self.discriminator, ops_of(real)
        fake, g_cache = G.apply(z, train=True)
        real_logits = D.apply(real, train=True)[0] if self.loss.compares else None  # nothing is learned from these
        logits, d_cache = D.apply(fake, train=True)
        loss, d_logits = ops.loss(self.loss).generator(logits, real_logits)
        G.store_gradients(g_cache, D.input_gradient(d_cache, d_logits), add=False)
        if watch:
            watch(self, Turn("G", loss, 0.0, real, z))
        self.g_optimizer.step(numbers)
        return loss

    # ---- sampling --------------------------------------------------------------------------------------------------

    def _draw_noise(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, self.noise_dim), dtype=self.generator.theta.dtype)

    def noise(self, n: int, *, rng: np.random.Generator | None = None) -> Array:
        """Draw z (n, noise_dim) on the host, the same numbers whatever the backend, and move it to the networks'."""
        n = positive_int(n, "GAN.noise: n", least=0, most=2**30 // self.noise_dim)
        rng = self.sample_rng if rng is None else as_generator(rng)  # looking does not change what is learned
        return ops_of(self.generator.theta).from_host(self._draw_noise(n, rng))

    def sample(self, n: int | None = None, *, z: Array | None = None) -> Array:
        """Return n generated samples, or those of the noise ``z`` (n, noise_dim), from the averaged G if there is one.

        They are made a few hundred at a time with ``train=False``; training is not affected in any way.
        """
        G = self.average.network if self.average else self.generator
        if z is None:
            z = self.noise(positive_int(n, "GAN.sample: n"))
        G.check_input(z := as_array(z))
        if n is not None and positive_int(n, "GAN.sample: n") != len(z):
            raise ArgumentError(f"GAN.sample: n = {n}, but z has {len(z)} rows; give one of the two.")
        return ops_of(z).xp.concatenate([G(z[i : i + 500]) for i in range(0, len(z), 500)])

    def to(self, backend: str | Ops) -> GAN:
        """Move both networks, their optimisers and the average to ``"numpy"`` or ``"cupy"``; returns the GAN."""
        ops = get_ops(backend)
        for part in (self.generator, self.discriminator, self.g_optimizer, self.d_optimizer):
            part.to(ops)
        if self.average:
            self.average.network.to(ops)
        return self

    # ---- what is refused ---------------------------------------------------------------------------------------------

    def check_real(self, real: Array) -> None:
        """Refuse real samples that do not fit."""
        theta = self.discriminator.theta
        if ops_of(real) is not ops_of(theta):
            of_real, of_theta = ops_of(real).name, ops_of(theta).name
            raise BackendError(
                f"GAN.step: the real samples are a {of_real} array, but the networks live on {of_theta}. Move the GAN "
                f"with gan.to({of_real!r}), or the data with tinygan.to_backend(real, {of_theta!r})."
            )
        if real.dtype != theta.dtype:
            raise DTypeError(
                f"GAN.step: the real samples are {real.dtype}, but the networks compute in {theta.dtype}. Scale "
                f"integer images to G's output range first; then real.astype('{theta.dtype}')."
            )
        if real.shape[1:] != self.sample_shape:
            raise ShapeError(
                f"GAN.step: real samples are {show_shape(real.shape[1:])}, but G makes "
                f"{show_shape(self.sample_shape)}. Both are shown to the same D, so they must have the same shape."
            )
        if len(real) == 0 or len(real) % self.d_steps:
            raise ShapeError(
                f"GAN.step: {len(real)} real samples cannot be shared out over d_steps = {self.d_steps} equal batches."
            )


def last_layer(network: Sequential) -> Layer:
    """The layer that computes a network's output: not one that arranges or drops it, and inside of nested networks. A
    block of somebody's own may compute anything from its layers, so it is that layer itself."""
    if type(network) is not Sequential:
        return network
    layers = [layer for layer in network.layers if not isinstance(layer, Flatten | Reshape | Dropout)] or network.layers
    return last_layer(layers[-1]) if isinstance(layers[-1], Sequential) else layers[-1]
