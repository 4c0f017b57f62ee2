"""Data goes to stdout, people are told on stderr; everything printed passes through here."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

import click
import msgspec

from manifestd.cli.context import Context
from manifestd.cli.log import tell, writes_json
from manifestd.cli.streams import is_device, silence
from manifestd.cli.workflow_commands import guarded
from manifestd.display import printable
from manifestd.errors import ManifestdError, UsageError
from manifestd.model.failure import failure_of

_BLOCK: Final = 1 << 16
"""Characters that are written to stdout at once."""


def file_named(output: Path | None) -> Path | None:
    """The file that ``-o`` names; None: standard output, as it was not given, or is ``-``."""
    return None if output is None or str(output) == "-" else output


def emit(text: str, output: Path | None = None) -> None:
    """Write result data to stdout, or to a file that appears whole or not at all."""
    file = file_named(output)
    if file is not None:
        write_file(file, text.encode())
        return
    with to_stdout():
        sys.stdout.write(guarded(text, sys.stdout))


def emit_lines(pieces: Iterable[str], output: Path | None = None) -> None:
    """As :func:`emit`, for data that need not fit into memory, in pieces of whole lines.

    All of it is made before any of it is written: an error while it is made leaves stdout to
    the error.

    Raises:
        ManifestdError: There is no room for it in the temporary directory.
    """
    file = file_named(output)
    if file is not None:
        write_lines(file, (piece.encode() for piece in pieces))
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as spool:
        try:
            spool.writelines(pieces)
            spool.seek(0)
        except OSError as error:
            raise ManifestdError(
                f"the result cannot be put together in {printable(tempfile.gettempdir())}: "
                f"{error.strerror}"
            ) from error
        json = None
        with to_stdout():
            while lines := spool.readlines(_BLOCK):
                json = lines[0].startswith("{") if json is None else json
                sys.stdout.write(guarded("".join(lines), sys.stdout, json=json))


@contextmanager
def to_stdout() -> Iterator[None]:
    """Write result data to standard output inside; it is flushed at the end.

    A reader that goes away is no error: it has what it wanted.

    Raises:
        ManifestdError: What stands behind it takes no more, a full disk for instance.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        raise ManifestdError(
            f"the result cannot be written to standard output: {error.strerror}"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file through a temporary name beside it, so readers never see half of it.

    A device or a pipe is written to as it is: a file in its place would be another thing.

    Raises:
        ManifestdError: It cannot be written.
    """
    write_lines(path, (data,))


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """As :func:`write_file`, piece by piece; what making the pieces raises leaves no file.

    Raises:
        UsageError: It is a file that manifestd lives by.
        ManifestdError: It cannot be written.
    """
    running = click.get_current_context(silent=True)
    if running is not None and isinstance(running.obj, Context):
        refuse_own(running.obj, path)
    there = is_device(path)
    target = path if there else path.with_name(path.name + ".part")
    try:
        with target.open("wb") as file:
            file.writelines(lines)
        if not there:
            target.replace(path)
    except BrokenPipeError:
        return  # as for standard output
    except OSError as error:
        raise ManifestdError(
            f"{printable(str(path))} cannot be written: {error.strerror}"
        ) from error
    finally:
        if not there:
            with suppress(OSError):
                target.unlink()


def refuse_own(context: Context, path: Path) -> None:
    """A result written over the store, the configuration or a key would be the end of it.

    Raises:
        UsageError: It is one of these, under whatever name.
    """
    try:
        own = context.own_outputs()
    except ManifestdError:
        return  # who needs the configuration will say what is wrong with it
    if os.path.realpath(path) in set(map(os.path.realpath, own)):
        raise UsageError(
            f"{printable(str(path))} is a file of manifestd itself: nothing is written over it",
            hint="name another file",
        )


def emit_json(document: Any, output: Path | None = None) -> None:
    """Write one document as JSON and a newline, keys in a fixed order."""
    try:
        data = msgspec.json.encode(document)
    except UnicodeEncodeError:  # it names a path of this machine that is not UTF-8
        data = msgspec.json.encode(_with_escapes(msgspec.to_builtins(document)))
    emit(msgspec.json.format(data, indent=1).decode() + "\n", output)


def _with_escapes(value: Any) -> Any:
    """The same document; bytes of names that no JSON can carry are written as escapes."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _with_escapes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_escapes(item) for item in value]
    return value


def say(text: str, *, stream: TextIO | None = None) -> None:
    """Tell people something, on stderr unless told otherwise."""
    if stream is None and writes_json():
        tell(text)
        return
    click.echo(guarded(text, stream or sys.stderr), file=stream, err=stream is None)


def table(rows: Iterable[Sequence[str]], header: Sequence[str] | None = None) -> str:
    """Left-aligned columns, two spaces apart, names escaped; ends in a newline."""
    lines = [tuple(map(printable, row)) for row in rows]
    if header is not None:
        lines.insert(0, tuple(header))
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(text) + "\n"


def show_error(error: ManifestdError) -> None:
    """Print an error for people: what, why and one hint."""
    failure = failure_of(error)
    if writes_json():
        tell(
            failure.what, logging.ERROR, code=failure.code, why=failure.why, hint=failure.hint,
            exitCode=failure.exit_code,
        )  # fmt: skip
        return
    say(f"Error: {printable(failure.what)}")
    if failure.why:
        say(f"Why: {printable(failure.why)}")
    if failure.hint:
        say(f"hint: {printable(failure.hint)}")
