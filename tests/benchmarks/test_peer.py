"""What the benchmarks compare with: the same layers in PyTorch. A stand-in notes the calls, for want of PyTorch."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinygan import models

ROOT = Path(__file__).parents[2]
KINDS = {"Linear": "Dense", "Conv2d": "Conv2D", "ConvTranspose2d": "ConvTranspose2D", "Unflatten": "Reshape"}
KINDS |= {name: "BatchNorm" for name in ("BatchNorm1d", "BatchNorm2d")}


class Modules(SimpleNamespace):
    """torch.nn, whose modules are their names and arguments."""

    Sequential = staticmethod(lambda *modules: modules)

    def __getattr__(self, name):
        return lambda *args, **options: (name, args, options)


@pytest.fixture
def translate(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(nn=Modules()))
    monkeypatch.setitem(sys.modules, "torch.nn", Modules())
    return runpy.run_path(str(ROOT / "benchmarks" / "peer.py"))["translate"]


@pytest.mark.parametrize("name", ["mlp", "mlp_conv", "lsgan", "dcgan", "dcgan64"])
def test_every_layer_becomes_its_counterpart_with_the_same_sizes(translate, name):
    for network, shape in zip(getattr(models, name)((32, 32, 3)), [(100,), (32, 32, 3)], strict=True):
        for layer, (kind, args, options) in zip(network.layers, translate(network), strict=True):
            assert KINDS.get(kind, kind) == type(layer).__name__
            before, shape = shape, layer.output_shape(shape)
            if "Conv" in kind:  # PyTorch's formulas for the size of the output
                (c_in, c_out, k), s, p = args, options["stride"], options["padding"]
                assert (c_in, c_out) == (before[-1], shape[-1])
                if kind == "Conv2d":
                    assert (before[0] + 2 * p - k) // s + 1 == shape[0]
                else:
                    assert (before[0] - 1) * s - 2 * p + k + options["output_padding"] == shape[0]
