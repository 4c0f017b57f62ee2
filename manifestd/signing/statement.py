"""The statement about a snapshot: built from its record, checked against it."""

from __future__ import annotations

from manifestd import canonical
from manifestd.errors import MalformedError, SignatureError
from manifestd.model import media_types
from manifestd.model.snapshot import Snapshot
from manifestd.model.statement import Statement, subjects_of


def snapshot_statement(record: Snapshot, digest: str) -> bytes:
    """The canonical bytes of the in-toto statement about a snapshot record.

    Subjects are ``manifest`` (left out while the manifest is unknown) and
    ``snapshot``; the predicate repeats what people ask about first, so that an
    envelope alone says what it is about.

    Args:
        record: The record.
        digest: ``sha256:<hex>`` of its canonical bytes.
    """
    return canonical.encode(
        Statement(
            subject=subjects_of(digest, record.manifest),
            predicate_type=media_types.SNAPSHOT_PREDICATE,
            predicate={
                "source": record.source,
                "requested": record.requested,
                "revision": record.revision,
                "capturedAt": record.captured_at,
                "complete": record.complete,
                "files": record.files,
                "bytes": record.bytes,
                "tool": record.tool,
            },
        )
    )


def check_snapshot_statement(payload: bytes, digest: str, manifest: str | None) -> Statement:
    """Parse a verified payload and check that it speaks of this snapshot and no other.

    Args:
        payload: The payload of a bundle whose signature is already verified.
        digest: The snapshot's digest.
        manifest: The manifest digest in its record.

    Raises:
        MalformedError: Not a statement of ours.
        NotCanonicalError: Not in canonical form.
        SignatureError: A statement about something else.
    """
    statement = canonical.decode(payload, Statement, name="statement")
    if statement.type != media_types.STATEMENT:
        raise MalformedError(f"not an in-toto statement v1: {statement.type[:80]!r}")
    if statement.predicate_type != media_types.SNAPSHOT_PREDICATE:
        raise SignatureError(
            "the signature is not about a snapshot",
            why=f"its predicate type is {statement.predicate_type[:200]!r}",
        )
    if statement.subject != subjects_of(digest, manifest):
        raise SignatureError(
            "the signature is about another snapshot",
            why=f"its subjects are not snapshot {digest} and its manifest",
            facts={"snapshot": digest},
        )
    return statement
