"""What is in a bucket below a prefix: pages of ListObjectsV2 or ListObjectVersions.

Keys are opaque: neither ``//`` nor ``..`` nor a normal form means anything, and nothing
is said about their order (directory buckets have none).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from manifestd.errors import UnreachableError
from manifestd.sources.s3_client import Connection, bare
from manifestd.sources.s3_errors import FAULTS, final, shown, translate

_LISTED: Final = frozenset({"IsTruncated", "Contents", "Versions", "DeleteMarkers", "Name"})
"""Members of which every listing has one."""


class Listed(NamedTuple):
    """One object as a listing or an inventory shows it.

    Attributes:
        key: The whole key, literally.
        size: Bytes.
        etag: Entity tag without quotes; may be empty.
        modified: RFC 3339 UTC, empty if unknown.
        version: Version id where versions were listed; ``"null"`` is one, None is not known.
        storage: Storage class, empty for the standard one.
        algorithms: Checksum algorithms the listing names; None if it names none.
        kind: ``FULL_OBJECT`` or ``COMPOSITE``, None if the listing does not say.
        encryption: An inventory's word on encryption (``SSE-S3``, ``NOT-SSE`` …).
    """

    key: str
    size: int
    etag: str
    modified: str
    version: str | None = None
    storage: str = ""
    algorithms: tuple[str, ...] | None = None
    kind: str | None = None
    encryption: str | None = None


def list_objects(connection: Connection, prefix: str) -> Iterator[Listed]:
    """Every current object whose key starts with ``prefix``.

    Raises:
        SourceNotFoundError, AccessDeniedError, UnreachableError, RateLimitedError: As S3 says.
    """
    arguments: dict[str, Any] = {"Bucket": connection.bucket, "Prefix": prefix}
    passed = set[str]()
    while True:
        page = _page(connection, "list_objects_v2", arguments)
        for item in page.get("Contents", ()):
            yield _listed(connection, item, None)
        following = page.get("NextContinuationToken")
        if not page.get("IsTruncated"):
            return
        if not following or following in passed:
            raise _endless(connection, prefix)
        passed.add(following)
        arguments["ContinuationToken"] = following


def list_versions(connection: Connection, prefix: str) -> Iterator[Listed]:
    """Every current object with its version id; older versions and delete markers are passed over.

    Raises:
        SourceNotFoundError, AccessDeniedError, UnreachableError, RateLimitedError: As S3 says.
    """
    arguments: dict[str, Any] = {"Bucket": connection.bucket, "Prefix": prefix}
    passed = set[tuple[Any, Any]]()
    while True:
        page = _page(connection, "list_object_versions", arguments)
        for item in page.get("Versions", ()):
            if item.get("IsLatest"):
                yield _listed(connection, item, item.get("VersionId"))
        if not page.get("IsTruncated"):
            return
        marker = (page.get("NextKeyMarker"), page.get("NextVersionIdMarker"))
        if not marker[0] or marker in passed:
            raise _endless(connection, prefix)
        passed.add(marker)
        arguments["KeyMarker"] = marker[0]
        if marker[1]:
            arguments["VersionIdMarker"] = marker[1]


def neighbours(connection: Connection, prefix: str) -> list[str]:
    """A few names that begin like an empty folder, for a hint; empty if even that is refused."""
    try:
        page = connection.call(
            "list_objects_v2",
            Bucket=connection.bucket,
            Prefix=prefix.rstrip("/"),
            Delimiter="/",
            MaxKeys=6,
        )
    except FAULTS:
        return []
    folders = [item.get("Prefix", "") for item in page.get("CommonPrefixes", ())]
    return [name for name in (*folders, *_keys(page)) if name != prefix][:5]


def _keys(page: dict[str, Any]) -> list[str]:
    return [item["Key"] for item in page.get("Contents", ()) if "Key" in item]


def _page(connection: Connection, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    # A page of broken XML is a 500 to botocore, so its retries fetch that page again.
    try:
        page = connection.call(operation, **arguments)
    except FAULTS as error:
        raise final(translate(error, connection.bucket)) from error
    if _LISTED.isdisjoint(page):
        # botocore takes any XML, a log-in page too, for a listing of nothing.
        raise _senseless(connection)
    return page


def _listed(connection: Connection, item: dict[str, Any], version: str | None) -> Listed:
    if "Key" not in item or "Size" not in item:
        raise _senseless(connection)
    modified = item.get("LastModified")
    algorithms = item.get("ChecksumAlgorithm")
    storage = item.get("StorageClass", "")
    return Listed(
        item["Key"],
        item["Size"],
        bare(item.get("ETag")),
        utc(modified) if modified else "",
        version,
        "" if storage == "STANDARD" else storage,
        tuple(algorithms) if algorithms else None,
        item.get("ChecksumType"),
    )


def utc(moment: datetime) -> str:
    """A time as RFC 3339 UTC; one without a zone is taken to be UTC, as S3's all are."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elif moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _senseless(connection: Connection) -> UnreachableError:
    return UnreachableError(
        f"{shown(connection.bucket)}: the answer is no listing",
        hint="check AWS_ENDPOINT_URL_S3 and the proxy settings (a log-in page?)",
    )


def _endless(connection: Connection, prefix: str) -> UnreachableError:
    return UnreachableError(
        f"{shown(connection.bucket, prefix)}: the listing says it goes on and does not say where",
        hint="check that AWS_ENDPOINT_URL_S3 is an S3 service",
    )
