"""Moving tags: what may be moved, by whom, under which rule; and what tags say.

A move is a signed statement, logged in the transaction that makes it true. It
names what the tag named before, so of two moves at one time only one can hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from manifestd.config.shape import TagRule
from manifestd.errors import (
    NotStoredError,
    UndecidedError,
    UsageError,
)
from manifestd.model.digest import Digest
from manifestd.model.history import TagHistory, TagList, TagMove, TagResult, TagState
from manifestd.model.logentry import time_text
from manifestd.model.snapshot import Snapshot
from manifestd.model.tag import TagPredicate, Target, check_reason, check_tag, tag_statement
from manifestd.rules.complete import identity_of
from manifestd.rules.globs import matches
from manifestd.signing.dsse import sign_statement
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.tags import Move
from manifestd.workflows.desk import Desk, Hand
from manifestd.workflows.sign import judge_statement, unbroken_signature_of


def set_tag(
    store: Store,
    desk: Desk,
    tag: str,
    reference: str,
    *,
    reason: str | None = None,
    expect: str | None = None,
) -> TagResult:
    """Make a tag name a stored snapshot.

    Args:
        store: Opened for writing.
        desk: Where it is done; has the key of who does it.
        tag: ``NAME:TAG``.
        reference: The snapshot.
        reason: Why, for the history.
        expect: What the tag must name now, as a reference; ``none``: it must not exist.

    Raises:
        UsageError: Not a tag, no key, an incomplete snapshot, or the tag is immutable.
        UntrustedError: The key may not move tags.
        SignatureError: The snapshot has a signature that is wrong.
        UndecidedError: The tag does not name what was expected, or was moved meanwhile.
        NotApprovedError: The approvals that the tag needs are not there.
    """
    before = store.tags.target(check_tag(tag))
    if expect is not None:
        _check_expected(store, tag, before, expect)
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    target = _target(digest, record)
    hand = desk.authority("a move of a tag", "tag")
    state = unbroken_signature_of(store, digest, record, desk.trust)
    result = TagResult(
        tag=tag,
        action="moved" if before else "set",
        from_=before.snapshot if before else None,
        snapshot=digest,
        manifest=target.manifest,
        signature=state,
        by=hand.person,
        key_id=hand.key_id,
        entry=None,
    )
    if before == target:
        return msgspec.structs.replace(result, action="unchanged")
    size = store.log.size
    _check_rules(store, desk, tag, before, digest)
    bundle = _signed(desk, hand, tag=tag, before=before, target=target, reason=reason)
    with store.transaction():
        if store.log.size != size:
            # An approval may have been revoked meanwhile: the rules hold at the move or it fails.
            _check_rules(store, desk, tag, before, digest)
        entry = store.tags.move(bundle, desk.now)
    return msgspec.structs.replace(result, entry=entry.index)


def delete_tag(store: Store, desk: Desk, tag: str, *, reason: str) -> TagResult:
    """Delete a tag. Its history stays, with a signed statement that it ended.

    Raises:
        NotStoredError: There is no such tag.
        UsageError: The tag is immutable, or no key is configured.
        UntrustedError: The key may not move tags.
        UndecidedError: The tag was moved meanwhile.
    """
    before = store.tags.target(check_tag(tag))
    if before is None:
        raise _no_tag(store, tag)
    if is_immutable(desk.config.tags, tag):
        raise _immutable(tag, before, "it stays; what replaces it gets a tag of its own")
    hand = desk.authority("the end of a tag", "tag")
    bundle = _signed(desk, hand, tag=tag, before=before, target=None, reason=reason)
    entry = store.tags.move(bundle, desk.now)
    return TagResult(
        tag=tag,
        action="deleted",
        from_=before.snapshot,
        snapshot=None,
        manifest=None,
        signature=None,
        by=hand.person,
        key_id=hand.key_id,
        entry=entry.index,
    )


def list_tags(store: Store, trust: Trust, name: str | None = None) -> TagList:
    """What each tag names now.

    Args:
        store: Opened for reading.
        trust: The keys that count.
        name: Only tags of this ``NAME``, or this one ``NAME:TAG``.
    """
    return TagList(tags=[state_of(move, trust) for move in store.tags.current(name=name)])


def tag_history(store: Store, trust: Trust, tag: str) -> TagHistory:
    """Every move of a tag, oldest first, deletions included.

    Raises:
        NotStoredError: There never was such a tag.
        UsageError: Not a tag.
    """
    moves = [
        TagMove(
            from_=move.claim.from_.snapshot if move.claim.from_ else None,
            state=state_of(move, trust),
        )
        for move in store.tags.history(tag)
    ]
    if not moves:
        raise _no_tag(store, tag)
    return TagHistory(tag=tag, moves=moves)


def state_of(move: Move, trust: Trust) -> TagState:
    """A move as it is shown: its signature judged as of when it was logged."""
    check = judge_statement(move.bundle, trust, "tag", move.entry.moment())
    to = move.claim.to
    return TagState(
        tag=move.claim.tag,
        snapshot=to.snapshot if to else None,
        manifest=to.manifest if to else None,
        since=move.entry.at,
        by=check.person or move.claim.by,
        key_id=check.key_id,
        signature=check.state,
        reason=move.claim.reason,
        entry=move.entry.index,
        statement=move.entry.document,
        why=check.why,
    )


def action_of(claim: TagPredicate) -> Literal["set", "moved", "deleted"]:
    """What a move did to its tag."""
    if claim.to is None:
        return "deleted"
    return "moved" if claim.from_ else "set"


def _signed(
    desk: Desk,
    hand: Hand,
    *,
    tag: str,
    before: Target | None,
    target: Target | None,
    reason: str | None,
) -> bytes:
    claim = TagPredicate(
        tag=tag,
        from_=before,
        to=target,
        at=time_text(desk.now),
        by=hand.person,
        key_id=hand.key_id,
        reason=check_reason(reason),
        tool=desk.tool,
    )
    return sign_statement(tag_statement(claim), hand.signer)


def _target(digest: Digest, record: Snapshot) -> Target:
    return Target(snapshot=digest, manifest=identity_of(digest, record, "tagged"))


def _check_expected(store: Store, tag: str, before: Target | None, expect: str) -> None:
    if expect == "none":
        is_so = before is None
    else:
        digest = store.snapshots.resolve(expect)
        is_so = before is not None and before.snapshot == digest
    if not is_so:
        raise UndecidedError(
            f"{tag} names {before.snapshot if before else 'nothing'}, not {expect}",
            hint=f"look at `manifestd tag --history {tag}`, then decide again",
            facts={"tag": tag, "snapshot": before.snapshot if before else None},
        )


def _check_rules(store: Store, desk: Desk, tag: str, before: Target | None, digest: Digest) -> None:
    if before is not None and is_immutable(desk.config.tags, tag):
        raise _immutable(tag, before, "give the new snapshot a tag of its own")
    if any(rule.approvals for rule in desk.config.tags if matches(tag, rule.pattern)):
        from manifestd.workflows.approvals import require_quorum

        require_quorum(store, desk, tag, digest)


def is_immutable(rules: Iterable[TagRule], tag: str) -> bool:
    """Whether ``[[tags]]`` rules let a tag be set once and never moved or deleted."""
    return any(rule.immutable for rule in rules if matches(tag, rule.pattern))


def _immutable(tag: str, before: Target, hint: str) -> UsageError:
    return UsageError(
        f"{tag} is immutable and names {before.snapshot}",
        why="a [[tags]] rule of the configuration says so; nothing was changed",
        hint=hint,
        facts={"tag": tag, "snapshot": before.snapshot, "manifest": before.manifest},
    )


def _no_tag(store: Store, tag: str) -> NotStoredError:
    import difflib

    near = difflib.get_close_matches(tag, store.tags.names(), n=1)
    return NotStoredError(
        f"there is no tag {tag}",
        hint=f"there is {near[0]}" if near else "see `manifestd tag --list`",
    )
