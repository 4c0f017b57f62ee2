"""What others wrote down about files becomes evidence: as good as they are, its origin named."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.errors import (
    EmptySourceError,
    MalformedError,
    NotVerifiedError,
    UnreadableError,
    UsageError,
)
from manifestd.model.change import Diff
from manifestd.model.entry import Observation
from manifestd.model.importing import ImportResult
from manifestd.model.snapshot import Snapshot
from manifestd.rules.sumlist import parse_list
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.public import read_public_key
from manifestd.signing.trust import Trust, TrustedKey
from manifestd.store import Store, open_store
from manifestd.store.check import check_store
from manifestd.workflows.compare import compare
from manifestd.workflows.imports import ImportRequest, import_file
from manifestd.workflows.oms import sign_as_oms
from manifestd.workflows.verify import verify_references
from tests.signing.oms_support import bundle, statement
from tests.support.schemas import check_document
from tests.workflows.stored import keep, read_file

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = {"config.json": b'{"a": 1}', "sub/w.bin": b"w" * 30, "empty": b""}


class Desk:
    """A store, and files to import."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "store.db"
        new_key(folder / "k.pem")
        self.signer = FileSigner(str(folder / "k.pem"))
        self.key = read_public_key(self.signer.public_pem())
        self.trust = Trust([TrustedKey(key=self.key, person="me", may=["snapshot"])])

    def store(self) -> Store:
        return open_store(self.path, write=True)

    def bring(self, file: str, data: bytes | None = None, **options: Any) -> ImportResult:
        if data is not None:
            (self.folder / file).write_bytes(data)
        request = ImportRequest(file=self.folder / file, tool="test", **options)
        with self.store() as store:
            found = import_file(
                store, request, signer=self.signer, trust=self.trust, rules=(), now=NOW
            )
        check_document("import", msgspec.to_builtins(found))
        return found

    def record(self, found: ImportResult) -> Snapshot:
        with self.store() as store:
            [result] = verify_references(store, found.snapshots, self.trust)
            assert (result.flaws, result.signature) == ([], "verified")
            return store.snapshots.load(found.snapshots[0])

    def compare(self, left: str, right: str) -> Diff:
        with self.store() as store:
            return compare(store, left, right)

    def keep(self, files: Any = MODEL, **more: Any) -> str:
        with self.store() as store:
            return keep(store, files, **more)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(data)}  ./{path}\n" for path, data in files.items()).encode()


def verdicts(diff: Diff) -> dict[str, str]:
    return {file.path: file.verdict for file in diff.files if file.verdict != "identical"}


# --------------------------------------------------------------------------------- sha256sum


def test_a_list_of_known_contents_is_a_snapshot_with_the_same_manifest(desk: Desk) -> None:
    stored = desk.keep()
    found = desk.bring("SHA256SUMS", sums(MODEL))
    assert (found.kind, found.new, found.notes) == ("sha256sum", 1, [])
    record = desk.record(found)
    with desk.store() as store:
        assert record.manifest == store.snapshots.load(stored).manifest
    assert record.complete
    assert record.evidence.declared == len(MODEL)
    assert record.facts == {
        "origin": "SHA256SUMS", "originKind": "sha256sum",
        "originDigest": "sha256:" + sha256(sums(MODEL)),
    }  # fmt: skip
    assert record.source == "import://sha256sum/SHA256SUMS"
    assert desk.compare(found.snapshots[0], stored).verdict == "identical"
    assert check_store(desk.path) == []


def test_a_list_without_sizes_still_proves_equal_and_different(desk: Desk) -> None:
    found = desk.bring("SHA256SUMS", sums(MODEL))
    assert "size" in found.notes[0]
    record = desk.record(found)
    assert (record.manifest, record.complete, record.evidence.declared) == (None, False, 3)
    # The model comes later: its sizes are known by then, the list's record stays as it is.
    stored = desk.keep({**MODEL, "config.json": b'{"a": 2}', "new": b"n"})
    diff = desk.compare(found.snapshots[0], stored)
    assert verdicts(diff) == {"config.json": "different", "new": "rightOnly"}
    assert diff.counts.identical == 2
    [changed] = [file for file in diff.files if file.path == "config.json"]
    assert "sha256 differs" in str(changed.reason)
    assert "bytes and" not in str(changed.reason)
    assert desk.compare(found.snapshots[0], desk.keep()).verdict == "identical"
    assert check_store(desk.path) == []


