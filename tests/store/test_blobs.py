"""Blobs: whatever changes in the file, no reader is given other bytes than were stored."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifestd.errors import MalformedError, NotStoredError, NotVerifiedError, TamperedError
from manifestd.store import Kind, Store, open_store
from manifestd.store.blobs import PACKED, blob_row, unpacked
from manifestd.store.check import check_store
from tests.store.making import small_store

FLIPS = 200


@given(st.binary(max_size=2000), st.sampled_from(["body", "facts", "record", "leaf", "node"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_put_comes_back(store: Store, data: bytes, kind: Kind) -> None:
    digest = store.blobs.put(data, kind)
    assert store.blobs.has(digest)
    assert store.blobs.get(digest) == data
    assert store.blobs.put(data, kind) == digest


def test_text_is_compressed_and_noise_is_not() -> None:
    assert blob_row(b"", b"text " * 100, "body")[2] == PACKED
    assert blob_row(b"", bytes(range(256)), "body")[2] == "raw"
    assert blob_row(b"", b'["manifestd.content/v1",""]' * 100, "leaf")[2] == "raw"
    assert blob_row(b"", b'["manifestd.observation/v1",""]' * 100, "leaf")[2] == PACKED


def summed(stream: bytes) -> bytes:
    return stream + zlib.crc32(stream).to_bytes(4, "big")


def packed(data: bytes) -> bytes:
    return summed(zlib.compress(data, 9))


def test_a_compressed_bomb_makes_no_more_than_it_says() -> None:
    bomb = packed(bytes(50_000_000))
    assert unpacked(PACKED, 10, bomb) is None
    assert unpacked(PACKED, 2**60, bomb) is None
    assert unpacked(PACKED, 3, summed(zlib.compress(b"abc") + b"more")) is None
    assert unpacked(PACKED, 3, summed(zlib.compress(b"abc")[:-1])) is None
    assert unpacked(PACKED, 3, summed(b"not zlib")) is None
    assert unpacked(PACKED, 0, b"") is None
    assert unpacked(PACKED, 3, packed(b"abc")) == b"abc"
    assert unpacked("raw", 2, b"abc") is None
    assert unpacked("other", 3, b"abc") is None
    assert unpacked("raw", "3", b"abc") is None
    assert unpacked("raw", 3, "abc") is None


def test_too_large_blobs_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifestd.store.blobs.MAX_SIZE", 10)
    with pytest.raises(MalformedError, match="too large"):
        store.blobs.put(bytes(11), "body")


def test_an_absent_blob_is_tampering_to_whoever_needs_it(store: Store) -> None:
    assert not store.blobs.has("sha256:" + "0" * 64)
    with pytest.raises(TamperedError, match="lacks"):
        store.blobs.get("sha256:" + "0" * 64)
    with pytest.raises(MalformedError):
        store.blobs.get("md5:" + "0" * 32)


def test_no_flipped_byte_in_a_blob_is_believed(tmp_path: Path) -> None:
    """Every byte of every row of a small store, in turn."""
    path = tmp_path / "s.db"
    digests = small_store(path)
    with open_store(path) as store:
        before = [store.snapshots.raw(digest) for digest in digests]
    with open_store(path, write=True) as store, contextlib.suppress(ZeroDivisionError):
        run = store._database.run
        rows = store._database.all("SELECT id, digest, data FROM blob")
        assert len(rows) > 10
        with store.transaction():
            for number, digest, data in rows:
                for at in range(len(data)):
                    flipped = bytearray(data)
                    flipped[at] ^= 1 << (at % 8)
                    run("UPDATE blob SET data = ? WHERE id = ?", (flipped, number))
                    with pytest.raises(TamperedError):
                        store.blobs.fetch(digest)
                run("UPDATE blob SET data = ? WHERE id = ?", (data, number))
            assert [store.snapshots.raw(digest) for digest in digests] == before
            raise ZeroDivisionError  # nothing of this is kept


def columns() -> list[tuple[str, Callable[[sqlite3.Connection, int], object]]]:
    def change(sql: str) -> Callable[[sqlite3.Connection, int], object]:
        return lambda connection, number: connection.execute(sql, (number,))

    return [
        ("digest", change("UPDATE blob SET digest = zeroblob(32) WHERE id = ?")),
        ("text digest", change("UPDATE blob SET digest = 'text' WHERE id = ?")),
        ("kind", change("UPDATE blob SET kind = 'nothing' WHERE id = ?")),
        ("encoding", change("UPDATE blob SET encoding = 'rot13' WHERE id = ?")),
        ("size", change("UPDATE blob SET size = size + 1 WHERE id = ?")),
        ("text data", change("UPDATE blob SET data = CAST(data AS TEXT) WHERE id = ?")),
        ("row", change("DELETE FROM blob WHERE id = ?")),
    ]


@pytest.mark.parametrize(("name", "change"), columns(), ids=[name for name, _ in columns()])
def test_check_notices_a_changed_column_of_any_blob_in_use(
    tmp_path: Path, name: str, change: Callable[[sqlite3.Connection, int], object]
) -> None:
    path = tmp_path / "s.db"
    small_store(path)
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT id, kind FROM blob").fetchall()
    for number, kind in rows:
        if name == "row" and kind in {"body", "facts"}:
            continue  # nothing in this store names them
        if kind == "bundle" and name == "row":
            continue
        change(connection, number)
        connection.commit()
        copy = tmp_path / "copy.db"
        connection.execute("VACUUM INTO ?", (str(copy),))
        assert check_store(copy), (name, kind)
        copy.unlink()
        connection.close()
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        small_store(path)
        connection = sqlite3.connect(path)
    connection.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[object]]:
    """A store in one file without a log, and everything that can be read from it."""
    directory = tmp_path_factory.mktemp("sound")
    digests = [str(digest) for digest in small_store(directory / "s.db")]
    with sqlite3.connect(directory / "s.db") as connection:
        connection.execute("VACUUM INTO ?", (str(directory / "one.db"),))
    connection.close()
    return directory / "one.db", digests, reading(directory / "one.db", digests)


def reading(path: Path, digests: list[str]) -> list[object]:
    with open_store(path) as store:
        found: list[object] = [store.snapshots.list(), list(store.where("md5:" + "0" * 32))]
        for digest in digests:
            record = store.snapshots.load(digest)
            found += [record, store.snapshots.bundles(digest), *store.trees.files(record)]
        found += store.trees.diff(
            store.snapshots.load(digests[0]).content, store.snapshots.load(digests[1]).content
        )
        return found


def test_a_flipped_byte_anywhere_in_the_file_is_noticed(
    sound: tuple[Path, list[str], list[object]], tmp_path: Path
) -> None:
    """The very same answer, or an error of ours. An index row that vanished only a check can see."""
    path, digests, answers = sound
    whole = path.read_bytes()
    choice = random.Random(7)
    refused = 0
    for number, at in enumerate([*range(100), *choice.sample(range(100, len(whole)), FLIPS)]):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << choice.randrange(8)
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(flipped)
        try:
            assert reading(copy, digests) == answers or check_store(copy), at
        except (NotVerifiedError, NotStoredError):
            refused += 1
        copy.unlink()
    assert refused > 5


def test_random_damage_is_reported_not_raised(
    sound: tuple[Path, list[str], list[object]], tmp_path: Path
) -> None:
    whole = sound[0].read_bytes()
    for at in range(100, len(whole), 1499):
        damaged = bytearray(whole)
        damaged[at : at + 400] = b"\xa5" * len(damaged[at : at + 400])
        (tmp_path / "d.db").write_bytes(damaged)
        assert isinstance(check_store(tmp_path / "d.db"), list)
    shutil.copy(sound[0], tmp_path / "d.db")
    assert check_store(tmp_path / "d.db") == []
