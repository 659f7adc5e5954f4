"""Proof machinery, public: use it on layers of your own, and hand it to students.

    from tinygan.testing import check_gradients, check_layer

    check_gradients(MyLayer(), x)     # every gradient against finite differences
    check_layer(MyLayer(), x)         # and the whole contract of a layer
    check_second_order(MyLayer(), x)  # what is registered for gradient penalties: its tangent, its second order

``check_penalty`` checks a whole penalty on D's input gradient, from values of D alone; ``check_function`` a loss, and
``check_generator_gradient`` a generator's gradient through its discriminator, and ``check_torch`` a module of PyTorch.
:mod:`tinygan.testing.strategies` draws sizes, images, geometries, layers and networks with Hypothesis, which only that
module needs; :mod:`tinygan.testing.device` is a stand-in for the GPU, and :mod:`tinygan.testing.replay` for its graphs.
The book, ``penalties``, ``models`` and ``backends`` are imported here; of tinygan, only ``command`` imports this.
"""

from .comparison import GradientReport
from .contract import check_layer
from .gradients import check_function, check_generator_gradient, check_gradients
from .penalties import check_penalty
from .second_order import check_second_order
from .torch_modules import check_torch

__all__ = [
    "GradientReport",
    "check_function",
    "check_generator_gradient",
    "check_gradients",
    "check_layer",
    "check_penalty",
    "check_second_order",
    "check_torch",
]
