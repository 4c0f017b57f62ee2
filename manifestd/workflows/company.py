"""Snapshots that are taken at the same time: what they share, and whose turn it is to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from manifestd.model.entry import File, Measurement
from manifestd.sources.base import Shared
from manifestd.workflows.measuring import Task
from manifestd.workflows.plan import Finder

T = TypeVar("T")

_SOME: Final = 256
"""Items of a long list that are read from the store at once."""


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """What snapshots that are taken at the same time share.

    Attributes:
        shared: Sessions and connections; None: each makes its own.
        turn: Bounds the files that are read at once over all of them; None: each by its jobs.
        waiting: Called before a file is read, and some times a second while files are; what it
            raises ends it.
        thinking: Held while the store is used, and otherwise while no source is asked. Python
            runs one thread at a time anyway, and threads that take turns at every statement
            of SQLite spend half their time on that. It may be entered again by who holds it.
        durable: Each snapshot waits for the disk. Without, who made the company sees to it that
            the store lasts before anybody is told of them.
    """

    shared: Shared | None = None
    turn: AbstractContextManager[Any] | None = None
    waiting: Callable[[], None] | None = None
    thinking: AbstractContextManager[Any] = nullcontext()
    durable: bool = True

    def in_turn(self, work: Callable[[Task], Measurement]) -> Callable[[Task], Measurement]:
        """``work``, done when its turn has come."""
        turn = self.turn
        if turn is None:
            return work

        def waiting(task: Task) -> Measurement:
            with turn:
                if self.waiting is not None:
                    self.waiting()  # nothing is begun of which nobody takes the result
                return work(task)

        return waiting

    def thoughtful(self, items: Iterator[T]) -> Iterator[T]:
        """What comes from the store, some at a time, by who does not hold :attr:`thinking`."""
        while True:
            with self.thinking:
                some = list(islice(items, _SOME))
            if not some:
                return
            yield from some


ALONE: Final = Company()
"""Nothing is shared."""


class Recalled:
    """What a snapshot recorded of a path; its list is read when the first is asked for."""

    def __init__(self, beside: Callable[[], Finder]) -> None:
        self._beside = beside
        self._finder: Finder | None = None

    def find(self, path: str) -> File | None:
        """The file of this path; None also where a long listing has another order than its paths."""
        if self._finder is None:
            self._finder = self._beside()
        return self._finder.find(path)
