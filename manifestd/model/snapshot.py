"""The snapshot record: that, at a time, a source at a revision held a manifest, and how that is known."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.entry import Problem
from manifestd.model.manifest import Size

# ``$`` also matches before a last newline and ``\d`` other scripts' digits: neither may pass.
HexDigest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
Timestamp = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$(?!\n)"
    ),
]

ReadMode = Literal["missing", "all", "none"]

SourceFacts = dict[str, str | list[str] | bool | int | None]
"""What a source, or a document that stands for one, says of itself: flat, small, secret-free."""


def moment_of(timestamp: str) -> datetime:
    """The moment that a document's timestamp means.

    Raises:
        MalformedError: Digits in the right places that are no date.
    """
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise MalformedError(f"no moment in time: {timestamp[:80]}") from error


class Selection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What of the source was looked at.

    Attributes:
        ignore: Glob patterns whose files were left out.
        read: Which bytes were read: ``missing``, ``all``, ``none``.
    """

    ignore: list[str] = []
    read: ReadMode = "missing"


class EvidenceCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many files' sha256 is known by which grade."""

    measured: Size = 0
    reused: Size = 0
    stored: Size = 0
    declared: Size = 0
    none: Size = 0

    def told(self) -> str:
        """The grades there are, strongest first: ``10 measured, 2 declared``."""
        counts = ((grade, getattr(self, grade)) for grade in self.__struct_fields__)
        return ", ".join(f"{count} {grade}" for grade, count in counts if count)


class Snapshot(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The signed record. Addressed by the sha256 of its canonical bytes (format v1, section 4).

    Attributes:
        schema: Always ``manifestd.snapshot/v1``.
        name: The model's name for people and tags.
        source: Canonical reference without the revision (``hf://org/name``, ``s3://b/p/``).
        requested: What was asked for (branch, tag, ``main``), or None where sources have none.
        revision: The source's own immutable name of the state, if it has one.
        captured_at: When the listing was taken, RFC 3339 UTC.
        tool: Name and version of what wrote it.
        selection: What was looked at.
        manifest: Content identity, None while a file's sha256 is unknown.
        complete: No file is missing its sha256 and no error problem stands.
        files: Number of files.
        bytes: Sum of their sizes.
        evidence: Counts by grade of each file's sha256.
        content: Root of the content tree (path, size, sha256).
        observation: Root of the observation tree.
        problems: What could not be done, at most some thousands, in path order.
        facts: Source's own facts of the revision (licence, gated, renamed to …), bounded.
    """

    schema: Literal["manifestd.snapshot/v1"] = media_types.SCHEMA_SNAPSHOT
    name: str
    source: str
    requested: str | None
    revision: str | None
    captured_at: Timestamp
    tool: str
    selection: Selection
    manifest: HexDigest | None
    complete: bool
    files: Size
    bytes: Size
    evidence: EvidenceCounts
    content: HexDigest
    observation: HexDigest
    problems: list[Problem] = []
    facts: SourceFacts = {}


class SnapshotResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``snapshot --format json`` prints (contract, section 5)."""

    schema: Literal["manifestd.snapshot-result/v1"] = media_types.SCHEMA_RESULT
    snapshot: str
    manifest: str | None
    complete: bool
    name: str
    source: str
    requested: str | None
    revision: str | None
    captured_at: str
    files: int
    bytes: int
    bytes_read: int
    requests: int
    evidence: EvidenceCounts
    signed_by: list[str]
    problems: list[Problem]
    seconds: float
