"""A dense generator learns to write digits from a convolutional discriminator.

    python examples/mnist_conv_gan.py

trains on MNIST, or on digits that tinygan draws itself where MNIST cannot be had, for 4 to 6 minutes on two cores. It
shows a bar with both losses, and leaves pictures, curves and a checkpoint in runs/mnist_conv_gan.

D sees strokes wherever they are, since a convolution looks at every place with the same weights; G is as plain as
before. G ends in a sigmoid, so images have their pixels in [0, 1]. D ends in a logit D(x), without a sigmoid: the
losses apply σ themselves, in a form that never takes the logarithm of 0 (Goodfellow et al., 2014, section 3):

    L_D = −mean log σ(D(x)) − mean log(1 − σ(D(G(z))))    = mean softplus(−D(x)) + mean softplus(D(G(z)))
    L_G = −mean log σ(D(G(z)))                            = mean softplus(−D(G(z)))

To L_D comes γ/2 mean ‖∂D/∂x‖² at real images, which keeps D from growing steep where the data are (R1; Mescheder et
al., 2018, equation 9).
"""

from tinygan import models
from tinygan.data import load
from tinygan.runs.commandline import Recipe, class_options, data_options, describe, launch, make_gan, training_options
from tinygan.runs.training import train

# ---- the recipe; each has a flag of the same name ----
RECIPE = Recipe(
    name="mnist_conv_gan",
    steps=6000,
    batch_size=64,
    loss="nonsaturating",
    penalty="r1",  # without it some digits come ten times as often as others
    gamma=1.0,
    penalty_every=4,  # costs a third of what it does in each step
    lr=2e-3,
    beta1=0.0,  # as in the recipe of mnist_mlp_gan.py
    beta2=0.99,
    average=0.999,
    noise_dim=100,
    width=16,  # channels of D's first convolution; the second has twice as many; articles have 64, for fewer steps
    size=28,  # of MNIST, and what pictures of yours become
    channels=1,
    low=0.0,  # black, for a sigmoid
)


def main(flags):
    images = load(flags.data, **data_options(flags))

    generator, discriminator = models.mlp_conv(
        images.image_shape,
        noise_dim=flags.noise_dim,
        width=flags.width,
        g_hidden=(256, 512),  # twice of what articles have: beside D's convolutions they cost little
        rng=flags.seed,
        **class_options(flags, images),
    )
    gan = make_gan(flags, generator, discriminator, images)  # with the losses and optimisers of the recipe

    describe(images, gan)
    return train(gan, images, **training_options(flags, images))


if __name__ == "__main__":
    launch(main, __doc__, RECIPE)
