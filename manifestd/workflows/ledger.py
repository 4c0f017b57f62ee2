"""The release ledger: what teams keep by hand, made from signed and logged statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from manifestd import canonical
from manifestd.errors import ManifestdError, NotVerifiedError, TamperedError
from manifestd.model.approval import read_approval_statement
from manifestd.model.envelope import digests_of
from manifestd.model.history import Ledger, Release
from manifestd.model.logentry import LogEntry
from manifestd.model.snapshot import moment_of
from manifestd.model.tag import Target, split_tag
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import payload_of
from manifestd.store.tags import Move
from manifestd.workflows.history import record_if_stored
from manifestd.workflows.sign import judge_statement
from manifestd.workflows.tags import action_of, state_of

EVENTS: Final = ("approval", "revocation", "verdict")


class _JudgedSide(msgspec.Struct, frozen=True):
    snapshot: str | None = None
    manifest: str | None = None


class _Judged(msgspec.Struct, frozen=True):
    """What the ledger needs of one model's part of a run; the rest is read over."""

    result: str
    verdict: str | None
    sides: dict[str, _JudgedSide]


class _Run(msgspec.Struct, frozen=True):
    """A run's document, which the log names: digests of its models' documents."""

    models: list[str]


def ledger(store: Store, trust: Trust, *, name: str | None = None) -> Ledger:
    """The release ledger: every move of every tag, oldest first.

    Args:
        store: Opened for reading.
        trust: The keys that count.
        name: Only tags of this ``NAME``, or this one ``NAME:TAG``.
    """
    events = list(store.log.entries(kinds=EVENTS))
    verdicts = Verdicts(store, events)
    return Ledger(
        releases=[
            _release(store, trust, move, events, verdicts)
            for move in store.tags.moves()
            if name in {None, move.claim.tag, move.claim.tag.rpartition(":")[0]}
        ]
    )


def _release(
    store: Store, trust: Trust, move: Move, events: list[LogEntry], verdicts: Verdicts
) -> Release:
    state = state_of(move, trust)
    about = move.claim.to or move.claim.from_
    parts = split_tag(move.claim.tag)
    assert about is not None
    assert parts is not None
    record = record_if_stored(store, about.snapshot)
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
        approvers=_approvers(store, trust, move, events),
        verdict=_verdict(store, move, verdicts),
        signature=state.signature,
        reason=move.claim.reason,
        entry=move.entry.index,
    )


def _approvers(store: Store, trust: Trust, move: Move, events: list[LogEntry]) -> list[str]:
    """Whose approval of what the tag was moved to was neither taken back nor expired by then.

    A name that nothing but the log stands behind says so.
    """
    if move.claim.to is None:
        return []
    before = [entry for entry in events if entry.index < move.entry.index]
    revoked = {entry.fact("revokes") for entry in before if entry.kind == "revocation"}
    names = [
        _approver(store, trust, entry, move)
        for entry in before
        if entry.kind == "approval"
        and entry.tag == move.claim.tag
        and entry.fact("manifest") == move.claim.to.manifest
        and revoked.isdisjoint(digests_of(store.blobs.get(entry.document)))
    ]
    return list(dict.fromkeys(filter(None, names)))


def _approver(store: Store, trust: Trust, entry: LogEntry, move: Move) -> str | None:
    """Who gave a logged approval; None: it had expired when the tag was moved."""
    bundle = store.blobs.get(entry.document)
    check = judge_statement(bundle, trust, "approve", entry.moment())
    if check.state == "verified":
        try:
            said = read_approval_statement(payload_of(bundle))
        except NotVerifiedError:
            said = None
        if said is None or (said.tag, said.manifest) != (entry.tag, entry.fact("manifest")):
            return f"{entry.fact('by')} (INVALID)"
        return check.who() if move.entry.moment() <= moment_of(said.expires) else None
    return f"{entry.fact('by')} ({check.state.upper()})"


class Verdicts:
    """The verdicts that were logged, each read when it is asked for and once.

    Args:
        store: Opened for reading.
        events: Entries of the log, in their order.
    """

    def __init__(self, store: Store, events: list[LogEntry]) -> None:
        self._store = store
        self._events = [entry for entry in events if entry.kind == "verdict"]
        self._known: dict[int, dict[str, str]] = {}

    def about(self, target: Target, before: int) -> str | None:
        """The last verdict about a snapshot, or its content, logged before an entry.

        Raises:
            TamperedError: The document of a run is damaged.
        """
        for entry in reversed(self._events):
            if entry.index < before:
                found = self._of(entry)
                verdict = found.get(target.snapshot) or found.get(target.manifest)
                if verdict is not None:
                    return verdict
        return None

    def _of(self, entry: LogEntry) -> dict[str, str]:
        """Digest of a snapshot or manifest -> what this entry judged it to be."""
        if entry.index not in self._known:
            told = entry.fact("verdict")
            named = (entry.fact("snapshot"), entry.fact("manifest"))
            found = {digest: told for digest in named if digest and told}
            if entry.fact("run") is not None:
                found = self._of_run(entry)
            self._known[entry.index] = found
        return self._known[entry.index]

    def _of_run(self, entry: LogEntry) -> dict[str, str]:
        found: dict[str, str] = {}
        for model in self._models(entry):
            for side in model.sides.values():
                for digest in (side.snapshot, side.manifest):
                    if digest is not None:
                        found[digest] = model.verdict or model.result
        return found

    def _models(self, entry: LogEntry) -> Iterator[_Judged]:
        try:
            run = msgspec.json.decode(
                self._store.blobs.get(entry.document), type=canonical.prepared(_Run)
            )
            for digest in run.models:
                yield msgspec.json.decode(
                    self._store.blobs.get(digest), type=canonical.prepared(_Judged)
                )
        except msgspec.MsgspecError as error:
            raise TamperedError(f"entry {entry.index} of the log names no run: {error}") from error


def _verdict(store: Store, move: Move, verdicts: Verdicts) -> str | None:
    """The last verdict logged about it before the move, else how it compares with the last one."""
    to, before = move.claim.to, move.claim.from_
    if to is None:
        return None
    told = verdicts.about(to, move.entry.index)
    if told is not None or before is None:
        return told
    if before.manifest == to.manifest:
        return "identical"
    from manifestd.workflows.compare import compare

    try:
        return compare(store, before.snapshot, to.snapshot).verdict
    except ManifestdError:
        # A ledger is written also when a side has been removed; what is damaged, `verify` says.
        return None
