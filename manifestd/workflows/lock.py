"""Writing lock files: stored snapshots, pinned for those who use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from manifestd.errors import (
    UsageError,
)
from manifestd.exports.sha256sum import sum_line
from manifestd.model.digest import Digest
from manifestd.model.lockfile import (
    Locked,
    lock_lines,
)
from manifestd.model.manifest import Item
from manifestd.model.snapshot import Snapshot
from manifestd.rules.complete import identity_of
from manifestd.store import Store


def write_lock(store: Store, references: Sequence[str]) -> Iterator[bytes]:
    """The lines of a lock file that pins these snapshots.

    Args:
        store: Opened for reading until the last line is out.
        references: Names of stored snapshots.

    Raises:
        UsageError: One is incomplete, or two are of one place.
        NotStoredError, AmbiguousError: One names no snapshot, or several.
        TamperedError: The store does not hold what its records say.
    """
    return lock_lines(_pinned(store, references))


def write_sums(store: Store, reference: str) -> Iterator[bytes]:
    """The lines of a file for ``sha256sum -c``; errors as :func:`write_lock`."""
    _, record = _lockable(store, reference)
    return map(sum_line, _items(store, record))


def _pinned(store: Store, references: Sequence[str]) -> Iterator[Locked]:
    found: dict[tuple[str, str], tuple[Digest, Snapshot]] = {}
    for reference in references:
        digest, record = _lockable(store, reference)
        key = (record.name, record.source)
        if key in found and found[key][1].manifest != record.manifest:
            raise UsageError(
                f"two snapshots of {record.name} at {record.source} cannot be in one lock file",
                hint="name one of them",
            )
        found[key] = digest, record
    for key in sorted(found):
        record = found[key][1]
        head: dict[str, Any] = {
            "name": record.name,
            "source": record.source,
            "revision": record.revision,
            "manifest": record.manifest,
            "ignore": list(record.selection.ignore),
        }
        yield head, _items(store, record)


def _items(store: Store, record: Snapshot) -> Iterator[Item]:
    for path, size, sha256 in store.trees.content(record.content):
        assert sha256 is not None
        yield Item(path, size, sha256)


def _lockable(store: Store, reference: str) -> tuple[Digest, Snapshot]:
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    identity_of(digest, record, "locked")
    return digest, record
