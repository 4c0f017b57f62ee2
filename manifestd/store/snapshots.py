"""Snapshots: records and signatures among the blobs, and the index that finds them.

The index is a convenience that anyone who can write the file could change.
Whatever is found through it is compared with the record before it is given out.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from manifestd.errors import MalformedError, NotStoredError, TamperedError
from manifestd.model import media_types
from manifestd.model.digest import Digest, of_bytes
from manifestd.model.logentry import MAX_FACT, Fact
from manifestd.model.reference import HubReference
from manifestd.model.snapshot import Snapshot
from manifestd.store.blobs import Blobs, raw_digest
from manifestd.store.database import Database
from manifestd.store.log import Log
from manifestd.store.rows import (
    COLUMNS,
    IndexRow,
    Row,
    decode_record,
    index_row,
    list_row,
    subjects_of,
    was_called,
)
from manifestd.store.tags import Tags

INSERT_SNAPSHOT: Final = (
    f"INSERT INTO snapshot(id, {COLUMNS}) VALUES (?{', ?' * 11}) ON CONFLICT DO NOTHING"
)
INSERT_SIGNATURE: Final = (
    "INSERT INTO signature(snapshot, bundle) VALUES (?, ?) ON CONFLICT DO NOTHING"
)
_SELECT: Final = f"SELECT id, {COLUMNS} FROM snapshot"
_KEPT: Final = 64
"""Decoded records that are remembered: both sides, and those before them, of models judged at once."""
_NEWEST: Final = "ORDER BY captured DESC, id DESC"

# Inside the class below, ``list`` is its method.
Rows = list[Row]
Bundles = list[bytes]
Names = list[str]


class Snapshots:
    """The snapshots of a store."""

    def __init__(self, database: Database, blobs: Blobs, log: Log, tags: Tags) -> None:
        self._database = database
        self._blobs = blobs
        self._log = log
        self._records: OrderedDict[bytes, Snapshot] = OrderedDict()
        self.tags = tags

    def add(
        self, record: bytes, bundle: bytes | None = None, *, at: datetime | None = None
    ) -> Digest:
        """Store, index and log a record, with its signature if there is one. Twice is fine.

        It happens whole or not at all, and waits for the disk.

        Args:
            record: The record's canonical bytes. Both its file lists must be stored.
            bundle: A signature bundle whose statement names this record.
            at: When it is logged; None: now.

        Raises:
            MalformedError: Not a record, file lists missing, or the bundle names another one.
            NotCanonicalError: Not its canonical bytes.
            StoreLockedError: Another process writes.
        """
        snapshot = decode_record(record)
        for root in (snapshot.content, snapshot.observation):
            if not self._blobs.has(root):
                raise MalformedError(f"the record names a file list that is not stored: {root}")
        raw = hashlib.sha256(record).digest()
        digest = Digest("sha256:" + raw.hex())
        with self._database.transaction():
            is_new = self._number(raw) is None
            number = self._blobs.put_as(record, "record")
            self._database.run(INSERT_SNAPSHOT, (number, *index_row(raw, snapshot)))
            if is_new:
                self._log.append("snapshot", digest, at or datetime.now(UTC), facts_of(snapshot))
            if bundle is not None:
                self.attach(digest, bundle, at=at)
        # Whoever takes a snapshot compares it next; these bytes have just been decoded.
        self._remember(raw, snapshot)
        return digest

    def attach(self, snapshot: str, bundle: bytes, *, at: datetime | None = None) -> None:
        """Keep and log a signature of a stored snapshot. Attaching twice is fine.

        Args:
            snapshot: Its digest.
            bundle: The signature; its statement is about this snapshot.
            at: When it is logged; None: now.

        Raises:
            NotStoredError: No such snapshot.
            MalformedError: The bundle's statement does not name it.
        """
        predicate, subjects = subjects_of(bundle)
        if snapshot not in subjects or predicate != media_types.SNAPSHOT_PREDICATE:
            raise MalformedError(f"the signature is not about the snapshot {snapshot}")
        with self._database.transaction():
            numbers = {subject: self._number(raw_digest(subject)) for subject in subjects}
            if numbers[Digest(snapshot)] is None:
                raise _not_stored(snapshot)
            bundle_number = self._blobs.put_as(bundle, "bundle")
            for subject, number in numbers.items():
                if number is None or not self._database.run(
                    INSERT_SIGNATURE, (number, bundle_number)
                ):
                    continue
                signature = of_bytes(bundle)
                when = at or datetime.now(UTC)
                self._log.append("signature", signature, when, {"snapshot": subject})

    def has(self, digest: str) -> bool:
        """Whether there is such a snapshot. Its record is not looked at."""
        return self._number(raw_digest(digest)) is not None

    def load(self, digest: str) -> Snapshot:
        """The record of a snapshot; errors as :meth:`raw`."""
        raw = raw_digest(digest)
        if self._number(raw) is None:
            raise _not_stored(digest)
        return self._record(raw)

    def raw(self, digest: str) -> bytes:
        """The record's bytes, which are its identity.

        Raises:
            NotStoredError: No such snapshot.
            TamperedError: The stored bytes do not have the digest.
        """
        raw = raw_digest(digest)
        if self._number(raw) is None:
            raise _not_stored(digest)
        return self._blobs.fetch(raw)

    def bundles(self, digest: str) -> Bundles:
        """The signature bundles kept with a snapshot, oldest first. None of them is verified.

        Raises:
            NotStoredError: No such snapshot.
            TamperedError: One is damaged, or is about something else.
        """
        number = self._number(raw_digest(digest))
        if number is None:
            raise _not_stored(digest)
        found: Bundles = []
        for (raw,) in self._database.all(
            # A bundle that was taken away leaves NULL, which is no digest.
            "SELECT blob.digest FROM signature LEFT JOIN blob ON blob.id = signature.bundle"
            " WHERE signature.snapshot = ? ORDER BY blob.id",
            (number,),
        ):
            bundle = self._blobs.fetch(_blob(raw))
            if digest not in subjects_of(bundle)[1]:
                raise TamperedError(f"a signature kept with {digest} is about something else")
            found.append(bundle)
        return found

    def list(
        self, *, source: str | None = None, name: str | None = None, limit: int | None = None
    ) -> Rows:
        """Snapshots, newest first.

        Args:
            source: Only of this place (canonical reference without revision).
            name: Only of this name.
            limit: At most so many.

        Raises:
            TamperedError: A row of the index is not what its record says.
        """
        conditions = {"source = ?": source, "name = ?": name}
        return self.select({sql: value for sql, value in conditions.items() if value}, limit)

    def with_manifest(self, digest: str) -> Rows:
        """Snapshots that hold this manifest, newest first; errors as :meth:`list`."""
        return self.select({"manifest = ?": raw_digest(digest)})

    def latest(self, place: str, revision: str | None = None) -> tuple[Digest, Snapshot] | None:
        """The newest snapshot of a place, or None; errors as :meth:`list`.

        Args:
            place: Canonical reference without revision.
            revision: Only of this branch, tag or revision.
        """
        conditions = {"source = ?": place, "? IN (requested, revision)": revision}
        found = self._select({sql: value for sql, value in conditions.items() if value}, 1)
        for _, raw, record in found:
            return Digest("sha256:" + raw.hex()), record
        return None

    def renamed(self, reference: HubReference, name: str) -> tuple[Digest, Snapshot] | None:
        """The newest snapshot filed under ``name`` of a Hub repository that was renamed since.

        Such a snapshot's place is the name that the repository had when it was taken.

        Args:
            reference: What it was asked for by, with the revision if only that will do.
            name: What the snapshot is filed under.
        """
        conditions = {"name = ?": name, "? IN (requested, revision)": reference.revision}
        for row in self.select({sql: value for sql, value in conditions.items() if value}):
            record = self.load(row.digest)
            if was_called(record, reference):
                return Digest(row.digest), record
        return None

    def resolve(self, text: str) -> Digest:
        """The snapshot that a user's reference means (contract, section 2).

        Raises:
            AmbiguousError: Several; ``facts["candidates"]`` lists their digests.
            NotStoredError: None.
            UsageError: Not a reference.
            TamperedError: A row of the index is not what its record says.
        """
        from manifestd.store.resolve import resolve

        return resolve(self, text)

    def select(self, conditions: dict[str, Any], limit: int | None = None) -> Rows:
        """Rows that meet all conditions (SQL with one ``?`` -> value), newest first, checked."""
        return [
            list_row(raw, record, signed=self._is_signed(number))
            for number, raw, record in self._select(conditions, limit)
        ]

    def _select(
        self, conditions: dict[str, Any], limit: int | None
    ) -> Iterator[tuple[int, bytes, Snapshot]]:
        """Id, digest and record of the rows that meet all conditions, newest first, checked."""
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        values: Sequence[Any] = [*conditions.values(), -1 if limit is None else limit]
        for row in self._database.all(f"{_SELECT}{where} {_NEWEST} LIMIT ?", values):
            yield self._checked(row)

    def names(self) -> Names:
        """All names, places and tags there are, for hints."""
        found = self._database.all(
            "SELECT name FROM snapshot UNION SELECT source FROM snapshot LIMIT 10000"
        )
        return [str(text) for (text,) in found] + self.tags.names()

    def _checked(self, row: tuple[Any, ...]) -> tuple[int, bytes, Snapshot]:
        """The record of a row, which must be what the row says."""
        number, *found = row
        raw = _blob(found[0])
        record = self._record(raw)
        expected: IndexRow = index_row(raw, record)
        if tuple(found) != expected or self._blobs.id_of(raw) != number:
            raise TamperedError(
                f"the store's index does not agree with the record sha256:{raw.hex()}",
                hint="run `manifestd store check`, then `manifestd store rebuild`",
                facts={"snapshot": "sha256:" + raw.hex()},
            )
        return number, raw, record

    def _is_signed(self, number: int) -> bool:
        found = self._database.one("SELECT 1 FROM signature WHERE snapshot = ?", (number,))
        return found is not None

    def _record(self, raw: bytes) -> Snapshot:
        """A record by its digest; what was read and found right lately is not read again."""
        record = self._records.get(raw)
        if record is None:
            record = decode_record(self._blobs.fetch(raw))
            self._remember(raw, record)
        return record

    def _remember(self, raw: bytes, record: Snapshot) -> None:
        self._records[raw] = record
        if len(self._records) > _KEPT:
            self._records.popitem(last=False)

    def _number(self, raw: bytes) -> int | None:
        return self._database.number("SELECT id FROM snapshot WHERE digest = ?", (raw,))


def facts_of(record: Snapshot) -> dict[str, Fact]:
    """What the log says of a snapshot besides its digest."""
    return {
        "name": record.name[:MAX_FACT],
        "source": record.source[:MAX_FACT],
        "manifest": record.manifest,
    }


def _blob(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise TamperedError("the store's index has something that is not a digest")
    return value


def _not_stored(digest: str) -> NotStoredError:
    return NotStoredError(
        f"there is no snapshot {digest} in the store", hint="run `manifestd list`"
    )
