"""Files that were named on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from manifestd.display import printable
from manifestd.errors import (
    MalformedError,
    MismatchError,
    NotCanonicalError,
    SignatureError,
    UntrustedError,
    UsageError,
)

if TYPE_CHECKING:
    from manifestd.signing.public import PublicKey


def read_named(path: Path, limit: int) -> bytes:
    """What a file holds; one byte more than allowed at most, about which its decoder complains.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{printable(str(path))} cannot be read: {error.strerror}") from error


def read_public(path: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        UsageError: It cannot be read, or holds no public key of a kind that is known.
    """
    from manifestd.signing.public import MAX_PEM, read_public_key

    try:
        return read_public_key(read_named(path, MAX_PEM))
    except MalformedError as error:
        raise UsageError(f"{printable(str(path))}: {error.what}", hint=error.hint) from error


@contextmanager
def naming(path: Path, hint: str) -> Iterator[None]:
    """Put a file's name before what is wrong with its content, of which it is the only source.

    Args:
        path: The file that is decoded and judged inside.
        hint: How such a file is made, for errors that say nothing better.
    """
    try:
        yield
    except (
        MalformedError, MismatchError, NotCanonicalError, SignatureError, UntrustedError,
    ) as error:  # fmt: skip
        error.what = f"{path}: {error.what}"
        error.hint = error.hint or hint
        raise
