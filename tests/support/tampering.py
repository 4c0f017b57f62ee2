"""What somebody does to a store who can write its file."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def change(path: Path, *statements: str) -> None:
    """Run statements on a store; one that finds nothing to change fails the test."""
    connection = sqlite3.connect(path)
    for statement in statements:
        assert connection.execute(statement).rowcount != 0, statement
    connection.commit()
    connection.close()
