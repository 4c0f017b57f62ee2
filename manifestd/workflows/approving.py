"""Approving: the request that approvers see, their signature, bringing it back, taking it back.

A request is one file. It can be carried to a machine that has a key and nothing else; what is
signed there names the file's digest, so what the approver was shown can be proved later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from manifestd import canonical
from manifestd.errors import (
    NotStoredError,
    TamperedError,
    UndecidedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.approval import (
    Approval,
    approval_statement,
    read_approval_statement,
)
from manifestd.model.approvals import (
    ApprovalRequest,
    ApprovalResult,
    LicenceSeen,
    Requested,
    read_request,
)
from manifestd.model.change import Diff
from manifestd.model.digest import Digest, of_bytes
from manifestd.model.logentry import time_text
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.model.tag import check_reason, check_tag
from manifestd.rules.complete import identity_of
from manifestd.signing.base import Signer
from manifestd.signing.dsse import sign_statement
from manifestd.signing.public import read_public_key
from manifestd.store import Store
from manifestd.store.rows import payload_of
from manifestd.workflows.approval_log import approval_named, brought_approval, log_approval
from manifestd.workflows.approvals import approval_status, approvers, verdict_of
from manifestd.workflows.desk import Desk
from manifestd.workflows.sign import signature_of

VALID_FOR: Final = timedelta(days=90)
"""How long an approval counts when nobody says otherwise."""

MAX_VALID: Final = timedelta(days=3660)

_MAX_FILES: Final = 1000
"""Files of the diff that are listed in a request."""


def make_request(
    store: Store, desk: Desk, tag: str, reference: str, *, valid_for: timedelta = VALID_FOR
) -> bytes:
    """The request file for the approval of a snapshot for a tag.

    Args:
        store: Opened for reading.
        desk: Where it is made.
        tag: ``NAME:TAG``.
        reference: The snapshot.
        valid_for: How long approvals of it shall count, from now.

    Raises:
        UsageError: Not a tag, or an incomplete snapshot.
        NotStoredError, AmbiguousError: The reference names no snapshot, or several.
        TamperedError: The store does not hold what its records say.
    """
    before = store.tags.target(check_tag(tag))
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    manifest = identity_of(digest, record, "approved")
    verdict = verdict_of(store, desk, digest)
    diff, more = _diff(store, desk, before.snapshot if before else None, digest)
    state, names = signature_of(store, digest, record, desk.trust)
    request = ApprovalRequest(
        tag=tag,
        target=Requested(
            snapshot=digest,
            manifest=manifest,
            name=record.name,
            source=record.source,
            revision=record.revision,
            captured_at=record.captured_at,
            files=record.files,
            bytes=record.bytes,
            evidence=record.evidence,
            signature=state,
            signed_by=names,
        ),
        before=before.snapshot if before else None,
        diff=diff,
        more_files=more,
        policy=verdict,
        licence=_licence(store, record),
        status=approval_status(store, desk, tag, digest, verdict=verdict),
        approvers=approvers(desk.trust, desk.now),
        expires=time_text(desk.now + _checked(valid_for)),
        created_at=time_text(desk.now),
        tool=desk.tool,
    )
    return msgspec.json.format(msgspec.json.encode(request), indent=1) + b"\n"


def sign_request(
    data: bytes,
    signer: Signer,
    *,
    now: datetime,
    tool: str,
    valid_for: timedelta | None = None,
    reason: str | None = None,
) -> bytes:
    """Approve what a request shows; returns the bundle to bring back. Needs no store.

    Args:
        data: The request file's bytes.
        signer: The approver's key.
        now: The time.
        tool: Name and version of what signs.
        valid_for: A shorter time than the request asks for.
        reason: What the approver wants to say.

    Raises:
        MalformedError: Not a request.
        UntrustedError: The request lists nobody with this key.
        UndecidedError: The request is too old.
    """
    request = read_request(data)
    key = read_public_key(signer.public_pem())
    person = next((who.person for who in request.approvers if key.key_id in who.key_ids), None)
    if person is None:
        names = ", ".join(who.person for who in request.approvers) or "nobody"
        raise UntrustedError(
            f"the key {key.key_id[:12]} is not one of those that may approve this",
            why=f"where the request was made, these may approve: {names}",
            hint='name your key with --key, or have it trusted there with may = ["approve"]',
            facts={"keyId": key.key_id},
        )
    last = moment_of(request.expires)
    if now > last:
        raise UndecidedError(
            f"the request ran out at {request.expires[:19]}Z",
            hint="ask for a new one: what it shows may be out of date",
        )
    if valid_for is not None:
        last = min(last, now + _checked(valid_for))
    approval = Approval(
        tag=request.tag,
        manifest=request.target.manifest,
        snapshot=request.target.snapshot,
        policy=request.policy.policy,
        approver=person,
        key_id=key.key_id,
        at=time_text(now),
        expires=time_text(last),
        request=of_bytes(data),
        reason=check_reason(reason),
        tool=tool,
    )
    return sign_statement(approval_statement(approval), signer)


def add_approval(store: Store, desk: Desk, bundle: bytes) -> ApprovalResult:
    """Verify an approval that was brought back, store it and log it. Twice is fine.

    Raises:
        SignatureError, MalformedError, NotCanonicalError: It is not a right approval.
        UntrustedError: Its key does not count for approvals now, or is another person's.
        UndecidedError: It ran out, or is of the future.
        NotStoredError: The store lacks the snapshot it is about.
        TamperedError: The snapshot does not hold the bytes that it approves.
    """
    approval, person = brought_approval(bundle, desk.trust, desk.now)
    record = store.snapshots.load(approval.snapshot)
    if record.manifest != approval.manifest:
        raise TamperedError(
            f"the approval is for the bytes {approval.manifest}, which the snapshot"
            f" {approval.snapshot} does not hold",
            hint=f"ask again with a new request for {approval.tag}: this one was changed",
        )
    document, entry = log_approval(store, bundle, approval, person, desk.now)
    return ApprovalResult(
        action="approved" if entry is not None else "unchanged",
        approval=document,
        by=person,
        entry=entry.index if entry is not None else None,
        request_known=store.blobs.has(approval.request),
        status=approval_status(store, desk, approval.tag, approval.snapshot),
    )


def keep_request(store: Store, request: bytes) -> Digest:
    """Keep a request, so that what approvers were shown can be looked up; returns its digest."""
    store.blobs.put_as(request, "document")
    return Digest("sha256:" + canonical.sha256_hex(request))


def shown_request(store: Store, approval: str) -> bytes:
    """The request that somebody was shown before they approved, byte for byte.

    Args:
        store: Opened for reading.
        approval: Digest of the approval, or at least 8 hex digits of its beginning.

    Raises:
        UsageError, NotStoredError, AmbiguousError: It names no approval, or several; or the
            request is not kept here.
        TamperedError: The store is damaged.
    """
    document, _ = approval_named(store, approval)
    said = read_approval_statement(payload_of(store.blobs.get(document)))
    if not store.blobs.has(said.request):
        raise NotStoredError(
            f"the request that {said.approver} was shown is not kept here: {said.request}",
            hint="look in the store that made the request; bundles do not carry it",
        )
    return store.blobs.get(said.request)


def _diff(store: Store, desk: Desk, before: str | None, digest: Digest) -> tuple[Diff | None, int]:
    """The diff against what the tag names now, cut to what people can read."""
    if before is None or before == digest:
        return None, 0
    from manifestd.workflows.compare import compare_stored

    found = compare_stored(store, (Digest(before), digest), trust=lambda: desk.trust)
    files = found.files[:_MAX_FILES]
    return msgspec.structs.replace(found, files=files), len(found.files) - len(files)


def _licence(store: Store, record: Snapshot) -> LicenceSeen:
    from manifestd.workflows.policy_view import Viewer

    seen = Viewer(store, secrets=False, security=False).licences(record)
    return LicenceSeen(
        card=list(seen.card.ids) if seen.card.known else None,
        source=list(seen.hub.ids) if seen.hub.known else None,
        texts={path: file.name for path, file in seen.files.items()},
    )


def _checked(span: timedelta) -> timedelta:
    if not timedelta(0) < span <= MAX_VALID:
        raise UsageError(f"an approval can count for up to {MAX_VALID.days} days")
    return span
