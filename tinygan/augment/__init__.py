r"""Random changes of images in front of D, so that a D with few real images cannot learn them by heart.

    generator, discriminator = models.dcgan((32, 32, 3))
    layers = augment.Colour(rng=1), augment.Shift(rng=2), augment.Cutout(rng=3)
    gan = GAN(generator, augment.before(discriminator, *layers), noise_dim=100)

D is shown T(x) and T(G(z)), each time with other random numbers, and x itself only as often as the strength leaves it.
If only the real images were changed, G would learn to make changed ones. So T stands in front of all that D sees, and
G's gradient comes back through it, by the adjoint that each layer here has written by hand (Zhao et al., 2020,
*Differentiable Augmentation for Data-Efficient GAN Training*, arXiv 2006.10738). A change that not all images undergo
does not leak into the samples: those that are left alone show what true images look like (Karras et al., 2020, arXiv
2006.06676, section 2.2). Colour comes first: after it, what is shifted in or covered stays grey.

Each draw asks a layer for its strength, for which a GPU must be waited for; steps with these layers are not replayed
there. Several processes cannot have them: each would draw for itself.

``layers`` says what they are, ``adaptive`` how strong they are while D learns. The book, ``losses`` and ``penalties``
are imported here.
"""

from .adaptive import Adaptive
from .layers import Augmentation, Colour, Cutout, Shift, before

__all__ = ["Adaptive", "Augmentation", "Colour", "Cutout", "Shift", "before"]
