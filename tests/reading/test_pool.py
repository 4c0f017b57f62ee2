"""Tasks in threads and forked workers: bounded, complete, and gone when nobody wants them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from manifestd.errors import AccessDeniedError, UnreadableError
from manifestd.reading.forked import DEPTH, FIRST_BATCH, MAX_BATCH, run_forked
from manifestd.reading.forked_worker import LONGEST_SILENCE
from manifestd.reading.pool import run_tasks


def threads(items: Any, work: Callable[[Any], Any], jobs: int = 3) -> Iterator[Any]:
    return run_tasks(items, work, jobs=jobs)


def forked(items: Any, work: Callable[[Any], Any], jobs: int = 3) -> Iterator[Any]:
    return run_forked(items, work, jobs=jobs, lost=None)


BOTH = pytest.mark.parametrize("run", [threads, forked])


def children() -> list[int]:
    """Processes this one has forked; a thread may end while it is asked."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Generator[None, None, None]:
    before = set(children())
    gc.collect()  # what earlier tests forgot to close must not be closed in between
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert set(children()) <= before
    # Servers of earlier tests may close their last connections in between.
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before
    assert not [each for each in threading.enumerate() if each.name == "manifestd-read"]


@BOTH
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 65, 1000])
@pytest.mark.parametrize("kind", [list, iter])
def test_every_item_gives_one_result(run: Any, count: int, kind: Any) -> None:
    assert sorted(run(kind(range(count)), lambda n: n * n)) == [n * n for n in range(count)]


def test_forked_work_happens_in_several_other_processes() -> None:
    def where(_: int) -> int:
        time.sleep(0.001)
        return os.getpid()

    pids = set(forked(list(range(200)), where))
    assert len(pids) == 3
    assert os.getpid() not in pids


@BOTH
def test_items_are_taken_only_as_results_are_fetched(run: Any) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    results = run(items(), lambda n: n)
    for fetched, _ in enumerate(results, 1):
        assert taken - fetched <= (3 * DEPTH + 1) * MAX_BATCH
        if fetched >= 2000:
            break
    cast("Generator[Any]", results).close()


def test_threads_never_run_ahead_by_more_than_twice_their_number() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    for fetched, _ in enumerate(run_tasks(items(), lambda n: n, jobs=2), 1):
        assert taken <= fetched + 4


@BOTH
@pytest.mark.parametrize("kind", [list, iter])
def test_an_exception_of_the_work_is_raised_with_its_parts(run: Any, kind: Any) -> None:
    def refuse(number: int) -> int:
        if number == 70:
            raise AccessDeniedError("no", why="because", facts={"n": number})
        return number

    with pytest.raises(AccessDeniedError) as caught:
        list(run(kind(range(200)), refuse))
    assert caught.value.why == "because"
    assert caught.value.facts == {"n": 70}


def test_an_exception_that_does_not_pickle_still_says_what_it_is() -> None:
    class LocalError(Exception):
        pass

    def refuse(_: int) -> int:
        raise LocalError("only here")

    with pytest.raises(RuntimeError, match="LocalError: only here"):
        list(forked([1], refuse))


def test_a_result_that_does_not_pickle_is_an_error_not_a_hang() -> None:
    with pytest.raises(RuntimeError, match="pickle"):
        list(forked([1], lambda _: lambda: None))


@BOTH
def test_large_items_and_results_cannot_block_each_other(run: Any) -> None:
    items = [bytes([n % 256]) * 200_000 for n in range(150)]
    results = list(run(iter(items), lambda data: data + data))
    assert sorted(results) == sorted(data + data for data in items)


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    def die_once(number: int) -> int:
        if number == 50:
            with contextlib.suppress(FileExistsError):
                (tmp_path / "died").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return number

    for kind in (list, iter):
        assert sorted(forked(kind(range(300)), die_once)) == list(range(300))
        (tmp_path / "died").unlink()


def test_an_item_that_kills_three_workers_is_given_up_and_the_rest_is_done(
    tmp_path: Path,
) -> None:
    def die(number: int) -> int:
        if number == 50:
            with (tmp_path / "deaths").open("a") as file:
                file.write("x")
            os._exit(9)
        return number

    lost: list[int] = []

    def give_up(number: int, error: UnreadableError) -> int:
        lost.append(number)
        return -number

    results = list(run_forked(list(range(300)), die, jobs=2, lost=give_up))
    assert sorted(results) == sorted([-50, *(n for n in range(300) if n != 50)])
    assert lost == [50]
    assert (tmp_path / "deaths").read_text() == "xxx"


def test_without_anybody_to_tell_a_lost_item_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="died 3 times"):
        list(forked([1, 2, 3], lambda n: os._exit(1) if n == 2 else n))


def test_what_a_worker_has_is_sent_before_its_batch_is_complete(tmp_path: Path) -> None:
    arrived = tmp_path / "arrived"

    def work(number: int) -> bool:
        if number == 0:
            time.sleep(2 * LONGEST_SILENCE)
            return True
        deadline = time.monotonic() + 60
        while not arrived.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return arrived.exists()

    results = forked(list(range(FIRST_BATCH)), work, jobs=1)
    assert next(results)
    arrived.touch()
    assert all(results)


def test_leaving_early_tells_the_threads_to_stop() -> None:
    stop = threading.Event()

    def work(number: int) -> int:
        if number:
            assert stop.wait(30)
        return number

    results = run_tasks(range(10), work, jobs=3, stop=stop)
    assert next(results) == 0
    cast("Generator[Any]", results).close()
    assert stop.is_set()


def test_leaving_early_kills_the_workers_at_once() -> None:
    def slow(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    first = 2 * LONGEST_SILENCE
    results = forked([first, 10_000.0, 10_000.0, 10_000.0], slow)
    assert next(results) == first
    cast("Generator[Any]", results).close()


def test_jobs_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match="jobs"):
        run_tasks([], str, jobs=0)


def program(text: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("processes", [True, False])
def test_ctrl_c_ends_everything_with_a_keyboard_interrupt(processes: bool) -> None:
    running = program(f"""
        import os, time
        from manifestd.reading.pool import run_tasks
        print("ready", flush=True)
        try:
            list(run_tasks(list(range(8)), lambda n: time.sleep(10_000), jobs=2, processes={processes}))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(0.3)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (out, err, running.returncode) == ("interrupted\n", "", 0)
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_workers_end_when_their_parent_is_killed() -> None:
    running = program("""
        import os, time
        from manifestd.reading.pool import run_tasks
        work = lambda n: time.sleep(0.05) or os.getpid()
        for pid in run_tasks(list(range(100000)), work, jobs=2, processes=True):
            print(pid, flush=True)
    """)
    assert running.stdout is not None
    pids = {int(running.stdout.readline()) for _ in range(20)}
    running.kill()
    running.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_with_other_threads_alive_processes_become_threads() -> None:
    other = threading.Event()
    bystander = threading.Thread(target=other.wait)
    bystander.start()
    try:
        assert set(run_tasks([1, 2, 3], lambda _: os.getpid(), jobs=2, processes=True)) == {
            os.getpid()
        }
    finally:
        other.set()
        bystander.join()
