"""Proof machinery, public: use it on layers of your own, and hand it to students.

    from tinygan.testing import check_gradients, check_layer

    check_gradients(MyLayer(), x)     # every gradient against finite differences
    check_layer(MyLayer(), x)         # and the whole contract of a layer

``check_function`` does the same for a loss, ``check_generator_gradient`` for a generator's gradient through its
discriminator. :mod:`tinygan.testing.strategies` draws sizes, images, geometries, layers and networks with Hypothesis,
which only that module needs; :mod:`tinygan.testing.device` is a stand-in for the GPU.
"""

from .comparison import GradientReport
from .contract import check_layer
from .gradients import check_function, check_generator_gradient, check_gradients

__all__ = ["GradientReport", "check_function", "check_generator_gradient", "check_gradients", "check_layer"]
