"""Remove snapshots, and the pieces that no other snapshot needs; the log says that it happened.

Only what the removed snapshots lead to is ever looked at for removal, and only
in one transaction with the tombstone. A store in which the remaining snapshots
cannot be read whole is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from manifestd.errors import NotStoredError
from manifestd.model.digest import of_bytes
from manifestd.model.logentry import LogEntry
from manifestd.model.snapshot import Snapshot
from manifestd.model.tombstone import read_deletion_statement
from manifestd.store.blobs import Blobs, raw_digest
from manifestd.store.database import Database
from manifestd.store.log import Log
from manifestd.store.needs import Needs
from manifestd.store.rows import decode_record, payload_of


class Emptied(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal freed.

    Attributes:
        blobs: Number of blobs.
        bytes: Their bytes, as stored.
    """

    blobs: int
    bytes: int


class Removal:
    """Removes snapshots from a store. Call its methods inside one transaction.

    Args:
        database: Of the store.
        blobs: Of the store.
        log: Of the store.
    """

    def __init__(self, database: Database, blobs: Blobs, log: Log) -> None:
        self._database = database
        self._blobs = blobs
        self._log = log
        self._loose: set[bytes] = set()

    def remove(self, bundle: bytes, at: datetime) -> LogEntry:
        """Take out what a signed tombstone lists, and log the tombstone.

        Raises:
            MalformedError: Not a tombstone.
            NotStoredError: It lists a snapshot that is not stored.
            TamperedError: What is to be removed cannot be read, so nobody knows what it needs.
        """
        claim = read_deletion_statement(payload_of(bundle))
        for item in claim.removed:
            self._take_out(raw_digest(item.snapshot))
        self._blobs.put_as(bundle, "statement")
        document = of_bytes(bundle)
        return self._log.append("deletion", document, at, {"by": claim.by})

    def collect(self) -> Emptied:
        """Delete the pieces that were needed by removed snapshots only.

        Bodies and facts stay while an unfinished run may be about to name them.

        Raises:
            TamperedError: The remaining snapshots cannot be read whole.
        """
        kept = Needs(self._blobs)
        for raw, record in self._records():
            kept.see(raw, record)
        for (raw,) in self._database.all(
            "SELECT DISTINCT blob.digest FROM signature JOIN blob ON blob.id = signature.bundle"
        ):
            kept.pieces[raw] = "bundle"
        busy = self._database.one("SELECT 1 FROM journal LIMIT 1") is not None
        count = size = 0
        for raw in sorted(self._loose):
            if raw in kept.bodies and raw not in kept.pieces:
                # A file of another snapshot with the bytes of this record: no longer a record.
                self._database.run(
                    "UPDATE blob SET kind = 'body' WHERE digest = ? AND kind IN ('record', 'bundle')",
                    (raw,),
                )
            if raw in kept.pieces or raw in kept.bodies:
                continue
            row = self._database.one("SELECT kind, length(data) FROM blob WHERE digest = ?", (raw,))
            if row is None or row[0] in {"entry", "statement", "document"}:
                continue
            if busy and row[0] in {"body", "facts", "chunks"}:
                continue
            count += self._database.run("DELETE FROM blob WHERE digest = ?", (raw,))
            size += row[1]
        return Emptied(blobs=count, bytes=size)

    def _records(self) -> Iterator[tuple[bytes, Snapshot]]:
        for (raw,) in self._database.all("SELECT digest FROM snapshot ORDER BY id"):
            yield raw, decode_record(self._blobs.fetch(raw))

    def _take_out(self, raw: bytes) -> None:
        number = self._database.number("SELECT id FROM snapshot WHERE digest = ?", (raw,))
        if number is None:
            raise NotStoredError(f"there is no snapshot sha256:{raw.hex()} in the store")
        walk = Needs(self._blobs)
        walk.see(raw, decode_record(self._blobs.fetch(raw)))
        self._loose |= walk.pieces.keys() | walk.bodies
        for (bundle,) in self._database.all(
            "SELECT blob.digest FROM signature JOIN blob ON blob.id = signature.bundle"
            " WHERE signature.snapshot = ?",
            (number,),
        ):
            self._loose.add(bundle)
        self._database.run("DELETE FROM signature WHERE snapshot = ?", (number,))
        self._database.run("DELETE FROM snapshot WHERE id = ?", (number,))