def test_a_record_that_hides_sizes_and_has_a_manifest_does_not_verify(desk: Desk) -> None:
    found = desk.bring("SHA256SUMS", sums(MODEL))
    with desk.store() as store:
        record = store.snapshots.load(found.snapshots[0])
        lying = msgspec.structs.replace(record, manifest="sha256:" + "0" * 64)
        digest = store.snapshots.add(canonical.encode(lying))
        [result] = verify_references(store, [digest], desk.trust)
    assert result.content == "tampered"
    assert len(check_store(desk.path)) == 1


def test_the_same_list_twice_is_one_record_and_a_changed_one_another(desk: Desk) -> None:
    first = desk.bring("SUMS", sums(MODEL))
    again = desk.bring("SUMS")
    assert (again.snapshots, again.new) == (first.snapshots, 0)
    other = desk.bring("SUMS", sums({**MODEL, "x": b"x"}))
    assert other.new == 1
    named = desk.bring("SUMS", name="publisher")
    assert named.new == 1
    with desk.store() as store:
        assert store.snapshots.resolve("import://sha256sum/SUMS") in {
            *other.snapshots, *named.snapshots,
        }  # fmt: skip
        assert store.snapshots.resolve("publisher") == named.snapshots[0]


def test_every_spelling_of_sha256sum_is_read() -> None:
    zero, one = "0" * 64, "1" * 64
    text = (
        f"{zero}  a b\r\n\n{one} *./bin\nSHA256 (tag (1)) = {one.upper()}\n"
        f"\\{zero}  back\\\\slash\\nline\\r\n\\SHA256 (t\\n) = {zero}\n{zero}  a b\n"
    )
    assert parse_list(text.encode()) == {
        "a b": zero, "bin": one, "tag (1)": one, "back\\slash\nline\r": zero, "t\n": zero,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"{'0' * 64}  a\n{'1' * 64}  a\n",
        f"{'0' * 64}  a\n{'1' * 64}  ./a\n",
        f"{'0' * 64}  a\nnonsense\n",
        f"{'0' * 64}  -\n",
        f"\\{'0' * 64}  a\\q\n",
        f"{'0' * 63}  a\n",
        f"{'0' * 64}  a\n{'d' * 32}  md5\n",
    ],
)
def test_a_list_that_is_unclear_is_refused(desk: Desk, text: str) -> None:
    with pytest.raises(MalformedError):
        desk.bring("SUMS", text.encode())


def test_a_list_in_another_encoding_is_refused(desk: Desk) -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        desk.bring("SUMS", sums(MODEL) + b"0" * 64 + b"  \xff\n")


def test_hostile_paths_are_kept_literally(desk: Desk) -> None:
    odd = {"../up": b"1", "/abs": b"2", "a//b": b"3"}
    record = desk.record(desk.bring("SUMS", sums(odd).replace(b"./", b"", 0)))
    with desk.store() as store:
        paths = [path for path, _, _ in store.trees.content(record.content)]
    assert paths == ["../up", "/abs", "a//b"]


# --------------------------------------------------------------------------- model signatures


def test_a_model_signature_is_evidence_with_its_own_gaps(desk: Desk) -> None:
    stored = desk.keep({**MODEL, ".gitattributes": b"*"})
    with desk.store() as store:
        signature = sign_as_oms(store, stored, desk.signer, ("model.sig",))
    found = desk.bring("model.sig", signature)
    assert "not verified" in found.notes[0]
    assert ".gitattributes" in found.notes[1]
    record = desk.record(found)
    assert record.facts["originSignature"] == "not verified"
    assert (record.name, record.evidence.declared, record.complete) == ("model", 3, True)
    diff = desk.compare(found.snapshots[0], stored)
    assert verdicts(diff) == {".gitattributes": "rightOnly"}
    verified = desk.bring("model.sig", oms_key=desk.signer.public_pem())
    assert desk.record(verified).facts["originSignature"] == desk.key.key_id
    assert verified.snapshots != found.snapshots


