"""``run``: every model on both sides, some at a time; one model's failure never hides another.

Models are judged in threads, each with a store of its own; writing takes turns. The
thread that called keeps what comes, in the store, as it comes. What an interrupted run
has finished is in the store, and what it was reading is in the journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from manifestd.config import Config
from manifestd.model.change import Result
from manifestd.model.digest import Digest
from manifestd.model.logentry import time_text
from manifestd.model.run import Run, RunCounts, RunModel
from manifestd.signing.base import Signer
from manifestd.sources.base import Shared
from manifestd.store import Store
from manifestd.workflows.company import Company
from manifestd.workflows.run_model import Judging
from manifestd.workflows.run_plan import PlannedModel
from manifestd.workflows.run_team import Batch, Stop, Team, Watcher

if TYPE_CHECKING:
    from manifestd.signing.trust import Trust

JOBS: Final = 16
"""Files read at once over all models, unless it is said otherwise."""

_CACHE: Final = 2048
"""KiB of the store's pages that each thread keeps."""

_FIELD: Final[dict[Result, str]] = {
    "pass": "passed", "fail": "fail", "unknown": "unknown", "error": "error",
}  # fmt: skip


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
    """

    models: Sequence[PlannedModel]
    tool: str
    token: str
    offline: bool = False
    every_file: bool = False
    jobs: int = JOBS
    retry_budget: float = 120.0
    own_outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class OpenStore(Protocol):
    """Opens the store for writing."""

    def __call__(self, *, turn: AbstractContextManager[object], durable: bool, cache: int) -> Store:
        """With the lock that its transactions take, and so many KiB of pages in memory.

        ``durable`` transactions wait for the disk.
        """


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
    """Judge every model, keep the results in the store, and answer with all of them.

    An interrupt (``KeyboardInterrupt``) ends it early: the result says ``interrupted`` and has
    the models that were finished.

    Raises:
        ManifestdError: The store cannot be opened or written, or a key cannot be read. What
            concerns one model only is in its part of the result.
    """
    started, begun = clock().astimezone(UTC), time.monotonic()
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{request.token}"
    turn, stop = threading.Lock(), Stop(watcher)
    keeper = open_store(turn=turn, durable=True, cache=_CACHE)
    with closing(Shared()) as shared, closing(keeper) as store:
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
            ),
            signer=signer,
            trust=_once(trust),
            clock=clock,
            progress=stop.telling,
            own_outputs=request.own_outputs,
        )
        # Snapshots do not wait for the disk one by one: what is kept of models does, for all.
        open_quick = partial(open_store, turn=turn, durable=False, cache=_CACHE)
        team = Team(request.models, judging, open_quick, stop)
        number = store.runs.start(run_id, time_text(started))
        watcher.started(run_id, len(request.models))
        models, interrupted = _collected(team, store, number, watcher)
        run = _run_of(
            request,
            models,
            run_id=run_id,
            times=(time_text(started), time_text(clock().astimezone(UTC))),
            interrupted=interrupted,
            seconds=round(time.monotonic() - begun, 3),
        )
        _finish(store, number, run, clock())
    return run


def _collected(
    team: Team, store: Store, number: int, watcher: Watcher
) -> tuple[list[RunModel], bool]:
    """Keep models as they come; all of them in order, and whether that was cut short."""
    found: dict[int, RunModel] = {}
    interrupted = False
    try:
        for batch in team.results():
            found |= _kept(store, number, batch)
            for _, judged in batch:
                watcher.judged(judged.model)
    except KeyboardInterrupt:
        interrupted = True
        found |= _kept(store, number, team.rest())
    finally:
        team.end()
    return [found[position] for position in sorted(found)], interrupted


def _kept(store: Store, number: int, batch: Batch) -> dict[int, RunModel]:
    """Keep what came, in one transaction."""
    with store.transaction():
        for position, judged in batch:
            store.runs.add(number, position, judged.model, judged.statements)
    return {position: judged.model for position, judged in batch}


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
    models: list[RunModel],
    *,
    run_id: str,
    times: tuple[str, str],
    interrupted: bool,
    seconds: float,
) -> Run:
    sides = [side for model in models for side in model.sides.values()]
    notes = list(request.notes)
    if interrupted:
        left = len(request.models) - len(models)
        notes.append(f"interrupted: {left} models were not judged; run it again to go on")
    return Run(
        run_id=run_id,
        started_at=times[0],
        finished_at=times[1],
        tool=request.tool,
        offline=request.offline,
        interrupted=interrupted,
        exit_code=exit_code_of(models),
        counts=RunCounts(**count_results(models)),
        models=models,
        notes=notes,
        bytes_read=sum(side.bytes_read for side in sides),
        bytes_reused=sum(side.bytes_reused for side in sides),
        requests=sum(side.requests for side in sides),
        seconds=seconds,
    )


def count_results(models: Sequence[RunModel]) -> dict[str, int]:
    """Models by result, as :class:`RunCounts` names them."""
    counts = dict.fromkeys(_FIELD.values(), 0)
    for model in models:
        counts[_FIELD[model.result]] += 1
    return counts


def exit_code_of(models: Sequence[RunModel]) -> Literal[0, 1, 3, 4]:
    """4, then 1, then 3, then 0 (contract, section 4)."""
    codes = {model.exit_code for model in models}
    for code in (4, 1, 3):
        if code in codes:
            return code
    return 0


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
