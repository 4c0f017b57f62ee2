"""Copy a store while others may be writing to it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from manifestd.errors import AccessDeniedError, ManifestdError, TamperedError, UsageError
from manifestd.store.database import VERSION, Database, connect, header
from manifestd.store.faults import translated


def backup_store(path: Path, target: Path) -> None:
    """Write a consistent, compact copy that appears whole or not at all.

    An earlier backup of that name is replaced; any other file is not.

    Raises:
        NotStoredError: There is no store.
        UsageError: ``target`` is the store itself, in use, or not a backup.
        TamperedError: The copy is not sound.
        AccessDeniedError: ``target`` cannot be written.
    """
    source = connect(path, write=False)
    try:
        _check_target(path, target)
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


def _check_target(path: Path, target: Path) -> None:
    if not target.exists():
        return
    if target.samefile(path):
        raise UsageError(f"the backup would replace the store itself: {target}")
    # A write-ahead log would be taken for the new file's own.
    if Path(f"{target}-wal").exists():
        raise UsageError(f"the backup's file is in use as a store: {target}")
    if not _is_earlier(target):
        raise UsageError(
            f"{target} exists and is not a manifestd store", hint="choose another name"
        )


def _is_earlier(target: Path) -> bool:
    """Whether a file is a store of this version or an older one: a backup from before an upgrade."""
    try:
        database = _open_copy(target)
    except ManifestdError:
        return False
    try:
        ours, version = header(database)
    except ManifestdError:
        return False
    finally:
        database.close()
    return ours and version <= VERSION


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
