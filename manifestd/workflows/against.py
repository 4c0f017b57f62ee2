"""``verify --against``: is a place still what a stored snapshot says? Every byte is read again.

Nothing is written. The stored snapshot is verified first: what does not verify
proves nothing about a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from manifestd.errors import EmptySourceError
from manifestd.model.change import Basis, Change, FileDiff
from manifestd.model.entry import Entry, File, Measurement, Observation, Problem
from manifestd.model.role import role_of
from manifestd.model.snapshot import Snapshot
from manifestd.model.verification import AgainstReport, VerifyResult
from manifestd.rules.compare import About, judge, role_of_pair, side_of
from manifestd.rules.damage import common_layout, damaged_ranges
from manifestd.rules.globs import matches_any
from manifestd.rules.verdicts import count
from manifestd.signing.trust import Trust
from manifestd.sources.base import Resolved, Source
from manifestd.store import Spool, Store
from manifestd.workflows.explain import Explainer
from manifestd.workflows.pairs import merged
from manifestd.workflows.plan import PathJoin, SnapshotRequest
from manifestd.workflows.rereading import Pair, Reread, Rereader
from manifestd.workflows.taking import ProgressFor, Silent, open_source
from manifestd.workflows.verify import verify_references

MAX_FILES: Final = 10_000
"""Files told one by one; the rest is only counted."""

MAX_PROBLEMS: Final = 1000
MAX_TENSORS: Final = 20


def verify_against(
    store: Store,
    reference: str,
    request: SnapshotRequest,
    trust: Trust,
    *,
    progress: ProgressFor | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    source: Source[Any] | None = None,
) -> AgainstReport:
    """Verify a stored snapshot, read a place again, and compare the two.

    Args:
        store: Opened for reading.
        reference: The stored snapshot.
        request: The place; what the snapshot left out is left out here too.
        trust: The keys that count.
        progress: Told of bytes and files.
        clock: Now.
        source: The place's source, if there is one already.

    Raises:
        UsageError: The reference is ambiguous or malformed.
        ManifestdError: The place cannot be resolved or listed.
    """
    [stored] = verify_references(store, [reference], trust)
    if stored.content != "verified" or stored.snapshot is None:
        return AgainstReport(
            verified=False,
            exit_code=stored.exit_code,
            stored=stored,
            place=request.reference.place(),
            read=False,
        )
    record = store.snapshots.load(stored.snapshot)
    request = msgspec.structs.replace(request, ignore=tuple(record.selection.ignore), read="all")
    now = clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with closing(source or open_source(request)) as opened:
        resolved = opened.resolve()
        found = _Comparison(store, record, opened, resolved)
        found.run(request.ignore, progress)
        return found.report(stored, now)


class _Comparison:
    """One place beside one record; its methods are its steps."""

    def __init__(
        self, store: Store, record: Snapshot, source: Source[Any], resolved: Resolved
    ) -> None:
        self._store = store
        self._record = record
        self._source = source
        self._resolved = resolved
        self._explainer = Explainer(store)
        self._same_place = record.source == resolved.place
        self._unseen: dict[str, Problem] = {}
        self._bytes = 0
        self._identical = 0
        self.files: list[FileDiff] = []
        self.problems: list[Problem] = []

    def run(self, ignore: tuple[str, ...], progress: ProgressFor | None) -> None:
        """List, read what can differ, judge."""
        with self._store.spool() as spool:
            for item in self._source.list(self._resolved):
                if isinstance(item, Problem):
                    self._problem(item)
                elif not ignore or not matches_any(item.path, ignore):
                    spool.add(item)
            if not len(spool):
                raise EmptySourceError(f"{self._resolved.place} has no files")
            pairs, sizes = self._count(spool)
            shown = nullcontext(Silent()) if progress is None else progress(sizes, pairs)
            with shown as told:
                self._reader = Rereader(self._source, self._resolved, told.bytes)
                results = self._reader.read(self._pairs(spool))
                with closing(results):
                    for reread in results:
                        self._bytes += reread.bytes_read
                        path = reread.pair.entry.path
                        told.done(Measurement(path=path, problem=reread.problem))
                        self._judge(reread)

    def _count(self, spool: Spool) -> tuple[int, int]:
        """Files and bytes that will be read."""
        files = size = 0
        stored = PathJoin(self._store.trees.files(self._record))
        for entry in spool:
            known = stored.find(entry.path)
            if known is not None and known.size == entry.size and entry.problem is None:
                files, size = files + 1, size + entry.size
        return files, size

    def _pairs(self, spool: Spool) -> Iterator[Pair]:
        """Pairs to read; what needs no reading is judged on the way."""
        for _, here, there in merged(self._store.trees.files(self._record), spool):
            if here is not None and there is not None:
                if self._must_read(here, there):
                    chunks = tuple(self._explainer.chunks(here))
                    yield Pair(stored=here, entry=there, chunks=chunks)
            elif here is not None:
                self._alone(here)
            elif there is not None:
                self._extra(there)

    def _must_read(self, stored: File, entry: Entry) -> bool:
        if entry.problem is not None:
            self._problem(entry.problem)
            listed = File(path=entry.path, size=entry.size, sha256=None, seen=stored.seen)
            self._add(_unread(stored, listed, entry.problem))
            return False
        if stored.size != entry.size:
            listed = _as_listed(entry)
            self._add(judge(stored.path, stored, listed))
            return False
        return True

    def _alone(self, stored: File) -> None:
        problem = self._unseen.get(stored.path)
        if problem is not None:
            self._add(_unread(stored, None, problem))
            return
        self._add(
            FileDiff(
                path=stored.path, verdict="leftOnly", role=stored.seen.role,
                left=side_of(stored), reason="not at the place",
            )
        )  # fmt: skip

    def _extra(self, entry: Entry) -> None:
        file = _as_listed(entry)
        self._add(
            FileDiff(
                path=entry.path, verdict="rightOnly", role=file.seen.role,
                right=side_of(file), reason="not in the snapshot",
            )
        )  # fmt: skip

    def _judge(self, reread: Reread) -> None:
        stored, entry = reread.pair.stored, reread.pair.entry
        if reread.found is None:
            problem = reread.problem or Problem(path=entry.path, code="unreadable", what="not read")
            self._problem(problem)
            self._add(_unread(stored, None, problem))
            return
        found = self._compared(reread, reread.found)
        self._contradictions(reread, reread.found, found)
        if found.verdict == "different" and found.changes:
            found = self._with_tensors(found, reread.pair)
        self._add(found)

    def _compared(self, reread: Reread, found: File) -> FileDiff:
        pair = reread.pair
        layout = common_layout(pair.chunks, reread.chunks)
        if found.sha256 is None and layout is not None and layout[0].digests != layout[1].digests:
            changes, more = damaged_ranges(*layout, pair.stored.size, found.size)
            which = sum(a != b for a, b in zip(layout[0].digests, layout[1].digests, strict=True))
            return FileDiff(
                path=pair.stored.path, verdict="different", role=role_of_pair(pair.stored, found),
                left=side_of(pair.stored), right=side_of(found),
                basis=Basis(algorithm=layout[0].algorithm, left=pair.stored.grade(), right="measured"),
                reason=f"{which} of {len(layout[0].digests)} pieces differ",
                changes=changes, more_changes=more,
            )  # fmt: skip
        return judge(
            pair.stored.path,
            pair.stored,
            found,
            about_left=About(chunks=pair.chunks, place=self._record.source),
            about_right=About(chunks=reread.chunks, place=self._resolved.place),
        )

    def _contradictions(self, reread: Reread, found: File, diff: FileDiff) -> None:
        """What the place says of the object against what it holds."""
        stored, entry = reread.pair.stored, reread.pair.entry
        for name, value in found.digests().items():
            stated = entry.digests.get(name)
            if stated is not None and stated != value:
                what = f"its bytes have {name} {value}, {self._resolved.place} says {stated}"
                self._mismatch(entry.path, what)
                return
        if diff.verdict != "different":
            return
        same_claim = stored.sha256 is not None and entry.digests.get("sha256") == stored.sha256
        unchanged = self._same_place and entry.identity and entry.identity == stored.seen.identity
        if same_claim or unchanged:
            claim = (
                "declares the digest of" if same_claim else "says that it is still the object of"
            )
            self._mismatch(entry.path, f"its bytes changed although the place {claim} the snapshot")

    def _mismatch(self, path: str, what: str) -> None:
        self._problem(
            Problem(
                path=path, code="digest-mismatch", what=what, severity="mismatch",
                hint="the storage is damaged or was tampered with: restore the file",
            )
        )  # fmt: skip

    def _with_tensors(self, diff: FileDiff, pair: Pair) -> FileDiff:
        """Name the tensors that changed, by reading those in damaged ranges once more."""
        facts = self._store.facts(pair.stored) or {}
        changes = [self._naming(change, pair, facts) for change in diff.changes]
        return msgspec.structs.replace(diff, changes=changes)

    def _naming(self, change: Change, pair: Pair, facts: dict[str, Any]) -> Change:
        span = change.at.removeprefix("bytes ").split("-")
        algorithm, tensors = facts.get("digestAlgorithm"), facts.get("tensors")
        if len(span) != 2 or algorithm not in {"blake3", "sha256"} or not isinstance(tensors, list):
            return change
        names: list[str] = []
        for name, begin, end, digest in _within(tensors, int(span[0]), int(span[1]) + 1):
            if end > pair.entry.size or len(names) > MAX_TENSORS:
                break
            now = self._reader.measure_range(pair, begin, end, algorithm)
            self._bytes += now.bytes_read
            if now.digests.get(algorithm, digest) != digest:
                names.append(name)
        if not names:
            return change
        text = ", ".join(names[:MAX_TENSORS]) + (" and more" if names[MAX_TENSORS:] else "")
        return msgspec.structs.replace(change, what=f"{change.what}, in {text}")

    def _problem(self, problem: Problem) -> None:
        if problem.path is not None and problem.severity == "error":
            self._unseen[problem.path] = problem
        if len(self.problems) < MAX_PROBLEMS or problem.severity == "mismatch":
            self.problems.append(problem)

    def _add(self, diff: FileDiff) -> None:
        if diff.verdict == "identical":
            self._identical += 1
        else:
            self.files.append(diff)

    def report(self, stored: VerifyResult, now: str) -> AgainstReport:
        """Everything that was found, and the exit code it ends with."""
        self.files.sort(key=lambda file: file.path.encode())
        counts = count(self.files, identical=self._identical)
        broken = any(one.path is None and one.severity == "error" for one in self.problems)
        mismatch = any(one.severity == "mismatch" for one in self.problems)
        differs = counts.different or counts.left_only or counts.right_only
        exit_code = 0
        if counts.unverifiable or broken:
            exit_code = 3
        if differs:
            exit_code = 1
        if mismatch or stored.exit_code == 4:
            exit_code = 4
        return AgainstReport(
            verified=exit_code == 0,
            exit_code=exit_code,
            stored=stored,
            place=self._resolved.place,
            revision=self._resolved.revision,
            read_at=now,
            counts=counts,
            files=self.files[:MAX_FILES],
            more_files=max(0, len(self.files) - MAX_FILES),
            problems=self.problems,
            bytes_read=self._bytes,
            requests=self._source.requests,
        )


def _as_listed(entry: Entry) -> File:
    digests = {name: value for name, value in entry.digests.items() if name != "sha256"}
    return File(
        path=entry.path,
        size=entry.size,
        sha256=entry.digests.get("sha256"),
        seen=Observation(role=role_of(entry.path), digests=digests, evidence=entry.evidence),
    )


def _unread(stored: File, found: File | None, problem: Problem) -> FileDiff:
    return FileDiff(
        path=stored.path, verdict="unverifiable", role=stored.seen.role,
        left=side_of(stored), right=None if found is None else side_of(found),
        reason=problem.what, hint=problem.hint,
    )  # fmt: skip


def _within(tensors: list[Any], begin: int, end: int) -> Iterator[tuple[str, int, int, str]]:
    """Name, range and digest of tensors that overlap a range; odd entries are passed over."""
    for tensor in tensors:
        if not isinstance(tensor, dict):
            continue
        found: list[Any] = [tensor.get(key) for key in ("name", "begin", "end", "digest")]
        if [type(value) for value in found] != [str, int, int, str]:
            continue
        name, first, last, digest = found
        if 0 <= first < last and first < end and last > begin:
            yield name[:200], first, last, digest
