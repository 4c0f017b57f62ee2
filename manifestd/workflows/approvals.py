"""Who approved which bytes for a tag, and whether that is enough: read from the log, judged anew.

An approval counts by what its key was trusted for when it was logged, and by the rules, the
policy and the clock of now. A revocation that was logged stays one, whoever is trusted later:
leaving a statement out must never open what it closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from manifestd.config.shape import TagRule
from manifestd.errors import NotApprovedError, TamperedError
from manifestd.model.approval import (
    Approval,
    Revocation,
    read_approval_statement,
    read_revocation_statement,
)
from manifestd.model.approvals import ApprovalState, ApprovalStatus, Approver
from manifestd.model.digest import Digest
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import LogEntry, time_text
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.model.tag import check_tag
from manifestd.rules.complete import identity_of
from manifestd.rules.globs import matches
from manifestd.rules.quorum import Demand, Outcome, Question, Seats, Vote, judge_quorum
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import payload_of
from manifestd.workflows.desk import Desk
from manifestd.workflows.sign import judge_statement, signatures_of

if TYPE_CHECKING:
    from manifestd.model.finding import PolicyVerdict


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An approval in the log.

    Attributes:
        entry: Its place.
        approval: What it says.
        vote: What the quorum needs to know of it.
        key_id: The key that signed.
    """

    entry: LogEntry
    approval: Approval
    vote: Vote
    key_id: str


def approval_status(
    store: Store, desk: Desk, tag: str, snapshot: str, *, verdict: PolicyVerdict | None = None
) -> ApprovalStatus:
    """Who approved the bytes of a snapshot for a tag, and who is missing.

    Args:
        store: Opened for reading.
        desk: Has the rules, the policy, the keys and the time.
        tag: ``NAME:TAG``.
        snapshot: Digest of a stored snapshot.
        verdict: What the policy says of it, if that is known already.

    Raises:
        UsageError: Not a tag, or an incomplete snapshot.
        NotStoredError: No such snapshot.
        TamperedError: The log or a statement is damaged.
    """
    record = store.snapshots.load(snapshot)
    manifest = identity_of(snapshot, record, "approved")
    policy = (verdict or verdict_of(store, desk, snapshot)).policy
    authors = _authors(store, desk.trust, snapshot, record)
    rules = [r for r in desk.config.tags if r.approvals and matches(check_tag(tag), r.pattern)]
    demands = [_demand(rule, authors) for rule in rules]
    left_out = frozenset(
        name for name in authors if demands and all(name in demand.excluded for demand in demands)
    )
    problem = None
    if not authors and any(rule.exclude_author for rule in rules):
        problem = "the author does not count, and the snapshot is signed by nobody who is known"
    found = list(find_approvals(store, desk.trust, tag))
    question = Question(tag=tag, manifest=manifest, policy=policy, now=desk.now)
    people = {person.person: frozenset(person.groups) for person in approvers(desk.trust, desk.now)}
    outcome = judge_quorum(question, demands, [item.vote for item in found], people)
    return ApprovalStatus(
        tag=tag,
        snapshot=snapshot,
        manifest=manifest,
        policy=policy,
        required=bool(demands),
        holds=outcome.holds and problem is None,
        needs=outcome.needs,
        problem=problem,
        authors=sorted(authors),
        approvals=[_state(item, outcome, left_out) for item in found],
        holds_until=_until(found, outcome),
    )


def require_quorum(store: Store, desk: Desk, tag: str, snapshot: Digest) -> None:
    """Check that the approvals which a tag's rules demand are there.

    Raises:
        NotApprovedError: They are not; the message says who is missing.
        UsageError, NotStoredError, TamperedError: As :func:`approval_status`.
    """
    status = approval_status(store, desk, tag, snapshot)
    if not status.holds:
        raise NotApprovedError(
            f"{tag} needs approvals that are missing: {'; '.join(status.missing())}",
            why=f"a [[tags]] rule demands them for the bytes {status.manifest}",
            hint="take the snapshot again, signed by somebody who is known here"
            if status.problem
            else f"ask for them: `manifestd approve {tag} {snapshot} --request -o request.json`",
            facts=msgspec.to_builtins(status),
        )


