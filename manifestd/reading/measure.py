"""The read loop: one file, one pass, through every fault a source can have.

A connection that breaks is resumed at the exact byte, with the hash state kept;
what counts against the budget is only time and tries without progress. Bytes
beyond the listed size mean another object, fewer at a clean end mean a cut
connection (hub.md section 6, s3.md sections 4.1, 4.2 and 5).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Final

import msgspec

from manifestd.errors import (
    ChangedError,
    ManifestdError,
    MismatchError,
    RateLimitedError,
    TransientError,
    UnreachableError,
)
from manifestd.model.content import Stream
from manifestd.model.entry import Measurement, Problem
from manifestd.reading.algorithms import hasher
from manifestd.reading.aside import large_pass
from manifestd.reading.hashing import Feeder, region_digests
from manifestd.reading.wants import Wants
from manifestd.redact import redact

READ_SIZE: Final = 1024 * 1024
SMALL_READ_SIZE: Final = 64 * 1024
"""After a try without progress: a reset discards what is in flight, small reads keep more of it."""

LARGE: Final = 8 * 1024 * 1024
"""Bytes from which a pass counts as one that keeps a core busy."""

_TELL_BYTES: Final = 4 * 1024 * 1024
_TELL_SECONDS: Final = 0.1
"""Progress is told after so many bytes, or so much time."""

_FIRST_DELAY: Final = 0.25
_FIRST_DELAY_THROTTLED: Final = 1.0
_LONGEST_DELAY: Final = 30.0


class RetryBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How long one file's reading may go without progress.

    Attributes:
        seconds: Time since the first failure after the last byte that came.
        tries: Opens in a row that gave no byte.
    """

    seconds: float = 120.0
    tries: int = 10


