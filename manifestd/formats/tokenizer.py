"""Tokenizers in their own terms: ids added, removed and re-numbered, merges, added tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from manifestd.model.change import Change
from manifestd.rules import jsondiff
from manifestd.rules.jsondiff import cut, show

_SHOWN: Final = 10
_SPACE: Final = " "


def explain(left: Any, right: Any) -> list[Change]:
    """Changes between two ``tokenizer.json`` trees; the parts that have no terms come as pointers."""
    if type(left) is not dict or type(right) is not dict:
        return jsondiff.diff(left, right)
    old, new = dict(left), dict(right)
    found: list[Change] = []
    model, other = left.get("model"), right.get("model")
    if type(model) is dict and type(other) is dict:
        old["model"], new["model"] = model, other = dict(model), dict(other)
        found += _model(model, other)
    added, others = _by_id(left.get("added_tokens")), _by_id(right.get("added_tokens"))
    if added is not None and others is not None:
        if [*added] != [*others] and added.keys() == others.keys():
            found.append(Change(at="/added_tokens", what="the same tokens in another order"))
        found += _added(added, others)
        del old["added_tokens"], new["added_tokens"]
    return found + jsondiff.diff(old, new)


def _model(left: dict[str, Any], right: dict[str, Any]) -> list[Change]:
    """Vocabulary and merges of a model; what was explained is taken out of both."""
    found: list[Change] = []
    old, new = ids_of(left.get("vocab")), ids_of(right.get("vocab"))
    if old is not None and new is not None:
        found += vocabulary("/model/vocab", old, new)
        if type(left["vocab"]) is type(right["vocab"]) is list:
            found += _scores(left["vocab"], right["vocab"])
        if found or type(left["vocab"]) is type(right["vocab"]):
            del left["vocab"], right["vocab"]
    before, after = left.get("merges"), right.get("merges")
    if type(before) is list and type(after) is list:
        a, b = _pairs(before), _pairs(after)
        if a is not None and b is not None:
            if a[1] != b[1]:
                words = {True: "as pairs", False: "as strings"}
                what = f"merges are written {words[a[1]]} left, {words[b[1]]} right"
                found.append(Change(at="/model/merges", what=what))
            found += merges("/model/merges", a[0], b[0])
            del left["merges"], right["merges"]
    return found


def ids_of(vocab: Any) -> dict[str, int] | None:
    """Token -> id of a vocabulary object or of a unigram list; None when it is neither."""
    if type(vocab) is dict:
        return vocab if all(type(value) is int for value in vocab.values()) else None
    if type(vocab) is list and all(
        type(item) is list and len(item) == 2 and type(item[0]) is str for item in vocab
    ):
        return numbered([item[0] for item in vocab])
    return None


def numbered(tokens: list[str]) -> dict[str, int] | None:
    """Token -> its index; None when one stands twice (then lines must be compared)."""
    found = {token: index for index, token in enumerate(tokens)}
    return found if len(found) == len(tokens) else None


def vocabulary(at: str, left: dict[str, int], right: dict[str, int]) -> list[Change]:
    """Tokens added, removed and re-numbered, one change for each kind, with the first ten shown."""
    if left == right:
        return []
    found: list[Change] = []
    gone = [(token, left[token]) for token in left if token not in right]
    came = [(token, right[token]) for token in right if token not in left]
    moved = [token for token, number in left.items() if right.get(token, number) != number]
    if came:
        what = f"{_tokens(len(came))} added, {_ids(came)}"
        found.append(Change(at=at, right=_some(came), what=what))
    if gone:
        what = f"{_tokens(len(gone))} removed, {_ids(gone)}"
        found.append(Change(at=at, left=_some(gone), what=what))
    if moved:
        shifts = {right[token] - left[token] for token in moved}
        by = f", each by {shifts.pop():+d}" if len(shifts) == 1 else ""
        old = [(token, left[token]) for token in moved]
        new = [(token, right[token]) for token, _ in old[:_SHOWN]]
        found.append(
            Change(
                at=at, left=_some(old), right=_some(new),
                what=f"{_tokens(len(moved))} re-numbered{by}",
            )
        )  # fmt: skip
    return found


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _ids(pairs: list[tuple[str, int]]) -> str:
    low, high = min(number for _, number in pairs), max(number for _, number in pairs)
    return f"id {show(low)}" if low == high else f"ids {show(low)} to {show(high)}"


def _some(pairs: list[tuple[str, int]]) -> dict[str, Any]:
    first = pairs if len(pairs) <= _SHOWN else sorted(pairs[:10_000], key=lambda p: p[1])[:_SHOWN]
    return {cut(token, 80): show(number) for token, number in first}


def _scores(left: list[Any], right: list[Any]) -> list[Change]:
    old, new = dict(map(tuple, left)), dict(map(tuple, right))
    other = [token for token in old if token in new and not jsondiff.same(old[token], new[token])]
    if not other:
        return []
    first = other[0]
    what = f"scores of {_tokens(len(other))} changed, the first is {cut(first, 80)!r}"
    return [Change(at="/model/vocab", left=show(old[first]), right=show(new[first]), what=what)]


def _pairs(items: list[Any]) -> tuple[list[str], bool] | None:
    """Merges in one spelling, and whether they were written as pairs; None when unsure."""
    if all(type(item) is str for item in items):
        return items, False
    pairs = []
    for item in items:
        if type(item) is not list or len(item) != 2:
            return None
        first, second = item
        if type(first) is not str or type(second) is not str:
            return None
        # A space inside a half could not be told from the one between the halves.
        if _SPACE in first or _SPACE in second:
            return None
        pairs.append(first + _SPACE + second)
    return pairs, True


def merges(at: str, left: list[str], right: list[str]) -> list[Change]:
    """Merges added, removed or re-ordered; their order is their rank."""
    if left == right:
        return []
    first = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
        min(len(left), len(right)),
    )
    old, new = Counter(left), Counter(right)
    gone, came = [*(old - new).elements()], [*(new - old).elements()]
    if not gone and not came:
        what = f"the same {len(left)} merges in another order, from number {first}"
        return [Change(at=at, left=cut(left[first], 80), right=cut(right[first], 80), what=what)]
    found = []
    if came:
        shown = [cut(item, 80) for item in came[:_SHOWN]]
        found.append(Change(at=at, right=shown, what=f"{_merges(len(came))} added"))
    if gone:
        shown = [cut(item, 80) for item in gone[:_SHOWN]]
        found.append(Change(at=at, left=shown, what=f"{_merges(len(gone))} removed"))
    if _kept(left, new) != _kept(right, old):
        found.append(Change(at=at, what="merges that both have stand in another order"))
    return found


def _merges(count: int) -> str:
    return "1 merge" if count == 1 else f"{count} merges"


def _kept(items: list[str], other: Counter[str]) -> list[str]:
    return [item for item in items if item in other]


def _by_id(tokens: Any) -> dict[int, dict[str, Any]] | None:
    if type(tokens) is not list:
        return None
    found = {}
    for token in tokens:
        if type(token) is not dict or type(token.get("id")) is not int:
            return None
        found[token["id"]] = token
    return found if len(found) == len(tokens) else None


def _added(left: dict[int, dict[str, Any]], right: dict[int, dict[str, Any]]) -> list[Change]:
    found = []
    for number, token in left.items():
        if number not in right:
            found.append(Change(at=f"/added_tokens/id {number}", left=show(token)))
            continue
        for change in jsondiff.diff(token, right[number], at=f"/added_tokens/id {number}"):
            if len(found) > jsondiff.MAX_CHANGES:
                return found
            found.append(change)
    for number, token in right.items():
        if number not in left:
            found.append(Change(at=f"/added_tokens/id {number}", right=show(token)))
    return found
