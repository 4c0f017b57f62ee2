"""Taking an approval back. Whoever gave it may, and everybody who may approve.

A revocation is logged as the approval was, and stays: no later change of the trust undoes it.
"""

from __future__ import annotations

from manifestd.errors import UsageError
from manifestd.model.approval import Revocation, revocation_statement
from manifestd.model.approvals import ApprovalResult
from manifestd.model.logentry import time_text
from manifestd.model.tag import check_reason
from manifestd.signing.dsse import sign_statement
from manifestd.store import Store
from manifestd.workflows.approval_log import approval_named, log_revocation
from manifestd.workflows.approvals import approval_status, find_approvals, revocations
from manifestd.workflows.desk import Desk


def revoke_approval(store: Store, desk: Desk, approval: str, reason: str) -> ApprovalResult:
    """Take an approval back: whoever gave it may, and everybody who may approve.

    Args:
        store: Opened for writing.
        desk: Where it is done; has the key of who does it.
        approval: Digest of the approval, or at least 8 hex digits of its beginning.
        reason: Why.

    Raises:
        NotStoredError, AmbiguousError: The digest names no approval, or several.
        UsageError: No key is configured, or no reason is given.
        UntrustedError: The key may not.
    """
    document, tag = approval_named(store, approval)
    signer, key = desk.own_key("a revocation")
    found = next(
        item for item in find_approvals(store, desk.trust, tag) if item.entry.document == document
    )
    person = desk.trust.person(key)
    if person is None or person != found.vote.person:
        person = desk.trust.require(key, "approve", desk.now).person
    snapshot = found.approval.snapshot
    entry = None
    if not any(revocation.revokes == document for _, revocation in revocations(store, tag)):
        text = check_reason(reason)
        if not text:
            raise UsageError("say why the approval is taken back", hint="add --reason TEXT")
        claim = Revocation(
            revokes=document,
            tag=tag,
            at=time_text(desk.now),
            by=person,
            key_id=key.key_id,
            reason=text,
            tool=desk.tool,
        )
        bundle = sign_statement(revocation_statement(claim), signer)
        _, entry = log_revocation(store, bundle, claim, person, desk.now)
    return ApprovalResult(
        action="revoked" if entry is not None else "unchanged",
        approval=document,
        by=person,
        entry=entry.index if entry is not None else None,
        status=approval_status(store, desk, tag, snapshot),
    )
