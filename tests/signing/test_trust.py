"""Trust: the right key, for the right thing, at the right time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manifestd.errors import UntrustedError
from manifestd.signing.trust import Trust, TrustedKey
from tests.signing.conftest import NOON, public


def test_a_key_counts_only_for_what_it_may(keys: Path) -> None:
    trust = Trust([TrustedKey(key=public(keys), person="alice", may=["snapshot"])])
    assert trust.allows(public(keys), "snapshot", NOON)
    assert not trust.allows(public(keys), "approve", NOON)
    with pytest.raises(UntrustedError) as caught:
        trust.require(public(keys), "approve", NOON)
    assert caught.value.why == "it may snapshot, not approve"
    assert caught.value.hint is not None
    assert '"approve" in `may`' in caught.value.hint
    assert "alice" in caught.value.what


def test_a_key_outside_the_trust_counts_for_nothing(keys: Path) -> None:
    trust = Trust([TrustedKey(key=public(keys), person="alice", may=["snapshot"])])
    assert not trust.allows(public(keys, "other"), "snapshot", NOON)
    with pytest.raises(UntrustedError, match="is not trusted"):
        trust.require(public(keys, "other"), "snapshot", NOON)


def test_a_key_counts_between_its_two_moments_both_included(keys: Path) -> None:
    key = public(keys)
    until = NOON + timedelta(days=1)
    trust = Trust([TrustedKey(key=key, person="alice", may=["snapshot"], from_=NOON, until=until)])
    moments = [NOON - timedelta(seconds=1), NOON, until, until + timedelta(seconds=1)]
    assert [trust.allows(key, "snapshot", at) for at in moments] == [False, True, True, False]
    with pytest.raises(UntrustedError) as caught:
        trust.require(key, "snapshot", datetime(2027, 1, 1, tzinfo=UTC))
    assert caught.value.why == "it counted until 2026-03-02, this is of 2027-01-01"
    assert "`from` and `until`" in (caught.value.hint or "")
    with pytest.raises(UntrustedError) as caught:
        trust.require(key, "snapshot", until + timedelta(hours=1))
    why = "it counted until 2026-03-02T12:00:00Z, this is of 2026-03-02T13:00:00Z"
    assert caught.value.why == why


def test_a_key_in_two_entries_counts_by_either(keys: Path) -> None:
    key = public(keys)
    trust = Trust(
        [
            TrustedKey(key=key, person="alice", may=["snapshot"]),
            TrustedKey(key=key, person="alice", may=["approve"], until=NOON),
        ]
    )
    assert trust.allows(key, "approve", NOON)
    assert trust.allows(key, "snapshot", NOON + timedelta(days=400))
    assert not trust.allows(key, "approve", NOON + timedelta(days=400))
    assert list(trust.public_keys()) == [key]
