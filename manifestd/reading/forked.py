"""Forked workers: batches of items out, batches of results back, dead workers replaced."""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from manifestd.errors import UnreadableError

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH: Final = 64
"""Items in one message; a worker has two messages, so results are never far away."""

LONGEST_SILENCE: Final = 0.05
"""Seconds after which a worker sends what it has: progress shows, and little waits in memory."""

MAX_DEATHS: Final = 3

_FRAME: Final = struct.Struct("!I")
_READ: Final = 256 * 1024


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

    __slots__ = ("batches", "inbox", "outbox", "partial", "pid")

    def __init__(self, pid: int, outbox: int, inbox: int) -> None:
        self.pid = pid
        self.outbox = outbox
        self.inbox = inbox
        self.partial = bytearray()
        self.batches: list[_Batch[T]] = []

    def send(self, batch: _Batch[T]) -> None:
        """Give a batch; a worker that died is noticed at its inbox."""
        self.batches.append(batch)
        try:
            _write(self.outbox, batch.message)
        except BrokenPipeError:
            return

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
        # A pickled batch may fill a pipe while the worker fills the other one; with one
        # message at a time the worker always reads before it writes. Indexes always fit.
        self._depth = 1 if self._known is None else 2
        self._poll = select.poll()
        self._workers: dict[int, _Worker[T]] = {}

    def results(self, lost: Callable[[T, UnreadableError], R] | None) -> Iterator[R]:
        """Hand batches out and yield what comes back."""
        while True:
            self._employ()
            if not self._workers:
                return
            for inbox, _ in self._poll.poll():
                worker = self._workers[inbox]
                data = os.read(inbox, _READ)
                if not data:
                    yield from self._replace(worker, lost)
                    continue
                worker.partial += data
                for message in _messages(worker.partial):
                    results, error, complete = pickle.loads(message)  # noqa: S301  (our own child)
                    worker.batches[0].answered += len(results)
                    if complete:
                        worker.batches.pop(0)
                        self._refill(worker)
                    yield from results
                    if error is not None:
                        raise error
                if not worker.batches:
                    self._release(worker)

    def dismiss(self) -> None:
        """Kill what still works."""
        for worker in list(self._workers.values()):
            self._release(worker)

    def _employ(self) -> None:
        while len(self._workers) < self._jobs:
            batch = self._next()
            if batch is None:
                return
            worker = self._fork()
            worker.send(batch)
            self._refill(worker)

    def _refill(self, worker: _Worker[T]) -> None:
        while len(worker.batches) < self._depth:
            # A second try goes to a worker that has nothing else: its message is not an
            # index, and who dies with it would be suspected too.
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

    def _batches(self, items: Iterable[T]) -> Iterator[_Batch[T]]:
        if self._known is not None:
            total = len(self._known)
            size = max(1, min(MAX_BATCH, total // (4 * self._jobs)))
            for begin in range(0, total, size):
                yield self._indexed(range(begin, min(begin + size, total)))
            return
        batch: list[T] = []
        for item in items:
            batch.append(item)
            if len(batch) == MAX_BATCH:
                yield _Batch(batch, _frame(batch))
                batch = []
        if batch:
            yield _Batch(batch, _frame(batch))

    def _indexed(self, span: range) -> _Batch[T]:
        assert self._known is not None
        return _Batch(self._known[span.start : span.stop], _frame(span))

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
                self._again.append(_Batch([item], _frame([item]), deaths))
                continue
            error = UnreadableError(
                f"the process reading it died {deaths} times",
                hint="look for a memory limit or failing storage, or use fewer --jobs",
            )
            if lost is None:
                raise error
            yield lost(item, error)

    def _release(self, worker: _Worker[T]) -> None:
        self._poll.unregister(worker.inbox)
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
            _serve(self._work, self._known, there, back, ours)
        os.close(there)
        os.close(back)
        worker: _Worker[T] = _Worker(pid, outbox, inbox)
        self._workers[inbox] = worker
        self._poll.register(inbox, select.POLLIN)
        return worker


def _serve(
    work: Callable[[Any], Any],
    known: Sequence[Any] | None,
    inbox: int,
    outbox: int,
    not_ours: list[int],
) -> None:
    """A worker's life; ends the process, whatever happens, without the parent's clean-up."""
    status = 1
    try:
        # Ctrl-C reaches the whole group; the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()
        for fd in not_ours:
            os.close(fd)
        received = bytearray()
        while data := os.read(inbox, _READ):
            received += data
            for message in _messages(received):
                batch = pickle.loads(message)  # noqa: S301  (written by our own parent)
                if isinstance(batch, range):
                    assert known is not None
                    batch = known[batch.start : batch.stop]
                _answer(work, batch, outbox)
        status = 0
    finally:
        os._exit(status)


def _answer(work: Callable[[Any], Any], batch: Sequence[Any], outbox: int) -> None:
    """Do a batch and send results, at the latest some time after the first of them."""
    results: list[Any] = []
    sent = time.monotonic()
    try:
        for item in batch:
            results.append(work(item))
            if time.monotonic() - sent > LONGEST_SILENCE:
                _write(outbox, _frame((results, None, False)))
                results.clear()
                sent = time.monotonic()
        message = _frame((results, None, True))
    except BaseException as error:
        message = _failure(results, error)
    _write(outbox, message)


def _failure(results: list[Any], error: BaseException) -> bytes:
    """What was done before an error, and the error, or its text where it does not pickle."""
    try:
        message = _frame((results, error, True))
        pickle.loads(message[_FRAME.size :])  # noqa: S301  (some exceptions pickle one way only)
    except Exception:
        return _frame(([], RuntimeError(f"{type(error).__name__}: {error}"), True))
    return message


def _frame(value: object) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _FRAME.pack(len(data)) + data


def _messages(received: bytearray) -> list[bytes]:
    """Whole messages at the start of ``received``, which loses them."""
    found = []
    while len(received) >= _FRAME.size:
        (length,) = _FRAME.unpack_from(received)
        end = _FRAME.size + length
        if len(received) < end:
            break
        found.append(bytes(received[_FRAME.size : end]))
        del received[:end]
    return found


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
