"""Approvals: signed statements that a person approved bytes for a tag under a policy.

An approval is an in-toto simple verification result (SVR v0.2), so that tools which know
that predicate can use it; what it is bound to stands in one extension member. A revocation
takes an approval back. Both have exactly one spelling.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.digest import hex_of
from manifestd.model.snapshot import HexDigest, Timestamp
from manifestd.model.statement import Statement, Subject, read_claim, subjects_of
from manifestd.model.tag import Reason, split_tag

APPROVED: Final = "MANIFESTD_RELEASE_APPROVED"
"""The property that an approval states (SVR: passing properties only)."""

_VERIFIER: Final = "https://manifestd.dev/verifier/approver/"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Approval(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What an approval is bound to (docs/format/approvals.md).

    Attributes:
        tag: ``NAME:TAG`` that the bytes may be released under.
        manifest: The bytes: content identity of the snapshot.
        snapshot: The snapshot that was looked at.
        policy: Digest of the policy that was in force and shown.
        approver: Who approves: the person of the key, by the trust configuration.
        key_id: The key that signed; a hint.
        at: When, by the clock of the machine that signed.
        expires: Last moment at which it counts.
        request: Digest of the request file that was shown before signing.
        reason: What the approver wanted to say, if anything.
        tool: Name and version of what wrote it.
    """

    tag: str
    manifest: HexDigest
    snapshot: HexDigest
    policy: HexDigest
    approver: Name
    key_id: str
    at: Timestamp
    expires: Timestamp
    request: HexDigest
    reason: Reason | None
    tool: str


class Revocation(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The claim that an approval is taken back (docs/format/approvals.md).

    Attributes:
        revokes: Digest of the approval's bundle, the statement's subject.
        tag: ``NAME:TAG`` that the approval is for.
        at: When, by the clock of the machine that signed.
        by: Who takes it back.
        key_id: The key that signed; a hint.
        reason: Why.
        tool: Name and version of what wrote it.
    """

    revokes: HexDigest
    tag: str
    at: Timestamp
    by: Name
    key_id: str
    reason: Reason
    tool: str


def approval_statement(approval: Approval) -> bytes:
    """The canonical bytes of an approval's statement: SVR v0.2 with our extension.

    Subjects are the manifest, which is what is approved, and the snapshot it was seen in.
    """
    predicate: dict[str, Any] = {
        "verifier": {
            "id": _VERIFIER + approval.key_id,
            "policies": [{"name": "policy", "digest": {"sha256": hex_of(approval.policy)}}],
        },
        "timeCreated": approval.at,
        "properties": [APPROVED],
        media_types.APPROVAL_PREDICATE: msgspec.to_builtins(approval),
    }
    return canonical.encode(
        Statement(
            subject=subjects_of(approval.snapshot, approval.manifest),
            predicate_type=media_types.SVR_PREDICATE,
            predicate=predicate,
        )
    )


def read_approval_statement(payload: bytes) -> Approval:
    """Decode an approval's statement strictly. Whether it is signed is the caller's to know.

    Raises:
        MalformedError: Not such a statement, or its parts do not say the same.
        NotCanonicalError: Not its canonical bytes.
    """
    approval = read_claim(
        payload,
        Approval,
        approval_statement,
        predicate_type=media_types.SVR_PREDICATE,
        what="an approval",
        member=media_types.APPROVAL_PREDICATE,
    )
    _check_tag(approval.tag)
    return approval


def revocation_statement(revocation: Revocation) -> bytes:
    """The canonical bytes of the statement that an approval is taken back."""
    return canonical.encode(
        Statement(
            subject=[Subject(name="approval", digest={"sha256": hex_of(revocation.revokes)})],
            predicate_type=media_types.REVOCATION_PREDICATE,
            predicate=msgspec.to_builtins(revocation),
        )
    )


def read_revocation_statement(payload: bytes) -> Revocation:
    """Decode a revocation's statement strictly; errors as :func:`read_approval_statement`."""
    revocation = read_claim(
        payload,
        Revocation,
        revocation_statement,
        predicate_type=media_types.REVOCATION_PREDICATE,
        what="a revocation",
    )
    _check_tag(revocation.tag)
    return revocation


def _check_tag(tag: str) -> None:
    if split_tag(tag) is None:
        raise MalformedError(f"not a tag: {tag[:300]!r}")
