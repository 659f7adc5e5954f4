"""Damaged and made-up files by the thousand: whatever tinygan reads is refused in words, or is what it was.

    python benchmarks/fuzz.py --files 10000
    python benchmarks/fuzz.py --kinds checkpoint cache --seed 7
    python benchmarks/fuzz.py --only checkpoint:417 --keep odd/        one file again, kept, with its traceback

Six kinds of files are changed, by bytes and by their structure (what JSON says, shapes, headers), half of those with a
checksum that is right again, as a stranger would write it: saved networks; the folders of runs, which are loaded,
resumed, and asked for their flags; IDX files; arrays of NumPy; folders of pictures; and the cache of such a folder.

A file may be refused by one of tinygan's errors, which names it, or be accepted. Accepted with other contents than it
had is a fault wherever a checksum or a record could have told. Faults are any other error, more than 10 seconds, more
than 1 GB of memory, and the end of the process. Each file is drawn from the seed, its kind and its number alone, and
read in one of several processes, which are replaced when they end or hang. The exit code is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import GAN, Sequential, checkpoints, load_trained, models, train
from tinygan.data import ImageData, load
from tinygan.errors import TinyGANError
from tinygan.layers import BatchNorm, Dense, Dropout, SpectralNorm, Tanh
from tinygan.parallel.console import forgiving_streams
from tinygan.runs import Run
from tinygan.runs.commandline import Recipe, parse

SECONDS, BYTES = 10.0, 1 << 30  # what a file may take
Draw = np.random.Generator
Read = Callable[[], None]  # reads a file that was made, and raises Accepted where it should have been refused


class Accepted(AssertionError):
    """A file was accepted although something in it could have told that it is damaged."""


# ---- how files are changed -------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    0.5,
    1e999,
    -1e999,
    2**31,
    2**63,
    2**64,
    10**400,
    "",
    "x" * 5000,
    "\ud800",
]
ODD += [[], {}, [[]], [None], {"a": {}}, "Tanh()", "Dense(4, 8)", "Sequential(Tanh())", "Dense(1000000000, 8)"]
ODD += ["(" * 150, "../../x", "a\0b", float("nan"), [1, 2], [-1.0, 1.0], "PCG64", "MT19937"]


def by_bytes(draw: Draw, whole: bytes) -> bytes:
    """Flip bits, cut, leave out, double, write over, or put in: once to four times."""
    data = bytearray(whole)
    for _ in range(draw.integers(1, 5)):
        a, b = sorted(draw.integers(0, len(data) + 1, 2))
        b = min(b, a + int(2 ** draw.uniform(0, 12)))
        how = draw.integers(7)
        if how == 0:
            del data[a:b]
        elif how == 1:
            data[a:a] = data[a:b]
        elif how == 2:
            data[a:b] = bytes(draw.choice([0, 255, 91, 34, 48])) * (b - a) or bytes(b - a)
        elif how == 3:
            data[a:a] = draw.bytes(b - a)
        elif how == 4:
            del data[a:]
        else:
            for place in draw.integers(0, max(1, len(data)), 1 + draw.integers(4)):
                if place < len(data):
                    data[place] ^= 1 << int(draw.integers(8))
    return bytes(data)


def odd_json(draw: Draw, value: Any) -> Any:
    """The same with one entry that is odd, left out, put in, or nested without end."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.85:
        key = list(value)[draw.integers(len(value))] if isinstance(value, dict) else int(draw.integers(len(value)))
        new = value.copy()
        how = draw.random()
        if how < 0.1:
            del new[key]
        elif how < 0.15 and isinstance(new, list):
            new *= int(draw.choice([2, 100, 10_000]))
        elif how < 0.2 and isinstance(new, dict):
            new["x"] = odd_json(draw, value[key])
        else:
            new[key] = odd_json(draw, value[key])
        return new
    if draw.random() < 0.1:
        for _ in range(int(draw.choice([20, 40, 300]))):
            value = [value]
        return value
    if isinstance(value, int) and draw.random() < 0.5:
        return value + int(draw.integers(-3, 4))
    return ODD[draw.integers(len(ODD))]


