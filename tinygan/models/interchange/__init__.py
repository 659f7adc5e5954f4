"""Networks on their way to PyTorch and back, and to ONNX: the same numbers, in ordinary modules.

    module = to_pytorch(run.generator)                         # an nn.Sequential: z (N, noise_dim) -> (N, C, H, W)
    module = to_pytorch(run.discriminator, (28, 28, 1))        # D needs to be told the size of its images
    y = module(z, labels)                                      # of a conditional run; labels (N,), a LongTensor
    network = from_pytorch(module, (28, 28, 1))
    export_onnx(run.generator, "generator.onnx")               # for onnxruntime, a browser, a telephone
    export_page(run.generator, "generator.html")               # a page in which it runs, by a script of its own

Images are (N, H, W, C) here and (N, C, H, W) there. Kernels are turned around accordingly, and so are the weights
beside ``Flatten`` and ``Reshape``: a row of numbers is in the order of its image. Either a network is carried over
exactly, its running statistics included, or what cannot be is named. PyTorch and onnx are imported when they are
asked for.

``writing`` makes modules of layers, ``onnx_file`` a graph; ``reading`` finds its way through modules, and ``modules``
makes a layer of each. ``order`` says how a row of numbers is arranged, ``wishes`` how what follows wants it to be.
``torch_blocks`` has the few modules that PyTorch has not, ``web`` the page. The book, further layers and the models
beside this are imported here.
"""

from .onnx_file import export_onnx
from .reading import from_pytorch
from .web import export_page
from .writing import to_pytorch

__all__ = ["export_onnx", "export_page", "from_pytorch", "to_pytorch"]
