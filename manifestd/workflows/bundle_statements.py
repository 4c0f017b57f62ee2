"""Approvals, revocations and tag moves that came in a bundle: each judged here, anew.

A bundle is signed by nobody, so what it carries counts for what it is worth by the trust of
whoever reads it, now. What is refused is said, and can be taken once its key is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from manifestd.config.shape import TagRule
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
from manifestd.model.tag import TagPredicate, read_tag_statement
from manifestd.signing.dsse import verify_bundle
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import payload_of, subjects_of
from manifestd.workflows.approval_log import brought_approval, log_approval, log_revocation
from manifestd.workflows.tags import is_immutable


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms statements are taken.

    Attributes:
        trust: The keys that count.
        now: The moment as of which they must.
        rules: The ``[[tags]]`` rules here: what is immutable, nobody moves from elsewhere.
        adopt: Take a tag's last move although its history is not here; see ``Tags.move``.
    """

    trust: Trust
    now: datetime
    rules: Sequence[TagRule] = ()
    adopt: bool = False


_KINDS: Final[dict[str, StatementKind]] = {
    media_types.SVR_PREDICATE: "approval",
    media_types.REVOCATION_PREDICATE: "revocation",
    media_types.TAG_PREDICATE: "tag",
}


def bring_statements(store: Store, terms: Terms, statements: Sequence[bytes]) -> list[Brought]:
    """Log the statements that count here; say of the others why they do not.

    Args:
        store: Opened for writing; has the snapshots they are about.
        terms: On what terms they are taken.
        statements: Signed statements, approvals before their revocations.

    Raises:
        MalformedError, NotCanonicalError: Not a statement of a kind that bundles carry.
    """
    return [_bring(store, terms, bundle) for bundle in statements]


def _bring(store: Store, terms: Terms, bundle: bytes) -> Brought:
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
            _approval(store, terms, bundle)
        elif isinstance(claim, Revocation):
            _revocation(store, terms, bundle, claim)
        else:
            _move(store, terms, bundle, claim)
    except (NotVerifiedError, UndecidedError) as error:
        return msgspec.structs.replace(found, state="refused", why=error.told())
    return msgspec.structs.replace(found, state="taken")


def _approval(store: Store, terms: Terms, bundle: bytes) -> None:
    """As when an approval is brought back, but for any equal snapshot."""
    approval, person = brought_approval(bundle, terms.trust, terms.now)
    if not store.snapshots.with_manifest(approval.manifest):
        raise UndecidedError("no snapshot here holds the bytes that it approves")
    log_approval(store, bundle, approval, person, terms.now)


def _revocation(store: Store, terms: Terms, bundle: bytes, revocation: Revocation) -> None:
    """Whoever gave the approval may take it back, and everybody who may approve."""
    verified = verify_bundle(bundle, terms.trust.public_keys())
    person = terms.trust.person(verified.key)
    given = None
    for entry in store.log.entries(kinds=["approval"], document=revocation.revokes, limit=1):
        given = entry.fact("by")
    if person is None or person != given:
        person = terms.trust.require(verified.key, "approve", terms.now).person
    if person != revocation.by:
        raise UntrustedError(f"it is signed by {person}, and says it is by {revocation.by}")
    log_revocation(store, bundle, revocation, person, terms.now)


def _move(store: Store, terms: Terms, bundle: bytes, claim: TagPredicate) -> None:
    verified = verify_bundle(bundle, terms.trust.public_keys())
    terms.trust.require(verified.key, "tag", terms.now)
    if claim.to is None:
        raise UndecidedError("it deletes the tag")
    if store.snapshots.load(claim.to.snapshot).manifest != claim.to.manifest:
        raise TamperedError("it names another manifest than the snapshot holds")
    last = store.tags.last_move(claim.tag)
    names = None if last is None else last.claim.to
    if names != claim.from_ and not (terms.adopt and last is None):
        here = names.snapshot if names else "nothing"
        raise UndecidedError(
            f"here {claim.tag} names {here}",
            why="the move begins elsewhere; tag it here if that is meant: "
            f"manifestd tag {claim.tag} {claim.to.snapshot}",
        )
    if names is not None and is_immutable(terms.rules, claim.tag):
        raise UndecidedError(f"here {claim.tag} is immutable and names {names.snapshot}")
    store.tags.move(bundle, terms.now, adopt=terms.adopt)
