"""Which lines changed: a bounded shortest edit script, and hints when only spelling differs.

The algorithm is the greedy one of E. W. Myers, "An O(ND) Difference Algorithm"
(1986), stopped at a fixed number of edits, so that hostile texts cost no more
than ordinary ones.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from manifestd.model.change import Change

MAX_LINES: Final = 4000
"""Lines a side, after equal heads and tails are set aside, up to which an edit script is made."""
MAX_EDITS: Final = 600
_SHOWN_LINES: Final = 12
_SHOWN_CHARS: Final = 800

BYTE_ORDER_MARK: Final = "byte order mark"
LINE_ENDS: Final = "line ends"
FINAL_NEWLINE: Final = "final newline"
TRAILING_SPACE: Final = "trailing white space"
NORMALIZATION: Final = "Unicode normalization"


class Hunk(NamedTuple):
    """Lines ``left[a:b]`` became ``right[c:d]`` (0-based, half open)."""

    a: int
    b: int
    c: int
    d: int


def hunks(left: Sequence[str], right: Sequence[str]) -> list[Hunk] | None:
    """Shortest list of changed stretches, or None when there is too much to compare."""
    head = 0
    shortest = min(len(left), len(right))
    while head < shortest and left[head] == right[head]:
        head += 1
    tail = 0
    while tail < shortest - head and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    a = left[head : len(left) - tail]
    b = right[head : len(right) - tail]
    if not a and not b:
        return []
    if not a or not b:
        return [Hunk(head, head + len(a), head, head + len(b))]
    if max(len(a), len(b)) > MAX_LINES:
        return None
    pairs = _matches(a, b)
    return None if pairs is None else _between(pairs, len(a), len(b), head)


def _matches(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]] | None:
    """Indexes of equal lines along a shortest edit path."""
    furthest: dict[int, int] = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(MAX_EDITS, len(a) + len(b)) + 1):
        trace.append({})
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x += 1
                y += 1
            furthest[diagonal] = trace[-1][diagonal] = x
            if x >= len(a) and y >= len(b):
                return _walk_back(trace, len(a), len(b))
    return None


def _walk_back(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trace) - 1, 0, -1):
        before = trace[edits - 1]
        diagonal = x - y
        down = diagonal == -edits or (
            diagonal != edits and before.get(diagonal - 1, -1) < before.get(diagonal + 1, -1)
        )
        previous = diagonal + 1 if down else diagonal - 1
        from_x = before[previous]
        from_y = from_x - previous
        start = from_x if down else from_x + 1
        while x > start:
            x -= 1
            y -= 1
            pairs.append((x, y))
        x, y = from_x, from_y
    pairs.extend((step, step) for step in range(x - 1, -1, -1))
    pairs.reverse()
    return pairs


def _between(pairs: list[tuple[int, int]], rows: int, columns: int, shift: int) -> list[Hunk]:
    found: list[Hunk] = []
    x = y = 0
    for i, j in [*pairs, (rows, columns)]:
        if i > x or j > y:
            found.append(Hunk(shift + x, shift + i, shift + y, shift + j))
        x, y = i + 1, j + 1
    return found


def text_changes(left: str, right: str, *, prefix: str = "", first_line: int = 1) -> list[Change]:
    """Changed stretches of two texts as changes ``line 12``; one summary when there are too many.

    Args:
        left: Old text.
        right: New text.
        prefix: Put before ``line …`` (a JSON pointer and a space, for texts inside JSON).
        first_line: Number of the first line (texts that start inside a file).
    """
    old, new = left.split("\n"), right.split("\n")
    found = hunks(old, new)
    if found is None:
        return [_too_many(old, new, prefix, first_line)]
    return [_change(hunk, old, new, prefix, first_line) for hunk in found]


def _change(hunk: Hunk, old: list[str], new: list[str], prefix: str, first_line: int) -> Change:
    parts: dict[str, Any] = {}
    if hunk.b > hunk.a:
        parts["left"] = _shown(old[hunk.a : hunk.b])
    if hunk.d > hunk.c:
        parts["right"] = _shown(new[hunk.c : hunk.d])
    start, end = (hunk.a, hunk.b) if hunk.b > hunk.a else (hunk.c, hunk.d)
    start, end = start + first_line, end + first_line - 1
    at = f"line {start}" if end == start else f"lines {start}-{end}"
    what = None
    if len(parts) == 1:
        count = (hunk.b - hunk.a) + (hunk.d - hunk.c)
        verb = "removed" if "left" in parts else "added"
        what = f"{count} line{'s' * (count > 1)} {verb}"
    return Change(at=prefix + at, what=what, **parts)


def _shown(lines: list[str]) -> str:
    text = "\n".join(lines[:_SHOWN_LINES])
    if len(text) > _SHOWN_CHARS:
        text = text[:_SHOWN_CHARS] + "…"
    if len(lines) > _SHOWN_LINES:
        text += f"\n… ({len(lines) - _SHOWN_LINES} more lines)"
    return text


def _too_many(old: list[str], new: list[str], prefix: str, first_line: int) -> Change:
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    after = Counter(new)
    kept = sum(min(count, after.get(line, 0)) for line, count in Counter(old).items())
    gone, came = len(old) - kept, len(new) - kept
    if not gone and not came:
        what = f"the same {len(old)} lines in another order"
    else:
        what = f"{gone} of {len(old)} lines gone, {came} of {len(new)} lines new"
    return Change(
        at=f"{prefix}line {first + first_line}",
        left=_shown(old[first : first + 1]),
        right=_shown(new[first : first + 1]),
        what=what + "; the first difference is shown",
    )


def spelling(left: str, right: str) -> str | None:
    """What alone tells two texts apart, when it is nothing one sees; else None.

    A hint for people, never a claim of equality: templates, vocabularies and
    code mean their bytes (specs 5.4, 5.5).
    """
    if left.removeprefix("\ufeff") == right.removeprefix("\ufeff"):
        return BYTE_ORDER_MARK
    old, new = _line_feeds(left), _line_feeds(right)
    if old == new:
        return LINE_ENDS
    if left.rstrip("\r\n") == right.rstrip("\r\n"):
        return FINAL_NEWLINE
    if [line.rstrip() for line in old.rstrip().split("\n")] == [
        line.rstrip() for line in new.rstrip().split("\n")
    ]:
        return TRAILING_SPACE
    if unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right):
        return NORMALIZATION
    return None


def describe_spelling(kind: str, left: str, right: str) -> str:
    """One sentence for a hint of :func:`spelling`."""
    if kind == LINE_ENDS:
        return f"only the line ends differ: {_ends(left)} left, {_ends(right)} right"
    if kind == FINAL_NEWLINE:
        return f"only the final newline differs: {_final(left)} left, {_final(right)} right"
    return f"only {kind} differs"


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _ends(text: str) -> str:
    crlf = text.count("\r\n")
    names = [
        name
        for name, count in (
            ("CRLF", crlf),
            ("LF", text.count("\n") - crlf),
            ("CR", text.count("\r") - crlf),
        )
        if count
    ]
    return " and ".join(names) or "none"


def _final(text: str) -> str:
    count = len(_line_feeds(text)) - len(_line_feeds(text).rstrip("\n"))
    return {0: "none", 1: "one"}.get(count, str(count))
