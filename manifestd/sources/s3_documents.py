"""Documents that S3 writes about objects: fetched whole to a temporary file, hashed, then read.

Reports and inventories may be given as local paths or as ``s3://`` URLs; both are
from outside, so they are bounded, and their digest is known before a line is believed.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from manifestd import canonical
from manifestd.errors import ManifestdError, UnreadableError, UsageError
from manifestd.sources.s3_client import Connection
from manifestd.sources.s3_errors import FAULTS, final, translate

MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Bytes of a JSON manifest."""

MAX_TABLE: Final = 64 * 1024 * 1024 * 1024
"""Bytes of one CSV file."""

_URL: Final = re.compile(r"s3://([^/]+)/(.+)\Z", re.DOTALL)


class Document:
    """One fetched document. Close it after use.

    Attributes:
        where: Path or URL, as given.
        file: Its bytes, at the start.
        sha256: Their digest in hex.
        md5: Their MD5 in hex, as S3's own manifests state it.
    """

    def __init__(self, where: str, file: IO[bytes], sha256: str, md5: str) -> None:
        self.where = where
        self.file = file
        self.sha256 = sha256
        self.md5 = md5

    def close(self) -> None:
        """Give the file back."""
        self.file.close()


def fetch_json(where: str, connection: Connection | None) -> tuple[Any, str]:
    """A JSON document, of any shape, and the sha256 of its bytes; errors as :func:`fetch`."""
    document = fetch(where, connection, limit=MAX_DOCUMENT)
    try:
        return canonical.decode_foreign(document.file.read(), name=where), document.sha256
    finally:
        document.close()


def fetch(where: str, connection: Connection | None, *, limit: int) -> Document:
    """Open a document by path or ``s3://`` URL (if there is a connection) and hash it.

    Raises:
        UsageError: No such file, or larger than ``limit`` bytes.
        ManifestdError: As S3 says.
    """
    match = _URL.match(where)
    if match and connection is not None:
        file = _download(match[1], match[2], connection, limit)
    else:
        try:
            file = Path(where).open("rb")  # noqa: SIM115  (handed over with the document)
        except OSError as error:
            raise UsageError(
                f"{where} cannot be read",
                why=error.strerror,
                hint="give a file, or an s3:// URL in the account of the bucket",
            ) from error
    strong, weak = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    total = 0
    while data := file.read(1 << 20):
        total += len(data)
        if total > limit:
            file.close()
            raise UsageError(f"{where} is larger than {limit} bytes")
        strong.update(data)
        weak.update(data)
    file.seek(0)
    return Document(where, file, strong.hexdigest(), weak.hexdigest())


def _download(bucket: str, key: str, connection: Connection, limit: int) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  (handed over with the document)
    try:
        body = connection.call("get_object", Bucket=bucket, Key=key)["Body"]
        try:
            while data := body.read(1 << 20):
                file.write(data)
                if file.tell() > limit:
                    raise UnreadableError(f"s3://{bucket}/{key} is larger than {limit} bytes")
        finally:
            body.close()
    except ManifestdError:
        file.close()
        raise
    except FAULTS as error:
        file.close()
        raise final(translate(error, bucket, key)) from error
    file.seek(0)
    return file


def beside(where: str, key: str) -> list[str]:
    """Where a file that a manifest names may lie: next to it, or below, or at the named key.

    Args:
        where: The manifest's path or URL.
        key: The file's key in the bucket the manifest was written to.
    """
    name = key.rpartition("/")[2]
    if not name or name in {".", ".."}:
        return []
    match = _URL.match(where)
    if match:
        return [f"s3://{match[1]}/{key}"]
    folder = Path(where).parent
    places = (folder / name, folder / "results" / name, folder / "data" / name,
              folder.parent / "data" / name)  # fmt: skip
    return [str(place) for place in places if place.is_file()]
