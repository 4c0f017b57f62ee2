"""Snapshots of one place over time: the last one that held something else, the last look at this."""

from __future__ import annotations

from datetime import datetime

from manifestd.model.snapshot import Snapshot
from manifestd.store.blobs import raw_digest
from manifestd.store.rows import Row, microseconds
from manifestd.store.snapshots import Snapshots


def last_other(snapshots: Snapshots, record: Snapshot) -> Row | None:
    """The newest snapshot of the record's place that is older and holds another manifest.

    Snapshots without a manifest are passed over: nobody knows what they hold.

    Raises:
        TamperedError: A row of the index is not what its record says.
    """
    conditions: dict[str, object] = {
        "source = ?": record.source,
        "captured < ?": microseconds(record.captured_at),
        "manifest IS NOT ?": None,
    }
    if record.manifest is not None:
        conditions["manifest <> ?"] = raw_digest(record.manifest)
    return next(iter(snapshots.select(conditions, 1)), None)


def last_look(snapshots: Snapshots, record: Snapshot, until: datetime) -> Row | None:
    """The newest complete snapshot of the record's place that holds the same manifest.

    Args:
        snapshots: Of the store.
        record: What was seen.
        until: Later snapshots do not count.

    Raises:
        TamperedError: A row of the index is not what its record says.
    """
    if record.manifest is None:
        return None
    conditions: dict[str, object] = {
        "source = ?": record.source,
        "manifest = ?": raw_digest(record.manifest),
        "complete = ?": 1,
        "captured <= ?": microseconds(until.isoformat()),
    }
    return next(iter(snapshots.select(conditions, 1)), None)
