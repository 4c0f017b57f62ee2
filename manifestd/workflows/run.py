"""``run``: every model on both sides, some at a time; one model's failure never hides another.

Models are judged in threads, and the thread that called keeps what comes, in the store, as it
comes. All share one connection and use it one at a time: with one each, what one writes makes
the others read again what they had in memory. What an interrupted run has finished is in the
store, and what it was reading is in the journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from manifestd.config import Config
from manifestd.model.digest import Digest
from manifestd.model.failure import Failure
from manifestd.model.logentry import time_text
from manifestd.model.run import RESULTS, Run
from manifestd.signing.base import Signer
from manifestd.sources.base import Shared
from manifestd.store import Store
from manifestd.workflows.company import Company
from manifestd.workflows.run_model import Judging
from manifestd.workflows.run_plan import Planned
from manifestd.workflows.run_tally import Tally
from manifestd.workflows.run_team import Batch, Stop, Team, Watcher

if TYPE_CHECKING:
    from manifestd.signing.trust import Trust

JOBS: Final = 16
"""Files read at once over all models, unless it is said otherwise."""

_CACHE: Final = 4096
"""KiB of the store's pages that are kept in memory."""

_PATIENCE: Final = 1.0
"""Seconds that a thread which still uses the store at the end of an interrupted run gets."""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is to do.

    Attributes:
        models: Which models, in order.
        tool: Name and version for records.
        token: Random text that tells this run from others of the same second.
        offline: Compare what is stored; ask no source.
        every_file: Name identical files too.
        jobs: Files read at once, over all models.
        retry_budget: Seconds that one request may spend on retries.
        own_outputs: Absolute paths that manifestd itself writes.
        notes: What a reader of the result must know besides.
        errors: Why models may be missing.
        scope: Which models these are (:class:`~manifestd.model.run.Run`).
        asked: The ``[[select]]`` entries that were asked for them.
        found: Names that those found.
    """

    models: Sequence[Planned]
    tool: str
    token: str
    offline: bool = False
    every_file: bool = False
    jobs: int = JOBS
    retry_budget: float = 120.0
    own_outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    errors: tuple[Failure, ...] = ()
    scope: Literal["all", "some", "list"] = "all"
    asked: tuple[dict[str, Any], ...] = ()
    found: tuple[str, ...] = ()


class OpenStore(Protocol):
    """Opens the store for writing."""

    def __call__(self, *, cache: int, threads: bool) -> Store:
        """With so many KiB of pages in memory. ``threads``: several use it, one at a time."""


def run_models(
    request: RunRequest,
    config: Config,
    open_store: OpenStore,
    watcher: Watcher,
    *,
    signer: Signer | None = None,
    trust: Callable[[], Trust],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Run:
    """Judge every model and keep what comes of each in the store; nothing of it stays in memory.

    An interrupt (``KeyboardInterrupt``) ends it early: the result says ``interrupted``, and the
    models that were finished are kept.

    Returns:
        The run's document without its models: ``store.runs.view(found.run_id)`` has them.

    Raises:
        ManifestdError: The store cannot be opened or written, or a key cannot be read. What
            concerns one model only is in its part of the result.
    """
    started, begun = clock().astimezone(UTC), time.monotonic()
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{request.token}"
    stop, thinking = Stop(watcher), threading.RLock()
    opened = open_store(cache=_CACHE, threads=True)
    with closing(Shared()) as shared, _given_back(opened, thinking) as store:
        judging = Judging(
            config=config,
            tool=request.tool,
            run_id=run_id,
            offline=request.offline,
            every_file=request.every_file,
            jobs=request.jobs,
            retry_budget=request.retry_budget,
            company=Company(
                shared=shared,
                turn=threading.BoundedSemaphore(request.jobs),
                waiting=stop.check,
                thinking=thinking,
                durable=False,
            ),
            signer=signer,
            trust=_once(trust),
            clock=clock,
            progress=stop.telling,
            own_outputs=request.own_outputs,
        )
        team = Team(request.models, judging, store, stop)
        number = store.runs.start(run_id, time_text(started))
        watcher.started(run_id, len(request.models))
        tally, interrupted = _collected(team, _Keeper(store, thinking, number), watcher)
        times = (time_text(started), time_text(clock().astimezone(UTC)))
        seconds = round(time.monotonic() - begun, 3)
        run = _run_of(request, tally, run_id, times, seconds, interrupted=interrupted)
        with thinking:
            _finish(store, number, run, clock())
    return run


@contextmanager
def _given_back(store: Store, thinking: threading.RLock) -> Iterator[Store]:
    """Close a store that threads share, unless one of them is still busy with it at the end."""
    try:
        yield store
    finally:
        # An interrupted run waits for its threads only so long; closing does not wait for them.
        if thinking.acquire(timeout=_PATIENCE):
            try:
                store.close()
            finally:
                thinking.release()


class _Keeper:
    """Keeps models of a run as they come, in a store that others use meanwhile."""

    def __init__(self, store: Store, thinking: threading.RLock, number: int) -> None:
        self._store = store
        self._thinking = thinking
        self._number = number

    def keep(self, batch: Batch) -> None:
        """Keep what came, in one transaction; the disk is waited for, also for their snapshots."""
        with self._thinking, self._store.transaction():
            for position, judged in batch:
                self._store.runs.add(self._number, position, judged.model, judged.statements)

    def tally(self) -> Tally:
        """What was kept, added up."""
        tally = Tally()
        with self._thinking:
            for model in self._store.runs.models(self._number, RESULTS):
                tally.add(model)
        return tally


def _collected(team: Team, keeper: _Keeper, watcher: Watcher) -> tuple[Tally, bool]:
    """Keep models as they come; what they add up to, and whether that was cut short."""
    tally = Tally()
    try:
        for batch in team.results():
            keeper.keep(batch)
            for _, judged in batch:
                tally.add(judged.model)
                watcher.judged(judged.model)
    except KeyboardInterrupt:
        keeper.keep(team.rest())
        # It may have come between keeping and counting: what is kept is what counts.
        return keeper.tally(), True
    finally:
        team.end()
    return tally, False


def _finish(store: Store, number: int, run: Run, at: datetime) -> None:
    """Keep the run's document, and log it in the same transaction."""
    with store.transaction():
        document = Digest(store.runs.finish(number, run))
        store.log.append(
            "verdict",
            document,
            at,
            {
                "run": run.run_id,
                "pass": run.counts.passed,
                "fail": run.counts.fail,
                "unknown": run.counts.unknown,
                "error": run.counts.error,
            },
        )


def _run_of(
    request: RunRequest,
    tally: Tally,
    run_id: str,
    times: tuple[str, str],
    seconds: float,
    *,
    interrupted: bool,
) -> Run:
    notes = list(request.notes)
    if interrupted:
        left = len(request.models) - tally.models
        notes.append(f"interrupted: {left} models were not judged; run it again to go on")
    return Run(
        run_id=run_id,
        started_at=times[0],
        finished_at=times[1],
        tool=request.tool,
        offline=request.offline,
        interrupted=interrupted,
        exit_code=tally.exit_code(request.errors),
        counts=tally.counts(),
        models=[],
        notes=notes,
        errors=list(request.errors),
        scope=request.scope,
        asked=list(request.asked),
        found=list(request.found),
        bytes_read=tally.bytes_read,
        bytes_reused=tally.bytes_reused,
        requests=tally.requests,
        seconds=seconds,
    )


def _once(trust: Callable[[], Trust]) -> Callable[[], Trust]:
    """``trust``, read once for all threads."""
    lock = threading.Lock()
    found: list[Trust] = []

    def get() -> Trust:
        with lock:
            if not found:
                found.append(trust())
        return found[0]

    return get
