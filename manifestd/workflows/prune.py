"""Removing old snapshots: which may go, and the signed tombstone that says they went.

Never removed: the newest snapshot of a place and its newest complete one, and
whatever a tag names or ever named, or somebody approved: the history must be
able to show what was in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from manifestd.errors import UsageError
from manifestd.model.history import Pruned
from manifestd.model.logentry import time_text
from manifestd.model.tag import MAX_REASON
from manifestd.model.tombstone import MAX_REMOVED, DeletionPredicate, Removed, deletion_statement
from manifestd.signing.base import Signer
from manifestd.signing.dsse import sign_statement
from manifestd.store import Row, Store
from manifestd.store.rows import microseconds
from manifestd.workflows.desk import Desk


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshots may go. At least one of ``keep`` and ``before`` must be given.

    Attributes:
        keep: All but so many of the newest of each place.
        before: All captured earlier.
        name: Only those filed under this name.
    """

    keep: int | None = None
    before: datetime | None = None
    name: str | None = None

    def reason(self) -> str:
        """The rule in words, for the tombstone."""
        parts = []
        if self.keep is not None:
            parts.append(f"not among the {self.keep} newest of its place")
        if self.before is not None:
            parts.append(f"captured before {time_text(self.before)}")
        return ", ".join(parts)


def choose(store: Store, rule: Rule) -> tuple[list[Row], int]:
    """The snapshots that go, oldest first, and how many would match but are protected.

    Raises:
        UsageError: The rule says nothing.
        TamperedError: The index or the log is damaged.
    """
    if rule.keep is None and rule.before is None:
        raise UsageError("say what may go", hint="give --keep N, --before DATE, or both")
    before = None if rule.before is None else microseconds(rule.before.astimezone(UTC).isoformat())
    protected = _named(store)
    seen: dict[str, int] = {}
    whole: set[str] = set()
    going: list[Row] = []
    kept = 0
    for row in store.snapshots.list():
        number = seen[row.source] = seen.get(row.source, 0) + 1
        newest = number == 1 or (row.complete and row.source not in whole)
        if row.complete:
            whole.add(row.source)
        matches = (
            (rule.name is None or row.name == rule.name)
            and (rule.keep is None or number > rule.keep)
            and (before is None or microseconds(row.captured_at) < before)
        )
        if not matches:
            continue
        if newest or row.digest in protected or row.manifest in protected:
            kept += 1
        else:
            going.append(row)
    return going[::-1], kept


def prune(
    store: Store, desk: Desk, rule: Rule, *, reason: str | None = None, dry_run: bool = False
) -> Pruned:
    """Remove what a rule lets go, with one tombstone for each 500 snapshots.

    Args:
        store: Opened for writing.
        desk: Where it is done; has the key that signs the tombstones.
        rule: Which may go.
        reason: Why; None: the rule in words.
        dry_run: Only say which would go.

    Raises:
        UsageError: The rule says nothing, or no key is configured.
        UntrustedError: The key does not count for tags, which it must to remove history.
        TamperedError: What remains could not be read whole; nothing is removed then.
    """
    going, kept = choose(store, rule)
    answer = Pruned(
        removed=[row.digest for row in going], kept=kept, dry_run=dry_run, blobs=0, bytes=0,
        entries=[],
    )  # fmt: skip
    if dry_run or not going:
        return answer
    hand = desk.authority("a removal", "tag")
    claim = DeletionPredicate(
        removed=[],
        at=time_text(desk.now),
        by=hand.person,
        key_id=hand.key_id,
        reason=_checked(rule.reason() if reason is None else reason),
        tool=desk.tool,
    )
    bundles = [_tombstone(claim, part, hand.signer) for part in _parts(going)]
    with store.transaction():
        # Somebody may have tagged or approved one of them while the tombstones were signed.
        protected = _named(store)
        taken = [row.digest for row in going if {row.digest, row.manifest} & protected]
        if taken:
            raise UsageError(
                f"the snapshot {taken[0]} was tagged or approved meanwhile; nothing was removed",
                hint="run the command again",
            )
        removal = store.removal()
        entries = [removal.remove(bundle, desk.now).index for bundle in bundles]
        freed = removal.collect()
    return msgspec.structs.replace(answer, blobs=freed.blobs, bytes=freed.bytes, entries=entries)


def _named(store: Store) -> set[str | None]:
    """Digests of snapshots and manifests that a tag move or an approval is about."""
    found: set[str | None] = set()
    for entry in store.log.entries(kinds=["tag", "approval"]):
        found |= {entry.fact("snapshot"), entry.fact("from")}
        if entry.kind == "approval":
            found.add(entry.fact("manifest"))
    return found - {None}


def _checked(reason: str) -> str:
    if not reason or len(reason) > MAX_REASON:
        raise UsageError(f"a reason has 1 to {MAX_REASON} characters, this has {len(reason)}")
    return reason


def _tombstone(claim: DeletionPredicate, rows: Sequence[Row], signer: Signer) -> bytes:
    removed = [_removed(row) for row in rows]
    statement = deletion_statement(msgspec.structs.replace(claim, removed=removed))
    return sign_statement(statement, signer)


def _removed(row: Row) -> Removed:
    return Removed(
        snapshot=row.digest,
        manifest=row.manifest,
        name=row.name,
        source=row.source,
        captured_at=row.captured_at,
    )


def _parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    return [rows[at : at + MAX_REMOVED] for at in range(0, len(rows), MAX_REMOVED)]
