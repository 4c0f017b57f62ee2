"""Reading a file that lies in an archive layer, after the listing said where.

In an uncompressed layer it is a range of the blob. In a compressed one it is what
was kept aside while listing, or else the layer is unpacked again up to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from manifestd.errors import TransientError
from manifestd.model.content import Stream
from manifestd.model.entry import Entry
from manifestd.sources.oci_archive import Aside
from manifestd.sources.oci_blob import open_blob
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import Layer
from manifestd.sources.oci_unpack import BlobReader, Unpacked

_PIECE: Final = 1024 * 1024


def member_stream(
    registry: Registry,
    layer: Layer,
    entry: Entry,
    aside: Aside | None,
    *,
    offset: int,
    end: int | None = None,
) -> Stream:
    """The bytes of a file in a layer, from ``offset`` up to ``end``; errors as the blob's."""
    end = entry.size if end is None else min(end, entry.size)
    begin = int(entry.identity["at"])
    length = max(end - offset, 0)
    if not layer.packing or not length:
        return open_blob(registry, layer.descriptor, begin + offset, length)
    kept = aside.read(layer.descriptor.digest, begin, offset, length) if aside else None
    if kept is not None:
        return _Kept(kept)
    return _Again(registry, layer, begin + offset, length)


class _Kept:
    """Bytes that are there already."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        for begin in range(0, len(self._data), size):
            yield self._data[begin : begin + size]

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Again(_Kept):
    """A part of a compressed layer, unpacked from its beginning."""

    def __init__(self, registry: Registry, layer: Layer, begin: int, length: int) -> None:
        super().__init__(b"")
        self._reader = BlobReader(registry, layer.descriptor, threading.Event())
        self._unpacked = Unpacked(self._reader, layer.packing)
        self._begin = begin
        self._length = length

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        while self._unpacked.position < self._begin:
            left = self._begin - self._unpacked.position
            if not self._unpacked.read(min(left, _PIECE)):
                return
        left = self._length
        while left:
            piece = self._unpacked.read(min(left, size))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self._reader.close()


class MemberAccess:
    """Small reads of one file, each a request for just that part.

    Args:
        size: Its length.
        part: Opens a part of it.
    """

    def __init__(self, size: int, part: Callable[[int, int], Stream]) -> None:
        self._size = size
        self._part = part

    @property
    def size(self) -> int:
        """The listed size."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset``, fewer than ``length`` only at the end of the file.

        Raises:
            TransientError: Worth another try.
        """
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        with self._part(offset, offset + length) as stream:
            found = b"".join(bytes(piece) for piece in stream.chunks(_PIECE))
        if len(found) != length:
            raise TransientError(f"a part of a layer ended {length - len(found)} bytes early")
        return found
