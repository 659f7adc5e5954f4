"""The same generator in other programs, where they are installed: what stands beside a page's own images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np

from ....errors import ArgumentError, BackendError
from ....network import Sequential
from ..onnx_file import as_bytes
from ..writing import to_pytorch

Make = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def elsewhere(generator: Sequential, noise_dim: int) -> dict[str, Make]:
    """{"PyTorch": make, "onnxruntime": make} as far as they are installed, can be imported, and can hold the network;
    ``make(z, labels)`` returns images (N, H, W, C)."""
    found: dict[str, Make] = {}
    for name, needed, maker in (("PyTorch", ("torch",), _pytorch), ("onnxruntime", ("onnx", "onnxruntime"), _onnx)):
        if all(map(find_spec, needed)):
            with suppress(ArgumentError, BackendError, ImportError, OSError):  # the page stands without it
                found[name] = maker(generator, noise_dim)
    return found


def _pytorch(generator: Sequential, noise_dim: int) -> Make:
    import torch

    module = to_pytorch(generator, (noise_dim,)).eval()

    def make(z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        inputs = [torch.from_numpy(z.astype(generator.theta.dtype))]
        inputs += [] if labels is None else [torch.from_numpy(labels.astype(np.int64))]
        with torch.no_grad():
            return module(*inputs).permute(0, 2, 3, 1).numpy()

    return make


def _onnx(generator: Sequential, noise_dim: int) -> Make:
    import onnxruntime

    session = onnxruntime.InferenceSession(as_bytes(generator, (noise_dim,)), providers=["CPUExecutionProvider"])

    def make(z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        inputs: dict[str, Any] = {"x": z} | ({} if labels is None else {"labels": labels.astype(np.int64)})
        return session.run(None, inputs)[0].transpose(0, 2, 3, 1)

    return make
