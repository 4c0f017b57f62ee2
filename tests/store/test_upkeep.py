"""Upkeep: check names what is wrong, rebuild remakes the index, backup copies a living store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.cli.main import run
from manifestd.errors import AccessDeniedError, MalformedError, NotStoredError, UsageError
from manifestd.model.entry import Observation
from manifestd.model.snapshot import EvidenceCounts
from manifestd.store import Store, open_store
from manifestd.store.backup import backup_store
from manifestd.store.check import MAX_PROBLEMS, check_store
from manifestd.store.damage import drop_damaged
from manifestd.store.rebuild import rebuild_store
from tests.store.making import (
    add_snapshot,
    bundle_for,
    listed,
    record_of,
    sha,
    small_store,
    write_trees,
)
from tests.support.tampering import change


def index_of(path: Path) -> list[Any]:
    """Tables, columns, indexes and rows of the index, as they are in the file."""
    connection = sqlite3.connect(path)
    found = [
        connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("snapshot", "signature")
    ]
    found.append(
        connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
        ).fetchall()
    )
    connection.close()
    return found


def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    assert check_store(tmp_path / "s.db") == []


def test_no_store_is_not_a_sound_store(tmp_path: Path) -> None:
    for work in (check_store, rebuild_store):
        with pytest.raises(NotStoredError):
            work(tmp_path / "s.db")
    with pytest.raises(NotStoredError):
        backup_store(tmp_path / "s.db", tmp_path / "t.db")
    (tmp_path / "s.db").write_bytes(b"no database" * 100)
    assert [problem.code for problem in check_store(tmp_path / "s.db")] == ["malformed"]
    with pytest.raises(MalformedError):
        rebuild_store(tmp_path / "s.db")


def test_the_check_of_a_store_that_was_cut_off_does_not_say_to_run_itself(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    small_store(path)
    os.truncate(path, 4096)
    (problem,) = check_store(path)
    assert problem.code == "store-tampered"
    assert "backup" in (problem.hint or "")


DAMAGES = {
    "index row gone": ("DELETE FROM signature", "DELETE FROM snapshot"),
    "index row wrong": ("UPDATE snapshot SET name = 'other'",),
    "index row too many": (
        "UPDATE blob SET kind = 'body' WHERE id = (SELECT max(id) FROM snapshot)",
    ),
    "signature gone": ("DELETE FROM signature",),
    "signature swapped": ("UPDATE signature SET snapshot = (SELECT max(id) FROM snapshot)",),
    "row refers to nothing": ("PRAGMA foreign_keys=OFF", "INSERT INTO signature VALUES (77, 78)"),
    "leaf gone": ("DELETE FROM blob WHERE id = (SELECT max(id) FROM blob WHERE kind = 'leaf')",),
    "trigger": ("CREATE TRIGGER t AFTER INSERT ON blob BEGIN DELETE FROM snapshot; END",),
    "view": ("CREATE VIEW v AS SELECT 1",),
    "record hidden": (
        "UPDATE blob SET kind = 'body' WHERE id = (SELECT min(id) FROM blob WHERE kind = 'record')",
    ),
    "table gone": ("DROP TABLE signature",),
}


@pytest.mark.parametrize("statements", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named(tmp_path: Path, statements: tuple[str, ...]) -> None:
    small_store(tmp_path / "s.db")
    change(tmp_path / "s.db", *statements)
    problems = check_store(tmp_path / "s.db")
    assert problems
    assert all(problem.code and problem.what for problem in problems)


def lying(store: Store, **changes: Any) -> None:
    entries = listed(["a", "b"])
    record = record_of(entries, write_trees(store, entries))
    store.snapshots.add(canonical.encode(msgspec.structs.replace(record, **changes)))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"files": 3}, "files"),
        ({"bytes": 3}, "bytes"),
        ({"manifest": "sha256:" + sha("x")}, "manifest"),
        ({"manifest": None, "complete": False}, "manifest"),
        ({"evidence": EvidenceCounts(declared=2)}, "evidence"),
    ],
)
def test_a_record_that_its_lists_contradict_is_named(
    tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        lying(store, **changes)
    problems = check_store(tmp_path / "s.db")
    assert word in problems[0].what


def test_an_incomplete_snapshot_that_says_it_is_complete_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        entries = [("a", 1, None)]
        record = record_of(entries, write_trees(store, entries))
        store.snapshots.add(canonical.encode(msgspec.structs.replace(record, complete=True)))
    assert "complete" in check_store(tmp_path / "s.db")[0].what


@pytest.mark.parametrize(
    "seen",
    [
        Observation(facts="sha256:" + sha("gone"), evidence={"sha256": "measured"}),
        Observation(chunks="sha256:" + sha("gone"), evidence={"sha256": "measured"}),
        Observation(facts="not a digest", evidence={"sha256": "measured"}),
        Observation(body=True, evidence={"sha256": "measured"}),
    ],
    ids=["facts", "chunks", "malformed", "body"],
)
def test_what_a_list_names_must_be_there(tmp_path: Path, seen: Observation) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        content, observation = store.trees.content_writer(), store.trees.observation_writer()
        content.add("a", 1, sha("a"))
        observation.add("a", seen)
        roots = content.finish(), observation.finish()
        store.snapshots.add(canonical.encode(record_of([("a", 1, sha("a"))], roots)))
    assert check_store(tmp_path / "s.db")


def test_a_list_that_is_not_cut_by_the_rules_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        entries = listed(["a", "b"])
        _, observation = write_trees(store, entries)
        content, _ = write_trees(store, entries)
        # One level of nodes more than the rules give: all entries right, another root.
        line = b'["a",2,"%b"]\n' % content[7:].encode()
        root = store.blobs.put(b'["manifestd.node/v1",2]\n' + line, "node")
        assert list(store.trees.content(root)) == entries
        store.snapshots.add(canonical.encode(record_of(entries, (root, observation))))
    (problem,) = check_store(tmp_path / "s.db")
    assert "cut by the rules" in problem.what


def test_a_signature_without_its_record_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        add_snapshot(store, listed(["a"]), signed=True)
        store.blobs.put(bundle_for("sha256:" + sha("gone")), "bundle")
    (problem,) = check_store(tmp_path / "s.db")
    assert "without its record" in problem.what
    assert sha("gone") in problem.what


def test_a_check_ends_when_there_is_no_end_of_problems(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store, store.transaction():
        for number in range(MAX_PROBLEMS + 50):
            store.blobs.put(b"%d" % number, "body")
        store._database.run("UPDATE blob SET size = size + 1")
    assert len(check_store(tmp_path / "s.db")) == MAX_PROBLEMS


WRECKS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "rows gone": lambda path: change(path, "DELETE FROM signature", "DELETE FROM snapshot"),
    "rows wrong": lambda path: change(path, "UPDATE snapshot SET name = 'x', captured = 1"),
    "tables gone": lambda path: change(path, "DROP TABLE signature", "DROP TABLE snapshot"),
    "index gone": lambda path: change(path, "DROP INDEX idx_snapshot_captured"),
}


@pytest.mark.parametrize("wreck", WRECKS.values(), ids=WRECKS.keys())
def test_rebuild_makes_the_identical_index(tmp_path: Path, wreck: Callable[[Path], None]) -> None:
    path = tmp_path / "s.db"
    digests = small_store(path)
    with open_store(path, write=True) as store:
        store.snapshots.attach(digests[1], bundle_for(digests[1]))
        store.journal("k").append([("a", "t", b"d")])
    before = index_of(path)
    wreck(path)
    assert rebuild_store(path) == 3
    assert index_of(path) == before
    assert check_store(path) == []
    with open_store(path) as store:
        assert store.journal("k").load() == {"a": ("t", b"d")}


def test_rebuild_leaves_out_what_does_not_verify(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    first, second, third = small_store(path)
    change(path, f"UPDATE blob SET data = x'00' WHERE digest = x'{first[7:]}'")
    assert rebuild_store(path) == 2
    assert first[7:] in caplog.text
    with open_store(path) as store:
        assert {row.digest for row in store.snapshots.list()} == {second, third}
    assert any(first in problem.what for problem in check_store(path))


def test_a_backup_is_the_store(tmp_path: Path) -> None:
    path, target = tmp_path / "s.db", tmp_path / "backup.db"
    digests = small_store(path)
    backup_store(path, target)
    assert check_store(target) == []
    assert index_of(target) == index_of(path)
    with open_store(path, write=True) as store:
        later = add_snapshot(store, listed(["later"]))
    backup_store(path, target)
    with open_store(target, write=True) as store:
        assert {row.digest for row in store.snapshots.list()} == {*digests, later}
    assert sorted(item.name for item in tmp_path.iterdir() if "part" in item.name) == []


def test_a_backup_of_an_older_manifestd_is_replaced_and_one_of_a_newer_is_not(
    tmp_path: Path,
) -> None:
    path, target = tmp_path / "s.db", tmp_path / "backup.db"
    small_store(path)
    for version, replaced in ((1, True), (99, False)):
        backup_store(path, target)
        change(target, f"PRAGMA user_version={version}")
        if replaced:
            backup_store(path, target)
            assert check_store(target) == []
        else:
            with pytest.raises(UsageError):
                backup_store(path, target)


def test_a_backup_replaces_nothing_but_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    small_store(path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link.db").symlink_to(path)
    for target in (path, tmp_path / "link.db", tmp_path / "notes.txt", tmp_path):
        with pytest.raises(UsageError):
            backup_store(path, target)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(AccessDeniedError):
        backup_store(path, tmp_path / "none" / "t.db")
    other = tmp_path / "other.db"
    with open_store(other, write=True) as store:
        store.blobs.put(b"x", "body")
        with pytest.raises(UsageError, match="in use"):
            backup_store(path, other)


@pytest.mark.parametrize("logged", [True, False], ids=["by its log", "by its snapshots"])
def test_a_backup_replaces_no_copy_that_holds_what_the_store_lacks(
    tmp_path: Path, *, logged: bool
) -> None:
    path, target = tmp_path / "s.db", tmp_path / "backup.db"
    other = tmp_path / "other.db"
    for made in (path, other):
        small_store(made)
        if logged:
            assert run(["--store", str(made), "snapshot", "dir", str(_model(tmp_path))]) == 0
    backup_store(path, tmp_path / "old.db")
    with open_store(path, write=True) as store:
        add_snapshot(store, listed(["later"]))
        if logged:
            _log_again(store)
    backup_store(path, target)
    kept = target.read_bytes()
    path.unlink()
    (tmp_path / "old.db").rename(path)
    with pytest.raises(UsageError, match="no earlier backup of this store"):
        backup_store(path, target)
    assert target.read_bytes() == kept
    if logged:
        with pytest.raises(UsageError, match="no earlier backup of this store"):
            backup_store(other, target)


def _model(root: Path) -> Path:
    (root / "model").mkdir(exist_ok=True)
    (root / "model" / "config.json").write_text('{"n": 1}')
    return root / "model"


def _log_again(store: Store) -> None:
    document = store.blobs.put(b"said", "document")
    with store.transaction():
        store.log.append("verdict", document, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("kind", ["leaf", "node", "body", "facts"])
def test_what_was_damaged_is_dropped_when_asked_and_written_again_by_a_fresh_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, model = tmp_path / "s.db", str(_model(tmp_path))

    def command(*words: str) -> tuple[int, str]:
        code = run(["--store", str(path), *words])
        return code, capsys.readouterr().out

    assert command("snapshot", "dir", model)[0] == 0
    change(path, f"UPDATE blob SET data = data || x'00' WHERE kind = '{kind}'")
    assert command("snapshot", "dir", model, "--fresh")[0] in {0, 4}
    assert command("store", "rebuild")[0] == 0
    assert command("store", "check")[0] == 4
    code, text = command("store", "rebuild", "--drop-damaged", "--format", "json")
    dropped = msgspec.json.decode(text)["dropped"]
    assert (code, bool(dropped)) == (0, True)
    code, text = command("store", "check")
    assert (code, dropped[0] in text) == (4, True)
    assert command("snapshot", "dir", model, "--fresh")[0] == 0
    assert command("store", "rebuild")[0] == 0
    assert command("store", "check") == (0, f"{path} is sound.\n")


@pytest.mark.parametrize("kind", ["record", "entry"])
def test_what_no_snapshot_makes_again_is_not_dropped(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.db"
    assert run(["--store", str(path), "snapshot", "dir", str(_model(tmp_path))]) == 0
    change(
        path,
        f"UPDATE blob SET data = data || x'00' WHERE kind = '{kind}'",
        # A kind that lies does not help.
        f"UPDATE blob SET kind = 'leaf' WHERE kind = '{kind}'",
    )
    with sqlite3.connect(path) as connection:
        [before] = connection.execute("SELECT count(*) FROM blob").fetchone()
        assert drop_damaged(path) == []
        assert connection.execute("SELECT count(*) FROM blob").fetchone() == (before,)
    assert check_store(path)


def test_the_command_line_checks_rebuilds_and_backs_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "s.db", tmp_path / "b.db"

    def command(*words: str) -> tuple[int, str]:
        code = run(["--store", str(path), "store", *words])
        return code, capsys.readouterr().out

    assert command("check")[0] == 3
    assert command("check", "--format", "json")[0] == 3
    first = small_store(path)[0]
    assert command("check") == (0, f"{path} is sound.\n")
    assert command("rebuild") == (0, "Indexed 3 snapshots.\n")
    code, text = command("backup", str(target))
    assert (code, str(target) in text) == (0, True)
    change(path, f"UPDATE blob SET data = x'00' WHERE digest = x'{first[7:]}'")
    code, text = command("check")
    assert (code, first in text) == (4, True)
    code, text = command("check", "--format", "json")
    document = msgspec.json.decode(text)
    assert (code, document["sound"], document["schema"]) == (4, False, "manifestd.store-check/v1")
    assert first in str(document["problems"])
    assert msgspec.json.decode(command("rebuild", "--format", "json")[1])["snapshots"] == 2
    code, text = command("backup", str(target), "--format", "json")
    assert (code, msgspec.json.decode(text)["bytes"]) == (0, target.stat().st_size)
