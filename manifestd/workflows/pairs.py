"""The files of two snapshots side by side, reading no more of the store than the question needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from manifestd.errors import TamperedError
from manifestd.model.entry import Entry, File
from manifestd.model.snapshot import Snapshot
from manifestd.store import Store
from manifestd.workflows.listing import Listing

_BATCH: Final = 4096

L = TypeVar("L", File, Entry)
R = TypeVar("R", File, Entry)


class Pair(NamedTuple):
    """One path; at least one side has a file there."""

    path: str
    left: File | None
    right: File | None


def differing(store: Store, left: Snapshot, right: Snapshot) -> Iterator[Pair]:
    """Only paths whose content differs, in path order; for sides that know every sha256.

    Parts of the trees that both sides share are not read, and observations only of the
    paths that come out.

    Raises:
        TamperedError: The trees do not hold what the records say.
    """
    found = mine = theirs = 0
    rows = store.trees.diff(left.content, right.content)
    while batch := list(islice(rows, _BATCH)):
        lefts = store.trees.observed(left, [(path, *here) for path, here, _ in batch if here])
        rights = store.trees.observed(right, [(path, *there) for path, _, there in batch if there])
        mine, theirs, found = mine + len(lefts), theirs + len(rights), found + len(batch)
        next_left, next_right = iter(lefts).__next__, iter(rights).__next__
        for path, here, there in batch:
            yield Pair(path, next_left() if here else None, next_right() if there else None)
    same_content = left.manifest == right.manifest
    if same_content != (found == 0) or left.files - mine != right.files - theirs:
        raise TamperedError(
            "the file lists of the two snapshots do not hold what their records say",
            hint="run `manifestd store check`",
        )


def joined(left: Listing, right: Listing) -> Iterator[Pair]:
    """Every path of either side, in path order; reads both lists whole, a leaf at a time."""
    return (Pair(*found) for found in merged(left.files(), right.files()))


def merged(left: Iterable[L], right: Iterable[R]) -> Iterator[tuple[str, L | None, R | None]]:
    """Two lists in path order, told path by path; None for the side that lacks it."""
    mine, theirs = iter(left), iter(right)
    here, there = next(mine, None), next(theirs, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here.path.encode() < there.path.encode()):
            assert here is not None
            yield here.path, here, None
            here = next(mine, None)
        elif here is None or there.path.encode() < here.path.encode():
            yield there.path, None, there
            there = next(theirs, None)
        else:
            yield here.path, here, there
            here, there = next(mine, None), next(theirs, None)
