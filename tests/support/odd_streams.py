"""Streams that a program may find in place of its console: closed, full, broken, half made, short of letters."""

import errno
import io
import os


class OnlyWrite:
    """What GUIs and notebooks put in place of a console; ``raises`` is what it answers with."""

    def __init__(self, raises=None, **attributes):
        self.raises, self.texts = raises, []
        vars(self).update(attributes)

    def write(self, text):
        if self.raises:
            raise self.raises
        self.texts.append(text)


class Breaks(OnlyWrite):
    """Takes ``n`` texts and then none."""

    def __init__(self, n, raises):
        super().__init__()
        self.n, self.later = n, raises

    def write(self, text):
        if len(self.texts) >= self.n:
            raise self.later
        super().write(text)


class RaisesOnFlush(OnlyWrite):
    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


class NoTerminalKnown(OnlyWrite):
    def isatty(self):
        raise OSError(errno.EIO, "Input/output error")


def closed(stream):
    stream.close()
    return stream


def close(stream):
    """Close a stream as the interpreter does at its end, where an error gives code 120."""
    if isinstance(stream, io.IOBase) and not stream.closed:
        stream.close()


def letters(encoding, **how):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, **how)


def pipe(reader, **how):
    """The writing end of a pipe that nobody reads: closed, or full."""
    read, write = os.pipe()
    if reader == "closed":
        os.close(read)
    else:
        os.set_blocking(write, False)
        while True:
            try:
                os.write(write, bytes(65536))
            except BlockingIOError:
                break
    return opened(write, "w", **how)


def opened(path, mode, **how):
    return open(path, mode, encoding="utf-8", **how)


NO_LETTER = UnicodeEncodeError("ascii", "σ", 0, 1, "no such letter")

STREAM_ODDITIES = [
    ("none at all", lambda: None),
    ("an object", object),
    ("a number", lambda: 7),
    ("closed", lambda: closed(io.StringIO())),
    ("a closed file", lambda: closed(opened(os.devnull, "w"))),
    ("a file that is read", lambda: opened(os.devnull, "r")),
    ("bytes", io.BytesIO),
    ("only write", OnlyWrite),
    ("only write, no letters", lambda: OnlyWrite(NO_LETTER)),
    ("an encoding nobody knows", lambda: OnlyWrite(NO_LETTER, encoding="klingon")),
    ("an encoding that is no text", lambda: OnlyWrite(NO_LETTER, encoding=3)),
    ("no encoding", lambda: OnlyWrite(encoding=None)),
    ("a reader that is gone", lambda: OnlyWrite(BrokenPipeError(errno.EPIPE, "Broken pipe"))),
    ("a full disk", lambda: OnlyWrite(OSError(errno.ENOSPC, "No space left on device"))),
    ("a terminal that is gone", lambda: OnlyWrite(OSError(errno.EIO, "Input/output error"))),
    ("a value refused", lambda: OnlyWrite(ValueError("I/O operation on closed file"))),
    ("an error of its own", lambda: OnlyWrite(RuntimeError("the window is closed"))),
    ("a kernel that is gone", lambda: OnlyWrite(ConnectionResetError())),
    ("breaks after a text", lambda: Breaks(1, BrokenPipeError())),
    ("breaks after three texts", lambda: Breaks(3, OSError(errno.ENOSPC, "No space left on device"))),
    ("full on flushing", RaisesOnFlush),
    ("not known to be a terminal", NoTerminalKnown),
    ("cp1252", lambda: letters("cp1252")),
    ("cp437", lambda: letters("cp437")),
    ("cp932", lambda: letters("cp932")),
    ("ascii", lambda: letters("ascii")),
    ("ascii, line by line", lambda: letters("ascii", line_buffering=True)),
    ("latin-1", lambda: letters("latin-1")),
    ("koi8-r", lambda: letters("koi8-r", write_through=True)),
    ("utf-8", lambda: letters("utf-8")),
    ("utf-16", lambda: letters("utf-16")),
    ("a pipe without a reader", lambda: pipe("closed")),
    ("a pipe without a reader, line by line", lambda: pipe("closed", buffering=1)),
    ("a pipe that is full", lambda: pipe("full", buffering=1)),
]
if os.path.exists("/dev/full"):
    STREAM_ODDITIES += [
        ("/dev/full", lambda: opened("/dev/full", "w")),
        ("/dev/full, line by line", lambda: opened("/dev/full", "w", buffering=1)),
    ]

TEXTS = ["plain", "−log σ(D(x)) ‖∇‖²", "写真/фото", "caf\udce9", "\x00\x1b[0m", "🦙", ""]
