"""What every export promises: a stored snapshot in, the bytes of another tool's format out.

Exports are made from (path, size, sha256) and the record alone; no model byte
is needed. A format that cannot carry something refuses with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import msgspec

from manifestd.model.manifest import Item
from manifestd.model.snapshot import Snapshot


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export reads.

    Attributes:
        digest: The snapshot's digest.
        record: Its record.
        files: Gives its files in path order, each with a sha256; may be called again.
        manifest: The bytes of its manifest.
        bundles: Its signatures.
    """

    digest: str
    record: Snapshot
    files: Callable[[], Iterator[Item]]
    manifest: Callable[[], Iterator[bytes]]
    bundles: list[bytes]


class Export(ABC):
    """One format of the outside.

    Attributes:
        name: The word after ``--as``.
        several: It writes a directory rather than one file.
        note: What whoever uses the result must know; None: nothing.
    """

    name: ClassVar[str]
    several: ClassVar[bool] = False
    note: ClassVar[str | None] = None

    @abstractmethod
    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """Yield (relative path, bytes); the path is empty for a format of one file.

        Pieces with the same path follow each other and are one file.

        Raises:
            UsageError: The format cannot carry this snapshot; the message says what.
        """
