"""Checksums that S3 computed at rest, inventories, and the advice that leads there; as commands."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.e2e.world import put_claimed, put_whole
from tests.sources.test_s3_reports import inventory, listed_row, report, row
from tests.support.s3_faults import FaultServer, error
from tests.support.schemas import check_document

MIRROR = "s3://bucket/p/"
DATA = {f"{name}.dat": name.encode() * 1000 for name in "abcd"}
SHA = {path: hashlib.sha256(data).hexdigest() for path, data in DATA.items()}
MD5 = {path: hashlib.md5(data).hexdigest() for path, data in DATA.items()}


def told(path: str, **other: str) -> list[str]:
    """A report row that is right, but for ``other``."""
    message = {"checksum_hex": SHA[path], "checksum_base64": "", "etag": MD5[path], **other}
    version = message.pop("version", "")
    return row(f"p/{path}", version=version, **message)


@pytest.fixture
def mirror(faulty_s3: FaultServer) -> FaultServer:
    for path, data in DATA.items():
        faulty_s3.put(f"p/{path}", data, version="v1")
    faulty_s3.versioning = "Enabled"
    return faulty_s3


def test_wrong_rows_of_a_report_are_refused_object_by_object_and_said(
    desk: Desk, mirror: FaultServer, tmp_path: Path
) -> None:
    rows = [
        told("a.dat", version="v1"),
        told("b.dat", version="v1", etag="0" * 32),
        told("c.dat", version="v0"),
        told("d.dat", version="v1", checksum_base64="AAAA"),
    ]
    where = str(report(tmp_path / "report", *rows))
    taken = desk.json("snapshot", "s3", MIRROR, "--read", "none", "--checksums", where, code=3)
    files = {file["path"]: file for file in desk.json("files", MIRROR)["files"]}
    assert files["a.dat"]["digests"]["sha256"] == SHA["a.dat"]
    assert files["a.dat"]["evidence"]["sha256"] == "stored"
    assert taken["evidence"]["stored"] == 1
    refused = {
        one["path"]: one["what"] for one in taken["problems"] if one["code"] == "report-mismatch"
    }
    assert refused.keys() == {"b.dat", "c.dat", "d.dat"}
    assert "entity tag" in refused["b.dat"]
    assert "version v0" in refused["c.dat"]
    assert "makes no sense" in refused["d.dat"]
    assert mirror.sent == 0
    shown = desk("show", MIRROR).out
    assert "  checksumReports  job " in shown
    assert "['" not in shown
    # What the report does not say is read, and nothing else.
    taken = desk.json("snapshot", "s3", MIRROR, "--checksums", where)
    assert taken["evidence"] == {
        "measured": 3, "reused": 0, "stored": 1, "declared": 0, "none": 0,
    }  # fmt: skip
    assert taken["bytesRead"] == mirror.sent == 3000


def test_a_report_edited_after_the_job_is_refused_whole(
    desk: Desk, mirror: FaultServer, tmp_path: Path
) -> None:
    where = report(tmp_path / "report", told("a.dat", version="v1"))
    table = next((tmp_path / "report" / "results").iterdir())
    table.write_bytes(table.read_bytes().replace(SHA["a.dat"].encode(), b"0" * 64))
    taken = desk.json("snapshot", "s3", MIRROR, "--read", "none", "--checksums", str(where), code=3)
    assert taken["evidence"]["stored"] == 0
    assert any(
        "does not have the checksum its manifest" in one["what"] for one in taken["problems"]
    )


def test_a_forged_report_is_found_when_the_bytes_are_read(
    desk: Desk, mirror: FaultServer, tmp_path: Path
) -> None:
    where = str(report(tmp_path / "report", told("a.dat", version="v1", checksum_hex="0" * 64)))
    taken = desk.json("snapshot", "s3", MIRROR, "--read", "all", "--checksums", where, code=4)
    [problem] = [one for one in taken["problems"] if one.get("severity") == "mismatch"]
    assert (problem["path"], problem["code"]) == ("a.dat", "digest-mismatch")
    files = {file["path"]: file for file in desk.json("files", MIRROR)["files"]}
    assert files["a.dat"]["digests"]["sha256"] == SHA["a.dat"]


def test_a_permission_that_is_missing_is_named_beside_the_note(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    data = bytes(300_000)
    put_whole(faulty_s3, "p/a.bin", data)
    faulty_s3.replies["HEAD", "p/a.bin"] = lambda seen: error(403, "AccessDenied")
    said = desk("snapshot", "s3", MIRROR, "--read", "none", code=3).err.splitlines()
    note = next(number for number, line in enumerate(said) if "HEAD is denied" in line)
    assert said[note].startswith("Note: ")
    assert said[note + 1].strip().startswith("hint: needs s3:GetObject")


def test_an_inventory_is_listed_and_what_changed_since_is_found_when_read(
    desk: Desk, mirror: FaultServer, tmp_path: Path
) -> None:
    rows = []
    for path, data in DATA.items():
        one = listed_row(f"p/{path}")
        one[5], one[7] = str(len(data)), MD5[path]
        rows.append(one)
    where = str(inventory(tmp_path / "inventory", *rows))
    taken = desk.json("snapshot", "s3", MIRROR, "--inventory", where)
    assert (taken["files"], taken["evidence"]["measured"]) == (4, 4)
    assert not any("list-type" in one.query or "versions" in one.query for one in mirror.seen
                   if not one.key and "prefix" in one.query and one.query.get("max-keys") != "1")  # fmt: skip
    mirror.put("p/a.dat", b"x" * 1000, version="v2")
    mirror.put("p/e.dat", b"new", version="v1")
    taken = desk.json("snapshot", "s3", MIRROR, "--inventory", where, "--fresh", code=3)
    [problem] = [one for one in taken["problems"] if one.get("severity") is None]
    assert (problem["path"], problem["code"]) == ("a.dat", "changed-while-reading")


def test_explain_says_what_is_known_what_better_costs_and_reads_nothing(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    data = bytes(300_000)
    put_whole(faulty_s3, "p/proved.bin", data)
    put_whole(faulty_s3, "p/weak.bin", data, "CRC64NVME")
    faulty_s3.put("p/cold.bin", data, listing="<StorageClass>DEEP_ARCHIVE</StorageClass>")
    ran = desk("snapshot", "s3", "s3://bucket/p", "--explain", "--format", "json")
    check_document("explanation", ran.out)
    found = ran.document
    assert (found["source"], found["objects"], found["size"]) == (MIRROR, 3, 900_000)
    assert [(one["path"], one["best"], one["bytes"]) for one in found["advice"]] == [
        ("cold.bin", "etag", 0), ("proved.bin", "sha256", 0), ("weak.bin", "crc64nvme", 300_000),
    ]  # fmt: skip
    assert "S3ComputeObjectChecksum" in found["command"]
    assert faulty_s3.sent == 0
    assert desk.json("list")["snapshots"] == []
    text = desk("snapshot", "s3", MIRROR, "--explain").out
    assert "weak.bin    293.0 KiB  crc64nvme" in text
    assert "archived: only the batch job reads it without a restore" in text
    assert "takes 1 request, 293.0 KiB" in text


def test_a_prefix_with_nothing_to_gain_needs_no_job(desk: Desk, faulty_s3: FaultServer) -> None:
    put_whole(faulty_s3, "p/a", b"a")
    assert "reads nothing for it" in desk("snapshot", "s3", MIRROR, "--explain").out


def test_s3_options_are_for_s3_and_are_checked(desk: Desk, faulty_s3: FaultServer) -> None:
    put_whole(faulty_s3, "p/a", b"a")
    assert desk("snapshot", "hf", "acme/tiny", "--anonymous", code=2)
    assert "heads" in desk("snapshot", "s3", MIRROR, "--s3-option", "heads=often", code=2).err
    assert desk("snapshot", "s3", MIRROR, "--s3-option", "often", code=2)
    desk("snapshot", "s3", MIRROR, "--anonymous", "--s3-option", "heads=never")
    assert not any("authorization" in one.headers for one in faulty_s3.seen)
    assert faulty_s3.count("HEAD") == 0


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32", "SHA1"])
def test_an_object_whose_bytes_contradict_its_checksum_is_a_mismatch(
    desk: Desk, faulty_s3: FaultServer, algorithm: str
) -> None:
    length = {"CRC64NVME": 8, "CRC32": 4, "SHA1": 20}[algorithm]
    data = bytes(300_000)
    put_claimed(faulty_s3, "p/bad.dat", data, algorithm, b"\1" * length)
    put_whole(faulty_s3, "p/good.dat", data)
    taken = desk.json("snapshot", "s3", MIRROR, "--read", "all", code=4)
    [problem] = [one for one in taken["problems"] if one.get("severity") == "mismatch"]
    assert (problem["path"], problem["code"]) == ("bad.dat", "digest-mismatch")


def test_small_weak_checksums_are_asked_for_only_when_nothing_is_read(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    put_whole(faulty_s3, "p/small.json", b"{}", "CRC64NVME")
    desk("snapshot", "s3", MIRROR)
    assert faulty_s3.count("HEAD") == 0
    desk("snapshot", "s3", MIRROR, "--read", "none", "--fresh", code=3)
    assert faulty_s3.count("HEAD") == 1
    [file] = desk.json("files", MIRROR)["files"]
    assert file["digests"].keys() == {"crc64nvme"}
