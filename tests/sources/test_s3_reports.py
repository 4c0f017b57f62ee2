"""Checksums that S3 computed at rest, inventories instead of listings, and advice on both."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import botocore.session
import pytest
from botocore.validate import ParamValidator

from manifestd.errors import UsageError
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import parse_s3
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.s3 import S3Source
from manifestd.sources.s3_explain import explain, job_command
from tests.support.s3_faults import FaultServer, error
from tests.support.s3_server import aws_environment

JOB = "f8fb9d89-a3aa-461d-bddc-ea6a1b131955"
KEY = "p/a b+c.bin"
DATA = b"weights"
SHA = hashlib.sha256(DATA)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer() as running:
        aws_environment(monkeypatch, running.url, tmp_path)
        running.put(KEY, DATA)
        yield running


def snapshot(**options: Any) -> tuple[Resolved, dict[str, Entry], list[Problem]]:
    source = S3Source(
        parse_s3("s3://bucket/p/"),
        SourceSettings(retry_budget=0.0, options={"heads": "never", **options}),
    )
    try:
        resolved = source.resolve()
        items = list(source.list(resolved))
    finally:
        source.close()
    entries = {item.path: item for item in items if isinstance(item, Entry)}
    return resolved, entries, [item for item in items if isinstance(item, Problem)]


def row(
    key: str = KEY, *, version: str = "", status: str = "succeeded", **message: str
) -> list[str]:
    told = {
        "checksum_base64": base64.b64encode(SHA.digest()).decode(),
        "etag": hashlib.md5(DATA).hexdigest(),
        "checksumAlgorithm": "SHA256",
        "checksumType": "FULL_OBJECT",
        "checksum_hex": SHA.hexdigest().upper(),
        **message,
    }
    return ["bucket", quote_plus(key), version, status, "200", "", json.dumps(told)]


def table(*rows: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def report(folder: Path, *rows: list[str], created: str = "2026-04-01T00:00:00.000Z") -> Path:
    """A completion report as S3 lays it out."""
    data = table(*rows)
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "results" / "0a.csv").write_bytes(data)
    manifest = {
        "Format": "Report_CSV_20180820",
        "ReportCreationDate": created,
        "Results": [
            {
                "TaskExecutionStatus": "succeeded",
                "Bucket": "reports",
                "MD5Checksum": hashlib.md5(data).hexdigest(),
                "Key": f"x/job-{JOB}/results/0a.csv",
            }
        ],
        "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def test_a_report_of_exactly_this_object_is_stored_evidence(
    server: FaultServer, tmp_path: Path
) -> None:
    where = report(tmp_path / "r", row())
    digest = hashlib.sha256((tmp_path / "r/results/0a.csv").read_bytes()).hexdigest()
    resolved, entries, problems = snapshot(checksums=[str(where)])
    entry = entries["a b+c.bin"]
    assert entry.digests == {"sha256": SHA.hexdigest()}
    assert entry.evidence == {"sha256": "stored"}
    assert entry.hints["report"] == {"job": JOB, "digest": f"sha256:{digest}"}
    assert resolved.facts["checksumReports"] == [f"job {JOB} sha256:{digest}"]
    assert problems == []
    assert server.count("GET", KEY) == server.count("HEAD", KEY) == 0


def test_a_single_table_without_its_manifest_is_taken_too(
    server: FaultServer, tmp_path: Path
) -> None:
    where = tmp_path / "one.csv"
    where.write_bytes(table(row()))
    assert snapshot(checksums=[str(where)])[1]["a b+c.bin"].digests


def test_a_report_is_read_from_the_bucket_it_was_written_to(
    server: FaultServer, tmp_path: Path
) -> None:
    report(tmp_path / "r", row())
    server.put(f"x/job-{JOB}/results/0a.csv", (tmp_path / "r/results/0a.csv").read_bytes())
    server.put("x/manifest.json", (tmp_path / "r/manifest.json").read_bytes())
    assert snapshot(checksums=["s3://bucket/x/manifest.json"])[1]["a b+c.bin"].digests


WRONG: dict[str, list[list[str]]] = {
    "other entity tag": [row(etag="0" * 32)],
    "no entity tag": [row(etag="")],
    "edited hex": [row(checksum_hex="0" * 64)],
    "edited base64": [row(checksum_base64=base64.b64encode(bytes(32)).decode())],
    "sha1 called sha256": [row(checksum_hex="0" * 40, checksum_base64="")],
    "no json": [[*row()[:6], "sha256 is 12"]],
    "two values": [
        row(),
        row(checksum_hex="0" * 64, checksum_base64=base64.b64encode(bytes(32)).decode()),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_refused_for_its_object_and_said(
    server: FaultServer, tmp_path: Path, name: str
) -> None:
    server.put("p/other", b"other")
    other = hashlib.sha256(b"other")
    good = row(
        "p/other",
        etag=hashlib.md5(b"other").hexdigest(),
        checksum_hex=other.hexdigest(),
        checksum_base64=base64.b64encode(other.digest()).decode(),
    )
    _, entries, problems = snapshot(checksums=[str(report(tmp_path / "r", *WRONG[name], good))])
    assert entries["a b+c.bin"].digests == {}
    assert entries["other"].digests == {"sha256": other.hexdigest()}
    assert {(one.path, one.code, one.severity) for one in problems} == {
        ("a b+c.bin", "report-mismatch", "note")
    }


def test_a_row_of_another_version_is_refused(server: FaultServer, tmp_path: Path) -> None:
    server.versioning = "Enabled"
    server.put(KEY, DATA, version="v2")
    for version, used in (("v1", False), ("", False), ("v2", True)):
        where = report(tmp_path / (version or "none"), row(version=version))
        _, entries, problems = snapshot(checksums=[str(where)])
        assert bool(entries["a b+c.bin"].digests) is used
        assert bool(problems) is not used


def test_a_row_of_a_version_is_refused_where_the_bucket_keeps_none(
    server: FaultServer, tmp_path: Path
) -> None:
    for version, used in (("v1", False), ("null", True), ("", True)):
        where = report(tmp_path / (version or "none"), row(version=version))
        _, entries, problems = snapshot(checksums=[str(where)])
        assert bool(entries["a b+c.bin"].digests) is used
        assert [one.code for one in problems] == ([] if used else ["report-mismatch"])
    # Where it may not be asked whether there are versions, the entity tag decides.
    server.versioning = None
    server.replies["GET", ""] = lambda seen: (
        error(403, "AccessDenied") if "versions" in seen.query else None
    )
    _, entries, _ = snapshot(checksums=[str(tmp_path / "v1" / "manifest.json")])
    assert entries["a b+c.bin"].digests


def test_an_object_written_after_the_report_is_not_the_one_it_speaks_of(
    server: FaultServer, tmp_path: Path
) -> None:
    where = report(tmp_path / "r", row(), created="2026-02-01T00:00:00.000Z")
    _, entries, problems = snapshot(checksums=[str(where)])
    assert entries["a b+c.bin"].digests == {}
    assert "after the report" in problems[0].what


def test_a_report_against_the_checksum_of_the_object_itself_is_refused(
    server: FaultServer, tmp_path: Path
) -> None:
    other = hashlib.sha256(b"edited")
    value = base64.b64encode(SHA.digest()).decode()
    server.put(
        KEY,
        DATA,
        headers={"x-amz-checksum-sha256": value, "x-amz-checksum-type": "FULL_OBJECT"},
        listing="<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
    )
    edited = row(
        checksum_hex=other.hexdigest(), checksum_base64=base64.b64encode(other.digest()).decode()
    )
    where = report(tmp_path / "r", edited)
    _, entries, problems = snapshot(checksums=[str(where)], heads="auto")
    assert entries["a b+c.bin"].digests["sha256"] == SHA.hexdigest()
    assert [one.code for one in problems] == ["report-mismatch"]


def test_an_edited_report_file_is_not_used_at_all(server: FaultServer, tmp_path: Path) -> None:
    where = report(tmp_path / "r", row())
    edited = tmp_path / "r/results/0a.csv"
    edited.write_bytes(edited.read_bytes().replace(b"SHA256", b"sha256"))
    resolved, entries, problems = snapshot(checksums=[str(where)])
    assert entries["a b+c.bin"].digests == {}
    assert [one.code for one in problems] == ["report-mismatch"]
    assert "checksumReports" not in resolved.facts


def test_failed_rows_other_buckets_and_composites_are_passed_over(
    server: FaultServer, tmp_path: Path
) -> None:
    elsewhere = row()
    elsewhere[0] = "another"
    rows = [row(status="failed"), elsewhere, row(checksumType="COMPOSITE"), row("q/x")]
    _, entries, problems = snapshot(checksums=[str(report(tmp_path / "r", *rows))])
    assert entries["a b+c.bin"].digests == {}
    assert problems == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("missing.json", None),
        ("other.json", b'{"Format":"else"}'),
        ("twice.json", b'{"a":1,"a":2}'),
        ("short.csv", b"a,b,c\n"),
        ("binary.csv", b"\xff\xfe,,,,,,\n"),
    ],
)
def test_what_is_no_report_is_wrong_usage_or_malformed(
    server: FaultServer, tmp_path: Path, name: str, data: bytes | None
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(Exception, match=name) as caught:
        snapshot(checksums=[str(tmp_path / name)])
    assert type(caught.value).__module__ == "manifestd.errors"
    if name in {"missing.json", "other.json"}:
        assert isinstance(caught.value, UsageError)
        assert caught.value.hint


def test_a_manifest_cannot_reach_outside_its_folder(server: FaultServer, tmp_path: Path) -> None:
    where = report(tmp_path / "r", row())
    (tmp_path / "secret").write_text("x")
    manifest = json.loads(where.read_text())
    manifest["Results"][0]["Key"] = "../../secret"
    where.write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="not beside it"):
        snapshot(checksums=[str(where)])


def inventory(
    folder: Path, *rows: list[str], schema: str | None = None, spoil: bool = False
) -> Path:
    data = gzip.compress(table(*rows), mtime=0)
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "part.csv.gz").write_bytes(data + (b"!" if spoil else b""))
    manifest = {
        "sourceBucket": "bucket",
        "fileFormat": "CSV",
        "creationTimestamp": "1772366400000",
        "fileSchema": schema
        or "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, "
        "StorageClass, EncryptionStatus, ChecksumAlgorithm",
        "files": [{"key": "inv/data/part.csv.gz", "MD5checksum": hashlib.md5(data).hexdigest()}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def listed_row(
    key: str, *, latest: str = "true", deleted: str = "false", kms: bool = False
) -> list[str]:
    return [
        "bucket", quote_plus(key), "v1", latest, deleted, str(len(DATA)),
        "2026-03-01T12:00:00.000Z", hashlib.md5(DATA).hexdigest(), "STANDARD",
        "SSE-KMS" if kms else "SSE-S3", "",
    ]  # fmt: skip


def test_an_inventory_replaces_the_listing(server: FaultServer, tmp_path: Path) -> None:
    where = inventory(
        tmp_path / "i",
        listed_row(KEY),
        listed_row("p/old", latest="false"),
        listed_row("p/gone", deleted="true"),
        listed_row("q/x"),
        listed_row("p/secret", kms=True),
    )
    resolved, entries, _ = snapshot(inventory=str(where), etagIsMd5=True)
    assert set(entries) == {"a b+c.bin", "secret"}
    assert entries["a b+c.bin"].identity == {
        "etag": hashlib.md5(DATA).hexdigest(),
        "versionId": "v1",
        "lastModified": "2026-03-01T12:00:00Z",
    }
    assert entries["a b+c.bin"].digests == {"md5": hashlib.md5(DATA).hexdigest()}
    assert entries["secret"].digests == {}
    assert resolved.facts["inventoryCreated"] == "2026-03-01T12:00:00Z"
    assert not any("list-type" in one.query for one in server.seen)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"spoil": True}, "checksum"),
        ({"schema": "Bucket, Key"}, "no column"),
        ({"schema": "Bucket, Key, Size, ETag"}, "fields"),
    ],
)
def test_an_inventory_that_does_not_fit_is_refused(
    server: FaultServer, tmp_path: Path, parts: dict[str, Any], words: str
) -> None:
    where = inventory(tmp_path / "i", listed_row(KEY), **parts)
    with pytest.raises(UsageError, match=words):
        snapshot(inventory=str(where))


def test_the_job_that_is_printed_is_one_aws_would_take() -> None:
    words = shlex.split(job_command("my-bucket", "it's p/"))
    assert words[:3] == ["aws", "s3control", "create-job"]
    given = dict(zip(words[3:-1:2], words[4:-1:2], strict=True))
    model = botocore.session.get_session().get_service_model("s3control")
    shape = model.operation_model("CreateJob").input_shape
    checked = ParamValidator().validate(
        {
            "AccountId": given["--account-id"],
            "ClientRequestToken": "x",
            "ConfirmationRequired": False,
            "Operation": json.loads(given["--operation"]),
            "ManifestGenerator": json.loads(given["--manifest-generator"]),
            "Report": json.loads(given["--report"]),
            "Priority": int(given["--priority"]),
            "RoleArn": given["--role-arn"],
        },
        shape,
    )
    assert not checked.has_errors(), checked.generate_report()
    assert "it's p/" in given["--manifest-generator"]


def test_advice_names_the_best_evidence_and_what_better_costs() -> None:
    entries = [
        Entry(path="a", size=10, digests={"sha256": "0" * 64}, evidence={"sha256": "stored"}),
        Entry(path="b", size=20, digests={"crc64nvme": "0" * 16}, evidence={"crc64nvme": "stored"}),
        Entry(path="c", size=30, identity={"etag": "x"}, hints={"storageClass": "GLACIER"}),
        Entry(path="d", size=40, identity={"versionId": "v1", "etag": "x"}),
        Entry(path="e", size=50, digests={"sha512": "0" * 128}, evidence={"sha512": "stored"}),
    ]
    found = explain("bucket", "p/", entries)
    assert [(one.best, one.grade, one.bytes) for one in found.advice] == [
        ("sha256", "stored", 0),
        ("crc64nvme", "stored", 20),
        ("etag", "none", 0),
        ("versionId", "none", 40),
        ("sha512", "stored", 50),
    ]
    # A checksum of the whole object has no parts to compare by.
    assert found.advice[4].how == "read it once for a sha256, or the other side for a sha512"
    assert (found.requests, found.bytes) == (3, 110)
    assert found.command is not None
    assert explain("bucket", "p/", entries[:1]).command is None