def find_approvals(store: Store, trust: Trust, tag: str) -> Iterator[Found]:
    """Every approval logged for a tag, oldest first, each judged as of when it was logged.

    Raises:
        UsageError: Not a tag.
        TamperedError: The log or a statement is damaged.
    """
    revoked = {
        revocation.revokes: revocation for _, revocation in revocations(store, check_tag(tag))
    }
    for entry in store.log.entries(kinds=["approval"], tag=tag):
        bundle = store.blobs.get(entry.document)
        approval = read_approval_statement(payload_of(bundle))
        said = (entry.tag, entry.fact("snapshot"), entry.fact("manifest"), entry.fact("by"))
        if said != (approval.tag, approval.snapshot, approval.manifest, approval.approver):
            raise _differs(entry)
        check = judge_statement(bundle, trust, "approve", entry.moment())
        flaw = check.why if check.state != "verified" else None
        if flaw is None and check.person != approval.approver:
            flaw = f"it is signed by {check.person}, and says it is by {approval.approver}"
        taken_back = next((revoked[name] for name in digests_of(bundle) if name in revoked), None)
        yield Found(
            entry=entry,
            approval=approval,
            key_id=check.key_id,
            vote=Vote(
                document=entry.document,
                person=check.person or approval.approver,
                groups=_groups(trust, check.key_id, entry.moment()),
                tag=approval.tag,
                manifest=approval.manifest,
                policy=approval.policy,
                expires=moment_of(approval.expires),
                revoked=f"{taken_back.by} ({taken_back.reason})" if taken_back else None,
                flaw=flaw,
            ),
        )


def revocations(store: Store, tag: str | None = None) -> Iterator[tuple[LogEntry, Revocation]]:
    """Every revocation in the log, or those of one tag, oldest first.

    Raises:
        TamperedError: The log or a statement is damaged.
    """
    for entry in store.log.entries(kinds=["revocation"], tag=tag):
        revocation = read_revocation_statement(payload_of(store.blobs.get(entry.document)))
        said = (entry.tag, entry.fact("revokes"), entry.fact("by"))
        if said != (revocation.tag, revocation.revokes, revocation.by):
            raise _differs(entry)
        yield entry, revocation


def approvers(trust: Trust, at: datetime) -> list[Approver]:
    """Who may approve at a time, in the order of their names."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for entry in trust.entries:
        if trust.allows(entry.key, "approve", at):
            groups, keys = found.setdefault(entry.person, (set(), set()))
            groups |= _groups(trust, entry.key.key_id, at)
            keys.add(entry.key.key_id)
    return [
        Approver(person=person, groups=sorted(groups), key_ids=sorted(keys))
        for person, (groups, keys) in sorted(found.items())
    ]


def verdict_of(store: Store, desk: Desk, snapshot: str) -> PolicyVerdict:
    """What the policy in force says of a snapshot; errors as ``evaluate_policy``."""
    from manifestd.workflows.policy import evaluate_policy

    return evaluate_policy(store, desk.config, snapshot, desk.now, trust=desk.trust)


def _authors(store: Store, trust: Trust, snapshot: str, record: Snapshot) -> frozenset[str]:
    """Who signed a snapshot, as far as their keys are known, whatever they count for."""
    checks = signatures_of(store, snapshot, record, trust)
    return frozenset(check.person for check in checks if check.person is not None)


def _demand(rule: TagRule, authors: frozenset[str]) -> Demand:
    return Demand(
        pattern=rule.pattern,
        seats=tuple(Seats(count=seat.count, group=seat.group) for seat in rule.approvals),
        excluded=authors if rule.exclude_author else frozenset(),
        distinct=rule.distinct,
    )


def _groups(trust: Trust, key_id: str, at: datetime) -> frozenset[str]:
    """The groups for which approvals of a key count at a time."""
    return frozenset(
        group
        for entry in trust.entries
        if entry.key.key_id == key_id and entry.counts("approve", at)
        for group in entry.groups
    )


def _state(item: Found, outcome: Outcome, left_out: frozenset[str]) -> ApprovalState:
    why = outcome.objections.get(item.entry.document)
    if why is None and item.vote.person in left_out:
        why = f"{item.vote.person} signed the snapshot, and its author does not count"
    return ApprovalState(
        approval=item.entry.document,
        person=item.vote.person,
        groups=sorted(item.vote.groups),
        key_id=item.key_id,
        manifest=item.approval.manifest,
        policy=item.approval.policy,
        request=item.approval.request,
        at=item.entry.at,
        expires=item.approval.expires,
        counts=why is None,
        why=why,
        reason=item.approval.reason,
    )


def _until(found: list[Found], outcome: Outcome) -> str | None:
    """When the first seat that is filled becomes empty again."""
    last: dict[str, datetime] = {}
    for item in found:
        if item.entry.document not in outcome.objections:
            vote = item.vote
            last[vote.person] = max(vote.expires, last.get(vote.person, vote.expires))
    seated = {name for need in outcome.needs for name in need.have} or last.keys()
    return time_text(min(last[name] for name in seated)) if seated else None


def _differs(entry: LogEntry) -> TamperedError:
    return TamperedError(
        f"entry {entry.index} of the log is not what its statement says of {entry.tag}",
        hint="run `manifestd log verify` with a checkpoint that was kept elsewhere",
    )
