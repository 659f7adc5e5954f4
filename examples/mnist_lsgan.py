"""Least squares instead of logarithms: a GAN whose discriminator is a regression.

    python examples/mnist_lsgan.py

trains on MNIST, or on digits that tinygan draws itself where MNIST cannot be had, for about 4 minutes on two cores. It
shows a bar with both losses, and leaves pictures, curves and a checkpoint in runs/mnist_lsgan.

D gives an image a score, which shall be 1 for real images and 0 for generated ones; G wants the score 1 for its own.
The further a score is from its target, the harder it is pulled, on either side of it, so that G learns even from images
that D has long seen through (Mao et al., 2017, equation 9):

    L_D = ½ mean (D(x) − 1)² + ½ mean D(G(z))² + γ/2 mean ‖∂D/∂x‖²
    L_G = ½ mean (D(G(z)) − 1)²

The last term of L_D, at real images only, keeps D from growing steep where the data are (R1; Mescheder et al., 2018,
equation 9). --penalty none shows what becomes of the digits without it.

Pixels are in [0, 1], but G's last layer is linear and bounds nothing: D alone teaches it how bright white is. What
would be darker than black is black, by a ReLU behind it. Articles leave that out, and then D knows G's images by the
noise that they have where real ones are black, and has little else to teach.
"""

from tinygan import models
from tinygan.data import load
from tinygan.runs.commandline import Recipe, class_options, data_options, describe, launch, make_gan, training_options
from tinygan.runs.training import train

# ---- the recipe; each has a flag of the same name ----
RECIPE = Recipe(
    name="mnist_lsgan",
    steps=4500,
    batch_size=64,
    loss="leastsquares",
    penalty="r1",  # without it D is much too strong for this G, which then finds a few digits only
    gamma=10.0,
    penalty_every=4,  # costs a third of what it does in each step
    lr=2e-3,
    beta1=0.0,  # as in the recipe of mnist_mlp_gan.py
    beta2=0.99,
    average=0.998,
    noise_dim=100,
    width=8,  # channels of D's first convolution, then 16, 32 and 64; articles have 64, for an eighth of the steps
    size=28,  # of MNIST, and what pictures of yours become
    channels=1,
    low=0.0,  # black
)


def main(flags):
    images = load(flags.data, **data_options(flags))

    generator, discriminator = models.lsgan(
        images.image_shape,
        noise_dim=flags.noise_dim,
        width=flags.width,
        g_hidden=(256, 256, 256),  # twice of what articles have: beside D's convolutions they cost little
        rng=flags.seed,
        **class_options(flags, images),
    )
    gan = make_gan(flags, generator, discriminator, images)  # with the losses and optimisers of the recipe

    describe(images, gan)
    return train(gan, images, **training_options(flags, images))


if __name__ == "__main__":
    launch(main, __doc__, RECIPE)
