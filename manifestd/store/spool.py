"""A listing put into path order without holding it in memory.

Sources list in any order; a million entries would be a gigabyte of objects.
Short listings stay in memory. A longer one goes to a private SQLite database,
which lives in the temporary directory only as far as it does not fit its cache,
and is gone when closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from manifestd.errors import MalformedError, UnreachableError
from manifestd.model.entry import Entry
from manifestd.store.faults import ERRORS, translated

_IN_MEMORY: Final = 32_768
"""Entries (about 1 KB each) up to which no database is used."""
_BATCH: Final = 2000
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class Spool:
    """Entries by path. Not to be shared between threads; add all before iterating."""

    def __init__(self) -> None:
        self._count = 0
        self._batch: dict[str, Entry] = {}
        self._sorted: list[Entry] | None = None
        self._connection: sqlite3.Connection | None = None

    def add(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            UnreachableError: Its path was added before (noticed now or some entries later).
            MalformedError: It is not Unicode text.
        """
        if entry.path in self._batch:
            raise _twice(entry.path)
        if not entry.path.isascii():
            _check_text(entry.path)
        self._batch[entry.path] = entry
        self._count += 1
        self._sorted = None
        if len(self._batch) >= (_IN_MEMORY if self._connection is None else _BATCH):
            self._flush()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """All entries in the order of the UTF-8 bytes of their paths."""
        if self._connection is None:
            if self._sorted is None:
                # Ordering text by code point is ordering it by its UTF-8 bytes.
                self._sorted = [entry for _, entry in sorted(self._batch.items(), key=_path)]
            yield from self._sorted
            return
        self._flush()
        for (data,) in self._run("SELECT data FROM entry ORDER BY path"):
            yield _decoder.decode(data)

    def get(self, path: str) -> Entry | None:
        """The entry of a path, or None."""
        entry = self._batch.get(path)
        if entry is not None or self._connection is None:
            return entry
        row = self._run("SELECT data FROM entry WHERE path = ?", (path,)).fetchone()
        return None if row is None else _decoder.decode(row[0])

    def close(self) -> None:
        """Give the memory and disk back. May be called twice."""
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _flush(self) -> None:
        rows = [
            (path, _encoder.encode(entry)) for path, entry in sorted(self._batch.items(), key=_path)
        ]
        if not rows:
            return
        self._batch = {}
        connection = self._database()
        before = connection.total_changes
        self._run("BEGIN")
        try:
            connection.executemany("INSERT INTO entry VALUES (?, ?)", rows)
        except sqlite3.IntegrityError as error:
            raise _twice(rows[connection.total_changes - before][0]) from error
        except ERRORS as error:
            raise translated(error, Path("temporary listing")) from error
        self._run("COMMIT")

    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect("", isolation_level=None)
            self._run("PRAGMA journal_mode=OFF")
            self._run("PRAGMA synchronous=OFF")
            self._run("PRAGMA cache_size=-32768")
            self._run("CREATE TABLE entry(path TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID")
        return self._connection

    def _run(self, sql: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
        assert self._connection is not None
        try:
            return self._connection.execute(sql, values)
        except ERRORS as error:
            raise translated(error, Path("temporary listing")) from error


def _path(item: tuple[str, Entry]) -> str:
    return item[0]


def _check_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"a path is not valid Unicode: {path!r}") from error


def _twice(path: str) -> UnreachableError:
    return UnreachableError(
        f"the source lists a path twice: {path!r}",
        why="one of the two would hide the other, so it is no listing",
        hint="take the snapshot again",
    )
