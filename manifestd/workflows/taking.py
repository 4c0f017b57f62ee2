"""What taking a snapshot is told about, answers with, and starts from."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from manifestd.errors import UndecidedError
from manifestd.model.digest import Digest
from manifestd.model.entry import Measurement
from manifestd.model.snapshot import Snapshot, SnapshotResult
from manifestd.signing.base import Signer
from manifestd.sources import SOURCES
from manifestd.sources.base import Shared, Source, SourceSettings
from manifestd.store import Store
from manifestd.workflows.plan import SnapshotRequest


class Progress(Protocol):
    """Who is told how far it is, by any thread."""

    def bytes(self, count: int) -> None:
        """So many content bytes arrived (any thread)."""

    def done(self, measurement: Measurement) -> None:
        """One file is finished."""


ProgressFor = Callable[[int, int], AbstractContextManager[Progress]]
"""Makes the progress for so many bytes in so many files."""


class Silent:
    """Nobody is told."""

    def bytes(self, count: int) -> None:
        """Nothing is said."""

    def done(self, measurement: Measurement) -> None:
        """Nothing is said."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        result: The document that ``--format json`` prints.
        exit_code: 0, 3 (incomplete) or 4 (a declared digest that its bytes contradict).
        resumed: Files whose measurement came from an interrupted run.
        bytes_reused: Bytes of files whose measurement came from an earlier snapshot.
        record: The stored record.
    """

    result: SnapshotResult
    exit_code: int
    resumed: int
    bytes_reused: int
    record: Snapshot


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot would cost, by its listing alone.

    Attributes:
        files: Number of files.
        bytes: Sum of their sizes.
        bytes_to_read: Sizes of files that would be streamed.
        bytes_reusable: Sizes of files that an earlier snapshot, or an interrupted run, measured.
        files_to_read: Files that would be streamed.
        headers_to_read: Files of which only tensor headers would be fetched.
        requests: Requests made for the listing.
    """

    files: int = 0
    bytes: int = 0
    bytes_to_read: int = 0
    bytes_reusable: int = 0
    files_to_read: int = 0
    headers_to_read: int = 0
    requests: int = 0


def exit_code_of(record: Snapshot) -> int:
    """What taking it ends with: 4 before 3 before 0, as the contract orders them."""
    if any(problem.severity == "mismatch" for problem in record.problems):
        return 4
    return 0 if record.complete else 3


def open_source(request: SnapshotRequest, shared: Shared | None = None) -> Source[Any]:
    """The source for a request's reference, by its scheme; with connections from ``shared``."""
    scheme = request.reference.scheme
    # S3 asks for more where nothing better will follow: weak checksums, when nothing is read.
    options = request.options | ({"read": request.read} if scheme == "s3" else {})
    settings = SourceSettings(
        jobs=request.jobs or default_jobs(scheme),
        retry_budget=request.retry_budget,
        options=options,
        own_outputs=request.own_outputs,
    )
    source = SOURCES.load(scheme)(request.reference, settings)
    source.shared = shared
    return source


def default_jobs(scheme: str) -> int:
    """Files read at once: one a core on disks, more where a network has to be waited for."""
    cores = os.cpu_count() or 2
    return cores if scheme in {"file", "hf-cache"} else max(8, cores)


def check_still_there(store: Store, place: str, before: Digest) -> None:
    """See that a snapshot is stored on which another builds: pieces go with who needs them.

    Args:
        store: In the transaction that stores the other one.
        place: Of both.
        before: The snapshot.

    Raises:
        UndecidedError: It was removed while the other one was taken.
    """
    if not store.snapshots.has(before):
        raise UndecidedError(
            f"the last snapshot of {place} was removed meanwhile",
            why="what has not changed since was to be reused from it",
            hint="take the snapshot again",
            facts={"snapshot": before},
        )


def signed(
    record: Snapshot, digest: Digest, signer: Signer | None
) -> tuple[bytes | None, list[str]]:
    """The signature of a record and the names of who signed; nothing without a signer."""
    if signer is None:
        return None, []
    from manifestd.workflows.sign import sign_snapshot, signer_name

    return sign_snapshot(record, digest, signer), [signer_name(signer)]
