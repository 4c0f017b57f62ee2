"""One SQLite connection: opened safely, its errors translated, its transactions immediate.

Settings and their reasons are in docs/format/store.md, section 1. Only this
room of the house knows SQL.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from manifestd.errors import (
    AccessDeniedError,
    MalformedError,
    NotStoredError,
    StoreLockedError,
    TamperedError,
    UnreadableError,
)
from manifestd.store.faults import ERRORS, translated
from manifestd.store.filesystem import refuse_network, refuse_other
from manifestd.store.foreign import OBJECTS, refuse_foreign

APPLICATION_ID: Final = 0x6D_66_73_74
"""``mfst``, in the file's header: tells a manifestd store from other SQLite files."""
VERSION: Final = 5
"""The schema's version, kept as ``user_version``: the number of migrations."""
OLDEST: Final = 2
"""The oldest version that is read as it is: only whole tables came later."""
PAGE_SIZE: Final = 16_384
"""Leaves are about 3 KB; 16 KiB pages keep them off overflow pages (16 % smaller, 1.7x faster)."""

Row = tuple[Any, ...]
_SECONDS: Final = 10.0
_CACHE: Final = "PRAGMA cache_size=-32768"
_LONGEST: Final = 257 * 1024 * 1024
"""Bytes of one row: the largest blob and its name. A longer one is not even read."""
_TOUCH: Final = "SELECT count(*) FROM sqlite_master"


