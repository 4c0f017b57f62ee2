"""Moved files are paired as a multiset: nothing is hidden, nothing counted twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.model.entry import File
from manifestd.rules.moves import find_moves
from tests.rules.trees import file_of


def files(**contents: str) -> list[File]:
    return [file_of(path.replace("__", "/"), data.encode()) for path, data in contents.items()]


def moved(left: list[File], right: list[File]) -> list[tuple[str, str]]:
    return [(old.path, new.path) for old, new in find_moves(left, right)[0]]


def test_a_renamed_file_is_one_pair() -> None:
    assert moved(files(old="x"), files(new="x")) == [("old", "new")]


def test_other_bytes_are_no_move() -> None:
    pairs, left, right = find_moves(files(old="x"), files(new="y"))
    assert (pairs, [f.path for f in left], [f.path for f in right]) == ([], ["old"], ["new"])


def test_two_copies_need_two_partners() -> None:
    pairs, left, right = find_moves(files(a="x", b="x"), files(c="x"))
    assert [(old.path, new.path) for old, new in pairs] == [("a", "c")]
    assert [f.path for f in left] == ["b"]
    assert right == []


def test_the_same_file_name_is_preferred_to_path_order() -> None:
    assert moved(files(a="x", sub__b="x"), files(other__b="x", z="x")) == [
        ("sub/b", "other/b"),
        ("a", "z"),
    ]


def test_empty_files_move_only_under_their_own_name() -> None:
    pairs, left, right = find_moves(files(a__init="", gone=""), files(b__init="", come=""))
    assert [(old.path, new.path) for old, new in pairs] == [("a/init", "b/init")]
    assert [f.path for f in left] == ["gone"]
    assert [f.path for f in right] == ["come"]


def test_files_without_sha256_never_move() -> None:
    left, right = (
        file_of("a", b"x", known={"md5": "stored"}),
        file_of("b", b"x", known={"md5": "stored"}),
    )
    assert moved([left], [right]) == []


@pytest.mark.parametrize("count", [20_000])
def test_a_renamed_folder_of_equal_files_is_paired_quickly(count: int) -> None:
    left = [file_of(f"old/{n}", b"same") for n in range(count)]
    right = [file_of(f"new/{n}", b"same") for n in range(count)]
    pairs = moved(left, right)
    assert len(pairs) == count
    assert all(old.partition("/")[2] == new.partition("/")[2] for old, new in pairs)


TREES = st.dictionaries(
    st.sampled_from([f"{folder}/{name}" for folder in "pqr" for name in "abc"]),
    st.sampled_from([b"", b"x", b"y"]),
    max_size=9,
)


@given(TREES, TREES)
def test_pairs_and_rests_are_the_whole_multiset(
    left: dict[str, bytes], right: dict[str, bytes]
) -> None:
    lefts = [file_of(path, data) for path, data in left.items()]
    rights = [file_of(path, data) for path, data in right.items()]
    pairs, left_rest, right_rest = find_moves(lefts, rights)
    assert sorted([p[0].path for p in pairs] + [f.path for f in left_rest]) == sorted(left)
    assert sorted([p[1].path for p in pairs] + [f.path for f in right_rest]) == sorted(right)
    assert all(old.sha256 == new.sha256 for old, new in pairs)
    here, there = Counter(left.values()), Counter(right.values())
    full = sum(min(here[data], there[data]) for data in (b"x", b"y"))
    assert sum(old.size > 0 for old, _ in pairs) == full


@given(TREES, TREES)
def test_swapping_the_sides_swaps_each_pair(
    left: dict[str, bytes], right: dict[str, bytes]
) -> None:
    lefts = [file_of(path, data) for path, data in left.items()]
    rights = [file_of(path, data) for path, data in right.items()]
    assert {(b, a) for a, b in moved(lefts, rights)} == set(moved(rights, lefts))
