"""Completion reports of S3 Batch Operations "Compute checksum" jobs, as evidence.

S3 hashes objects at rest, archived ones included, and writes a CSV row for each:
bucket, key, version, status, two codes and a JSON message with ``etag``,
``checksumAlgorithm``, ``checksumType``, ``checksum_base64`` and ``checksum_hex``. A row
counts for an object only if it speaks of exactly the object that was listed.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, UsageError
from manifestd.model.digest import HEX_LENGTH, check_value
from manifestd.model.entry import Problem
from manifestd.sources.s3_checksums import FULL, to_hex
from manifestd.sources.s3_client import Connection, bare, quick_timestamp
from manifestd.sources.s3_documents import MAX_TABLE, Document, beside, fetch, fetch_json
from manifestd.sources.s3_errors import shown
from manifestd.sources.s3_listing import Listed, utc

COLUMNS: Final = (
    "Bucket", "Key", "VersionId", "TaskStatus", "ErrorCode", "HTTPStatusCode", "ResultMessage",
)  # fmt: skip
_JOB: Final = re.compile(r"job-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_MAX_FIELD: Final = 1 << 16


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row comes from.

    Attributes:
        job: The batch job's id, as far as the report's name or its manifest tell.
        digest: ``sha256:`` of the report file.
        created: When the report was written, RFC 3339 UTC; empty if no manifest says so.
    """

    job: str
    digest: str
    created: str = ""


class Row(NamedTuple):
    """One computed checksum."""

    version: str
    etag: str
    algorithm: str
    value: str
    origin: Origin


class Reports:
    """The rows of all reports that concern one prefix.

    Args:
        bucket: The bucket listed.
        prefix: Rows with other keys are not kept.

    Attributes:
        origins: The files that were read.
        unversioned: The bucket keeps no versions, so no row can be of one.
        keys: Every key below the prefix that a row gives a checksum of.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._rows: dict[str, list[Row]] = {}
        self.origins: list[Origin] = []
        self.unversioned = False
        self.keys: set[str] = set()
        self._refused: deque[Problem] = deque()

    def load(self, where: str, connection: Connection | None) -> None:
        """Read a report's ``manifest.json`` with all files it names, or one CSV file.

        Raises:
            UsageError: It cannot be found, or is no such report.
            ManifestdError: As S3 says.
        """
        if not where.endswith(".json"):
            self._load_table(fetch(where, connection, limit=MAX_TABLE), Origin(job="", digest=""))
            return
        manifest, _ = fetch_json(where, connection)
        for result, created in _results(manifest, where):
            places = beside(where, str(result.get("Key", "")))
            if not places:
                raise UsageError(
                    f"{where} names {result.get('Key')!r}, which is not beside it",
                    hint="download the job's whole report folder, or give its s3:// URL",
                )
            table = fetch(places[0], connection, limit=MAX_TABLE)
            if table.md5 != str(result.get("MD5Checksum", "")).lower():
                table.close()
                self._refused.append(
                    Problem(
                        code="report-mismatch",
                        what=f"the report {places[0]} does not have the checksum its manifest "
                        "states; none of it is used",
                        hint="download it again",
                        severity="note",
                    )
                )
                continue
            job = _job(str(result.get("Key", "")))
            self._load_table(table, Origin(job=job, digest="", created=created))

    def _load_table(self, table: Document, origin: Origin) -> None:
        origin = msgspec.structs.replace(
            origin, job=origin.job or _job(table.where), digest=f"sha256:{table.sha256}"
        )
        self.origins.append(origin)
        try:
            for fields in _rows(table):
                self._row(fields, origin)
        finally:
            table.close()

    def _row(self, fields: list[str], origin: Origin) -> None:
        bucket, raw_key, version, status = fields[:4]
        # Batch Operations writes keys URL-encoded; a key the listing has literally wins later.
        key = unquote_plus(raw_key)
        if bucket != self._bucket or status.lower() != "succeeded":
            return
        if not key.startswith(self._prefix) and not raw_key.startswith(self._prefix):
            return
        try:
            row = _checksum(version, fields[6], origin)
        except MalformedError as error:
            self._refuse(key, f"its report row makes no sense: {error.what}")
            return
        if row is None:
            return
        self.keys.add(key)
        for name in {key, raw_key}:
            self._rows.setdefault(name, []).append(row)

    def covers(self, item: Listed) -> bool:
        """Whether a row gives this object's sha256."""
        return any(row.algorithm == "sha256" for row in self._rows.get(item.key, ()))

    def attach(self, item: Listed, digests: dict[str, str], hints: dict[str, Any]) -> None:
        """Add the checksums that reports have of exactly this object.

        A row for another entity tag, version or time, or against what S3 says of the
        object itself, or against another row, is refused and noted for this object.
        """
        rows = self._rows.get(item.key)
        if not rows:
            return
        accepted: dict[str, Row] = {}
        for row in rows:
            why = _mismatch(row, item, digests, unversioned=self.unversioned)
            if why is None and accepted.get(row.algorithm, row).value != row.value:
                why = "two reports give it different checksums"
                del accepted[row.algorithm]
            if why is not None:
                self._refuse(item.key, why)
                if why.startswith("two"):
                    break
                continue
            accepted[row.algorithm] = row
        for algorithm, row in accepted.items():
            digests[algorithm] = row.value
            hints["report"] = {"job": row.origin.job, "digest": row.origin.digest}

    def agreed(self, key: str) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
        """What rows alone say of an object that nothing lists: digests, identity, hints.

        Rows that speak of two states of it, or contradict each other, give nothing.
        """
        rows = self._rows.get(key, [])
        digests = {row.algorithm: row.value for row in rows}
        if len({(row.version, row.etag) for row in rows}) != 1 or any(
            digests[row.algorithm] != row.value for row in rows
        ):
            self._refuse(key, "its rows are of several versions, or give different checksums")
            return {}, {}, {}
        last = rows[-1]
        known = {"etag": last.etag, "versionId": last.version}
        hints = {"report": {"job": last.origin.job, "digest": last.origin.digest}}
        return digests, {name: value for name, value in known.items() if value}, hints

    def refused(self) -> Iterator[Problem]:
        """Take out the notes about rows and files that were refused so far."""
        while self._refused:
            yield self._refused.popleft()

    def _refuse(self, key: str, why: str) -> None:
        self._refused.append(
            Problem(
                path=key[len(self._prefix) :],
                code="report-mismatch",
                what=f"a checksum report is not used for {shown(self._bucket, key)}: {why}",
                hint="run the job again for the objects as they are now",
                severity="note",
            )
        )