def odd_array(draw: Draw, array: np.ndarray) -> np.ndarray:
    """The same with a number that is none, or of another shape or kind."""
    how = draw.integers(5)
    if how == 0:
        return array.astype(draw.choice(["f2", "f4", "f8", "i1", "u8", "?"]))
    if how == 1:
        return array.reshape(-1)[: draw.integers(array.size + 1)]
    if how == 2:
        return np.resize(array, (*array.shape, 2))
    array = array.copy()
    with np.errstate(all="ignore"):
        odd = np.array([np.nan, np.inf, -1.0, 0.0, 1e38])
        array.reshape(-1)[draw.integers(max(1, array.size)) :][:1] = draw.choice(odd).astype(array.dtype)
    return array


# ---- the kinds -------------------------------------------------------------------------------------------------------


def small_data() -> ImageData:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1), dtype=np.uint8)
    return ImageData(images, name="small")


def small_gan() -> GAN:
    return GAN(*models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), rng=0), noise_dim=4, average=0.9)


def odd_checkpoint(draw: Draw, path: Path) -> bool:
    """Change a file of :mod:`tinygan.checkpoints` in place; return whether its checksum is one that fits."""
    if draw.random() < 0.4:
        path.write_bytes(by_bytes(draw, path.read_bytes()))
        return False
    arrays, about = checkpoints.read(path)
    right = draw.random() < 0.6
    if draw.random() < 0.35:
        key = list(arrays)[draw.integers(len(arrays))]
        if draw.random() < 0.15:
            del arrays[key]
        else:
            arrays[key] = odd_array(draw, arrays[key])
    else:
        about = odd_json(draw, about)
    from safetensors.numpy import save

    label = {"format": "2", "about": about, "crc32": 1}
    if right:
        label["crc32"] = checkpoints._checksum(arrays, about)
    if draw.random() < 0.1:
        label = odd_json(draw, label)
    text = json.dumps(label, sort_keys=True)
    if draw.random() < 0.05:  # deeper than Python would write it
        text = text.replace('"', "[" * int(draw.choice([500, 5_000, 500_000])) + '"', int(draw.integers(1, 3)))
    path.write_bytes(save(arrays, metadata={"tinygan": text}))
    return right


class Checkpoint:
    """A saved network, which is loaded into one like it."""

    def __init__(self, folder: Path) -> None:
        self.whole, self.path = self.network().save(folder / "whole") or folder / "whole", folder / "odd.safetensors"
        self.expected = self.network().state_arrays()

    def network(self) -> Sequential:
        inside = Sequential(BatchNorm(4), Dropout(0.5, rng=3), Tanh())
        return Sequential(Dense(3, 4, rng=1), inside, SpectralNorm(Dense(4, 2, rng=2), rng=4))

    def make(self, draw: Draw) -> Read:
        shutil.copy(self.whole, self.path)
        right = odd_checkpoint(draw, self.path)

        def read() -> None:
            network = self.network().load(self.path)
            if not right and not same(network.state_arrays(), self.expected):
                raise Accepted("other weights under a wrong checksum")
            network(np.ones((2, 3), np.float32))
            require_finite(network)

        return read