def test_a_model_signature_by_another_key_is_not_imported(desk: Desk, tmp_path: Path) -> None:
    new_key(tmp_path / "other.pem")
    other = FileSigner(str(tmp_path / "other.pem"))
    signature = bundle(statement([("a", "0" * 64)]), other)
    with pytest.raises(NotVerifiedError, match=r"model\.sig: it is not by the key given") as caught:
        desk.bring("model.sig", signature, oms_key=desk.signer.public_pem())
    assert "without --oms-key" in (caught.value.hint or "")
    with desk.store() as store:
        assert store.snapshots.list() == []


def test_shards_say_sizes_and_digests_of_small_files_only(desk: Desk) -> None:
    resources = [
        ("big:0:100", "0" * 64), ("big:100:150", "1" * 64), ("small:0:30", sha256(b"w" * 30)),
    ]  # fmt: skip
    payload = statement(resources, method="shards", algorithm="sha256-sharded-100")
    record = desk.record(desk.bring("m.sig", bundle(payload, desk.signer)))
    with desk.store() as store:
        assert list(store.trees.content(record.content)) == [
            ("big", 150, None), ("small", 30, sha256(b"w" * 30)),
        ]  # fmt: skip


# ----------------------------------------------------------------------------- S3's documents

JOB = "f8fb9d89-a3aa-461d-bddc-ea6a1b131955"


