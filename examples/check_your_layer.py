"""A layer written by a student, and the machine that grades it.

    python examples/check_your_layer.py

Swish is y = x σ(x). The first version below has a slip in its derivative that training would hide: the network still
learns, only worse. ``check_layer`` finds it, says which number is wrong and what it should be, and accepts the
corrected version. The same two lines grade any layer of your own.

A critic with a gradient penalty asks for more: how fast y changes along v, and the derivative of that. The first
answer below forgets that Swish bends; ``check_second_order`` does not. Takes a second.
"""

import argparse

import numpy as np

from tinygan.errors import GradientError
from tinygan.layers import Layer
from tinygan.ops import sigmoid
from tinygan.penalties import register
from tinygan.runs.commandline import run_program
from tinygan.testing import check_layer, check_second_order


class SwishAtFirst(Layer):
    def apply(self, x, train):
        return x * sigmoid(x), x

    def gradients(self, x, dy):
        s = sigmoid(x)
        return dy * (s + x * s), {}  # forgets a factor: the derivative of σ is σ (1 − σ)


class Swish(Layer):
    """Forward y = x σ(x); backward dx = dy (σ + x σ (1 − σ))."""

    def apply(self, x, train):
        return x * sigmoid(x), x

    def gradients(self, x, dy):
        s = sigmoid(x)
        return dy * (s + x * s * (1.0 - s)), {}


# ---- for a gradient penalty ------------------------------------------------------------------------------------------


def tangent(layer, x, v):
    """J v = f'(x) v, number by number."""
    return layer.gradients(x, v)[0]


def no_curvature(layer, x, v, g):
    """None and no parameters: "it does not bend", right for ReLU and wrong here."""
    return None, {}


def curvature(layer, x, v, g):
    """gᵀ J v = Σ g f'(x) v, and its derivative with respect to x has f'' = σ (1 − σ) (2 + x (1 − 2σ)) in it."""
    s = sigmoid(x)
    return g * v * s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s)), {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="nothing to shorten here; every example takes this flag")
    parser.parse_args()

    x = np.random.default_rng(0).standard_normal((4, 3))
    try:
        check_layer(SwishAtFirst(), x)
    except GradientError as error:
        print(f"SwishAtFirst is wrong:\n{error}\n")
    check_layer(Swish(), x)
    print("Swish is right: its gradients agree with finite differences, and it keeps every rule of a layer.\n")
    register(Swish, tangent=tangent, second_order=no_curvature)
    try:
        check_second_order(Swish(), x)
    except GradientError as error:
        print(f"Its second order is wrong:\n{error}\n")
    register(Swish, tangent=tangent, second_order=curvature)
    check_second_order(Swish(), x)
    print("Swish bends as it should: it goes with any gradient penalty.")


if __name__ == "__main__":
    run_program(main)
