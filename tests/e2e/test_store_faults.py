"""Somebody was at the store: readers refuse (exit 4), or what they say is still true."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from manifestd.loopback.models import drifted, tiny_model
from tests.e2e.desk import Desk, Ran

MODEL = tiny_model("acme/tiny")
# The reader's name, its arguments. Every one answers 0 or 1 from a sound store.
READERS = {
    "diff": ("diff", "left", "right"),
    "diff, json": ("diff", "left", "right", "--format", "json"),
    "diff of equals": ("diff", "left", "copy"),
    "show left": ("show", "left"),
    "show right": ("show", "right", "--format", "json"),
    "files left": ("files", "left"),
    "files right": ("files", "right", "--format", "json"),
    "verify left": ("verify", "left"),
    "verify right": ("verify", "right"),
    "verify copy": ("verify", "copy"),
    "list": ("list",),
    "whereis": ("whereis", ""),
    "store check": ("store", "check"),
}


class Store:
    """A store with three snapshots, what readers say of it while it is sound, and a way to damage it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        for name, files in (("left", MODEL), ("right", drifted(MODEL)), ("copy", MODEL)):
            desk("snapshot", "dir", desk.tree(name, files), "--name", name)
        files = desk.json("files", "right")["files"]
        self.weights = next(f for f in files if f["path"] == "model.safetensors")
        self.sound = {name: self.ask(name) for name in READERS}
        assert {ran.code for ran in self.sound.values()} == {0, 1}
        with closing(sqlite3.connect(desk.store)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.original = desk.folder / "original.db"
        shutil.copy(desk.store, self.original)

    def ask(self, reader: str) -> Ran:
        arguments = [
            text or f"sha256:{self.weights['digests']['sha256']}" for text in READERS[reader]
        ]
        return self.desk(*arguments, code=None)

    @contextmanager
    def damaged(self) -> Iterator[sqlite3.Connection]:
        """The sound store again, open to whoever wants to change it."""
        for end in ("-wal", "-shm"):
            Path(f"{self.desk.store}{end}").unlink(missing_ok=True)
        shutil.copy(self.original, self.desk.store)
        with closing(sqlite3.connect(self.desk.store)) as database:
            yield database
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def refusals(self, *, also: frozenset[int] = frozenset()) -> set[str]:
        """Who refuses now; everybody else must say exactly what was said of the sound store."""
        refused = set()
        for name in READERS:
            ran = self.ask(name)
            if ran.code == 4 or ran.code in also:
                refused.add(name)
            else:
                assert (ran.code, ran.out) == self.sound[name][:2], name
        return refused


@pytest.fixture
def store(desk: Desk) -> Store:
    return Store(desk)


VERIFIERS = {"verify left", "verify right", "verify copy"}


def test_a_flipped_byte_in_any_blob_is_refused_by_whoever_needs_it(store: Store) -> None:
    choice = random.Random(20260301)
    with store.damaged() as database:
        blobs = database.execute("SELECT id, kind, data FROM blob ORDER BY id").fetchall()
    assert len({kind for _, kind, _ in blobs}) >= 6
    refused_by: set[str] = set()
    for number, kind, data in blobs:
        at = choice.randrange(len(data))
        wrong = data[:at] + bytes([data[at] ^ 1 << choice.randrange(8)]) + data[at + 1 :]
        with store.damaged() as database:
            database.execute("UPDATE blob SET data = ? WHERE id = ?", (wrong, number))
        refused = store.refusals()
        assert "store check" in refused, (number, kind, at)
        if kind != "entry":  # the history log is `log verify`'s work
            assert refused & VERIFIERS, (number, kind, at)
        refused_by |= refused
    assert refused_by == set(READERS)


@pytest.mark.parametrize("kind", ["record", "leaf", "node", "body", "facts", "bundle"])
def test_swapped_bytes_of_two_blobs_are_refused(store: Store, kind: str) -> None:
    with store.damaged() as database:
        rows = database.execute(
            "SELECT id, encoding, size, data FROM blob WHERE kind = ? ORDER BY id LIMIT 2", (kind,)
        ).fetchall()
        for (number, *_), (_, *other) in zip(rows, reversed(rows), strict=True):
            database.execute(
                "UPDATE blob SET encoding = ?, size = ?, data = ? WHERE id = ?", (*other, number)
            )
    refused = store.refusals()
    assert "store check" in refused
    assert refused & VERIFIERS


@pytest.mark.parametrize(
    "columns",
    ["digest", "manifest", "name", "source", "captured", "captured_at", "files", "bytes",
     "digest, manifest, name, source, captured, captured_at, complete, files, bytes"],
)  # fmt: skip
def test_swapped_rows_of_the_index_never_give_another_answer(store: Store, columns: str) -> None:
    names = columns.split(", ")
    with store.damaged() as database:
        rows = {
            row[0]: row[1:]
            for row in database.execute(f"SELECT id, {columns} FROM snapshot ORDER BY id")
        }
        first, second = list(rows)[:2]
        settings = ", ".join(f"{name} = ?" for name in names)
        # In two steps: digests are unique.
        for name in names:
            if name == "digest":
                database.execute("UPDATE snapshot SET digest = x'00' WHERE id = ?", (first,))
        for number, other in ((second, first), (first, second)):
            database.execute(f"UPDATE snapshot SET {settings} WHERE id = ?", (*rows[other], number))
    # A row under another name may also be not found at all.
    refused = store.refusals(also=frozenset({3}))
    assert {"store check", "list"} <= refused
    assert store.ask("store check").code == 4


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE snapshot SET complete = 1 - complete",
        "UPDATE snapshot SET requested = 'main', revision = 'v9'",
        "UPDATE snapshot SET id = id + 1000",
        "UPDATE blob SET size = size + 1 WHERE kind = 'record'",
        "UPDATE blob SET encoding = 'raw' WHERE encoding <> 'raw'",
        "UPDATE blob SET encoding = 'zlib+crc32'",
        "UPDATE blob SET data = x'' WHERE kind = 'leaf'",
        "UPDATE blob SET digest = zeroblob(32) WHERE id = (SELECT min(id) FROM blob)",
        "DELETE FROM blob WHERE kind = 'leaf'",
        "DELETE FROM blob WHERE kind = 'record'",
        "DELETE FROM blob WHERE kind = 'bundle'",
        "CREATE TRIGGER t AFTER INSERT ON blob BEGIN DELETE FROM snapshot; END",
    ],
)
def test_no_edit_of_the_tables_gives_another_answer(store: Store, change: str) -> None:
    with store.damaged() as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(change)
    refused = store.refusals(also=frozenset({3}))
    assert "store check" in refused
    assert store.ask("store check").code == 4


