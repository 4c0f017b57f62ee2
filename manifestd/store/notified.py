"""What each notification channel was told, so that it is told once, and once more when it is solved."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from manifestd.errors import TamperedError
from manifestd.store.database import Database


class Notified:
    """The memory of all channels. It is working state, not evidence.

    Args:
        database: Of the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, channel: str) -> dict[str, bytes]:
        """Key -> what was told of it, of everything that was told and is not solved.

        Raises:
            TamperedError: The table holds something else.
        """
        found: dict[str, bytes] = {}
        for key, data in self._database.rows(
            "SELECT key, data FROM notified WHERE channel = ?", (channel,)
        ):
            if not (isinstance(key, str) and isinstance(data, bytes)):
                raise TamperedError("the memory of notifications is damaged")
            found[key] = data
        return found

    def update(self, channel: str, told: Mapping[str, bytes], solved: Collection[str]) -> None:
        """Remember what was told just now, and forget what is solved.

        Raises:
            StoreLockedError: Another process writes.
        """
        with self._database.transaction():
            self._database.many(
                "INSERT OR REPLACE INTO notified(channel, key, data) VALUES (?, ?, ?)",
                [(channel, key, data) for key, data in told.items()],
            )
            self._database.many(
                "DELETE FROM notified WHERE channel = ? AND key = ?",
                [(channel, key) for key in solved],
            )
