"""The threads of a run: as many as are of use, and not ahead of who keeps what they judge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from manifestd.config import Config
from manifestd.model.entry import Measurement
from manifestd.model.reference import parse_reference
from manifestd.model.run import RunModel
from manifestd.signing.trust import Trust
from manifestd.sources.base import Shared
from manifestd.store import open_store
from manifestd.workflows import run_team
from manifestd.workflows.company import Company
from manifestd.workflows.run import RunRequest, run_models
from manifestd.workflows.run_model import Judging
from manifestd.workflows.run_plan import PlannedModel
from manifestd.workflows.run_team import Stop, Team

COUNT = 400


class Nobody:
    """Watches nothing."""

    def started(self, run_id: str, models: int) -> None:
        """Not told."""

    def reading(self, size: int, files: int) -> None:
        """Not told."""

    def bytes(self, count: int) -> None:
        """Not told."""

    def done(self, measurement: Measurement) -> None:
        """Not told."""

    def judged(self, model: RunModel) -> None:
        """Not told."""


class Counting:
    """A clock that counts how many models were judged: each asks it once."""

    def __init__(self) -> None:
        self.begun = 0
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self.begun += 1
        return datetime.now(UTC)


def waiting() -> datetime:
    """A clock that is waited for, as an answer is."""
    time.sleep(0.005)
    return datetime.now(UTC)


def always_busy(_: int) -> float:
    """A thread that never waited."""
    return time.monotonic()


class Impatient(Nobody):
    """Interrupts the run at the third model, after it was kept."""

    def __init__(self) -> None:
        self.told = 0

    def judged(self, model: RunModel) -> None:
        self.told += 1
        if self.told == 3:
            raise KeyboardInterrupt


HUB = {"hub": "hf://acme/{}", "mirror": "s3://models/acme/{}/"}
NOWHERE = {"left": "file:///nowhere/left/{}", "right": "file:///nowhere/right/{}"}


def planned(sides: dict[str, str] = HUB) -> list[PlannedModel]:
    """Models of which nothing is stored, or which are not there, so that judging them is quick."""
    return [
        PlannedModel(
            name=f"acme/{number}",
            sides={side: parse_reference(text.format(number)) for side, text in sides.items()},
        )
        for number in range(COUNT)
    ]


@contextmanager
def team(
    path: Path,
    clock: Callable[[], datetime],
    *,
    offline: bool = True,
    spent_by: Callable[[int], float] = run_team.spent_by,
) -> Iterator[Team]:
    """Threads that share a store, which is made."""
    store = open_store(path, write=True, threads=True)
    stop, shared = Stop(Nobody()), Shared()
    company = Company(
        shared=shared, turn=threading.BoundedSemaphore(16), waiting=stop.check,
        thinking=threading.RLock(), durable=False,
    )  # fmt: skip
    judging = Judging(
        config=Config(), tool="test", run_id="r", offline=offline, every_file=False, jobs=16,
        retry_budget=0, company=company, signer=None, trust=Trust, clock=clock, progress=None,
    )  # fmt: skip
    made = Team(planned(HUB if offline else NOWHERE), judging, store, stop, spent_by)
    try:
        yield made
    finally:
        made.end()
        made.rest()
        store.close()
        shared.close()


def settled(counting: Counting) -> int:
    """How many models were begun when no more are."""
    before = -1
    while before != counting.begun:
        before = counting.begun
        time.sleep(3 * run_team._GLANCE)
    return before


def test_threads_wait_for_who_keeps_what_they_judge(tmp_path: Path) -> None:
    counting = Counting()
    with team(tmp_path / "s.db", counting) as found:
        batches = found.results()
        first = next(batches)
        assert len(first) <= run_team._TOGETHER
        assert settled(counting) == run_team._AHEAD < COUNT
        rest = [item for batch in batches for item in batch]
    assert sorted(position for position, _ in (*first, *rest)) == list(range(COUNT))


def test_threads_that_wait_end_with_the_run(tmp_path: Path) -> None:
    counting = Counting()
    with team(tmp_path / "s.db", counting) as found:
        next(found.results())
        settled(counting)
        there = found.rest()
        assert len(there) == run_team._AHEAD
        for thread in found._threads:
            thread.join(10)  # it says that it ends before it has ended
        assert not any(thread.is_alive() for thread in found._threads)


@pytest.mark.parametrize(("spent", "threads"), [(run_team.spent_by, 16), (always_busy, 1)])
def test_there_are_more_threads_only_where_they_wait(
    tmp_path: Path, spent: Callable[[int], float], threads: int
) -> None:
    with team(tmp_path / "s.db", waiting, offline=False, spent_by=spent) as found:
        there = [item for batch in found.results() for item in batch]
        assert len(there) == COUNT
        assert len(found._threads) == threads


def test_what_was_kept_when_the_interrupt_came_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    request = RunRequest(models=planned(), tool="test", token="00000000", offline=True)
    run = run_models(
        request, Config(), partial(open_store, path, write=True), Impatient(), trust=Trust
    )
    assert run.interrupted
    with open_store(path) as store:
        view = store.runs.view(run.run_id)
        kept = sum(1 for _ in view.models())
    assert 3 <= kept < COUNT
    assert view.head == run
    assert run.counts.error == kept == view.count()
    assert f"{COUNT - kept} models were not judged" in run.notes[0]
