"""S3 and everything that speaks like it, as a source of model repositories.

Reading order: ``s3_listing`` (what is there), ``s3_evidence`` (what is known about it
without reading), ``s3_stream`` (reading it), ``s3_client`` and ``s3_lane`` (how requests
are made), ``s3_errors`` (what went wrong). ``docs/howto/snapshot-s3.md`` is for users.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, Final

from manifestd.errors import EmptySourceError, ManifestdError, TransientError
from manifestd.model.content import RandomAccess, Stream
from manifestd.model.entry import Entry, Problem
from manifestd.model.explanation import Explanation
from manifestd.model.reference import S3Reference
from manifestd.model.snapshot import SourceFacts
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.s3_client import HEAD_THREADS, Connection
from manifestd.sources.s3_errors import FAULTS, denied, final, shown, status_of, translate
from manifestd.sources.s3_evidence import Ladder
from manifestd.sources.s3_explain import explain
from manifestd.sources.s3_inventory import Inventory
from manifestd.sources.s3_listing import Listed, list_objects, list_versions, neighbours
from manifestd.sources.s3_notes import Notes
from manifestd.sources.s3_options import options_of
from manifestd.sources.s3_reports import Reports
from manifestd.sources.s3_stream import Peek, Reader

_WINDOW: Final = HEAD_THREADS * 4
_FIRST_TRIES: Final = 3


class S3Source(Source[S3Reference]):
    """The objects below one prefix of one bucket.

    A prefix is a folder: ``s3://b/p`` and ``s3://b/p/`` are the same place and do not
    hold ``p2/x``. Paths are keys without the prefix, literally.
    """

    scheme: ClassVar[str] = "s3"

    def __init__(self, reference: S3Reference, settings: SourceSettings) -> None:
        super().__init__(reference, settings)
        self.options = options_of(settings)
        self.bucket = reference.bucket
        self.prefix = folder(reference.prefix)
        self._connection: Connection | None = None
        self._reader: Reader | None = None
        self._reports: Reports | None = None
        self._inventory: Inventory | None = None
        self._versioned = False

    @property
    def requests(self) -> int:  # type: ignore[override]
        """Requests sent so far, retries included."""
        return self._connection.requests if self._connection else 0

    def resolve(self) -> Resolved:
        """Connect, learn whether the bucket keeps versions, load reports and inventory.

        Raises:
            SourceNotFoundError, AccessDeniedError, UnreachableError, RateLimitedError: As
                the base promises.
            UsageError: A report or an inventory is not usable.
        """
        connection = self._connect()
        versioning, notes = self._versioning(connection)
        self._versioned = versioning in {"enabled", "suspended"}
        reports = Reports(self.bucket, self.prefix)
        reports.unversioned = versioning == "off"
        for where in self.options.checksums:
            reports.load(where, connection)
        self._reports = reports
        facts: SourceFacts = {
            "endpoint": connection.endpoint,
            "versioning": versioning,
        }
        if self.options.requester_pays:
            facts["requesterPays"] = True
        if reports.origins:
            facts["checksumReports"] = [
                f"job {origin.job or 'unknown'} {origin.digest}" for origin in reports.origins
            ]
        if self.options.inventory is not None:
            self._inventory = Inventory(self.options.inventory, connection)
            facts["inventory"] = self._inventory.digest
            facts["inventoryCreated"] = self._inventory.created
        name = self.prefix.rstrip("/").rpartition("/")[2] or self.bucket
        return Resolved(
            place=f"s3://{self.bucket}/{self.prefix}", name=name, facts=facts, notes=notes
        )

    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Yield every object below the prefix with its best evidence; notes come last.

        Raises:
            EmptySourceError: There is none.
            ManifestdError: As :meth:`resolve`.
        """
        connection = self._connect()
        notes = Notes()
        reports = self._reports or Reports(self.bucket, self.prefix)
        ladder = Ladder(connection, self.prefix, self.options, notes, reports, known=self.known)
        found = 0
        for item in _pipelined(self._files(connection, notes), ladder):
            found += 1
            yield item
            yield from reports.refused()
        yield from reports.refused()
        yield from notes.problems()
        if not found:
            raise self._empty(connection)

    def _files(self, connection: Connection, notes: Notes) -> Iterator[Listed | Problem]:
        """The listing without directory markers; what has no path is a problem."""
        for item in self._listing(connection):
            if not item.key.startswith(self.prefix):
                yield self._nameless(item, "is not below the prefix it was listed for")
            elif item.size == 0 and item.key.endswith("/"):
                notes.add(
                    "left-out",
                    "{n} directory marker{s} left out: empty, with a key that ends in /",
                    example=shown(self.bucket, item.key),
                )
            elif item.key == self.prefix:
                yield self._nameless(item, "has content and no name below the prefix")
            else:
                yield item

    def _nameless(self, item: Listed, why: str) -> Problem:
        return Problem(code="unreadable", what=f"{shown(self.bucket, item.key)} {why}")

    def _listing(self, connection: Connection) -> Iterator[Listed]:
        if self._inventory is not None:
            return self._inventory.objects(self.bucket, self.prefix)
        if self._versioned:
            return list_versions(connection, self.prefix)
        return list_objects(connection, self.prefix)

    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open one object from ``offset``, pinned to what was listed. Errors as the base."""
        return self._read().open(entry, offset)

    def open_range(self, resolved: Resolved, entry: Entry, offset: int, end: int) -> Stream:
        """Open a part of one object; S3 sends no more than that."""
        return self._read().open(entry, offset, end)

    def peek(self, resolved: Resolved, entry: Entry) -> RandomAccess:
        """Random access by small conditional ranges."""
        return Peek(self._read(), entry)

    def explain(self, entries: Iterable[Entry]) -> Explanation:
        """What each entry's best evidence is, and what better evidence would cost."""
        return explain(self.bucket, self.prefix, entries)

    def close(self) -> None:
        """Close all connections. May be called twice."""
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.bucket, self.options, self.settings, self.shared)
        return self._connection

    def _read(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._connect(), self.prefix)
        return self._reader

    def _versioning(self, connection: Connection) -> tuple[str, tuple[Problem, ...]]:
        """``enabled``, ``suspended``, ``off`` or ``unknown``, with the note that explains the last.

        Asks by the bucket's configuration, else by whether its listing has version ids.
        """
        error = self._configured(connection)
        if not isinstance(error, Exception):
            status = str(error.get("Status") or "off").lower()
            if status == "off" or self._may_list_versions(connection):
                return status, ()
            return "unknown", (_versions_unknown(self.bucket),)
        if not denied(error) and status_of(error) not in {400, 405, 501}:
            raise final(translate(error, self.bucket)) from error
        arguments = {"Bucket": self.bucket, "Prefix": self.prefix, "MaxKeys": 20}
        page = self._attempt(connection, "list_object_versions", arguments)
        if isinstance(page, Exception):
            return "unknown", (_versions_unknown(self.bucket),)
        ids = {item.get("VersionId") for item in page.get("Versions", ())}
        return ("enabled" if ids - {"null", None} else "off"), ()

    def _configured(self, connection: Connection) -> dict[str, Any] | Exception:
        """What the bucket's configuration says of versions; one answer holds for a run."""
        arguments = {"Bucket": self.bucket}
        if self.shared is None:
            return self._attempt(connection, "get_bucket_versioning", arguments)

        def ask() -> dict[str, Any]:
            found = self._attempt(connection, "get_bucket_versioning", arguments)
            if isinstance(found, Exception):
                raise found
            return found

        try:
            return self.shared.get(("s3-versioning", self.bucket, connection.endpoint), ask)
        except FAULTS as error:
            return error

    def _may_list_versions(self, connection: Connection) -> bool:
        arguments = {"Bucket": self.bucket, "Prefix": self.prefix, "MaxKeys": 1}
        return not isinstance(
            self._attempt(connection, "list_object_versions", arguments), Exception
        )

    def _attempt(
        self, connection: Connection, operation: str, arguments: dict[str, Any]
    ) -> dict[str, Any] | Exception:
        """One of the first requests: a wrong endpoint should be said in seconds, not minutes."""
        for left in reversed(range(_FIRST_TRIES)):
            try:
                return connection.call(operation, once=True, **arguments)
            except FAULTS as error:
                transient = isinstance(translate(error, self.bucket), TransientError)
                if not transient or not left:
                    return error
        raise AssertionError("unreachable: the last try returns")

    def _empty(self, connection: Connection) -> ManifestdError:
        near = neighbours(connection, self.prefix) if self.prefix else []
        names = ", ".join(shown(self.bucket, name) for name in near)
        return EmptySourceError(
            f"{shown(self.bucket, self.prefix)} holds no object",
            hint=f"near it are {names}"
            if names
            else "check the prefix: aws s3 ls shows what is there",
            facts={"place": shown(self.bucket, self.prefix)},
        )


