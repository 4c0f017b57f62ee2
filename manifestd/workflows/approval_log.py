"""Logging approvals and what takes them back, whoever brings them."""

from __future__ import annotations

from datetime import datetime

from manifestd.model.approval import Approval, Revocation
from manifestd.model.digest import Digest
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import Fact, LogEntry, LogKind
from manifestd.store import Store


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
