"""Reading a place again beside a stored snapshot: whole files, or pieces of large ones in parallel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final

import msgspec

from manifestd.model.entry import Chunks, Entry, File, Measurement, Observation, Problem
from manifestd.model.evidence import MEASURED
from manifestd.model.role import role_of
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.pool import run_tasks
from manifestd.reading.wants import FREE, ChunkLayout, Wants
from manifestd.sources.base import Resolved, Source
from manifestd.workflows.cross_evidence import asked_for

MIN_PIECE: Final = 1024 * 1024
"""Bytes of a piece below which a request for each would cost more than reading in order."""

_STRONG: Final = ("blake3", "sha256")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file and its listing at the place, of one size.

    Attributes:
        stored: What the snapshot holds.
        entry: What the place lists.
        chunks: Digests of the stored file's pieces, under each known layout.
    """

    stored: File
    entry: Entry
    chunks: tuple[Chunks, ...] = ()


class Reread(msgspec.Struct, frozen=True, kw_only=True):
    """What reading one pair gave.

    Attributes:
        pair: What was read.
        found: The file as the place has it now; None if it could not be read.
        chunks: Digests of its pieces, in the stored layouts.
        problem: Why it could not be read.
        bytes_read: Content bytes that crossed the source.
    """

    pair: Pair
    found: File | None
    chunks: tuple[Chunks, ...] = ()
    problem: Problem | None = None
    bytes_read: int = 0


class _Piece(msgspec.Struct, frozen=True):
    """A part of a file to digest; ``number`` is None for the file as a whole."""

    pair: Pair
    number: int | None = None


