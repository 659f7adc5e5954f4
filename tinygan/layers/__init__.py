"""Layers: small functions with parameters, each with its derivative written right beneath it.

Any of them can be studied alone::

    layer = Dense(3, 2)
    y = layer.forward(x)          # x (N, 3) -> y (N, 2)
    dx = layer.backward(dy)       # dy (N, 2) -> dx (N, 3), and layer.grads["W"], layer.grads["b"]

Dense data are (N, C), images (N, H, W, C). Of tinygan, only ``errors``, ``ops`` and ``checkpoints`` are imported here.
To the book belong ``dense``, ``base``, ``activations``, ``initializers``, ``convolution``, ``batchnorm`` and ``shape``.
"""

from .activations import LeakyReLU, ReLU, Sigmoid, Tanh
from .base import Layer
from .batchnorm import BatchNorm
from .conditional import ConcatLabels, ConditionalScale, Projection, set_labels
from .convolution import Conv2D, ConvTranspose2D
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .groupnorm import GroupNorm
from .layernorm import LayerNorm
from .minibatch import MinibatchStdDev, Pack
from .resizing import AvgPool2D, MaxPool2D, PixelShuffle, Upsample
from .shape import Flatten, Reshape
from .smooth import ELU, SiLU, Softplus
from .spectral import SpectralNorm

__all__ = ["BatchNorm", "Conv2D", "ConvTranspose2D", "Dense", "Flatten", "Layer", "LeakyReLU", "ReLU", "Reshape"]
__all__ += ["Sigmoid", "Tanh"]
__all__ += ["ELU", "Dropout", "LayerNorm", "MinibatchStdDev", "Pack", "SiLU", "Softplus", "SpectralNorm"]
__all__ += ["AvgPool2D", "GroupNorm", "MaxPool2D", "PixelShuffle", "Upsample"]
__all__ += ["ConcatLabels", "ConditionalScale", "Embedding", "Projection", "set_labels"]

_ELSEWHERE = (  # what the same is called in other libraries
    "Linear=Dense Conv2DTranspose=ConvTranspose2D BatchNorm1d=BatchNorm BatchNorm2d=BatchNorm Swish=SiLU "
    "BatchNormalization=BatchNorm LayerNormalization=LayerNorm MaxPooling2D=MaxPool2D AveragePooling2D=AvgPool2D "
    "UpSampling2D=Upsample GroupNormalization=GroupNorm"
)


def __getattr__(name: str) -> None:
    names = dict(pair.split("=") for pair in _ELSEWHERE.split()) | {known.lower(): known for known in __all__}
    known = names.get(name) or names.get(name.lower())
    more = f"; here it is called {known}" if known else f"; there are: {', '.join(__all__)}"
    raise AttributeError(f"module 'tinygan.layers' has no attribute {name!r}{more}.")