def measure(
    open_at: Callable[[int], Stream],
    path: str,
    size: int,
    wants: Wants,
    *,
    budget: RetryBudget,
    on_bytes: Callable[[int], None] | None = None,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Measurement:
    """Read one file to its end and return what was wanted of it.

    Args:
        open_at: Opens the object at an offset, conditional on what was listed.
        path: The file, for the result and messages.
        size: Its listed length in bytes.
        wants: What to compute.
        budget: Patience with faults.
        on_bytes: Told how many more bytes came, some times a second; what it raises ends the pass.
        sleep: Waits some seconds; what it raises ends the pass.
        clock: Monotonic seconds.

    Returns:
        The measurement. A :class:`ManifestdError` of this file does not raise: it
        comes back as ``problem``, without digests. Other exceptions pass.
    """
    run = _Pass(open_at, path, size, budget=budget, on_bytes=on_bytes, sleep=sleep, clock=clock)
    start = clock()
    try:
        feeder = Feeder(size, wants)
        try:
            with large_pass() if size >= LARGE else contextlib.nullcontext():
                run.read(feeder)
            found = feeder.finish()
        finally:
            feeder.close()
    except ManifestdError as error:
        return Measurement(
            path=path,
            seconds=clock() - start,
            problem=problem_of(path, error),
            bytes_read=run.bytes_read,
            requests=run.requests,
            resumed=run.resumed,
        )
    return Measurement(
        path=path,
        size=size,
        digests=found.digests,
        chunks=found.chunks,
        regions=found.regions,
        body=found.body,
        seconds=clock() - start,
        bytes_read=run.bytes_read,
        requests=run.requests,
        resumed=run.resumed,
    )


def measure_bytes(data: bytes, path: str, wants: Wants) -> Measurement:
    """Measure a file that is in memory already: the same results, without a read loop.

    Raises:
        MalformedError: Regions out of order, overlapping or outside the bytes.
    """
    digests: dict[str, str] = {}
    size = len(data)
    if wants.sha256:
        digests["sha256"] = hashlib.sha256(data).hexdigest()
    if wants.git_blob:
        blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        blob.update(data)
        digests["sha1-git"] = blob.hexdigest()
    for algorithm in wants.algorithms:
        if algorithm not in digests:
            each = hasher(algorithm)()
            each.update(data)
            digests[algorithm] = each.hexdigest()
    regions = region_digests(data, wants.regions, wants.region_algorithm) if wants.regions else []
    return Measurement(
        path=path,
        size=size,
        digests=digests,
        regions=regions,
        body=data if wants.body else None,
        bytes_read=size,
        requests=1,
    )


def problem_of(path: str, error: ManifestdError) -> Problem:
    """An error of one file as the problem a snapshot records of it."""
    return Problem(
        path=path,
        code=error.code,
        what=redact(error.what) + (f" ({redact(error.why)})" if error.why else ""),
        hint=error.hint,
        severity="mismatch" if isinstance(error, MismatchError) else "error",
    )


class _Pass:
    """One file's read loop and its counters."""

    __slots__ = (
        "_budget",
        "_clock",
        "_on_bytes",
        "_open_at",
        "_path",
        "_size",
        "_sleep",
        "_told",
        "_untold",
        "bytes_read",
        "requests",
        "resumed",
    )

    def __init__(
        self,
        open_at: Callable[[int], Stream],
        path: str,
        size: int,
        *,
        budget: RetryBudget,
        on_bytes: Callable[[int], None] | None,
        sleep: Callable[[float], object],
        clock: Callable[[], float],
    ) -> None:
        self._open_at = open_at
        self._path = path
        self._size = size
        self._budget = budget
        self._on_bytes = on_bytes
        self._sleep = sleep
        self._clock = clock
        self._told = clock()
        self._untold = 0
        self.bytes_read = 0
        self.requests = 0
        self.resumed = 0

    def read(self, feeder: Feeder) -> None:
        """Feed the whole file, however many opens that takes."""
        patience = _Patience(self._budget, self._clock)
        read_size = READ_SIZE
        while True:
            before = feeder.position
            try:
                self._stream(feeder, read_size)
                if feeder.position == self._size:
                    if self._on_bytes is not None:
                        self._on_bytes(self._untold)
                    return
                raise TransientError(  # noqa: TRY301  (a clean end too early is a cut like others)
                    f"the connection ended at byte {feeder.position} of {self._size}"
                )
            except TransientError as error:
                if feeder.position == self._size > before:
                    return  # every byte came; only the goodbye was lost
                progress = feeder.position > before
                delay = patience.after(error, self._path, progress=progress)
            if not progress:
                read_size = SMALL_READ_SIZE
            if feeder.position:
                self.resumed += 1
            if delay > 0:
                self._sleep(delay)

    def _stream(self, feeder: Feeder, read_size: int) -> None:
        self.requests += 1
        left = self._size - feeder.position
        with self._open_at(feeder.position) as stream:
            for data in stream.chunks(read_size):
                count = len(data)
                self.bytes_read += count
                left -= count
                if left < 0:
                    raise ChangedError(
                        f"{self._path} is longer than the {self._size} bytes that were listed",
                        hint="take the snapshot again",
                        facts={"path": self._path, "size": self._size},
                    )
                feeder.update(data)
                if self._on_bytes is not None:
                    self._tell(self._on_bytes, count)

    def _tell(self, on_bytes: Callable[[int], None], count: int) -> None:
        """Tell of bytes, not of each piece: threads that hash would wait for one another."""
        self._untold += count
        if self._untold >= _TELL_BYTES or self._clock() - self._told >= _TELL_SECONDS:
            self._told, told, self._untold = self._clock(), self._untold, 0
            on_bytes(told)


class _Patience:
    """Counts tries and time without progress, and says how long to wait before the next."""

    __slots__ = ("_budget", "_clock", "_since", "_tries")

    def __init__(self, budget: RetryBudget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._since: float | None = None
        self._tries = 0

    def after(self, error: TransientError, path: str, *, progress: bool) -> float:
        """Seconds to wait after ``error``; raises when the budget is spent."""
        now = self._clock()
        if progress or self._since is None:
            self._since = now
            self._tries = 0
        if not progress:
            self._tries += 1
        left = self._budget.seconds - (now - self._since)
        asked = error.retry_after
        if asked is not None and asked > left:
            raise RateLimitedError(
                f"asked to wait {asked:.0f} s, {max(left, 0):.0f} s are left for retries",
                why=error.what,
                hint="try again later, or with fewer --jobs",
                facts={"path": path, "retryAfter": asked},
            ) from error
        if self._tries >= self._budget.tries or left <= 0:
            kind = RateLimitedError if error.throttled else UnreachableError
            raise kind(
                f"no byte in {self._tries} {'try' if self._tries == 1 else 'tries'}"
                f" and {now - self._since:.0f} s",
                why=error.told(),
                hint=error.hint,
                facts={**error.facts, "path": path, "tries": self._tries},
            ) from error
        if asked is not None:
            return max(asked, 0.0)
        if not self._tries and not error.throttled:
            return 0.0
        first = _FIRST_DELAY_THROTTLED if error.throttled else _FIRST_DELAY
        return min(first * 2.0 ** max(self._tries - 1, 0), _LONGEST_DELAY, left)
