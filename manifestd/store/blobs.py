"""Blobs by digest: the truth of the store. Every read checks the sha256 of what it gives."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args
from zlib import crc32

from manifestd.errors import MalformedError, TamperedError
from manifestd.model.digest import Digest, hex_of, parse_digest
from manifestd.store.database import Database
from manifestd.store.faults import ERRORS

Kind = Literal[
    "record", "leaf", "node", "body", "facts", "chunks", "bundle", "document", "entry", "statement"
]
"""``bundle`` signs a snapshot; ``statement`` is any other signed claim; ``entry`` is of the log."""
KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))

MAX_SIZE: Final = 256 * 1024 * 1024
"""Bytes of one blob. Bodies are at most 16 MiB; this bounds tensor lists and chunk digests."""

# Fast for leaves, which come by the thousand; content leaves are mostly digests and stay plain.
_LEVELS: Final = {"leaf": 1, "node": 6, "body": 6, "facts": 6, "chunks": 6}
_WORTH: Final = 0.9

PACKED: Final = "zlib+crc32"
"""A zlib stream and the CRC-32 of that stream, four bytes, big-endian."""

INSERT: Final = (
    "INSERT INTO blob(digest, kind, encoding, size, data) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT(digest) DO NOTHING"
)
_FETCH: Final = "SELECT encoding, size, data FROM blob WHERE digest = ?"

BlobRow = tuple[bytes, str, str, int, bytes]


class Blobs:
    """The table of blobs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    @property
    def in_transaction(self) -> bool:
        """Whether what is put now is part of a larger whole."""
        return self._database.inside

    def get(self, digest: str) -> bytes:
        """The bytes with this digest.

        Raises:
            MalformedError: Not a sha256 digest.
            TamperedError: Not stored, or stored bytes that do not have it.
        """
        return self.fetch(raw_digest(digest))

    def fetch(self, raw: bytes) -> bytes:
        """As :meth:`get`, by the 32 bytes of the digest."""
        data = self.find(raw)
        if data is None:
            raise TamperedError(
                f"the store lacks sha256:{raw.hex()}, which something in it names",
                hint="run `manifestd store check`",
                facts={"digest": "sha256:" + raw.hex()},
            )
        return data

    def find(self, raw: bytes) -> bytes | None:
        """The bytes with this digest, None where none are stored.

        Raises:
            TamperedError: The stored bytes do not have it.
        """
        try:
            row = self._connection.execute(_FETCH, (raw,)).fetchone()
        except ERRORS as error:
            self._database.fail(error)
        if row is None:
            return None
        data = unpacked(row[0], row[1], row[2])
        if data is None or hashlib.sha256(data).digest() != raw:
            raise TamperedError(
                f"the store's bytes for sha256:{raw.hex()} do not have that digest",
                hint="restore a backup, or let snapshots write it again: see `manifestd store rebuild --help`",
                facts={"digest": "sha256:" + raw.hex()},
            )
        return data

    def has(self, digest: str) -> bool:
        """Whether something is stored under this digest (its bytes are not checked)."""
        return self.id_of(raw_digest(digest)) is not None

    def id_of(self, raw: bytes) -> int | None:
        """The row of a blob, or None."""
        return self._database.number("SELECT id FROM blob WHERE digest = ?", (raw,))

    def put(self, data: bytes, kind: Kind) -> Digest:
        """Store bytes once and return their digest.

        Raises:
            MalformedError: Larger than 256 MiB.
            StoreLockedError: Another process writes.
        """
        raw = hashlib.sha256(data).digest()
        if self.id_of(raw) is None:
            self._database.run(INSERT, blob_row(raw, data, kind))
        return Digest("sha256:" + raw.hex())

    def put_as(self, data: bytes, kind: Kind) -> int:
        """Store bytes of which the index is made again by kind; return their row.

        The same bytes may have come before as a file's body, so the kind is set anyway.

        Raises:
            MalformedError: Larger than 256 MiB.
            StoreLockedError: Another process writes.
        """
        raw = hashlib.sha256(data).digest()
        inserted = self._database.insert(INSERT, blob_row(raw, data, kind))
        if inserted is not None:
            return inserted
        number = self.id_of(raw)
        assert number is not None
        self._database.run(
            "UPDATE blob SET kind = ? WHERE id = ? AND kind <> ?", (kind, number, kind)
        )
        return number

    def put_rows(self, rows: list[BlobRow]) -> None:
        """Store many, made by :func:`blob_row`; those there already stay as they are."""
        with self._database.transaction(durable=False):
            self._database.many(INSERT, rows)

    def of_kind(self, kind: Kind) -> Iterator[tuple[int, bytes]]:
        """Row and raw digest of every blob of a kind, oldest first. Reads the whole table."""
        for number, raw in self._database.rows(
            "SELECT id, digest FROM blob WHERE kind = ? ORDER BY id", (kind,)
        ):
            yield number, bytes(raw) if isinstance(raw, bytes) else b""


def raw_digest(digest: str) -> bytes:
    """The 32 bytes of ``sha256:<hex>``.

    Raises:
        MalformedError: Not such a digest.
    """
    return bytes.fromhex(hex_of(parse_digest(digest)))


def blob_row(raw: bytes, data: bytes, kind: str) -> BlobRow:
    """The row that stores ``data``, compressed when that pays.

    Raises:
        MalformedError: Larger than 256 MiB.
    """
    if len(data) > MAX_SIZE:
        raise MalformedError(
            f"too large for the store: {len(data)} bytes, at most {MAX_SIZE} are kept"
        )
    level = _LEVELS.get(kind)
    if level is not None and len(data) >= 128 and not data.startswith(b'["manifestd.content/'):
        packed = zlib.compress(data, level)
        if len(packed) < _WORTH * len(data):
            # Deflate leaves bits unused: without a sum over the stream one could be flipped unseen.
            return (raw, kind, PACKED, len(data), packed + crc32(packed).to_bytes(4, "big"))
    return (raw, kind, "raw", len(data), data)


def unpacked(encoding: Any, size: Any, data: Any) -> bytes | None:
    """The bytes of a row, or None when the row contradicts itself. Never makes more than ``size``."""
    if not isinstance(data, bytes) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        return None
    if encoding == PACKED:
        packed, found_sum = data[:-4], data[-4:]
        if crc32(packed).to_bytes(4, "big") != found_sum:
            return None
        stream = zlib.decompressobj()
        try:
            found = stream.decompress(packed, size + 1)
        except zlib.error:
            return None
        if not stream.eof or stream.unused_data:
            return None
    elif encoding == "raw":
        found = data
    else:
        return None
    return found if len(found) == size else None
