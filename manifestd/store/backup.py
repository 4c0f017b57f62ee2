"""Copy a store while others may be writing to it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from manifestd.errors import (
    AccessDeniedError,
    MalformedError,
    ManifestdError,
    TamperedError,
    UsageError,
)
from manifestd.store.database import (
    OLDEST,
    VERSION,
    Database,
    Row,
    connect,
    header,
)
from manifestd.store.faults import translated

_ENTRIES: Final = "SELECT log.id, blob.digest FROM log JOIN blob ON blob.id = log.blob"
_SNAPSHOTS: Final = "SELECT digest FROM snapshot"


def backup_store(path: Path, target: Path) -> None:
    """Write a consistent, compact copy that appears whole or not at all.

    An earlier backup of that name is replaced; any other file is not, and no copy that
    holds something which this store lacks: it may be the only one left.

    Raises:
        NotStoredError: There is no store.
        UsageError: ``target`` is the store itself, in use, or not an earlier backup of it.
        TamperedError: The copy is not sound.
        AccessDeniedError: ``target`` cannot be written.
    """
    source = connect(path, write=False)
    try:
        _check_target(source, target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise AccessDeniedError(
                f"the backup cannot be written: {target}: {error.strerror}"
            ) from error
        try:
            source.run("PRAGMA query_only=OFF")
            source.run("VACUUM INTO ?", (str(temporary),))
            _check_copy(temporary)
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    finally:
        source.close()


def _check_target(source: Database, target: Path) -> None:
    if not target.exists():
        return
    if target.samefile(source.path):
        raise UsageError(f"the backup would replace the store itself: {target}")
    # A write-ahead log would be taken for the new file's own.
    if Path(f"{target}-wal").exists():
        raise UsageError(f"the backup's file is in use as a store: {target}")
    try:
        last, snapshots = _history(target)
    except ManifestdError as error:
        raise UsageError(
            f"{target} exists and is not a manifestd store", hint="choose another name"
        ) from error
    if last is not None:
        # The log only grows: an earlier copy's last entry is here, at the same place.
        earlier = source.one(f"{_ENTRIES} WHERE log.id = ?", last[:1]) == last
    else:
        earlier = snapshots <= set(source.all(_SNAPSHOTS))
    if not earlier:
        raise UsageError(
            f"{target} is no earlier backup of this store",
            why="it is of another store, or it holds what this one lacks",
            hint="choose another name",
        )


def _history(target: Path) -> tuple[Row | None, set[Row]]:
    """The last log entry of a store, of this version or an older one; its snapshots if it has none.

    Raises:
        ManifestdError: Not a store.
    """
    copy = _open_copy(target)
    try:
        ours, version = header(copy)
        if not ours or version > VERSION:
            raise MalformedError(f"not a manifestd store: {target}")
        last = copy.one(f"{_ENTRIES} ORDER BY log.id DESC LIMIT 1") if version >= OLDEST else None
        return last, set() if last is not None else set(copy.all(_SNAPSHOTS))
    finally:
        copy.close()


def _open_copy(path: Path) -> Database:
    try:
        connection = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return Database(connection, path)


def _check_copy(path: Path) -> None:
    database = _open_copy(path)
    try:
        if database.one("PRAGMA quick_check") != ("ok",) or not header(database)[0]:
            raise TamperedError("the backup is not sound; the store may be damaged",
                                hint="run `manifestd store check`")  # fmt: skip
    finally:
        database.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
