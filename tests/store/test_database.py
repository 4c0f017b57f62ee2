"""Opening: what is ours, what is not, who may write where, and what a reader imports."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from manifestd.errors import (
    AccessDeniedError,
    ConfigError,
    MalformedError,
    NotStoredError,
    StoreLockedError,
    TamperedError,
    UndecidedError,
    UnreadableError,
)
from manifestd.store import open_store
from manifestd.store.check import check_store
from manifestd.store.database import APPLICATION_ID, OLDEST, PAGE_SIZE, VERSION
from manifestd.store.filesystem import filesystem_of, refuse_network
from tests.store.making import add_snapshot, listed, small_store


def test_the_version_counts_the_migrations() -> None:
    from manifestd.store.schema import migrations

    assert len(migrations._migrations) == VERSION


def test_an_older_store_is_read_without_what_came_later(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    digests = small_store(path)
    tables = ("run_model", "run", "notified")
    connection = sqlite3.connect(path, isolation_level=None)
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name >= 'm0003'")
    connection.execute("DROP INDEX idx_log_kind_id")
    connection.execute(f"PRAGMA user_version={OLDEST}")
    connection.close()
    before = path.read_bytes()
    with open_store(path) as store:
        assert {row.digest for row in store.snapshots.list()} == set(digests)
        assert list(store.runs.list()) == []
    assert check_store(path) == []
    assert path.read_bytes() == before, "a reader changes nothing"
    with open_store(path, write=True) as store:
        assert {row.digest for row in store.snapshots.list()} == set(digests)
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert {(table,) for table in tables} <= set(found)
    connection.close()


def test_a_new_store_is_marked_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "s #?%41é.db"
    with open_store(path, write=True) as store:
        digest = store.blobs.put(b"x", "body")
    connection = sqlite3.connect(path)
    for pragma, expected in (
        ("application_id", APPLICATION_ID),
        ("user_version", VERSION),
        ("page_size", PAGE_SIZE),
        ("journal_mode", "wal"),
    ):
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (expected,)
    connection.close()
    with open_store(path) as store:
        assert store.blobs.get(digest) == b"x"
    assert [item.name for item in path.parent.iterdir() if item.suffix == ".db"] == [path.name]


def test_reading_without_a_store_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotStoredError) as caught:
        open_store(tmp_path / "s.db")
    assert "snapshot" in (caught.value.hint or "")
    (tmp_path / "empty.db").touch()
    with pytest.raises(NotStoredError):
        open_store(tmp_path / "empty.db")
    assert [item.name for item in tmp_path.iterdir()] == ["empty.db"]
    with open_store(tmp_path / "empty.db", write=True) as store:
        assert store.snapshots.list() == []


def test_a_pipe_is_no_store_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError):
        open_store(tmp_path / "pipe", write=True)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    with open_store(tmp_path / "s.db") as store:
        with pytest.raises(AccessDeniedError):
            store.blobs.put(b"more", "body")
        with pytest.raises(AccessDeniedError), store.transaction():
            pass


@pytest.mark.parametrize("write", [True, False])
def test_other_files_are_left_alone(tmp_path: Path, write: bool) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be one" * 100)
    # SQLite takes a file of one byte for an empty one.
    (byte := tmp_path / "byte").write_text("x")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE cats(name)")
    connection.close()
    for path in (text, other, byte):
        before = path.read_bytes()
        with pytest.raises(MalformedError, match="not a manifestd store"):
            open_store(path, write=write)
        assert path.read_bytes() == before
    with pytest.raises(MalformedError, match="directory"):
        open_store(tmp_path, write=write)


@pytest.mark.parametrize("write", [True, False])
def test_a_newer_store_is_refused(tmp_path: Path, write: bool) -> None:
    small_store(tmp_path / "s.db")
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    with pytest.raises(MalformedError, match="newer"):
        open_store(tmp_path / "s.db", write=write)


def test_missing_tables_are_damage(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.execute("DROP TABLE signature")
    connection.commit()
    connection.close()
    with open_store(tmp_path / "s.db") as store, pytest.raises(TamperedError, match="damaged"):
        store.snapshots.list()


def test_text_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        with pytest.raises(MalformedError, match="Unicode"):
            store.snapshots.list(name="\udc80")
        with pytest.raises(MalformedError, match="Unicode"):
            store.journal("\udc80").append([("a", "b", b"c")])


def test_a_store_that_is_being_written_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with open_store(path, write=True) as one, open_store(path, write=True, seconds=0.05) as two:
        with one.transaction():
            one.blobs.put(b"one", "body")
            with pytest.raises(StoreLockedError), two.transaction():
                pass
            with pytest.raises(StoreLockedError):
                two.blobs.put(b"two", "body")
            assert two.snapshots.list() == []
        with two.transaction():
            two.blobs.put(b"two", "body")


def test_a_transaction_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        with contextlib.suppress(ZeroDivisionError), store.transaction():
            add_snapshot(store, listed(["a"]))
            store.journal("k").append([("a", "t", b"d")])
            raise ZeroDivisionError
        assert store.snapshots.list() == []
        assert store.journal("k").load() == {}
        assert store._database.one("SELECT count(*) FROM blob") == (0,)
        add_snapshot(store, listed(["a"]))
        assert len(store.snapshots.list()) == 1
        assert store._database.one("PRAGMA synchronous") == (1,)


def test_snapshots_wait_for_the_disk_and_scans_do_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        with store.transaction():
            assert store._database.one("PRAGMA synchronous") == (2,)
        with store._database.transaction(durable=False):
            assert store._database.one("PRAGMA synchronous") == (1,)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        kept = add_snapshot(store, listed(["a"]))
        pages = store._database.one("PRAGMA page_count")
        assert pages is not None
        store._database.run(f"PRAGMA max_page_count={pages[0] + 2}")
        with pytest.raises(UndecidedError, match="full"), store.transaction():
            add_snapshot(store, listed(f"{number:06}" for number in range(5000)))
        assert [row.digest for row in store.snapshots.list()] == [kept]
        add_snapshot(store, listed(["b"]))


MOUNTS = """/dev/sda1 / ext4 rw 0 0
server:/export /srv/nfs nfs4 rw 0 0
//host/share /mnt/with\\040space cifs rw 0 0
tmpfs /srv/nfs/local tmpfs rw 0 0
sshfs#x /home/me/far fuse.sshfs rw 0 0
overlay /home/me/box fuse.fuse-overlayfs rw 0 0
mountpoint-s3 /buckets fuse.mount-s3 ro 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind", "refused"),
    [
        ("/var/lib", "ext4", False),
        ("/srv/nfs", "nfs4", True),
        ("/srv/nfs/a/b", "nfs4", True),
        ("/srv/nfsx", "ext4", False),
        ("/srv/nfs/local/a", "tmpfs", False),
        ("/mnt/with space/a", "cifs", True),
        ("/home/me/far", "fuse.sshfs", True),
        ("/home/me/box/a", "fuse.fuse-overlayfs", False),
        ("/buckets/a", "fuse.mount-s3", True),
    ],
)
def test_network_file_systems_are_refused(path: str, kind: str, refused: bool) -> None:
    assert filesystem_of(Path(path), MOUNTS) == kind
    if refused:
        with pytest.raises(ConfigError) as caught:
            refuse_network(Path(path), MOUNTS)
        assert "local disk" in (caught.value.hint or "")
    else:
        refuse_network(Path(path), MOUNTS)