class Rereader:
    """Reads pairs of one resolved place. Thread-safe.

    Args:
        source: The place.
        resolved: Its revision.
        on_bytes: Told of every buffer's length.
    """

    def __init__(
        self, source: Source[Any], resolved: Resolved, on_bytes: Callable[[int], None]
    ) -> None:
        self._source = source
        self._resolved = resolved
        self._on_bytes = on_bytes
        self._budget = RetryBudget(seconds=source.settings.retry_budget)

    def read(self, pairs: Iterable[Pair]) -> Generator[Reread]:
        """Read all pairs, several at a time and the pieces of large ones apart."""
        open_files: dict[str, _Pieces] = {}
        results = run_tasks(
            self._pieces(pairs, open_files), self._work, jobs=self._source.settings.jobs
        )
        try:
            for piece, measured in results:
                if piece.number is None:
                    yield _whole(piece.pair, measured)
                    continue
                file = open_files[piece.pair.entry.path]
                if file.take(piece.number, measured):
                    del open_files[piece.pair.entry.path]
                    yield file.outcome()
        finally:
            results.close()

    def _pieces(self, pairs: Iterable[Pair], open_files: dict[str, _Pieces]) -> Iterator[_Piece]:
        for pair in pairs:
            chunks = piecewise(pair)
            if chunks is None:
                yield _Piece(pair)
                continue
            open_files[pair.entry.path] = _Pieces(pair, chunks)
            for number in range(len(chunks.digests)):
                yield _Piece(pair, number)

    def _work(self, piece: _Piece) -> tuple[_Piece, Measurement]:
        if piece.number is None:
            return piece, self._measure_whole(piece.pair)
        return piece, self._measure_piece(piece.pair, piece.number)

    def _measure_whole(self, pair: Pair) -> Measurement:
        entry = pair.entry
        asked = asked_for(entry, pair.stored)
        layouts = {(stored.algorithm, stored.size) for stored in pair.chunks}
        layouts |= {(layout.algorithm, layout.size) for layout in asked.layouts}
        wants = Wants(
            git_blob="sha1-git" in pair.stored.seen.digests or "sha1-git" in entry.digests,
            algorithms=asked.algorithms - {"sha256"}
            | ((FREE - {"sha1-git"}) & entry.digests.keys()),
            chunks=tuple(ChunkLayout(algorithm=name, size=size) for name, size in sorted(layouts)),
        )
        return measure(
            lambda offset: self._source.open(self._resolved, entry, offset),
            entry.path,
            entry.size,
            wants,
            budget=self._budget,
            on_bytes=self._on_bytes,
        )

    def _measure_piece(self, pair: Pair, number: int) -> Measurement:
        chunks = piecewise(pair)
        assert chunks is not None
        begin = number * chunks.size
        end = min(begin + chunks.size, pair.entry.size)
        return self.measure_range(pair, begin, end, chunks.algorithm, self._on_bytes)

    def measure_range(
        self,
        pair: Pair,
        begin: int,
        end: int,
        algorithm: str,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Measurement:
        """The digest of a part of a file as the place has it now."""
        sha256 = algorithm == "sha256"
        wants = Wants(
            sha256=sha256,
            algorithms=frozenset() if sha256 else frozenset({algorithm}),
            chunks=(),
        )
        return measure(
            lambda offset: self._source.open_range(self._resolved, pair.entry, begin + offset, end),
            pair.entry.path,
            end - begin,
            wants,
            budget=self._budget,
            on_bytes=on_bytes,
        )


def piecewise(pair: Pair) -> Chunks | None:
    """The stored pieces by which a file can be checked in parallel; None to read it in order.

    Only where every digest that the place claims is one that is stored, so that equal
    pieces prove the claims too; others must be computed in order.
    """
    stored = pair.stored.digests()
    if any(stored.get(name) != value for name, value in pair.entry.digests.items()):
        return None
    for algorithm in _STRONG:
        for chunks in pair.chunks:
            if chunks.algorithm != algorithm or chunks.size < MIN_PIECE:
                continue
            if len(chunks.digests) == -(-pair.entry.size // chunks.size) > 1:
                return chunks
    return None


class _Pieces:
    """A file whose pieces come in any order."""

    def __init__(self, pair: Pair, chunks: Chunks) -> None:
        self._pair = pair
        self._chunks = chunks
        self._digests: list[str | None] = [None] * len(chunks.digests)
        self._left = len(chunks.digests)
        self._problem: Problem | None = None
        self._bytes = 0

    def take(self, number: int, measured: Measurement) -> bool:
        """Note a piece; True when it was the last."""
        self._digests[number] = measured.digests.get(self._chunks.algorithm)
        self._problem = self._problem or measured.problem
        self._bytes += measured.bytes_read
        self._left -= 1
        return not self._left

    def outcome(self) -> Reread:
        """The whole file; equal pieces in an equal order are equal bytes."""
        digests = [digest for digest in self._digests if digest is not None]
        if self._problem is not None or len(digests) < len(self._digests):
            return Reread(
                pair=self._pair, found=None, problem=self._problem, bytes_read=self._bytes
            )
        found = msgspec.structs.replace(self._chunks, digests=digests)
        same = digests == self._chunks.digests
        return Reread(
            pair=self._pair,
            found=_file(self._pair, {"sha256": self._pair.stored.sha256 or ""} if same else {}),
            chunks=(found,),
            bytes_read=self._bytes,
        )


def _whole(pair: Pair, measured: Measurement) -> Reread:
    if measured.problem is not None:
        return Reread(
            pair=pair, found=None, problem=measured.problem, bytes_read=measured.bytes_read
        )
    return Reread(
        pair=pair,
        found=_file(pair, measured.digests),
        chunks=tuple(measured.chunks),
        bytes_read=measured.bytes_read,
    )


def _file(pair: Pair, digests: dict[str, str]) -> File:
    others = {name: value for name, value in digests.items() if name != "sha256"}
    return File(
        path=pair.stored.path,
        size=pair.entry.size,
        sha256=digests.get("sha256") or None,
        seen=Observation(
            role=role_of(pair.stored.path),
            digests=others,
            evidence=dict.fromkeys(digests, MEASURED),
        ),
    )
