"""Layers: small functions with parameters, each with its derivative written right beneath it.

Any of them can be studied alone::

    layer = Dense(3, 2)
    y = layer.forward(x)          # x (N, 3) -> y (N, 2)
    dx = layer.backward(dy)       # dy (N, 2) -> dx (N, 3), and layer.grads["W"], layer.grads["b"]

Dense data are (N, C), images (N, H, W, C).
"""

from .activations import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from .base import Layer
from .convolution import Conv2D, ConvTranspose2D
from .dense import Dense
from .dropout import Dropout
from .minibatch import MinibatchStdDev, Pack
from .normalization import BatchNorm, LayerNorm
from .shape import Flatten, Reshape
from .spectral import SpectralNorm

__all__ = [
    "ELU",
    "BatchNorm",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MinibatchStdDev",
    "Pack",
    "ReLU",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SpectralNorm",
    "Tanh",
]
