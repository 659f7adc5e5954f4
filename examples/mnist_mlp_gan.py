"""A GAN of dense layers learns to write digits.

    python examples/mnist_mlp_gan.py

trains on MNIST, or on digits that tinygan draws itself where MNIST cannot be had, for about 4 minutes on two cores. It
shows a bar with both losses, and leaves pictures, curves and a checkpoint in runs/mnist_mlp_gan.

The generator G turns noise z into images, the discriminator D gives an image x a logit D(x): high for real, low for
generated. With the logistic function σ each descends its own loss (Goodfellow et al., 2014, section 3):

    L_D = −mean log σ(D(x)) − mean log(1 − σ(D(G(z))))
    L_G = −mean log σ(D(G(z)))

Samples are drawn from a moving average of G's weights, which circle around a good point rather than reach it.
"""

from tinygan import GAN, models
from tinygan.commandline import LOSSES, Recipe, data_options, launch, training_options
from tinygan.data import load
from tinygan.optim import Adam
from tinygan.training import train

# ---- the recipe, found by measurement; each has a flag of the same name ----
RECIPE = Recipe(
    name="mnist_mlp_gan",
    epochs=20,
    batch_size=128,
    lr=1e-3,  # five times DCGAN's: of all changes the one that gains most
    beta1=0.0,  # no momentum, which keeps pushing where the other player has already moved on
    beta2=0.99,
    average=0.999,
    size=28,  # of MNIST, and what pictures of yours become: with dense layers the networks grow with the pixels
    channels=1,
)

NOISE_DIM = 100  # length of z, drawn from normal(0, 1)
G_HIDDEN = (256, 512, 1024)  # widths of G's hidden layers, each with BatchNorm and leaky ReLU; tanh makes the pixels
D_HIDDEN = (512, 256)  # of D's, with leaky ReLU; one logit comes out


def main(flags):
    images = load(flags.data, **data_options(flags))
    print(images.description)

    generator, discriminator = models.mlp(
        images.image_shape, noise_dim=NOISE_DIM, g_hidden=G_HIDDEN, d_hidden=D_HIDDEN, rng=flags.seed
    )
    print(f"\nG\n{generator.summary()}\n\nD\n{discriminator.summary(images.image_shape)}\n")

    adam = {"beta1": flags.beta1, "beta2": flags.beta2, "clip_norm": flags.clip_norm}
    gan = GAN(
        generator,
        discriminator,
        noise_dim=NOISE_DIM,
        loss=LOSSES[flags.loss](real_label=flags.real_label),
        g_optimizer=Adam(generator, lr=flags.lr, **adam),
        d_optimizer=Adam(discriminator, lr=flags.d_lr or flags.lr, **adam),
        d_steps=flags.d_steps,
        average=flags.average,
        seed=flags.seed,
    ).to(flags.backend)

    folder = train(gan, images, **training_options(flags))
    print(f"Look at {folder / 'samples.png'}, {folder / 'film.gif'} and {folder / 'losses.png'}.")


if __name__ == "__main__":
    launch(main, __doc__, RECIPE)
