"""A GAN of dense layers learns to write digits.

    python examples/mnist_mlp_gan.py

trains on MNIST, or on digits that tinygan draws itself where MNIST cannot be had, for 4 to 6 minutes on two cores. It
shows a bar with both losses, and leaves pictures, curves and a checkpoint in runs/mnist_mlp_gan.

The generator G turns noise z into images, the discriminator D gives an image x a logit D(x): high for real, low for
generated. With the logistic function σ each descends its own loss (Goodfellow et al., 2014, section 3):

    L_D = −mean log σ(D(x)) − mean log(1 − σ(D(G(z)))) + γ/2 mean ‖∇D(x)‖²
    L_G = −mean log σ(D(G(z)))

The last term of L_D is the penalty R1 (Mescheder et al., 2018, equation 9): D pays for being steep at real images.

Samples are drawn from a moving average of G's weights, which circle around a good point rather than reach it.
"""

from tinygan import models
from tinygan.data import load
from tinygan.runs.commandline import Recipe, class_options, data_options, describe, launch, make_gan, training_options
from tinygan.runs.training import train

# ---- the recipe, found by measurement; each has a flag of the same name ----
RECIPE = Recipe(
    name="mnist_mlp_gan",
    epochs=15,
    batch_size=128,
    lr=1e-3,  # five times DCGAN's; half and twice as much are both worse by far
    beta1=0.0,  # no momentum, which keeps pushing where the other player has already moved on
    beta2=0.99,
    penalty="r1",  # fewer steps in the same time, and better digits on all seeds
    gamma=1.0,
    penalty_every=4,  # costs a third of what it does in each step
    average=0.999,
    noise_dim=100,  # length of z, drawn from normal(0, 1)
    width=256,
    size=28,  # of MNIST, and what pictures of yours become: with dense layers the networks grow with the pixels
    channels=1,
)


def main(flags):
    images = load(flags.data, **data_options(flags))

    w = flags.width
    generator, discriminator = models.mlp(
        images.image_shape,
        noise_dim=flags.noise_dim,
        g_hidden=(w, 2 * w, 4 * w),  # each with BatchNorm and leaky ReLU; tanh makes the pixels
        d_hidden=(2 * w, w),  # with leaky ReLU; one logit comes out
        rng=flags.seed,
        **class_options(flags, images),
    )
    gan = make_gan(flags, generator, discriminator, images)  # with the losses and optimisers of the recipe

    describe(images, gan)
    return train(gan, images, **training_options(flags, images))


if __name__ == "__main__":
    launch(main, __doc__, RECIPE)
