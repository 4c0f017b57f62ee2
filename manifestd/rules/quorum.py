"""Whether enough of the right people approved: pure, from what is known of each approval.

People count, never keys. A person stands for every group that their approvals speak for, but
fills one seat of a rule, unless the rule says ``distinct = false``; so ``2 of ml and 1 of
compliance`` takes three people. Seats are filled so that as few as possible stay empty,
whoever came first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from manifestd.model.approvals import SeatsState

Groups = Mapping[str, frozenset[str]]
"""Person -> the groups they speak for."""


class Seats(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` people of ``group``; None: of any."""

    count: int
    group: str | None = None

    def takes(self, groups: frozenset[str]) -> bool:
        """Whether somebody of these groups may sit here."""
        return self.group is None or self.group in groups


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """One rule about who must approve.

    Attributes:
        pattern: The tags it is about, for messages.
        seats: What must be filled, all of it.
        excluded: People who do not count here: the author, where that is asked.
        distinct: Each person fills one seat only.
    """

    pattern: str
    seats: tuple[Seats, ...]
    excluded: frozenset[str] = frozenset()
    distinct: bool = True


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One approval as it was found.

    Attributes:
        document: Digest of the signed statement.
        person: Who holds the key that signed.
        groups: Groups the key spoke for when the approval was logged.
        tag: The ``NAME:TAG`` it is for.
        manifest: The content it is for.
        policy: Digest of the policy that it was given under.
        expires: Last moment at which it counts.
        revoked: By whom it was taken back; None: it was not.
        flaw: What is wrong with its signature or its key; None: nothing.
    """

    document: str
    person: str
    groups: frozenset[str]
    tag: str
    manifest: str
    policy: str
    expires: datetime
    revoked: str | None = None
    flaw: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be approved: these bytes, for this tag, under this policy, now."""

    tag: str
    manifest: str
    policy: str
    now: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer.

    Attributes:
        holds: Every seat of every rule is filled.
        needs: Each rule's seats, in order.
        objections: Document -> why it does not count; documents that count are not in it.
    """

    holds: bool
    needs: list[SeatsState]
    objections: dict[str, str]


def judge_quorum(
    question: Question, demands: Sequence[Demand], votes: Sequence[Vote], people: Groups
) -> Outcome:
    """Whether the approvals suffice, and who is still needed.

    Args:
        question: What they must be about.
        demands: The rules, each of which must hold by itself.
        votes: All approvals there are.
        people: Who may approve now, to name who is missing.
    """
    objections: dict[str, str] = {}
    voters: dict[str, frozenset[str]] = {}
    for vote in votes:
        objection = objection_to(vote, question)
        if objection is None:
            voters[vote.person] = voters.get(vote.person, frozenset()) | vote.groups
        else:
            objections[vote.document] = objection
    needs = [need for demand in demands for need in _needs(demand, voters, people)]
    return Outcome(
        holds=not any(need.missing for need in needs), needs=needs, objections=objections
    )


def objection_to(vote: Vote, question: Question) -> str | None:
    """Why an approval does not count for this; None: it does."""
    if vote.flaw is not None:
        return vote.flaw
    if vote.tag != question.tag:
        return f"it is for the tag {vote.tag}"
    if vote.manifest != question.manifest:
        return f"it is for other bytes, {vote.manifest}"
    if vote.revoked is not None:
        return f"revoked by {vote.revoked}"
    if question.now > vote.expires:
        return f"it expired at {vote.expires:%Y-%m-%d %H:%M} UTC"
    if vote.policy != question.policy:
        return f"it was given under another policy, {vote.policy}"
    return None


def _needs(demand: Demand, voters: Groups, people: Groups) -> list[SeatsState]:
    counted = {name: groups for name, groups in voters.items() if name not in demand.excluded}
    seated = _seated(demand, counted)
    missing = _missing(demand, seated)
    waiting = {
        name: groups
        for name, groups in sorted(people.items())
        if name not in counted and name not in demand.excluded
    }
    helpful: list[list[str]] = [[] for _ in demand.seats]
    if any(missing):
        for name, groups in waiting.items():
            after = _missing(demand, _seated(demand, {**counted, name: groups}))
            helps = sum(after) < sum(missing)
            for number, seats in enumerate(demand.seats):
                if after[number] < missing[number] or (
                    helps and missing[number] and seats.takes(groups)
                ):
                    helpful[number].append(name)
    return [
        SeatsState(
            pattern=demand.pattern,
            count=seats.count,
            group=seats.group,
            have=sorted(seated[number]),
            missing=missing[number],
            candidates=helpful[number],
            excluded=sorted(
                name for name in demand.excluded & voters.keys() if seats.takes(voters[name])
            ),
        )
        for number, seats in enumerate(demand.seats)
    ]


def _missing(demand: Demand, seated: Sequence[set[str]]) -> list[int]:
    return [
        max(0, seats.count - len(found)) for seats, found in zip(demand.seats, seated, strict=True)
    ]


def _seated(demand: Demand, voters: Groups) -> list[set[str]]:
    """Who sits where: a largest matching, in which people are moved where that frees a seat."""
    fitting = [
        [name for name in sorted(voters) if seats.takes(voters[name])] for seats in demand.seats
    ]
    if not demand.distinct:
        return [set(names) for names in fitting]
    seated: list[set[str]] = [set() for _ in demand.seats]
    place: dict[str, int] = {}

    def fill(number: int, tried: set[str]) -> bool:
        for name in fitting[number]:
            if name in tried or place.get(name) == number:
                continue
            tried.add(name)
            held = place.get(name)
            if held is not None and not fill(held, tried):
                continue
            if held is not None:
                seated[held].discard(name)
            seated[number].add(name)
            place[name] = number
            return True
        return False

    for number, seats in enumerate(demand.seats):
        while len(seated[number]) < seats.count and fill(number, set()):
            pass
    return seated
