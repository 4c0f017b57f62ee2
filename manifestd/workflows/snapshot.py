"""Taking a snapshot: resolve, list, decide, read what must be read, record, sign, store.

Nothing of it exists for readers of the store before the last transaction. What
was read is journaled as it comes, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import EmptySourceError
from manifestd.model.digest import Digest
from manifestd.model.entry import File, Measurement, Problem
from manifestd.model.snapshot import Snapshot, SnapshotResult
from manifestd.rules.globs import matches_any
from manifestd.signing.base import Signer
from manifestd.sources.base import Resolved, Source
from manifestd.store import Store
from manifestd.workflows.assemble import Assembly
from manifestd.workflows.company import ALONE, Company, Recalled
from manifestd.workflows.cross_evidence import NOTHING, asked_for
from manifestd.workflows.keeping import Results
from manifestd.workflows.measuring import SMALL, Task, Worker, run_forked
from manifestd.workflows.plan import (
    Decision,
    Finder,
    PathJoin,
    PathTable,
    SnapshotRequest,
    countable,
    decide,
)
from manifestd.workflows.taking import (
    Estimate,
    Progress,
    ProgressFor,
    Silent,
    Taken,
    check_still_there,
    default_jobs,
    exit_code_of,
    open_source,
    signed,
)

__all__ = [
    "Estimate",
    "Progress",
    "ProgressFor",
    "SnapshotRequest",
    "Taken",
    "default_jobs",
    "estimate_snapshot",
    "open_source",
    "take_snapshot",
]

log = logging.getLogger(__name__)

_AHEAD: Final = 4 * 1024 * 1024
"""Bytes of file lists that are made while files are still read; they wait in memory."""
_INHERITED: Final = 200_000
_REMEMBERED: Final = 10_000
"""Files up to which an earlier snapshot's list, which is needed three times, is read once."""
_DECISIONS: Final = (
    *(Decision(action=action) for action in ("skip", "keep", "carry", "reuse", "headers", "read")),
    Decision(action="read", rechecks=True),
)
_CODES: Final = {decision: code for code, decision in enumerate(_DECISIONS)}
_READS: Final = frozenset({"headers", "read"})
_CLAIMS: Final = frozenset({"sha1", "sha512"})
"""As dear as the sha256. An md5 is dearer and, being mostly an ETag's, no claim of its own."""
_NOTHING_STORED: Final = PathTable(())
_FORK_FROM: Final = 1000
_FORK_SIZE: Final = 4 * 1024 * 1024


def take_snapshot(
    request: SnapshotRequest,
    *,
    store: Store,
    tool: str,
    signer: Signer | None = None,
    progress: ProgressFor | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    source: Source[Any] | None = None,
    company: Company = ALONE,
) -> Taken:
    """Take, sign and store one snapshot.

    Raises:
        ManifestdError: The place cannot be resolved or listed, or is empty; the
            store then holds what it held before (and the journal of what was read).
    """
    started = time.monotonic()
    with closing(source or open_source(request, company.shared)) as opened:
        resolved = opened.resolve()
        with company.thinking:
            run = _Run(request, opened, resolved, store, company)
        with closing(run):
            run.take_listing(clock())
            with company.thinking:
                run.plan()
            run.read(progress)
            with company.thinking:
                taken = run.finish(tool=tool, signer=signer, clock=clock)
    seconds = round(time.monotonic() - started, 3)
    return msgspec.structs.replace(
        taken, result=msgspec.structs.replace(taken.result, seconds=seconds)
    )


def estimate_snapshot(
    request: SnapshotRequest, *, store: Store, company: Company = ALONE
) -> Estimate:
    """List a place and say what a snapshot of it would read; no content is, nothing is stored.

    Raises:
        ManifestdError: The place cannot be resolved or listed, or is empty.
    """
    with closing(open_source(request, company.shared)) as opened:
        resolved = opened.resolve()
        with closing(_Run(request, opened, resolved, store, company)) as run:
            run.take_listing(datetime.now(UTC))
            run.plan()
            return run.estimate()


