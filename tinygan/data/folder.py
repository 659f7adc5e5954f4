"""A folder of pictures as one data set: read once, kept as one array file, opened in no time ever after.

    data = load_folder("~/photos/cats", size=64)      # decodes, crops and shrinks every picture beneath
    data = load_folder("~/photos/cats", size=64)      # opens the array file that the first call left

The array file is memory-mapped: only the batches that training asks for are read, so it may be larger than memory. It
holds for as long as the names, sizes and times of the pictures do, and is made anew when any of them changes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ..checkpoints import as_path
from ..errors import DataError, positive_int
from ..layers.starting import flag, one_of
from .dataset import ImageData, darkness
from .files import kind_of, printable, whole_path
from .kinds import LOOKS, NOT_READ, SUFFIXES, begins_like_a_picture
from .pictures import MAX_PIXELS, Form
from .store import decode, digest, opened_or_made, place

SHOWN = 5  #: file names in a description; the others stand in the .json file of the cache
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}  #: parts of a data set
MARK = ".tinygan"  #: a file that says: in this folder is what tinygan has drawn
RUN_FILES = ({MARK}, {"checkpoint.safetensors"}, {"config.json", "losses.csv"})  #: each tells the folder of a run
DRAWN = re.compile(r"(samples|real|losses|metrics)\.png|film\.gif|samples/step_\d+\.png")  #: by a run, in its folder


def load_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 64,
    channels: int | None = None,
    fit: str = "crop",
    background: int | tuple[int, int, int] = 255,
    mirror: bool = False,
    cache: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: bool = True,
) -> ImageData:
    """Return all pictures in a folder and the folders in it, brought to one shape, in the order of their names.

    PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF, PPM, JPEG 2000, TGA, PCX, SGI and QOI of any size and kind, whatever they are
    called; of an animation or several pages, the first. Files and folders whose names begin with a dot are passed over.
    A picture that cannot be read is left out; ``description`` counts such ones and says why. What training runs have
    drawn is never data: their folders are passed over, and said; if ``path`` itself is the folder of a run, it is the
    run's own pictures that are.

    If the pictures lie in two or more folders within ``path``, and none beside these, the names of the folders are the
    ``classes`` and give the labels; folders within these make no difference, and a folder that holds all others is
    passed through, as are train, test and the like where all are called so. ``description`` says which folders they
    are, or why there are no labels.

    Parameters
    ----------
    size, channels, fit, background : see :class:`tinygan.data.pictures.Form`; with ``channels=None`` the images are
        grey if every picture holds only grey, whatever its kind, else colour.
    mirror : add the mirror image of every picture, see :class:`ImageData`.
    cache : folder for the array file, N · H · W · C bytes; by default in the user's cache directory.
    max_pixels : the largest picture that is decoded; a pixel takes four bytes of memory, or eight if it is transparent.
    progress : show a bar on stderr if that is a terminal.

    Returns
    -------
    ImageData whose ``images`` (N, H, W, C) are a read-only memory map.

    Raises
    ------
    DataError
        There is no such folder, no picture in it or none that can be read, or the cache cannot be written.
    ArgumentError
        A setting has no meaning.
    """
    folder, mirror = as_path(path, "load_folder"), flag(mirror, "mirror")
    if (what := kind_of(folder)) == "file":
        raise DataError(f"{folder}: this is a file; give the folder that holds the pictures.")
    if what is None:
        raise DataError(f"{folder}: there is no such folder; check the path.")
    max_pixels = positive_int(max_pixels, "max_pixels")
    if channels is not None:
        channels = one_of(channels, "channels: expected 1 for grey or 3 for colour", (1, 3))
    form = Form(size, 3 if channels is None else channels, fit, background)
    listing = list_pictures(folder)
    if not listing.pictures:
        raise DataError(_nothing_found(folder, listing))
    settings = {**asdict(form), "channels": channels, "max_pixels": max_pixels}
    store = place(folder, settings, cache)
    fingerprint = digest([settings, listing.pictures])
    names = [name for name, *_ in listing.pictures]
    write = partial(
        decode,
        folder=folder,
        names=names,
        form=form,
        grey_if_all_are=channels is None,
        max_pixels=max_pixels,
        bar=progress,
    )
    images, about, wrong = opened_or_made(store, fingerprint, write)
    skipped = {**listing.unreadable, **dict(about["skipped"])}
    if images is None:
        raise DataError(f"{folder}: no picture in it can be read: {_with_reasons(skipped)}.")
    labels, classes, said = _labels([name for name in names if name not in skipped])
    kind = "grey" if images.shape[-1] == 1 else "colour"
    text = f"{len(images):,} {kind} images of {form.shape[0]}x{form.shape[1]} made of the pictures in {folder}"
    text += f"; {said}{darkness(images)}"
    if about["frames"]:
        text += f"; of {about['frames']:,} with several frames or pages only the first is there"
    if about["enlarged"]:
        text += f"; {about['enlarged']:,} were smaller and had to be enlarged"
    if listing.runs:
        text += f"; left out what training runs have written: {_some(listing.runs)}"
    if skipped:
        text += f"; {len(skipped):,} could not be read: {_with_reasons(skipped)}"
    if wrong:
        text += f"; made again, since the cache was not whole: {wrong}"
    data = ImageData(images, labels, whole_path(folder).name or "images", text, classes)
    return data.with_mirror_images() if mirror else data


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes
    ----------
    pictures : (name relative to the folder, bytes, time of the last change in ns), in the order of the names.
    unreadable : names of files and folders that cannot be looked at, and why.
    others : one of the other files, if there are any.
    runs : names of the folders, and of the pictures, that belong to training runs.
    """

    pictures: list[tuple[str, int, int]]
    unreadable: dict[str, str]
    others: str | None
    runs: list[str]


