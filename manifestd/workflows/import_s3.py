"""S3's own documents as evidence, offline: inventories and Compute-checksum reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from manifestd.errors import UsageError
from manifestd.model.evidence import Grade
from manifestd.model.reference import S3Reference, parse_s3
from manifestd.model.snapshot import SourceFacts
from manifestd.sources.s3_checksums import md5_etag
from manifestd.sources.s3_evidence import UNENCRYPTED
from manifestd.sources.s3_inventory import Inventory
from manifestd.sources.s3_listing import Listed as S3Object
from manifestd.sources.s3_reports import Reports
from manifestd.workflows.evidence_record import Listed


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What S3's document says.

    Attributes:
        name: The place, short.
        files: Its objects.
        facts: About the document.
        notes: What was not used, and why.
    """

    name: str
    files: list[Listed]
    facts: SourceFacts
    notes: list[str]


def read_inventory(
    path: Path, document: dict[str, Any], place: str | None, reports: tuple[Path, ...]
) -> Read:
    """Objects of an inventory that lies on disk, with the checksums of reports about them.

    A listing declares; what S3 computed at rest of exactly the object listed is stored
    evidence.

    Raises:
        UsageError: Not such documents, or their tables are not beside them.
    """
    where = parse_s3(place or f"s3://{document.get('sourceBucket', '')}/")
    inventory = Inventory(str(path), None)
    found = _reports(where, reports)
    files = []
    for item in inventory.objects(where.bucket, where.prefix):
        digests: dict[str, str] = {}
        if item.encryption in UNENCRYPTED:
            md5 = md5_etag(item.etag, UNENCRYPTED[item.encryption], trusted=True)
            digests = {"md5": md5} if md5 is not None else {}
        evidence: dict[str, Grade] = dict.fromkeys(digests, "declared")
        hints: dict[str, Any] = {}
        found.attach(item, digests, hints)
        evidence |= {name: "stored" for name in digests if name not in evidence}
        files.append(
            Listed(
                path=item.key[len(where.prefix) :],
                size=item.size,
                digests=digests,
                evidence=evidence,
                identity=_identity(item),
                hints=hints,
            )
        )
    return Read(
        name=_name(where),
        files=[file for file in files if file.path],
        facts={"place": where.place(), "created": inventory.created, **_origins(found)},
        notes=[problem.what for problem in found.refused()],
    )


def read_report(path: Path, place: str | None) -> Read:
    """Checksums of a completion report by itself. It names no sizes.

    Raises:
        UsageError: No place given, or not such a report.
    """
    if place is None:
        raise UsageError(
            "a Compute-checksum report may be about many places",
            hint="name the one to import: --place s3://bucket/prefix/",
        )
    where = parse_s3(place)
    found = _reports(where, (path,))
    files = []
    for key in sorted(found.keys):
        digests, identity, hints = found.agreed(key)
        if digests:
            files.append(
                Listed(
                    path=key[len(where.prefix) :],
                    digests=digests,
                    evidence=dict.fromkeys(digests, "stored"),
                    identity=identity,
                    hints=hints,
                )
            )
    return Read(
        name=_name(where),
        files=[file for file in files if file.path],
        facts={"place": where.place(), **_origins(found)},
        notes=[problem.what for problem in found.refused()],
    )


def _reports(where: S3Reference, paths: tuple[Path, ...]) -> Reports:
    found = Reports(where.bucket, where.prefix)
    for path in paths:
        found.load(str(path), None)
    return found


def _origins(found: Reports) -> SourceFacts:
    return {"checksumReports": [origin.digest for origin in found.origins]} if found.origins else {}


def _identity(item: S3Object) -> dict[str, str]:
    known = {"etag": item.etag, "versionId": item.version or "", "lastModified": item.modified}
    return {name: value for name, value in known.items() if value}


def _name(where: S3Reference) -> str:
    return f"{where.bucket}/{where.prefix}".rstrip("/")
