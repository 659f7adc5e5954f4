"""A network as a table, and a game as those of its two players: as text, and in HTML for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from .base import Shape, show_shape


class Summarised:
    """The half of a network that shows itself."""

    _in_a_row = True  # each layer is given what the one before it makes; else all are given the same

    def summary(self: Any, input_shape: Shape | None = None) -> str:
        """A table of the layers, their output shapes and parameter counts.

        Parameters
        ----------
        input_shape : of one sample, such as (28, 28, 1); needed only if the first layer's sizes do not fix it.
        """
        rows = _rows(self, input_shape)
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _repr_html_(self) -> str:
        return _html(self, type(self).__name__)


class SideBySide:
    """The half of a GAN that shows itself."""

    def __repr__(self: Any) -> str:
        sizes = f"{self.generator.size:,} and {self.discriminator.size:,} parameters"
        return f"{type(self).__name__}({sizes}, {self.loss!r}, t={self.t})"

    def _repr_html_(self: Any) -> str:
        game = " + ".join(repr(part) for part in (self.loss, *self.penalties))
        said = f"{type(self).__name__}, {self.t:,} steps taken: {game}, z of {self.noise_dim} numbers"
        said += f", {self.d_steps} steps of D for one of G" if self.d_steps > 1 else ""
        said += f", samples of {self.average!r}" if self.average else ""
        G = _html(self.generator, f"generator, {self.g_optimizer!r}", (self.noise_dim,))
        D = _html(self.discriminator, f"discriminator, {self.d_optimizer!r}", self.sample_shape)
        row = '<div style="display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start">'
        return f"<div>\n<p>{escape(said)}</p>\n{row}\n{G}\n{D}\n</div>\n</div>"


def _rows(network: Any, shape: Shape | None) -> list[tuple[str, str, str]]:
    """What each layer is, the shape that it gives, and how many parameters it has; first the head, last the total."""
    shape = network.input_shape if shape is None else shape
    rows = [("layer", "output", "parameters")]
    for i, layer in enumerate(network.layers):
        given = layer.input_shape if shape is None else shape
        made = None if given is None else layer.output_shape(given)
        rows.append((f"{i}  {layer!r}", "?" if made is None else show_shape(made), f"{layer.size:,}"))
        shape = made if network._in_a_row else shape
    return [*rows, ("total", "", f"{network.size:,}")]


def _html(network: Any, caption: str, shape: Shape | None = None) -> str:
    """The same as a table of HTML, in the colours of whatever shows it."""
    rows = _rows(network, shape)
    sides = 'style="text-align: left"', 'style="text-align: left"', 'style="text-align: right"'
    lines = ["<table>", f"<caption>{escape(caption)}</caption>"]
    for row in rows:
        kind = "th" if row in (rows[0], rows[-1]) else "td"
        cells = (f"<{kind} {side}>{escape(text)}</{kind}>" for text, side in zip(row, sides, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])
