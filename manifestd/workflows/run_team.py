"""The threads of a run: each takes models until there are none left; one at a time has the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from manifestd.model.entry import Measurement
from manifestd.model.run import RunModel
from manifestd.store import Store
from manifestd.workflows.run_model import Judged, Judging, ModelJudge
from manifestd.workflows.run_plan import Planned
from manifestd.workflows.taking import Progress

WORKERS: Final = 16
"""Models at once, where most of their time is waiting for answers."""

_BUSY: Final = 0.5
"""Share of a core from which threads that judge models are busy: more would but wait for them."""

REPLAYING: Final = 1
"""Models at once offline: nothing is waited for, and two threads would wait for each other."""

_BREATH: Final = 0.25
"""Seconds for which finished models wait for others, to be kept together."""

_TOGETHER: Final = 64
"""Models that are kept together at most."""

_AHEAD: Final = 2 * _TOGETHER
"""Models that are judged, or being judged, and not kept; what comes faster waits."""

_GLANCE: Final = 0.2
"""Seconds after which a thread that waits looks whether the run is over."""

_GRACE: Final = 0.5
"""Seconds that a file gets to be read to its end when the run is over."""

_PATIENCE: Final = 5.0
"""Seconds that models get to put down what they have when the run is interrupted."""

Batch = list[tuple[int, Judged]]
"""Models that are finished, with their positions."""


class Watcher(Protocol):
    """Who is told how the whole run goes. Called from several threads."""

    def started(self, run_id: str, models: int) -> None:
        """A run over so many models begins."""

    def reading(self, size: int, files: int) -> None:
        """A side will read so many bytes in so many files."""

    def bytes(self, count: int) -> None:
        """So many content bytes arrived."""

    def done(self, measurement: Measurement) -> None:
        """One file is finished."""

    def judged(self, model: RunModel) -> None:
        """One model is finished; called from the thread that started the run."""


class StoppedError(BaseException):
    """The run was interrupted; no ``Exception``, so that nothing takes it for a failure."""


class Stop:
    """Ends a run from within: whatever is told of progress learns that it is over."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._event = threading.Event()
        self._since = 0.0

    def set(self) -> None:
        """The run is over."""
        if not self._event.is_set():
            self._since = time.monotonic()
            self._event.set()

    def is_set(self) -> bool:
        """Whether it is over."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise if it is over."""
        if self._event.is_set():
            raise StoppedError

    @contextmanager
    def telling(self, size: int, files: int) -> Iterator[Progress]:
        """The progress of one snapshot, told to who watches the run."""
        self._watcher.reading(size, files)
        yield self

    def bytes(self, count: int) -> None:
        """Pass on, or end the read; what is nearly there may come, or it is read twice."""
        self._watcher.bytes(count)
        if self._event.is_set() and time.monotonic() - self._since > _GRACE:
            raise StoppedError

    def done(self, measurement: Measurement) -> None:
        """Pass on, or end the snapshot; what is measured will be in the journal."""
        self._watcher.done(measurement)
        self.check()


def _own_clock() -> list[int]:
    """The clock of the calling thread's CPU time; macOS has none, and is taken to be idle."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return []
    return [time.pthread_getcpuclockid(threading.get_ident())]


def spent_by(clock: int) -> float:
    """CPU seconds of a thread; none when it has ended."""
    try:
        return time.clock_gettime(clock)
    except OSError:
        return 0.0


class Team:
    """Threads that judge models from one queue.

    Args:
        models: What to judge, in order.
        judging: What is common.
        store: What they read and write, one at a time (:attr:`Company.thinking`).
        stop: Set when the run is over.
        spent_by: CPU seconds of the thread with this clock.
    """

    def __init__(
        self,
        models: Sequence[Planned],
        judging: Judging,
        store: Store,
        stop: Stop,
        spent_by: Callable[[int], float] = spent_by,
    ) -> None:
        self._spent_by = spent_by
        self._judge = ModelJudge(judging, store)
        self._stop = stop
        self._todo: SimpleQueue[tuple[int, Planned]] = SimpleQueue()
        for item in enumerate(models):
            self._todo.put(item)
        self._done: SimpleQueue[tuple[int, Judged] | Exception | None] = SimpleQueue()
        self._ready: Batch = []
        self._room = threading.Semaphore(_AHEAD)
        most = REPLAYING if judging.offline else WORKERS
        self._most = min(len(models), judging.jobs, most)
        self._running = 0
        self._threads: list[threading.Thread] = []
        self._clocks: list[int] = []
        self._looked, self._spent = time.monotonic(), 0.0

    def results(self) -> Iterator[Batch]:
        """Start, and yield models as they are finished.

        One thread begins; as long as those there are mostly wait, for answers or for what reads
        files for them, as many again do, in less than a second all. Where answers come at once,
        more threads than one cost a third more CPU time and are no faster.

        Those that are finished in one breath come together, because keeping a few costs
        little more than keeping one. Those that were yielded count as kept when the next
        are asked for; until then only so many others are begun.

        Raises:
            Exception: What ended a thread.
        """
        self._start(min(1, self._most))
        while self._running:
            until = time.monotonic() + _BREATH
            while (
                self._running
                and len(self._ready) < _TOGETHER
                and (left := until - time.monotonic()) > 0
            ):
                self._take(left)
            if self._ready:
                yield self._ready
                self._room.release(len(self._ready))
                self._ready = []

    def rest(self) -> Batch:
        """End it; what was finished and not yielded, or is within some seconds."""
        self._stop.set()
        deadline = time.monotonic() + _PATIENCE
        while self._running and (left := deadline - time.monotonic()) > 0:
            self._take(left)
        return self._ready

    def end(self) -> None:
        """No thread begins another model."""
        self._stop.set()

    def _start(self, count: int) -> None:
        for _ in range(min(count, self._most - len(self._threads))):
            name = f"manifestd-model-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._running += 1
            self._threads[-1].start()

    def _grow(self) -> None:
        """Start as many threads as there are, if those used little of a core since the last look."""
        now = time.monotonic()
        seconds = now - self._looked
        full = len(self._threads) == self._most
        if full or seconds < _GLANCE or self._stop.is_set() or self._todo.empty():
            return
        spent = sum(map(self._spent_by, self._clocks))
        if spent - self._spent < _BUSY * seconds:
            self._start(len(self._threads))
        self._looked, self._spent = now, spent

    def _take(self, seconds: float) -> None:
        self._grow()
        try:
            item = self._done.get(timeout=seconds)
        except Empty:
            return
        if item is None:
            self._running -= 1
        elif not isinstance(item, Exception):
            self._ready.append(item)
        elif not self._stop.is_set():
            self._stop.set()
            raise item

    def _admitted(self) -> bool:
        """Wait until there is room for one more model; False when the run is over."""
        while not self._stop.is_set():
            if self._room.acquire(timeout=_GLANCE):
                return True
        return False

    def _work(self) -> None:
        try:
            self._clocks += _own_clock()
            while self._admitted():
                position, model = self._todo.get_nowait()
                self._done.put((position, self._judge.judge(model)))
        except (Empty, StoppedError):
            pass
        except Exception as error:
            self._done.put(error)
        finally:
            self._done.put(None)
