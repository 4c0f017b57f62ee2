"""Snapshots of places where nothing changed: they name the file lists of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestd.errors import UndecidedError
from manifestd.model.reference import parse_directory
from manifestd.model.snapshot import Snapshot
from manifestd.store import Store
from manifestd.workflows import company
from manifestd.workflows.company import ALONE, Company
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import take_snapshot
from tests.support.trees import write_tree

FILES = {f"{name}/{number:02}.bin": b"%d" % number for name in "ab" for number in range(20)}
MANY = {f"{number:05}": b"" for number in range(10_001)}
"""More than lists that are held in memory have."""


class Lock:
    """A lock that counts how often it is taken, and knows whether it is."""

    def __init__(self) -> None:
        self.depth = self.taken = 0

    def __enter__(self) -> None:
        self.depth += 1
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


def take(store: Store, folder: Path, among: Company = ALONE) -> Snapshot:
    request = SnapshotRequest(reference=parse_directory(str(folder)))
    return take_snapshot(request, store=store, tool="test", company=among).record


def pieces(store: Store) -> int:
    row = store._database.one("SELECT count(*) FROM blob WHERE kind IN ('leaf', 'node')")
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("files", [FILES, MANY], ids=["few", "many"])
def test_an_unchanged_place_keeps_its_lists_and_a_changed_one_gets_true_ones(
    store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder, last = tmp_path / "m", max(files)
    write_tree(folder, files)
    take(store, folder)
    second = take(store, folder)  # of its files it says that they were reused
    there = pieces(store)
    third = take(store, folder)
    assert (third.content, third.observation) == (second.content, second.observation)
    assert third.manifest == second.manifest
    assert pieces(store) == there
    write_tree(folder, {last: b"other", "c": b"new"})
    changed = take(store, folder)
    assert [file.path for file in store.trees.files(changed)] == sorted([*files, "c"])
    (folder / "c").unlink()
    fewer = take(store, folder)
    assert [file.path for file in store.trees.files(fewer)] == sorted(files)
    write_tree(tmp_path / "other", files | {last: b"other"})
    assert fewer.manifest == take(store, tmp_path / "other").manifest != third.manifest


def test_what_is_reused_must_still_be_there_at_the_end(store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "m", FILES)
    before = take(store, tmp_path / "m")

    class Remover:
        """Removes the snapshot before while the next one is taken, as a prune may."""

        def __enter__(self) -> None:
            """The first is taken where what was before has been looked up."""

        def __exit__(self, *_: object) -> None:
            store._database.run("DELETE FROM snapshot")

    with pytest.raises(UndecidedError, match="was removed meanwhile") as caught:
        take(store, tmp_path / "m", Company(thinking=Remover()))
    assert caught.value.hint == "take the snapshot again"
    assert store.snapshots.list() == []
    assert take(store, tmp_path / "m").manifest == before.manifest


@pytest.mark.parametrize("files", [FILES, MANY], ids=["few", "many"])
def test_the_store_is_used_only_by_who_thinks(
    store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    lock, asked = Lock(), [0, 0]

    def trace(_: str) -> None:
        asked[lock.depth > 0] += 1

    store._database.connection.set_trace_callback(trace)
    write_tree(tmp_path / "m", files)
    among = Company(thinking=lock, durable=False)
    first, second = take(store, tmp_path / "m", among), take(store, tmp_path / "m", among)
    assert first.manifest == second.manifest
    assert asked[False] == 0
    assert asked[True] > 40


def test_a_long_list_is_read_some_at_a_time() -> None:
    lock, some = Lock(), company._SOME

    def items() -> Iterator[int]:
        for number in range(2 * some + 1):
            assert lock.depth == 1
            yield number

    found = Company(thinking=lock).thoughtful(items())
    assert next(found) == 0
    assert lock.depth == 0
    assert list(found) == list(range(1, 2 * some + 1))
    assert lock.taken == 4  # twice some, one, and none
