"""Faults on order: which answers of the loopback Hub go wrong, how, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Final

from manifestd.errors import UsageError

KINDS: Final[dict[str, str]] = {
    "status": "status:CODE[:SECONDS] answers CODE, with Retry-After when SECONDS are given",
    "cut": "cut:N closes the connection after N bytes of the body",
    "reset": "reset:N resets the connection after N bytes of the body",
    "stall": "stall:N sends N bytes of the body, then nothing more",
    "short": "short:N announces and sends N bytes fewer than there are",
    "long": "long:N announces and sends N bytes more than there are",
    "flip": "flip:N inverts a bit of the content's byte at offset N",
    "expired-link": "the store behind the Hub answers 403, as for a link that ran out",
    "ignore-range": "answers 200 with everything although a range was asked for",
    "wrong-range": "answers another range than the one asked for",
    "half-range": "answers only the first half of the range asked for",
    "wrong-total": "states another total length in Content-Range",
    "gzip": "sends the content gzip-encoded although identity was asked for",
    "other-commit": "states another commit in X-Repo-Commit",
    "no-commit": "leaves X-Repo-Commit out",
    "redirect": "redirect:URL answers 302 to URL",
    "next": "next:URL names URL as the next page of a listing",
    "last-page": "leaves the link to the next page out: a short listing",
    "garbage": "answers 200 with a web page",
}
"""Every kind of fault, with what it does."""


class Fault:
    """One fault on order.

    Attributes:
        kind: A key of :data:`KINDS`, or ``call``.
        argument: What stood after the kind's colon.
        action: For ``call``: what to do before answering.
    """

    def __init__(
        self,
        match: str,
        kind: str | Callable[[], object],
        times: int | None,
        after: int,
    ) -> None:
        self._match = re.compile(match)
        self._left = times
        self._pass = after
        self.action: Callable[[], object] | None = None
        if isinstance(kind, str):
            self.kind, _, self.argument = kind.partition(":")
            if self.kind not in KINDS:
                raise UsageError(f"no such fault: {kind!r}", hint="known are " + ", ".join(KINDS))
        else:
            self.kind, self.argument, self.action = "call", "", kind

    def number(self, default: int = 0) -> int:
        """The argument as a number."""
        return int(self.argument) if self.argument else default

    def strikes(self, target: str) -> bool:
        """Whether this request is hit; counts it."""
        if self._left == 0 or not self._match.search(target):
            return False
        if self._pass > 0:
            self._pass -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True


class Faults:
    """The faults on order, in order. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        match: str,
        kind: str | Callable[[], object],
        *,
        times: int | None = 1,
        after: int = 0,
    ) -> None:
        """Order a fault.

        Args:
            match: Regular expression, searched in ``METHOD origin /decoded/path?query``,
                where origin is ``hub`` or ``cdn``.
            kind: One of :data:`KINDS` with its argument, or a function that is called
                before the request is answered (to move a branch, for instance).
            times: How many requests it hits; None for all.
            after: How many matching requests it lets pass first.

        Raises:
            UsageError: An unknown kind.
        """
        fault = Fault(match, kind, times, after)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._faults.clear()

    def take(self, target: str) -> dict[str, Fault]:
        """The faults that hit this request, by kind; ``call`` actions are run here."""
        with self._lock:
            struck = [fault for fault in self._faults if fault.strikes(target)]
        for fault in struck:
            if fault.action is not None:
                fault.action()
        return {fault.kind: fault for fault in struck}
