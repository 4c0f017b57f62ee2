"""SQLite's errors, told as ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from manifestd.errors import (
    AccessDeniedError,
    MalformedError,
    StoreLockedError,
    TamperedError,
    UndecidedError,
    UnreadableError,
)

ERRORS: Final = (sqlite3.Error, UnicodeError)
"""What sqlite3 raises; the second for damaged names inside its own messages, and for surrogates."""


def translated(error: Exception, path: Path) -> Exception:
    """Our error for one of SQLite's; a misuse of the library comes back as it is."""
    if isinstance(error, UnicodeEncodeError):
        return MalformedError(f"text that is not Unicode cannot be stored: {error.object!r}")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return error
    name = getattr(error, "sqlite_errorname", "")
    facts = {"store": str(path), "sqlite": name or str(error)}
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLockedError(
            f"the store is being written by another process: {path}",
            hint="wait until it is done, then run the command again",
            facts=facts,
        )
    if name.startswith("SQLITE_FULL"):
        return UndecidedError(
            f"the store cannot grow, the disk is full: {path}",
            hint="make room and run the command again; nothing stored before was lost",
            facts=facts,
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return AccessDeniedError(f"the store cannot be written: {path}: {error}", facts=facts)
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return UnreadableError(f"the store cannot be read: {path}: {error}", facts=facts)
    if name.startswith("SQLITE_TOOBIG"):
        return MalformedError(f"too large for the store: {path}", facts=facts)
    if name.startswith("SQLITE_NOTADB"):
        return MalformedError(f"not a manifestd store: {path}", facts=facts)
    return TamperedError(
        f"the store is damaged: {path}: {error}",
        hint="run `manifestd store check`",
        facts=facts,
    )
