r"""What the two players say of each other: can D still tell, and what could each gain if the other stood still?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..augment import Adaptive, Augmentation
from ..data import ImageData
from ..errors import ArgumentError, NonFiniteError, ShapeError, positive, positive_int
from ..gan import GAN
from ..layers.initializers import Rng, as_generator
from ..losses import Loss
from ..models.conditional import classes_of
from ..network import Sequential
from ..ops import Array, as_array, ops_of, to_numpy
from ..optim import Adam
from .estimate import Estimate
from .rows import as_rows


def told_apart(real_logits: Any, fake_logits: Any) -> Estimate:
    r"""The probability that D gives a real image a higher logit than a generated one: the area under its ROC curve.

        A = P(D(x) > D(G(z))) + ½ P(D(x) = D(G(z))),  over all pairs

    Parameters
    ----------
    real_logits, fake_logits : (N, 1) and (M, 1), D's answers to images that it was not trained on. To its own training
        images it may answer by heart.

    Notes
    -----
    0.5 where D cannot tell them apart, 1 where it always can; below 0.5 it is wrong more often than right, as in a game
    that swings. No probability of D enters, only its order, so critics can be asked as well. It says how far *this* D
    can tell: a D too weak to see a fault calls no image a fake. The standard error is that of Hanley and McNeil (1982).
    """
    logits = [to_numpy(as_array(x)) for x in (real_logits, fake_logits)]
    if wrong := [x.shape for x in logits if x.ndim != 2 or x.shape[1] != 1]:
        raise ShapeError(f"told_apart: expected logits (N, 1), got {wrong[0]}.")
    real, fake = (as_rows(x, "told_apart", least=1)[:, 0] for x in logits)
    order = np.sort(fake)
    below, not_above = (np.searchsorted(order, real, side=side) for side in ("left", "right"))
    a = float((below + not_above).mean() / (2 * len(fake)))
    of_real, of_fake = a / (2.0 - a), 2.0 * a * a / (1.0 + a)
    variance = a * (1.0 - a) + (len(real) - 1) * (of_real - a * a) + (len(fake) - 1) * (of_fake - a * a)
    return Estimate(a, float(max(variance, 0.0) / (len(real) * len(fake))) ** 0.5)


class DualityGap(NamedTuple):
    """What :func:`duality_gap` finds; after the gap itself, values of V on held-out images."""

    gap: float  #: worst_d − worst_g; 0 in equilibrium
    value: float  #: V(G, D) of the players as they are
    worst_d: float  #: V(G, D'), D' a copy of D that learned on while G stood still
    worst_g: float  #: V(G', D), G' a copy of G that did while D stood still


def duality_gap(
    gan: GAN,
    train: ImageData,
    held_out: ImageData,
    *,
    steps: int = 200,
    lr: float = 2e-4,
    batch_size: int = 64,
    samples: int = 1000,
    low: float = -1.0,
    high: float = 1.0,
    rng: Rng = 0,
) -> DualityGap:
    r"""How much each player could still gain against the other one as it is (Grnarova et al., 2019, arXiv 1811.05512).

        V(G, D) = −L_D(G, D)          gap = max_D' V(G, D')  −  min_G' V(G', D)

    In an equilibrium neither has anything to gain, and the gap is 0; it is never below, but for chance and for copies
    that have not found their best. ``steps`` of Adam at the rate ``lr`` stand for the maximum and for the minimum, so
    that the number is a lower bound of the gap, and compares with those of the same steps alone.

    Parameters
    ----------
    gan : is not changed. Its generator plays, not the average.
    train, held_out : the copies learn from the one; V is measured on as many as ``samples`` of the other.
    low, high : black and white in G's images.
    rng : of all that is drawn.

    Notes
    -----
    **What it costs:** one step of D' and one of G', each without the other's, ``steps`` times: about as much as
    ``steps`` steps of training. **What it means:** of a small gap, that neither player can gain by small changes, not
    that the samples are good: where D sees little, the gap is small with any samples. **An
    equilibrium may not exist:** for some G and D no pair of weights is one (Farnia and Ozdaglar, 2020, arXiv
    2002.09124), and training ends elsewhere, so that the gap may stay large while samples are as good as they get.
    V is the loss without penalties, and of images as they are: D' is held by ``weight_clip`` alone. So with
    :class:`~tinygan.losses.Wasserstein` and no weight_clip V has no bound, and the number means nothing.
    """
    if not isinstance(gan, GAN):
        raise ArgumentError(f"duality_gap: expected a tinygan.GAN, got {gan!r:.200}.")
    if classes_of(gan.discriminator):
        raise ArgumentError("duality_gap: the players know classes, of which nothing is asked here; give others.")
    steps, batch_size = positive_int(steps, "duality_gap: steps"), positive_int(batch_size, "duality_gap: batch_size")
    lr, rng = positive(lr, "duality_gap: lr"), as_generator(rng)
    for what, images in (("train", train), ("held_out", held_out)):
        if not isinstance(images, ImageData):
            raise ArgumentError(f"duality_gap: {what} must be what tinygan.data.load gives, got {images!r:.200}.")
        if images.image_shape != gan.sample_shape:
            raise ShapeError(f"duality_gap: {what} has images of {images.image_shape}, G makes {gan.sample_shape}.")
    ops, G, D = ops_of(gan.generator.theta), gan.generator, gan.discriminator
    loss = Adaptive.plain(gan.loss)  # nothing of the game is moved

    def real(images: ImageData, n: int) -> Array:
        rows = rng.permutation(len(images))[:n] if n <= len(images) else rng.integers(0, len(images), n)
        return ops.from_host(images.batch(rows, low=low, high=high, dtype=G.theta.dtype))

    def noise(n: int) -> Array:
        return ops.from_host(rng.standard_normal((n, gan.noise_dim), dtype=G.theta.dtype))

    tested = real(held_out, min(positive_int(samples, "duality_gap: samples", least=2), len(held_out)))
    z = noise(len(tested))
    worst_d, worst_g = D.copy(), G.copy()
    for layer in worst_d.layers:
        if isinstance(layer, Augmentation):  # V is of images as they are
            layer.buffers["strength"][...] = 0.0
    _learn(
        worst_d,
        lr,
        steps,
        lambda: _d_gradient(worst_d, loss, real(train, batch_size), G(noise(batch_size))),
        gan.weight_clip,
    )
    _learn(worst_g, lr, steps, lambda: _g_gradient(worst_g, D, loss, real(train, batch_size), noise(batch_size)))
    if not all(np.isfinite(to_numpy(network.theta)).all() for network in (worst_d, worst_g)):
        raise NonFiniteError(f"duality_gap: a copy has diverged at lr = {lr:g}; give a smaller one.")
    value, of_d, of_g = (_value(g, d, loss, tested, z) for g, d in ((G, D), (G, worst_d), (worst_g, D)))
    return DualityGap(of_d - of_g, value, of_d, of_g)


def _value(G: Sequential, D: Sequential, loss: Loss, real: Array, z: Array) -> float:
    """V(G, D), a few hundred samples at a time."""
    values = [
        -float(loss.discriminator(D(real[i : i + 500]), D(G(z[i : i + 500])))[0]) * len(z[i : i + 500])
        for i in range(0, len(z), 500)
    ]
    return sum(values) / len(z)


def _d_gradient(D: Sequential, loss: Loss, real: Array, fake: Array) -> None:
    """Store the gradient of −V = L_D."""
    logits, cache = D.apply(ops_of(real).xp.concatenate([real, fake]), train=True, batches=2)
    half = len(logits) // 2
    _, d_real, d_fake = loss.discriminator(logits[:half], logits[half:])
    D.store_gradients(cache, ops_of(real).xp.concatenate([d_real, d_fake]), add=False)


def _g_gradient(G: Sequential, D: Sequential, loss: Loss, real: Array, z: Array) -> None:
    """Store the gradient of V = −L_D, in which G is in the generated images alone."""
    fake, g_cache = G.apply(z, train=True)
    logits, d_cache = D.apply(fake, train=False)  # as V is measured
    d_fake = loss.discriminator(D(real), logits)[2]
    G.store_gradients(g_cache, D.input_gradient(d_cache, -d_fake), add=False)


def _learn(
    network: Sequential, lr: float, steps: int, store_gradient: Callable[[], None], clip: float | None = None
) -> None:
    adam = Adam(network, lr)
    for _ in range(steps):
        store_gradient()
        adam.step()
        if clip is not None:
            network.theta.clip(-clip, clip, out=network.theta)
