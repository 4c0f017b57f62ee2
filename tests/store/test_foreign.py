"""A store's file from elsewhere: what its schema says is never run, and no row is read without end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from manifestd.errors import MalformedError, TamperedError
from manifestd.store import open_store
from manifestd.store.check import check_store
from tests.store.making import small_store
from tests.support.tampering import change

ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t"
SCHEMAS = {
    "view in place of a table": (
        "DROP TABLE notified",
        f"CREATE VIEW notified AS {ENDLESS} WHERE n < 0",
    ),
    "view beside the tables": (f"CREATE VIEW more AS {ENDLESS} WHERE n < 0",),
    "trigger": (
        f"CREATE TRIGGER t AFTER INSERT ON log BEGIN SELECT n FROM ({ENDLESS}) WHERE n < 0; END",
    ),
    "table that computes": (
        "DROP TABLE notified",
        "CREATE TABLE notified(id INTEGER PRIMARY KEY, x TEXT AS (hex(zeroblob(100000000))))",
    ),
    "table of a module": ("CREATE VIRTUAL TABLE t USING fts5(x)",),
    "index that computes": ("CREATE INDEX i ON blob(hex(data))",),
    "name that acts": ('CREATE TABLE "\x1b[2J" (x)',),
}


@pytest.mark.parametrize("statements", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_schema_that_is_not_ours_is_refused_before_a_table_is_asked(
    tmp_path: Path, statements: tuple[str, ...]
) -> None:
    small_store(tmp_path / "s.db")
    change(tmp_path / "s.db", *statements)
    for write in (False, True):
        with pytest.raises(TamperedError, match="foreign") as refused:
            open_store(tmp_path / "s.db", write=write)
        assert "\x1b" not in refused.value.what
    [problem] = check_store(tmp_path / "s.db")
    assert problem.code == "store-tampered"


def test_what_sqlite_itself_adds_is_no_stranger(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    change(tmp_path / "s.db", "ANALYZE")
    assert check_store(tmp_path / "s.db") == []


def test_a_row_beyond_every_blob_is_not_read(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.execute("UPDATE blob SET data = zeroblob(300000000) WHERE kind = 'record'")
    connection.commit()
    connection.close()
    with open_store(tmp_path / "s.db") as store, pytest.raises(MalformedError, match="too large"):
        store.snapshots.list()
