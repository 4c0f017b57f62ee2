"""One leaf of the history log: what happened, when, and the digest of the document about it.

The log lists digests, not documents, so an entry stays small enough for any
reader of transparency logs (c2sp.org/tlog-tiles gives an entry a 16-bit length).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, get_args

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.manifest import Size
from manifestd.model.snapshot import HexDigest, Timestamp, moment_of

MAX_ENTRY: Final = 65_535
"""Bytes of an entry."""

MAX_FACT: Final = 4096
"""Characters of one fact. Names from outside are cut to it; the document has them whole."""

LogKind = Literal[
    "snapshot", "signature", "tag", "approval", "revocation", "waiver", "verdict", "deletion"
]
"""What this version writes. Readers meet other words in logs of later versions.

The facts by which each is found again (all texts; digests are ``sha256:<hex>``):

- ``snapshot``: ``name source manifest``; the document is the record.
- ``signature``: ``snapshot``; the document is the bundle.
- ``tag``: ``tag snapshot manifest from by``; the document is the signed move.
- ``approval``: ``tag snapshot manifest by``; the document is the signed approval. ``request``
  is the digest of what was shown, where that is kept here.
- ``revocation``: ``tag revokes by``; ``revokes`` is the document of an approval.
- ``waiver``, ``verdict``: ``tag snapshot manifest by verdict``, as far as they are known.
- ``deletion``: ``by``; the document is the signed tombstone.
"""

KINDS: Final[tuple[LogKind, ...]] = get_args(LogKind)

KindWord = Annotated[str, msgspec.Meta(pattern="^[a-z]+(-[a-z]+)*$", max_length=40)]
Fact = str | int | bool | None


class LogEntry(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What happened (docs/format/history.md). Its canonical bytes are the leaf.

    Attributes:
        schema: Always ``manifestd.log-entry/v1``.
        index: Position in the log, from 0.
        kind: What happened: ``snapshot``, ``tag``, ``approval`` …
        at: When it was logged, by the clock of the machine that did.
        document: The document it is about: a snapshot record, or a signed statement.
        facts: A few values of the document, to find the entry by. ``tag`` is the
            ``NAME:TAG`` it concerns.
    """

    schema: Literal["manifestd.log-entry/v1"] = media_types.SCHEMA_LOG_ENTRY
    index: Size
    kind: KindWord
    at: Timestamp
    document: HexDigest
    facts: dict[str, Fact] = {}

    @property
    def tag(self) -> str | None:
        """The ``NAME:TAG`` it concerns, if any."""
        found = self.facts.get("tag")
        return found if isinstance(found, str) else None

    def fact(self, name: str) -> str | None:
        """A fact that is a text; None when there is none."""
        found = self.facts.get(name)
        return found if isinstance(found, str) else None

    def moment(self) -> datetime:
        """When it was logged.

        Raises:
            MalformedError: Digits in the right places that are no date.
        """
        return moment_of(self.at)


def encode_entry(entry: LogEntry) -> bytes:
    """The leaf's bytes.

    Raises:
        MalformedError: 65,536 bytes or more.
    """
    data = canonical.encode(entry)
    if len(data) > MAX_ENTRY:
        raise MalformedError(f"too large for an entry of the log: {len(data)} bytes")
    return data


def decode_entry(data: bytes) -> LogEntry:
    """Decode a leaf strictly.

    Raises:
        MalformedError: Too large, or not an entry.
        NotCanonicalError: Not its canonical bytes.
    """
    return canonical.decode(data, LogEntry, name="log entry", max_size=MAX_ENTRY)


def time_text(at: datetime) -> str:
    """A moment as our documents write it: RFC 3339, UTC, microseconds.

    Example:
        >>> time_text(datetime(2026, 3, 1, 12, tzinfo=UTC))
        '2026-03-01T12:00:00.000000Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
