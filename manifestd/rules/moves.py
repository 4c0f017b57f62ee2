"""Moved files: same bytes under another path, paired as a multiset.

Only files that one side lacks take part, so a deleted file is never hidden by
a twin that was there all along, and two copies need two partners.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from manifestd.model.digest import EMPTY_SHA256
from manifestd.model.entry import File


def find_moves(
    left_only: Collection[File], right_only: Collection[File]
) -> tuple[list[tuple[File, File]], list[File], list[File]]:
    """Pair files of equal sha256 and size; return the pairs and what stays on either side.

    Within one content the pairing is deterministic and does not depend on the sides: equal
    file names first, then path order. Empty files say nothing about where they came from,
    so they pair only under an equal file name. Each list is in path order (pairs by the
    right path).
    """
    lefts, rights = _by_content(left_only), _by_content(right_only)
    pairs: list[tuple[File, File]] = []
    for content in lefts.keys() & rights.keys():
        pairs += _pair(lefts[content], rights[content], any_name=content[0] != EMPTY_SHA256)
    gone = {left.path for left, _ in pairs}
    come = {right.path for _, right in pairs}
    return (
        sorted(pairs, key=lambda pair: pair[1].path.encode()),
        [file for file in _ordered(left_only) if file.path not in gone],
        [file for file in _ordered(right_only) if file.path not in come],
    )


def _ordered(files: Collection[File]) -> list[File]:
    return sorted(files, key=lambda file: file.path.encode())


def _by_content(files: Collection[File]) -> dict[tuple[str, int], list[File]]:
    found: dict[tuple[str, int], list[File]] = defaultdict(list)
    for file in _ordered(files):
        if file.sha256 is not None:
            found[file.sha256, file.size].append(file)
    return found


def _pair(lefts: list[File], rights: list[File], *, any_name: bool) -> list[tuple[File, File]]:
    waiting: dict[str, list[File]] = defaultdict(list)
    for right in reversed(rights):
        waiting[_name(right)].append(right)
    pairs: list[tuple[File, File]] = []
    rest: list[File] = []
    for left in lefts:
        named = waiting.get(_name(left))
        if named:
            pairs.append((left, named.pop()))
        else:
            rest.append(left)
    if any_name:
        taken = {right.path for _, right in pairs}
        free = [right for right in rights if right.path not in taken]
        pairs += zip(rest, free, strict=False)
    return pairs


def _name(file: File) -> str:
    return file.path.rpartition("/")[2]
