"""As much augmentation as D needs, and no more: its strength follows how sure D is of the real images."""

from __future__ import annotations

from ..errors import ArgumentError, fraction, positive_int
from ..losses import Loss
from ..network import Sequential
from ..ops import Array, ops_of, to_numpy
from .layers import Augmentation


class Adaptive(Loss):
    r"""The loss of a GAN, and a look at D's logits each time that it learns.

        gan = GAN(generator, discriminator, noise_dim=100, loss=augment.Adaptive(losses.NonSaturating(), discriminator))

    Parameters
    ----------
    loss : what D and G learn from.
    discriminator : with the layers of :mod:`tinygan.augment` in front, whose strength p is moved. Best start them at
        ``strength=0.0``.
    target : where r_t shall lie, in [0, 1]: 0.6 as in the paper.
    images : so many real images (with a packing D, logits) bring p from 0 to 1, if r_t is too high all the time. The
        paper has 500,000 for runs of millions.

    Notes
    -----
    r_t = mean sign(D(T(x)) − c) over a batch of N real images, c the middle between the mean logits of real and of
    generated ones: 0 if D cannot tell them apart, 1 if it knows every real one. With it

        p <- min(max(p + sign(r_t − target) · N / images, 0), 1)

    (Karras et al., 2020, arXiv 2006.06676, section 3.1, where c is 0, r_t the mean of four batches, and G learns from
    logits; critics are free to put their scores anywhere.)
    """

    def __init__(self, loss: Loss, discriminator: Sequential, *, target: float = 0.6, images: int = 20_000) -> None:
        if isinstance(loss, type) or not isinstance(loss, Loss):
            raise ArgumentError(f"Adaptive: expected a loss such as losses.NonSaturating(), got {loss!r:.200}.")
        self.layers = [layer for layer in getattr(discriminator, "layers", ()) if isinstance(layer, Augmentation)]
        if not self.layers:
            raise ArgumentError("Adaptive: this discriminator has none of augment's layers; see augment.before.")
        self.loss, self.target = loss, fraction(target, "Adaptive: target", closed="[]")
        self.images = positive_int(images, "Adaptive: images")
        self.compares, self.from_logits = loss.compares, loss.from_logits

    @property
    def strength(self) -> float:
        """p now."""
        return float(to_numpy(self.layers[0].buffers["strength"])[0])

    def discriminator(self, real_logits: Array, fake_logits: Array) -> tuple[Array, Array, Array]:
        self._move(real_logits, fake_logits)
        return ops_of(real_logits).loss(self.loss).discriminator(real_logits, fake_logits)

    def generator(self, fake_logits: Array, real_logits: Array | None = None) -> tuple[Array, Array]:
        return ops_of(fake_logits).loss(self.loss).generator(fake_logits, real_logits)

    @staticmethod
    def plain(loss: Loss) -> Loss:
        """The loss that is in it, or the loss itself if it is none of these: for who asks it about made-up logits."""
        return loss.loss if isinstance(loss, Adaptive) else loss

    def _move(self, real: Array, fake: Array) -> None:
        xp, c = ops_of(real).xp, 0.5 * (real.mean() + fake.mean())
        surer = xp.sign(xp.sign(real - c).mean() - self.target)
        surer = xp.where(xp.isfinite(surer), surer, xp.zeros_like(surer))
        for layer in self.layers:
            p = layer.buffers["strength"]
            xp.clip(p + surer * (len(real) / self.images), 0.0, 1.0, out=p)

    def __repr__(self) -> str:
        return f"Adaptive({self.loss!r}, target={self.target}, images={self.images})"
