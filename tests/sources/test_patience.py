"""Asking a server again: what it asks for is believed as far as it makes sense."""

from __future__ import annotations

import pytest

from manifestd.errors import ManifestdError, TransientError, UnreachableError
from manifestd.sources.patience import NoConnectionError, Patience, wait_of

NOON = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        ("999999999", 86_400.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("²", None),
        ("-1", None),
        ("9" * 400, None),
    ],
)
def test_a_wait_is_read_from_seconds_and_from_dates(asked: str, seconds: float | None) -> None:
    assert wait_of(asked, NOON) == seconds


def given_up(error: TransientError, tries: int) -> ManifestdError:
    return UnreachableError(f"{error.what}, after {tries}")


def test_pauses_grow_until_the_budget_would_not_hold_the_next() -> None:
    naps: list[float] = []

    def call() -> None:
        raise TransientError("it broke")

    with pytest.raises(UnreachableError, match="it broke, after 5"):
        Patience(10.0, naps.append, lambda: 0.0).retried(call, given_up)
    assert naps == [0.5, 1.0, 2.0, 4.0]


def test_a_server_that_is_not_there_gets_three_tries() -> None:
    naps: list[float] = []

    def call() -> None:
        raise NoConnectionError("nobody")

    with pytest.raises(UnreachableError, match="nobody, after 3"):
        Patience(1000.0, naps.append, lambda: 0.0).retried(call, given_up)
    assert len(naps) == 2
