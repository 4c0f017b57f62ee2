"""What a store's file may hold: our tables and indexes, letter by letter, and nothing else.

SQLite runs what a file's schema says: a view that never ends where a table should be would
hold up whoever only lists, and no signal ends it. So the schema is compared before a table is
asked (sqlite.org/security.html, "Untrusted SQLite Database Files").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from manifestd.display import printable
from manifestd.errors import TamperedError

Object = tuple[Any, Any, Any]
"""Type, name and SQL text of a row of ``sqlite_master``."""

OBJECTS = "SELECT type, name, sql FROM main.sqlite_master"
_TABLES = frozenset({"table", "index"})


def refuse_foreign(objects: Collection[Object], script: Collection[str] | None) -> None:
    """Refuse a schema with anything in it that is not ours.

    Args:
        objects: What :data:`OBJECTS` gives.
        script: The statements of our schema; None: of another version, whose tables differ.

    Raises:
        TamperedError: Something is a view or a trigger, or not as we make it.
    """
    ours = None if script is None else {statement.strip() for statement in script}
    for kind, name, sql in objects:
        known = kind in _TABLES and (
            ours is None or sql in ours or str(name).startswith("sqlite_")  # SQLite's own
        )
        if not known:
            shown = printable(f"{kind} {name}"[:200])
            raise TamperedError(
                f"the store has a foreign {shown}",
                why="SQLite would run what it says",
                hint="take a copy that no other program has changed",
            )
