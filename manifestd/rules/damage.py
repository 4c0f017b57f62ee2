"""Where two files of one path differ, from the digests of their chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from manifestd.model.change import Change
from manifestd.model.entry import Chunks

MAX_RANGES: Final = 100
"""Ranges named in a diff; the rest are counted."""


def common_layout(left: Sequence[Chunks], right: Sequence[Chunks]) -> tuple[Chunks, Chunks] | None:
    """The finest layout that both sides have: same algorithm, same chunk size."""
    pairs = [
        (mine, theirs)
        for mine in left
        for theirs in right
        if mine.algorithm == theirs.algorithm and mine.size == theirs.size > 0
    ]
    return min(pairs, key=lambda pair: pair[0].size, default=None)


def damaged_ranges(
    left: Chunks, right: Chunks, left_size: int, right_size: int
) -> tuple[list[Change], int]:
    """Byte ranges whose chunks differ, neighbours joined, and how many more there are.

    Ranges are inclusive, as in HTTP (``bytes 0-67108863``), and cut to chunks: the damage
    lies somewhere within each. Both sides must have the same algorithm and chunk size.
    """
    longest = max(left_size, right_size)
    changes: list[Change] = []
    more = 0
    for first, last in _runs(left.digests, right.digests):
        if len(changes) == MAX_RANGES:
            more += 1
            continue
        begin, end = first * left.size, min((last + 1) * left.size, longest)
        if begin >= longest:
            break
        changes.append(
            Change(at=f"bytes {begin}-{end - 1}", what=_what(begin, end, left_size, right_size))
        )
    return changes, more


def _what(begin: int, end: int, left_size: int, right_size: int) -> str:
    if begin >= left_size:
        return f"{end - begin} bytes are only on the right"
    if begin >= right_size:
        return f"{end - begin} bytes are only on the left"
    return f"the difference lies within these {end - begin} bytes"


def _runs(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and last index of each run of unequal chunks."""
    shorter = min(len(left), len(right))
    start: int | None = None
    for index in range(shorter):
        if left[index] != right[index]:
            if start is None:
                start = index
        elif start is not None:
            yield start, index - 1
            start = None
    if start is not None:
        yield start, shorter - 1
    if len(left) != len(right):
        yield shorter, max(len(left), len(right)) - 1
