"""The game: a generator and a discriminator, trained against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .arguments import positive, positive_int
from .arguments import seed as check_seed
from .backend import Array, Backend, backend_of, get_backend, get_xp, out_of_memory, to_numpy
from .errors import ArgumentError, BackendError, DTypeError, ShapeError
from .feeds import feed
from .layers import Flatten, Layer, Reshape, Sigmoid
from .layers.views import show_shape
from .losses import Loss, NonSaturating
from .network import Sequential
from .optim import Adam, ExponentialMovingAverage, Optimizer
from .parallel import ALONE
from .penalties import Penalty, penalise, penalise_in_the_pass_of_the_loss, serves
from .resumable import Resumable
from .tracing import require_finite


class Losses(NamedTuple):
    """What one step measured: 0-d arrays on the networks' backend. Reading one as a float waits for the device."""

    d: Array
    g: Array
    penalty: Array | float = 0.0  #: what D pays on top of d, if penalties were due


def on_host(values: list[Array | float]) -> list[Array | float]:
    """The same numbers, those on a device fetched all at once: each by itself would be waited for."""
    away = [i for i, x in enumerate(values) if not isinstance(x, (float, np.generic, np.ndarray))]
    if away:
        found = to_numpy(get_xp(values[away[0]]).stack([values[i] for i in away]))
        for i, x in zip(away, found, strict=True):
            values[i] = x
    return values


