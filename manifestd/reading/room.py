"""Room for bodies: how many bytes of kept files are in memory at once."""

from __future__ import annotations

import threading


class Room:
    """Bytes that several threads may hold together, from reading until somebody took the result.

    Args:
        limit: Bytes. Something larger is let in alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit: float = limit
        self._held = 0
        self._changed = threading.Condition()

    def enter(self, size: int) -> None:
        """Wait until there is room for so many bytes, and take it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._limit)
            self._held += size

    def leave(self, size: int) -> None:
        """Give room back; whoever took it and whoever gives it may be different threads."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody in who waits: nobody will give room back any more."""
        with self._changed:
            self._limit = float("inf")
            self._changed.notify_all()
