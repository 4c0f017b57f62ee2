"""A listing put into path order without holding it in memory.

Sources list in any order; a million entries would be a gigabyte of objects.
The spool is a private SQLite database that lives in the temporary directory
only as far as it does not fit its cache, and is gone when closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from manifestd.errors import MalformedError
from manifestd.model.entry import Entry
from manifestd.store.database import ERRORS, translated

_BATCH: Final = 2000
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class Spool:
    """Entries by path. Not to be shared between threads; add all before iterating."""

    def __init__(self) -> None:
        self._count = 0
        self._batch: dict[str, bytes] = {}
        self._connection = sqlite3.connect("", isolation_level=None)
        self._run("PRAGMA journal_mode=OFF")
        self._run("PRAGMA synchronous=OFF")
        self._run("PRAGMA cache_size=-32768")
        self._run("CREATE TABLE entry(path TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID")

    def add(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            MalformedError: Its path was added before (noticed now or some entries later), or
                is not Unicode text.
        """
        if entry.path in self._batch:
            raise _twice(entry.path)
        try:
            self._batch[entry.path] = _encoder.encode(entry)
        except UnicodeEncodeError as error:
            raise MalformedError(f"a path is not valid Unicode: {entry.path!r}") from error
        self._count += 1
        if len(self._batch) >= _BATCH:
            self._flush()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """All entries in the order of the UTF-8 bytes of their paths."""
        self._flush()
        for (data,) in self._run("SELECT data FROM entry ORDER BY path"):
            yield _decoder.decode(data)

    def get(self, path: str) -> Entry | None:
        """The entry of a path, or None."""
        data = self._batch.get(path)
        if data is None:
            row = self._run("SELECT data FROM entry WHERE path = ?", (path,)).fetchone()
            if row is None:
                return None
            data = row[0]
        return _decoder.decode(data)

    def close(self) -> None:
        """Give the memory and disk back. May be called twice."""
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
        rows = sorted(self._batch.items())
        if not rows:
            return
        self._batch = {}
        before = self._connection.total_changes
        self._run("BEGIN")
        try:
            self._connection.executemany("INSERT INTO entry VALUES (?, ?)", rows)
        except sqlite3.IntegrityError as error:
            raise _twice(rows[self._connection.total_changes - before][0]) from error
        except ERRORS as error:
            raise translated(error, Path("temporary listing")) from error
        self._run("COMMIT")

    def _run(self, sql: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except ERRORS as error:
            raise translated(error, Path("temporary listing")) from error


def _twice(path: str) -> MalformedError:
    return MalformedError(f"the source lists a path twice: {path!r}")
