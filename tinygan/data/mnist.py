"""Finding MNIST and Fashion-MNIST: in a folder, in the cache, or on the network."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import as_path
from ..errors import DataError
from .dataset import ImageData
from .files import cache_folder, kind_of, names_in, open_file
from .idx import read_idx

FOLDER_VARIABLE = "TINYGAN_DATA"  #: environment variable that names a folder of IDX files
CONNECT_SECONDS = 2.0  #: how long to wait for a server to answer the call
STALL_SECONDS = 3.0  #: how long to wait for the next bytes
PATIENCE_SECONDS = 4.5  #: for a mirror to answer in; after so long without success no further mirror is tried
SLOWEST = 20_000  #: bytes per second from then on, on average; less is a trickle, and cut off
LARGEST = 64 * 2**20  #: bytes; none of the files is half as large


@dataclass(frozen=True)
class Source:
    """A public data set of four gzipped IDX files.

    Attributes
    ----------
    title : its name in sentences.
    mirrors : where the files lie, tried in turn.
    sha256 : checksum of each file.
    """

    title: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


SOURCES: dict[str, Source] = {
    "mnist": Source(
        "MNIST",
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        {
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        },
    ),
    "fashion": Source(
        "Fashion-MNIST",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        {
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        },
    ),
}

_PREFIX = {"train": "train", "test": "t10k"}


class Unavailable(DataError):
    """The data is neither in a folder nor in the cache, and could not be fetched; ``brief`` says so in few words."""

    def __init__(self, message: str, *, brief: str) -> None:
        super().__init__(message)
        self.brief = brief


def load_public(name: str, split: str, cache: str | os.PathLike[str] | None) -> ImageData:
    """Load a data set of SOURCES from the first place that has it."""
    source = SOURCES[name]
    if (folder := _folder_of_user(name)) is not None:
        return load_idx_folder(folder, split, name=name, title=source.title, classes=10)
    wanted = [file for file in source.sha256 if file.startswith(_PREFIX[split])]
    try:
        folder = cache_folder(cache) / name
    except DataError as error:
        raise Unavailable(str(error), brief=str(error).rstrip(".")) from error
    labels, images = (_fetch(file, source, folder) for file in wanted)
    return _read_pair(images, labels, name=name, description=f"{source.title}, {split} set, from {folder}", classes=10)


def where_found(name: str, cache: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder in which a data set of SOURCES is found without fetching it, or None; nothing in it is opened."""
    folder = _folder_of_user(name) or cache_folder(cache) / name
    return folder if kind_of(folder) == "folder" and holds_idx(folder) else None


def _folder_of_user(name: str) -> Path | None:
    """Return the folder that TINYGAN_DATA names for this data set, if it names one."""
    value = os.environ.get(FOLDER_VARIABLE)
    if not value:
        return None
    folder = as_path(value)
    if kind_of(folder) != "folder":
        raise DataError(f"{FOLDER_VARIABLE}={value}: there is no such folder; correct the variable or unset it.")
    if kind_of(folder / name) == "folder":
        return folder / name
    return folder if name == "mnist" else None


def _fetch(file: str, source: Source, folder: Path) -> Path:
    """Return the path of ``file`` in the cache, with the right checksum, fetching it if need be.

    Pooch writes under a temporary name and renames when the checksum is right: the cache never holds half a file.
    """
    import pooch

    path = folder / file
    known = f"sha256:{source.sha256[file]}"
    state = "not in"
    if kind_of(path):
        with open_file(path) as stored:
            if hashlib.file_digest(stored, "sha256").hexdigest() == source.sha256[file]:
                return path
        state = "damaged in"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    failures = []
    started = time.monotonic()
    try:
        for mirror in source.mirrors:
            try:
                return Path(pooch.retrieve(mirror + file, known, fname=file, path=folder, downloader=_download))
            except Exception as error:  # whatever goes wrong at one mirror, the next may do
                failures.append(f"{mirror} ({_brief(error)})")
            if time.monotonic() - started > PATIENCE_SECONDS:
                break
    finally:
        logger.setLevel(level)
    raise Unavailable(
        f"{file} is {state} the cache {folder} and could not be fetched from {'; '.join(failures)}. "
        f"Put the four files of {source.title} into a folder and give its path as data, "
        f"or name the folder {folder.name} and set {FOLDER_VARIABLE} to the one above it.",
        brief=f"{source.title} is {state} {folder} and could not be fetched (load({folder.name!r}) tells more)",
    )


