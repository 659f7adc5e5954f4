"""A path as people write it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ArgumentError


def whole_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` with a home folder in place of ~ or ~user; a file that is really called ~something is itself.

    Raises
    ------
    ArgumentError
        It is empty, no path at all, or nobody knows that home folder.
    """
    try:
        text = os.fspath(path)
        whole = Path(text)
    except TypeError:
        raise ArgumentError(f"expected a path, got {path!r}.") from None
    if not text or "\0" in text:
        raise ArgumentError(f"expected a path, got the text {text!r}; '.' is the current folder.")
    try:
        return whole.expanduser()
    except RuntimeError:  # no such user, or one without a home
        if os.path.lexists(whole):
            return whole
        raise ArgumentError(
            f"{text}: nobody knows the home folder {whole.parts[0]}. Write the whole path, or ./{text} for a file of "
            "that name."
        ) from None
