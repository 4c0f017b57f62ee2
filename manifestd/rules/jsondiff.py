"""Two parsed documents against each other: pointers (RFC 6901) with bounded old and new values.

Trees are dicts, lists, strings, integers, booleans, None and
:class:`~manifestd.rules.lexemes.Leaf`; types are never mixed up (``1`` is not
``1.0`` is not ``true``), object order is ignored, array order is kept (specs 5.1).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from msgspec import UNSET

from manifestd.model.change import Change
from manifestd.rules import linediff
from manifestd.rules.lexemes import Leaf, is_real, real

MAX_CHANGES: Final = 200
MAX_TEXT: Final = 200
_MAX_POINTER: Final = 300
_MAX_ITEMS: Final = 12
_EXACT: Final = 2**53 - 1


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal, types told apart."""
    stack = [(left, right)]
    while stack:
        a, b = stack.pop()
        kind = type(a)
        if kind is not type(b):
            return False
        if kind is dict:
            if a.keys() != b.keys():
                return False
            stack.extend((value, b[key]) for key, value in a.items())
        elif kind is list:
            if len(a) != len(b):
                return False
            stack.extend(zip(a, b, strict=True))
        elif a != b:
            return False
    return True


def diff(left: Any, right: Any, *, at: str = "") -> list[Change]:
    """Changes that turn ``left`` into ``right``, in the order of the left document.

    Returns at most ``MAX_CHANGES + 1``: one more than may be shown says that there are more.
    """
    found: list[Change] = []
    _walk(left, right, at, found)
    return found


def _walk(left: Any, right: Any, at: str, found: list[Change]) -> None:
    if len(found) > MAX_CHANGES:
        return
    if type(left) is dict and type(right) is dict:
        for key, value in left.items():
            if key not in right:
                found.append(Change(at=pointer(at, key), left=show(value)))
            else:
                _walk(value, right[key], pointer(at, key), found)
            if len(found) > MAX_CHANGES:
                return
        for key, value in right.items():
            if key not in left:
                found.append(Change(at=pointer(at, key), right=show(value)))
                if len(found) > MAX_CHANGES:
                    return
    elif type(left) is list and type(right) is list:
        if not same(left, right):
            _arrays(left, right, at, found)
    elif type(left) is not type(right) or left != right:
        found.extend(_values(left, right, at))


def _values(left: Any, right: Any, at: str) -> list[Change]:
    """A changed leaf; long texts line by line."""
    if type(left) is str and type(right) is str:
        hint = linediff.spelling(left, right)
        if hint is not None:
            what = linediff.describe_spelling(hint, left, right)
            return [Change(at=at, left=show(left), right=show(right), what=what)]
        if "\n" in left and "\n" in right:
            return linediff.text_changes(left, right, prefix=f"{at} ")
    return [Change(at=at, left=show(left), right=show(right), what=_kinds(left, right))]


def _kinds(left: Any, right: Any) -> str | None:
    """What happened to the type, when that is what happened."""
    if type(left) is type(right) and str in {type(show(left)), type(show(right))} and _counts(left):
        return "numbers, told as text so that no digit is lost"
    if type(left) is int and is_real(right):
        return "number type changed: integer to real"
    if is_real(left) and type(right) is int:
        return "number type changed: real to integer"
    if isinstance(left, Leaf) and isinstance(right, Leaf):
        return "same text, other type or quoting" if left.text == right.text else None
    if left is None or right is None or type(left) is type(right):
        return None
    return f"type changed: {_kind(left)} to {_kind(right)}"


def _counts(value: Any) -> bool:
    return type(value) is int or is_real(value)


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "number")


def _arrays(left: list[Any], right: list[Any], at: str, found: list[Change]) -> None:
    head = 0
    while head < min(len(left), len(right)) and same(left[head], right[head]):
        head += 1
    tail = 0
    limit = min(len(left), len(right)) - head
    while tail < limit and same(left[-1 - tail], right[-1 - tail]):
        tail += 1
    old, new = left[head : len(left) - tail], right[head : len(right) - tail]
    if not old:
        what = f"{_items(len(new))} added at index {head}"
        found.append(Change(at=at, right=show(new), what=what))
    elif not new:
        what = f"{_items(len(old))} removed at index {head}"
        found.append(Change(at=at, left=show(old), what=what))
    elif _same_items(old, new):
        what = f"the same {_items(len(left))} in another order, from index {head}"
        found.append(Change(at=at, left=show(left), right=show(right), what=what))
    elif len(old) == len(new) and (len(old) <= _MAX_ITEMS or _differing(old, new) <= _MAX_ITEMS):
        for index, (a, b) in enumerate(zip(old, new, strict=True), start=head):
            _walk(a, b, pointer(at, str(index)), found)
    else:
        what = f"{len(old)} of {_items(len(left))} replaced by {len(new)}, from index {head}"
        found.append(Change(at=at, left=show(old), right=show(new), what=what))


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _differing(left: list[Any], right: list[Any]) -> int:
    count = 0
    for a, b in zip(left, right, strict=True):
        count += not same(a, b)
        if count > _MAX_ITEMS:
            break
    return count


def _same_items(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right) or any(type(item) in {dict, list} for item in left + right):
        return False
    return Counter((type(v), v) for v in left) == Counter((type(v), v) for v in right)


def pointer(at: str, key: str) -> str:
    """``at`` extended by one reference token, escaped as RFC 6901 says, bounded in length."""
    if len(at) + len(key) > _MAX_POINTER:
        if at.endswith("…"):
            return at
        key = key[: max(0, _MAX_POINTER - len(at))] + "…"
    return f"{at}/{key.replace('~', '~0').replace('/', '~1')}"


def show(value: Any) -> Any:
    """A value as a diff may carry it: bounded, and without numbers that JSON tools would round.

    Integers beyond 2^53 and reals that are not exactly a double come as their text.
    """
    if isinstance(value, Leaf):
        return _number(value) if is_real(value) else cut(value.text)
    if type(value) is str:
        return cut(value)
    if type(value) is int:
        return value if -_EXACT <= value <= _EXACT else cut(str(value))
    if type(value) is dict:
        if len(value) <= _MAX_ITEMS and _small(value):
            return {cut(key): show(item) for key, item in value.items()}
        return f"object with {len(value)} keys: {', '.join(cut(k, 40) for k in [*value][:4])}, …"
    if type(value) is list:
        if len(value) <= _MAX_ITEMS and _small(value):
            return [show(item) for item in value]
        if any(type(item) in {dict, list} for item in value[:3]):
            return f"array with {_items(len(value))}"
        return [*[show(item) for item in value[:5]], f"… ({len(value) - 5} more)"]
    return value if value is None or type(value) is bool else UNSET


def _small(value: Any) -> bool:
    """Whether a container is flat enough to be shown whole."""
    room = 40
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        room -= 1
        if room < 0 or depth > 4:
            return False
        if type(item) is dict or type(item) is list:
            if len(item) > _MAX_ITEMS:
                return False
            children = item.values() if type(item) is dict else item
            stack.extend((child, depth + 1) for child in children)
    return True


def _number(leaf: Leaf) -> Any:
    value = float(leaf.text)
    if value in {float("inf"), float("-inf")}:
        return leaf.text
    return value if real(repr(value)) == leaf else leaf.text


def cut(text: str, length: int = MAX_TEXT) -> str:
    """``text``, or its beginning with its length when it is longer."""
    if len(text) <= length:
        return text
    return f"{text[:length]}… ({len(text)} characters)"
