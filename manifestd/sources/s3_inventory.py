"""S3 Inventory instead of listing: a nightly table of the bucket that S3 wrote itself.

It has no checksum value, only the algorithm's name, and it shows the bucket as it was
when the inventory was made: what changed since is found when it is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

from manifestd.errors import UsageError
from manifestd.sources.s3_client import Connection, bare, quick_timestamp
from manifestd.sources.s3_documents import MAX_TABLE, beside, fetch, fetch_json
from manifestd.sources.s3_listing import Listed, utc

_NEEDED: Final = ("Bucket", "Key", "Size", "ETag")


class Inventory:
    """One inventory, its manifest read and its tables checked when they are.

    Args:
        where: Path or URL of ``manifest.json``.
        connection: Where URLs are fetched; None: only files are read.

    Raises:
        UsageError: Not an inventory in CSV, or without the columns that are needed.

    Attributes:
        created: When the inventory was started, RFC 3339 UTC, empty if it does not say.
        digest: ``sha256:`` of the manifest.
    """

    def __init__(self, where: str, connection: Connection | None) -> None:
        self._where = where
        self._connection = connection
        manifest, sha256 = fetch_json(where, connection)
        self.digest = f"sha256:{sha256}"
        if not isinstance(manifest, dict) or "fileSchema" not in manifest:
            raise UsageError(
                f"{where} is not the manifest of an S3 Inventory",
                hint="give the manifest.json that S3 wrote beside the inventory's checksum",
            )
        if manifest.get("fileFormat") != "CSV":
            raise UsageError(
                f"{where} is an inventory in {manifest.get('fileFormat')}",
                hint="configure the inventory to write CSV",
            )
        self._columns = [name.strip() for name in str(manifest["fileSchema"]).split(",")]
        missing = [name for name in _NEEDED if name not in self._columns]
        if missing:
            raise UsageError(
                f"{where} has no column {', '.join(missing)}",
                hint="add Size and ETag to the inventory's optional fields",
            )
        self._files: list[Any] = manifest.get("files") or []
        self.created = _created(manifest.get("creationTimestamp"))

    def objects(self, bucket: str, prefix: str) -> Iterator[Listed]:
        """Every current object of ``bucket`` whose key starts with ``prefix``.

        Raises:
            UsageError: A table is missing, or not the one the manifest names.
        """
        for entry in self._files:
            key = str(entry.get("key", ""))
            places = beside(self._where, key)
            if not places:
                raise UsageError(
                    f"{self._where} names {key!r}, which is not beside it",
                    hint="download the inventory's data folder too, or give the s3:// URL",
                )
            table = fetch(places[0], self._connection, limit=MAX_TABLE)
            try:
                if table.md5 != str(entry.get("MD5checksum", "")).lower():
                    raise UsageError(
                        f"{places[0]} does not have the checksum its manifest states",
                        hint="download it again",
                    )
                with gzip.open(table.file) as plain:
                    text = io.TextIOWrapper(plain, encoding="utf-8", newline="")
                    for fields in csv.reader(text):
                        item = self._item(fields, bucket, prefix)
                        if item is not None:
                            yield item
            except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
                raise UsageError(f"{places[0]} is not readable", why=str(error)) from error
            finally:
                table.close()

    def _item(self, fields: list[str], bucket: str, prefix: str) -> Listed | None:
        if len(fields) != len(self._columns):
            raise UsageError(
                f"{self._where}: a row has {len(fields)} fields instead of {len(self._columns)}"
            )
        row = dict(zip(self._columns, fields, strict=True))
        key = unquote_plus(row["Key"])
        if row["Bucket"] != bucket or not key.startswith(prefix):
            return None
        if row.get("IsLatest", "true") == "false" or row.get("IsDeleteMarker") == "true":
            return None
        size = row["Size"]
        if not (size.isascii() and size.isdigit()):
            raise UsageError(f"{self._where}: the size of {key!r} is {size[:40]!r}")
        algorithms = row.get("ChecksumAlgorithm", "").replace("|", ",")
        storage = row.get("StorageClass", "")
        return Listed(
            key,
            int(size),
            bare(row["ETag"]),
            utc(quick_timestamp(row["LastModifiedDate"])) if row.get("LastModifiedDate") else "",
            row.get("VersionId") or None,
            "" if storage == "STANDARD" else storage,
            tuple(part.strip() for part in algorithms.split(",") if part.strip()) or None,
            None,
            row.get("EncryptionStatus") or None,
        )


def _created(text: object) -> str:
    try:
        return utc(datetime.fromtimestamp(int(str(text)) / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return ""
