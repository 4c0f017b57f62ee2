"""The main job against a real S3 implementation: what uploaders leave there, found by the commands."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from boto3.s3.transfer import TransferConfig

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from tests.e2e.desk import Desk, verdicts
from tests.support.real_s3 import real_s3
from tests.support.s3_server import aws_environment, client

pytestmark = [pytest.mark.peer, pytest.mark.reals3]

MIB = 1024 * 1024
BIG = hashlib.shake_128(b"big").digest(11 * MIB)
MODEL = {**tiny_model("acme/tiny"), "big.dat": BIG}


class Bucket(NamedTuple):
    owner: Any
    name: str

    @property
    def place(self) -> str:
        return f"s3://{self.name}/p/"

    def put(self, path: str, data: bytes, **more: Any) -> None:
        self.owner.put_object(Bucket=self.name, Key=f"p/{path}", Body=data, **more)

    def upload(self, path: str, data: bytes, **more: Any) -> None:
        """As boto3 uploads large files: in parts."""
        sizes = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
        extra = {"ExtraArgs": more} if more else {}
        self.owner.upload_fileobj(BytesIO(data), self.name, f"p/{path}", Config=sizes, **extra)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with real_s3() as running:
        yield running


@pytest.fixture
def bucket(
    url: str, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Bucket]:
    aws_environment(monkeypatch, url, tmp_path)
    owner = client(url)
    name = f"manifestd-{uuid.uuid4()}"
    owner.create_bucket(Bucket=name)
    yield Bucket(owner, name)
    owner.close()


def test_a_mirror_uploaded_with_sha256_is_identical_to_the_hub_and_not_read(
    desk: Desk, hub: LoopbackHub, bucket: Bucket
) -> None:
    hub.add_repo("acme/tiny", MODEL, lfs={"big.dat", "model.safetensors"})
    for path, data in MODEL.items():
        bucket.put(path, data, ChecksumAlgorithm="SHA256")
    left = desk.json("snapshot", "hf", "acme/tiny")
    right = desk.json("snapshot", "s3", bucket.place, "--read", "none")
    assert right["manifest"] == left["manifest"]
    assert (right["bytesRead"], right["evidence"]["stored"]) == (0, len(MODEL))
    assert desk.json("diff", "hf://acme/tiny", bucket.place)["verdict"] == "identical"


def test_what_boto3_leaves_by_itself_is_undecided_until_read(
    desk: Desk, hub: LoopbackHub, bucket: Bucket
) -> None:
    hub.add_repo("acme/tiny", MODEL, lfs={"big.dat", "model.safetensors"})
    for path, data in MODEL.items():
        bucket.upload(path, data)
    desk("snapshot", "hf", "acme/tiny")
    desk("snapshot", "s3", bucket.place, "--read", "none", code=3)
    found = desk.json("diff", "hf://acme/tiny", bucket.place, code=3)
    assert set(verdicts(found).values()) == {"unverifiable"}
    taken = desk.json("snapshot", "s3", bucket.place)
    assert taken["evidence"]["measured"] == len(MODEL)
    assert desk.json("diff", "hf://acme/tiny", bucket.place)["verdict"] == "identical"
    again = desk.json("snapshot", "s3", bucket.place)
    assert (again["bytesRead"], again["evidence"]["reused"]) == (0, len(MODEL))


@pytest.mark.parametrize("changed", [False, True])
def test_an_upload_in_parts_is_compared_by_its_parts(
    desk: Desk, bucket: Bucket, changed: bool
) -> None:
    bucket.upload("big.dat", BIG, ChecksumAlgorithm="SHA256")
    desk("snapshot", "s3", bucket.place, "--read", "none", code=3)
    other = BIG[: 6 * MIB] + b"!" + BIG[6 * MIB + 1 :] if changed else BIG
    place = desk.tree("model", {"big.dat": other})
    desk("snapshot", "dir", place, "--evidence-for", bucket.place)
    found = desk.json("diff", place, bucket.place, code=None)
    [file] = [one for one in found["files"] if one["path"] == "big.dat"]
    assert file["verdict"] == ("different" if changed else "identical")
    assert file["basis"]["algorithm"] == "sha256-composite"
    if changed:
        assert file["changes"][0]["at"] == f"bytes {5 * MIB}-{10 * MIB - 1}"
    desk("verify", bucket.place, "--against", place, code=1 if changed else 0)


def test_versions_pin_what_was_listed_and_a_new_one_is_seen(desk: Desk, bucket: Bucket) -> None:
    bucket.owner.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    bucket.put("a.dat", b"one")
    bucket.put("b.dat", b"same")
    first = desk.json("snapshot", "s3", bucket.place)
    bucket.put("a.dat", b"two")
    second = desk.json("snapshot", "s3", bucket.place)
    assert (second["evidence"]["measured"], second["evidence"]["reused"]) == (1, 1)
    found = desk.json("diff", first["snapshot"], second["snapshot"], code=1)
    assert verdicts(found) == {"a.dat": "different"}


def test_explain_knows_every_kind_of_upload(desk: Desk, bucket: Bucket) -> None:
    bucket.put("sha256.dat", BIG, ChecksumAlgorithm="SHA256")
    bucket.put("crc.dat", BIG)
    bucket.upload("parts.dat", BIG, ChecksumAlgorithm="SHA256")
    bucket.upload("boto3.dat", BIG)
    found = desk.json("snapshot", "s3", bucket.place, "--explain")
    assert {one["path"]: one["best"] for one in found["advice"]} == {
        "boto3.dat": "crc32-composite",
        "crc.dat": "crc32",
        "parts.dat": "sha256-composite",
        "sha256.dat": "sha256",
    }
