"""Make the index again from the blobs, which alone are the truth."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from manifestd.errors import ManifestdError, NotStoredError
from manifestd.store.blobs import Blobs
from manifestd.store.database import connect
from manifestd.store.rows import decode_record, index_row, subjects_of
from manifestd.store.schema import rebuild_index_tables
from manifestd.store.snapshots import INSERT_SIGNATURE, INSERT_SNAPSHOT

_log: Final = logging.getLogger(__name__)


def rebuild_store(path: Path) -> int:
    """Drop the index tables and make them again; return the number of snapshots.

    Records and signatures that do not verify are left out and named in a warning;
    their blobs stay for ``store check`` to report. An unfinished run's journal stays.

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
        numbers: dict[str, int] = {}
        with database.transaction():
            rebuild_index_tables(database)
            for number, raw in list(blobs.of_kind("record")):
                try:
                    record = decode_record(blobs.fetch(raw))
                except ManifestdError as error:
                    _log.warning("left out of the index: %s", error.what)
                    continue
                database.run(INSERT_SNAPSHOT, (number, *index_row(raw, record)))
                numbers["sha256:" + raw.hex()] = number
            for number, raw in list(blobs.of_kind("bundle")):
                try:
                    subjects = subjects_of(blobs.fetch(raw))[1]
                except ManifestdError as error:
                    _log.warning("left out of the index: %s", error.what)
                    continue
                for snapshot in subjects:
                    if snapshot in numbers:
                        database.run(INSERT_SIGNATURE, (numbers[snapshot], number))
    finally:
        database.close()
    return len(numbers)
