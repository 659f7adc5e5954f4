"""Whatever the console is, nothing that is said to it raises, and nothing of it is left over to raise later."""

import contextlib
import io
import os
import sys

import pytest
from support.odd_streams import STREAM_ODDITIES, TEXTS, close, letters

from tinygan.parallel.console import Console, forgiving_streams, say

every_stream = pytest.mark.parametrize(("what", "make"), STREAM_ODDITIES, ids=[what for what, _ in STREAM_ODDITIES])


@every_stream
def test_an_odd_stream_takes_every_text(what, make):
    stream = make()
    console = Console(stream)
    for text in TEXTS:
        assert console.write(text) == len(text)
        console.flush()
        print(text, file=console, flush=True)
    assert console.isatty() is False
    close(stream)


@every_stream
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_said_is_lost_at_worst(what, make, name, monkeypatch):
    monkeypatch.setattr(sys, name, make())
    for text in TEXTS:
        say(text, to=name)
    with forgiving_streams():
        for text in TEXTS:
            print(text, file=getattr(sys, name))
    close(getattr(sys, name))


def test_a_stream_that_is_not_even_there(monkeypatch):
    monkeypatch.delattr(sys, "stderr")
    say("nobody hears this", to="stderr")


LETTER_ODDITIES = [
    ("ascii", "σ(D) → café", "?(D) ? caf?"),
    ("cp1252", "σ(D) → café", "?(D) ? café"),
    ("latin-1", "−1 ≤ x", "?1 ? x"),
    ("cp437", "−σ", "?σ"),
    ("utf-8", "caf\udce9 σ", "caf? σ"),
    ("utf-16", "写\udce9", "写?"),
]


@pytest.mark.parametrize(("encoding", "text", "shown"), LETTER_ODDITIES, ids=[row[0] for row in LETTER_ODDITIES])
def test_letters_that_cannot_be_shown_are_replaced(encoding, text, shown):
    stream = letters(encoding)
    Console(stream).write(text)
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == shown


def test_a_console_is_the_stream_in_all_else():
    stream = letters("latin-1")
    console = Console(stream)
    assert (console.encoding, console.buffer) == ("latin-1", stream.buffer)
    stream.isatty = lambda: True
    assert console.isatty()
    assert Console(object()).encoding == "ascii"
    with pytest.raises(AttributeError):
        _ = Console(None).buffer


def test_a_broken_stream_goes_on_once_it_can():
    """What waited in its buffer is dropped; its descriptor is where it was."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(write, "w", encoding="utf-8") as stream, open(read, "rb", buffering=0) as reader:
        while True:
            try:
                os.write(write, bytes(4096))
            except BlockingIOError:
                break
        Console(stream).write("lost" * 5000)
        Console(stream).flush()
        while len(reader.read(1 << 20)) == 1 << 20:
            pass
        print("heard", file=Console(stream), flush=True)
        assert reader.read(100) == b"heard\n"


def test_streams_are_put_back(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with contextlib.suppress(KeyboardInterrupt), forgiving_streams():
        print("out")
        print("err", file=sys.stderr)
        raise KeyboardInterrupt
    assert (sys.stdout, sys.stderr) == (out, err)
    assert (out.getvalue(), err.getvalue()) == ("out\n", "err\n")
