"""Approvals, revocations and tag moves that came in a bundle: each judged here, anew.

A bundle is signed by nobody, so what it carries counts for what it is worth by the trust of
whoever reads it, now. What is refused is said, and can be taken once its key is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from manifestd.errors import (
    MalformedError,
    NotVerifiedError,
    TamperedError,
    UndecidedError,
    UntrustedError,
)
from manifestd.model import media_types
from manifestd.model.approval import (
    Approval,
    Revocation,
    read_approval_statement,
    read_revocation_statement,
)
from manifestd.model.envelope import digests_of
from manifestd.model.importing import Brought, StatementKind
from manifestd.model.snapshot import moment_of
from manifestd.model.tag import TagPredicate, read_tag_statement
from manifestd.signing.dsse import verify_bundle
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import payload_of, subjects_of
from manifestd.workflows.approval_log import log_approval, log_revocation


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """By what statements are judged.

    Attributes:
        trust: The keys that count.
        now: The moment as of which they must.
        adopt: Take a tag's last move although its history is not here; see ``Tags.move``.
    """

    trust: Trust
    now: datetime
    adopt: bool = False


_SKEW: Final = timedelta(minutes=10)
"""How far two machines' clocks may be apart."""

_KINDS: Final[dict[str, StatementKind]] = {
    media_types.SVR_PREDICATE: "approval",
    media_types.REVOCATION_PREDICATE: "revocation",
    media_types.TAG_PREDICATE: "tag",
}


def bring_statements(store: Store, desk: Desk, statements: Sequence[bytes]) -> list[Brought]:
    """Log the statements that count here; say of the others why they do not.

    Args:
        store: Opened for writing; has the snapshots they are about.
        desk: By what they are judged.
        statements: Signed statements, approvals before their revocations.

    Raises:
        MalformedError, NotCanonicalError: Not a statement of a kind that bundles carry.
    """
    return [_bring(store, desk, bundle) for bundle in statements]


def _bring(store: Store, desk: Desk, bundle: bytes) -> Brought:
    kind = _KINDS.get(subjects_of(bundle)[0])
    payload = payload_of(bundle)
    claim: Approval | Revocation | TagPredicate
    if kind == "approval":
        claim = read_approval_statement(payload)
        by = claim.approver
    elif kind == "revocation":
        claim = read_revocation_statement(payload)
        by = claim.by
    elif kind == "tag":
        claim = read_tag_statement(payload)
        by = claim.by
    else:
        raise MalformedError("the bundle carries a statement of a kind that bundles do not have")
    documents = digests_of(bundle)
    found = Brought(kind=kind, statement=documents[0], tag=claim.tag, by=by, state="known")
    if store.log.is_logged(documents):
        return found
    try:
        if isinstance(claim, Approval):
            _approval(store, desk, bundle, claim)
        elif isinstance(claim, Revocation):
            _revocation(store, desk, bundle, claim)
        else:
            _move(store, desk, bundle, claim)
    except (NotVerifiedError, UndecidedError) as error:
        return msgspec.structs.replace(found, state="refused", why=error.told())
    return msgspec.structs.replace(found, state="taken")


def _approval(store: Store, desk: Desk, bundle: bytes, approval: Approval) -> None:
    """As when an approval is brought back (workflows/approving.py), but for any equal snapshot."""
    verified = verify_bundle(bundle, desk.trust.public_keys())
    person = desk.trust.require(verified.key, "approve", desk.now).person
    if (person, verified.key.key_id) != (approval.approver, approval.key_id):
        raise UntrustedError(f"it is signed by {person}, and says it is by {approval.approver}")
    if moment_of(approval.at) > desk.now + _SKEW:
        raise UndecidedError(f"it is of the future: {approval.at[:19]}Z")
    if desk.now > moment_of(approval.expires):
        raise UndecidedError(f"it expired at {approval.expires[:19]}Z")
    if not store.snapshots.with_manifest(approval.manifest):
        raise UndecidedError("no snapshot here holds the bytes that it approves")
    log_approval(store, bundle, approval, person, desk.now)


def _revocation(store: Store, desk: Desk, bundle: bytes, revocation: Revocation) -> None:
    """Whoever gave the approval may take it back, and everybody who may approve."""
    verified = verify_bundle(bundle, desk.trust.public_keys())
    person = desk.trust.person(verified.key)
    given = None
    for entry in store.log.entries(kinds=["approval"], document=revocation.revokes, limit=1):
        given = entry.fact("by")
    if person is None or person != given:
        person = desk.trust.require(verified.key, "approve", desk.now).person
    if person != revocation.by:
        raise UntrustedError(f"it is signed by {person}, and says it is by {revocation.by}")
    log_revocation(store, bundle, revocation, person, desk.now)


def _move(store: Store, desk: Desk, bundle: bytes, claim: TagPredicate) -> None:
    verified = verify_bundle(bundle, desk.trust.public_keys())
    desk.trust.require(verified.key, "tag", desk.now)
    if claim.to is None:
        raise UndecidedError("it deletes the tag")
    if store.snapshots.load(claim.to.snapshot).manifest != claim.to.manifest:
        raise TamperedError("it names another manifest than the snapshot holds")
    last = store.tags.last_move(claim.tag)
    names = None if last is None else last.claim.to
    if names != claim.from_ and not (desk.adopt and last is None):
        here = names.snapshot if names else "nothing"
        raise UndecidedError(
            f"here {claim.tag} names {here}",
            why="the move begins elsewhere; tag it here if that is meant: "
            f"manifestd tag {claim.tag} {claim.to.snapshot}",
        )
    store.tags.move(bundle, desk.now, adopt=desk.adopt)