def _mismatch(row: Row, item: Listed, digests: dict[str, str], *, unversioned: bool) -> str | None:
    """Why a row does not speak of the listed object; None if it does."""
    if not row.etag or row.etag != item.etag:
        return (
            f"it is of an object with the entity tag {row.etag or '(none)'}, listed is {item.etag}"
        )
    listed, stated = item.version or "null", row.version or "null"
    if item.version is not None and listed != stated:
        return f"it is of version {stated}, listed is {listed}"
    if unversioned and stated != "null":
        return f"it is of version {stated}, and the bucket keeps no versions"
    if row.origin.created and item.modified > row.origin.created:
        return f"the object was written at {item.modified}, after the report"
    known = digests.get(row.algorithm)
    if known is not None and known != row.value:
        return f"S3 says {row.algorithm} {known} of the object itself, the report {row.value}"
    return None


def _checksum(version: str, message: str, origin: Origin) -> Row | None:
    """The checksum in a row's message; None for one of parts, which has no layout here.

    Raises:
        MalformedError: Not such a message, or its two spellings disagree.
    """
    found = canonical.decode_foreign(message.encode(), name="message", max_size=_MAX_FIELD)
    if not isinstance(found, dict):
        raise MalformedError("the message is no object")
    algorithm = str(found.get("checksumAlgorithm", "")).lower()
    if found.get("checksumType") != FULL or algorithm not in HEX_LENGTH:
        return None
    text, coded = found.get("checksum_hex"), found.get("checksum_base64")
    values = {check_value(algorithm, str(text).lower())} if text else set()
    if coded:
        values.add(to_hex(algorithm, str(coded)))
    if len(values) != 1:
        raise MalformedError("its base64 and hex forms are not the same value")
    etag = bare(found.get("etag", found.get("ETag")))
    return Row("" if version == "null" else version, etag, algorithm, values.pop(), origin)


def _rows(table: Document) -> Iterator[list[str]]:
    text = io.TextIOWrapper(table.file, encoding="utf-8", errors="strict", newline="")
    try:
        for number, fields in enumerate(csv.reader(text), 1):
            if number == 1 and tuple(field.strip() for field in fields) == COLUMNS:
                continue
            if len(fields) != len(COLUMNS):
                raise UsageError(
                    f"{table.where} is no completion report: line {number} has {len(fields)} "
                    f"fields instead of {len(COLUMNS)}",
                    hint="give the manifest.json of a Compute checksum job's report",
                )
            yield fields
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{table.where} is no completion report", why=str(error)) from error
    finally:
        text.detach()


def _results(manifest: Any, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The report files of succeeded tasks that a manifest names, with its date."""
    if not isinstance(manifest, dict) or manifest.get("Format") != "Report_CSV_20180820":
        raise UsageError(
            f"{where} is not the manifest of a completion report",
            hint="give the manifest.json of a Compute checksum job's report",
        )
    created = _moment(manifest.get("ReportCreationDate"))
    for result in manifest.get("Results") or ():
        if isinstance(result, dict) and result.get("TaskExecutionStatus") == "succeeded":
            yield result, created


def _moment(text: object) -> str:
    try:
        return utc(quick_timestamp(text)) if isinstance(text, str) else ""
    except (ValueError, OverflowError):
        return ""


def _job(text: str) -> str:
    match = _JOB.search(text)
    return match[1] if match else ""