class _Received(io.BytesIO):
    """What has come of a file so far: no more than LARGEST bytes."""

    def write(self, chunk: Any) -> int:
        if self.tell() + len(chunk) > LARGEST:
            raise DataError(f"more than {LARGEST:,} bytes came")
        return super().write(chunk)


def _download(url: str, path: str, pooch: Any) -> None:
    """Fetch a file for pooch, in PATIENCE_SECONDS and one more for every SLOWEST bytes of it that come.

    That counts from the question for the address on, with all redirects and headers. As nothing ends a read that gets a
    byte now and then, or the question for an address, a thread of its own waits for them, and is left alone when the
    time is up: it ends with the connection or with the program, and what it still receives is thrown away.
    """
    from pooch import HTTPDownloader

    received, failures, replies = _Received(), [], []

    def work() -> None:
        options = {"timeout": (CONNECT_SECONDS, STALL_SECONDS), "hooks": {"response": lambda r, **_: replies.append(r)}}
        try:
            HTTPDownloader(**options)(url, received, pooch)
        except Exception as error:
            failures.append(error)
        finally:
            for reply in replies:  # else the connection of one that failed stays open
                reply.close()

    started = time.monotonic()
    thread = threading.Thread(target=work, name="tinygan fetches", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.02)
        came, seconds = len(received.getbuffer()), time.monotonic() - started
        if thread.is_alive() and seconds > PATIENCE_SECONDS + came / SLOWEST:
            received.close()  # its next write fails
            raise DataError(f"only {came:,} bytes came in {seconds:.1f} seconds")
    if failures:
        raise failures[0]
    Path(path).write_bytes(received.getvalue())


def _brief(error: Exception) -> str:
    """The kind of an error and the start of its message; those of network libraries run on."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}{'...' if len(text) > 80 else ''}"


def holds_idx(folder: Path) -> bool:
    """Whether any of MNIST's file names occurs in a folder, of either split."""
    stems = [(f"{prefix}-{kind}", n) for prefix in _PREFIX.values() for kind, n in (("images", 3), ("labels", 1))]
    return not names_in(folder).isdisjoint(name for stem, n in stems for name in _names(stem, n))


def load_idx_folder(folder: Path, split: str, *, name: str, title: str, classes: int | None = None) -> ImageData:
    """Load the images, and the labels if there are any, of one split from a folder."""
    images = _find(folder, _names(f"{_PREFIX[split]}-images", 3))
    if images is None:
        raise DataError(
            f"{folder}: expected {_PREFIX[split]}-images-idx3-ubyte or the same with .gz, found no such file; "
            "give the folder that holds the IDX files, or one IDX file by its path."
        )
    labels = _find(folder, _names(f"{_PREFIX[split]}-labels", 1))
    return _read_pair(images, labels, name=name, description=f"{title}, {split} set, from {folder}", classes=classes)


def load_idx_file(path: Path) -> ImageData:
    """Load one file of images, and the labels that lie beside it under the matching name."""
    beside = path.name.replace("images", "labels").replace("idx3", "idx1")
    stem = beside.removesuffix(".gz")
    labels = _find(path.parent, (beside, stem, f"{stem}.gz")) if beside != path.name else None
    name = path.name.split(".")[0].split("-")[0]
    return _read_pair(path, labels, name=name, description=f"images from {path}", classes=None)


def _names(stem: str, ndim: int) -> tuple[str, ...]:
    """How the files are called where people find them: both separators, packed or not."""
    return tuple(f"{stem}{dot}idx{ndim}-ubyte{gz}" for dot in "-." for gz in ("", ".gz"))


def _find(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if kind_of(folder / name) == "file"), None)


def _read_pair(
    images_path: Path, labels_path: Path | None, *, name: str, description: str, classes: int | None
) -> ImageData:
    """Read both files and check that they belong together."""
    images = read_idx(images_path, ndim=3)[..., None]  # (N, H, W, 1)
    labels = None if labels_path is None else read_idx(labels_path, ndim=1)
    if labels is not None and len(labels) != len(images):
        raise DataError(
            f"{labels_path}: expected {len(images):,} labels, one per image of {images_path.name}, "
            f"got {len(labels):,}; the two files belong to different sets."
        )
    if labels is not None and classes is not None and labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise DataError(
            f"{labels_path}: expected labels 0 to {classes - 1}, got {labels[first]} at position {first}; "
            "these are the labels of another set, or damaged."
        )
    why = "; no labels: no file of them lies beside it" if labels is None else ""
    return ImageData(images, labels, name, f"{len(images):,} images: {description}{why}")
