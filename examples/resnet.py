"""Residual blocks without any normalisation, and a loss of pairs, learn digits.

    python examples/resnet.py                                  MNIST, 28x28
    python examples/resnet.py --data my_pictures --size 32     a folder of pictures, 32x32

The first trains for about 10 minutes on two cores; MNIST is replaced by digits of our own where it cannot be had. A bar
shows both losses; pictures, curves and a checkpoint are left in runs/resnet.

A block adds to what it is given: y = x + f(x), where f is 0 at first, so signals and gradients pass any number of
blocks as they are (He et al., 2016; Zhang et al., 2019). D compares each real image x with a generated one, and two
penalties keep it smooth, R1 at real images and R2 at generated ones (Huang et al., 2024):

    L_D = mean softplus(−(D(x) − D(G(z)))) + γ/2 mean ‖∂D/∂x‖² at x + γ/2 mean ‖∂D/∂x‖² at G(z)
    L_G = mean softplus(−(D(G(z)) − D(x)))

Without BatchNorm no sample sees another, so that batches may be small: half as large as those of dcgan.py, for twice as
many steps.
"""

import numpy as np

from tinygan import models
from tinygan.data import load
from tinygan.runs.commandline import Recipe, class_options, data_options, describe, launch, make_gan, training_options
from tinygan.runs.training import train

# ---- the recipe; each value has a flag of the same name ----
RECIPE = Recipe(
    name="resnet",
    steps=9000,
    batch_size=32,
    loss="relativistic",
    penalty="r1+r2",
    gamma=0.3,
    penalty_every=4,
    lr=3e-3,
    beta1=0.0,
    beta2=0.99,
    average=0.999,
    noise_dim=100,
    width=16,  # channels of the largest images
    size=28,
    size_unit=4,
)


def main(flags):
    images = load(flags.data, **data_options(flags))
    some = images.batch(np.arange(min(1000, len(images))))

    generator, discriminator = models.resnet(
        images.image_shape,
        noise_dim=flags.noise_dim,
        width=flags.width,
        mean=float(some.mean().clip(-0.9, 0.9)),  # G's first images are as bright as real ones
        rng=flags.seed,
        **class_options(flags, images),
    )
    gan = make_gan(flags, generator, discriminator, images)  # with the losses and optimisers of the recipe

    describe(images, gan)
    return train(gan, images, **training_options(flags, images))


if __name__ == "__main__":
    launch(main, __doc__, RECIPE)