class GAN(Resumable):
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
        penalties: Penalty | Sequence[Penalty] = (),
        weight_clip: float | None = None,
        average: float = 0.0,
        seed: int = 0,
    ) -> None:
        for what, network in (("generator", generator), ("discriminator", discriminator)):
            if not isinstance(network, Sequential):
                raise ArgumentError(f"GAN: the {what} must be a tinygan.Sequential, got {type(network).__name__}.")
        if generator is discriminator:
            raise ArgumentError("GAN: the generator and the discriminator are the same network; they need one each.")
        if isinstance(loss, type) or not (loss is None or hasattr(loss, "discriminator")):
            raise ArgumentError(f"GAN: loss must be an object such as tinygan.losses.NonSaturating(), got {loss!r}.")
        self.generator, self.discriminator = generator, discriminator
        self.noise_dim = positive_int(noise_dim, "GAN: noise_dim")
        self.d_steps = positive_int(d_steps, "GAN: d_steps")
        self.loss = NonSaturating() if loss is None else loss
        self.penalties = list(penalties) if isinstance(penalties, Sequence) else [penalties]
        if wrong := [p for p in self.penalties if not isinstance(p, Penalty)]:
            raise ArgumentError(f"GAN: penalties must be objects such as tinygan.penalties.R1(10.0), got {wrong[0]!r}.")
        self.weight_clip = None if weight_clip is None else positive(weight_clip, "GAN: weight_clip")
        self.sample_shape = self._check_fit()
        if isinstance(_last(discriminator), Sigmoid) and getattr(self.loss, "from_logits", False):
            raise ArgumentError(
                f"GAN: D ends in Sigmoid(), but {self.loss!r} takes logits, free to lie anywhere: it applies σ itself "
                "where one belongs, and with two of them D could not call a sample fake; leave the layer out."
            )
        self.g_optimizer = Adam(generator) if g_optimizer is None else g_optimizer
        self.d_optimizer = Adam(discriminator) if d_optimizer is None else d_optimizer
        for what, optimizer, network in (("g", self.g_optimizer, generator), ("d", self.d_optimizer, discriminator)):
            if optimizer.network is not network:
                raise ArgumentError(f"GAN: {what}_optimizer was made for another network; make it for this one.")
        self.average = ExponentialMovingAverage(generator, average) if average else None
        self.t = 0  # adversarial steps taken
        self.group = ALONE  # the processes that share every batch, see tinygan.parallel
        training, sampling = np.random.SeedSequence(check_seed(seed, "GAN")).spawn(2)
        self.rng, self.sample_rng = np.random.default_rng(training), np.random.default_rng(sampling)

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

    def step(self, real: Array, *, check: bool = False) -> Losses:
        """Train D ``d_steps`` times and G once; return the losses, each measured before its network's update.

        Parameters
        ----------
        real : (N · d_steps, ...) real samples, of the networks' dtype and backend: N for each step of D.
        check : whether to look for NaN and infinity before each update, and so wait for the device.

        Raises
        ------
        NonFiniteError
            With ``check``: a loss or gradient is not finite. The message names the step, the network and the layer
            where it first appeared. That network has not moved; in G's turn D has, in this step.
        BackendError
            The samples live elsewhere than the networks, or the GPU's memory is full.
        """
        self._check_real(real)
        try:
            losses = self.take_turns(real, check=check)
        except BaseException as error:
            self.forget()  # a step that broke off must not spoil the next
            if full := out_of_memory(error, backend_of(real)):
                raise full from error
            raise
        self.t += 1
        return losses

    def take_turns(self, real: Array, *, check: bool = False) -> Losses:
        """All of a step that the device computes, which :mod:`tinygan.graphs` records; otherwise as :meth:`step`."""
        n = len(real) // self.d_steps
        for k in range(self.d_steps):
            d_loss, penalty = self._discriminator_step(real[k * n : (k + 1) * n], check)
        g_loss = self._generator_step(real[-n:], check)
        if self.average:
            self.average.update()
        return Losses(d_loss, g_loss, penalty)

    def forget(self) -> None:
        """Drop all open passes of both networks."""
        self.generator.forget()
        self.discriminator.forget()

    def _discriminator_step(self, real: Array, check: bool) -> tuple[Array, Array | float]:
        D, xp = self.discriminator, get_xp(real)
        shard = self.group.shard(len(real))
        z = self.noise(len(real), rng=shard.rng(self.rng))
        fake = self.generator.forward(z)  # made as in training, but G will not learn from these
        self.generator.forget()
        due, penalty = [p for p in self.penalties if self.t % p.every == 0], 0.0
        if D.parts is None:  # a layer that mixes the samples of a batch: real and fake ones pass apart
            real_logits = D.forward(real)
            real_pass = D.take_pass()
            value, d_real, d_fake = shard.weighted(*self.loss.discriminator(real_logits, D.forward(fake)))
            D.backward(d_fake, grads="write", need_dx=False)
            D.restore_pass(real_pass)
            D.backward(d_real, grads="add", need_dx=False)
        else:  # one batch of both is the same sum, in fewer and larger products
            x = xp.concatenate([real, fake])
            before, D.parts = D.parts, 2  # in batch normalisation each half has its own statistics
            try:
                logits = D.forward(x)
            finally:
                D.parts = before
            half = len(logits) // 2  # of the logits: a packing D gives fewer than there are samples
            value, d_real, d_fake = shard.weighted(*self.loss.discriminator(logits[:half], logits[half:]))
            d_logits = xp.concatenate([d_real, d_fake])
            if serves(due):
                now = {"t": self.t, "share": shard.share}
                penalty, due = penalise_in_the_pass_of_the_loss(due, D, x, logits, d_logits, **now), []
            else:
                D.backward(d_logits, grads="write", need_dx=False)
        if due:
            penalty = penalise(due, D, real, fake, shard.rng(self.rng), t=self.t, share=shard.share)
        value, penalty = shard.sum(D.grad, value, penalty)
        if check:
            require_finite(self.t + 1, value, D, self.generator, D, real=real, z=z, penalty=penalty, group=self.group)
        self.d_optimizer.step()
        if self.weight_clip is not None:
            xp.clip(D.theta, -self.weight_clip, self.weight_clip, out=D.theta)
        return value, penalty

    def _generator_step(self, real: Array, check: bool) -> Array:
        G, D = self.generator, self.discriminator
        shard = self.group.shard(len(real))
        z = self.noise(len(real), rng=shard.rng(self.rng))
        fake = G.forward(z)
        real_logits = None
        if self.loss.compares:  # in training mode, as the fakes are judged; nothing is learned from it
            real_logits = D.forward(real)
            D.forget()
        value, d_logits = shard.weighted(*self.loss.generator(D.forward(fake), real_logits))
        G.backward(D.backward(d_logits, grads="skip"), grads="write", need_dx=False)
        (value,) = shard.sum(G.grad, value)
        if check:
            require_finite(self.t + 1, value, G, G, D, real=real, z=z, group=self.group)
        self.g_optimizer.step()
        return value

    # ---- sampling --------------------------------------------------------------------------------------------------

    def noise(self, n: int, *, rng: np.random.Generator | None = None) -> Array:
        """Draw z (n, noise_dim) on the host, the same numbers whatever the backend, and move it to the networks'."""
        theta, rng = self.generator.theta, self.rng if rng is None else rng
        return feed(lambda: rng.standard_normal((n, self.noise_dim), dtype=theta.dtype), theta)

    def sample(self, n: int | None = None, *, z: Array | None = None) -> Array:
        """Return n generated samples, or those of the noise ``z`` (n, noise_dim), from the averaged G if there is one.

        They are made a few hundred at a time with ``train=False``; training is not affected in any way.
        """
        if z is None:
            z = self.noise(positive_int(n, "GAN.sample: n"), rng=self.sample_rng)
        elif n is not None and n != len(z):
            raise ArgumentError(f"GAN.sample: n = {n}, but z has {len(z)} rows; give one of the two.")
        G = self.average.network if self.average else self.generator
        return get_xp(z).concatenate([G(z[i : i + 500]) for i in range(0, max(len(z), 1), 500)])

    def to(self, backend: str | Backend) -> GAN:
        """Move both networks, their optimisers and the average to ``"numpy"`` or ``"cupy"``; returns the GAN."""
        backend = get_backend(backend)
        for part in (self.generator, self.discriminator, self.g_optimizer, self.d_optimizer):
            part.to(backend)
        if self.average:
            self.average.network.to(backend)
        return self

    # ---- what is refused ---------------------------------------------------------------------------------------------

    def _check_real(self, real: Array) -> None:
        """Refuse real samples that do not fit."""
        theta = self.discriminator.theta
        if backend_of(real) is not backend_of(theta):
            here, there = backend_of(real).name, backend_of(theta).name
            raise BackendError(
                f"GAN.step: the real samples are a {here} array, but the networks live on {there}. Move the GAN with "
                f"gan.to({here!r}), or the data with tinygan.backend.to_backend(real, {there!r})."
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


def _last(network: Sequential) -> Layer:
    """The layer that computes a network's output: not one that only arranges it, and inside of nested networks."""
    layers = [layer for layer in network.layers if not isinstance(layer, Flatten | Reshape)] or network.layers
    return _last(layers[-1]) if isinstance(layers[-1], Sequential) else layers[-1]
