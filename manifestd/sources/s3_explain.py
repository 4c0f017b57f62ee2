"""What each object's best evidence is, what better would cost, and the job that makes it free."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Final

from manifestd.model.digest import STRONG
from manifestd.model.entry import Entry
from manifestd.model.evidence import Grade
from manifestd.model.explanation import Advice, Explanation, Standing

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
_PROBLEM: Final = "see the problem"
_ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


MAX_ADVICE: Final = 5000
"""Objects told one by one; the rest is only counted, so that memory stays flat."""


def explain(bucket: str, prefix: str, entries: Iterable[Entry]) -> Explanation:
    """Judge entries of one prefix before any of them is read."""
    advice: list[Advice] = []
    sums: dict[tuple[str, Grade, str, str], list[int]] = {}
    for entry in entries:
        found = _advise(entry)
        if len(advice) < MAX_ADVICE:
            advice.append(found)
        # What an object's own problem says is no kind of standing.
        how = _PROBLEM if entry.problem is not None else found.how
        total = sums.setdefault((found.best, found.grade, found.says, how), [0, 0, 0, 0])
        for index, count in enumerate((1, found.size, found.requests, found.bytes)):
            total[index] += count
    standings = [
        Standing(
            best=best, grade=grade, says=says, how=how,
            objects=objects, size=size, requests=requests, bytes=read,
        )
        for (best, grade, says, how), (objects, size, requests, read) in sums.items()
    ]  # fmt: skip
    standings.sort(key=lambda one: (-one.size, one.best))
    objects = sum(one.objects for one in standings)
    return Explanation(
        source=f"s3://{bucket}/{prefix}",
        objects=objects,
        size=sum(one.size for one in standings),
        standings=standings,
        requests=sum(one.requests for one in standings),
        bytes=sum(one.bytes for one in standings),
        command=job_command(bucket, prefix) if any(one.how for one in standings) else None,
        advice=advice,
        more_advice=objects - len(advice),
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
    for name in sorted(entry.digests):
        return name, "a checksum: proves a difference where both sides have it, never equality"
    if algorithms := entry.hints.get("checksumAlgorithms"):
        return "etag", f"S3 has a {algorithms[0]} of it, which was not asked for"
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
    if best.endswith("-composite") and best in STRONG:
        return "read it once for a sha256, or compare by parts", 1, entry.size
    if best in STRONG:
        return "read it once for a sha256, or the other side for a sha512", 1, entry.size
    return "read it once for a sha256", 1, entry.size


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
