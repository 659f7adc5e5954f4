"""Where load() finds its data, what it does when it does not, and what it never does: use a damaged file."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import importlib
import shutil
import socket
import struct
import threading
import time

import numpy as np
import pytest

from tinygan.data import load
from tinygan.errors import ArgumentError, DataError

loading = importlib.import_module("tinygan.data.loading")
mnist = importlib.import_module("tinygan.data.mnist")
PUBLIC = dict(mnist.SOURCES)  # before any test patches them
FILES = tuple(PUBLIC["mnist"].sha256)


def write_idx(path, array, *, packed=True):
    array = np.asarray(array, np.uint8)
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def write_set(folder, *, dash="-", packed=True, count=12, labels=None):
    """Write a small stand-in for MNIST; the test set is half as large."""
    folder.mkdir(parents=True, exist_ok=True)
    gz = ".gz" if packed else ""
    for split, n in ("train", count), ("t10k", count // 2):
        pixels = np.random.default_rng(n).integers(0, 256, (n, 28, 28))
        write_idx(folder / f"{split}-images{dash}idx3-ubyte{gz}", pixels, packed=packed)
        write_idx(
            folder / f"{split}-labels{dash}idx1-ubyte{gz}",
            np.arange(n) % 10 if labels is None else labels,
            packed=packed,
        )
    return folder


class Shop(http.server.SimpleHTTPRequestHandler):
    """Serves a folder silently and notes what is asked for."""

    asked: list[str]

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@contextlib.contextmanager
def serving(folder):
    handler = functools.partial(Shop, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Nothing of this machine's settings, and never a real mirror."""
    monkeypatch.delenv(mnist.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, source in mnist.SOURCES.items():
        monkeypatch.setitem(mnist.SOURCES, name, dataclasses.replace(source, mirrors=(closed_port(),)))
    monkeypatch.setitem(loading._COUNT, "digits", {"train": 30, "test": 20})


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/"


@pytest.fixture
def shop(tmp_path):
    with serving(write_set(tmp_path / "shop")) as (server, url):
        yield server, url


@pytest.fixture
def mirrors(monkeypatch, tmp_path):
    """Return a function that sets the mirrors of a data set whose checksums are those of the shop's files."""

    def use(*urls, name="mnist"):
        files = {file: tmp_path / "shop" / file for file in FILES}
        sha256 = {file: hashlib.sha256(path.read_bytes()).hexdigest() for file, path in files.items() if path.exists()}
        source = dataclasses.replace(mnist.SOURCES[name], mirrors=urls, sha256=sha256)
        monkeypatch.setitem(mnist.SOURCES, name, source)

    return use


# ---------------------------------------------------------------- folders and files


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_folder_is_read_under_all_the_usual_names(tmp_path, dash, packed):
    folder = write_set(tmp_path / "mine", dash=dash, packed=packed)
    train, test = load(folder), load(str(folder), split="test")
    assert (train.images.shape, test.images.shape) == ((12, 28, 28, 1), (6, 28, 28, 1))
    assert list(test.labels) == [0, 1, 2, 3, 4, 5]
    assert str(folder) in train.description
    assert (train.name, "test set" in test.description) == ("mine", True)


def test_one_file_is_read_with_the_labels_beside_it(tmp_path):
    folder = write_set(tmp_path)
    assert list(load(folder / "t10k-images-idx3-ubyte.gz").labels) == [0, 1, 2, 3, 4, 5]
    write_idx(tmp_path / "cats", np.zeros((3, 5, 7)), packed=False)
    cats = load(tmp_path / "cats")
    assert (cats.images.shape, cats.labels, cats.name) == ((3, 5, 7, 1), None, "cats")


def test_a_folder_without_labels_is_enough_for_a_gan(tmp_path):
    (write_set(tmp_path) / "train-labels-idx1-ubyte.gz").unlink()
    data = load(tmp_path)
    assert data.labels is None
    assert data.description.endswith("; no labels: no file of them lies beside it")


def test_the_environment_names_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(mnist.FOLDER_VARIABLE, str(write_set(tmp_path)))
    assert len(load("auto")) == len(load("mnist")) == 12
    write_set(tmp_path / "fashion", count=4)
    assert (len(load("mnist")), len(load("fashion"))) == (12, 4)
    write_set(tmp_path / "mnist", count=8)
    assert len(load("mnist")) == 8


def test_fashion_is_never_taken_from_a_folder_of_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv(mnist.FOLDER_VARIABLE, str(write_set(tmp_path)))
    with pytest.raises(DataError, match="Fashion-MNIST"):
        load("fashion", cache=tmp_path / "cache")


def images_only(folder, array=None):
    folder.mkdir(exist_ok=True)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((4, 28, 28)) if array is None else array)
    return folder


