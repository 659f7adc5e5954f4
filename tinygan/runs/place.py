"""Where a run's files are, also when the program goes to work in another folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..errors import ArgumentError
from .record import BEST, CHECKPOINT


class Place:
    """The folder of a run, and the names of its files in it.

    All begin with the ``folder`` as it was given, which is what people are shown; and with the whole path to it once a
    relative one would lead elsewhere, since the program has changed the folder that it works in.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._given, self._whole = folder, folder.absolute()
        except OSError as error:
            raise ArgumentError(
                f"{folder}: the folder that the program works in is gone ({error.strerror or error}). Give the whole "
                "path (--out, out=...), or start elsewhere."
            ) from error

    @property
    def folder(self) -> Path:
        with suppress(OSError):  # the folder that the program works in may be gone
            if self._given.absolute() == self._whole:
                return self._given
        return self._whole

    checkpoint = property(lambda self: self.folder / CHECKPOINT)
    csv = property(lambda self: self.folder / "losses.csv")
    curves = property(lambda self: self.folder / "losses.png")
    film = property(lambda self: self.folder / "film.gif")
    picture = property(lambda self: self.folder / "samples.png")
    real = property(lambda self: self.folder / "real.png")
    frames = property(lambda self: self.folder / "samples")
    config = property(lambda self: self.folder / "config.json")
    scores = property(lambda self: self.folder / "metrics.csv")
    score_curves = property(lambda self: self.folder / "metrics.png")
    best = property(lambda self: self.folder / BEST)

    def files(self) -> list[Path]:
        """All that a run writes, the checkpoint first."""
        files = [self.checkpoint, self.config, self.csv, self.curves, self.picture, self.real, self.film]
        return [*files, self.scores, self.score_curves, self.best, *self.pictures()]

    def pictures(self) -> list[Path]:
        """Those of the way, in the order of their steps."""
        return sorted((f for f in self.frames.glob("step_*.png") if f.stem[5:].isdecimal()), key=step_in)


def step_in(picture: Path) -> int:
    """500 of samples/step_000500.png."""
    return int(picture.stem.removeprefix("step_"))
