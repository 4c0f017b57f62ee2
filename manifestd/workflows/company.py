"""Snapshots that are taken at the same time: what they share, and whose turn it is to read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import msgspec

from manifestd.model.entry import File, Measurement
from manifestd.sources.base import Shared
from manifestd.workflows.measuring import Task
from manifestd.workflows.plan import PathJoin


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """What snapshots that are taken at the same time share.

    Attributes:
        shared: Sessions and connections; None: each makes its own.
        turn: Bounds the files that are read at once over all of them; None: each by its jobs.
        waiting: Called some times a second while files are read; what it raises ends it.
        thinking: Held while no source is asked. Python runs one thread at a time anyway, and
            threads that take turns at every statement of SQLite spend half their time on that.
    """

    shared: Shared | None = None
    turn: AbstractContextManager[Any] | None = None
    waiting: Callable[[], None] | None = None
    thinking: AbstractContextManager[Any] = nullcontext()

    def in_turn(self, work: Callable[[Task], Measurement]) -> Callable[[Task], Measurement]:
        """``work``, done when its turn has come."""
        turn = self.turn
        if turn is None:
            return work

        def waiting(task: Task) -> Measurement:
            with turn:
                return work(task)

        return waiting


ALONE: Final = Company()
"""Nothing is shared."""


class Recalled:
    """What a snapshot recorded of a path, for listings that come in path order, which most do."""

    def __init__(self, beside: Callable[[], PathJoin]) -> None:
        self._beside = beside
        self._join: PathJoin | None = None
        self._last = b""

    def find(self, path: str) -> File | None:
        """The file of this path; None also when the listing has another order."""
        key = path.encode(errors="surrogatepass")
        if key <= self._last:
            return None
        self._last = key
        if self._join is None:
            self._join = self._beside()
        return self._join.find(path)