def list_pictures(folder: Path) -> Listing:
    """List everything in ``folder`` that is called like a picture. Links are followed; no folder is visited twice."""
    pictures, unreadable, others, runs = [], {}, None, []
    is_drawn = _drawn_by_runs(folder)
    seen: set[tuple[int, int]] = set()
    todo = [folder]
    while todo:
        current = todo.pop()
        prefix = "" if current == folder else f"{current.relative_to(folder).as_posix()}/"
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to where we have been
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            unreadable[prefix.rstrip("/") or "."] = error.strerror or str(error)
            continue
        if current != folder and is_run(current):
            runs.append(prefix.rstrip("/"))
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name, called_picture = prefix + entry.name, entry.name.lower().endswith(LOOKS)
            try:
                if entry.is_dir():
                    folders.append(current / entry.name)
                elif not called_picture and not (entry.is_file() and begins_like_a_picture(entry.path)):
                    others = others or name
                elif is_drawn(name):
                    runs.append(name)
                elif not stat.S_ISREG((status := entry.stat()).st_mode):
                    unreadable[name] = "no regular file"
                elif status.st_size == 0:
                    unreadable[name] = "an empty file"
                elif entry.name.lower().endswith(NOT_READ) and not begins_like_a_picture(entry.path, surely=True):
                    unreadable[name] = "not a kind that is read: save it as PNG or JPEG"
                else:
                    pictures.append((name, status.st_size, status.st_mtime_ns))
            except OSError as error:  # a link to nowhere or to itself
                if called_picture:
                    unreadable[name] = error.strerror or str(error)
        todo.extend(reversed(folders))
    return Listing(sorted(pictures, key=lambda p: PurePosixPath(p[0]).parts), unreadable, others, sorted(runs))


def is_run(folder: Path) -> bool:
    """Whether a training run, or an example, has made this folder for what it draws."""
    return any(all(os.path.exists(folder / name) for name in names) for names in RUN_FILES)


def _drawn_by_runs(folder: Path) -> Callable[[str], bool]:
    """Tell what a run has drawn among the pictures of ``folder``, which may be its folder, or samples/ in that."""
    whole = whole_path(folder)
    if is_run(whole):
        return lambda name: bool(DRAWN.fullmatch(name))
    if is_run(whole.parent):
        return lambda name: bool(DRAWN.fullmatch(f"{whole.name}/{name}"))
    return lambda name: False


def _nothing_found(folder: Path, listing: Listing) -> str:
    if "." in listing.unreadable:
        return f"{folder}: this folder cannot be read ({listing.unreadable['.']}); see who may read it."
    if listing.unreadable:
        return f"{folder}: no picture in it can be read: {_with_reasons(listing.unreadable)}."
    if listing.runs:
        return (
            f"{folder}: the only pictures in it are those that training runs have drawn, which are never data: "
            f"{_some(listing.runs)}. Give the folder that holds the pictures."
        )
    what = "it is empty" if listing.others is None else f"found other files, such as {printable(listing.others)}"
    return (
        f"{folder}: expected pictures ({', '.join(SUFFIXES)}) in this folder or folders in it, but {what}; "
        "check the path, or convert or unpack the files."
    )


def _labels(names: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...], str]:
    """Return the number of each picture's class, the classes, and what is to be said of them.

    The classes are the topmost folders that tell pictures apart: a folder that all of them lie in is passed through,
    and so are folders that are all called as the parts of a data set are.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    folders, parts = _without_splits(folders)
    shared = len(os.path.commonprefix(folders))  # noqa: RUF071 (of tuples, folder by folder)
    tops = ["".join(above[shared : shared + 1]) for above in folders]
    classes = tuple(sorted(set(tops) - {""}))
    where = f" in each of {_some(parts)}, which name parts of a data set" if parts else ""
    if not classes:
        return None, (), f"no labels: all pictures lie in one folder{where}"
    if "" in tops:
        loose = names[tops.index("")]
        count = f"{tops.count(''):,} of the pictures, such as {printable(loose)},"
        return None, (), f"no labels: {count} lie beside the folders{where}"
    number = {top: k for k, top in enumerate(classes)}
    return np.array([number[top] for top in tops]), classes, f"labels: the folders {_some(classes)}{where}"


def _without_splits(folders: list[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Leave out the level on which all folders are called train, test or the like; return their names, too."""
    shared = len(os.path.commonprefix(folders))  # noqa: RUF071
    tops = {"".join(above[shared : shared + 1]) for above in folders}
    if not (len(tops) > 1 and all(top.lower() in SPLITS for top in tops)):
        return folders, []
    return [above[:shared] + above[shared + 1 :] for above in folders], sorted(tops)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name) for name in names[:SHOWN]) + more


def _with_reasons(skipped: dict[str, str]) -> str:
    return _some([f"{name} ({why})" for name, why in sorted(skipped.items())])
