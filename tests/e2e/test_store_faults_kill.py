"""kill -9 and Ctrl-C in the middle of a snapshot: the store is sound and the next run goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.store.check import check_store
from tests.e2e.desk import Desk

KILLS = 25
MIB = 1024 * 1024


def start(desk: Desk, *arguments: str) -> subprocess.Popen[str]:
    """A snapshot as a process of its own; whoever kills it kills nothing else."""
    return subprocess.Popen(
        [sys.executable, "-m", "manifestd", "snapshot", *arguments, "--format", "json"],
        cwd=desk.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def make_place(folder: Path) -> None:
    """600 small files and eight large ones, which are holes: reading takes time, no disk space."""
    for number in range(600):
        path = folder / f"{number % 20:02}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"number": {number}}}\n')
    for number in range(8):
        with (folder / f"shard-{number}.bin").open("wb") as file:
            file.truncate((40 + number) * MIB)


def touch(folder: Path, when: int) -> None:
    """Make every file look new, so that all of it must be read again."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(when * 10**9, when * 10**9))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_25_kills_at_random_moments_lose_nothing_that_was_finished(desk: Desk) -> None:
    choice = random.Random(25)
    place = desk.folder / "place"
    make_place(place)
    started = time.monotonic()
    with start(desk, "dir", "place") as whole:
        assert whole.wait() == 0
    length = time.monotonic() - started
    truth = desk.json("show", "place")["manifest"]
    finished = 1
    for number in range(KILLS):
        touch(place, 1_000_000_000 + number)
        with start(desk, "dir", "place") as running:
            time.sleep(choice.uniform(0.05, 1.1 * length))
            os.killpg(running.pid, signal.SIGKILL)
            ended = running.wait() == 0
        assert check_store(desk.store) == []
        rows = desk.json("list")["snapshots"]
        # What was said to be done is done; one more may have been, unsaid.
        assert finished + ended <= len(rows) <= finished + 1
        finished = len(rows)
        assert {row["manifest"] for row in rows} == {truth}
        assert all(row["signed"] for row in rows)
    assert finished < KILLS + 1, "every kill came too late"
    assert desk.json("snapshot", "dir", "place")["manifest"] == truth
    assert desk.json("verify", "place")["verified"]
    assert check_store(desk.store) == []


def wait_for_files(hub: LoopbackHub, files: int) -> None:
    """Until so many files were sent, and a moment longer."""
    deadline = time.monotonic() + 30
    while sum(1 for one in hub.requests if one.file is not None) < files:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_next_run_takes_over_what_the_ended_one_had_read(
    desk: Desk, hub: LoopbackHub, how: signal.Signals
) -> None:
    files = {f"{number:02}.txt": b"%d " % number * 5_000 for number in range(20)}
    hub.add_repo("acme/slow", files)
    # Results are kept at once. The last files never come: the run hangs until it is ended.
    hub.faults.add("resolve.*/14.txt", lambda: time.sleep(1.5))
    hub.faults.add("resolve.*/1[5-9].txt", "stall:1000", times=None)
    with start(desk, "hf", "acme/slow", "--jobs", "2") as running:
        wait_for_files(hub, 15)
        running.send_signal(how)
        code = running.wait(timeout=30)
        assert running.stderr is not None
        assert running.stdout is not None
        said = running.stderr.read() + running.stdout.read()
    assert "Traceback" not in said
    if how != signal.SIGKILL:
        assert code == 130
        assert "what was done is kept" in said
    assert check_store(desk.store) == []
    assert desk.json("list")["snapshots"] == []
    hub.faults.clear()
    hub.forget_requests()
    ran = desk("snapshot", "hf", "acme/slow")
    assert "were taken over from an interrupted run" in ran.err
    assert hub.content_bytes(r"/0\d\.txt") == 0
    assert desk.json("show", "hf://acme/slow")["evidence"]["measured"] == 20
    assert check_store(desk.store) == []
