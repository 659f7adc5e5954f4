"""A system of tinygan.models in PyTorch, layer by layer: what the benchmarks of steps run beside tinygan."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}


class System(NamedTuple):
    """A row of the table: a function of tinygan.models, its images and its batch."""

    model: str
    image_shape: tuple[int, int, int]
    batch: int
    loss: str = "cross-entropy"
    options: dict[str, int] | None = None  # for that function, other than for the articles' networks


def build(system: System):
    from tinygan import models

    plain = {} if system.model.startswith("dcgan") else {"batch_norm": False}
    plain |= {"floor": False} if system.model == "lsgan" else {}
    options = system.options or plain
    return getattr(models, system.model)(system.image_shape, **options)


def translate(network, *, inplace: bool = True):
    """The same layers in PyTorch. Padding that differs from side to side is the same on both there: as costly."""
    from torch import nn

    from tinygan import layers

    def one(layer):
        if isinstance(layer, layers.Dense):
            return nn.Linear(layer.n_in, layer.n_out, bias="b" in layer.params)
        if isinstance(layer, layers.Conv2D):  # or a transposed one, which derives from it
            (k, _), (s, _) = layer.kernel_size, layer.stride
            options = {"stride": s, "padding": (k - s + 1) // 2, "bias": "b" in layer.params}
            if isinstance(layer, layers.ConvTranspose2D):
                return nn.ConvTranspose2d(layer.c_in, layer.c_out, k, output_padding=(s - k) % 2, **options)
            return nn.Conv2d(layer.c_in, layer.c_out, k, **options)
        if isinstance(layer, layers.Reshape):
            h, w, c = layer.shape
            return nn.Unflatten(1, (c, h, w))
        if type(layer) is layers.Dropout:
            return nn.Dropout(layer.rate)
        kinds = {layers.Tanh: nn.Tanh, layers.Sigmoid: nn.Sigmoid, layers.Flatten: nn.Flatten}
        if type(layer) in kinds:
            return kinds[type(layer)]()
        return nn.ReLU(inplace) if isinstance(layer, layers.ReLU) else nn.LeakyReLU(layer.slope, inplace)

    def norm(layer, images):
        return nn.BatchNorm2d(layer.c) if images else nn.BatchNorm1d(layer.c)

    modules, shape = [], network.input_shape
    for layer in network.layers:
        shape = shape and layer.output_shape(shape)
        modules.append(norm(layer, len(shape) == 3) if isinstance(layer, layers.BatchNorm) else one(layer))
    return nn.Sequential(*modules)


def in_torch(networks, layout: str, *, device: str = "cpu", inplace: bool = True, **adam):
    """Networks in PyTorch, with an Adam for each, and the memory format for their images: "first" or "last" channels.

    With ``inplace`` an activation overwrites its input, which a second derivative needs.
    """
    import torch

    memory_format = {"first": torch.contiguous_format, "last": torch.channels_last}[layout]
    networks = [translate(network, inplace=inplace).to(device) for network in networks]
    for network in networks:
        for module in network.modules():
            if hasattr(module, "weight") and module.weight.dim() == 4:
                module.weight.data = module.weight.data.contiguous(memory_format=memory_format)
    options = {**ADAM, "fused": True, **adam}
    return networks, [torch.optim.Adam(network.parameters(), **options) for network in networks], memory_format


class Peer:
    """A system in PyTorch: its networks, optimisers and images, and a step in two loops."""

    def __init__(self, system: System, layout: str, device: str = "cpu", **adam) -> None:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

        torch.manual_seed(0)
        self.loss = mse_loss if system.loss == "least squares" else binary_cross_entropy_with_logits
        n, (h, w, c) = system.batch, system.image_shape
        self.ones, self.zeros = torch.ones(n, 1, device=device), torch.zeros(n, 1, device=device)
        self.noise = lambda: torch.randn(n, 100, device=device)
        (self.G, self.D), (self.g_adam, self.d_adam), memory_format = in_torch(
            build(system), layout, device=device, **adam
        )
        self.real = (torch.rand(n, c, h, w, device=device) * 2 - 1).contiguous(memory_format=memory_format)

    def usual(self) -> None:
        """As tutorials have it."""
        self._learn(self.G(self.noise()).detach())
        self.g_adam.zero_grad()
        self.loss(self.D(self.G(self.noise())), self.ones).backward()
        self.g_adam.step()

    def tuned(self) -> None:
        """Without what nobody reads."""
        import torch

        with torch.no_grad():
            fake = self.G(self.noise())
        self._learn(fake)
        self.g_adam.zero_grad()
        self.D.requires_grad_(False)
        self.loss(self.D(self.G(self.noise())), self.ones).backward()
        self.D.requires_grad_(True)
        self.g_adam.step()

    def _learn(self, fake) -> None:
        self.d_adam.zero_grad()
        self.loss(self.D(self.real), self.ones).backward()
        self.loss(self.D(fake), self.zeros).backward()
        self.d_adam.step()


def compile_loop(peer: Peer) -> Callable[[], None]:
    """The tuned loop with forward passes, losses and both Adams compiled, which replays CUDA graphs where it can."""
    import torch

    def compiled(function: Callable) -> Callable:
        return torch.compile(function, mode="reduce-overhead")

    @compiled
    def fakes(z):
        with torch.no_grad():
            return peer.G(z)

    @compiled
    def d_loss(real, fake):
        return peer.loss(peer.D(real), peer.ones) + peer.loss(peer.D(fake), peer.zeros)

    @compiled
    def g_loss(z):
        return peer.loss(peer.D(peer.G(z)), peer.ones)

    d_adam, g_adam = compiled(peer.d_adam.step), compiled(peer.g_adam.step)

    def step() -> None:
        peer.d_adam.zero_grad()
        peer.g_adam.zero_grad()
        torch.compiler.cudagraph_mark_step_begin()
        d_loss(peer.real, fakes(peer.noise())).backward()
        d_adam()
        peer.D.requires_grad_(False)
        g_loss(peer.noise()).backward()
        peer.D.requires_grad_(True)
        g_adam()

    return step


def capture_loop(peer: Peer) -> Callable[[], None]:
    """The tuned loop, captured as one CUDA graph after a warm-up on another stream, as PyTorch's notes advise."""
    import torch

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            peer.tuned()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        peer.tuned()
    return graph.replay
