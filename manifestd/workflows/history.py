"""Reading the history: the log's entries, what every tag named at a time, the release ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Final

from manifestd import canonical
from manifestd.errors import ManifestdError, UsageError
from manifestd.model.change import SignatureState
from manifestd.model.digest import of_hex
from manifestd.model.history import AsOf, Ledger, LogList, NamedThen, Release
from manifestd.model.logentry import LogEntry, time_text
from manifestd.model.snapshot import Snapshot
from manifestd.model.tag import split_tag
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import microseconds
from manifestd.store.tags import Move
from manifestd.workflows.sign import judge_signature, overall_state
from manifestd.workflows.tags import action_of, state_of

EVENTS: Final = ("approval", "revocation", "verdict")


def parse_moment(text: str) -> datetime:
    """A date or time that somebody typed; a bare date is the end of that day, UTC.

    Raises:
        UsageError: Neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"not a date or time: {text!r}", hint="write 2026-03-01 or 2026-03-01T10:00:00Z"
        ) from error
    if "T" not in text and " " not in text:
        moment = datetime.combine(moment.date(), time.max, UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def parse_day(text: str) -> datetime:
    """As :func:`parse_moment`, but a bare date is the beginning of that day, UTC.

    Raises:
        UsageError: Neither a date nor a time.
    """
    moment = parse_moment(text)
    whole_day = "T" not in text and " " not in text
    return datetime.combine(moment.date(), time.min, UTC) if whole_day else moment


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
        entries=_logged_until(store, until),
        tags=[_named(store, trust, move, until) for move in store.tags.current(until=until)],
    )


def ledger(store: Store, trust: Trust, *, name: str | None = None) -> Ledger:
    """The release ledger: every move of every tag, oldest first.

    Args:
        store: Opened for reading.
        trust: The keys that count.
        name: Only tags of this ``NAME``, or this one ``NAME:TAG``.
    """
    events = list(store.log.entries(kinds=EVENTS))
    return Ledger(
        releases=[
            _release(store, trust, move, events)
            for move in store.tags.moves()
            if name in {None, move.claim.tag, move.claim.tag.rpartition(":")[0]}
        ]
    )


def _logged_until(store: Store, until: int) -> int:
    """Number of entries with a time until then."""
    return sum(1 for _ in store.log.entries(until=until))


def _named(store: Store, trust: Trust, move: Move, until: int) -> NamedThen:
    state = state_of(move, trust)
    assert state.snapshot is not None
    record = _record(store, state.snapshot)
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
    bundles = {
        "sha256:" + canonical.sha256_hex(bundle): bundle
        for bundle in store.snapshots.bundles(snapshot)
    }
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


def _record(store: Store, snapshot: str) -> Snapshot | None:
    """The record, or None when it is no longer stored."""
    if not store.blobs.has(snapshot):
        return None
    return store.snapshots.load(snapshot)


def _release(store: Store, trust: Trust, move: Move, events: list[LogEntry]) -> Release:
    state = state_of(move, trust)
    about = move.claim.to or move.claim.from_
    parts = split_tag(move.claim.tag)
    assert about is not None
    assert parts is not None
    record = _record(store, about.snapshot)
    return Release(
        model=parts[0],
        version=parts[1],
        action=action_of(move.claim),
        snapshot=about.snapshot,
        manifest=about.manifest,
        source=record.source if record else None,
        revision=record.revision if record else None,
        at=state.since,
        by=state.by,
        approvers=_approvers(move, events),
        verdict=_verdict(store, move, events),
        signature=state.signature,
        reason=move.claim.reason,
        entry=move.entry.index,
    )


def _approvers(move: Move, events: list[LogEntry]) -> list[str]:
    """Who had approved what the tag was moved to, and had not taken it back by then."""
    if move.claim.to is None:
        return []
    before = [entry for entry in events if entry.index < move.entry.index]
    revoked = {entry.fact("revokes") for entry in before if entry.kind == "revocation"}
    names = [
        entry.fact("by") or "unknown"
        for entry in before
        if entry.kind == "approval"
        and entry.tag == move.claim.tag
        and entry.fact("manifest") == move.claim.to.manifest
        and entry.document not in revoked
    ]
    return list(dict.fromkeys(names))


def _verdict(store: Store, move: Move, events: list[LogEntry]) -> str | None:
    """The last verdict logged about it before the move, else how it compares with the last one."""
    if move.claim.to is None:
        return None
    for entry in reversed(events):
        about = (entry.fact("snapshot"), entry.fact("manifest"))
        known = entry.kind == "verdict" and entry.index < move.entry.index
        if known and (about[0] == move.claim.to.snapshot or about[1] == move.claim.to.manifest):
            return entry.fact("verdict")
    if move.claim.from_ is None:
        return None
    if move.claim.from_.manifest == move.claim.to.manifest:
        return "identical"
    from manifestd.workflows.compare import compare

    try:
        return compare(store, move.claim.from_.snapshot, move.claim.to.snapshot).verdict
    except ManifestdError:
        # A ledger is written also when a side has been removed; what is damaged, `verify` says.
        return None
