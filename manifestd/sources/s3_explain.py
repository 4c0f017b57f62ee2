"""What each object's best evidence is, what better would cost, and the job that makes it free."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Final

import msgspec

from manifestd.model.digest import STRONG
from manifestd.model.entry import Entry

# Strongest first (the ladder): what is known, and what it can say.
_LADDER: Final[tuple[tuple[str, str], ...]] = (
    ("sha256", "S3 vouches for the sha256: comparable with every other source, nothing to read"),
    ("sha512", "S3 vouches for the sha512: comparable with sides that have one"),
    ("sha256-composite", "sha256 of part digests: comparable where the other side's parts are known"),
    ("sha512-composite", "sha512 of part digests: comparable where the other side's parts are known"),
    ("md5", "MD5: proves a difference, never equality"),
    ("md5-composite", "MD5 of part MD5s: proves a difference where the parts are known"),
    ("crc64nvme", "64-bit CRC: proves a difference, never equality"),
    ("crc32c", "32-bit CRC: proves a difference, never equality"),
    ("crc32", "32-bit CRC: proves a difference, never equality"),
    ("sha1", "SHA-1: proves a difference, never equality"),
)  # fmt: skip
_ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class Advice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object's standing.

    Attributes:
        path: The object below the prefix.
        size: Bytes.
        best: The strongest checksum known now, ``etag`` or ``size`` if there is none.
        grade: ``stored`` where S3 vouches for it, else ``none``.
        says: What that is good for.
        requests: Requests that better evidence would take without a batch job.
        bytes: Content bytes that better evidence would take without a batch job.
        how: What to do for better evidence, empty if there is nothing better.
    """

    path: str
    size: int
    best: str
    grade: str
    says: str
    requests: int
    bytes: int
    how: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Advice for a whole listing.

    Attributes:
        advice: One item an entry, in the order given.
        requests: Sum of what better evidence takes.
        bytes: Sum of what better evidence takes.
        command: The batch job that gives every object a sha256 without reading any here;
            capitals are to be filled in. None if nothing is to be gained.
    """

    advice: tuple[Advice, ...]
    requests: int
    bytes: int
    command: str | None


def explain(bucket: str, prefix: str, entries: Iterable[Entry]) -> Explanation:
    """Judge entries of one prefix before any of them is read."""
    advice = tuple(_advise(entry) for entry in entries)
    better = any(item.how for item in advice)
    return Explanation(
        advice=advice,
        requests=sum(item.requests for item in advice),
        bytes=sum(item.bytes for item in advice),
        command=job_command(bucket, prefix) if better else None,
    )


def job_command(bucket: str, prefix: str) -> str:
    """The AWS command for a "Compute checksum" job over one prefix.

    Its completion report is what ``--checksums`` reads. The role needs to read the
    objects and to write the report (S3 User Guide, "Compute checksums").
    """
    operation = {
        "S3ComputeObjectChecksum": {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    }
    name = bucket if bucket.startswith("arn:") else f"arn:aws:s3:::{bucket}"
    chosen = {"KeyNameConstraint": {"MatchAnyPrefix": [prefix]}} if prefix else {}
    manifest = {
        "S3JobManifestGenerator": {
            "SourceBucket": name,
            "EnableManifestOutput": False,
            "Filter": chosen,
        }
    }
    report = {
        "Bucket": "arn:aws:s3:::REPORT-BUCKET",
        "Prefix": "manifestd",
        "Format": "Report_CSV_20180820",
        "Enabled": True,
        "ReportScope": "AllTasks",
    }
    parts = [
        "aws", "s3control", "create-job", "--account-id", "ACCOUNT",
        "--operation", _json(operation),
        "--manifest-generator", _json(manifest),
        "--report", _json(report),
        "--priority", "10",
        "--role-arn", "arn:aws:iam::ACCOUNT:role/ROLE",
        "--no-confirmation-required",
    ]  # fmt: skip
    return shlex.join(parts)


def _advise(entry: Entry) -> Advice:
    best, says = _best(entry)
    how, requests, size = _better(entry, best)
    return Advice(
        path=entry.path,
        size=entry.size,
        best=best,
        grade=entry.evidence.get(best, "none"),
        says=says,
        requests=requests,
        bytes=size,
        how=how,
    )


def _best(entry: Entry) -> tuple[str, str]:
    for name, says in _LADDER:
        if name in entry.digests:
            return name, says
    if entry.identity.get("versionId", "null") != "null":
        return "versionId", "a version id: the same bytes as that version of this bucket"
    if entry.identity.get("etag"):
        return "etag", "an opaque entity tag: shows that the object changed, not what it holds"
    return "size", "only the size is known"


def _better(entry: Entry, best: str) -> tuple[str, int, int]:
    """What would be better, and its requests and content bytes."""
    if best == "sha256":
        return "", 0, 0
    if entry.problem is not None:
        return f"first: {entry.problem.what}", 0, 0
    if entry.hints.get("storageClass") in _ARCHIVED:
        return "archived: only the batch job reads it without a restore", 0, 0
    if best in STRONG:
        return "read it once for a sha256, or compare by parts", 1, entry.size
    return "read it once for a sha256", 1, entry.size


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