def with_labels(folder, labels):
    write_idx(images_only(folder) / "train-labels-idx1-ubyte", labels)
    return folder


BAD_FOLDERS = {
    "empty": (
        lambda d: d,
        "expected pictures .* but it is empty; check the path",
    ),
    "only the test set": (
        lambda d: [p.unlink() for p in write_set(d).glob("train*")] and d,
        "expected train-images-idx3-ubyte",
    ),
    "too few labels": (
        lambda d: with_labels(d, np.zeros(3)),
        "expected 4 labels, one per image of train-images.*got 3",
    ),
    "too many labels": (lambda d: with_labels(d, np.zeros(5)), "got 5; the two files belong to different sets"),
    "images as labels": (lambda d: with_labels(d, np.zeros((4, 28, 28))), r"expected labels .*got grey images"),
    "labels as images": (lambda d: images_only(d, np.zeros(4)), r"expected grey images .*got labels"),
    "cut": (
        lambda d: (images_only(d) / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03") and d,
        "inside its header",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders_are_refused(tmp_path, case):
    make, message = BAD_FOLDERS[case]
    with pytest.raises(DataError, match=message) as caught:
        load(make(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_labels_beyond_the_ten_classes_of_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv(mnist.FOLDER_VARIABLE, str(with_labels(tmp_path, [0, 9, 10, 3])))
    with pytest.raises(DataError, match="expected labels 0 to 9, got 10 at position 2"):
        load("auto")  # damage is never a reason to fall back in silence
    assert load(tmp_path).labels.max() == 10  # letters, say: a set of one's own may have more


def test_names_that_mean_nothing(tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match=r"data 'mnsit': neither a name \('auto', 'digits', 'shapes', 'mnist', 'fashion'\) nor a file"
    ):
        load("mnsit")
    with pytest.raises(ArgumentError, match="split: expected 'train' or 'test', got 'validation'"):
        load("digits", split="validation")
    monkeypatch.setenv(mnist.FOLDER_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"TINYGAN_DATA=.*gone: there is no such folder; correct the variable"):
        load("auto")
    monkeypatch.setenv(mnist.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match="found no such file"):
        load("auto")


# ---------------------------------------------------------------- cache and network


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_it_is_fetched_once(tmp_path, shop, mirrors, name):
    server, url = shop
    mirrors(url)
    first = load(name, cache=tmp_path / "cache")
    again = load(name, cache=tmp_path / "cache")
    assert (first.images == again.images).all()
    assert (first.name, len(first)) == ("mnist", 12)
    assert sorted(server.asked) == ["/train-images-idx3-ubyte.gz", "/train-labels-idx1-ubyte.gz"]
    assert sorted(p.name for p in (tmp_path / "cache" / "mnist").iterdir()) == [
        path[1:] for path in sorted(server.asked)
    ]


def test_fashion_has_a_cache_of_its_own(tmp_path, shop, mirrors):
    mirrors(shop[1], name="fashion")
    data = load("fashion", split="test", cache=tmp_path / "cache")
    assert (data.name, len(data)) == ("fashion", 6)
    assert "Fashion-MNIST" in data.description
    assert (tmp_path / "cache" / "fashion" / "t10k-images-idx3-ubyte.gz").exists()


def test_mirrors_are_tried_in_turn(tmp_path, shop, mirrors):
    wrong = tmp_path / "wrong"
    shutil.copytree(tmp_path / "shop", wrong)
    for path in wrong.iterdir():
        path.write_bytes(b"<html>please log in</html>")
    with serving(wrong) as (login, wrong_url), serving(tmp_path / "nothing") as (missing, missing_url):
        mirrors(closed_port(), missing_url, wrong_url, shop[1])
        assert len(load("mnist", cache=tmp_path / "cache")) == 12
        assert login.asked == missing.asked == shop[0].asked


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, shop, mirrors):
    mirrors(shop[1])
    load("mnist", cache=tmp_path / "cache")
    path = tmp_path / "cache" / "mnist" / "train-images-idx3-ubyte.gz"
    good = path.read_bytes()
    write_idx(path, np.zeros((12, 28, 28)))  # well-formed, but not MNIST
    assert load("mnist", cache=tmp_path / "cache").images.any()
    assert path.read_bytes() == good
    assert len(shop[0].asked) == 3


def test_a_damaged_file_in_the_cache_is_not_used_when_nobody_can_mend_it(tmp_path, shop, mirrors):
    mirrors(shop[1])
    load("mnist", cache=tmp_path / "cache")
    write_idx(tmp_path / "cache" / "mnist" / "train-images-idx3-ubyte.gz", np.zeros((12, 28, 28)))
    mirrors(closed_port())
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz is damaged in the cache"):
        load("mnist", cache=tmp_path / "cache")
    assert load("auto", cache=tmp_path / "cache").name == "digits"


def test_the_cache_never_holds_what_has_the_wrong_checksum(tmp_path, shop, mirrors):
    mirrors(shop[1])
    for path in (tmp_path / "shop").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="ValueError: SHA256 hash of downloaded file"):
        load("mnist", cache=tmp_path / "cache")
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


def test_insisting_says_what_was_tried_and_how_to_mend_it(tmp_path):
    with pytest.raises(DataError) as caught:
        load("mnist", cache=tmp_path / "cache")
    message = str(caught.value)
    for part in (
        "train-labels-idx1-ubyte.gz is not in the cache",
        str(tmp_path / "cache"),
        *mnist.SOURCES["mnist"].mirrors,
        "ConnectionError",
        "Put the four files of MNIST into a folder and give its path as data",
        "TINYGAN_DATA",
    ):
        assert part in message


def test_auto_falls_back_to_the_digits_and_says_so(tmp_path):
    data = load("auto", cache=tmp_path / "cache", seed=5)
    assert (data.name, len(data)) == ("digits", 30)
    assert "30 embedded digits" in data.description
    assert "since MNIST is not in" in data.description
    assert "\n" not in data.description
    assert (data.images == load("digits", seed=5).images).all()
    assert len(load("auto", split="test", cache=tmp_path / "cache")) == 20


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"could not be fetched from .*(NotADirectory|FileExists)Error"):
        load("mnist", cache=tmp_path / "file")


def test_mirrors_that_never_answer_cost_little_time(tmp_path, mirrors, monkeypatch):
    write_set(tmp_path / "shop")
    monkeypatch.setattr(mnist, "STALL_SECONDS", 0.15)
    monkeypatch.setattr(mnist, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call, says nothing
        mirrors(*[f"http://127.0.0.1:{silent.getsockname()[1]}/{i}/" for i in range(50)])
        started = time.monotonic()
        assert load("auto", cache=tmp_path / "cache").name == "digits"
    assert time.monotonic() - started < 3


def test_patience_is_less_than_ten_seconds_by_default():
    assert mnist.PATIENCE_SECONDS + mnist.CONNECT_SECONDS + mnist.STALL_SECONDS < 10


def test_a_download_without_end_is_cut_off(tmp_path, shop, mirrors, monkeypatch):
    mirrors(shop[1])
    monkeypatch.setattr(mnist, "LARGEST", 1000)
    with pytest.raises(DataError, match="more than 1,000 bytes came"):
        load("mnist", cache=tmp_path / "cache")
    assert not any(path.suffix == ".gz" and "images" in path.name for path in (tmp_path / "cache").rglob("*"))


def drip(talk, reply, piece, ended):
    """Send ``reply``, then ``piece`` again and again, as slowly as nobody would wait for."""
    with contextlib.suppress(OSError), talk:
        talk.recv(1 << 16)
        talk.sendall(reply)
        while not ended.wait(0.03):
            talk.sendall(piece)


OK = b"HTTP/1.1 200 OK\r\n"
#: (what a server sends at once, what it sends every 30 ms): none of it ever ends
DRIP_ODDITIES = [
    (b"", b"H"),
    (b"HTTP/1.1 200 O", b"K"),
    (OK, b"a"),
    (OK, b"a: b\r\n"),
    (OK + b"Content-Length: 1000000\r\n\r\n", b"a"),
    (OK + b"\r\n", b"a"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"a" * 1024 + b"\r\n", b"1\r\na\r\n"),
    (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0"),
    (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (b"HTTP/1.1 302 Found\r\nLocation: /", b"a"),
    (b"HTTP/1.1 503 Busy\r\n", b"a"),
]


@pytest.mark.parametrize(("reply", "piece"), DRIP_ODDITIES, ids=range(len(DRIP_ODDITIES)))
def test_whatever_drips_is_cut_off(tmp_path, mirrors, monkeypatch, reply, piece):
    write_set(tmp_path / "shop")
    monkeypatch.setattr(mnist, "PATIENCE_SECONDS", 0.15)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        mirrors(f"http://127.0.0.1:{server.getsockname()[1]}/")

        def serve():
            drip(server.accept()[0], reply, piece, ended)

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(DataError, match=r"bytes came in 0\.\d seconds|ConnectionError|HTTPError"):
            load("mnist", cache=tmp_path / "cache")
        assert time.monotonic() - started < 2
    ended.set()
    thread.join()
    for left in [thread for thread in threading.enumerate() if thread.name == "tinygan fetches"]:
        left.join(2)  # they end with the connection
        assert not left.is_alive()
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


class Redirector(Shop):
    """Sends everybody on, for ever, each time a little later."""

    def do_GET(self):
        time.sleep(0.05)
        self.send_response(302)
        self.send_header("Location", f"{self.path}x")
        self.end_headers()


def test_redirects_count_as_well(tmp_path, mirrors, monkeypatch):
    write_set(tmp_path / "shop")
    monkeypatch.setattr(mnist, "PATIENCE_SECONDS", 0.2)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        mirrors(f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(DataError, match=r"only 0 bytes came in 0\.[2-9] seconds"):
            load("mnist", cache=tmp_path / "cache")
        server.shutdown()
        thread.join()


def test_a_slow_line_that_gets_on_is_waited_for(tmp_path, mirrors, monkeypatch):
    """Longer than patience lasts, but with as many bytes as are asked for."""
    monkeypatch.setattr(mnist, "PATIENCE_SECONDS", 0.1)
    write_set(tmp_path / "shop", count=30)

    class Slow(Shop):
        def copyfile(self, source, outputfile):
            while piece := source.read(2048):
                outputfile.write(piece)
                outputfile.flush()
                time.sleep(0.02)

    handler = functools.partial(Slow, directory=str(tmp_path / "shop"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        mirrors(f"http://127.0.0.1:{server.server_port}/")
        assert len(load("mnist", cache=tmp_path / "cache")) == 30
        server.shutdown()
        thread.join()


def test_fetching_is_silent(tmp_path, shop, mirrors, capfd):
    mirrors(shop[1])
    load("mnist", cache=tmp_path / "cache")
    load("auto", cache=tmp_path / "cache")
    assert capfd.readouterr() == ("", "")


def test_checksums_and_mirrors_are_complete():
    for source in PUBLIC.values():
        assert len(source.sha256) == len(set(source.sha256.values())) == 4
        assert all(len(bytes.fromhex(checksum)) == 32 for checksum in source.sha256.values())
        assert len(source.mirrors) >= 2
        assert all(mirror.endswith("/") for mirror in source.mirrors)
