"""Take damaged pieces out of a store, so that the next snapshot can write them again.

A blob is stored once: what is there under a digest is never written over, so bytes that
went bad would stay bad for ever. Only when asked, and only what a snapshot makes again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from manifestd.errors import NotStoredError
from manifestd.store.blobs import unpacked
from manifestd.store.database import Database, connect

_AGAIN: Final = ("leaf", "node", "body", "facts", "chunks")
"""Kinds that a snapshot of the same files writes again. Records, signatures, statements and
entries of the log were made once; what is left of those is for whoever looks into it."""

# The kind gives no authority: what the index says is a record, a signature or an entry stays.
# Data of another type is damage, and may not even be readable as that type.
_CANDIDATES: Final = (
    "SELECT id, digest, encoding, size, CASE typeof(data) WHEN 'blob' THEN data END FROM blob"
    f" WHERE kind IN ({', '.join('?' * len(_AGAIN))})"
    " AND id NOT IN (SELECT id FROM snapshot UNION SELECT bundle FROM signature"
    " UNION SELECT blob FROM log) ORDER BY id"
)


def drop_damaged(path: Path) -> list[str]:
    """Remove the pieces whose bytes do not have their digest; return the digests.

    Snapshots that need one cannot be read until it was written again, and say so.

    Raises:
        NotStoredError: There is no store.
        MalformedError: Not a manifestd store.
        StoreLockedError: Another process writes.
    """
    if not path.exists():
        raise NotStoredError(f"there is no store: {path}")
    database = connect(path, write=True)
    try:
        with database.transaction():
            found = _damaged(database)
            database.many("DELETE FROM blob WHERE id = ?", [(number,) for number, _ in found])
    finally:
        database.close()
    return ["sha256:" + raw.hex() for _, raw in found]


def _damaged(database: Database) -> list[tuple[int, bytes]]:
    found = []
    for number, raw, encoding, size, stored in database.rows(_CANDIDATES, _AGAIN):
        data = unpacked(encoding, size, stored)
        if data is None or hashlib.sha256(data).digest() != raw:
            found.append((number, bytes(raw)))
    return found