class _Run:
    """One snapshot being taken; its methods are its steps, in order."""

    def __init__(
        self,
        request: SnapshotRequest,
        source: Source[Any],
        resolved: Resolved,
        store: Store,
        company: Company,
    ) -> None:
        self.request = request
        self.source = source
        self.resolved = resolved
        self.store = store
        self.company = company
        self.problems: list[Problem] = list(resolved.notes)
        self.captured_at = ""
        self.before: tuple[Digest, Snapshot] | None = store.snapshots.latest(resolved.place)
        self.other: Snapshot | None = None
        self.other_digest: Digest | None = None
        if request.evidence_for is not None:
            self.other_digest = store.snapshots.resolve(request.evidence_for)
            self.other = store.snapshots.load(self.other_digest)
        self._lists: dict[tuple[str, str], PathTable] = {}
        self.spool = store.spool()
        self.results = Results(store, self._key(), local=source.local)
        self.decided = bytearray()
        self.to_read = self.to_read_bytes = 0
        self.resumed = 0
        self.bytes_read = 0
        # Only a sample rotates, and counting the snapshots of a place reads them all.
        self.number = len(store.snapshots.list(source=resolved.place)) if request.sample else 0
        if self.before is not None and not request.fresh:
            source.known = Recalled(lambda: self._beside(self.before and self.before[1])).find
            source.recorded = partial(self._files, self.before[1])

    def close(self) -> None:
        """Give the spool back, and let go of the source, which holds what asks this object."""
        self.spool.close()
        self.source.known = self.source.recorded = None

    def _key(self) -> str:
        parts = [self.resolved.place, self.resolved.revision, self.request.read]
        return canonical.encode([*parts, list(self.request.ignore), self.other_digest]).decode()

    def take_listing(self, now: datetime) -> None:
        """Spool the listing, so that memory stays flat and order is that of the paths."""
        self.captured_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ignored, size, globs = 0, 0, self.request.ignore
        for item in self.source.list(self.resolved):
            if globs and item.path is not None and matches_any(item.path, globs):
                ignored += 1
            elif isinstance(item, Problem):
                self.problems.append(item)
            else:
                entry = countable(item, size)
                size += entry.size
                self.spool.add(entry)
        if ignored:
            what = f"{ignored} file{'s' if ignored > 1 else ''} left out by --ignore"
            self.problems.append(Problem(code="left-out", what=what, severity="note"))
        if not len(self.spool):
            raise EmptySourceError(
                f"{self.resolved.place} has no files" + (" but ignored ones" if ignored else ""),
                hint="check the reference; an empty place cannot be compared with anything",
            )

    def plan(self) -> None:
        """Decide once for every listed file, in path order; a byte each is remembered."""
        before, other = self._beside(self.before and self.before[1]), self._beside(self.other)
        for entry in self.spool:
            known = before.find(entry.path)
            wanted: frozenset[str] = frozenset()
            if self.other is not None:
                wanted = asked_for(entry, other.find(entry.path)).lacking(self.store, known)
            decision = decide(self.request, entry, known, wanted, self.number)
            self.decided.append(_CODES[decision])
            if decision.action in _READS and not self.results.had(entry, decision.action):
                self.to_read += 1
                if decision.action == "read":
                    self.to_read_bytes += entry.size
        self.assembly = Assembly(self.store, self.before, self.request.read)
        self._known = self._beside(self.before and self.before[1])
        self._steps = zip(self.spool, self.decided, strict=True)
        self._step = next(self._steps, None)

    def estimate(self) -> Estimate:
        """What :meth:`read` would read, by what :meth:`plan` decided."""
        found = dict.fromkeys(Estimate.__struct_fields__, 0)
        for entry, code in zip(self.spool, self.decided, strict=True):
            action = _DECISIONS[code].action
            found["files"] += 1
            found["bytes"] += entry.size
            if action == "reuse" or (action == "read" and self.results.had(entry, action)):
                found["bytes_reusable"] += entry.size
            elif action == "read":
                found["files_to_read"] += 1
                found["bytes_to_read"] += entry.size
            elif action == "headers" and not self.results.had(entry, action):
                found["headers_to_read"] += 1
        return Estimate(**found | {"requests": self.source.requests})

    def _beside(self, record: Snapshot | None) -> Finder:
        if record is None:
            return _NOTHING_STORED
        if record.files > _REMEMBERED:
            return PathJoin(self._files(record))
        key = (record.content, record.observation)
        if key not in self._lists:
            with self.company.thinking:
                self._lists[key] = PathTable(self.store.trees.files(record))
        return self._lists[key]

    def _files(self, record: Snapshot) -> Iterator[File]:
        return self.company.thoughtful(self.store.trees.files(record))

    def read(self, progress: ProgressFor | None) -> None:
        """Read what must be read, journaling results as they come."""
        files, size = self.to_read, self.to_read_bytes
        if not files:
            return
        log.debug("reading %d files, %d bytes", files, size)
        forked = self.source.local and files >= _FORK_FROM and size / files <= _FORK_SIZE
        shown = nullcontext(Silent()) if progress is None else progress(size, files)
        with shown as told:
            if forked:
                self._measure(range(SMALL + 1), told, forked=True)
            # Threads hash large files as fast, and hold fewer of their bodies.
            self._measure(range(SMALL + 1 if forked else 0, 1 << 53), told)

    def _measure(self, sizes: range, told: Progress, *, forked: bool = False) -> None:
        # Forked workers inherit a list; anything else is sent to them item by item.
        listed = forked and self.to_read <= _INHERITED
        tasks = list(self._tasks(sizes)) if listed else self._tasks(sizes)
        on_bytes = None if forked else told.bytes
        worker = Worker(self.source, self.resolved, on_bytes, self.request.regions)
        run = run_forked if forked else worker.run_threads
        work, jobs = self.company.in_turn(worker), self.source.settings.jobs
        waiting = partial(self._wait, self.company.waiting)
        with closing(run(tasks, work, jobs=jobs, waiting=waiting, late=self._late)) as results:
            self._collect(results, told, forked=forked)

    def _wait(self, then: Callable[[], None] | None) -> None:
        """While a long file is read, what came before it must not wait in memory."""
        with self.company.thinking:
            self.results.flush()
        if then is not None:
            then()

    def _late(self, measured: Measurement) -> None:
        """What threads finished when the run had been ended: it need not be read again."""
        with self.company.thinking:
            self.results.add(measured)
            self.results.flush()

    def _tasks(self, sizes: range) -> Iterator[Task]:
        other = self._beside(self.other)
        for entry, code in zip(self.spool, self.decided, strict=True):
            action = _DECISIONS[code].action
            if action not in _READS or entry.size not in sizes or self.results.had(entry, action):
                continue
            self.results.expect(entry)
            asked = asked_for(entry, other.find(entry.path)) if self.other else NOTHING
            algorithms = asked.algorithms
            if self.request.read == "all":
                # These are only worth computing where every claim is to be tested.
                algorithms |= _CLAIMS & entry.digests.keys()
            yield Task(
                entry=entry,
                headers_only=action == "headers",
                algorithms=algorithms,
                layouts=asked.layouts,
            )

    def _collect(self, results: Iterator[Measurement], told: Progress, *, forked: bool) -> None:
        untold = 0
        try:
            for measured in results:
                self.bytes_read += measured.bytes_read
                untold += measured.bytes_read
                with self.company.thinking:
                    kept = self.results.add(measured)
                    if kept:
                        self._assemble(_AHEAD)
                told.done(measured)  # which may end it, so it comes after what is kept
                if kept and forked:  # threads tell of bytes themselves, as they come
                    told.bytes(untold)
                    untold = 0
                del measured  # with its body, before the next one comes
        except BaseException:
            with self.company.thinking:
                self.results.flush()
            raise
        if forked:
            told.bytes(untold)
        with self.company.thinking:
            self.results.end()

    def _assemble(self, most: int | None = None) -> None:
        """Put files together in path order: up to one that is still read, or all, when None."""
        while self._step is not None and (most is None or self.assembly.waiting < most):
            entry, code = self._step
            decision, found = _DECISIONS[code], None
            if decision.action in _READS:
                found, again = self.results.take(entry, decision.action)
                if found is None and most is not None:
                    return
                self.resumed += again
            known = self._known.find(entry.path) if self.before else None
            self.assembly.add(entry, decision, known, found)
            self._step = next(self._steps, None)

    def finish(self, *, tool: str, signer: Signer | None, clock: Callable[[], datetime]) -> Taken:
        """Assemble the record, sign it, and store everything in one transaction."""
        with self.store.transaction(durable=self.company.durable):
            if self.before is not None:
                check_still_there(self.store, self.resolved.place, self.before[0])
            self._assemble()
            record = self.assembly.record(
                self.request,
                self.resolved,
                captured_at=self.captured_at,
                tool=tool,
                problems=self.problems,
            )
            data = canonical.encode(record)
            digest = Digest("sha256:" + canonical.sha256_hex(data))
            bundle, signed_by = signed(record, digest, signer)
            self.store.snapshots.add(data, bundle, at=clock())
            self.results.forget()
        return Taken(
            result=self._result(record, digest, signed_by),
            exit_code=exit_code_of(record),
            resumed=self.resumed,
            bytes_reused=self.assembly.bytes_reused,
            record=record,
        )

    def _result(self, record: Snapshot, digest: Digest, signed_by: list[str]) -> SnapshotResult:
        return SnapshotResult(
            snapshot=digest,
            manifest=record.manifest,
            complete=record.complete,
            name=record.name,
            source=record.source,
            requested=record.requested,
            revision=record.revision,
            captured_at=record.captured_at,
            files=record.files,
            bytes=record.bytes,
            bytes_read=self.bytes_read + self.source.bytes_listed,
            requests=self.source.requests,
            evidence=record.evidence,
            signed_by=signed_by,
            problems=record.problems,
            seconds=0.0,
        )
