"""Reading the history: the log's entries, and what every tag named at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from manifestd.model.change import SignatureState
from manifestd.model.digest import of_bytes, of_hex
from manifestd.model.history import AsOf, LogList, NamedThen
from manifestd.model.logentry import time_text
from manifestd.model.snapshot import Snapshot
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import microseconds
from manifestd.store.tags import Move
from manifestd.workflows.sign import judge_signature, overall_state
from manifestd.workflows.tags import state_of


def list_log(
    store: Store, *, kinds: Sequence[str] = (), tag: str | None = None, limit: int | None = None
) -> LogList:
    """The newest entries of the log, newest first.

    Args:
        store: Opened for reading.
        kinds: Only of these kinds.
        tag: Only about this ``NAME:TAG``.
        limit: At most so many.

    Raises:
        TamperedError: An entry is not the one that was logged.
    """
    found = store.log.entries(kinds=kinds, tag=tag, newest_first=True, limit=limit)
    return LogList(size=store.log.size, root=of_hex(store.log.root().hex()), entries=list(found))


def as_of(store: Store, trust: Trust, at: datetime) -> AsOf:
    """What every tag named at a time, with the signatures as they counted then.

    A signature counts if its key counted when the signature was logged, whatever the
    trust says of today. Entries count by their own times, in the order of the log.

    Args:
        store: Opened for reading.
        trust: The keys that count, with their times.
        at: The moment; what was logged at it is included.

    Raises:
        TamperedError: The log or a statement is damaged.
    """
    until = microseconds(at.astimezone(UTC).isoformat())
    return AsOf(
        at=time_text(at),
        entries=store.log.count(until),
        tags=[_named(store, trust, move, until) for move in store.tags.current(until=until)],
    )


def _named(store: Store, trust: Trust, move: Move, until: int) -> NamedThen:
    state = state_of(move, trust)
    assert state.snapshot is not None
    record = record_if_stored(store, state.snapshot)
    signature: SignatureState = "unsigned"
    names: list[str] = []
    if record is not None:
        signature, names = signature_then(store, trust, state.snapshot, record, until)
    return NamedThen(
        state=state,
        name=record.name if record else None,
        source=record.source if record else None,
        revision=record.revision if record else None,
        captured_at=record.captured_at if record else None,
        stored=record is not None,
        signature=signature,
        signed_by=names,
    )


def signature_then(
    store: Store, trust: Trust, snapshot: str, record: Snapshot, until: int
) -> tuple[SignatureState, list[str]]:
    """State and signers of a snapshot's signatures that were logged until a time."""
    checks = []
    bundles = {of_bytes(bundle): bundle for bundle in store.snapshots.bundles(snapshot)}
    for digest, bundle in bundles.items():
        logged = [
            entry
            for entry in store.log.entries(kinds=["signature"], document=digest, until=until)
            if entry.facts.get("snapshot") == snapshot
        ]
        if logged:
            checks.append(
                judge_signature(
                    bundle,
                    digest=snapshot,
                    manifest=record.manifest,
                    trust=trust,
                    at=logged[0].moment(),
                )
            )
    return overall_state(checks)


def record_if_stored(store: Store, snapshot: str) -> Snapshot | None:
    """The record, or None when it is no longer stored."""
    if not store.blobs.has(snapshot):
        return None
    return store.snapshots.load(snapshot)
