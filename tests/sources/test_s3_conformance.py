"""Every checksum that is claimed, against the bytes, on a server with the real service's rules."""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awscrt import checksums

from manifestd.model.entry import Entry
from manifestd.model.reference import parse_s3
from manifestd.rules.layouts import composite_of
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3 import S3Source
from tests.contracts.source_suite import content, listed
from tests.support.real_s3 import real_s3
from tests.support.s3_server import aws_environment, client

pytestmark = [pytest.mark.peer, pytest.mark.reals3]

PART = 5 * 1024 * 1024
DATA = b"".join(number.to_bytes(4, "big") for number in range(2 * PART // 4 + 3086))
PIECES = [DATA[start : start + PART] for start in range(0, len(DATA), PART)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with real_s3() as running:
        yield running


@pytest.fixture
def bucket(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    aws_environment(monkeypatch, url, tmp_path)
    owner = client(url)
    name = f"manifestd-{uuid.uuid4()}"
    owner.create_bucket(Bucket=name)
    yield owner, name
    owner.close()


def upload(owner: Any, bucket: str, key: str, pieces: list[bytes], **wanted: str) -> None:
    """A multipart upload, with the checksum asked for."""
    begun = owner.create_multipart_upload(Bucket=bucket, Key=key, **wanted)
    place = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
    algorithm = wanted.get("ChecksumAlgorithm", "CRC32")
    done = []
    for number, piece in enumerate(pieces, 1):
        answer = owner.upload_part(
            **place, PartNumber=number, Body=piece, ChecksumAlgorithm=algorithm
        )
        name = f"Checksum{algorithm}"
        done.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    kind = {name: value for name, value in wanted.items() if name == "ChecksumType"}
    owner.complete_multipart_upload(**place, MultipartUpload={"Parts": done}, **kind)


def climbed(bucket: str, **options: Any) -> dict[str, Entry]:
    source = S3Source(parse_s3(f"s3://{bucket}/p/"), SourceSettings(options=options))
    resolved = source.resolve()
    entries = listed(source, resolved)
    for _ in range(2):
        for entry in entries.values():
            assert content(source, resolved, entry) == DATA[: entry.size]
    source.close()
    return entries


def test_every_claimed_checksum_is_that_of_the_bytes(bucket: tuple[Any, str]) -> None:
    owner, name = bucket
    for algorithm in ("SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME"):
        key = f"p/whole-{algorithm}"
        owner.put_object(Bucket=name, Key=key, Body=DATA, ChecksumAlgorithm=algorithm)
    owner.put_object(Bucket=name, Key="p/empty", Body=b"", ChecksumAlgorithm="SHA256")
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME"):
        wanted = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
        upload(owner, name, f"p/parts-{algorithm}", PIECES, **wanted)
    entries = climbed(name, heads="always", etagIsMd5=True)
    assert len(entries) == 9
    for path, entry in entries.items():
        data = DATA[: entry.size]
        truth = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "sha1": hashlib.sha1(data).hexdigest(),
            "md5": hashlib.md5(data).hexdigest(),
            "crc32": f"{zlib.crc32(data):08x}",
            "crc32c": f"{checksums.crc32c(data):08x}",
            "crc64nvme": f"{checksums.crc64nvme(data):016x}",
        }
        algorithm = "sha256" if path == "empty" else path.partition("-")[2].lower()
        assert algorithm in entry.digests, path
        for claimed, value in entry.digests.items():
            assert claimed.endswith("-composite") or truth[claimed] == value, (path, claimed)


def test_composites_can_be_recomputed_from_the_parts_that_were_told(
    bucket: tuple[Any, str],
) -> None:
    owner, name = bucket
    upload(owner, name, "p/parts", PIECES, ChecksumAlgorithm="SHA256")
    upload(owner, name, "p/one", [DATA], ChecksumAlgorithm="SHA256")
    entries = climbed(name)
    parts, one = entries["parts"], entries["one"]
    assert "sha256" not in parts.digests
    assert parts.hints["composite"]["partSize"] == PART
    told = parts.hints["composite"]["parts"]
    assert told == [hashlib.sha256(piece).hexdigest() for piece in PIECES]
    from manifestd.model.entry import Chunks

    chunks = Chunks(algorithm="sha256", size=PART, digests=told)
    assert composite_of(chunks, len(DATA), PART) == parts.digests["sha256-composite"]
    assert one.digests["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_what_boto3_and_the_service_do_by_themselves_is_understood(bucket: tuple[Any, str]) -> None:
    from io import BytesIO

    from boto3.s3.transfer import TransferConfig

    owner, name = bucket
    sizes = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    owner.upload_fileobj(BytesIO(DATA), name, "p/fileobj", Config=sizes)
    owner.put_object(Bucket=name, Key="p/put", Body=DATA)
    entries = climbed(name, etagIsMd5=True)
    assert entries["fileobj"].hints["composite"]["partSize"] == PART
    assert set(entries["fileobj"].digests) == {"crc32-composite", "md5-composite"}
    assert set(entries["put"].digests) == {"crc32", "md5"}


def test_versions_pin_what_was_listed(bucket: tuple[Any, str]) -> None:
    owner, name = bucket
    owner.put_object(Bucket=name, Key="p/x", Body=DATA[:10])
    owner.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    owner.put_object(Bucket=name, Key="p/y", Body=DATA[:20])
    source = S3Source(parse_s3(f"s3://{name}/p/"), SourceSettings())
    resolved = source.resolve()
    entries = listed(source, resolved)
    assert entries["x"].identity["versionId"] == "null"
    owner.put_object(Bucket=name, Key="p/x", Body=b"newer")
    owner.put_object(Bucket=name, Key="p/y", Body=b"newer")
    assert content(source, resolved, entries["x"]) == DATA[:10]
    assert content(source, resolved, entries["y"]) == DATA[:20]
    source.close()
