"""A bundle file: everything is in it, no byte of it is free, and nothing in it is believed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.errors import (
    AmbiguousError,
    ManifestdError,
    NotStoredError,
    NotVerifiedError,
    SignatureError,
    TamperedError,
)
from manifestd.model.bundlefile import BundleIndex, head_of
from manifestd.model.digest import Digest
from manifestd.model.snapshot import Snapshot
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.public import read_public_key
from manifestd.signing.trust import Trust, TrustedKey
from manifestd.store import Store, open_store
from manifestd.store.check import check_store
from manifestd.workflows.bundle import import_bundle, read_blobs, read_index
from manifestd.workflows.bundle_write import write_bundle
from manifestd.workflows.opened import is_bundle, opened
from manifestd.workflows.sign import sign_snapshot
from manifestd.workflows.verify_bundle import verify_opened
from tests.support.schemas import check_document
from tests.workflows.stored import keep

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = {
    "config.json": b'{"a": 1}',
    "weights/part.bin": b"w" * 3000,
    "vide.txt": b"",
    "caf\u00e9.md": b"# C\n",
}

Build = Callable[[BundleIndex, dict[str, bytes]], tuple[BundleIndex, dict[str, bytes]]]


class World:
    """A store with a signed snapshot, its key, and the key of a stranger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "made.db"
        for name in ("maker", "stranger"):
            new_key(folder / f"{name}.pem")
        key = read_public_key(FileSigner(str(folder / "maker.pem")).public_pem())
        self.trust = Trust([TrustedKey(key=key, person="maker", may=["snapshot"])])

    def snapshot(self, store: Store, by: str | None = "maker", **changed: Any) -> Digest:
        digest = keep(store, FILES, **changed)
        if by is not None:
            signer = FileSigner(str(self.folder / f"{by}.pem"))
            bundle = sign_snapshot(store.snapshots.load(digest), digest, signer)
            store.snapshots.attach(digest, bundle)
        return digest

    def bundle(self, store: Store, *digests: str, name: str = "made.bundle", **more: Any) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            write_bundle(store, digests, file, now=NOW, **more)
        return path

    def rebuilt(self, source: Path, change: Build, name: str = "changed.bundle") -> Path:
        """A bundle whose digests are all right, with other content than the maker's."""
        with source.open("rb") as file:
            index = read_index(file)
            blobs = {blob.digest: data for blob, data in read_blobs(file, index)}
        index, blobs = change(index, blobs)
        path = self.folder / name
        data = head_of(index) + b"".join(blobs[blob.digest] for blob in index.blobs)
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    with open_store(world.path, write=True) as store:
        world.bundle(store, world.snapshot(store))
    return world


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path / "other.db"


def bring(path: Path, store: Path, **options: Any) -> Any:
    with open_store(store, write=True) as opened_store:
        return import_bundle(opened_store, path, now=NOW, **options)


def test_an_index_is_as_its_schema_says(world: World) -> None:
    with (world.folder / "made.bundle").open("rb") as file:
        index = read_index(file)
    check_document("bundle-index", msgspec.to_builtins(index))
    kinds = {blob.kind for blob in index.blobs}
    assert {"record", "leaf", "node", "body", "bundle", "facts"} <= kinds


def test_the_same_snapshots_give_the_same_bytes(world: World) -> None:
    with open_store(world.path) as store:
        digest = store.snapshots.resolve("model")
        again = world.bundle(store, digest, digest, name="again.bundle")
    assert again.read_bytes() == (world.folder / "made.bundle").read_bytes()


def test_importing_gives_the_same_record_trees_bodies_and_signature(
    world: World, empty: Path
) -> None:
    found = bring(world.folder / "made.bundle", empty, trust=world.trust, inspect=True)
    assert found.new == 1
    with open_store(world.path) as before, open_store(empty) as after:
        [digest] = found.snapshots
        assert after.snapshots.raw(digest) == before.snapshots.raw(digest)
        assert after.snapshots.bundles(digest) == before.snapshots.bundles(digest)
        record = after.snapshots.load(digest)
        assert list(after.trees.files(record)) == list(before.trees.files(record))
        assert after.blobs.get(canonical_digest(FILES["config.json"])) == FILES["config.json"]
    assert check_store(empty) == []


