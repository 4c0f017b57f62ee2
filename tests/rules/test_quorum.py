"""Quorums: people and not keys, seats and not names, and nothing that is about something else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.rules.quorum import (
    Demand,
    Outcome,
    Question,
    Seats,
    Vote,
    judge_quorum,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUESTION = Question(tag="m:prod", manifest="sha256:aa", policy="sha256:bb", now=NOW)
PEOPLE = {
    "alice": frozenset({"ml"}),
    "bob": frozenset({"ml"}),
    "carol": frozenset({"ml", "compliance"}),
    "dan": frozenset({"compliance"}),
}


def vote(person: str, *groups: str, **changed: Any) -> Vote:
    values = {
        "document": f"sha256:{person}{len(changed)}",
        "person": person,
        "groups": frozenset(groups) or PEOPLE.get(person, frozenset()),
        "tag": "m:prod",
        "manifest": "sha256:aa",
        "policy": "sha256:bb",
        "expires": NOW + timedelta(days=1),
    }
    return Vote(**{**values, **changed})


def demand(*seats: tuple[int, str | None], **more: Any) -> Demand:
    return Demand(
        pattern="*:prod", seats=tuple(Seats(count=n, group=group) for n, group in seats), **more
    )


def judge(votes: Iterable[Vote], *demands: Demand) -> Outcome:
    return judge_quorum(QUESTION, demands, list(votes), PEOPLE)


TWO_AND_ONE = demand((2, "ml"), (1, "compliance"))


def test_two_of_one_group_and_one_of_another_hold_together() -> None:
    outcome = judge([vote("alice"), vote("bob"), vote("dan")], TWO_AND_ONE)
    assert outcome.holds
    assert [need.have for need in outcome.needs] == [["alice", "bob"], ["dan"]]


def test_one_person_with_two_keys_counts_once() -> None:
    outcome = judge([vote("alice"), vote("alice", document="sha256:other")], demand((2, None)))
    assert not outcome.holds
    assert outcome.needs[0].have == ["alice"]
    assert outcome.needs[0].candidates == ["bob", "carol", "dan"]


def test_who_is_missing_is_named_by_group() -> None:
    outcome = judge([vote("alice")], TWO_AND_ONE)
    assert [(need.missing, need.candidates) for need in outcome.needs] == [
        (1, ["bob", "carol"]),
        (1, ["carol", "dan"]),
    ]


def test_somebody_in_two_groups_fills_one_seat_unless_the_rule_allows_both() -> None:
    votes = [vote("alice"), vote("carol")]
    assert not judge(votes, TWO_AND_ONE).holds
    assert judge(votes, demand((2, "ml"), (1, "compliance"), distinct=False)).holds


def test_people_are_moved_to_where_they_are_needed() -> None:
    # Carol could sit with either; whoever comes first, dan's seat is the one without her.
    for order in ([(2, "ml"), (1, "compliance")], [(1, "compliance"), (2, "ml")]):
        assert judge([vote("bob"), vote("carol"), vote("dan")], demand(*order)).holds
        assert judge([vote("bob"), vote("carol"), vote("alice")], demand(*order)).holds


def test_a_candidate_may_help_by_freeing_somebody_for_another_seat() -> None:
    outcome = judge([vote("alice"), vote("carol")], TWO_AND_ONE)
    missing = next(need for need in outcome.needs if need.missing)
    assert "bob" in missing.candidates
    assert judge([vote("alice"), vote("carol"), vote("bob")], TWO_AND_ONE).holds


def test_the_author_alone_never_fills_a_quorum() -> None:
    rule = demand((1, None), excluded=frozenset({"alice"}))
    outcome = judge([vote("alice")], rule)
    assert not outcome.holds
    assert outcome.needs[0].excluded == ["alice"]
    assert "alice" not in outcome.needs[0].candidates
    assert judge([vote("alice"), vote("bob")], rule).holds


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tag": "m:staging"}, "for the tag m:staging"),
        ({"manifest": "sha256:cc"}, "for other bytes"),
        ({"policy": "sha256:cc"}, "another policy"),
        ({"expires": NOW - timedelta(seconds=1)}, "expired at 2026-03-01"),
        ({"revoked": "bob (found a flaw)"}, "revoked by bob (found a flaw)"),
        ({"flaw": "the key is not trusted"}, "the key is not trusted"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_approval_that_is_not_about_this_does_not_count(
    changed: dict[str, Any], why: str
) -> None:
    off = vote("alice", **changed)
    outcome = judge([off, vote("bob")], demand((2, "ml")))
    assert not outcome.holds
    assert why in outcome.objections[off.document]
    assert outcome.needs[0].have == ["bob"]
    assert "alice" in outcome.needs[0].candidates


def test_the_last_moment_still_counts() -> None:
    assert judge([vote("alice", expires=NOW)], demand((1, None))).holds


def test_every_rule_must_hold_by_itself_and_no_rule_needs_nothing() -> None:
    assert judge([], *[]).holds
    assert not judge([vote("alice")], demand((1, "ml")), demand((1, "compliance"))).holds
    # Two rules are two questions: carol may answer both.
    assert judge([vote("carol")], demand((1, "ml")), demand((1, "compliance"))).holds


NAMES = st.sampled_from("abcdef")
GROUPS = st.frozensets(st.sampled_from(["x", "y", "z"]), max_size=3)
VOTERS = st.dictionaries(NAMES, GROUPS, max_size=5)
SEATS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["x", "y", "z", None])), min_size=1, max_size=3
)


def most_filled(voters: dict[str, frozenset[str]], seats: list[tuple[int, str | None]]) -> int:
    """Try every way of seating people."""
    best = 0
    for choice in product([None, *range(len(seats))], repeat=len(voters)):
        filled = [0] * len(seats)
        for groups, number in zip(voters.values(), choice, strict=True):
            if number is not None and (seats[number][1] is None or seats[number][1] in groups):
                filled[number] += 1
        best = max(best, sum(min(n, count) for n, (count, _) in zip(filled, seats, strict=True)))
    return best


@given(VOTERS, SEATS)
def test_as_few_seats_as_possible_stay_empty(
    voters: dict[str, frozenset[str]], seats: list[tuple[int, str | None]]
) -> None:
    votes = [vote(name, groups=groups) for name, groups in voters.items()]
    outcome = judge(votes, demand(*seats))
    seated = [name for need in outcome.needs for name in need.have]
    assert len(seated) == len(set(seated))
    for need in outcome.needs:
        assert len(need.have) + need.missing == need.count
        assert all(need.group is None or need.group in voters[name] for name in need.have)
    assert len(seated) == most_filled(voters, seats)
    assert outcome.holds == (len(seated) == sum(count for count, _ in seats))


@given(VOTERS, SEATS, st.booleans(), st.frozensets(NAMES, max_size=3))
def test_whoever_is_named_as_missing_helps_and_nobody_else_does(
    voters: dict[str, frozenset[str]],
    seats: list[tuple[int, str | None]],
    distinct: bool,
    excluded: frozenset[str],
) -> None:
    people = {name: frozenset({"x", "y"} if name in "ace" else {"z"}) for name in "abcdef"}
    rule = demand(*seats, distinct=distinct, excluded=excluded)
    votes = [vote(name, groups=groups) for name, groups in voters.items()]

    def missing(votes: list[Vote]) -> int:
        return sum(n.missing for n in judge_quorum(QUESTION, [rule], votes, people).needs)

    outcome = judge_quorum(QUESTION, [rule], votes, people)
    named = {name for need in outcome.needs for name in need.candidates}
    for name, groups in people.items():
        if name not in voters:
            helps = missing([*votes, vote(name, groups=groups)]) < missing(votes)
            assert helps == (name in named)


@given(VOTERS, SEATS, st.booleans())
def test_one_more_approval_never_closes_what_was_open(
    voters: dict[str, frozenset[str]], seats: list[tuple[int, str | None]], distinct: bool
) -> None:
    rule = demand(*seats, distinct=distinct)
    votes = [vote(name, groups=groups) for name, groups in voters.items()]
    for count in range(len(votes)):
        if judge(votes[:count], rule).holds:
            assert judge(votes[: count + 1], rule).holds
