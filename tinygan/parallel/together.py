"""A step that several processes take together: the GAN's own step, whose loss, noise and sums are those of all.

    with joined(gan, group) as together:
        losses = together.step(own_share_of_the_real_samples)

Of the layers that look at a batch as a whole, BatchNorm does it across the processes; others are refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..gan import GAN, Losses, Turn
from ..layers import BatchNorm, Layer
from ..losses import Loss
from ..network import Apart, Sequential
from ..ops import Array, Ops, ops_of
from .batchnorm import SyncBatchNorm
from .group import Group, Shard, require_alike


class Together:
    """A GAN among several processes; :func:`joined` makes one.

    Every call of :meth:`step` is one of all processes, each of which waits for the others in it.
    """

    def __init__(self, gan: GAN, group: Group) -> None:
        self.gan, self.group = gan, group

    def step(self, real: Array, *labels: Array, watch: Callable[[GAN, Turn], None] | None = None) -> Losses:
        """As ``gan.step``, for this process's share of the real samples, and of their labels if the GAN knows classes;
        the losses are those of all."""
        gan = self.gan
        gan.check_real(real)
        shard, last = self.group.shard(len(real) // gan.d_steps), {}

        def add_up(gan: GAN, turn: Turn) -> None:
            """Before an optimiser moves the weights, its gradient becomes that of the whole batch."""
            network = gan.discriminator if turn.player == "D" else gan.generator
            last[turn.player] = loss, penalty = shard.sum(network.grad, turn.loss, turn.penalty)
            if watch:
                watch(gan, turn._replace(loss=loss, penalty=penalty))

        loss, rng, penalty = gan.loss, gan.rng, gan.penalty
        gan.loss, gan.rng = SharedLoss(loss, shard), shard.rng(rng)
        gan.penalty = SharedPenalty(penalty, shard) if penalty else None
        try:
            gan.step(real, *labels, watch=add_up)
        finally:
            gan.loss, gan.rng, gan.penalty = loss, rng, penalty
        return Losses(last["D"][0], last["G"][0], last["D"][1])


@contextmanager
def joined(gan: GAN, group: Group) -> Iterator[GAN | Together]:
    """Within the ``with`` block ``gan`` belongs to all processes of ``group``; yields what takes their steps.

    Raises
    ------
    ArgumentError
        A layer couples the samples of a batch, or draws random numbers for them, and cannot do so across processes; or
        the networks are not the same everywhere.
    """
    if group.size == 1:
        yield gan
        return
    networks = [network for player in (gan.generator, gan.discriminator) for network in _networks(player)]
    for layer in (layer for network in networks for layer in network.layers):
        _require_divisible(layer)
    require_alike(group, lambda: _fingerprint(gan), "weights or random numbers; give all the same seed")
    try:
        for network in networks:
            network.relink(SharedLinks(network, group))
        yield Together(gan, group)
    finally:
        for network in networks:
            network.relink()


class SharedLoss(Loss):
    """The part that the samples of one process have in the loss of the whole batch: w · L and w · ∂L/∂s."""

    def __init__(self, loss: Loss, shard: Shard) -> None:
        self.loss, self.shard = loss, shard
        self.compares, self.from_logits = loss.compares, loss.from_logits

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        fast = ops_of(real_logits).loss(self.loss)
        return self.shard.weighted(*fast.discriminator(real_logits, fake_logits))

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        fast = ops_of(fake_logits).loss(self.loss)
        return self.shard.weighted(*fast.generator(fake_logits, real_logits))

    def __repr__(self) -> str:
        return repr(self.loss)


class SharedPenalty:
    """The same of D's penalty."""

    def __init__(self, penalty: Any, shard: Shard) -> None:
        self.penalty, self.shard = penalty, shard

    def draw(self, n: int, rng: Any, t: int) -> Any:
        return self.penalty.draw(n, rng, t)

    def store_gradients(self, *args: Any) -> Array:
        return self.penalty.store_gradients(*args, share=self.shard.share)


class SharedLinks:
    """The links of a network while processes are joined: for each BatchNorm a :class:`SyncBatchNorm`. (Copies of the
    network are looked at by one process for itself, and have links of their own.)"""

    def __init__(self, network: Sequential, group: Group) -> None:
        self.network, self.group = network, group

    def __call__(self, ops: Ops, batches: int) -> list[Any]:
        links: list[Any] = []
        between: list[Any] = []
        for layer in self.network.layers:
            if isinstance(layer, BatchNorm):
                links += [*ops.links(between), SyncBatchNorm(layer, batches, self.group)]
                between = []
            else:  # a network inside, which has a BatchNorm, sees the batches one by one
                between.append(Apart(layer, batches) if layer.couples_samples and batches > 1 else layer)
        return links + ops.links(between)


def _networks(network: Sequential) -> Iterator[Sequential]:
    """The network, and those that are layers in it."""
    yield network
    for layer in network.layers:
        if isinstance(layer, Sequential):
            yield from _networks(layer)


def _require_divisible(layer: Layer) -> None:
    if isinstance(layer, Sequential):
        return
    if any(True for _ in layer.rngs()):
        raise ArgumentError(
            f"{layer.name}: draws random numbers for each batch, which several processes would each draw for "
            "themselves. Leave the layer out, or train in one process."
        )
    if layer.couples_samples and type(layer) is not BatchNorm:
        raise ArgumentError(
            f"{layer.name}: looks at a batch as a whole, but each of several processes has only a share of it. "
            "Of such layers BatchNorm alone works across processes; leave this one out, or train in one process."
        )


def _fingerprint(gan: GAN) -> int:
    """A number that two processes share if they have the same weights and random numbers, and hardly ever otherwise."""
    checksum = zlib.crc32(repr(gan.rng.bit_generator.state).encode())
    for part in (gan.generator, gan.discriminator, gan.g_optimizer, gan.d_optimizer):
        for array in part.state_arrays().values():
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return checksum
