"""Standard output and error, when whoever reads them goes away or was never there.

A reader that has seen enough (``| head``) or a message nobody takes must not change what a
command does or how it ends: the exit code is the verdict's.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO, cast

_DEVICES: Final = Path("/dev")


class _Forgiving:
    """A stream that may stop taking what is written: the rest is lost, without an error.

    Args:
        stream: The stream.
        lost: Errors that are passed over.
    """

    def __init__(self, stream: TextIO, lost: type[OSError]) -> None:
        self._stream = stream
        self._lost = lost

    def write(self, text: str) -> int:
        """Write, or lose, the text."""
        try:
            return self._stream.write(text)
        except self._lost:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush, or lose, what was written."""
        try:
            self._stream.flush()
        except self._lost:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive() -> None:
    """Let both streams of this process outlive their readers; those of tests stay as they are.

    Messages are lost on a full disk, too; results are not, silently. A stream that was closed
    from the start (``>&-``) leads nowhere from here on.
    """
    for name, lost in (("stdout", BrokenPipeError), ("stderr", OSError)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):
            if name == "stdout" and isinstance(stream, io.TextIOWrapper):
                # Documents are UTF-8 in every locale; and no name from outside may end a command.
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            setattr(sys, name, cast("TextIO", _Forgiving(stream, lost)))


def silence(stream: TextIO) -> None:
    """Lead a stream of this process nowhere, with what it still holds; else Python complains at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):
        return  # not a stream of the system's
    finally:
        os.close(nowhere)


def is_device(path: Path) -> bool:
    """Whether a file's place is none for a new file: a device, a pipe, a descriptor of somebody."""
    return path.exists() and (not path.is_file() or path.absolute().is_relative_to(_DEVICES))