def test_a_signature_moved_to_another_snapshot_is_refused(store: Store) -> None:
    with store.damaged() as database:
        rows = database.execute(
            "SELECT snapshot, bundle FROM signature ORDER BY snapshot"
        ).fetchall()
        database.execute("DELETE FROM signature")
        moved = [bundle for _, bundle in rows[1:] + rows[:1]]
        database.executemany(
            "INSERT INTO signature VALUES (?, ?)",
            [(snapshot, bundle) for (snapshot, _), bundle in zip(rows, moved, strict=True)],
        )
    assert store.refusals() >= VERIFIERS | {"diff", "diff of equals", "show left", "store check"}


def test_a_signed_statement_rewritten_for_another_snapshot_is_invalid(store: Store) -> None:
    """The attacker also rewrites digests, so that every blob has its own."""
    left = store.desk.json("show", "left")
    right = store.desk.json("show", "right")
    with store.damaged() as database:
        ids = dict(database.execute("SELECT name, id FROM snapshot").fetchall())
        bundles = dict(database.execute("SELECT snapshot, bundle FROM signature").fetchall())
        (plain,) = database.execute(
            "SELECT data FROM blob WHERE id = ? AND encoding = 'raw'", (bundles[ids["left"]],)
        ).fetchone()
        document = json.loads(plain)
        envelope = document["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"]).decode()
        for name in ("snapshot", "manifest"):
            payload = payload.replace(left[name][7:], right[name][7:])
        envelope["payload"] = base64.b64encode(payload.encode()).decode()
        forged = json.dumps(document).encode()
        database.execute(
            "UPDATE blob SET digest = ?, encoding = 'raw', size = ?, data = ? WHERE id = ?",
            (hashlib.sha256(forged).digest(), len(forged), forged, bundles[ids["right"]]),
        )
    [result] = store.desk.json("verify", "right", code=4)["snapshots"]
    assert (result["signature"], result["content"]) == ("invalid", "verified")
    assert store.ask("diff").code == 4
    assert store.ask("verify left").code == 0


def test_a_key_that_nobody_trusts_signs_nothing_that_verifies(desk: Desk) -> None:
    place = desk.tree("left", MODEL)
    desk("key", "new", "mallory.pem")
    desk("snapshot", "dir", place, "--key", "mallory.pem", "--ignore", "mallory*")
    [result] = desk.json("verify", place, code=4)["snapshots"]
    assert (result["signature"], result["content"]) == ("untrusted", "verified")
    assert desk.json("diff", place, place)["left"]["signature"] == "untrusted"
    assert desk("diff", place, place, "--require-signature", code=4).out
    assert "untrusted" in desk("show", place).out


def test_a_store_that_is_none_is_refused_in_one_line(desk: Desk) -> None:
    for content in (b"", b"SQLite format 3\0" + bytes(84), b"not a database" * 100):
        for end in ("", "-wal", "-shm"):
            Path(f"{desk.store}{end}").unlink(missing_ok=True)
        desk.store.write_bytes(content)
        for command in (["list"], ["diff", "a", "b"], ["verify", "a"], ["store", "check"]):
            ran = desk(*command, code=None)
            assert ran.code in {3, 4}, (content[:20], command, ran)
            assert "Traceback" not in ran.err
