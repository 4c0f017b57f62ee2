"""Documents about approvals: what approvers see and sign, who approved, who is missing."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, UsageError
from manifestd.model.change import Diff, SignatureState
from manifestd.model.finding import PolicyVerdict
from manifestd.model.snapshot import EvidenceCounts, HexDigest, Timestamp
from manifestd.model.tag import check_tag

MAX_REQUEST: Final = 32 * 1024 * 1024
"""Bytes of a request file."""

SCHEMA_REQUEST: Final = "manifestd.approval-request/v1"
SCHEMA_STATUS: Final = "manifestd.approval-status/v1"
SCHEMA_RESULT: Final = "manifestd.approval-result/v1"


class SeatsState(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one rule's seats.

    Attributes:
        pattern: The rule's pattern of tags.
        count: People demanded.
        group: Of this group; null: of any.
        have: Who fills a seat.
        missing: Seats that nobody fills.
        candidates: Who could fill one.
        excluded: Who approved and does not count here, as the author.
    """

    pattern: str
    count: int
    group: str | None
    have: list[str]
    missing: int
    candidates: list[str]
    excluded: list[str]


class ApprovalState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One approval that the store holds for a tag.

    Attributes:
        approval: Digest of its bundle, by which it is revoked.
        person: Who holds the key, by the trust; else who the approval claims it is.
        groups: What the key spoke for when the approval was logged.
        key_id: The key that signed.
        manifest: The bytes it is for.
        policy: Digest of the policy it was given under.
        request: Digest of the request that was shown to the approver.
        at: When it was logged.
        expires: Last moment at which it counts.
        counts: Whether it counts, for these bytes now; that of an author whom every rule leaves
            out does not. Several of one person count once.
        why: Why it does not count.
        reason: What the approver said.
    """

    approval: HexDigest
    person: str
    groups: list[str]
    key_id: str
    manifest: HexDigest
    policy: HexDigest
    request: HexDigest
    at: Timestamp
    expires: Timestamp
    counts: bool
    why: str | None
    reason: str | None


class ApprovalStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``approve --status --format json``: who approved these bytes for a tag, and who is missing.

    Attributes:
        schema: Always ``manifestd.approval-status/v1``.
        tag: ``NAME:TAG``.
        snapshot: The snapshot that is asked about.
        manifest: The bytes in it.
        policy: Digest of the policy in force for it.
        required: A ``[[tags]]`` rule demands approvals.
        holds: Every demand is met (also when there is none).
        needs: Each rule's seats.
        problem: Why it cannot hold whoever approves, if so.
        authors: Who signed the snapshot.
        approvals: All there are for the tag, oldest first.
        holds_until: When the first approval that counts expires; null: none counts.
    """

    schema: Literal["manifestd.approval-status/v1"] = SCHEMA_STATUS
    tag: str
    snapshot: HexDigest
    manifest: HexDigest
    policy: HexDigest
    required: bool
    holds: bool
    needs: list[SeatsState]
    problem: str | None
    authors: list[str]
    approvals: list[ApprovalState]
    holds_until: Timestamp | None

    def missing(self) -> list[str]:
        """What is still needed, in words: one for each rule with empty seats."""
        found = [self.problem] if self.problem else []
        for need in self.needs:
            if need.missing:
                whom = f" of {need.group}" if need.group else ""
                names = ", ".join(need.candidates) or "nobody who is trusted"
                found.append(f"{need.missing} more{whom} (could be: {names})")
        return found


class Approver(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody whose approval would count: person, groups, and the keys they have."""

    person: str
    groups: list[str]
    key_ids: list[str]


class Requested(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be approved, as its record says."""

    snapshot: HexDigest
    manifest: HexDigest
    name: str
    source: str
    revision: str | None
    captured_at: Timestamp
    files: int
    bytes: int
    evidence: EvidenceCounts
    signature: SignatureState
    signed_by: list[str]


class LicenceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the licence: by the card, by the source, by the licence files' own texts.

    Attributes:
        card: Identifiers in the model card; null: there is none to look at.
        source: Identifiers that the source itself keeps; null: it keeps none.
        texts: Licence file -> the identifier of its text, null where it is none that is known.
    """

    card: list[str] | None
    source: list[str] | None
    texts: dict[str, str | None]


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What approvers see and sign: the file of ``approve --request``.

    The approval names the sha256 of the file, so what was shown can be proved later.

    Attributes:
        schema: Always ``manifestd.approval-request/v1``.
        tag: ``NAME:TAG`` that the bytes shall be released under.
        target: The bytes.
        before: Snapshot that the tag names now; null: none.
        diff: What changes against that, identical files left out; null: nothing to compare with.
        more_files: Files of the diff that are not listed.
        policy: What the policy in force says.
        licence: What is said of the licence.
        status: Who approved already, and who is missing.
        approvers: Whose approval would count, and by which keys.
        expires: How long an approval of this request shall count.
        created_at: When the request was made.
        tool: Name and version of what made it.
    """

    schema: Literal["manifestd.approval-request/v1"] = SCHEMA_REQUEST
    tag: str
    target: Requested
    before: HexDigest | None
    diff: Diff | None
    more_files: int
    policy: PolicyVerdict
    licence: LicenceSeen
    status: ApprovalStatus
    approvers: list[Approver]
    expires: Timestamp
    created_at: Timestamp
    tool: str


class ApprovalResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``approve`` printed with ``--format json`` did.

    Attributes:
        schema: Always ``manifestd.approval-result/v1``.
        action: ``approved``, ``revoked``, or ``unchanged``: it was there already.
        approval: Digest of the approval's bundle.
        by: Who approved or revoked.
        entry: Place in the log; null when nothing was written.
        request_known: Whether the store keeps the request that the approver was shown. False:
            it was made elsewhere, or changed on its way. Null for a revocation.
        status: How things stand now.
    """

    schema: Literal["manifestd.approval-result/v1"] = SCHEMA_RESULT
    action: Literal["approved", "revoked", "unchanged"]
    approval: HexDigest
    by: str
    entry: int | None
    request_known: bool | None = None
    status: ApprovalStatus


def read_request(data: bytes) -> ApprovalRequest:
    """Read a request file that somebody sent.

    Raises:
        MalformedError: Not a request, or its parts speak of different things.
    """
    document = canonical.decode_foreign(data, name="approval request", max_size=MAX_REQUEST)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA_REQUEST:
        raise MalformedError(
            "not an approval request",
            hint="it is made by `manifestd approve NAME:TAG REF --request -o FILE`",
        )
    try:
        request = msgspec.convert(document, canonical.prepared(ApprovalRequest))
        check_tag(request.tag)
    except (msgspec.ValidationError, UsageError) as error:
        raise MalformedError(f"not an approval request: {error}") from error
    _check_consistent(request)
    return request


def _check_consistent(request: ApprovalRequest) -> None:
    """Check that a request shows the thing that would be signed, in all its parts."""
    target = request.target
    shown: list[tuple[str | None, str | None]] = [
        (request.policy.snapshot, request.policy.manifest),
        (request.status.snapshot, request.status.manifest),
    ]
    if request.diff is not None:
        shown.append((request.diff.right.snapshot, request.diff.right.manifest))
    agrees = all(pair == (target.snapshot, target.manifest) for pair in shown)
    agrees &= request.status.tag == request.tag
    agrees &= request.status.policy == request.policy.policy
    if request.diff is not None:
        agrees &= request.diff.left.snapshot == request.before
    if not agrees:
        raise MalformedError("the parts of the approval request speak of different things")
