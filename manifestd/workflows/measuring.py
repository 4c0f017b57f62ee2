"""Reading one file as a task: format outline, the one pass over the bytes, facts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from manifestd.errors import ManifestdError, TransientError
from manifestd.formats import reader_for
from manifestd.formats.base import FormatReader, Outline
from manifestd.model.entry import Entry, Measurement
from manifestd.reading.measure import RetryBudget, measure, problem_of
from manifestd.reading.wants import ChunkLayout, Wants
from manifestd.sources.base import Resolved, Source
from manifestd.workflows.plan import BODY_LIMIT

CHUNK: Final = 64 * 1024 * 1024
_PEEK_TRIES: Final = 5


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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._resolved = resolved
        self._on_bytes = on_bytes
        self._sleep = sleep

    def __call__(self, task: Task) -> Measurement:
        """Measure one file; failures of the file come back as its problem."""
        entry = task.entry
        reader = reader_for(entry.path, entry.size)
        try:
            outline = self._outline(reader, entry)
        except ManifestdError as error:
            return Measurement(path=entry.path, problem=problem_of(entry.path, error))
        if task.headers_only:
            return self._headers(reader, entry, outline)
        measured = self._measure(task, reader, outline)
        if measured.problem is not None and measured.problem.code == "changed-while-reading":
            # One whole re-read: a corrupted transfer looks the same and deserves a second try.
            measured = self._measure(task, reader, outline)
        if reader is None or measured.problem is not None:
            return measured
        facts = reader.facts(entry.path, outline, measured.regions, measured.body)
        return msgspec.structs.replace(measured, facts=facts, regions=[])

    def _headers(self, reader: FormatReader | None, entry: Entry, outline: Outline) -> Measurement:
        facts = reader.facts(entry.path, outline, None, None) if reader else None
        return Measurement(path=entry.path, size=entry.size, facts=facts)

    def _measure(self, task: Task, reader: FormatReader | None, outline: Outline) -> Measurement:
        entry = task.entry
        small = entry.size <= BODY_LIMIT
        # A checksum the store holds is computed beside the digest where it costs next to
        # nothing, so that a read that was cut and resumed is still checked end to end.
        free = {"crc64nvme", "sha1-git"} & entry.digests.keys()
        layouts = task.layouts
        if entry.size > CHUNK:
            layouts = (ChunkLayout(algorithm="blake3", size=CHUNK), *layouts)
        wants = Wants(
            git_blob=small or "sha1-git" in free,
            algorithms=task.algorithms | (free - {"sha1-git"}),
            chunks=layouts,
            regions=tuple(outline.regions),
            body=small and reader is not None and reader.needs_body,
        )
        settings = self._source.settings
        return measure(
            lambda offset: self._source.open(self._resolved, entry, offset),
            entry.path,
            entry.size,
            wants,
            budget=RetryBudget(seconds=settings.retry_budget),
            on_bytes=self._on_bytes,
        )

    def _outline(self, reader: FormatReader | None, entry: Entry) -> Outline:
        if reader is None or reader.needs_body:
            return Outline()
        for attempt in range(_PEEK_TRIES):
            try:
                return reader.outline(entry.path, self._source.peek(self._resolved, entry))
            except TransientError as error:
                if attempt == _PEEK_TRIES - 1:
                    raise
                self._sleep(min(error.retry_after or 0.25 * 2**attempt, 10.0))
        return Outline()