def test_importing_twice_changes_nothing(world: World, empty: Path) -> None:
    bring(world.folder / "made.bundle", empty, trust=world.trust)
    with open_store(empty) as store:
        size = store.log.size
    found = bring(world.folder / "made.bundle", empty, trust=world.trust)
    assert found.new == 0
    with open_store(empty) as store:
        assert store.log.size == size


def test_every_flipped_byte_is_refused_and_leaves_nothing(
    world: World, empty: Path, tmp_path: Path
) -> None:
    whole = (world.folder / "made.bundle").read_bytes()
    bad = tmp_path / "bad.bundle"
    with open_store(empty, write=True) as store:
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= 1 << (position % 8)
            bad.write_bytes(changed)
            with pytest.raises(NotVerifiedError):
                import_bundle(store, bad, trust=world.trust, now=NOW)
        assert store.snapshots.list() == []
        assert store.log.size == 0


@pytest.mark.parametrize("length", [0, 1, 20, 90, 200, -1])
def test_a_bundle_that_was_cut_is_refused(
    world: World, empty: Path, tmp_path: Path, length: int
) -> None:
    cut = tmp_path / "cut.bundle"
    cut.write_bytes((world.folder / "made.bundle").read_bytes()[:length])
    with pytest.raises(NotVerifiedError):
        bring(cut, empty)


