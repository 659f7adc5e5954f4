"""A layer written by a student, and the machine that grades it.

    python examples/check_your_layer.py

Swish is y = x σ(x). The first version below has a slip in its derivative that training would hide: the network still
learns, only worse. ``check_layer`` finds it, says which number is wrong and what it should be, and accepts the
corrected version. The same two lines grade any layer of your own. Takes a second.
"""

import argparse

import numpy as np

from tinygan.errors import GradientError
from tinygan.kernels import sigmoid
from tinygan.layers import Layer
from tinygan.testing import check_layer


class SwishAtFirst(Layer):
    def forward(self, x, *, train=True):
        self._check_input(x)
        return self._remember(x * sigmoid(x), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        s = sigmoid(x)
        return dy * (s + x * s)  # forgets a factor: the derivative of σ is σ (1 − σ)


class Swish(SwishAtFirst):
    """Forward y = x σ(x); backward dx = dy (σ + x σ (1 − σ))."""

    def backward(self, dy):
        (x,) = self._recall(dy)
        s = sigmoid(x)
        return dy * (s + x * s * (1.0 - s))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="nothing to shorten here; every example takes this flag")
    parser.parse_args()

    x = np.random.default_rng(0).standard_normal((4, 3))
    try:
        check_layer(SwishAtFirst(), x)
    except GradientError as error:
        print(f"SwishAtFirst is wrong:\n{error}\n")
    check_layer(Swish(), x)
    print("Swish is right: its gradients agree with finite differences, and it keeps every rule of a layer.")