def folder(prefix: str) -> str:
    """A prefix as the folder it means: with a slash at its end, or empty."""
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


def _versions_unknown(bucket: str) -> Problem:
    return Problem(
        code="versions-unknown",
        what=f"whether {shown(bucket)} keeps versions may not be asked; objects are pinned by "
        "entity tag alone",
        hint="needs s3:GetBucketVersioning and s3:ListBucketVersions on the bucket",
        severity="note",
    )


def _pipelined(items: Iterator[Listed | Problem], ladder: Ladder) -> Iterator[Entry | Problem]:
    """Entries in listing order, HEADs made ahead of the reader in a bounded window."""
    waiting: deque[Entry | Problem | Future[Entry]] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for item in items:
            if isinstance(item, Problem):
                waiting.append(item)
            elif (known := ladder.recalled(item)) is not None:
                waiting.append(known)
            elif not ladder.wants(item):
                waiting.append(ladder.plain(item))
            elif ladder.sampling:
                waiting.append(ladder.climb(item))
            else:
                pool = pool or ThreadPoolExecutor(HEAD_THREADS, "manifestd-head")
                waiting.append(pool.submit(ladder.climb, item))
            while len(waiting) > _WINDOW or (waiting and not isinstance(waiting[0], Future)):
                yield _done(waiting.popleft())
        while waiting:
            yield _done(waiting.popleft())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _done(item: Entry | Problem | Future[Entry]) -> Entry | Problem:
    return item.result() if isinstance(item, Future) else item
