"""The pure tree: cuts as docs/format/store.md says, strict on the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import EmptySourceError, MalformedError, TamperedError
from manifestd.model.entry import Observation
from manifestd.model.tree import ContentBuilder, ObservationBuilder, Ref, common_folder
from manifestd.model.tree_decode import decode_content, decode_node, decode_observation
from tests.store.making import ODD_PATHS, Listed, listed, seen_of, sha


def built(entries: Sequence[Listed]) -> tuple[bytes, dict[bytes, tuple[str, bytes]]]:
    pieces: dict[bytes, tuple[str, bytes]] = {}

    def take(kind: str, digest: bytes, data: bytes) -> None:
        pieces[digest] = (kind, data)

    builder = ContentBuilder(take)
    for path, size, digest in entries:
        builder.add(path, size, digest)
    return builder.finish(), pieces


def jsonl(rows: Sequence[Any]) -> bytes:
    return b"".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows
    )


def by_the_book(entries: Sequence[Listed]) -> bytes:
    """The rules of the format, one by one, as slowly as they read."""
    leaves: list[list[Listed]] = []
    leaf: list[Listed] = []
    for entry in entries:
        if leaf:
            before = leaf[-1][0].encode()
            folder, other = before.rpartition(b"/")[0], entry[0].encode().rpartition(b"/")[0]
            if (len(leaf) >= 16 and (folder != other or crc32(before) & 0x3FF == 0)) or len(
                leaf
            ) == 4096:
                leaves.append(leaf)
                leaf = []
        leaf.append(entry)
    leaves.append(leaf)
    level = []
    for leaf in leaves:
        prefix = ""
        first, last = leaf[0][0], leaf[-1][0]
        for end, char in enumerate(first, 1):
            if char == "/" and last.startswith(first[:end]):
                prefix = first[:end]
        rows = [[path[len(prefix) :], size, digest] for path, size, digest in leaf]
        data = jsonl([["manifestd.content/v1", prefix], *rows])
        level.append((first, len(leaf), hashlib.sha256(data).digest()))
    number = 0
    while number == 0 or len(level) > 1:
        number += 1
        groups: list[list[tuple[str, int, bytes]]] = [[]]
        for child in level:
            groups[-1].append(child)
            full = len(groups[-1]) >= 8 and crc32(child[2]) & 0x7F == 0
            if full or len(groups[-1]) == 1024:
                groups.append([])
        level = []
        for group in filter(None, groups):
            rows_ = [[first, count, digest.hex()] for first, count, digest in group]
            data = jsonl([["manifestd.node/v1", number], *rows_])
            level.append(
                (group[0][0], sum(child[1] for child in group), hashlib.sha256(data).digest())
            )
    return level[0][2]


@pytest.mark.parametrize(
    "paths",
    [
        ["one"],
        [f"{number:05}" for number in range(16)],
        [f"{number:05}" for number in range(17)],
        [f"flat/{number:06}" for number in range(30_000)],
        [f"m{number // 30:05}/f{number:06}" for number in range(30_000)],
        [f"m{number // 5:05}/f{number:06}" for number in range(30_000)],
        [f"{number % 7}/{number % 3}/{number:06}" for number in range(20_000)],
        [f"d{number:06}/f" for number in range(9_000)],
    ],
    ids=["one", "sixteen", "seventeen", "flat", "thirty", "five", "mixed", "single"],
)
def test_the_builder_cuts_as_the_format_reads(paths: list[str]) -> None:
    entries = listed(set(paths))
    assert built(entries)[0] == by_the_book(entries)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
PATHS = st.one_of(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.sampled_from(ODD_PATHS))


@given(st.sets(PATHS, min_size=1, max_size=120))
@settings(deadline=None)
def test_any_paths_are_cut_as_the_format_reads(paths: set[str]) -> None:
    entries = listed(paths)
    assert built(entries)[0] == by_the_book(entries)


@pytest.mark.parametrize("flat", [True, False], ids=["no path ends a leaf", "hashes end a leaf"])
def test_a_leaf_has_at_most_4096_entries(flat: bool) -> None:
    paths = [f"{number:07}" for number in range(60_000)]
    if flat:
        paths = [path for path in paths if crc32(path.encode()) & 0x3FF][:20_000]
    entries = listed(paths)
    root, pieces = built(entries)
    assert root == by_the_book(entries)
    counts = [data.count(b"\n") - 1 for kind, data in pieces.values() if kind == "leaf"]
    assert max(counts) <= 4096
    assert flat == (max(counts) == 4096)


def test_a_known_tree_has_a_known_root() -> None:
    entries: list[Listed] = [("a/b", 3, sha("x")), ("a/c", 0, None)]
    root, pieces = built(entries)
    leaf = b'["manifestd.content/v1","a/"]\n["b",3,"%b"]\n["c",0,null]\n' % sha("x").encode()
    digest = hashlib.sha256(leaf).digest()
    node = b'["manifestd.node/v1",1]\n["a/b",2,"%b"]\n' % digest.hex().encode()
    assert {data for _, data in pieces.values()} == {leaf, node}
    assert root == hashlib.sha256(node).digest()


def test_a_change_touches_few_pieces() -> None:
    paths = [f"m{number // 30:05}/f{number:06}" for number in range(30_000)]
    entries = listed(paths)
    _, before = built(entries)
    _, after = built([*entries[:15_000], ("m00500/a-new-one", 1, sha("new")), *entries[15_000:]])
    assert len(after.keys() - before.keys()) <= 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("b", 1, None), ("a", 1, None)], "order"),
        ([("a", 1, None), ("a", 1, None)], "order"),
        ([("", 1, None)], "order"),
        ([("a\ud800", 1, None)], "Unicode"),
        ([("a" * 65_536, 1, None)], "longer"),
        ([("a", -1, None)], "size"),
        ([("a", 2**53, None)], "size"),
        ([("a", True, None)], "size"),
        ([("a", 1.5, None)], "size"),
        ([("a", 1, "A" * 64)], "sha256"),
        ([("a", 1, "a" * 63)], "sha256"),
        ([("a", 1, "a" * 63), ("b", 1, "a" * 65)], "sha256"),
        ([("a", 1, " " + "a" * 63)], "sha256"),
        ([("a", 1, "g" * 64)], "sha256"),
    ],
)
def test_what_has_no_canonical_form_is_refused(rows: list[Listed], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        built(rows)


def test_no_files_make_no_tree() -> None:
    with pytest.raises(EmptySourceError):
        built([])


def test_order_is_that_of_utf8_not_of_utf16() -> None:
    # U+FFFD sorts after the surrogates of U+1F600 in UTF-16, before it in UTF-8.
    built([("\ufffd", 1, None), ("\U0001f600", 1, None)])
    with pytest.raises(MalformedError):
        built([("\U0001f600", 1, None), ("\ufffd", 1, None)])


@pytest.mark.parametrize(
    "seen",
    [
        Observation(hints={"a": 1.5}),
        Observation(hints={"a": [{"b": 2**53}]}),
        Observation(hints={"é": 1}),
        Observation(identity={"é": "a"}),
        Observation(digests={"é": "a"}),
        Observation(identity={"a": "\ud800"}),
    ],
)
def test_observations_outside_the_canonical_subset_are_refused(seen: Observation) -> None:
    builder = ObservationBuilder(lambda *_: None)
    builder.add("a", seen)
    with pytest.raises(MalformedError):
        builder.finish()


def test_the_common_folder_ends_in_a_slash_or_is_empty() -> None:
    assert common_folder("a/b", "a/c") == "a/"
    assert common_folder("a/b/c/d", "a/b/x") == "a/b/"
    assert common_folder("a", "b") == ""
    assert common_folder("a//b", "a//c") == "a//"
    assert common_folder("a/", "a/b") == "a/"
    assert common_folder("/a", "/b") == "/"


GOOD: list[list[Any]] = [["b", 3, sha("x")], ["c/d", 0, None]]
LEAF = jsonl([["manifestd.content/v1", "a/"], *GOOD])
REF = Ref("a/b", 2, b"")


def test_a_leaf_comes_back_as_it_was() -> None:
    assert decode_content(LEAF, REF) == [("a/b", 3, sha("x")), ("a/c/d", 0, None)]


BAD_LEAVES = {
    "empty": b"",
    "header only": jsonl([["manifestd.content/v1", "a/"]]),
    "unfinished line": LEAF[:-1],
    "blank line": LEAF + b"\n",
    "white space": LEAF.replace(b",3,", b", 3,"),
    "escaped letter": LEAF.replace(b'"b"', b'"\\u0062"'),
    "order": jsonl([["manifestd.content/v1", "a/"], *GOOD[::-1]]),
    "twice": jsonl([["manifestd.content/v1", "a/"], GOOD[0], GOOD[0]]),
    "one more": jsonl([["manifestd.content/v1", "a/"], *GOOD, ["z", 0, None]]),
    "one less": jsonl([["manifestd.content/v1", "a/"], GOOD[0]]),
    "capital hex": LEAF.replace(sha("x").encode(), sha("x").upper().encode()),
    "short hex": LEAF.replace(sha("x").encode(), b"ab"),
    "float": LEAF.replace(b",3,", b",3.0,"),
    "negative": LEAF.replace(b",3,", b",-3,"),
    "huge": LEAF.replace(b",3,", b",9007199254740992,"),
    "other prefix": LEAF.replace(b'"a/"', b'"b/"'),
    "prefix without slash": LEAF.replace(b'"a/"', b'"a"'),
    "short prefix": jsonl([["manifestd.content/v1", ""], *[["a/" + r[0], *r[1:]] for r in GOOD]]),
    "a node": jsonl([["manifestd.node/v1", 1], ["a/b", 2, sha("x")]]),
    "not json": LEAF.replace(b"[", b"{"),
    "deep": LEAF.replace(b",3,", b"," + b"[" * 100_000 + b","),
    "not utf-8": LEAF.replace(b'"b"', b'"\xff"'),
    "surrogate": LEAF.replace(b'"b"', b'"\\ud800"'),
}


@pytest.mark.parametrize("data", BAD_LEAVES.values(), ids=BAD_LEAVES.keys())
def test_a_leaf_that_is_not_as_written_is_refused(data: bytes) -> None:
    with pytest.raises(TamperedError):
        decode_content(data, REF)


def test_a_leaf_of_a_newer_format_says_so() -> None:
    with pytest.raises(MalformedError, match="version"):
        decode_content(LEAF.replace(b"content/v1", b"content/v2"), REF)


def test_too_many_lines_are_refused_before_parsing() -> None:
    rows = [[f"{number:05}", 0, None] for number in range(4097)]
    data = jsonl([["manifestd.content/v1", ""], *rows])
    with pytest.raises(TamperedError):
        decode_content(data, Ref("00000", 4097, b""))


NODE = jsonl([["manifestd.node/v1", 2], ["a", 5, sha("x")], ["b", 6, sha("y")]])
BAD_NODES = {
    "empty": b"",
    "no child": jsonl([["manifestd.node/v1", 2]]),
    "order": jsonl([["manifestd.node/v1", 2], ["b", 5, sha("x")], ["a", 6, sha("y")]]),
    "empty name": jsonl([["manifestd.node/v1", 2], ["", 5, sha("x")], ["b", 6, sha("y")]]),
    "no entries": NODE.replace(b",5,", b",0,"),
    "sum": NODE.replace(b",5,", b",6,"),
    "first": NODE.replace(b'"a"', b'"aa"'),
    "level": NODE.replace(b'v1",2', b'v1",1'),
    "level zero": NODE.replace(b'v1",2', b'v1",0'),
    "level huge": NODE.replace(b'v1",2', b'v1",99'),
    "space": NODE.replace(b",5,", b", 5,"),
    "hex": NODE.replace(sha("x").encode(), b"zz"),
    "null": NODE.replace(b'"' + sha("x").encode() + b'"', b"null"),
    "a leaf": LEAF,
}


@pytest.mark.parametrize("data", BAD_NODES.values(), ids=BAD_NODES.keys())
def test_a_node_that_is_not_as_written_is_refused(data: bytes) -> None:
    with pytest.raises(TamperedError):
        decode_node(data, ref=Ref("a", 11, b""), level=2)


def test_a_node_comes_back_as_it_was() -> None:
    node = decode_node(NODE, ref=Ref("a", 11, b""), level=2)
    assert [(child.first, child.files, child.digest.hex()) for child in node.children] == [
        ("a", 5, sha("x")),
        ("b", 6, sha("y")),
    ]


def observed(paths: Sequence[str]) -> bytes:
    pieces: list[bytes] = []
    builder = ObservationBuilder(lambda _, __, data: pieces.append(data))
    for path in paths:
        builder.add(path, seen_of(path, sha(path)))
    builder.finish()
    return pieces[0]


def test_observations_come_back_as_they_were() -> None:
    paths = ["a/b", "a/c"]
    found = decode_observation(observed(paths), Ref("a/b", 2, b""))
    assert found == [(path, seen_of(path, sha(path))) for path in paths]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"role":"data"', b'"role":"nothing"'),
        (b'"role":"data"', b'"role":"other"'),
        (b'"role":"data"', b'"role":"data","unknown":1'),
        (b'"role":"data"', b'"role": "data"'),
        (b"null", b"1.5"),
        (b"null", b"9007199254740993"),
        (b'"parts"', '"pärts"'.encode()),
        (b'"measured"', b'"certain"'),
    ],
)
def test_observations_that_are_not_as_written_are_refused(old: bytes, new: bytes) -> None:
    data = observed(["a/b", "a/c"])
    assert old in data
    with pytest.raises(TamperedError):
        decode_observation(data.replace(old, new), Ref("a/b", 2, b""))
