"""Make the index again from the blobs, which alone are the truth."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from manifestd.errors import ManifestdError, NotStoredError
from manifestd.model import media_types
from manifestd.model.logentry import LogEntry, decode_entry
from manifestd.rules import merkle
from manifestd.store import rows
from manifestd.store.blobs import Blobs
from manifestd.store.database import Database, connect
from manifestd.store.log import INSERT_ENTRY, INSERT_NODE, index_row, node_rows
from manifestd.store.needs import Needs
from manifestd.store.rows import decode_record, subjects_of
from manifestd.store.schema import rebuild_index_tables, rebuild_log_tables
from manifestd.store.snapshots import INSERT_SIGNATURE, INSERT_SNAPSHOT

_log: Final = logging.getLogger(__name__)


def rebuild_store(path: Path, *, whole: bool = False) -> int:
    """Drop the index tables and make them again; return the number of snapshots.

    Records and signatures that do not verify are left out and named in a warning;
    their blobs stay for ``store check`` to report. An unfinished run's journal stays.

    Args:
        path: Of the store.
        whole: Leave out snapshots whose file lists cannot be read, too: the next one of
            the place then begins anew instead of failing at what it would reuse.

    Raises:
        NotStoredError: There is no store.
        MalformedError: Not a manifestd store.
        StoreLockedError: Another process writes.
    """
    if not path.exists():
        raise NotStoredError(f"there is no store: {path}")
    database = connect(path, write=True)
    try:
        blobs = Blobs(database)
        needs = Needs(blobs)
        numbers: dict[str, int] = {}
        with database.transaction():
            rebuild_index_tables(database)
            for number, raw in list(blobs.of_kind("record")):
                try:
                    record = decode_record(blobs.fetch(raw))
                    if whole:
                        needs.see(raw, record)
                except ManifestdError as error:
                    _log.warning("sha256:%s is left out of the index: %s", raw.hex(), error.what)
                    continue
                database.run(INSERT_SNAPSHOT, (number, *rows.index_row(raw, record)))
                numbers["sha256:" + raw.hex()] = number
            for number, raw in list(blobs.of_kind("bundle")):
                try:
                    predicate, subjects = subjects_of(blobs.fetch(raw))
                except ManifestdError as error:
                    _log.warning("left out of the index: %s", error.what)
                    continue
                for snapshot in subjects:
                    if snapshot in numbers and predicate == media_types.SNAPSHOT_PREDICATE:
                        database.run(INSERT_SIGNATURE, (numbers[snapshot], number))
            _rebuild_log(database, blobs)
    finally:
        database.close()
    return len(numbers)


def _rebuild_log(database: Database, blobs: Blobs) -> None:
    """Make the log's index and nodes again; entries say their own place.

    A log with a gap cannot be made again. It stays as it is, for ``store check`` and
    whoever has a checkpoint; what is left of its nodes may be all that is left to compare.
    """
    entries: dict[int, tuple[int, LogEntry, bytes]] = {}
    for number, raw in list(blobs.of_kind("entry")):
        try:
            data = blobs.fetch(raw)
            entry = decode_entry(data)
            index_row(entry)
        except ManifestdError as error:
            _log.warning("left out of the history log: %s", error.what)
            continue
        if entry.index in entries:
            _log.warning("the history log has two entries %d; it is left as it is", entry.index)
            return
        entries[entry.index] = (number, entry, merkle.leaf_hash(data))
    if set(entries) != set(range(len(entries))):
        _log.warning("the history log has gaps; it is left as it is")
        return
    rebuild_log_tables(database)
    frontier = merkle.Frontier()
    for index in range(len(entries)):
        number, entry, leaf = entries[index]
        database.run(INSERT_ENTRY, (index, number, *index_row(entry)[1:]))
        frontier, nodes = merkle.grow(frontier, leaf)
        database.many(INSERT_NODE, node_rows(nodes))
