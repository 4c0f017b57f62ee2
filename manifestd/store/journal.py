"""Results of an unfinished run, kept as they come, so that the next run continues."""

from __future__ import annotations

from manifestd.errors import TamperedError
from manifestd.store.database import Database


class Journal:
    """What one unfinished snapshot run has measured so far.

    It is working state, not evidence: whoever uses it checks the identity token.

    Args:
        database: Of the store.
        key: Place, revision and selection, so that only an equal run continues it.
    """

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key

    def load(self) -> dict[str, tuple[str, bytes]]:
        """Path -> (identity token, encoded measurement) of what was appended and not cleared.

        Raises:
            TamperedError: The table holds something else.
        """
        found: dict[str, tuple[str, bytes]] = {}
        for path, token, data in self._database.rows(
            "SELECT path, token, data FROM journal WHERE key = ? ORDER BY id", (self._key,)
        ):
            if not (isinstance(path, str) and isinstance(token, str) and isinstance(data, bytes)):
                raise TamperedError("the journal of an unfinished snapshot is damaged")
            found[path] = (token, data)
        return found

    def append(self, rows: list[tuple[str, str, bytes]]) -> None:
        """Keep (path, identity token, encoded measurement); a later one replaces an earlier.

        In the caller's transaction or an own short one, which does not wait for the disk.
        """
        with self._database.transaction(durable=False):
            self._database.many(
                "INSERT OR REPLACE INTO journal(key, path, token, data) VALUES (?, ?, ?, ?)",
                [(self._key, path, token, data) for path, token, data in rows],
            )

    def clear(self) -> None:
        """Forget everything of this run."""
        with self._database.transaction(durable=False):
            self._database.run("DELETE FROM journal WHERE key = ?", (self._key,))
