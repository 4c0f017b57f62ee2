"""The history log: one leaf for everything that happens, in its transaction, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymerkle
import pytest

from manifestd import canonical
from manifestd.errors import MalformedError, NotStoredError, TamperedError
from manifestd.model.logentry import MAX_ENTRY, LogEntry, decode_entry, encode_entry
from manifestd.rules import merkle
from manifestd.store import Store, open_store
from manifestd.store.check import check_store
from manifestd.store.rebuild import rebuild_store
from tests.store.making import add_snapshot, bundle_for, listed, small_store
from tests.support.schemas import check_document
from tests.support.tampering import change

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def filled(path: Path, number: int = 5) -> None:
    """A log of ``number`` verdicts about one document."""
    with open_store(path, write=True) as store, store.transaction():
        document = store.blobs.put(b"{}", "document")
        for index in range(number):
            store.log.append("verdict", document, NOON, {"tag": f"m:{index % 3}", "n": index})


def leaves(store: Store) -> list[bytes]:
    return [store.log.raw(index) for index in range(store.log.size)]


def test_every_snapshot_and_signature_is_a_leaf_in_the_order_they_came(tmp_path: Path) -> None:
    digests = small_store(tmp_path / "s.db")
    with open_store(tmp_path / "s.db") as store:
        entries = list(store.log.entries())
        assert [entry.index for entry in entries] == list(range(5))
        kinds = ["snapshot", "signature", "snapshot", "snapshot", "signature"]
        assert [entry.kind for entry in entries] == kinds
        assert [e.document for e in entries if e.kind == "snapshot"] == digests
        signed = [e.facts["snapshot"] for e in entries if e.kind == "signature"]
        assert signed == [digests[0], digests[2]]
        assert entries[0].facts["manifest"] == store.snapshots.load(digests[0]).manifest
        for entry in entries:
            check_document("log-entry", encode_entry(entry))
            assert store.blobs.get(entry.document)


def test_what_is_stored_twice_is_logged_once(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        digest = add_snapshot(store, listed(["a"]), signed=True)
        assert store.log.size == 2
        root = store.log.root()
        store.snapshots.add(store.snapshots.raw(digest), bundle_for(digest))
        store.snapshots.attach(digest, bundle_for(digest))
        assert (store.log.size, store.log.root()) == (2, root)
        store.snapshots.attach(digest, bundle_for(digest, sig="BBBB"), at=NOON)
        assert store.log.entry(2).at == "2026-03-01T12:00:00.000000Z"


def test_what_is_rolled_back_is_not_logged(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        with contextlib.suppress(KeyboardInterrupt), store.transaction():
            add_snapshot(store, listed(["a"]))
            assert store.log.size == 1
            raise KeyboardInterrupt
        assert store.log.size == 0
        assert store.log.root() == merkle.EMPTY_ROOT
        add_snapshot(store, listed(["a"]))
        assert store.log.size == 1
    assert check_store(tmp_path / "s.db") == []


def test_the_newest_entry_of_a_kind_is_found(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        assert store.log.last("snapshot") is None
        for name in "abc":
            add_snapshot(store, listed([name]), signed=name == "b")
        assert [entry.kind for entry in store.log.entries()] == [
            "snapshot", "snapshot", "signature", "snapshot"
        ]  # fmt: skip
        assert (store.log.last("snapshot"), store.log.last("signature")) == (3, 2)


def test_roots_and_proofs_are_those_of_another_library(tmp_path: Path) -> None:
    filled(tmp_path / "s.db", 37)
    peer = pymerkle.InmemoryTree(algorithm="sha256")
    with open_store(tmp_path / "s.db") as store:
        for data in leaves(store):
            peer.append_entry(data)
        for size in (1, 2, 8, 21, 37):
            assert store.log.root(size) == peer.get_root(size)
            for index in range(size):
                path = peer.prove_inclusion(index + 1, size).serialize()["path"]
                found = store.log.inclusion_proof(index, size)
                assert [item.hex() for item in found] == path[1:]
            proof = store.log.consistency_proof(size, 37)
            merkle.verify_consistency(size, 37, proof, peer.get_root(size), peer.get_root())


def test_entries_are_found_by_kind_tag_document_and_time(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store, store.transaction():
        first = store.blobs.put(b"1", "document")
        second = store.blobs.put(b"2", "document")
        for number in range(1200):
            at = NOON + timedelta(seconds=number)
            document = second if number == 700 else first
            kind = "waiver" if number % 2 else "verdict"
            store.log.append(kind, document, at, {"tag": f"m:{number % 3}"})  # type: ignore[arg-type]
        found = store.log.entries
        assert [entry.index for entry in found()] == list(range(1200))
        assert [entry.index for entry in found(newest_first=True)] == list(range(1199, -1, -1))
        assert [e.index for e in found(newest_first=True, limit=2)] == [1199, 1198]
        assert len(list(found(kinds=["waiver"]))) == 600
        assert [e.index for e in found(kinds=["waiver"], tag="m:0", limit=2)] == [3, 9]
        assert [entry.index for entry in found(document=second)] == [700]
        until = int((NOON + timedelta(seconds=9)).timestamp() * 1_000_000)
        assert [entry.index for entry in found(until=until)] == list(range(10))
        assert len(list(found(limit=501))) == 501


def test_an_entry_is_small_and_names_only_what_is_stored(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        with pytest.raises(MalformedError, match="not stored"):
            store.log.append("tag", "sha256:" + "0" * 64, NOON)
        document = store.blobs.put(b"{}", "document")
        with pytest.raises(MalformedError, match="too large"):
            store.log.append("tag", document, NOON, {"tag": "x" * 65_536})
        assert store.log.size == 0
        long = add_snapshot(store, listed(["a"]), name="n" * 200_000)
        assert len(store.log.raw(0)) < MAX_ENTRY
        assert store.snapshots.load(long).name == "n" * 200_000


def test_there_is_no_entry_beyond_the_end(tmp_path: Path) -> None:
    filled(tmp_path / "s.db")
    with open_store(tmp_path / "s.db") as store:
        with pytest.raises(NotStoredError, match="no entry 5"):
            store.log.raw(5)
        with pytest.raises(MalformedError, match="no root over 6"):
            store.log.root(6)


def test_an_entry_of_a_later_version_or_shape_is_refused() -> None:
    entry = LogEntry(index=0, kind="tag", at="2026-03-01T12:00:00Z", document="sha256:" + "0" * 64)
    whole = encode_entry(entry)
    assert decode_entry(whole) == entry
    for old, new in (
        (b"log-entry/v1", b"log-entry/v2"),
        (b'"kind":"tag"', b'"kind":"TAG"'),
        (b'"facts":{}', b'"facts":{"a":[]}'),
        (b'"index":0', b'"index":-1'),
        (b'"at":', b'"also":1,"at":'),
    ):
        with pytest.raises(MalformedError):
            decode_entry(whole.replace(old, new))


TAMPERING = {
    "an entry's bytes": "UPDATE blob SET data = replace(CAST(data AS TEXT), '\"n\":1', '\"n\":7')"
    " WHERE kind = 'entry' AND id = (SELECT blob FROM log WHERE id = 1)",
    "an entry's row": "DELETE FROM log WHERE id = 1",
    "the last entry's row": "DELETE FROM log WHERE id = 4",
    "a row's tag": "UPDATE log SET tag = 'm:other' WHERE id = 2",
    "a row's kind": "UPDATE log SET kind = 'tag' WHERE id = 2",
    "a row's time": "UPDATE log SET at = at - 1 WHERE id = 2",
    "a row's document": "UPDATE log SET document = zeroblob(32) WHERE id = 2",
    "a row's entry": "UPDATE log SET blob = (SELECT blob FROM log WHERE id = 3) WHERE id = 2",
    "a leaf's hash": "UPDATE log_node SET hash = zeroblob(32) WHERE level = 0 AND position = 2",
    "a node's hash": "UPDATE log_node SET hash = zeroblob(32) WHERE level = 1 AND position = 0",
    "a node that is gone": "DELETE FROM log_node WHERE level = 2",
    "a node that is no hash": "UPDATE log_node SET hash = 'text' WHERE level = 2",
    "a node too many": "INSERT INTO log_node VALUES (0, 5, zeroblob(32))",
    "the document": "DELETE FROM blob WHERE kind = 'document'",
}


@pytest.mark.parametrize("what", TAMPERING)
def test_check_finds_a_change_of(tmp_path: Path, what: str) -> None:
    path = tmp_path / "s.db"
    filled(path)
    assert check_store(path) == check_store(path, log_only=True) == []
    change(path, TAMPERING[what])
    assert [problem.what for problem in check_store(path) if "history log" in problem.what]
    assert check_store(path, log_only=True)


@pytest.mark.parametrize(
    "what", ["an entry's bytes", "a row's tag", "a row's kind", "a leaf's hash", "a row's entry"]
)
def test_reading_never_gives_out_a_changed_entry(tmp_path: Path, what: str) -> None:
    path = tmp_path / "s.db"
    filled(path)
    change(path, TAMPERING[what])
    with open_store(path) as store, pytest.raises(TamperedError):
        list(store.log.entries())


@pytest.mark.parametrize(
    "table", ["snapshot", "signature", "snapshot and its blob", "signature and its blob"]
)
def test_check_finds_what_was_logged_and_is_gone(tmp_path: Path, table: str) -> None:
    path = tmp_path / "s.db"
    small_store(path)
    change(path, "DELETE FROM signature")
    if table.startswith("snapshot"):
        change(path, "DELETE FROM snapshot")
    if table == "snapshot and its blob":
        change(path, "DELETE FROM blob WHERE kind = 'record'")
    if table.endswith("its blob"):
        change(path, "DELETE FROM blob WHERE kind = 'bundle'")
    whats = [problem.what for problem in check_store(path)]
    assert [what for what in whats if "missing in the store" in what]
    assert [what for what in whats if "which is gone" in what] or "blob" not in table


def test_check_finds_a_snapshot_that_was_slipped_past_the_log(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with open_store(path, write=True) as store:
        add_snapshot(store, listed(["a"]))
        add_snapshot(store, listed(["b"]))
    change(
        path,
        "DELETE FROM log WHERE id = 1",
        "DELETE FROM log_node WHERE position = 1 OR level = 1",
        "DELETE FROM blob WHERE kind = 'entry' AND id = (SELECT max(id) FROM blob)",
    )
    whats = [problem.what for problem in check_store(path)]
    assert [what for what in whats if "missing in the history log" in what]


def test_rebuild_makes_the_same_log_from_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    small_store(path)
    filled(path, 9)
    with open_store(path) as store:
        before = (store.log.size, store.log.root(), leaves(store))
    change(path, "DELETE FROM log WHERE id > 3", "DELETE FROM log_node", "DELETE FROM signature",
           "UPDATE log SET id = 100 WHERE id = 2")  # fmt: skip
    assert rebuild_store(path) == 3
    with open_store(path, write=True) as store:
        assert (store.log.size, store.log.root(), leaves(store)) == before
        store.log.append("verdict", store.log.entry(0).document, NOON)
    assert check_store(path) == []


def test_rebuild_leaves_a_log_with_a_lost_entry_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    filled(path)
    with open_store(path) as store:
        root = store.log.root()
    change(path, TAMPERING["an entry's bytes"])
    rebuild_store(path)
    assert "the history log has gaps" in caplog.text
    with open_store(path) as store:
        assert (store.log.size, store.log.root()) == (5, root)
    assert check_store(path)


@pytest.mark.parametrize(
    "upgrade",
    [rebuild_store, lambda path: open_store(path, write=True).close()],
    ids=["what the hint says", "writing"],
)
def test_a_store_older_than_the_log_gets_one_with_all_it_holds(
    tmp_path: Path, upgrade: Callable[[Path], object]
) -> None:
    path = tmp_path / "s.db"
    digests = small_store(path)
    change(path, "DROP TABLE log", "DROP TABLE log_node", "DELETE FROM blob WHERE kind = 'entry'",
           "DELETE FROM _sqlite_migrations WHERE name = 'm0002_history_log'")  # fmt: skip
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(MalformedError, match="older") as refused:
        open_store(path)
    assert refused.value.hint == "run `manifestd store rebuild` once"
    upgrade(path)
    with open_store(path) as store:
        assert {row.digest for row in store.snapshots.list()} == set(digests)
        entries = list(store.log.entries())
        assert [e.document for e in entries if e.kind == "snapshot"] == digests
        assert [e.kind for e in entries].count("signature") == 2
    assert check_store(path) == []


def test_a_signature_about_something_else_is_not_kept_with_a_snapshot(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        digest = add_snapshot(store, listed(["a"]))
        other = canonical.decode_foreign(bundle_for(digest))
        assert other["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
        payload = base64.b64decode(other["dsseEnvelope"]["payload"])
        changed = payload.replace(b"predicate/snapshot/v1", b"predicate/approval/v1")
        assert changed != payload
        other["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
        with pytest.raises(MalformedError, match="not about the snapshot"):
            store.snapshots.attach(digest, canonical.encode(other))
        # Kept as a document it stays out of the index of signatures, also when that is remade.
        store.blobs.put(canonical.encode(other), "bundle")
    rebuild_store(tmp_path / "s.db")
    assert check_store(tmp_path / "s.db") == []
    with open_store(tmp_path / "s.db") as store:
        assert store.snapshots.bundles(digest) == []


def test_two_processes_append_without_losing_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, 0)
    program = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from manifestd.store import open_store\n"
        "with open_store(Path(sys.argv[1]), write=True) as store:\n"
        "    document = store.blobs.put(b'{}', 'document')\n"
        "    for n in range(40):\n"
        "        store.log.append('verdict', document, datetime.now(UTC), {'n': n})\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    with open_store(path) as store:
        assert store.log.size == 80
    assert check_store(path) == []


def test_appending_to_a_long_log_reads_a_few_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, 5000)
    with open_store(path, write=True) as store:
        statements: list[str] = []
        document = store.log.entry(0).document
        store._database.connection.set_trace_callback(statements.append)
        store.log.append("verdict", document, NOON)
        store._database.connection.set_trace_callback(None)
    assert len([text for text in statements if text.startswith("SELECT")]) < 20
