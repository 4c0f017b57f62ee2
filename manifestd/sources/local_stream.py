"""Reading one local file: reused buffers, proof that it did not change, reading ahead."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from manifestd.display import printable
from manifestd.errors import ChangedError, UnreadableError
from manifestd.sources.local_open import translated

PIECE: Final = 512 * 1024
"""Bytes a read takes at most: larger ones leave the second-level cache, and with smaller ones
threads spend more time handing the interpreter to each other."""

AHEAD_PIECE: Final = 1024 * 1024
AHEAD_PIECES: Final = 4
AHEAD_FROM: Final = 32 * 1024 * 1024
"""Bytes left from which a reader thread may pay."""
SPAN: Final = 64 * 1024 * 1024
"""Bytes after which the way of reading is chosen anew."""
_TRY_AGAIN: Final = 32
"""Spans after which the way that was slower is tried again."""

_KEPT_BUFFERS: Final = 16


class Buffers:
    """Read buffers that are used again, and how many large files are being read."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._lock = threading.Lock()
        self._large = 0
        self._cores = _usable_cores()
        self.pace = Pace()

    def take(self) -> memoryview:
        """A buffer of :data:`PIECE` bytes with anything in it."""
        try:
            return self._free.pop()
        except IndexError:
            return memoryview(bytearray(PIECE))

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back."""
        if len(self._free) < _KEPT_BUFFERS:
            self._free.append(buffer)

    def large(self, change: int) -> None:
        """Count large files that are being read, up or down by one."""
        with self._lock:
            self._large += change

    def core_idles(self) -> bool:
        """Whether a reader thread would find a core of its own."""
        return self._large < self._cores


class Pace:
    """Which way of reading a large file is faster here: beside the hashing, or before it.

    A reader thread hides the copy out of the page cache (a tenth of the time) on
    one machine, and on another costs more than that because the bytes then come
    from another core's cache: both were measured, so it is measured as it goes.
    Races between threads cost a worse choice for one span, nothing else.
    """

    def __init__(self) -> None:
        self._seconds: dict[bool, float] = {}
        self._spans = 0

    def ahead(self) -> bool:
        """Whether the next span is read by a thread of its own."""
        self._spans += 1
        # Not ahead at first: files that are opened at the same time do not know of each other yet.
        for way in (False, True):
            if way not in self._seconds:
                return way
        best = self._seconds[True] < self._seconds[False]
        return best if self._spans % _TRY_AGAIN else not best

    def told(self, seconds: float, length: int, *, ahead: bool) -> None:
        """Learn how long a span took, hashing included."""
        new = seconds / length
        old = self._seconds.get(ahead, new)
        self._seconds[ahead] = (old + new) / 2


class FileStream:
    """The rest of one open regular file, from an offset.

    Args:
        fd: Its descriptor, owned by the stream from now on.
        path: For messages.
        size: Its length when it was listed.
        offset: Where to begin.
        unchanged: Says, given a descriptor, whether the file is still the listed one.
        buffers: Shared by the streams of one source.
    """

    def __init__(
        self,
        fd: int,
        path: str,
        size: int,
        offset: int,
        *,
        unchanged: Callable[[int], bool],
        buffers: Buffers,
    ) -> None:
        self._fd = fd
        self._path = path
        self._size = size
        self._offset = offset
        self._unchanged = unchanged
        self._buffers = buffers
        self._ahead: _Ahead | None = None
        self._large = size - offset >= AHEAD_FROM
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        if self._large:
            buffers.large(+1)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def chunks(self, size: int) -> Iterator[memoryview]:
        """Yield views of a buffer that the next one reuses.

        Raises:
            ChangedError: At the end, when the file is not as it was listed.
            UnreadableError: The system cannot read it.
        """
        left = self._size - self._offset
        buffer = self._buffers.take()
        target = buffer[:size] if size < len(buffer) else buffer
        try:
            while left >= AHEAD_FROM and size >= AHEAD_PIECE and self._buffers.core_idles():
                span = min(left, SPAN)
                ahead = self._buffers.pace.ahead()
                start = time.perf_counter()
                got = 0
                for view in self._read_ahead(span) if ahead else self._read(target, span):
                    got += len(view)
                    yield view
                left -= got
                if got < span:
                    break
                self._buffers.pace.told(time.perf_counter() - start, span, ahead=ahead)
            else:
                for view in self._read(target, left):
                    left -= len(view)
                    yield view
        except OSError as error:
            raise translated(error, self._path) from error
        finally:
            self._buffers.give(buffer)
        self._check_end(left)

    def _read(self, target: memoryview, length: int) -> Iterator[memoryview]:
        """Read ``length`` bytes, or a little more than that from a file that has grown."""
        while length > 0:
            count = os.readv(self._fd, [target])
            if not count:
                return
            length -= count
            yield target[:count]

    def _read_ahead(self, length: int) -> Iterator[memoryview]:
        self._ahead = ahead = _Ahead(self._fd, length)
        try:
            yield from ahead
        finally:
            ahead.stop()
            self._ahead = None

    def _check_end(self, left: int) -> None:
        if not self._unchanged(self._fd):
            raise changed(self._path)
        if left > 0:
            raise UnreadableError(
                f"{printable(self._path)} ends {left} bytes before its size of {self._size}",
                facts={"path": self._path, "size": self._size, "missing": left},
            )

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._fd < 0:
            return
        if self._ahead is not None:
            self._ahead.stop()
        os.close(self._fd)
        self._fd = -1
        if self._large:
            self._buffers.large(-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Ahead:
    """A thread that reads the next pieces while the caller hashes the last one."""

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self._left = length
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        self._full: SimpleQueue[memoryview | OSError | None] = SimpleQueue()
        for _ in range(AHEAD_PIECES):
            self._free.put(memoryview(bytearray(AHEAD_PIECE)))
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="manifestd-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[memoryview]:
        while (item := self._full.get()) is not None:
            if isinstance(item, OSError):
                raise item
            yield item
            buffer = item.obj
            self._free.put(memoryview(buffer))

    def stop(self) -> None:
        """End the thread; afterwards the descriptor is the caller's alone."""
        self._stopping = True
        self._free.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._left > 0:
                buffer = self._free.get()
                if buffer is None or self._stopping:
                    return
                count = os.readv(self._fd, [buffer[: self._left]])
                if not count:
                    break
                self._left -= count
                self._full.put(buffer[:count])
        except OSError as error:
            self._full.put(error)
        else:
            self._full.put(None)


def changed(path: str) -> ChangedError:
    """The error for a file that is not, or no longer, the listed one."""
    return ChangedError(
        f"{printable(path)} changed while reading",
        hint="take the snapshot again when nothing writes to it",
        facts={"path": path},
    )


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
