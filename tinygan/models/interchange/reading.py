"""Modules of PyTorch as layers of ours: the way through rows of them, and through blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...errors import ArgumentError, TinyGANError
from ...layers import Layer
from ...layers.base import Shape
from ...network import Sequential
from ..blocks import Add, Concat, Residual
from .modules import SIMPLE, Modules
from .order import Order, channels_first, checked_shape, find_blocks, find_torch, joined, same
from .wishes import KEEPS, STOPS, Asked, Branches, agreed, wanted


def from_pytorch(module: Any, input_shape: Sequence[int] | None = None) -> Sequential:
    """Return the network that computes what a ``torch.nn.Sequential`` does, and learns as it would.

    Parameters
    ----------
    module : nn.Sequential of modules that have a counterpart here, other nn.Sequential within it included, and what
        :func:`to_pytorch` makes.
    input_shape : of one sample as it is here, (F,) or (H, W, C); needed where images become rows.

    Notes
    -----
    All parameters learn here, also those that are frozen there (``requires_grad=False``).

    In evaluation a spectral norm has the u and v of its last batch of training; SpectralNorm takes one step more. It is
    read where that makes no difference, within 1e-12 of σ (of float32 1e-5), and training then begins alike; where it
    does, the message says how to let u and v settle. About gradients see :func:`to_pytorch`.

    Raises
    ------
    ArgumentError
        A module has no counterpart, or one of its settings has not, such as ``dilation=2``; the message names both.
    ShapeError
        The shape is missing, or does not fit.
    BackendError
        PyTorch is not installed.
    """
    torch, shape = find_torch(), checked_shape(input_shape, "from_pytorch")
    reader = _Reader(torch.nn, shape, list(module.parameters()) if isinstance(module, torch.nn.Module) else [])
    if not reader.is_row(module):
        what = type(module).__name__
        raise ArgumentError(f"from_pytorch: expected a torch.nn.Sequential with no forward of its own, got {what}.")
    seen: set[int] = set()
    for name, part in _owners(module, ""):
        if set(map(id, part.parameters())) & seen:
            raise ArgumentError(
                f"from_pytorch: {name} {type(part).__name__}: shares weights with another, which has no counterpart."
            )
        seen |= set(map(id, part.parameters()))
    reader.row(reader.unpacked(module._modules.items(), ""))
    if reader.order is not None:
        raise ArgumentError("from_pytorch: the module ends in Flatten of images, whose order differs.")
    network = Sequential(*reader.layers)
    if shape is not None:
        network.output_shape(shape)
    return network


def _owners(module: Any, above: str) -> Iterator[tuple[str, Any]]:
    """(name, module) of all that hold parameters of their own, as often as they stand there."""
    for name, part in module._modules.items():  # named_children would leave out what stands twice
        if part is not None and part._parameters:
            yield f"{above}{name}", part
        elif part is not None:
            yield from _owners(part, f"{above}{name}.")


def _hooks(module: Any) -> bool:
    """Whether a module is called otherwise than its class says: by hooks, or a forward of its own."""
    kinds = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    return "forward" in vars(module) or any(getattr(module, kind, None) for kind in kinds)


class _Reader(Modules):
    """On the way through rows of modules; of each branch of a block there is another one."""

    def __init__(self, nn: Any, shape: Shape | None, parameters: list[Any]) -> None:
        super().__init__(nn, shape, parameters)
        self.own = own = find_blocks()
        self.blocks = {own.Residual: Residual, own.Add: Add, own.Concat: Concat}
        keep = nn.LeakyReLU, nn.ReLU, nn.ELU, nn.Softplus, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout
        self.keep = *keep, nn.BatchNorm1d, nn.LayerNorm, own.ConditionalScale

    # ---- rows --------------------------------------------------------------------------------------------------------

    def is_row(self, module: Any) -> bool:
        """Whether it does nothing but to call its parts one after the other."""
        if not isinstance(module, self.nn.Sequential) or _hooks(module):
            return False
        return type(module).forward in (self.nn.Sequential.forward, self.own.Row.forward)

    def unpacked(self, parts: Iterable[tuple[str, Any]], above: str) -> Iterator[tuple[str, Any]]:
        """(name, module) of all that stands in a row."""
        for name, part in parts:
            if part is None or (type(part) is self.nn.Identity and not _hooks(part)):
                continue
            if self.is_row(part):
                yield from self.unpacked(part._modules.items(), f"{above}{name}.")
            else:
                yield f"{above}{name}", part

    def row(self, parts: Iterable[tuple[str, Any]], after: Sequence[Any] = ()) -> None:
        parts = list(parts)
        for k, (name, part) in enumerate(parts):
            self.read(name, part, [*(other for _, other in parts[k + 1 :]), *after])
        if self.pads is not None:
            raise ArgumentError(f"from_pytorch: {parts[-1][0]}: a padding without a convolution has no counterpart.")

    def order_wanted(self, rest: Sequence[Any]) -> Order:
        return wanted(rest, self._look)

    def _look(self, part: Any) -> Any:
        """What one module asks of the order of its row."""
        if isinstance(part, self.keep):
            return KEEPS
        if type(part) is self.nn.Unflatten and len(part.unflattened_size) == 3 and min(part.unflattened_size) > 0:
            c, h, w = part.unflattened_size
            return Asked(channels_first(h, w, c))
        if type(part) in self.blocks:
            rows = [[one for _, one in row] for row in self.rows_of("", part)]
            kind = self.blocks[type(part)]
            return Branches([*rows, ()] if kind is Residual else rows, added=kind is not Concat)
        return STOPS

    def read(self, name: str, part: Any, rest: Sequence[Any]) -> None:
        where = f"from_pytorch: {name} {' '.join(str(part).split()):.120}"  # in one line
        kind = self.nn.utils.parametrize.type_before_parametrizations(part)
        known = kind.__name__
        read: Any = self._simple if known in SIMPLE else getattr(self, f"_{known}".lower(), None)
        here = kind in self.blocks or read is not None
        if not here or kind not in (getattr(home, known, None) for home in (self.nn, self.own)):
            raise ArgumentError(f"{where}: has no counterpart here that computes the same.")
        if self.pads is not None and kind is not self.nn.Conv2d:
            raise ArgumentError(f"{where}: a padding before it has no counterpart here, only one before a Conv2d has.")
        made: Any = getattr(part, "parametrizations", {})
        spectral = self.is_spectral(part)  # its weight is not asked for: that would be a step of its u and v
        computed = [key for key in made if not spectral] + [
            key for key in ("weight", "bias") if key not in made and hasattr(part, key) and key not in part._parameters
        ]
        if computed or any(map(_hooks, (part, *(made.modules() if made else ())))):
            what = (
                f"its {computed[0]} is computed, as by weight_norm"
                if computed
                else "it has hooks, or a forward of its own"
            )
            raise ArgumentError(f"{where}: {what}, which has no counterpart here.")
        before = self.order
        try:
            layer = self.block(where, name, part, rest) if kind in self.blocks else read(where, part, rest)
            layer = self.spectral(where, part, layer, before) if spectral else layer
        except TinyGANError as error:
            said = str(error)
            raise error if said.startswith("from_pytorch") else ArgumentError(f"{where}: {said}") from error
        if layer is not None:
            self.layers.append(layer)
            if self.shape is None:
                self.shape = layer.input_shape
            self.shape = None if self.shape is None else layer.output_shape(self.shape)

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def rows_of(self, name: str, block: Any) -> list[list[tuple[str, Any]]]:
        """What stands in each branch; the one that leaves x as it is is not among them."""
        parts = block._modules.items()
        rows = [parts] if self.blocks[type(block)] is Residual else [[part] for part in parts]
        return [list(self.unpacked(row, f"{name}.")) for row in rows]

    def block(self, where: str, name: str, part: Any, rest: Sequence[Any]) -> Layer:
        """Branches of one input. Those that are added must end in one order, of which x has one already."""
        kind, rows = self.blocks[type(part)], self.rows_of(name, part)
        if changing := [str(inside) for inside in part.modules() if getattr(inside, "inplace", False)]:
            why = "changes the x that others in the block are given, too; inplace=False has a counterpart"
            raise ArgumentError(f"{where}: {changing[0]} {why}.")
        if not all(rows):
            raise ArgumentError(f"{where}: a branch with nothing in it has no counterpart here.")

        def make(asked: Order) -> list[tuple[Any, Order]]:
            made = []
            for row in rows:
                reader = _Reader(self.nn, self.shape, self.parameters)
                reader.order = self.order
                reader.row(row, () if kind is Concat else (Asked(asked),))
                made.append((reader, reader.order))
            return made

        if kind is Concat:
            made = make(None)
            readers, orders = [reader for reader, _ in made], [order for _, order in made]
            mixed = any(order is not None for order in orders)  # then their shapes are known
            order = joined(orders, [reader.shape[-1] for reader in readers]) if mixed else None
        else:
            found = agreed(make, self.order if kind is Residual else self.order_wanted(rest))
            if found is None or (kind is Residual and not same(found[1], self.order)):
                raise ArgumentError(f"{where}: what it adds would be numbers in several orders.")
            readers, order = found
        self.order = order
        if kind is Residual:
            return Residual(*readers[0].layers)
        return kind(*(Sequential(*reader.layers) for reader in readers))
