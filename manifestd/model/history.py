"""Documents about history that commands print: tags, the log, proofs, the release ledger."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd.model.change import SignatureState
from manifestd.model.entry import Problem
from manifestd.model.logentry import LogEntry
from manifestd.model.snapshot import HexDigest, Timestamp


class TagState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one tag names, since when, and who says so.

    Attributes:
        tag: ``NAME:TAG``.
        snapshot: The snapshot; null once the tag is deleted.
        manifest: The content identity it holds; null once the tag is deleted.
        since: When the move was logged.
        by: Who moved it: the person of the key by the reader's trust, else what was claimed.
        key_id: The key that signed the move.
        signature: State of the move's signature.
        reason: Why it was moved, if somebody said.
        entry: The move's place in the log.
        statement: Digest of the signed statement.
        why: What is wrong with the signature, if something is.
    """

    tag: str
    snapshot: HexDigest | None
    manifest: HexDigest | None
    since: Timestamp
    by: str
    key_id: str
    signature: SignatureState
    reason: str | None
    entry: int
    statement: HexDigest
    why: str | None = None


class TagMove(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One line of a tag's history: what it named before, and its state from then on."""

    from_: HexDigest | None
    state: TagState


class TagList(msgspec.Struct, frozen=True, kw_only=True):
    """``tag --list --format json``."""

    schema: Literal["manifestd.tags/v1"] = "manifestd.tags/v1"
    tags: list[TagState]


class TagHistory(msgspec.Struct, frozen=True, kw_only=True):
    """``tag --history --format json``: every move, oldest first."""

    schema: Literal["manifestd.tag-history/v1"] = "manifestd.tag-history/v1"
    tag: str
    moves: list[TagMove]


class TagResult(
    msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from", "key_id": "keyId"}
):
    """What ``tag NAME:TAG REF`` and ``tag --delete`` did.

    Attributes:
        schema: Always ``manifestd.tag-result/v1``.
        tag: ``NAME:TAG``.
        action: ``unchanged``: it named that snapshot already, and nothing was written.
        from_: The snapshot it named before.
        snapshot: The snapshot it names now.
        manifest: The content identity it names now.
        signature: State of that snapshot's own signatures.
        by: Who moved it.
        key_id: The key that signed the move.
        entry: The move's place in the log; null when nothing was written.
    """

    schema: Literal["manifestd.tag-result/v1"] = "manifestd.tag-result/v1"
    tag: str
    action: Literal["set", "moved", "deleted", "unchanged"]
    from_: HexDigest | None
    snapshot: HexDigest | None
    manifest: HexDigest | None
    signature: SignatureState | None
    by: str
    key_id: str
    entry: int | None


class LogList(msgspec.Struct, frozen=True, kw_only=True):
    """``log --format json``: size and root of the whole log, and the entries asked for."""

    schema: Literal["manifestd.log/v1"] = "manifestd.log/v1"
    size: int
    root: HexDigest
    entries: list[LogEntry]


class NamedThen(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one tag named at a time, judged as of that time.

    Attributes:
        state: The tag as its last move until then left it.
        name: Of the snapshot.
        source: Where the snapshot was taken.
        revision: The source's own name of that state, if it has one.
        captured_at: When the snapshot was taken.
        stored: The record is still in the store.
        signature: State of the snapshot's signatures that were logged until then, by keys that
            counted when the signature was logged.
        signed_by: Who stands behind that state.
    """

    state: TagState
    name: str | None
    source: str | None
    revision: str | None
    captured_at: str | None
    stored: bool
    signature: SignatureState
    signed_by: list[str]


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """``log --as-of DATE --format json``."""

    schema: Literal["manifestd.log-as-of/v1"] = "manifestd.log-as-of/v1"
    at: Timestamp
    entries: int
    tags: list[NamedThen]


class CheckpointSeen(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A checkpoint whose signature is right.

    Attributes:
        origin: Name of the log.
        size: Number of entries it covers.
        root: Root hash over them.
        signed_by: Persons, by the trust configuration, whose keys signed it.
    """

    origin: str
    size: int
    root: HexDigest
    signed_by: list[str]


class LogVerification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``log verify --format json``.

    Attributes:
        schema: Always ``manifestd.log-verify/v1``.
        verified: Nothing is wrong.
        size: Entries in the log now; null when only a proof was checked.
        root: Root over them.
        checkpoint: The checkpoint it was held against.
        entry: The entry that a proof shows to be in the log.
        problems: What is wrong.
    """

    schema: Literal["manifestd.log-verify/v1"] = "manifestd.log-verify/v1"
    verified: bool
    size: int | None
    root: HexDigest | None
    checkpoint: CheckpointSeen | None
    entry: LogEntry | None
    problems: list[Problem]


class Release(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the release ledger: one move of one tag.

    Attributes:
        model: The tag's ``NAME``.
        version: Its ``TAG``.
        action: What happened to it.
        snapshot: What it named from then on; for a deletion, until then.
        manifest: The content identity.
        source: Where the snapshot was taken; null when its record is no longer stored.
        revision: The source's own name of that state.
        at: When it was logged.
        by: Who moved it.
        approvers: Who had approved these bytes for this tag until then.
        verdict: The last verdict logged about it until then, if any; else how it compares
            with what the tag named before.
        signature: State of the move's signature.
        reason: Why, if somebody said.
        entry: The move's place in the log.
    """

    model: str
    version: str
    action: Literal["set", "moved", "deleted"]
    snapshot: HexDigest
    manifest: HexDigest
    source: str | None
    revision: str | None
    at: Timestamp
    by: str
    approvers: list[str]
    verdict: str | None
    signature: SignatureState
    reason: str | None
    entry: int


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """``history --as json``: every move of every tag, oldest first."""

    schema: Literal["manifestd.history/v1"] = "manifestd.history/v1"
    releases: list[Release]


class Pruned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``store prune --format json``.

    Attributes:
        schema: Always ``manifestd.store-prune/v1``.
        removed: Digests of the snapshots that were removed, or would be.
        kept: Snapshots that matched and were kept: tagged, approved, or the newest of a place.
        dry_run: Nothing was changed.
        blobs: Blobs that were removed with them.
        bytes: Bytes of those blobs, as stored.
        entries: Log entries of the tombstones.
    """

    schema: Literal["manifestd.store-prune/v1"] = "manifestd.store-prune/v1"
    removed: list[HexDigest]
    kept: int
    dry_run: bool
    blobs: int
    bytes: int
    entries: list[int]
