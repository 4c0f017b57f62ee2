"""Observations of some files only: the same as all of them, and damage is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from manifestd import canonical
from manifestd.errors import TamperedError
from manifestd.model.entry import Observation
from manifestd.model.tree import Ref
from manifestd.model.tree_decode import pick_observations
from manifestd.store import open_store
from tests.workflows.stored import keep, listed_file

NAMES = ["a/\u00e9\n", 'a/"quoted"', "a/b", "a/b/c", "z\u2028", "\U0001f600/x"]


def test_some_files_are_what_all_files_say_they_are(tmp_path: Path) -> None:
    choice = random.Random(4)
    paths = [f"{choice.randrange(40)}/{number}" for number in range(3000)] + NAMES
    with open_store(tmp_path / "manifestd.db", write=True) as store:
        digest = keep(
            store,
            {
                path: listed_file(path, path.encode(), {"sha256": "stored"}, identity={"id": path})
                for path in paths
            },
        )
        record = store.snapshots.load(digest)
        every = {file.path: file for file in store.trees.files(record)}
        entries = list(store.trees.content(record.content))
        for count in (0, 1, 5, 300, len(entries)):
            some = sorted(choice.sample(entries, count))
            found = store.trees.observed(record, some)
            assert found == [every[path] for path, _, _ in some]
        for stranger in ("", "0", "a/bb", "~"):
            entry = (stranger, 1, None)
            with pytest.raises(TamperedError):
                store.trees.observed(record, sorted([*entries[:3], entry]))


def leaf(*lines: bytes) -> bytes:
    return b"\n".join((b'["manifestd.observation/v1","a/"]', *lines)) + b"\n"


REF = Ref("a/x", 2, b"")
X, Y = b'["x",{"role":"card"}]', b'["y",{}]'


def test_lines_that_are_asked_for_are_parsed_strictly() -> None:
    assert pick_observations(leaf(X, Y), REF, ["a/y"]) == [Observation()]
    assert pick_observations(leaf(X, Y), REF, ["a/x", "a/y"])[0].role == "card"


@pytest.mark.parametrize(
    "data",
    [
        leaf(X),
        leaf(X, Y, Y),
        leaf(Y, X),
        leaf(X, b'["y", {}]'),
        leaf(X, b'["y",{"unknown":1}]'),
        leaf(X, b'["yy",{}]'),
        leaf(X, Y).replace(b'"a/"', b'"b/"'),
        leaf(X, Y).replace(b"observation", b"content"),
        leaf(X, Y)[:-1],
        canonical.encode(["manifestd.observation/v1", "a/"]) + b"\n",
    ],
)
def test_a_leaf_that_is_not_the_one_described_is_refused(data: bytes) -> None:
    with pytest.raises(TamperedError):
        pick_observations(data, REF, ["a/y"])


def test_a_snapshot_whose_observations_lack_a_file_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path / "manifestd.db", write=True) as store:
        one = store.snapshots.load(keep(store, {"a": b"1", "b": b"2"}))
        other = store.snapshots.load(keep(store, {"a": b"1"}))
        mixed = msgspec.structs.replace(one, observation=other.observation)
        with pytest.raises(TamperedError):
            store.trees.observed(mixed, list(store.trees.content(mixed.content)))
