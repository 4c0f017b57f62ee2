"""Content: bytes that can be read at an offset, wherever they live."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self


class Stream(Protocol):
    """An open, conditional read of one object from an offset to its end.

    Chunks may be views into a reused buffer: use each before asking for the next.
    A clean end before the listed size is an error the reader must notice.
    """

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        """Yield the remaining bytes in pieces of at most ``size``."""

    def close(self) -> None:
        """Give the connection or descriptor back. May be called twice."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class RandomAccess(Protocol):
    """Small reads anywhere in one object, for headers and archive directories."""

    @property
    def size(self) -> int:
        """Length of the object in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``, fewer only at the end of the object."""
