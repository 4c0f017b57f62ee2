"""Entries: what a source lists, what a reading pass adds, what a snapshot keeps of a file."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from manifestd.model.evidence import Grade

Role = Literal[
    "weights", "config", "tokenizer", "template", "code", "card", "license", "data", "other"
]


UNKNOWN_SIZE: Final = "unknown"
"""Hint ``size`` of a file whose recorded size, 0, is none (format v1, section 4.1)."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that keeps a file, or the snapshot, from being fully known.

    Attributes:
        path: The file, or None when it concerns the whole snapshot.
        code: A stable word: an error code (``access-denied``, ``changed-while-reading``,
            ``digest-mismatch``, ``source-unreachable`` …) or one of ``lfs-pointer``,
            ``special-file``, ``symlink-escapes``, ``not-utf8``, ``archived``, ``left-out`` ….
        what: One line for people, redacted.
        hint: One action, if there is one.
        severity: ``error`` makes the snapshot incomplete; ``mismatch`` is content against
            its declared digest (exit 4); ``note`` only informs (left out, renamed …).
    """

    path: str | None = None
    code: str
    what: str
    hint: str | None = None
    severity: Literal["error", "mismatch", "note"] = "error"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file as a source lists it, before anything is read.

    Attributes:
        path: Path inside the repository, kept literally (may hold ``..``, ``//``, control
            characters, 1,024 bytes). Always valid UTF-8.
        size: Length in bytes, as listed.
        digests: algorithm -> hex, as the source states them.
        evidence: algorithm -> grade, the same keys as ``digests``.
        identity: The source's own identity of this object (etag, versionId, blobId,
            lastModified, inode, mtimeNs, ctimeNs …). Equal identity means: not changed
            since. Empty when the source cannot tell.
        hints: What the source needs to open it again and what explains its evidence
            (storage class, checksum type, part sizes …); kept in the record, never trusted.
        problem: Set when listing alone shows it cannot be read or is not content.
    """

    path: str
    size: int
    digests: dict[str, str] = {}
    evidence: dict[str, Grade] = {}
    identity: dict[str, str] = {}
    hints: dict[str, Any] = {}
    problem: Problem | None = None


class Chunks(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of equal pieces of a large file, in order.

    Attributes:
        algorithm: ``blake3`` (default) or ``sha256``.
        size: Bytes per piece; the last may be shorter.
        digests: Hex, one a piece.
    """

    algorithm: str
    size: int
    digests: list[str]


class RegionDigest(msgspec.Struct, frozen=True, kw_only=True):
    """A named byte range of a file (a tensor, an archive record) and its digest."""

    name: str
    begin: int
    end: int
    algorithm: str
    digest: str


class Measurement(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one pass over a file's bytes gave. All digests in here are ``measured``.

    Attributes:
        path: The file.
        size: Bytes actually read.
        digests: algorithm -> hex; always has ``sha256`` when the whole file was read.
        chunks: Piece digests of large files, per wanted layout.
        regions: Named ranges a format reader asked for.
        body: The bytes themselves, for small text files that explanations need.
        facts: What a format reader learned, as a canonical document.
        seconds: Wall time of the pass.
        problem: Set when reading failed; then the other fields may be empty.
        bytes_read: Content bytes that crossed the source, retries included.
        requests: Requests made to the source.
        resumed: How many times a cut connection was resumed.
    """

    path: str
    size: int = 0
    digests: dict[str, str] = {}
    chunks: list[Chunks] = []
    regions: list[RegionDigest] = []
    body: bytes | None = None
    facts: bytes | None = None
    seconds: float = 0.0
    problem: Problem | None = None
    bytes_read: int = 0
    requests: int = 0
    resumed: int = 0


class Observation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a snapshot keeps of one file besides (path, size, sha256). See docs/format/v1.md.

    Attributes:
        role: What kind of file it is, by its name.
        digests: Every known algorithm except sha256 (which stands in the content leaf).
        evidence: algorithm -> grade for every digest, sha256 included.
        declared: Digests the source stated that its bytes contradict (algorithm -> hex).
        identity: The source's own identity of the object.
        hints: Checksum type, part sizes, storage class …
        facts: Digest of the facts document a format reader made.
        chunks: Digest of the document with the chunk digests.
        body: Whether the file's bytes are kept in the store under their sha256.
        reused_from: Snapshot in which a ``reused`` digest was measured.
    """

    role: Role = "other"
    digests: dict[str, str] = {}
    evidence: dict[str, Grade] = {}
    declared: dict[str, str] = {}
    identity: dict[str, str] = {}
    hints: dict[str, Any] = {}
    facts: str | None = None
    chunks: str | None = None
    body: bool = False
    reused_from: str | None = None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a stored snapshot: content and observation joined again."""

    path: str
    size: int
    sha256: str | None
    seen: Observation

    def digests(self) -> dict[str, str]:
        """Every known digest, sha256 included."""
        if self.sha256 is None:
            return dict(self.seen.digests)
        return {**self.seen.digests, "sha256": self.sha256}

    @property
    def sized(self) -> bool:
        """Whether the size is known; lists of digests say none, and 0 is recorded for it."""
        return self.seen.hints.get("size") != UNKNOWN_SIZE

    def grade(self) -> Grade:
        """Grade of the sha256; ``none`` when it is unknown."""
        if self.sha256 is None:
            return "none"
        return self.seen.evidence.get("sha256", "none")
