"""Walking a tar stream: names, kinds and data of its members, in one pass, nothing extracted.

POSIX ustar and pax, GNU long names and large numbers (POSIX.1-2017 "pax", GNU tar
manual "Basic Tar Format"). Written here because the stream is hostile: every
header's checksum is verified and nothing but a member's own data is unbounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, Protocol

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.errors import MalformedError

BLOCK: Final = 512
MAX_EXTENDED: Final = 1024 * 1024
"""Bytes of one extended header or long name."""

_CHUNK: Final = 1024 * 1024
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]{1,255})=")
_NUMBER: Final = re.compile(rb" *([0-7]{0,12})[ \0]*\Z")
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "link", b"2": "link", b"5": "directory",
}  # fmt: skip

Kind = Literal["file", "link", "directory", "special"]


class Bytes(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none only at the end."""


class Member(msgspec.Struct, frozen=True):
    """One member.

    Attributes:
        name: Its name, as bytes of unknown encoding.
        kind: ``special`` is everything that is neither file, link nor directory: devices,
            sparse files, unknown types.
        size: Bytes of data.
        offset: Where they begin in the stream.
    """

    name: bytes
    kind: Kind
    size: int
    offset: int


class Tar:
    """A tar stream, walked once.

    Example:
        >>> import io
        >>> list(Tar(io.BytesIO(bytes(1024))).members())
        []
    """

    def __init__(self, source: Bytes) -> None:
        self._source = source
        self._position = 0
        self._left = 0

    def members(self) -> Iterator[Member]:
        """Yield members; :meth:`data` gives the data of the one yielded last.

        Raises:
            MalformedError: It is no tar archive, or ends in the middle.
        """
        longer: dict[str, bytes] = {}
        while (block := self._header()) is not None:
            size = _number(block[124:136])
            flag = block[156:157]
            if flag in b"xgLK":
                self._extended(flag, size, longer)
                continue
            if "size" in longer:
                size = _decimal(longer["size"])
            name = longer.get("path") or _ustar_name(block)
            kind = "special" if "sparse" in longer else _KINDS.get(flag, "special")
            if kind == "file" and name.endswith(b"/"):
                kind = "directory"
            if kind in {"link", "directory"}:
                # Some writers state a link's target's size: no data follows (POSIX).
                size = 0
            longer = {}
            self._left = size
            yield Member(name, kind, size, self._position)
            for _ in self.data():
                pass
            self._exactly(-size % BLOCK)

    def data(self) -> Iterator[bytes]:
        """The data of the current member, once."""
        while self._left:
            piece = self._source.read(min(self._left, _CHUNK))
            if not piece:
                raise MalformedError("the archive ends inside a file")
            self._left -= len(piece)
            self._position += len(piece)
            yield piece

    def _header(self) -> bytes | None:
        block = self._some(BLOCK)
        if not block:
            # Decompressors may take a stream that was cut for one that ends.
            raise MalformedError("the archive has no end: it was cut, or is no tar archive")
        if not block.strip(b"\0"):
            return None
        if len(block) < BLOCK:
            raise MalformedError("the archive ends inside a header")
        # The sum is taken with its own field as spaces.
        total = sum(block[:148]) + 8 * 32 + sum(block[156:])
        if _number(block[148:156]) != total:
            raise MalformedError(
                "not a tar archive, or a damaged one: a header's checksum is wrong"
            )
        return block

    def _extended(self, flag: bytes, size: int, longer: dict[str, bytes]) -> None:
        if size > MAX_EXTENDED:
            raise MalformedError(f"an extended header has {size} bytes")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        if flag == b"L":
            longer["path"] = data.rstrip(b"\0")
        elif flag == b"x":
            longer.update(_records(data))
        elif flag == b"g" and _records(data):
            raise MalformedError("a global header changes names or sizes of all files")

    def _exactly(self, size: int) -> bytes:
        data = self._some(size)
        if len(data) < size:
            raise MalformedError("the archive ends in the middle")
        return data

    def _some(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = self._source.read(size - len(found))
            if not piece:
                break
            found += piece
        self._position += len(found)
        return bytes(found)


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # GNU tar uses the prefix field for other things, and says so by its magic.
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _records(data: bytes) -> dict[str, bytes]:
    """What of a pax header concerns names and sizes, of records of length, key and value."""
    found: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        head = _RECORD.match(data, position)
        if head is None:
            raise MalformedError("an extended header has a malformed record")
        end = position + int(head[1])
        value = data[head.end() : end - 1]
        if end > len(data) or head.end() >= end or data[end - 1 : end] != b"\n":
            raise MalformedError("an extended header has a malformed record")
        key = head[2]
        if key in {b"path", b"size"}:
            found[key.decode()] = value
        elif key.startswith(b"GNU.sparse."):
            found["sparse"] = value
        position = end
    return found


def _number(field: bytes) -> int:
    """Octal text, or base 256 where the first bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        found = _NUMBER.match(field)
        if found is None:
            raise MalformedError("not a tar archive, or a damaged one: a header's number is wrong")
        value = int(found[1] or b"0", 8)
    if value > MAX_INTEGER:
        raise MalformedError("a header states an impossible number")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 16 or int(text) > MAX_INTEGER:
        raise MalformedError("an extended header states an impossible size")
    return int(text)
