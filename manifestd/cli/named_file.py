"""Files that were named on the command line."""

from __future__ import annotations

from pathlib import Path

from manifestd.display import printable
from manifestd.errors import UsageError


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