READ_ONLY = """
import sys
from pathlib import Path
from manifestd.store import open_store
with open_store(Path(sys.argv[1])) as store:
    print(len(store.snapshots.list()))
"""


@pytest.mark.skipif(not Path("/proc/mounts").exists(), reason="drops its rights as Linux does")
def test_a_store_in_a_directory_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    tmp_path.chmod(0o555)
    path = tmp_path / "s.db"
    if os.geteuid() == 0:
        # Root may write anywhere: see the store through a read-only bind of the directory.
        command = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path} && "
        command += 'exec "$@"'
        program = ["unshare", "--mount", "sh", "-c", command, "sh"]
        if subprocess.run([*program, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no right to mount here")
    else:
        program = []
    done = subprocess.run(
        [*program, sys.executable, "-c", READ_ONLY, str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    tmp_path.chmod(0o755)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_reader_imports_no_sqlite_utils(tmp_path: Path) -> None:
    small_store(tmp_path / "s.db")
    program = READ_ONLY + "assert 'sqlite_utils' not in sys.modules, 'slow start'\n"
    program += (
        "with open_store(Path(sys.argv[1]), write=True) as store: store.journal('k').clear()\n"
    )
    program += "assert 'sqlite_utils' not in sys.modules, 'slow start of a writer'\n"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "s.db")], check=True)
