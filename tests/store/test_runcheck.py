"""What the tables say of runs is held against the documents that the history log names."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestd.model.run import Run, RunCounts, RunModel
from manifestd.store import open_store
from manifestd.store.check import check_store

STARTED = "2026-03-01T12:00:00Z"
STATEMENT = b"signed, about a comparison"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a run that finished and one that was killed."""
    path = tmp_path / "s.db"
    with open_store(path, write=True) as store:
        attested = store.blobs.put(STATEMENT, "statement")
        models = [
            RunModel(
                name=name, result="pass", verdict="identical", exit_code=0, reference="hub",
                sides={}, attestations=[attested],
            )
            for name in ("a", "b")
        ]  # fmt: skip
        run = Run(
            run_id="done", started_at=STARTED, finished_at=STARTED, tool="test", offline=False,
            counts=RunCounts(passed=2), exit_code=0, models=[],
        )  # fmt: skip
        for name in ("done", "killed"):
            number = store.runs.start(name, STARTED)
            for position, model in enumerate(models):
                store.runs.add(number, position, model, [STATEMENT])
            if name == "done":
                document = store.runs.finish(number, run)
                at = datetime(2026, 3, 1, 13, tzinfo=UTC)
                store.log.append("verdict", document, at, {"run": name})
    return path


def test_runs_that_finished_and_runs_that_did_not_are_sound(path: Path) -> None:
    assert check_store(path) == []


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE run_model SET result = 'fail' WHERE position = 1 AND run = 1", "model 'b'"),
        ("UPDATE run_model SET result = 'fail' WHERE position = 1 AND run = 2", "model 'b'"),
        ("UPDATE run_model SET name = 'c' WHERE position = 0 AND run = 1", "model 'a'"),
        ("UPDATE run_model SET exit = 1 WHERE position = 0 AND run = 1", "model 'a'"),
        ("UPDATE run_model SET document = x'00' WHERE position = 0 AND run = 1", "models of"),
        ("DELETE FROM run_model WHERE position = 0 AND run = 1", "are not those it ended with"),
        (("INSERT INTO run_model SELECT 1, 2, name, result, exit, document FROM run_model"
         " WHERE position = 0 AND run = 1"), "are not those it ended with"),
        ("UPDATE run SET started = started + 1 WHERE id = 1", "something else of done"),
        ("UPDATE run SET run_id = 'other' WHERE id = 1", "done of the history log is missing"),
        ("UPDATE run SET document = NULL WHERE id = 1", "done of the history log is missing"),
        ("UPDATE run SET document = (SELECT document FROM run_model LIMIT 1) WHERE id = 1",
         "not the one that the history log holds"),
        ("UPDATE run SET document = (SELECT document FROM run WHERE id = 1) WHERE id = 2",
         "'killed' is not the one that the history log holds"),
        ("DELETE FROM blob WHERE kind = 'statement'", "about 'a' is gone"),
    ],
)  # fmt: skip
def test_a_change_of_the_tables_of_runs_is_found(path: Path, sql: str, says: str) -> None:
    with sqlite3.connect(path) as database:
        assert database.execute(sql).rowcount == 1
    found = [problem.what for problem in check_store(path)]
    assert any(says in what for what in found), found
