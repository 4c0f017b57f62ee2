"""Writes ``manifestd/store/fresh.sql``: the schema that all migrations together make.

``python -m tests.support.fresh_schema`` after a migration was added; a test compares.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import manifestd.store
from manifestd.store.database import Database
from manifestd.store.schema import migrations, tables_of

TARGET = Path(manifestd.store.__file__).parent / "fresh.sql"


def by_migrations() -> str:
    """The statements that make an empty file what the migrations make of it."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "made.db", isolation_level=None)
        migrations.apply(tables_of(Database(connection, Path("made.db"))))
        made = [sql for (sql,) in connection.execute(_OBJECTS)]
        done = [name for (name,) in connection.execute("SELECT name FROM _sqlite_migrations")]
        connection.close()
    made += [
        f"INSERT INTO _sqlite_migrations(migration_set, name, applied_at)\n"
        f"    VALUES ('manifestd', '{name}', CURRENT_TIMESTAMP)"
        for name in done
    ]
    return ";\n\n".join(made) + ";\n"


_OBJECTS = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"

if __name__ == "__main__":
    TARGET.write_text(by_migrations())
