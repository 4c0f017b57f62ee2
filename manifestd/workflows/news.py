"""What is new in a run and what is solved, against what a channel was told before.

A notice has a *place* (model, side, file or rule) and a *state* (verdict and the digest of
what is there). It is new when its place is, or when its state changed; it is solved when its
place is gone although it was looked at: an unreachable side solves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from manifestd.model.change import Diff, FileDiff, Result
from manifestd.model.notification import Notice
from manifestd.model.run import RESULTS, Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.run_telling import Item, items, model_line, run_errors


class Memo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps of a notice that was told.

    Attributes:
        notice: As it was told.
        state: What it was like then.
    """

    notice: Notice
    state: str


class News(NamedTuple):
    """What one channel has to be told.

    Attributes:
        new: Key -> what is new, worst first.
        solved: Key -> what is solved.
        gone: Keys to forget without a word: their side or model is no more compared.
    """

    new: dict[str, Memo]
    solved: dict[str, Notice]
    gone: list[str]


def news_of(
    run: RunView,
    told: Mapping[str, Memo],
    on: Collection[Result],
    selects: Collection[Mapping[str, Any]] = (),
) -> News:
    """What to tell a channel. Of a model of which there is nothing to tell, nothing is kept.

    Args:
        run: What was found.
        told: What the channel was told and was not solved.
        on: Results it wants to be told of.
        selects: The ``[[select]]`` entries there are now.
    """
    told_of: dict[str, list[str]] = {}
    for key, memo in told.items():
        told_of.setdefault(memo.notice.model, []).append(key)
    unasked = _of_run(run.head)
    new = _unheard(unasked, told, on)
    ended = dict(_ended_selects(run.head, selects, told, unasked))
    for model in run.models():
        here = dict(_memos(model))
        new |= _unheard(here, told, on)
        for key in told_of.get(model.name, ()):
            if key not in here and (dropped := _ended(told[key].notice, model)) is not None:
                ended[key] = dropped
    order = {result: place for place, result in enumerate(RESULTS)}
    return News(
        new=dict(sorted(new.items(), key=lambda item: order[item[1].notice.result])),
        solved={key: memo.notice for key, memo in told.items() if ended.get(key) is False},
        gone=[key for key in told if ended.get(key)],
    )


def _unheard(
    here: Mapping[str, Memo], told: Mapping[str, Memo], on: Collection[Result]
) -> dict[str, Memo]:
    """What the channel wants to hear and did not, or heard of another state."""
    return {
        key: memo
        for key, memo in here.items()
        if memo.notice.result in on and (key not in told or told[key].state != memo.state)
    }


def _of_run(head: Run) -> dict[str, Memo]:
    """Key and memo of each ``[[select]]`` that could not be asked."""
    return {
        _select_key(error.facts.get("select", error.what)): Memo(
            notice=Notice(
                model="", kind="run", side="", path=None, rule=item.rule, result=item.result,
                what=item.what, hint=item.hint,
            ),
            state=item.rule,
        )
        for error, item in zip(head.errors, run_errors(head), strict=True)
    }  # fmt: skip


def _ended_selects(
    head: Run,
    selects: Collection[Mapping[str, Any]],
    told: Mapping[str, Memo],
    unasked: Mapping[str, Memo],
) -> Iterator[tuple[str, bool]]:
    """As :func:`_ended`, of what was told of entries: key, and whether no word is to be said.

    An entry that is gone from the configuration will never answer; one that this run did not ask
    (``--offline``, ``--models``) is as it was.
    """
    asked, there = set(map(_select_key, head.asked)), set(map(_select_key, selects))
    for key, memo in told.items():
        if memo.notice.kind == "run" and key not in unasked and (key in asked or key not in there):
            yield key, key not in there


def _select_key(select: object) -> str:
    """The place of an entry is what it asks for: its number changes when others come or go."""
    return msgspec.json.encode(["", "run", select], order="deterministic").decode()


def _ended(notice: Notice, model: RunModel) -> bool | None:
    """False: it was solved; True: forget it without a word; None: nobody looked."""
    if _dropped(notice, model):
        return True
    return False if _looked_at(notice, model) else None


def _memos(model: RunModel) -> Iterator[tuple[str, Memo]]:
    """Key and memo of everything to tell of a model; the first of each place counts."""
    found: dict[str, Memo] = {}
    for item in items(model):
        if item.result != "pass":
            notice = _notice(model, item)
            found.setdefault(_key(notice), Memo(notice=notice, state=_state(item)))
    if not found:
        kind = "pass" if model.result == "pass" else "result"
        notice = Notice(
            model=model.name, kind=cast("Any", kind), side="", path=None,
            rule=model.verdict or model.result, result=model.result, what=model_line(model),
            hint=None,
        )  # fmt: skip
        found[_key(notice)] = Memo(notice=notice, state=model.result)
    yield from found.items()


def _notice(model: RunModel, item: Item) -> Notice:
    return Notice(
        model=model.name, kind=cast("Any", item.kind), side=item.side, path=item.path,
        rule=item.rule, result=item.result, what=item.what, hint=item.hint,
    )  # fmt: skip


def _key(notice: Notice) -> str:
    # A run names one side only where both have content that the policy objects to.
    side = "" if notice.kind == "policy" else notice.side
    place: list[str | None] = [notice.model, notice.kind, side, notice.path]
    if notice.kind in {"demand", "policy", "problem"}:
        place.append(notice.rule)
    return msgspec.json.encode(place).decode()


def _state(item: Item) -> str:
    """What makes it another finding: the verdict and what the compared side holds.

    Not what the reference holds: a mirror that lags behind stays one finding while the
    reference moves on. Not the words: they may hold an age, which changes with every run.
    """
    if item.file is None:
        return item.rule
    return f"{item.rule} {_digest(item.file)}"


def _digest(file: FileDiff) -> str:
    if file.right is None:
        return ""
    digests = file.right.digests
    algorithm = "sha256" if "sha256" in digests else min(digests, default="")
    return f"{algorithm}:{digests.get(algorithm, '')}"


def _dropped(notice: Notice, model: RunModel) -> bool:
    """Whether nobody will look at its place again, or nothing is to be said of its end."""
    if notice.side and notice.side not in model.sides:
        return True
    return notice.kind == "pass" or (notice.kind == "result" and model.result != "pass")


def _looked_at(notice: Notice, model: RunModel) -> bool:
    """Whether this run would have found it again."""
    if notice.kind in {"file", "demand"}:
        diffs = dict(zip(model.compared, model.diffs, strict=False))
        diff = diffs.get(notice.side)
        return diff is not None and (notice.kind == "demand" or _whole(diff))
    if notice.kind == "policy":
        return model.error is None and model.sides[notice.side].snapshot is not None
    if notice.kind in {"side", "problem"}:
        return model.sides[notice.side].snapshot is not None
    return model.error is None


def _whole(diff: Diff) -> bool:
    """Whether every file that is not identical is listed; runs keep some hundred of each diff."""
    counts = diff.counts
    wrong = (
        counts.different + counts.left_only + counts.right_only
        + counts.moved + counts.unverifiable + counts.equivalent
    )  # fmt: skip
    return sum(file.verdict != "identical" for file in diff.files) >= wrong
