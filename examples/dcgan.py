"""The convolutional GAN, on digits, on creatures of many colours, or on pictures of yours.

    python examples/dcgan.py                                   MNIST, 28x28
    python examples/dcgan.py --data my_pictures --size 32      a folder of pictures, 32x32
    python examples/dcgan.py --model dcgan64                   creatures that tinygan draws, 64x64, in colour
    python examples/dcgan.py --model dcgan64 --data my_pictures

The first trains for 8 to 10 minutes on two cores, the third for about 9; MNIST is replaced by digits of our own where
it cannot be had. A bar shows both losses; pictures, curves and a checkpoint are left in runs/dcgan or runs/dcgan64.

G starts from a small image of many channels, and each transposed convolution doubles its height and width while it
halves its channels; D goes the way back. So heights and widths are multiples of 4, and all images are brought to --size
first, which may be 48x64 as well. BatchNorm stands between the layers, and D sees real and generated images in batches
apart (Radford et al., 2016). The losses are those of the first GAN, from logits D(x) (Goodfellow et al., 2014, section
3):

    L_D = −mean log σ(D(x)) − mean log(1 − σ(D(G(z))))
    L_G = −mean log σ(D(G(z)))

If G gives the same picture for every z, it has collapsed. --loss leastsquares, --clip-norm 1, --real-label 0.9 and
another --optimizer or --d-lr are remedies to try.
"""

from tinygan import models
from tinygan.data import load
from tinygan.runs.commandline import Recipe, class_options, data_options, describe, launch, make_gan, training_options
from tinygan.runs.training import train

MODELS = {"dcgan": models.dcgan, "dcgan64": models.dcgan64}

# ---- the recipes; each value has a flag of the same name ----
DCGAN = Recipe(
    name="dcgan",  # kernels 5x5 and three levels
    steps=4000,
    batch_size=64,
    loss="nonsaturating",
    penalty="r1",  # with it D bears five times the paper's rate
    gamma=1.0,
    penalty_every=4,  # costs a third of what it does in each step
    lr=1e-3,
    beta1=0.0,
    beta2=0.99,
    average=0.999,
    noise_dim=100,
    width=16,  # channels of the largest images, 32 and 64 below; better than the paper's 64 in the same time
    size=28,
    size_unit=4,
)

DCGAN64 = Recipe(
    name="dcgan64",  # kernels 4x4 and four levels
    steps=1800,
    batch_size=64,
    loss="nonsaturating",
    lr=1e-3,  # five times the paper's, without its momentum: far fewer steps to a face
    lr_schedule="cosine",
    beta1=0.0,
    beta2=0.99,
    average=0.995,
    noise_dim=100,
    width=32,  # 64, 128 and 256 in the levels below; the paper's 64 cost four times as much
    data="shapes",
    size=64,
    size_unit=4,
)


def main(flags):
    images = load(flags.data, **data_options(flags))

    generator, discriminator = MODELS[flags.model](
        images.image_shape,
        noise_dim=flags.noise_dim,
        width=flags.width,
        rng=flags.seed,
        **class_options(flags, images),
    )
    gan = make_gan(flags, generator, discriminator, images)  # with the losses and optimisers of the recipe

    describe(images, gan)
    return train(gan, images, **training_options(flags, images))


if __name__ == "__main__":
    launch(main, __doc__, DCGAN, DCGAN64)
