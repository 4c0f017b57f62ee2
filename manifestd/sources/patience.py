"""Asking again what failed in passing: how often, after how long, and what servers ask for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from manifestd.errors import ManifestdError, TransientError

T = TypeVar("T")

TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of HTTP after which the same request may succeed."""

LONGEST_WAIT: Final = 86_400.0
"""Seconds that a server may ask for; who asks for more gets this."""

_CONNECT_TRIES: Final = 3
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 8.0
_SECONDS: Final = re.compile(r"[0-9]{1,9}\Z")


class NoConnectionError(TransientError):
    """No connection came about at all: not worth as many tries as a busy server."""


class Patience:
    """Tries a request again, with growing pauses, inside a budget. Thread-safe.

    Args:
        budget: Seconds that one request may spend in all.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        budget: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._sleep = sleep
        self._clock = clock

    def retried(
        self, call: Callable[[], T], given_up: Callable[[TransientError, int], ManifestdError]
    ) -> T:
        """What ``call`` gives once it does not fail in passing.

        Args:
            call: One try.
            given_up: The error for the last failure, after so many tries.

        Raises:
            ManifestdError: What ``given_up`` makes, once the budget is used up or would be
                while waiting; or what ``call`` raises besides.
        """
        tries, slept, delay, started = 0, 0.0, _FIRST_DELAY, self._clock()
        while True:
            try:
                return call()
            except TransientError as error:
                tries += 1
                wait = max(delay, error.retry_after or 0.0)
                spent = max(slept, self._clock() - started)
                hopeless = isinstance(error, NoConnectionError) and tries >= _CONNECT_TRIES
                if hopeless or spent + wait > self._budget:
                    raise given_up(error, tries) from error
            self._sleep(wait)
            slept += wait
            delay = min(delay * 2, _LONGEST_DELAY)


def wait_of(retry_after: str, date: str) -> float | None:
    """Seconds that an answer's ``Retry-After`` asks for; None when it does not.

    A date counts from the answer's own ``Date``, so no clock of ours is involved.

    Example:
        >>> wait_of("7", ""), wait_of("soon", "")
        (7.0, None)
    """
    text = retry_after.strip()
    if _SECONDS.match(text):
        return min(float(text), LONGEST_WAIT)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(date)
        return min(max(0.0, (until - now).total_seconds()), LONGEST_WAIT)
    except (TypeError, ValueError):
        return None
