"""A second core for one big file: digests beside the main one, where a core idles.

sha256 of one stream cannot be spread, but what is computed beside it can: with
one file left to read on two cores, BLAKE3 of its pieces then costs no wall time
(performance.md section 3). With as many files as cores it would only cost
hand-overs, so the choice is made anew for every buffer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

from manifestd.reading.algorithms import Buffer


class _Load:
    """How many passes over large files run in this process."""

    __slots__ = ("busy", "cores", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.cores = usable_cores()


def usable_cores() -> int:
    """Cores this process may run on (its affinity where the system tells it)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


_load: Final = _Load()


def idle_core() -> bool:
    """Whether fewer large files are being read than there are cores."""
    return _load.busy < _load.cores


@contextmanager
def large_pass() -> Iterator[None]:
    """Count one pass over a large file for as long as it runs."""
    with _load.lock:
        _load.busy += 1
    try:
        yield
    finally:
        with _load.lock:
            _load.busy -= 1


class Aside:
    """A thread that applies updates to one buffer while its owner works on the same one.

    The owner calls :meth:`start`, does its own work, then :meth:`wait`: the
    buffer is free again, and what went wrong in the thread is raised here.
    """

    def __init__(self, updates: Sequence[Callable[[Buffer], object]]) -> None:
        self._updates = updates
        self._todo: SimpleQueue[Buffer | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="manifestd-aside", daemon=True)
        self._thread.start()

    def start(self, data: Buffer) -> None:
        """Begin the updates with ``data``, which must stay as it is until :meth:`wait`."""
        self._todo.put(data)

    def wait(self) -> None:
        """Return when the updates are done; raise what they raised."""
        error = self._done.get()
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (data := self._todo.get()) is not None:
            try:
                for update in self._updates:
                    update(data)
            except BaseException as error:
                self._done.put(error)
            else:
                self._done.put(None)
            del data
