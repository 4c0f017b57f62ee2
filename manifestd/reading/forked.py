"""Forked workers: batches of items out, batches of results back, dead workers replaced."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from manifestd.errors import UnreadableError
from manifestd.reading.forked_worker import READ, frame, messages, serve, unframed

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH: Final = 128
"""Items in one message at most."""

FIRST_BATCH: Final = 4
"""Items in one message before it is known how long they take."""

BATCH_SECONDS: Final = 0.005
"""Work that one message should hold."""

DEPTH: Final = 24
"""Messages a worker has at once: while their receiver is busy storing results, it goes on."""

_PIPE: Final = 1024 * 1024
"""Bytes of results that wait in a pipe, where the system can be asked for so many: with the
usual 64 KiB a worker stands still whenever its receiver does something else for 10 ms."""

MAX_DEATHS: Final = 3


class _Batch(Generic[T]):
    """Items on their way: what they are, how to say it, how often their worker died."""

    __slots__ = ("answered", "deaths", "items", "message")

    def __init__(self, items: Sequence[T], message: bytes, deaths: int = 0) -> None:
        self.items = items
        self.message = message
        self.deaths = deaths
        self.answered = 0


class _Worker(Generic[T]):
    """One child: its pipes, and the batches it has not answered, oldest first."""

    __slots__ = ("batches", "inbox", "outbox", "partial", "pid", "unsent")

    def __init__(self, pid: int, outbox: int, inbox: int) -> None:
        self.pid = pid
        self.outbox = outbox
        self.inbox = inbox
        self.partial = bytearray()
        self.unsent = bytearray()
        self.batches: list[_Batch[T]] = []

    def send(self, batch: _Batch[T]) -> None:
        """Give a batch; what the pipe does not take yet stays in ``unsent``."""
        self.batches.append(batch)
        self.unsent += batch.message
        self.flush()

    def flush(self) -> None:
        """Write what can be written without waiting: the child may be waiting for us to read."""
        try:
            while self.unsent:
                del self.unsent[: os.write(self.outbox, self.unsent)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.unsent.clear()  # it died, which its inbox will tell

    def bury(self) -> None:
        """Kill it if it lives, close its pipes, collect its exit."""
        os.close(self.outbox)
        os.close(self.inbox)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        os.waitpid(self.pid, 0)


def run_forked(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    jobs: int,
    lost: Callable[[T, UnreadableError], R] | None,
) -> Iterator[R]:
    """Yield ``work(item)`` of every item, in any order; see :func:`pool.run_tasks`.

    A fork copies one thread, so the caller must have only one. Workers inherit a
    sequence and are told indexes; other items are pickled to them. An exception
    of ``work`` is raised here; a death is not an exception: its batch is done
    again item by item, and who kills a worker three times is given up.
    """
    force = _Force(items, work, jobs)
    try:
        yield from force.results(lost)
    finally:
        force.dismiss()


class _Force(Generic[T, R]):
    """All workers of one run."""

    def __init__(self, items: Iterable[T], work: Callable[[T], R], jobs: int) -> None:
        self._known: Sequence[T] | None = items if isinstance(items, list | tuple) else None
        self._work = work
        self._jobs = jobs
        self._fresh = self._batches(items)
        self._again: list[_Batch[T]] = []
        self._size: float = FIRST_BATCH
        self._workers: dict[int, _Worker[T]] = {}

    def results(self, lost: Callable[[T, UnreadableError], R] | None) -> Iterator[R]:
        """Hand batches out and yield what comes back."""
        while True:
            self._employ()
            if not self._workers:
                return
            for worker in self._ready():
                data = os.read(worker.inbox, READ)
                if not data:
                    yield from self._replace(worker, lost)
                    continue
                worker.partial += data
                for message in messages(worker.partial):
                    results, error, complete, seconds = unframed(message)
                    worker.batches[0].answered += len(results)
                    self._learn(len(results), seconds)
                    if complete:
                        worker.batches.pop(0)
                        self._refill(worker)
                    yield from results
                    if error is not None:
                        raise error
                if not worker.batches:
                    self._release(worker)

    def _ready(self) -> list[_Worker[T]]:
        """Workers that sent something or died; waits, and writes what is still unsent."""
        poll = select.poll()
        writers: dict[int, _Worker[T]] = {}
        for worker in self._workers.values():
            poll.register(worker.inbox, select.POLLIN)
            if worker.unsent:
                poll.register(worker.outbox, select.POLLOUT)
                writers[worker.outbox] = worker
        found = []
        for fd, _ in poll.poll():
            if fd in writers:
                writers[fd].flush()
            else:
                found.append(self._workers[fd])
        return found

    def dismiss(self) -> None:
        """Kill what still works."""
        for worker in list(self._workers.values()):
            self._release(worker)

    def _employ(self) -> None:
        while len(self._workers) < self._jobs:
            batch = self._next()
            if batch is None:
                break
            self._fork().send(batch)
        for worker in self._workers.values():
            self._refill(worker)

    def _refill(self, worker: _Worker[T]) -> None:
        while len(worker.batches) < DEPTH:
            # A second try goes to a worker that has nothing else: who dies with it
            # would be suspected too.
            if worker.batches and (self._again or worker.batches[-1].deaths):
                return
            batch = self._next()
            if batch is None:
                return
            worker.send(batch)

    def _next(self) -> _Batch[T] | None:
        if self._again:
            return self._again.pop()
        return next(self._fresh, None)

    def _learn(self, count: int, seconds: float) -> None:
        """Let messages hold as many items as take :data:`BATCH_SECONDS`."""
        if count:
            fitting = BATCH_SECONDS * count / max(seconds, 1e-6)
            # Half way from what was thought before: one slow file says little of the next.
            self._size = min(max((self._size + fitting) / 2, 1), MAX_BATCH)

    def _batches(self, items: Iterable[T]) -> Iterator[_Batch[T]]:
        if self._known is not None:
            begin, total = 0, len(self._known)
            while begin < total:
                span = range(begin, min(begin + int(self._size), total))
                yield _Batch(self._known[span.start : span.stop], frame(span))
                begin = span.stop
            return
        several = iter(items)
        while batch := list(itertools.islice(several, int(self._size))):
            yield _Batch(batch, frame(batch))

    def _replace(
        self, worker: _Worker[T], lost: Callable[[T, UnreadableError], R] | None
    ) -> Iterator[R]:
        """A worker died: the items it had not answered again, each alone."""
        self._release(worker)
        suspect, *innocent = worker.batches
        self._again += innocent
        deaths = suspect.deaths + 1
        for item in suspect.items[suspect.answered :]:
            if deaths < MAX_DEATHS:
                self._again.append(_Batch([item], frame([item]), deaths))
                continue
            error = UnreadableError(
                f"the process reading it died {deaths} times",
                hint="look for a memory limit or failing storage, or use fewer --jobs",
            )
            if lost is None:
                raise error
            yield lost(item, error)

    def _release(self, worker: _Worker[T]) -> None:
        del self._workers[worker.inbox]
        worker.bury()

    def _fork(self) -> _Worker[T]:
        there, outbox = os.pipe()
        inbox, back = os.pipe()
        pid = os.fork()
        if pid == 0:
            ours = [outbox, inbox]
            for other in self._workers.values():
                ours += [other.outbox, other.inbox]
            serve(self._work, self._known, there, back, ours)
        os.close(there)
        os.close(back)
        os.set_blocking(outbox, False)
        with contextlib.suppress(AttributeError, OSError):  # Linux only, and users have a quota
            fcntl.fcntl(inbox, fcntl.F_SETPIPE_SZ, _PIPE)
        worker: _Worker[T] = _Worker(pid, outbox, inbox)
        self._workers[inbox] = worker
        return worker
