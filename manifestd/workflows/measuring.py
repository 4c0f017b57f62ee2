"""Reading one file as a task: format outline, the one pass over the bytes, facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import ManifestdError, TransientError
from manifestd.formats import reader_for
from manifestd.formats.base import FormatReader, Outline
from manifestd.formats.names import BODY, body_limit
from manifestd.model.content import RandomAccess
from manifestd.model.entry import Entry, Measurement
from manifestd.model.region import Region
from manifestd.reading.algorithms import is_fips
from manifestd.reading.hashing import region_digests
from manifestd.reading.measure import RetryBudget, measure, measure_bytes, problem_of
from manifestd.reading.memory import return_large_blocks
from manifestd.reading.pool import run_tasks
from manifestd.reading.room import Room
from manifestd.reading.wants import FREE, ChunkLayout, RegionAlgorithm, Wants
from manifestd.sources.base import Resolved, Source
from manifestd.workflows.plan import GIT_BLOB_LIMIT

CHUNK: Final = 64 * 1024 * 1024
LOCAL_LARGE: Final = 512 * 1024 * 1024
"""Bytes above which a local file gets chunk digests: they cost a fifth of the time where all
cores hash, and a smaller local file is read again in less than a second (docs/adr/0012)."""
SMALL: Final = 1024 * 1024
"""Bytes up to which a file is held in memory while it is measured."""
_ROOM: Final = 32 * 1024 * 1024
"""Bytes of bodies that may be read and not yet stored; a larger one is read alone."""
_AGAIN: Final = frozenset({"changed-while-reading", "digest-mismatch"})
_PEEK_TRIES: Final = 5

_PLAIN: Final = {body: Wants(git_blob=True, chunks=(), body=body) for body in (False, True)}
"""What is wanted of a small file of which the listing states no digest: nearly every local one."""

_large_body: Final = threading.Lock()
"""One large body is read into memory at a time, however many files are."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One file to read.

    Attributes:
        entry: As listed.
        headers_only: Only what its format reader wants; the bytes are not streamed.
        algorithms: Further whole-file algorithms.
        layouts: Further chunk layouts.
    """

    entry: Entry
    headers_only: bool = False
    algorithms: frozenset[str] = frozenset()
    layouts: tuple[ChunkLayout, ...] = ()


class Worker:
    """Measures files of one resolved source. Called from several threads or forked workers."""

    def __init__(
        self,
        source: Source[Any],
        resolved: Resolved,
        on_bytes: Callable[[int], None] | None = None,
        regions: RegionAlgorithm | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._resolved = resolved
        self._on_bytes = on_bytes
        self._regions = regions or ("sha256" if is_fips() else "blake3")
        self._sleep = sleep
        self._room: Room | None = None

    def run_threads(
        self,
        tasks: Iterable[Task],
        work: Callable[[Task], Measurement],
        *,
        jobs: int,
        waiting: Callable[[], None] | None = None,
        late: Callable[[Measurement], None] | None = None,
    ) -> Generator[Measurement]:
        """Measure in threads, with a bound on the bytes of bodies that are in memory.

        Args:
            tasks: The files.
            work: This worker, or something around it.
            jobs: Files read at once.
            waiting: As :func:`~manifestd.reading.pool.run_tasks` has it.
            late: Likewise.
        """
        return_large_blocks()
        self._room = room = Room(_ROOM)
        measuring = run_tasks(tasks, work, jobs=jobs, waiting=waiting, late=late)
        with closing(measuring) as results, closing(room):
            for measured in results:
                yield measured
                # Whoever took it has stored it by now, or holds little.
                if measured.size > SMALL and measured.body is not None:
                    room.leave(measured.size)
                del measured

    def __call__(self, task: Task) -> Measurement:
        """Measure one file; failures of the file come back as its problem."""
        entry = task.entry
        reader = reader_for(entry.path, entry.size)
        if entry.size <= SMALL and not task.headers_only:
            return self._small(task, reader)
        access = _Counted(self._source, self._resolved, entry)
        try:
            outline = self._outline(reader, entry, access)
        except ManifestdError as error:
            problem = problem_of(entry.path, error)
            return Measurement(path=entry.path, problem=problem, bytes_read=access.fetched)
        if task.headers_only:
            found = self._headers(reader, entry, outline)
            return msgspec.structs.replace(found, bytes_read=access.fetched)
        body = _wants_body(reader, entry)
        with _large_body if body and entry.size > BODY else nullcontext():
            measured = self._measure_in_room(task, body, outline.regions)
        measured = msgspec.structs.replace(
            measured, bytes_read=measured.bytes_read + access.fetched
        )
        if reader is None or measured.problem is not None:
            return measured
        facts = _document(reader.facts(entry.path, outline, measured.regions, measured.body))
        return msgspec.structs.replace(measured, facts=facts, regions=[])

    def _small(self, task: Task, reader: FormatReader | None) -> Measurement:
        """Read a small file once into memory; its reader then asks the memory, not the source."""
        entry = task.entry
        measured = self._measure(task, body=reader is not None)
        body = measured.body
        if reader is None or body is None:
            return measured
        if reader.needs_body:
            facts = _document(reader.facts(entry.path, Outline(), [], body))
            return msgspec.structs.replace(measured, facts=facts)
        outline = reader.outline(entry.path, _Memory(body))
        regions = region_digests(body, outline.regions, self._regions) if outline.regions else []
        facts = _document(reader.facts(entry.path, outline, regions, None))
        return msgspec.structs.replace(measured, facts=facts, body=None)

    def _headers(self, reader: FormatReader | None, entry: Entry, outline: Outline) -> Measurement:
        facts = _document(reader.facts(entry.path, outline, None, None)) if reader else None
        return Measurement(path=entry.path, size=entry.size, facts=facts)

    def _measure_in_room(self, task: Task, body: bool, regions: Sequence[Region]) -> Measurement:
        """Measure; room for a body is given back once its result was taken."""
        if self._room is None or not body:
            return self._measure(task, body, regions)
        self._room.enter(task.entry.size)
        measured = None
        try:
            measured = self._measure(task, body, regions)
        finally:
            if measured is None or measured.body is None:
                self._room.leave(task.entry.size)
        return measured

    def _measure(self, task: Task, body: bool, regions: Sequence[Region] = ()) -> Measurement:
        entry = task.entry
        wants = self._wants(task, body, regions)
        measured = self._pass(entry, wants)
        if measured.problem is not None and measured.problem.code in _AGAIN:
            # One whole re-read: a corrupted transfer looks the same and deserves a second try.
            first, measured = measured, self._pass(entry, wants)
            measured = msgspec.structs.replace(
                measured,
                bytes_read=first.bytes_read + measured.bytes_read,
                requests=first.requests + measured.requests,
            )
        return measured

    def _wants(self, task: Task, body: bool, regions: Sequence[Region]) -> Wants:
        entry, layouts = task.entry, task.layouts
        if entry.size <= SMALL and not (entry.digests or task.algorithms or layouts or regions):
            return _PLAIN[body]
        # A checksum the store holds is computed beside the digest where it costs next to
        # nothing, so that a read that was cut and resumed is still checked end to end.
        free = FREE & entry.digests.keys()
        if entry.size > (LOCAL_LARGE if self._source.local else CHUNK):
            layouts = (ChunkLayout(algorithm=self._regions, size=CHUNK), *layouts)
        return Wants(
            git_blob=entry.size <= GIT_BLOB_LIMIT or "sha1-git" in free,
            algorithms=task.algorithms | (free - {"sha1-git"}),
            chunks=layouts,
            regions=tuple(regions),
            region_algorithm=self._regions,
            body=body,
        )

    def _pass(self, entry: Entry, wants: Wants) -> Measurement:
        if self._source.local and entry.size <= SMALL and not wants.chunks:
            try:
                data = self._source.read_small(self._resolved, entry)
            except TransientError:
                data = None
            except ManifestdError as error:
                return Measurement(path=entry.path, problem=problem_of(entry.path, error))
            if data is not None:
                if self._on_bytes is not None:
                    self._on_bytes(len(data))
                return measure_bytes(data, entry.path, wants)
        return measure(
            lambda offset: self._source.open(self._resolved, entry, offset),
            entry.path,
            entry.size,
            wants,
            budget=RetryBudget(seconds=self._source.settings.retry_budget),
            on_bytes=self._on_bytes,
        )

    def _outline(self, reader: FormatReader | None, entry: Entry, access: RandomAccess) -> Outline:
        if reader is None or reader.needs_body:
            return Outline()
        for attempt in range(_PEEK_TRIES):
            try:
                return reader.outline(entry.path, access)
            except TransientError as error:
                if attempt == _PEEK_TRIES - 1:
                    raise
                self._sleep(min(error.retry_after or 0.25 * 2**attempt, 10.0))
        return Outline()


def run_forked(
    tasks: Iterable[Task],
    work: Callable[[Task], Measurement],
    *,
    jobs: int,
    waiting: Callable[[], None] | None = None,
    late: Callable[[Measurement], None] | None = None,
) -> Generator[Measurement]:
    """Measure in forked workers; results cross as msgpack, at a quarter of pickle's cost.

    Where threads have to be used after all, ``late`` is given what they finish after the end.
    """
    if isinstance(tasks, list):
        # What is imported before the fork no worker imports again.
        for task in {_suffix(task.entry.path): task for task in tasks}.values():
            reader_for(task.entry.path, task.entry.size)
    encoder = msgspec.msgpack.Encoder()
    decoder = msgspec.msgpack.Decoder(canonical.prepared(Measurement))
    results = run_tasks(
        tasks,
        lambda task: encoder.encode(work(task)),
        jobs=jobs,
        processes=True,
        waiting=waiting,
        late=None if late is None else lambda data: late(decoder.decode(data)),
    )
    with closing(results):
        for data in results:
            yield decoder.decode(data)


def _suffix(path: str) -> str:
    return path[path.rfind(".") :]


def _document(facts: dict[str, Any] | None) -> bytes | None:
    """Facts as they are stored; made where the file is read, which may be another process."""
    return None if facts is None else canonical.encode(facts)


def _wants_body(reader: FormatReader | None, entry: Entry) -> bool:
    return reader is not None and reader.needs_body and entry.size <= body_limit(entry.path)


class _Counted:
    """Random access to a file of a source, counting the content bytes that it takes."""

    def __init__(self, source: Source[Any], resolved: Resolved, entry: Entry) -> None:
        self._source = source
        self._resolved = resolved
        self._entry = entry
        self._inner: RandomAccess | None = None
        self._given = 0
        self.size = entry.size

    def read_at(self, offset: int, length: int) -> bytes:
        if self._inner is None:
            self._inner = self._source.peek(self._resolved, self._entry)
        data = self._inner.read_at(offset, length)
        self._given += len(data)
        return data

    @property
    def fetched(self) -> int:
        """Bytes that crossed the source, as it counts them itself if it fetches more at once."""
        fetched: int = getattr(self._inner, "fetched", self._given)
        return fetched


class _Memory:
    """Random access to bytes that are there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def size(self) -> int:
        return len(self._body)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._body[offset : offset + length] if length > 0 else b""
