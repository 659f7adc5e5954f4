"""What a run shows while it goes on: a bar on stderr, or plain lines where stderr is no terminal."""

from __future__ import annotations

import time
from typing import Any

from ..parallel.console import console, say

BESIDE = 42  # columns for the speed, the time left, and a bar in which one sees something
LINE_EVERY = 15.0  # seconds between two lines of progress where there is no terminal


class Progress:
    """The progress from step ``t`` to step ``last``, of ``rows`` real images each."""

    def __init__(self, t: int, last: int, *, rows: int, per_epoch: int, shown: bool) -> None:
        self.first, self.t, self.last, self.rows, self.per_epoch, self.shown = t, t, last, rows, per_epoch, shown
        self.epochs = -(-last // per_epoch)
        self.began = self.told = time.monotonic()
        self.bar = None
        if shown and console("stderr").isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=last * rows,
                initial=t * rows,
                file=console("stderr"),
                unit=" images",
                unit_scale=True,
                dynamic_ncols=True,
                bar_format="{desc} |{bar}| {rate_fmt}, {remaining} left",
            )

    def __enter__(self) -> Progress:
        return self

    def show(self, t: int, losses: Any) -> None:
        """Show that step t is done, and the losses (D's, G's, ...) that it had."""
        epoch = (t - 1) // self.per_epoch + 1
        step = f"step {t}/{self.last}  D {losses[0]:.3f}  G {losses[1]:.3f}"
        text = f"epoch {epoch}/{self.epochs}  {step}"
        now = time.monotonic()
        if self.bar is not None:
            fits = self.bar.ncols is None or self.bar.ncols >= len(text) + BESIDE
            self.bar.set_description_str(text if fits else step, refresh=False)
            self.bar.update((t - self.t) * self.rows)
        elif now - self.told >= LINE_EVERY or t == self.last:
            speed = (t - self.first) * self.rows / max(now - self.began, 1e-9)
            left = (self.last - t) * self.rows / speed
            self.say(f"{text}  {speed:,.0f} images/s  {left // 60:.0f}:{left % 60:02.0f} left")
            self.told = now
        self.t = t

    def say(self, text: str) -> None:
        """Write a line, if anything is shown at all."""
        if self.shown:
            say(text, to="stderr")

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