class RunFolder:
    """The folder of a run, which is loaded, asked for its flags, and resumed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder / "odd", folder / "odd"
        recipe = {"batch_size": 4, "seed": 0, "loss": "nonsaturating", "lr": 1e-3, "data": "digits", "mirror": False}
        options = {"steps": 3, "batch_size": 4, "sample_every": 2, "progress": False}
        self.whole = train(small_gan(), small_data(), out=folder / "whole", settings=recipe, **options)
        self.files = [path.relative_to(self.whole) for path in sorted(self.whole.rglob("*")) if path.is_file()]
        self.contents = {name: (self.whole / name).read_bytes() for name in self.files}
        self.expected = checkpoints.read(self.whole / "checkpoint.safetensors")

    def make(self, draw: Draw) -> Read:
        for name, content in self.contents.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)
        if others := draw.random() < 0.1:  # files beside the checkpoint, which are made again from it
            for name in draw.choice(len(self.files), 2):
                path = self.folder / self.files[name]
                if path.suffix in (".csv", ".json"):
                    path.write_bytes(by_bytes(draw, path.read_bytes()))
            right = False
        else:
            right = odd_checkpoint(draw, self.folder / "checkpoint.safetensors")
        how = 2 if others else draw.integers(3)

        def read() -> None:
            if how == 0:
                run = load_trained(self.folder)
                run.generator(run.noise(2))
                require_finite(run.generator, run.discriminator)
            elif how == 1:
                flags = parse(
                    "A GAN.", Recipe(name="x", steps=1, lr=1e-3), argv=["--resume", "--out", str(self.folder)]
                )
                if flags.out != self.folder or flags.cache is not None:
                    raise Accepted("a file that decides where others go")
            else:
                gan = small_gan()
                Run(self.folder, gan, small_data(), batch_size=4, seed=0, settings={}).resume(3)
                require_finite(gan.generator, gan.discriminator, gan.average.network, gan.g_optimizer, gan.d_optimizer)
                gan.step(small_data().batch(np.arange(4)))
            if not right:
                arrays, about = checkpoints.read(self.folder / "checkpoint.safetensors")
                if about != self.expected[1] or not same(arrays, self.expected[0]):
                    raise Accepted("another record under a wrong checksum")

        return read


class Idx:
    """A file of images in MNIST's format, plain or in gzip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images = np.random.default_rng(1).integers(0, 256, (5, 7, 6), dtype=np.uint8)
        self.whole = b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes()

    def make(self, draw: Draw) -> Read:
        packed = draw.random() < 0.5
        data = bytearray(self.whole)
        if draw.random() < 0.5:
            place = 4 * draw.integers(4)
            data[place : place + 4] = draw.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", draw.bytes(4)])
        data = gzip.compress(bytes(data), mtime=0) if packed else bytes(data)
        data = by_bytes(draw, data) if draw.random() < 0.7 else data
        self.path = self.folder / ("x-images-idx3-ubyte" + (".gz" if packed else ""))
        self.path.write_bytes(data)

        def read() -> None:
            images = load(self.path).images
            plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data  # which holds gzip's checksum against it
            if plain[16:] != images.tobytes() or tuple(np.frombuffer(plain[4:16], ">u4")) != images.shape[:3]:
                raise Accepted("images that are not those of the file")

        return read