def test_bytes_after_the_last_blob_are_refused(world: World, empty: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.bundle"
    longer.write_bytes((world.folder / "made.bundle").read_bytes() + b"\n")
    with pytest.raises(TamperedError, match="goes on"):
        bring(longer, empty)


def replace_blobs(index: BundleIndex, **changed: Any) -> BundleIndex:
    return msgspec.structs.replace(index, **changed)


def other_kind(
    old: str, new: str
) -> Callable[[BundleIndex, dict[str, bytes]], tuple[BundleIndex, dict[str, bytes]]]:
    def change(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
        found = next(blob for blob in index.blobs if blob.kind == old)
        told = [
            msgspec.structs.replace(blob, kind=new) if blob is found else blob
            for blob in index.blobs
        ]
        return replace_blobs(index, blobs=told), blobs

    return change


def without(kind: str) -> Build:
    def change(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
        found = next(blob for blob in index.blobs if blob.kind == kind)
        return replace_blobs(index, blobs=[b for b in index.blobs if b is not found]), blobs

    return change


def with_more(kind: str, data: bytes) -> Build:
    def change(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
        digest = canonical_digest(data)
        told = [
            *index.blobs,
            msgspec.structs.replace(index.blobs[0], digest=digest, kind=kind, size=len(data)),
        ]
        return replace_blobs(index, blobs=told), {**blobs, digest: data}

    return change


def renamed(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
    named = [msgspec.structs.replace(item, name="gpt2") for item in index.snapshots]
    return replace_blobs(index, snapshots=named), blobs


def twice(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
    return replace_blobs(index, snapshots=index.snapshots * 2), blobs


def repeated(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
    return replace_blobs(index, blobs=[*index.blobs, index.blobs[0]]), blobs


def lying_size(index: BundleIndex, blobs: dict[str, bytes]) -> tuple[BundleIndex, dict[str, bytes]]:
    told = [msgspec.structs.replace(index.blobs[0], size=1 << 27), *index.blobs[1:]]
    return replace_blobs(index, blobs=told), blobs


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_kind("body", "facts"), "is listed as facts, and is needed as body"),
        (other_kind("facts", "body"), "is listed as body, and is needed as facts"),
        (other_kind("leaf", "node"), "is listed as node, and is needed as leaf"),
        (other_kind("leaf", "record"), "lies about what is a record"),
        (other_kind("body", "bundle"), "lies about what is a bundle"),
        (other_kind("body", "statement"), "lies about what is a statement"),
        (other_kind("record", "body"), "lies about what is a record"),
        (other_kind("bundle", "body"), "lies about what is a bundle"),
        (without("leaf"), "not whole|no longer|lacks"),
        (without("body"), "is listed as nothing, and is needed as body"),
        (without("facts"), "is listed as nothing, and is needed as facts"),
        (without("record"), "lacks sha256:"),
        (with_more("body", b"stowaway"), "is listed as body, and is needed as nothing"),
        (with_more("record", b"{}"), "lies about what is a record"),
        (renamed, "another name"),
        (twice, "twice"),
        (repeated, "twice"),
        (lying_size, "do not have that digest"),
    ],
)  # fmt: skip
def test_a_bundle_that_lies_is_refused_although_its_digests_are_right(
    world: World, empty: Path, change: Build, told: str
) -> None:
    lying = world.rebuilt(world.folder / "made.bundle", change)
    with pytest.raises(NotVerifiedError) as refused:
        bring(lying, empty)
    assert pytest.importorskip("re").search(told, f"{refused.value.what} {refused.value.why}")
    with open_store(empty) as store:
        assert store.snapshots.list() == []


def encoded(index: BundleIndex, **changed: Any) -> bytes:
    """A head whose digest is right over an index that is not."""
    data = canonical.encode(msgspec.to_builtins(index) | changed)
    hexed = canonical.sha256_hex(data).encode()
    return b"manifestd-bundle/v1 %d sha256:%b\n%b" % (len(data), hexed, data)


@pytest.mark.parametrize(
    "change",
    [
        {"snapshots": []},
        {"more": 1},
        {"schema": "manifestd.bundle/v2"},
        {"blobs": [{"digest": "sha256:" + "0" * 64, "kind": "entry", "size": 1}]},
        {"blobs": [{"digest": "sha256:" + "0" * 64, "kind": "body", "size": -1}]},
        {"blobs": [{"digest": "sha256:" + "0" * 64, "kind": "body", "size": 1 << 40}]},
        {"blobs": [{"digest": "../../etc/passwd", "kind": "body", "size": 1}]},
        {"statements": ["sha256:" + "0" * 64]},
    ],
)
def test_an_index_of_another_shape_is_refused(world: World, change: dict[str, Any]) -> None:
    with (world.folder / "made.bundle").open("rb") as file:
        index = read_index(file)
    with pytest.raises(NotVerifiedError):
        read_index(io.BytesIO(encoded(index, **change)))


@pytest.mark.parametrize(
    "line",
    [
        b"manifestd-bundle/v2 10 sha256:" + b"0" * 64 + b"\n",
        b"manifestd-bundle/v1 010 sha256:" + b"0" * 64 + b"\n",
        b"manifestd-bundle/v1 999999999 sha256:" + b"0" * 64 + b"\n",
        b"manifestd-bundle/v1 -1 sha256:" + b"0" * 64 + b"\n",
        b"manifestd-bundle/v1 10 sha256:" + b"0" * 64 + b"\r\n",
        b"manifestd-bundle/v1 10 " + b"x" * 1_000_000,
    ],
)
def test_a_first_line_of_another_shape_is_refused_before_anything_is_read(line: bytes) -> None:
    class Watched(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("read on")

    with pytest.raises(NotVerifiedError, match="not a manifestd bundle"):
        read_index(Watched(line))


def test_a_signature_by_nobody_known_comes_along_and_a_wrong_one_does_not(
    world: World, tmp_path: Path
) -> None:
    with open_store(tmp_path / "one.db", write=True) as store:
        digest = world.snapshot(store, by="stranger")
        path = world.bundle(store, digest, name="stranger.bundle")
    found = bring(path, tmp_path / "two.db", trust=world.trust, inspect=True)
    assert found.new == 1
    with open_store(tmp_path / "three.db", write=True) as store:
        digest = world.snapshot(store, by=None)
        right = sign_snapshot(
            store.snapshots.load(digest), digest, FileSigner(str(world.folder / "maker.pem"))
        )
        document = msgspec.json.decode(right)
        document["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA" + "A" * 92
        store.snapshots.attach(digest, canonical.encode(document))
        path = world.bundle(store, digest, name="wrong.bundle")
    with pytest.raises(SignatureError):
        bring(path, tmp_path / "four.db", trust=world.trust, inspect=True)


def test_a_record_that_says_more_than_its_lists_is_not_imported(
    world: World, tmp_path: Path
) -> None:
    with open_store(tmp_path / "one.db", write=True) as store:
        path = world.bundle(store, keep(store, FILES, bytes=10**9), name="more.bundle")
    with pytest.raises(TamperedError, match="does not verify"):
        bring(path, tmp_path / "two.db", inspect=True)
    # As a store of its own it can be looked at; `verify` says what is wrong.
    with opened(tmp_path / "none.db", [str(path)]) as found:
        [result] = verify_opened(found, world.trust)
    assert (result.exit_code, result.content) == (4, "tampered")


def test_one_file_of_several_snapshots_is_named_by_name_or_digest(
    world: World, tmp_path: Path
) -> None:
    with open_store(tmp_path / "one.db", write=True) as store:
        digests = [keep(store, FILES, name=name, source=f"file:///{name}") for name in "ab"]
        path = world.bundle(store, *digests, name="several.bundle")
    nowhere = tmp_path / "none.db"
    with opened(nowhere, [str(path)], every=True) as found:
        assert found.known == digests
    with opened(nowhere, [f"{path}#b", f"{path}#{digests[0][:20]}"]) as found:
        assert found.known == [digests[1], digests[0]]
    with pytest.raises(AmbiguousError), opened(nowhere, [str(path)]):
        pass
    with pytest.raises(NotStoredError, match="'c'"), opened(nowhere, [f"{path}#c"]):
        pass
    assert not nowhere.exists()


def test_a_bundle_beside_the_store_is_compared_with_what_is_in_it(
    world: World, tmp_path: Path
) -> None:
    with open_store(tmp_path / "here.db", write=True) as store:
        here = keep(store, FILES, name="here", source="file:///here")
    path = world.folder / "made.bundle"
    with opened(tmp_path / "here.db", [str(path), "here"]) as found:
        left, right = (found.store.snapshots.load(text) for text in found.known)
        assert found.known[1] == here
        assert left.manifest == right.manifest
    with open_store(tmp_path / "here.db") as store:
        assert [row.name for row in store.snapshots.list()] == ["here"]


def test_a_file_name_with_a_number_sign_is_taken_as_it_is(world: World, tmp_path: Path) -> None:
    odd = tmp_path / "a#b.bundle"
    odd.write_bytes((world.folder / "made.bundle").read_bytes())
    assert is_bundle(str(odd)) == odd
    with opened(tmp_path / "none.db", [str(odd)]) as found:
        assert len(found.known) == 1


def test_names_that_are_no_files_are_no_bundles() -> None:
    for text in ("", "a\0b", "x" * 5000, "hf://org/name", "sha256:" + "0" * 64):
        assert is_bundle(text) is None


def test_a_damaged_bundle_is_not_merely_unknown(world: World, tmp_path: Path) -> None:
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(b"x" + (world.folder / "made.bundle").read_bytes()[1:])
    with pytest.raises(NotVerifiedError, match="undamaged"), opened(tmp_path / "n", [str(bad)]):
        pass


def test_bytes_that_are_a_body_and_a_document_travel_once(tmp_path: Path, world: World) -> None:
    """A model may hold, as a file of its own, bytes that the store needs for another reason."""
    with open_store(tmp_path / "one.db", write=True) as store:
        first = keep(store, FILES)
        record = store.snapshots.raw(first)
        second = keep(store, {"record.json": record}, name="odd", source="file:///odd")
        both = world.bundle(store, first, second, name="both.bundle")
        alone = world.bundle(store, second, name="alone.bundle")
    assert bring(both, tmp_path / "two.db", inspect=True).new == 2
    assert bring(alone, tmp_path / "three.db", inspect=True).new == 1
    with open_store(tmp_path / "three.db") as store:
        assert [row.name for row in store.snapshots.list()] == ["odd"]


def canonical_digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_error_says_what_to_do(world: World, empty: Path, tmp_path: Path) -> None:
    changed = bytearray((world.folder / "made.bundle").read_bytes())
    changed[-1] ^= 1
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(changed)
    with pytest.raises(ManifestdError) as refused:
        bring(bad, empty)
    assert refused.value.exit_code == 4
    assert "copy the bundle again" in (refused.value.hint or "")


def test_records_of_bundles_are_snapshots(world: World) -> None:
    with (world.folder / "made.bundle").open("rb") as file:
        index = read_index(file)
        records = [
            canonical.decode(data, Snapshot)
            for blob, data in read_blobs(file, index)
            if blob.kind == "record"
        ]
    assert [record.name for record in records] == [item.name for item in index.snapshots]
