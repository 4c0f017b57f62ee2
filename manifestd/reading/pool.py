"""Running reading tasks: some at a time, results as they come, bounded in number.

Threads serve the network and big files, where hashing leaves the interpreter
lock; forked workers serve many small local files, where it does not
(performance.md section 2 c: from some 500 to 1,000 files forking pays).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from manifestd.errors import UnreadableError
from manifestd.reading.forked import run_forked

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE: Final = 1.0
"""Seconds that abandoned threads get to notice; they are daemons, so exit never waits for them."""

_GLANCE: Final = 0.25
"""Seconds between two calls of ``waiting``."""


def run_tasks(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    jobs: int,
    processes: bool = False,
    stop: threading.Event | None = None,
    lost: Callable[[T, UnreadableError], R] | None = None,
    waiting: Callable[[], None] | None = None,
    late: Callable[[R], None] | None = None,
) -> Generator[R]:
    """Apply ``work`` to every item, ``jobs`` at a time, and yield results as they come.

    Items are taken one by one, never more than twice ``jobs`` (or, with
    processes, a few batches) ahead of the results. Closing the iterator, or an
    interrupt while waiting for it, ends the work: workers are killed, threads
    finish what they are at unless they watch ``stop``.

    Args:
        items: What to do. A list or tuple is not sent to forked workers: they have it.
        work: Called in threads or workers; what it raises is raised here.
        jobs: How many at a time, at least 1.
        processes: Fork workers. With other threads alive a fork is unsafe: threads are used.
        stop: Set when the results are no longer wanted, for ``work`` to look at.
        lost: Makes the result of an item whose worker died three times; without
            it that raises.
        waiting: Called some times a second while threads are waited for; what it raises
            ends the work, as an interrupt does.
        late: Given what threads had finished, or still finish, when the work is ended early.

    Raises:
        UnreadableError: An item's worker died three times (out of memory, killed).
    """
    if jobs < 1:
        raise ValueError("jobs must be at least 1")
    return _run(
        items,
        work,
        jobs=jobs,
        processes=processes,
        stop=stop or threading.Event(),
        lost=lost,
        waiting=waiting,
        late=late,
    )


def _run(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    jobs: int,
    processes: bool,
    stop: threading.Event,
    lost: Callable[[T, UnreadableError], R] | None,
    waiting: Callable[[], None] | None,
    late: Callable[[R], None] | None,
) -> Generator[R]:
    # Asked when the first result is: threads may have been started since the call.
    if processes and threading.active_count() == 1:
        yield from run_forked(items, work, jobs=jobs, lost=lost)
    else:
        yield from _run_threads(items, work, jobs=jobs, stop=stop, waiting=waiting, late=late)


def _run_threads(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    jobs: int,
    stop: threading.Event,
    waiting: Callable[[], None] | None,
    late: Callable[[R], None] | None,
) -> Generator[R]:
    team = _Team(work, jobs, waiting)
    finished = False
    try:
        running = 0
        for item in items:
            team.give(item)
            running += 1
            if running >= 2 * jobs:
                yield team.result()
                running -= 1
        while running:
            yield team.result()
            running -= 1
        finished = True
    finally:
        if not finished:
            stop.set()
        team.dismiss(None if finished else _PATIENCE)
        if late is not None and not finished:
            for result in team.leftovers():
                late(result)


class _Team(Generic[T, R]):
    """Threads that take items from one queue and put outcomes into another."""

    def __init__(
        self, work: Callable[[T], R], jobs: int, waiting: Callable[[], None] | None
    ) -> None:
        self._waiting = waiting
        self._glanced = time.monotonic()
        self._work = work
        self._jobs = jobs
        self._todo: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[R] | BaseException] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._dismissed = False

    def give(self, item: T) -> None:
        """Queue one item; threads are started as they are needed."""
        self._todo.put((item,))
        if len(self._threads) < self._jobs:
            thread = threading.Thread(target=self._run, name="manifestd-read", daemon=True)
            self._threads.append(thread)
            thread.start()

    def result(self) -> R:
        """The next outcome, whichever item it is of."""
        outcome = self._next()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome[0]

    def _next(self) -> tuple[R] | BaseException:
        if self._waiting is None:
            return self._done.get()
        # Not before every result: thousands of small ones come in a second.
        if time.monotonic() - self._glanced >= _GLANCE:
            self._glance(self._waiting)
        while True:
            try:
                return self._done.get(timeout=_GLANCE)
            except Empty:
                self._glance(self._waiting)

    def _glance(self, waiting: Callable[[], None]) -> None:
        self._glanced = time.monotonic()
        waiting()

    def dismiss(self, patience: float | None) -> None:
        """End the threads; wait ``patience`` seconds in all, without limit when None."""
        self._dismissed = True
        for _ in self._threads:
            self._todo.put(None)
        deadline = None if patience is None else time.monotonic() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0))

    def leftovers(self) -> Iterator[R]:
        """What was finished and not asked for."""
        while True:
            try:
                outcome = self._done.get_nowait()
            except Empty:
                return
            if not isinstance(outcome, BaseException):
                yield outcome[0]

    def _run(self) -> None:
        while (item := self._todo.get()) is not None and not self._dismissed:
            try:
                outcome: tuple[R] | BaseException = (self._work(item[0]),)
            except BaseException as error:
                outcome = error
            self._done.put(outcome)
            # Waiting for the next item must not keep this one's body in memory.
            del outcome
