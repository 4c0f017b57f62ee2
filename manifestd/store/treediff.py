"""Where two content trees differ, reading only what they do not share.

Two cursors walk the trees in path order. Where both stand at the same first
path and digest, the whole piece is skipped unread. Leaves that remain are
compared as sets of lines, and only lines of one side are parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from manifestd.errors import TamperedError
from manifestd.model.tree import Ref
from manifestd.model.tree_decode import (
    content_entries,
    decode_node,
    node_children,
    split_content,
    split_node,
)

Value = tuple[int, str | None]
"""Size and sha256."""
Difference = tuple[str, Value | None, Value | None]
Fetch = Callable[[bytes], bytes]

_MANY: Final = 256
"""Leaves of unaligned stretches that may wait before what is settled is given out."""


def differences(fetch: Fetch, left: bytes, right: bytes) -> Iterator[Difference]:
    """Yield the paths whose entries differ, in path order.

    Memory is bounded by the nodes on the way and some hundred leaves, even when
    the two trees have nothing in common.

    Raises:
        TamperedError: A piece that had to be read is missing, damaged or out of order.
    """
    if left == right:
        return
    sides = (_Cursor(fetch, left), _Cursor(fetch, right))
    window = _Window()
    a, b = sides
    while a.waiting or b.waiting:
        head_a, head_b = a.head(), b.head()
        if head_a is not None and head_b is not None and head_a[1].first == head_b[1].first:
            if window.leaves:
                yield from window.settle(None)
            if head_a == head_b:
                a.skip()
                b.skip()
            elif head_a[0] == 0 == head_b[0]:
                window.take(0, *a.leaf())
                window.take(1, *b.leaf())
            elif head_a[0] == head_b[0]:
                _expand_both(a, b)
            else:
                (a if head_a[0] > head_b[0] else b).expand()
            continue
        number = 0 if head_b is None or (head_a is not None and _first(head_a, head_b)) else 1
        cursor = sides[number]
        if cursor.waiting[-1][0]:
            cursor.expand()
            continue
        window.take(number, *cursor.leaf())
        if window.leaves >= _MANY:
            yield from window.settle(_bound(a, b))
    yield from window.settle(None)


def _first(one: tuple[int, Ref], other: tuple[int, Ref]) -> bool:
    return one[1].first < other[1].first


def _bound(a: _Cursor, b: _Cursor) -> str | None:
    heads = [head[1].first for head in (a.head(), b.head()) if head is not None]
    return min(heads, default=None)


def _expand_both(a: _Cursor, b: _Cursor) -> None:
    """Open two nodes of one level and first path; children that both have are never parsed."""
    ours, theirs = a.lines(), b.lines()
    shared = set(ours).intersection(theirs)
    for cursor, lines in ((a, ours), (b, theirs)):
        cursor.push([line for line in lines if line not in shared])


class _Cursor:
    """The pieces of one tree that are still to be looked at, next one last; level 0 is a leaf."""

    def __init__(self, fetch: Fetch, root: bytes) -> None:
        self._fetch = fetch
        self._level = 0
        node = decode_node(fetch(root))
        self.waiting = [(node.level - 1, ref) for ref in reversed(node.children)]

    def head(self) -> tuple[int, Ref] | None:
        return self.waiting[-1] if self.waiting else None

    def skip(self) -> None:
        self.waiting.pop()

    def expand(self) -> None:
        level, ref = self.waiting.pop()
        node = decode_node(self._fetch(ref.digest), ref=ref, level=level)
        self.waiting.extend((level - 1, child) for child in reversed(node.children))

    def lines(self) -> list[bytes]:
        """The lines of the next piece, a node; what is put back of them comes by :meth:`push`."""
        self._level, ref = self.waiting.pop()
        return split_node(self._fetch(ref.digest), ref, self._level)

    def push(self, lines: list[bytes]) -> None:
        """Take lines of the node that :meth:`lines` opened as the next pieces."""
        children = node_children(lines)
        self.waiting.extend((self._level - 1, child) for child in reversed(children))

    def leaf(self) -> tuple[str, list[bytes]]:
        _, ref = self.waiting.pop()
        return split_content(self._fetch(ref.digest), ref)


class _Window:
    """Leaves of both sides between two places where the trees were seen to be aligned."""

    def __init__(self) -> None:
        self.leaves = 0
        self._lines: tuple[dict[str, list[bytes]], dict[str, list[bytes]]] = ({}, {})
        self._parsed: tuple[dict[str, Value], dict[str, Value]] = ({}, {})
        self._last = ""

    def take(self, side: int, prefix: str, lines: list[bytes]) -> None:
        """Add a leaf of side 0 or 1."""
        self.leaves += 1
        self._lines[side].setdefault(prefix, []).extend(lines)

    def settle(self, bound: str | None) -> Iterator[Difference]:
        """Compare what there is; give out what is below ``bound`` and keep the rest."""
        left, right = self._lines
        for prefix in left.keys() & right.keys():
            one, other = set(left[prefix]), set(right[prefix])
            left[prefix] = [line for line in left[prefix] if line not in other]
            right[prefix] = [line for line in right[prefix] if line not in one]
        for lines, parsed in zip(self._lines, self._parsed, strict=True):
            for prefix, rest in lines.items():
                if rest:
                    _parse(prefix, rest, parsed)
            lines.clear()
        self.leaves = 0
        one_side, other_side = self._parsed
        for path in sorted(one_side.keys() | other_side.keys()):
            if bound is not None and path >= bound:
                break
            if path <= self._last:
                raise TamperedError(f"a file list is not in path order at {path!r}")
            self._last = path
            a, b = one_side.pop(path, None), other_side.pop(path, None)
            if a != b:
                yield path, a, b


def _parse(prefix: str, lines: list[bytes], parsed: dict[str, Value]) -> None:
    for path, size, sha256 in content_entries(prefix, b"\n".join(lines) + b"\n", None):
        if path in parsed:
            raise TamperedError(f"a file list names {path!r} twice")
        parsed[path] = (size, sha256)
