"""Tombstones: signed statements that snapshots were removed on purpose, and what they were."""

from __future__ import annotations

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.digest import hex_of
from manifestd.model.snapshot import HexDigest, Timestamp
from manifestd.model.statement import Statement, Subject, read_claim
from manifestd.model.tag import Reason

MAX_REMOVED = 500
"""Snapshots of one statement; a bundle has at most 1 MiB."""


class Removed(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What a removed snapshot was: its digest, its content identity, and where it came from."""

    snapshot: HexDigest
    manifest: HexDigest | None
    name: str
    source: str
    captured_at: Timestamp


class DeletionPredicate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The claim that snapshots were removed from a store (docs/format/history.md).

    Attributes:
        removed: What they were; their digests are the statement's subjects, in this order.
        at: When, by the clock of the machine that signed.
        by: Who, as the signer's configuration calls the holder of the key.
        key_id: The key that signed; a hint.
        reason: Why.
        tool: Name and version of what wrote it.
    """

    removed: list[Removed]
    at: Timestamp
    by: str
    key_id: str
    reason: Reason
    tool: str


def deletion_statement(predicate: DeletionPredicate) -> bytes:
    """The canonical bytes of the statement that snapshots were removed."""
    return canonical.encode(
        Statement(
            subject=[
                Subject(name="snapshot", digest={"sha256": hex_of(item.snapshot)})
                for item in predicate.removed
            ],
            predicate_type=media_types.DELETION_PREDICATE,
            predicate=msgspec.to_builtins(predicate),
        )
    )


def read_deletion_statement(payload: bytes) -> DeletionPredicate:
    """Decode a tombstone's statement strictly. Whether it is signed is the caller's to know.

    Raises:
        MalformedError: Not such a statement, or its subjects are not what it lists.
        NotCanonicalError: Not its canonical bytes.
    """
    predicate = read_claim(
        payload,
        DeletionPredicate,
        deletion_statement,
        predicate_type=media_types.DELETION_PREDICATE,
        what="a statement about removed snapshots",
    )
    if not predicate.removed:
        raise MalformedError("a statement about removed snapshots names none")
    return predicate