class Arrays:
    """A .npy file of images, or a .npz file with their labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = np.random.default_rng(2).integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)

    def make(self, draw: Draw) -> Read:
        images, file = self.images, io.BytesIO()
        if draw.random() < 0.4:
            images = images.astype(draw.choice(["f2", "f4", "f8", "i4", "u2", "?", "c8", "O", "U2", "M8[s]"]))
            if images.dtype.kind == "f" and draw.random() < 0.7:
                images = odd_array(draw, images / images.dtype.type(255))
        elif draw.random() < 0.3:
            images = odd_array(draw, images)
        if packed := draw.random() < 0.6:
            write = np.savez if draw.random() < 0.5 else np.savez_compressed
            labels = draw.choice([0, 1]) * np.arange(6)
            write(file, **{str(draw.choice(["images", "x"])): images}, labels=odd_array(draw, labels))
        else:
            np.save(file, images)
        data = file.getvalue()
        if draw.random() < 0.6:
            data = by_bytes(draw, data)
        elif draw.random() < 0.5 and not packed:
            data = data.replace(
                b"(6, 5", draw.choice([b"(-6, 5", b"(9**9, 5", b"(6000000000000, 5", b"[" * 99, b"(0,"])
            )
        self.path = self.folder / ("x.npz" if packed else "x.npy")
        self.path.write_bytes(data)

        def read() -> None:
            images = load(self.path).images
            if images.dtype != np.uint8 or images.ndim != 4:
                raise Accepted(f"{images.dtype} {images.shape} for images")
            if packed and zipfile.ZipFile(self.path).testzip() in ("images.npy", "x.npy"):
                raise Accepted("an array whose checksum is wrong")

        return read


class Pictures:
    """A folder of three pictures, one of them odd; the others must come out as they are."""

    SUFFIXES = ("png", "jpg", "gif", "bmp", "webp")

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        self.folder, self.cache = folder / "pictures", folder / "cache"
        self.folder.mkdir()
        self.pixels = np.random.default_rng(3).integers(0, 256, (9, 8, 3), dtype=np.uint8)
        for name in ("a.png", "z.png"):
            Image.fromarray(self.pixels).save(self.folder / name)

    def make(self, draw: Draw) -> Read:
        from PIL import Image

        suffix = self.SUFFIXES[draw.integers(len(self.SUFFIXES))]
        for path in self.folder.glob("m.*"):
            path.unlink()
        shutil.rmtree(self.cache, ignore_errors=True)
        self.path = self.folder / f"m.{suffix}"
        shape = (int(draw.integers(1, 40)), int(draw.integers(1, 40)))
        picture = Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8))
        picture = picture.convert(str(draw.choice(["RGB", "L", "P" if suffix in ("png", "gif", "bmp") else "L"])))
        options = {"exif": draw.bytes(40)} if suffix in ("png", "jpg", "webp") and draw.random() < 0.3 else {}
        picture.save(self.path, **options)
        self.path.write_bytes(by_bytes(draw, self.path.read_bytes()))

        def read() -> None:
            data = load(self.folder, size=6, channels=3, cache=self.cache)
            if len(data) not in (2, 3) or (len(data) == 2 and self.path.name not in data.description):
                raise Accepted(f"{len(data)} pictures and no word of the one that was left out")
            if not np.array_equal(data.images[0], data.images[-1]):
                raise Accepted("a whole picture came out otherwise")

        return read


class Cache:
    """The array file that a folder of pictures left, and what tells of it: damaged, it is made again."""

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        self.folder, self.cache = folder / "pictures", folder / "cache"
        self.folder.mkdir()
        for k in range(3):
            pixels = np.random.default_rng(k).integers(0, 256, (9, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.folder / f"{k}.png")
        self.expected = np.array(self.load().images)
        self.contents = {path: path.read_bytes() for path in self.cache.rglob("*") if path.is_file()}

    def load(self) -> ImageData:
        return load(self.folder, size=6, channels=3, cache=self.cache)

    def make(self, draw: Draw) -> Read:
        for path, content in self.contents.items():
            path.write_bytes(content)
        self.path = list(self.contents)[draw.integers(len(self.contents))]
        content = self.contents[self.path]
        if self.path.suffix == ".json" and draw.random() < 0.7:
            content = json.dumps(odd_json(draw, json.loads(content))).encode()
        elif self.path.suffix == ".npy" and draw.random() < 0.2:
            content = content.replace(b"(3,", draw.choice([b"(9,", b"(-3,", b"(10000000000,", b"[" * 50]))
        else:
            content = by_bytes(draw, content)
        self.path.write_bytes(content)

        def read() -> None:
            if not np.array_equal(self.load().images, self.expected):
                raise Accepted("other images than those of the pictures")

        return read


KINDS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": Checkpoint,
    "run": RunFolder,
    "idx": Idx,
    "arrays": Arrays,
    "pictures": Pictures,
    "cache": Cache,
}


def require_finite(*owners: Any) -> None:
    for owner in owners:
        for key, array in owner.state_arrays().items():
            if not np.isfinite(array).all() or (key.endswith("running_var") and (array < 0).any()):
                raise Accepted(f"{array.reshape(-1)[:4]} in {key}")


def same(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return arrays.keys() == expected.keys() and all(np.array_equal(arrays[key], expected[key]) for key in arrays)


def attempt(kind: Any, name: str, seed: int, number: int) -> tuple[str, str]:
    """What became of the file of this number, in a word, and more of it if that is a fault."""
    with np.errstate(all="ignore"):
        read = kind.make(np.random.default_rng([seed, list(KINDS).index(name), number]))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            read()
    except TinyGANError as error:
        named = any(name in str(error) for name in (kind.path.name, kind.path.parent.name, f"{kind.path.stem}:"))
        return ("refused", "") if named else ("FAULT unnamed", str(error))
    except Accepted as error:
        return "FAULT accepted", str(error)
    except MemoryError as error:
        return "FAULT memory", str(error)
    except BaseException as error:  # a panic in Rust is no Exception
        return "FAULT raw error", f"{type(error).__name__}: {error!s:.200}"
    return "accepted", ""


# ---- many processes --------------------------------------------------------------------------------------------------


def work(pipe: Any, kinds: list[str], seed: int, numbers: range, limit: bool) -> None:
    """In a process of its own: try the files of these numbers, and tell of each before and after."""
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for name in kinds:
            (Path(folder) / name).mkdir()
            made[name] = KINDS[name](Path(folder) / name)
            for number in (2**40, 2**40 + 1, 2**40 + 2):  # what is loaded and set up once is no cost of a file
                attempt(made[name], name, seed, number)
        if limit:
            limit_memory()
        for number in numbers:
            name = kinds[number % len(kinds)]
            pipe.send((number, name))
            pipe.send(attempt(made[name], name, seed, number))
        pipe.send(None)


def limit_memory() -> None:
    """Let this process have BYTES more than it has now; where there are no such limits, it goes without."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, OSError, ValueError):
        pass


