"""Snapshots: added whole, listed as their records say, found by every form of reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifestd import canonical
from manifestd.errors import (
    AmbiguousError,
    MalformedError,
    NotCanonicalError,
    NotStoredError,
    TamperedError,
    UsageError,
)
from manifestd.store import Store, open_store
from tests.store.making import (
    add_snapshot,
    bundle_for,
    listed,
    record_of,
    sha,
    write_trees,
)

ONE = listed(["a", "b"])
TWO = listed(["a", "b", "c"])


def test_a_snapshot_is_kept_byte_for_byte(store: Store) -> None:
    record = record_of(ONE, write_trees(store, ONE))
    data = canonical.encode(record)
    digest = store.snapshots.add(data)
    assert digest == canonical.digest_of(record)
    assert store.snapshots.raw(digest) == data
    assert store.snapshots.load(digest) == record


def test_adding_twice_changes_nothing(store: Store) -> None:
    assert add_snapshot(store, ONE, signed=True) == add_snapshot(store, ONE, signed=True)
    assert len(store.snapshots.list()) == 1
    assert len(store.snapshots.bundles(store.snapshots.list()[0].digest)) == 1


def test_a_record_must_be_canonical(store: Store) -> None:
    data = canonical.encode(record_of(ONE, write_trees(store, ONE)))
    with pytest.raises(NotCanonicalError):
        store.snapshots.add(data.replace(b":", b": ", 1))
    with pytest.raises(MalformedError):
        store.snapshots.add(b"{}")
    with pytest.raises(MalformedError, match="time"):
        store.snapshots.add(data.replace(b"2026-03-01", b"2026-13-01"))


def test_a_record_without_its_lists_is_refused(store: Store, tmp_path: Path) -> None:
    data = canonical.encode(record_of(ONE, write_trees(store, ONE)))
    with open_store(tmp_path / "other.db", write=True) as other:
        with pytest.raises(MalformedError, match="not stored"):
            other.snapshots.add(data)
        assert other.snapshots.list() == []


def test_a_signature_about_something_else_is_refused_and_nothing_is_stored(store: Store) -> None:
    data = canonical.encode(record_of(ONE, write_trees(store, ONE)))
    with pytest.raises(MalformedError, match="not about"):
        store.snapshots.add(data, bundle_for("sha256:" + sha("other")))
    with pytest.raises(MalformedError):
        store.snapshots.add(data, b'{"dsseEnvelope":[]}')
    assert store.snapshots.list() == []
    assert not store.blobs.has(canonical.digest_of(canonical.decode_foreign(data)))


def test_signatures_are_kept_in_the_order_they_came(store: Store) -> None:
    digest = add_snapshot(store, ONE)
    assert store.snapshots.bundles(digest) == []
    assert not store.snapshots.list()[0].signed
    bundles = [bundle_for(digest, sig=sig) for sig in ("ZZZZ", "AAAA")]
    for bundle in bundles:
        store.snapshots.attach(digest, bundle)
    assert store.snapshots.bundles(digest) == bundles
    assert store.snapshots.list()[0].signed
    with pytest.raises(NotStoredError):
        store.snapshots.attach("sha256:" + sha("x"), bundle_for("sha256:" + sha("x")))


def test_lists_are_newest_first_whatever_came_first(store: Store) -> None:
    times = [
        "2026-03-01T10:00:00.5Z",
        "2026-03-01T10:00:00Z",
        "2026-03-02T00:00:00Z",
        "2025-12-31T23:59:59.999999Z",
    ]
    for time in times:
        add_snapshot(store, ONE, captured_at=time)
    found = [row.captured_at for row in store.snapshots.list()]
    assert found == [times[2], times[0], times[1], times[3]]
    assert [row.captured_at for row in store.snapshots.list(limit=1)] == [times[2]]
    latest = store.snapshots.latest("hf://org/tiny")
    assert latest is not None
    assert latest[1].captured_at == times[2]
    assert store.snapshots.latest("hf://org/none") is None


def test_lists_can_be_of_a_place_or_a_name(store: Store) -> None:
    add_snapshot(store, ONE)
    other = add_snapshot(store, ONE, source="s3://bucket/tiny/", requested=None, revision=None)
    third = add_snapshot(store, TWO, name="third")
    assert [row.digest for row in store.snapshots.list(source="s3://bucket/tiny/")] == [other]
    assert [row.digest for row in store.snapshots.list(name="third")] == [third]
    manifest = store.snapshots.load(other).manifest
    assert manifest is not None
    assert len(store.snapshots.with_manifest(manifest)) == 2


def test_a_row_says_what_the_record_says(store: Store) -> None:
    digest = add_snapshot(store, [("a", 5, None), ("b", 2, sha("b"))], signed=True)
    (row,) = store.snapshots.list()
    assert (row.digest, row.manifest, row.complete, row.files, row.bytes, row.signed) == (
        digest,
        None,
        False,
        2,
        7,
        True,
    )


def test_an_unknown_snapshot_is_not_stored(store: Store) -> None:
    digest = store.blobs.put(b"body", "body")
    for method in (store.snapshots.load, store.snapshots.bundles):
        with pytest.raises(NotStoredError):
            method(digest)
    with pytest.raises(MalformedError):
        store.snapshots.load("sha256:abc")


def test_digests_and_their_prefixes_are_resolved(store: Store) -> None:
    digest = add_snapshot(store, ONE)
    later = add_snapshot(store, ONE, captured_at="2026-04-01T00:00:00Z")
    other = add_snapshot(store, TWO)
    manifest = store.snapshots.load(digest).manifest or ""
    for text in (digest, digest[7:], digest[:15], digest[7:15], digest[7:16]):
        assert store.snapshots.resolve(text) == digest
    for text in (manifest, manifest[7:], manifest[7:16]):
        assert store.snapshots.resolve(text) == later
    assert store.snapshots.resolve(other) == other
    with pytest.raises(NotStoredError):
        store.snapshots.resolve("sha256:" + sha("x"))
    with pytest.raises(UsageError, match="prefix"):
        store.snapshots.resolve(digest[:14])
    with pytest.raises(NotStoredError):
        store.snapshots.resolve(digest[7:14])


def test_an_ambiguous_prefix_lists_its_candidates(store: Store) -> None:
    digest = add_snapshot(store, ONE)
    named_so = add_snapshot(store, TWO, name=digest[7:15])
    with pytest.raises(AmbiguousError) as caught:
        store.snapshots.resolve(digest[7:15])
    assert sorted(caught.value.facts["candidates"]) == sorted([digest, named_so])
    assert caught.value.why is not None
    assert digest[:19] in caught.value.why
    assert store.snapshots.resolve(digest[:15]) == digest


def test_places_revisions_and_names_are_resolved(store: Store) -> None:
    main = add_snapshot(store, ONE, captured_at="2026-03-01T10:00:00Z")
    dev = add_snapshot(
        store, TWO, requested="dev", revision="b" * 40, captured_at="2026-03-02T10:00:00Z"
    )
    bucket = add_snapshot(
        store, TWO, name="copy", source="s3://bucket/p/", requested=None, revision=None
    )
    image = add_snapshot(
        store, TWO, name="img", source="oci://h/r", requested="v1", revision="sha256:" + sha("i")
    )
    resolve = store.snapshots.resolve
    assert resolve("hf://org/tiny") == dev
    assert resolve("hf://org/tiny@main") == main
    assert resolve("hf://org/tiny@" + "b" * 40) == dev
    assert resolve("tiny") == dev
    assert resolve("copy") == resolve("s3://bucket/p") == resolve("s3://bucket/p/") == bucket
    assert resolve("oci://h/r:v1") == resolve("oci://h/r@sha256:" + sha("i")) == image
    assert resolve("oci://h/r") == image
    with pytest.raises(NotStoredError, match="nothing"):
        resolve("oci://h/r:v2")
    with pytest.raises(NotStoredError) as caught:
        resolve("hf://org/tiny@gone")
    assert "hf://org/tiny" in (caught.value.hint or "")
    with pytest.raises(NotStoredError) as caught:
        resolve("s3://bucket/pp/")
    assert caught.value.hint == "the store has s3://bucket/p/"
    with pytest.raises(UsageError):
        resolve("ftp://x/y")
    for text in ("", "a\udcff"):
        with pytest.raises(UsageError):
            resolve(text)


def test_a_directory_that_exists_is_a_place(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    digest = add_snapshot(
        store, ONE, name="m", source=f"file://{tmp_path}/model", requested=None, revision=None
    )
    resolve = store.snapshots.resolve
    for text in ("model", "./model", str(tmp_path / "model"), f"file://{tmp_path}/model"):
        assert resolve(text) == digest
    hub = add_snapshot(store, TWO, name="model")
    with pytest.raises(AmbiguousError):
        resolve("model")
    assert resolve("./model") == digest
    assert resolve("hf://org/tiny") == hub
    with pytest.raises(NotStoredError, match="nothing"):
        resolve("./other")
    with pytest.raises(NotStoredError):
        resolve("nul\0byte")


def test_a_reference_at_a_time_is_the_latest_until_then(store: Store) -> None:
    digests = {
        time: add_snapshot(store, ONE, captured_at=time)
        for time in ("2026-03-01T10:00:00Z", "2026-03-01T23:59:59.9Z", "2026-03-02T00:00:00Z")
    }
    first, second, third = digests.values()
    resolve = store.snapshots.resolve
    for reference in ("tiny", "hf://org/tiny", "hf://org/tiny@main"):
        assert resolve(reference + "@{2026-03-01}") == second
        assert resolve(reference + "@{2026-03-01T10:00:00Z}") == first
        assert resolve(reference + "@{2026-03-01T12:00:00+01:00}") == first
        assert resolve(reference + "@{2026-03-02}") == third
        with pytest.raises(NotStoredError):
            resolve(reference + "@{2026-02-28}")
    manifest = store.snapshots.load(first).manifest or ""
    assert resolve(manifest + "@{2026-03-01}") == second
    for text in ("yesterday", "2026-02-30", ""):
        with pytest.raises(UsageError, match="not a date"):
            resolve("tiny@{" + text + "}")


INDEX_LIES = [
    "UPDATE snapshot SET name = 'other'",
    "UPDATE snapshot SET source = 's3://x/'",
    "UPDATE snapshot SET captured = captured + 1",
    "UPDATE snapshot SET captured_at = '2027-01-01T00:00:00Z'",
    "UPDATE snapshot SET manifest = zeroblob(32)",
    "UPDATE snapshot SET complete = 0",
    "UPDATE snapshot SET files = 99",
    "UPDATE snapshot SET revision = NULL",
    "UPDATE snapshot SET files = CAST(files AS TEXT) || 'x'",
]


@pytest.mark.parametrize("lie", INDEX_LIES)
def test_an_index_that_disagrees_with_its_record_is_noticed(store: Store, lie: str) -> None:
    add_snapshot(store, ONE)
    store._database.run(lie)
    with pytest.raises(TamperedError, match="index"):
        store.snapshots.list()


def test_swapped_rows_are_noticed(store: Store) -> None:
    one, two = add_snapshot(store, ONE, signed=True), add_snapshot(store, TWO, signed=True)
    run = store._database.run
    rows = store._database.all("SELECT id, data FROM blob WHERE kind = 'record'")
    for (number, _), (_, data) in zip(rows, reversed(rows), strict=True):
        run("UPDATE blob SET data = ? WHERE id = ?", (data, number))
    # The store that wrote them has them in memory as they were.
    with open_store(store.path) as reader:
        for digest in (one, two):
            with pytest.raises(TamperedError):
                reader.snapshots.load(digest)
        with pytest.raises(TamperedError):
            reader.snapshots.list()


def test_swapped_signatures_are_noticed(store: Store) -> None:
    one = add_snapshot(store, ONE, signed=True)
    two = add_snapshot(store, TWO, signed=True)
    rows = store._database.all("SELECT snapshot, bundle FROM signature")
    store._database.run("DELETE FROM signature")
    for (snapshot, _), (_, bundle) in zip(rows, reversed(rows), strict=True):
        store._database.run("INSERT INTO signature VALUES (?, ?)", (snapshot, bundle))
    for digest in (one, two):
        with pytest.raises(TamperedError, match="something else"):
            store.snapshots.bundles(digest)


def test_where_finds_every_place_of_a_digest(store: Store) -> None:
    many = listed(f"d/{number:04}" for number in range(3000))
    add_snapshot(store, many)
    add_snapshot(store, [*many, ("z/copy", 9, many[1234][2])], captured_at="2026-03-05T00:00:00Z")
    add_snapshot(store, ONE, name="other", source="s3://b/o/")
    places = list(store.where(f"sha256:{many[1234][2]}"))
    assert [(place.captured_at[:10], place.path, place.size) for place in places] == [
        ("2026-03-05", "d/1234", 6),
        ("2026-03-05", "z/copy", 9),
        ("2026-03-01", "d/1234", 6),
    ]
    assert list(store.where("sha256:" + sha("nowhere"))) == []
    git = store.trees.file(store.snapshots.load(places[0].snapshot), "d/1234")
    assert git is not None
    assert [p.path for p in store.where("sha1-git:" + git.seen.digests["sha1-git"])] == [
        "d/1234"
    ] * 2
    assert list(store.where("md5:" + "0" * 32)) == []
    with pytest.raises(UsageError):
        store.where(sha("x"))
    with pytest.raises(MalformedError):
        store.where("sha256:abc")


def test_a_body_that_looks_like_a_record_is_not_indexed_until_it_is_added(store: Store) -> None:
    data = canonical.encode(record_of(ONE, write_trees(store, ONE)))
    digest = store.blobs.put(data, "body")
    assert store.snapshots.list() == []
    assert store.snapshots.add(data) == digest
    assert store._database.one("SELECT kind FROM blob WHERE id = ?", (store.blobs.id_of(
        bytes.fromhex(digest[7:])),)) == ("record",)  # fmt: skip
