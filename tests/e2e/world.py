"""A Hub, a bucket and a desk together; objects as different uploaders leave them in S3."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

from awscrt import checksums

from manifestd.loopback.hub import LoopbackHub
from tests.e2e.desk import Desk
from tests.support.s3_faults import FaultServer, Reply, Seen
from tests.support.schemas import check_document


class World:
    """Everything a user of two places has.

    Attributes:
        desk: The working directory, and the command line.
        hub: A loopback Hub.
        s3: One bucket called ``bucket``.
    """

    def __init__(self, desk: Desk, hub: LoopbackHub, s3: FaultServer) -> None:
        self.desk = desk
        self.hub = hub
        self.s3 = s3

    def snapshot(self, kind: str, reference: str, *options: str, code: int | None = 0) -> Any:
        """Take a snapshot that must end with ``code``; its document."""
        found = self.desk("snapshot", kind, reference, "--format", "json", *options, code=code)
        check_document("snapshot-result", found.out)
        return found.document

    def diff(self, left: str, right: str, *options: str) -> tuple[int, Any]:
        """Exit code and document of a comparison."""
        found = self.desk("diff", left, right, "--format", "json", *options, code=None)
        check_document("diff", found.out)
        return found.code, found.document

    def files(self, reference: str) -> dict[str, Any]:
        """A snapshot's files by path."""
        listed = self.desk.json("files", reference)["files"]
        return {file["path"]: file for file in listed}


def b64(raw: bytes) -> str:
    """As S3 writes checksums."""
    return base64.b64encode(raw).decode()


def listing(algorithm: str, kind: str, storage: str = "STANDARD") -> str:
    """What a listing says of an object's checksum."""
    return (
        f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"
        f"<StorageClass>{storage}</StorageClass>"
    )


def put_whole(server: FaultServer, key: str, data: bytes, algorithm: str = "SHA256") -> None:
    """An object with the checksum of all of it, as one PUT leaves it."""
    put_claimed(server, key, data, algorithm, _digest(algorithm, data))


def put_claimed(server: FaultServer, key: str, data: bytes, algorithm: str, value: bytes) -> None:
    """An object that S3 says has this checksum, whether it does or not."""
    headers = {
        f"x-amz-checksum-{algorithm.lower()}": b64(value),
        "x-amz-checksum-type": "FULL_OBJECT",
    }
    server.put(key, data, headers=headers, listing=listing(algorithm, "FULL_OBJECT"))


def put_parts(
    server: FaultServer, key: str, data: bytes, part: int, algorithm: str = "SHA256"
) -> None:
    """An object uploaded in parts: a checksum of part checksums, and the parts on request."""
    pieces = [data[start : start + part] for start in range(0, len(data), part)]
    digests = [_digest(algorithm, piece) for piece in pieces]
    whole = _digest(algorithm, b"".join(digests))
    name = algorithm.lower()
    server.put(
        key,
        data,
        etag=f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(pieces)}",
        headers={
            f"x-amz-checksum-{name}": f"{b64(whole)}-{len(pieces)}",
            "x-amz-checksum-type": "COMPOSITE",
        },
        listing=listing(algorithm, "COMPOSITE"),
    )

    def attributes(seen: Seen) -> Reply | None:
        if "attributes" not in seen.query:
            return None
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(piece)}</Size>"
            f"<Checksum{algorithm}>{b64(digest)}</Checksum{algorithm}></Part>"
            for number, (piece, digest) in enumerate(zip(pieces, digests, strict=True), 1)
        )
        stored = server.objects[key]
        return Reply(
            body=(
                f"<GetObjectAttributesResponse><ETag>{stored.etag}</ETag><ObjectParts>"
                f"<IsTruncated>false</IsTruncated><PartsCount>{len(pieces)}</PartsCount>{parts}"
                f"</ObjectParts><ObjectSize>{len(data)}</ObjectSize></GetObjectAttributesResponse>"
            ).encode()
        )

    server.replies["GET", key] = attributes


def _digest(algorithm: str, data: bytes) -> bytes:
    if algorithm == "CRC32":
        return zlib.crc32(data).to_bytes(4, "big")
    if algorithm == "CRC64NVME":
        return int(checksums.crc64nvme(data)).to_bytes(8, "big")
    return hashlib.new(algorithm.lower(), data, usedforsecurity=False).digest()
