"""What every source promises.

A source speaks for one reference. It is resolved once; from then on everything
comes from that revision. Every read is conditional on what was listed (commit,
If-Match and version id, inode), so a changed object is an error, never a mixture.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec

from manifestd.model.content import RandomAccess, Stream
from manifestd.model.entry import Entry, File, Problem
from manifestd.model.snapshot import SourceFacts

R = TypeVar("R")
T = TypeVar("T")

Known = Callable[[str], File | None]
"""What an earlier snapshot of the place recorded of a path; to be asked in path order."""


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings from configuration and command line; credentials are never among them.

    Attributes:
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds without a byte after which a read has stalled.
        retry_budget: Seconds that one request may spend on retries in all.
        jobs: How many files are read at the same time.
        options: What only one source knows (``requesterPays``, ``checksums``, ``inventory`` …).
        own_outputs: Absolute paths manifestd itself writes (store, configuration, reports).
    """

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    retry_budget: float = 120.0
    jobs: int = 4
    options: dict[str, Any] = {}
    own_outputs: tuple[str, ...] = ()


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A reference pinned to one revision.

    Attributes:
        place: Canonical reference without revision; snapshots are filed under it.
        name: The model's name for people (``org/name``, last part of a prefix or path).
        requested: The branch, tag or revision asked for; None where sources have none.
        revision: The immutable name it resolved to; None where sources have none.
        facts: The source's own facts (licence, gated, renamed to …), small and secret-free.
        notes: Things worth saying (renamed, versioning off …), severity ``note``.
    """

    place: str
    name: str
    requested: str | None = None
    revision: str | None = None
    facts: SourceFacts = {}
    notes: tuple[Problem, ...] = ()


class Shared:
    """What the sources of one run have in common: sessions, connections, answers that hold for all.

    Making a client costs more than asking it for a listing. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for ``key``, made now if nothing was; a failure is not kept.

        Args:
            key: Everything that ``make`` depends on, and a word of the source's own.
            make: Makes it; what it makes is closed at the end if it has ``close``.
        """
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            found: T = self._made[key]
        return found

    def close(self) -> None:
        """Close what was made. No source may use it any more."""
        with self._lock:
            made, self._made = self._made, {}
        for thing in made.values():
            if hasattr(thing, "close"):
                thing.close()


class Source(ABC, Generic[R]):
    """One model repository. Methods other than the constructor may use the network.

    ``shared``, ``known`` and ``recorded`` are set before :meth:`resolve`, or left as they are.

    Attributes:
        shared: Where to take connections from; None: make own ones.
        known: What was recorded of a path before; an object proved the same since need not
            be asked about again.
        scheme: The reference scheme it serves.
        recorded: Gives every file of the latest snapshot of the place, in path order; None:
            there is none, or it shall not count.
        requests: Requests made so far, retries included (0 for local sources).
        bytes_listed: Content bytes that had to be read to list at all (archives).
        local: Reading needs no network, so forked workers may do it.
    """

    scheme: ClassVar[str]
    local: ClassVar[bool] = False
    requests: int = 0
    shared: Shared | None = None
    known: Known | None = None
    recorded: Callable[[], Iterator[File]] | None = None
    bytes_listed: int = 0

    def __init__(self, reference: R, settings: SourceSettings) -> None:
        self.reference = reference
        self.settings = settings

    @abstractmethod
    def resolve(self) -> Resolved:
        """Pin the reference to a revision. Called once, first.

        Raises:
            SourceNotFoundError: It does not exist, or is hidden from these credentials.
            AccessDeniedError: Gated, private, disabled, forbidden.
            RateLimitedError: Told to wait longer than the budget.
            UnreachableError: No answer, or server errors to the end of the budget.
        """

    @abstractmethod
    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Yield every file of the revision, in any order, each path once.

        A :class:`Problem` in between reports something that is not a file entry:
        left out on purpose (``note``), or not listable (``error``). An entry that
        cannot be read carries its problem itself. Errors as in :meth:`resolve`.
        """

    @abstractmethod
    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open one file from ``offset``. Thread-safe; called again to resume.

        Raises:
            ChangedError: The object is not the one that was listed.
            TransientError: Worth another try (also raised while streaming).
            AccessDeniedError, SourceNotFoundError, UnreadableError: Not worth one.
        """

    def open_range(self, resolved: Resolved, entry: Entry, offset: int, end: int) -> Stream:
        """Open the bytes from ``offset`` up to ``end``; errors as in :meth:`open`."""
        return _Until(self.open(resolved, entry, offset), end - offset)

    def peek(self, resolved: Resolved, entry: Entry) -> RandomAccess:
        """Random access for headers. Default: one conditional ranged open a read."""
        return _ByOpening(self, resolved, entry)

    def read_small(self, resolved: Resolved, entry: Entry) -> bytes | None:
        """The whole of a small file at once, as safely as :meth:`open`; errors as there.

        Default: None, which says that the source has no cheaper way than a stream.
        """
        return None

    def close(self) -> None:
        """Give back connections. May be called twice."""


class _Until:
    """The first bytes of an open stream; closing it drops the rest."""

    def __init__(self, stream: Stream, length: int) -> None:
        self._stream = stream
        self._length = length

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        left = self._length
        if left <= 0:
            return
        for data in self._stream.chunks(min(size, left)):
            yield data[:left]
            left -= len(data)
            if left <= 0:
                return

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _ByOpening:
    """Random access over :meth:`Source.open`, for sources without anything better."""

    def __init__(self, source: Source[Any], resolved: Resolved, entry: Entry) -> None:
        self._source = source
        self._resolved = resolved
        self._entry = entry

    @property
    def size(self) -> int:
        return self._entry.size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._entry.size - offset)
        found = bytearray()
        if length <= 0:
            return b""
        with self._source.open(self._resolved, self._entry, offset) as stream:
            for chunk in stream.chunks(min(length, 1 << 20)):
                found += chunk
                if len(found) >= length:
                    break
        return bytes(found[:length])
