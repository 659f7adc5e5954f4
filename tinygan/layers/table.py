"""A network as a table."""

from __future__ import annotations

from typing import Any

from .base import Shape, show_shape


class Summarised:
    """The half of a network that shows itself."""

    def summary(self: Any, input_shape: Shape | None = None) -> str:
        """A table of the layers, their output shapes and parameter counts.

        Parameters
        ----------
        input_shape : of one sample, such as (28, 28, 1); needed only if the first layer's sizes do not fix it.
        """
        shape = self.input_shape if input_shape is None else input_shape
        rows = [("layer", "output", "parameters")]
        for i, layer in enumerate(self.layers):
            shape = layer.input_shape if shape is None else shape
            shape = None if shape is None else layer.output_shape(shape)
            rows.append((f"{i}  {layer!r}", "?" if shape is None else show_shape(shape), f"{layer.size:,}"))
        rows.append(("total", "", f"{self.size:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