def inventory(folder: Path, files: dict[str, bytes], encryption: str = "SSE-S3") -> Path:
    """An S3 Inventory as S3 lays it out, of s3://models."""
    rows = [
        ["models", key.replace(" ", "+"), str(len(data)), hashlib.md5(data).hexdigest(),
         "2026-03-01T00:00:00.000Z", encryption]
        for key, data in files.items()
    ]  # fmt: skip
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    table = gzip.compress(text.getvalue().encode())
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "1.csv.gz").write_bytes(table)
    manifest = {
        "sourceBucket": "models", "destinationBucket": "arn:aws:s3:::inventories",
        "version": "2016-11-30", "creationTimestamp": "1772500000000", "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, ETag, LastModifiedDate, EncryptionStatus",
        "files": [{"key": "x/data/1.csv.gz", "size": len(table),
                   "MD5checksum": hashlib.md5(table).hexdigest()}],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def report(folder: Path, files: dict[str, bytes], **changed: str) -> Path:
    rows = []
    for key, data in files.items():
        message = {
            "checksum_base64": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "etag": hashlib.md5(data).hexdigest(), "checksumAlgorithm": "SHA256",
            "checksumType": "FULL_OBJECT", "checksum_hex": sha256(data).upper(),
        }  # fmt: skip
        rows.append(["models", key, "", "succeeded", "", "200", json.dumps(message | changed)])
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path = folder / f"job-{JOB}.csv"
    path.write_text(text.getvalue())
    return path


def keyed(files: dict[str, bytes], prefix: str = "m/") -> dict[str, bytes]:
    return {prefix + path: data for path, data in files.items()}


def test_an_inventory_proves_differences_and_no_equality(desk: Desk, tmp_path: Path) -> None:
    path = inventory(tmp_path / "inv", keyed(MODEL))
    found = desk.bring(str(path.relative_to(tmp_path)), place="s3://models/m/")
    record = desk.record(found)
    assert (found.kind, record.name, record.facts["place"]) == (
        "s3-inventory", "models/m", "s3://models/m/",
    )  # fmt: skip
    assert (record.manifest, record.evidence.none) == (None, 3)
    read = {
        file: (data[:-1] + b"W" if file == "sub/w.bin" else data) for file, data in MODEL.items()
    }
    with desk.store() as store:
        files = [read_file(store, name, data) for name, data in read.items()]
        right = keep(store, {
            file.path: msgspec.structs.replace(file, seen=Observation(
                evidence={"sha256": "measured", "md5": "measured"},
                digests={"md5": hashlib.md5(read[file.path]).hexdigest()},
            ))
            for file in files
        })  # fmt: skip
    diff = desk.compare(found.snapshots[0], right)
    assert verdicts(diff) == {
        "config.json": "unverifiable", "empty": "unverifiable", "sub/w.bin": "different",
    }  # fmt: skip


def test_an_inventory_with_checksums_computed_at_rest_is_stored_evidence(
    desk: Desk, tmp_path: Path
) -> None:
    path = inventory(tmp_path / "inv", {**keyed(MODEL), "other/x": b"x"}, "SSE-KMS")
    made = report(tmp_path, keyed(MODEL))
    found = desk.bring(str(path.relative_to(tmp_path)), place="s3://models/m/", checksums=(made,))
    record = desk.record(found)
    assert (record.complete, record.evidence.stored) == (True, 3)
    assert record.facts["checksumReports"] == ["sha256:" + sha256(made.read_bytes())]
    stored = desk.keep()
    with desk.store() as store:
        assert store.snapshots.load(stored).manifest == record.manifest
        [first, *_] = store.trees.files(record)
    # The entity tag of an object that KMS encrypts is no MD5.
    assert first.seen.digests == {}
    assert first.seen.evidence == {"sha256": "stored"}
    assert first.seen.hints["report"]["job"] == JOB


def test_a_report_about_another_state_of_an_object_is_not_used(desk: Desk, tmp_path: Path) -> None:
    path = inventory(tmp_path / "inv", keyed(MODEL))
    made = report(tmp_path, keyed({"config.json": b"another"}))
    found = desk.bring(str(path.relative_to(tmp_path)), place="s3://models/m/", checksums=(made,))
    assert desk.record(found).evidence.stored == 0
    assert "another" not in str(found.notes)
    assert "entity tag" in found.notes[0]


def test_a_report_by_itself_has_digests_and_no_sizes(desk: Desk, tmp_path: Path) -> None:
    made = report(tmp_path, {**keyed(MODEL), "other/x": b"x"})
    with pytest.raises(UsageError, match="many places"):
        desk.bring(made.name)
    found = desk.bring(made.name, place="s3://models/m/")
    record = desk.record(found)
    assert (found.kind, record.manifest, record.evidence.stored) == ("s3-checksums", None, 3)
    stored = desk.keep()
    assert desk.compare(found.snapshots[0], stored).verdict == "identical"
    # Now that the store knows contents of these digests, their sizes are known, too.
    again = desk.record(desk.bring(made.name, place="s3://models/m/", name="again"))
    with desk.store() as store:
        assert again.manifest == store.snapshots.load(stored).manifest


def test_a_table_that_is_not_the_one_its_manifest_names_is_refused(
    desk: Desk, tmp_path: Path
) -> None:
    path = inventory(tmp_path / "inv", keyed(MODEL))
    (tmp_path / "inv" / "data" / "1.csv.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(UsageError, match="checksum"):
        desk.bring(str(path.relative_to(tmp_path)))


def test_no_document_is_fetched_from_anywhere(desk: Desk, tmp_path: Path) -> None:
    path = inventory(tmp_path / "inv", keyed(MODEL))
    with pytest.raises(UsageError, match="cannot be read"):
        desk.bring(str(path.relative_to(tmp_path)), checksums=(Path("s3://bucket/manifest.json"),))


# -------------------------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\1\2", b"hello\n", b"{}", b"[]", b'{"schema": "manifestd.lock/v1"}', b"{" * 10000,
     b'{"mediaType": "application/vnd.oci.image.manifest.v1+json"}', b"manifestd-bundle/v2 1\n"],
)  # fmt: skip
def test_a_file_of_no_known_kind_is_refused(desk: Desk, data: bytes) -> None:
    with pytest.raises(NotVerifiedError):
        desk.bring("file", data)


def test_options_of_another_kind_are_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="S3 documents"):
        desk.bring("SUMS", sums(MODEL), place="s3://b/p/")
    with pytest.raises(UsageError, match="OMS"):
        desk.bring("SUMS", sums(MODEL), oms_key=b"")


def test_what_cannot_be_read_or_is_empty_says_so(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        desk.bring("nothing-there")
    path = inventory(tmp_path / "inv", keyed(MODEL))
    with pytest.raises(EmptySourceError):
        desk.bring(str(path.relative_to(tmp_path)), place="s3://models/elsewhere/")