class Worker:
    """One of the processes, and the file that it is at."""

    def __init__(self, kinds: list[str], seed: int, numbers: range) -> None:
        context = multiprocessing.get_context("spawn")
        self.kinds, self.seed, self.numbers, self.at = kinds, seed, numbers, None
        self.pipe, other = context.Pipe()
        self.began = time.monotonic() + 60.0  # until its first file it may load and set up
        self.process = context.Process(target=work, args=(other, kinds, seed, numbers, True), daemon=True)
        self.process.start()
        other.close()

    def next_one(self) -> Worker | None:
        """What goes on after a file that ended this process."""
        self.process.kill()
        self.process.join()
        after = self.numbers[0] if self.at is None else self.at[0] + self.numbers.step
        left = range(after, self.numbers.stop, self.numbers.step)
        return Worker(self.kinds, self.seed, left) if left and self.at is not None else None


def fuzz(kinds: list[str], files: int, seed: int, processes: int) -> tuple[Counter, dict[str, float], list[str]]:
    """Try so many files; return (how often which outcome, the slowest of each kind, the faults in words)."""
    counts: Counter = Counter()
    slowest: dict[str, float] = defaultdict(float)
    faults: list[str] = []
    workers = [Worker(kinds, seed, range(first, files, processes)) for first in range(min(processes, files))]

    def outcome(worker: Worker, what: str, more: str) -> None:
        number, name = worker.at or (worker.numbers[0], "start")
        counts[name, what] += 1
        slowest[name] = max(slowest[name], time.monotonic() - worker.began)
        if what.startswith("FAULT"):
            faults.append(f"{name}:{number}  {what[6:]}: {more}")

    while workers:
        ready = wait([worker.pipe for worker in workers], timeout=0.2)
        for worker in list(workers):
            ended = ""
            if worker.pipe in ready:
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    ended = "FAULT crash"
                else:
                    if message is None:
                        workers.remove(worker)
                        worker.process.join()
                    elif isinstance(message[0], int):
                        worker.at, worker.began = message, time.monotonic()
                    else:
                        outcome(worker, *message)
            elif time.monotonic() - worker.began > SECONDS:
                ended = "FAULT hang"
            if ended:
                outcome(worker, ended, f"exit code {worker.process.exitcode}")
                workers.remove(worker)
                workers += [new] if (new := worker.next_one()) else []
    return counts, slowest, faults


def table(counts: Counter, slowest: dict[str, float]) -> str:
    columns = ["refused", "accepted", *sorted({what for _, what in counts if what.startswith("FAULT")})]
    lines = [f"{'kind':<12}{'files':>9}" + "".join(f"{column:>16}" for column in columns) + f"{'slowest':>10}"]
    for kind in dict.fromkeys(name for name, _ in counts):
        total = sum(n for (name, _), n in counts.items() if name == kind)
        row = "".join(f"{counts[kind, column]:>16,}" for column in columns)
        lines.append(f"{kind:<12}{total:>9,}{row}{slowest[kind]:>9.2f}s")
    return "\n".join(lines)


def one_again(only: str, seed: int, keep: Path) -> None:
    """Try one file once more, in this process, with all that Python says of it; leave what it was in ``keep``."""
    name, number = only.split(":")
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    kind = KINDS[name](keep)
    try:
        kind.make(np.random.default_rng([seed, list(KINDS).index(name), int(number)]))()
        print(f"accepted: {kind.path}")
    except BaseException:
        traceback.print_exc()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, metavar="N", help="how many, of all kinds in turn (1000)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="which kinds (all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all files (0)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="how many at once (2)")
    parser.add_argument("--only", metavar="KIND:N", help="this one file, with its traceback")
    parser.add_argument("--keep", type=Path, default=Path("odd"), metavar="FOLDER", help="where --only leaves it (odd)")
    args = parser.parse_args()
    if args.only:
        one_again(args.only, args.seed, args.keep)
        return
    began = time.monotonic()
    counts, slowest, faults = fuzz(args.kinds, args.files, args.seed, args.processes)
    print(table(counts, slowest))
    print(f"{sum(counts.values()):,} files in {time.monotonic() - began:.0f} s, seed {args.seed}; {len(faults)} faults")
    print("\n".join(faults[:30]))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
