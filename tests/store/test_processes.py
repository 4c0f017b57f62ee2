"""Several processes and sudden ends: nothing that was finished is lost, nothing half is seen."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from manifestd.store import open_store
from manifestd.store.backup import backup_store
from manifestd.store.check import check_store

WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from manifestd.store import open_store
    from tests.store.making import add_snapshot, listed
    path, who, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for number in range(rounds):
        with open_store(path, write=True, seconds=60) as store:
            journal = store.journal(who)
            for part in range(5):
                journal.append([(f"{number}/{part}/{n}", "token", b"x" * 100) for n in range(20)])
            entries = listed(f"{who}/{number}/{n:04}" for n in range(300))
            add_snapshot(store, entries, signed=True, name=who)
            journal.clear()
            print(number, flush=True)
""")


def start(path: Path, who: str, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), who, str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_a_killed_writer_leaves_a_sound_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    choice = random.Random(11)
    finished = 0
    for attempt in range(10):
        who = f"w{attempt}"
        with start(path, who, 10_000) as writer:
            assert writer.stdout is not None
            # The first tries end somewhere in the making of the store, on a busy machine too;
            # the others when something is done.
            said = 0 if attempt < 4 else len(writer.stdout.readline().split())
            time.sleep(choice.uniform(0.15, 0.6))
            writer.send_signal(signal.SIGKILL)
            said += len(writer.stdout.read().split())
        if not path.exists() or path.stat().st_size == 0:
            assert said == 0
            continue
        if said:
            assert check_store(path) == []
        with open_store(path, write=True) as store:
            kept = store.snapshots.list(name=who)
            # What was said to be done is done; one more may have been, unsaid.
            assert said <= len(kept) <= said + 1
            assert all(row.signed for row in kept)
            left = store.journal(who).load()
            assert len(left) % 20 == 0
            finished += len(kept)
    assert finished > 0
    assert check_store(path) == []


@pytest.mark.slow
def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    writers = [start(path, who, 8) for who in ("one", "two", "three", "four")]
    for writer in writers:
        with writer:
            writer.communicate(timeout=120)
        assert writer.returncode == 0
    with open_store(path) as store:
        for who in ("one", "two", "three", "four"):
            assert len(store.snapshots.list(name=who)) == 8
    assert check_store(path) == []


@pytest.mark.slow
def test_reading_and_backing_up_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with start(path, "busy", 10_000) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        counts = []
        for number in range(4):
            with open_store(path) as store:
                rows = store.snapshots.list()
                counts.append(len(rows))
                record = store.snapshots.load(rows[0].digest)
                assert len(list(store.trees.files(record))) == 300
            assert check_store(path) == []
            backup_store(path, tmp_path / f"{number}.db")
            time.sleep(0.1)
        writer.kill()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    for number in range(4):
        backup = tmp_path / f"{number}.db"
        assert check_store(backup) == []
        connection = sqlite3.connect(backup)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        connection.close()