class Database:
    """A connection to one store, for one thread at a time.

    Args:
        connection: In autocommit mode (``isolation_level=None``).
        path: For messages.

    Attributes:
        inside: Whether a transaction is open.
        begun: How many transactions were; while one is open nobody else writes, so what was
            read or written under a number still holds under it.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.inside = False
        self.begun = 0

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back. May be called twice."""
        self.connection.close()

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        try:
            row: Row | None = self.connection.execute(sql, values).fetchone()
        except ERRORS as error:
            self.fail(error)
        return row

    def number(self, sql: str, values: Sequence[Any] = ()) -> int | None:
        """The row id that a query finds, or None.

        Raises:
            TamperedError: It finds something that is no row id.
        """
        row = self.one(sql, values)
        if row is None or isinstance(row[0], int):
            return None if row is None else row[0]
        raise TamperedError(f"the store is damaged: a row without id: {self.path}")

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query that is known to be small."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except ERRORS as error:
            self.fail(error)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows of a query one by one. Do not write to its tables meanwhile."""
        try:
            yield from self.connection.execute(sql, values)
        except ERRORS as error:
            self.fail(error)

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute one statement; return the number of rows it changed."""
        try:
            return self.connection.execute(sql, values).rowcount
        except ERRORS as error:
            self.fail(error)

    def insert(self, sql: str, values: Sequence[Any]) -> int | None:
        """Insert one row; return its id, or None when a conflict left the table as it was."""
        try:
            cursor = self.connection.execute(sql, values)
        except ERRORS as error:
            self.fail(error)
        return cursor.lastrowid if cursor.rowcount else None

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for each row. Call it inside a transaction."""
        try:
            self.connection.executemany(sql, rows)
        except ERRORS as error:
            self.fail(error)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Everything inside happens, or nothing. Within another transaction it is part of that.

        A deferred transaction that read cannot become a writer once another has
        written, whatever the timeout; so it is IMMEDIATE from the start.

        Args:
            durable: Wait for the disk at the end, so that a power cut cannot undo it.
                Without, it may be lost, but is never torn. Only the outermost counts. The log
                is written in order: one that waits takes those before it along.

        Raises:
            StoreLockedError: Another process has been writing for longer than the time-out.
        """
        if self.inside:
            yield
            return
        if durable:
            self.run("PRAGMA synchronous=FULL")
        try:
            with self._immediate():
                yield
        finally:
            if durable:
                self.run("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def _immediate(self) -> Iterator[None]:
        self.run("BEGIN IMMEDIATE")
        self.inside = True
        self.begun += 1
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.rollback()
            raise
        finally:
            self.inside = False

    def fail(self, error: Exception) -> NoReturn:
        """Raise what SQLite's error means for us.

        Raises:
            StoreLockedError: Another process writes.
            TamperedError: The file's structure or tables are damaged.
            UndecidedError, UnreadableError, AccessDeniedError: Disk full, disk errors, no permission.
        """
        raise translated(error, self.path) from error


def connect(
    path: Path, *, write: bool, seconds: float = _SECONDS, threads: bool = False
) -> Database:
    """Open the store's file and check that it is ours.

    Args:
        path: Of the file. When writing, it and its directory are created.
        write: Whether tables may be changed; the schema is brought up to date.
        seconds: How long to wait for another writer.
        threads: Several use the connection, one at a time: they see to that themselves.

    Raises:
        NotStoredError: No file (reading only).
        MalformedError: Not a manifestd store, or a newer one.
        ConfigError: On a network file system (writing only).
        AccessDeniedError, UnreadableError: The file system refuses.
    """
    if path.is_dir():
        raise MalformedError(f"the store is a directory, not a file: {path}")
    opened = _connect_writer if write else _connect_reader
    database = opened(path, seconds, threads=threads)
    try:
        if write:
            _prepare(database)
        else:
            _check_header(database, OLDEST)
            refuse_foreign(database.all(OBJECTS), _script())
            if header(database)[1] < VERSION:
                _stand_in(database)
    except BaseException:
        database.close()
        raise
    return database


def _connect_writer(path: Path, seconds: float, *, threads: bool) -> Database:
    refuse_network(path.absolute().parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AccessDeniedError(
            f"the store's directory cannot be made: {path.parent}: {error.strerror}"
        ) from error
    refuse_other(path)
    return _open(path, str(path), seconds, threads=threads)


def _connect_reader(path: Path, seconds: float, *, threads: bool) -> Database:
    try:
        empty = path.stat().st_size == 0
    except FileNotFoundError:
        empty = True
    except OSError as error:
        raise AccessDeniedError(f"the store cannot be read: {path}: {error.strerror}") from error
    if empty:
        raise NotStoredError(
            f"there is no store yet: {path}",
            hint="take a snapshot first: `manifestd snapshot dir PATH`",
        )
    uri = path.absolute().as_uri() + "?mode=ro"
    try:
        first = ("PRAGMA query_only=ON", _TOUCH)
        return _open(path, uri, seconds, threads=threads, first=first)
    except (UnreadableError, AccessDeniedError):
        # A directory that cannot be written has no place for the shared memory of the
        # write-ahead log. Nobody else can write there either, unless it is mounted twice.
        if _has_log(path):
            raise
        return _open(path, uri + "&immutable=1", seconds, threads=threads, first=(_TOUCH,))


def _has_log(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _open(
    path: Path, target: str, seconds: float, *, threads: bool, first: tuple[str, ...] = ()
) -> Database:
    try:
        connection = sqlite3.connect(
            target,
            timeout=seconds,
            isolation_level=None,
            uri=target.startswith("file:"),
            check_same_thread=not threads,
        )
    except ERRORS as error:
        raise translated(error, path) from error
    database = Database(connection, path)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    try:
        # Views and triggers of a store from elsewhere must not call functions.
        for statement in ("PRAGMA trusted_schema=OFF", "PRAGMA foreign_keys=ON", _CACHE, *first):
            database.run(statement)
    except BaseException:
        connection.close()
        raise
    return database


def _check_header(database: Database, oldest: int = VERSION) -> None:
    ours, version = header(database)
    if not ours:
        raise MalformedError(f"not a manifestd store: {database.path}")
    if version > VERSION:
        raise MalformedError(
            f"the store is of a newer manifestd: {database.path}",
            why=f"its version is {version}, this manifestd knows {VERSION}",
            hint="use a newer manifestd",
        )
    if version < oldest:
        raise MalformedError(
            f"the store is of an older manifestd: {database.path}",
            hint="run `manifestd store rebuild` once",
        )


def _stand_in(database: Database) -> None:
    """Let a reader see the tables an older store lacks as empty ones, in this connection only."""
    found = database.all("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    present = {name for (name,) in found}
    database.run("PRAGMA query_only=OFF")  # the file itself is opened for reading
    for statement in _script():
        begin, _, rest = statement.strip().partition('"')
        if begin == "CREATE TABLE " and rest.partition('"')[0] not in present:
            database.run(f'CREATE TEMP TABLE "{rest}')
    database.run("PRAGMA query_only=ON")


def _script() -> list[str]:
    """What makes the schema, statement by statement."""
    return Path(__file__).with_name("fresh.sql").read_text().split(";\n")


def header(database: Database) -> tuple[bool, int]:
    """Whether the file says that it is a store of ours, and its schema's version."""
    application = database.one("PRAGMA application_id")
    version = database.one("PRAGMA user_version")
    assert application is not None
    assert version is not None
    return application[0] == APPLICATION_ID, int(version[0])


def _prepare(database: Database) -> None:
    """Settings of a writer; create or migrate the schema when it is behind."""
    ours, version = header(database)
    if ours:
        refuse_foreign(database.all(OBJECTS), _script() if version >= OLDEST else None)
    if not ours and (version or database.one("SELECT 1 FROM sqlite_master LIMIT 1")):
        raise MalformedError(
            f"not a manifestd store: {database.path}", hint="choose another file with --store"
        )
    if not ours:
        database.run(f"PRAGMA page_size={PAGE_SIZE}")
    _use_log(database)
    database.run("PRAGMA synchronous=NORMAL")
    if not ours:
        _create(database)
    elif version < VERSION:
        from manifestd.store.schema import migrate

        migrate(database)
        refuse_foreign(database.all(OBJECTS), _script())
    _check_header(database)


def _create(database: Database) -> None:
    """Make the schema of a new store, unless another process was faster.

    The script is what all migrations together make (a test compares): running it
    costs a millisecond, importing sqlite_utils for the migrations a tenth of a second.
    The disk is not waited for: who loses an empty store makes another, and the first thing
    that is stored in it takes it along.
    """
    with database.transaction(durable=False):
        if header(database)[0]:
            return
        for statement in _script():
            database.run(statement)
        database.run(f"PRAGMA application_id={APPLICATION_ID}")
        database.run(f"PRAGMA user_version={VERSION}")


def _use_log(database: Database) -> None:
    """Switch to the write-ahead log; SQLite does not wait for others here, so we do."""
    until = time.monotonic() + _SECONDS
    while True:
        try:
            database.run("PRAGMA journal_mode=WAL")
        except StoreLockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
