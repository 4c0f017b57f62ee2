"""What must be read, and what is known already: one decision for each listed file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, Protocol

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.formats import reader_for
from manifestd.formats.names import body_limit
from manifestd.model.entry import UNKNOWN_SIZE, Entry, File, Problem
from manifestd.model.reference import Reference
from manifestd.model.snapshot import ReadMode
from manifestd.reading.wants import RegionAlgorithm

Action = Literal["skip", "keep", "carry", "reuse", "headers", "read"]

GIT_BLOB_LIMIT: Final = 16 * 1024 * 1024
"""Bytes up to which git blob ids are computed of files whose source names none."""


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for when taking a snapshot.

    Attributes:
        reference: The place.
        read: Which bytes: ``missing``, ``all``, ``none``.
        ignore: Globs of files to leave out; recorded.
        name: Name to file it under; the source's own when None.
        jobs: Files read at the same time; None chooses by the kind of source.
        fresh: Read again what could be reused.
        sample: Share (0..1) of reusable files to read again, rotating from run to run.
        evidence_for: A stored snapshot whose algorithms shall be computed here too.
        regions: Algorithm for digests of tensors and of pieces of large files; None: BLAKE3, or
            sha256 on a machine in FIPS mode.
        options: What only one source knows (``requesterPays``, ``checksums`` …).
        own_outputs: Absolute paths that manifestd itself writes.
        retry_budget: Seconds that one request may spend on retries in all.
    """

    reference: Reference
    read: ReadMode = "missing"
    ignore: tuple[str, ...] = ()
    name: str | None = None
    jobs: int | None = None
    fresh: bool = False
    sample: float = 0.0
    evidence_for: str | None = None
    regions: RegionAlgorithm | None = None
    options: dict[str, Any] = {}
    own_outputs: tuple[str, ...] = ()
    retry_budget: float = 120.0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One file's decision.

    Attributes:
        action: ``skip`` nothing can be known; ``keep`` what the listing states; ``carry`` the
            listing's digest and an earlier snapshot's facts; ``reuse`` an earlier measurement;
            ``headers`` only what a format reader wants; ``read`` every byte.
        rechecks: The file was read although a measurement could have been reused.
    """

    action: Action
    rechecks: bool = False


class Finder(Protocol):
    """Finds stored files by path."""

    def find(self, path: str, /) -> File | None:
        """The stored file of this path; none is missed when asked in ascending UTF-8 order."""


class PathTable:
    """Stored files that are in memory, found in any order."""

    def __init__(self, files: Iterable[File]) -> None:
        self._files = {file.path: file for file in files}
        self.find = self._files.get


class PathJoin:
    """Walks stored files beside a listing, both in path order, without holding either."""

    def __init__(self, files: Iterator[File]) -> None:
        self._files = files
        self._ahead = next(files, None)

    def find(self, path: str) -> File | None:
        """The stored file of this path; None for one that comes before those asked for already."""
        key = path.encode(errors="surrogatepass")  # as a source may list it; none is stored
        while self._ahead is not None and self._ahead.path.encode() < key:
            self._ahead = next(self._files, None)
        if self._ahead is not None and self._ahead.path == path:
            return self._ahead
        return None


def countable(entry: Entry, others: int) -> Entry:
    """The entry; with a problem and no size where a record could not hold its bytes.

    Args:
        entry: As listed: a server may state any number, and sparse files reach 2^63 - 1.
        others: Bytes of the files listed before, which the record holds the sum of.
    """
    if 0 <= entry.size <= MAX_INTEGER - others:
        return entry
    more = " more" if 0 <= entry.size <= MAX_INTEGER else ""
    problem = Problem(
        path=entry.path,
        code="unreadable",
        what=f"its listed size is {entry.size}; a snapshot cannot hold that many{more} bytes",
        hint="leave it out with --ignore",
    )
    hints = {**entry.hints, "size": UNKNOWN_SIZE}
    return msgspec.structs.replace(entry, size=0, hints=hints, problem=entry.problem or problem)


def same_object(before: File, entry: Entry) -> bool:
    """Whether the source proves the object unchanged since ``before`` was recorded.

    All of the source's identity must be equal. A new Hub commit with the same
    blob is the one relaxation: it counts when the listing declares the very
    sha256 that was known before, so a README edit costs no re-read of weights.
    """
    if before.size != entry.size or not entry.identity:
        return False
    if before.seen.identity == entry.identity:
        return True
    if entry.digests.get("sha256") != before.sha256 or before.sha256 is None:
        return False
    return "blobId" in entry.identity and _without_commit(before.seen.identity) == _without_commit(
        entry.identity
    )


def _carries(before: File, entry: Entry, *, fresh: bool) -> bool:
    """Whether facts recorded before say of this object all that reading it again would."""
    if fresh or before.sha256 is None or entry.digests.get("sha256") != before.sha256:
        return False
    if before.seen.facts is not None:
        return True
    reader = reader_for(entry.path, entry.size)
    return reader is None or (reader.needs_body and entry.size > body_limit(entry.path))


def _without_commit(identity: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in identity.items() if key != "commit"}


def decide(
    request: SnapshotRequest, entry: Entry, before: File | None, wanted: frozenset[str], run: int
) -> Decision:
    """Decide what to do with one file.

    Args:
        request: What was asked for.
        entry: As listed.
        before: The same path in the latest snapshot of this place.
        wanted: Algorithms the other side of a later comparison needs and nothing here has.
        run: Number of this run, for the rotation of samples.
    """
    if entry.problem is not None:
        return Decision(action="skip")
    rechecks = False
    # A source that has to read files to list them (archives) has read them already.
    reads_all = request.read == "all" and entry.evidence.get("sha256") != "measured"
    if before is not None and same_object(before, entry):
        enough = wanted <= before.seen.digests.keys()
        measured = before.seen.evidence.get("sha256") in {"measured", "reused"}
        if measured and enough and entry.evidence.get("sha256") != "measured":
            rechecks = request.fresh or in_sample(entry.path, request.sample, run)
            if not rechecks:
                return Decision(action="reuse")
        elif not reads_all and enough and _carries(before, entry, fresh=request.fresh):
            return Decision(action="carry")
    if request.read == "none":
        return Decision(action="keep")
    if rechecks or reads_all or "sha256" not in entry.digests or wanted:
        return Decision(action="read", rechecks=rechecks)
    reader = reader_for(entry.path, entry.size)
    if reader is None:
        return Decision(action="keep")
    if reader.needs_body:
        return Decision(action="read" if entry.size <= body_limit(entry.path) else "keep")
    return Decision(action="headers")


def in_sample(path: str, share: float, run: int) -> bool:
    """Whether a path's turn has come: every path is chosen once within ``ceil(1/share)`` runs.

    Example:
        >>> sum(in_sample("model.safetensors", 0.25, run) for run in range(4))
        1
    """
    if share <= 0:
        return False
    rounds = max(1, -int(-1 // share))
    return zlib.crc32(path.encode()) % rounds == run % rounds
