"""File lists in a store: streamed, found by descent, compared without reading what is shared."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import MalformedError, TamperedError
from manifestd.model.tree import Ref
from manifestd.store import Store
from manifestd.store.blobs import raw_digest
from manifestd.store.treediff import differences
from tests.store.making import (
    ODD_PATHS,
    Listed,
    listed,
    record_of,
    seen_of,
    sha,
    write_trees,
)


def content_root(store: Store, entries: list[Listed]) -> str:
    writer = store.trees.content_writer()
    for entry in entries:
        writer.add(*entry)
    return writer.finish()


MANY = listed(f"m{number // 30:04}/f{number:05}" for number in range(9_000))


def test_a_list_comes_back_in_the_same_order(store: Store) -> None:
    assert list(store.trees.content(content_root(store, MANY))) == MANY


def test_odd_paths_are_kept_literally(store: Store) -> None:
    entries = listed(ODD_PATHS)
    record = record_of(entries, write_trees(store, entries))
    files = list(store.trees.files(record))
    assert [(file.path, file.size, file.sha256) for file in files] == entries
    for path in ODD_PATHS:
        found = store.trees.file(record, path)
        assert found is not None
        assert found.path == path
        assert found.seen == seen_of(path, sha(path))
    assert max(len(path.encode()) for path in ODD_PATHS) == 1024


def test_both_lists_are_joined(store: Store) -> None:
    record = record_of(MANY, write_trees(store, MANY))
    files = list(store.trees.files(record))
    assert [(file.path, file.size, file.sha256) for file in files] == MANY
    assert files[5000].seen == seen_of(MANY[5000][0], MANY[5000][2])
    assert dict(store.trees.observations(record.observation))[MANY[7][0]] == files[7].seen


def test_files_are_found_by_descent(store: Store) -> None:
    record = record_of(MANY, write_trees(store, MANY))
    wanted = [MANY[0][0], MANY[4567][0], MANY[-1][0], "", "a", "m0001/f", "zzz", "m0001/f00030x"]
    found = store.trees.some_files(record, wanted)
    assert sorted(found) == sorted([MANY[0][0], MANY[4567][0], MANY[-1][0]])
    assert found[MANY[4567][0]].sha256 == MANY[4567][2]
    assert store.trees.file(record, "m0001") is None


@pytest.mark.parametrize(
    "observed",
    [["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"], ["0", "b", "c"]],
    ids=["fewer", "another", "more", "another first"],
)
def test_lists_of_other_paths_are_refused(store: Store, observed: list[str]) -> None:
    entries = listed(["a", "b", "c"])
    record = record_of(entries, write_trees(store, entries, observed=observed))
    with pytest.raises(TamperedError, match="same files"):
        list(store.trees.files(record))
    with pytest.raises(TamperedError, match="same files"):
        store.trees.some_files(record, ["a", "b", "c"])


def test_an_observation_tree_is_no_content_tree(store: Store) -> None:
    content, observation = write_trees(store, listed(["a"]))
    with pytest.raises(TamperedError):
        list(store.trees.content(observation))
    with pytest.raises(TamperedError):
        list(store.trees.observations(content))


def test_writing_an_equal_list_stores_nothing(store: Store) -> None:
    first = content_root(store, MANY)
    size = store._database.one("SELECT count(*), max(id) FROM blob")
    assert content_root(store, MANY) == first
    assert store._database.one("SELECT count(*), max(id) FROM blob") == size


def test_a_writer_refuses_disorder(store: Store) -> None:
    writer = store.trees.content_writer()
    writer.add("b", 1, None)
    writer.add("a", 1, None)
    with pytest.raises(MalformedError, match="order"):
        writer.finish()


def expected(left: list[Listed], right: list[Listed]) -> list[tuple[str, object, object]]:
    a = {path: (size, digest) for path, size, digest in left}
    b = {path: (size, digest) for path, size, digest in right}
    paths = sorted(a.keys() | b.keys(), key=str.encode)
    return [(p, a.get(p), b.get(p)) for p in paths if a.get(p) != b.get(p)]


ENTRIES = st.dictionaries(
    st.builds("{}{}/{}".format, st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 40)),
    st.sampled_from(["x", "y", None]),
    min_size=1,
    max_size=400,
)


@given(ENTRIES, ENTRIES)
@settings(deadline=None, max_examples=60)
def test_a_diff_is_what_comparing_all_entries_gives(
    one: dict[str, str | None], other: dict[str, str | None]
) -> None:
    check_diff(as_listed(one), as_listed(other))


@given(ENTRIES, st.data())
@settings(deadline=None, max_examples=60)
def test_a_diff_of_a_changed_list_is_the_change(
    one: dict[str, str | None], data: st.DataObject
) -> None:
    other = dict(one)
    for path in data.draw(st.lists(st.sampled_from(sorted(one)), max_size=5)):
        other[path] = data.draw(st.sampled_from(["x", "z", None]))
    for path in data.draw(st.lists(st.sampled_from(sorted(one)), max_size=5)):
        if len(other) > 1:
            other.pop(path, None)
    for path in data.draw(st.lists(st.sampled_from(["", "a", "b5/", "zz"]), max_size=2)):
        other[path + "new"] = "n"
    check_diff(as_listed(one), as_listed(other))


def as_listed(entries: dict[str, str | None]) -> list[Listed]:
    return [
        (path, len(path), sha(value) if value else None)
        for path, value in sorted(entries.items(), key=lambda item: item[0].encode())
    ]


def check_diff(one: list[Listed], other: list[Listed]) -> None:
    from manifestd.model.tree import ContentBuilder

    pieces: dict[bytes, bytes] = {}
    roots = []
    for entries in (one, other):
        builder = ContentBuilder(lambda _, digest, data: pieces.update({digest: data}))
        for entry in entries:
            builder.add(*entry)
        roots.append(builder.finish())
    assert list(differences(pieces.__getitem__, *roots)) == expected(one, other)
    assert list(differences(pieces.__getitem__, roots[1], roots[0])) == expected(other, one)


def big(changes: dict[int, str | None], size: int = 60_000, per: int = 30) -> list[Listed]:
    entries: list[Listed] = []
    for number in range(size):
        path = f"m{number // per:05}/f{number:06}"
        if number not in changes:
            entries.append((path, number, sha(path)))
        elif changes[number] is not None:
            entries.append((path, number, sha(f"{path}{changes[number]}")))
    return entries


@pytest.mark.parametrize("per", [3, 30, 60_000])
def test_big_diffs_are_right_whatever_the_directories(store: Store, per: int) -> None:
    one = big({}, per=per)
    other = big({5: "x", 6: None, 31_000: None, 44_444: "y", 59_999: None}, per=per)
    other.insert(0, ("a new first", 1, None))
    roots = content_root(store, one), content_root(store, other)
    assert list(store.trees.diff(*roots)) == expected(one, other)


def test_trees_with_nothing_in_common_are_compared_in_order(store: Store) -> None:
    one = listed(f"a/{number:05}" for number in range(20_000))
    other = listed(f"b/{number:05}" for number in range(20_000))
    mixed = listed(f"a/{number:05}x" for number in range(20_000))
    roots = [content_root(store, entries) for entries in (one, other, mixed)]
    assert list(store.trees.diff(roots[0], roots[1])) == expected(one, other)
    assert list(store.trees.diff(roots[0], roots[2])) == expected(one, mixed)


def test_shared_pieces_are_never_read(store: Store) -> None:
    one, other = big({}), big({30_000: "x", 30_001: None})
    left, right = (raw_digest(content_root(store, entries)) for entries in (one, other))
    read: list[bytes] = []

    def fetch(raw: bytes) -> bytes:
        read.append(raw)
        return store.blobs.fetch(raw)

    assert len(list(differences(fetch, left, right))) == 2
    assert len(read) <= 10
    read.clear()
    assert list(differences(fetch, left, left)) == []
    assert not read


def test_a_diff_refuses_damaged_pieces(store: Store) -> None:
    one, other = big({}), big({30_000: "x"})
    left, right = (raw_digest(content_root(store, entries)) for entries in (one, other))

    def fetch(raw: bytes) -> bytes:
        return store.blobs.fetch(raw).replace(b'"f030', b'"f130')

    with pytest.raises(TamperedError):
        list(differences(fetch, left, right))


def test_leaves_out_of_order_are_refused(store: Store) -> None:
    leaves = []
    for path in ("a", "b"):
        data = b'["manifestd.content/v1",""]\n["%b",0,null]\n["c",0,null]\n' % path.encode()
        leaves.append((path, store.blobs.put(data, "leaf")))
    lines = b"".join(b'["%b",2,"%b"]\n' % (p.encode(), d[7:].encode()) for p, d in leaves)
    root = store.blobs.put(b'["manifestd.node/v1",1]\n' + lines, "node")
    with pytest.raises(TamperedError, match="order"):
        list(store.trees.content(root))
    other = content_root(store, listed(["x"]))
    with pytest.raises(TamperedError):
        list(store.trees.diff(root, other))


def test_a_missing_piece_is_tampering(store: Store) -> None:
    root = content_root(store, MANY)
    node = store.trees.root(root)
    ref: Ref = node.children[0]
    store._database.run("DELETE FROM blob WHERE digest = ?", (ref.digest,))
    with pytest.raises(TamperedError, match="lacks"):
        list(store.trees.content(root))


PROGRAM = """
    import resource, sys
    from pathlib import Path
    from manifestd.model.entry import Observation
    from manifestd.store import open_store
    DECLARED = {"sha256": "declared"}
    count = int(sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_store(Path(sys.argv[1]), write=True) as store:
        roots = []
        for salt in ("0", "1"):
            with store.transaction():
                content, seen = store.trees.content_writer(), store.trees.observation_writer()
                for number in range(count):
                    path = f"models/m{number // 30:06}/file-{number:08}.safetensors"
                    digest = f"{number:063x}" + (salt if number % 100 == 0 else "0")
                    content.add(path, number, digest)
                    seen.add(path, Observation(identity={"etag": digest}, evidence=DECLARED))
                roots.append(content.finish())
                seen.finish()
    with open_store(Path(sys.argv[1])) as store:
        assert sum(1 for _ in store.trees.content(roots[0])) == count
        assert sum(1 for _ in store.trees.diff(*roots)) == count // 100
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((after - before) // 1024)
"""


def grown(path: Path, count: int) -> int:
    """MiB that writing, reading and comparing so many entries takes."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(path), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_200_000_entries_take_bounded_memory(tmp_path: Path) -> None:
    assert grown(tmp_path / "s.db", 200_000) < 90


@pytest.mark.slow
def test_a_million_entries_take_no_more_memory(tmp_path: Path) -> None:
    assert grown(tmp_path / "s.db", 1_000_000) < 110
