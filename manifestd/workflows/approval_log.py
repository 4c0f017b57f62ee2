"""Judging and logging approvals and what takes them back, whoever brings them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from manifestd.errors import (
    AmbiguousError,
    ManifestdError,
    NotStoredError,
    UndecidedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.approval import Approval, Revocation, read_approval_statement
from manifestd.model.approvals import read_request
from manifestd.model.digest import Digest, hex_of
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import Fact, LogEntry, LogKind
from manifestd.model.snapshot import moment_of
from manifestd.model.tag import check_tag
from manifestd.signing.dsse import verify_bundle
from manifestd.signing.trust import Trust
from manifestd.store import Store

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far two machines' clocks may be apart."""


def brought_approval(bundle: bytes, trust: Trust, now: datetime) -> tuple[Approval, str]:
    """What an approval that was brought says, and who gave it, if it counts now.

    Raises:
        SignatureError, MalformedError, NotCanonicalError: It is not a right approval.
        UntrustedError: Its key does not count for approvals now, or is another person's.
        UndecidedError: It ran out, or is of the future.
    """
    verified = verify_bundle(bundle, trust.public_keys())
    approval = read_approval_statement(verified.payload)
    person = trust.require(verified.key, "approve", now).person
    if (person, verified.key.key_id) != (approval.approver, approval.key_id):
        raise UntrustedError(
            f"the approval is signed by {person}, and says it is by {approval.approver}",
            hint="make a new request: who holds which key was changed since",
        )
    if moment_of(approval.at) > now + CLOCK_SKEW:
        raise UndecidedError(
            f"the approval is of the future: {approval.at}", hint="set the clocks of both machines"
        )
    if now > moment_of(approval.expires):
        raise UndecidedError(
            f"the approval of {person} expired at {approval.expires[:19]}Z",
            hint="make a new request",
        )
    return approval, person


def log_approval(
    store: Store, bundle: bytes, approval: Approval, person: str, now: datetime
) -> tuple[Digest, LogEntry | None]:
    """Store and log an approval once; see :func:`log_revocation`."""
    facts: dict[str, Fact] = {
        "tag": approval.tag,
        "snapshot": approval.snapshot,
        "manifest": approval.manifest,
        "by": person,
    }
    with store.transaction():
        if _keeps(store, approval.request):
            # Named in the log, what was shown cannot be taken out unnoticed.
            facts["request"] = approval.request
        return _log(store, bundle, "approval", facts, now)


def log_revocation(
    store: Store, bundle: bytes, revocation: Revocation, person: str, now: datetime
) -> tuple[Digest, LogEntry | None]:
    """Store and log a revocation once.

    Args:
        store: Opened for writing.
        bundle: The signed statement; its signature and key are already judged.
        revocation: What it says.
        person: Who signed it, by the trust.
        now: When it is logged.

    Returns:
        Its digest, and its entry; None: it was there already.

    Raises:
        StoreLockedError: Another process writes.
    """
    facts: dict[str, Fact] = {"tag": revocation.tag, "revokes": revocation.revokes, "by": person}
    return _log(store, bundle, "revocation", facts, now)


def _log(
    store: Store, bundle: bytes, kind: LogKind, facts: dict[str, Fact], now: datetime
) -> tuple[Digest, LogEntry | None]:
    documents = digests_of(bundle)
    document = documents[0]
    with store.transaction():
        if store.log.is_logged(documents):
            return document, None
        store.blobs.put_as(bundle, "statement")
        return document, store.log.append(kind, document, now, facts)


def approval_named(store: Store, text: str) -> tuple[Digest, str]:
    """The logged approval that a digest, or at least 8 hex digits of one, means; and its tag.

    Raises:
        UsageError: Not a digest.
        NotStoredError, AmbiguousError: It names no approval, or several.
    """
    digits = text.removeprefix("sha256:")
    if len(digits) < 8 or len(digits) > 64 or not set(digits) <= set("0123456789abcdef"):
        raise UsageError(
            f"not the digest of an approval: {text[:80]!r}",
            hint="`manifestd approve --status NAME:TAG` shows it",
        )
    found = {
        Digest(entry.document): entry.tag
        for entry in store.log.entries(kinds=["approval"])
        if hex_of(entry.document).startswith(digits)
    }
    if not found:
        raise NotStoredError(
            f"there is no approval {text}", hint="`manifestd approve --status NAME:TAG` lists them"
        )
    if len(found) > 1:
        raise AmbiguousError(f"{text} means {len(found)} approvals", hint="give more digits",
                             facts={"candidates": sorted(found)})  # fmt: skip
    document, tag = found.popitem()
    return document, check_tag(tag or "")


def _keeps(store: Store, request: str) -> bool:
    """Whether the request is in the store; it then stays, as what it is."""
    if not store.blobs.has(request):
        return False
    data = store.blobs.get(request)
    try:
        read_request(data)
    except ManifestdError:
        return False
    store.blobs.put_as(data, "document")
    return True
